//! Sockets are passed as in `sd_listen_fds(3)`: every reader of that contract accepts them.

use crate::common::client::get;
use crate::common::{Hotrun, Project};

/// These readers wait in `accept`, so they need blocking sockets.
const LISTEN: &str = r#"
[[listen]]
address = "127.0.0.1:0"
name = "web"
nonblocking = false

[[listen]]
address = "127.0.0.1:0"
name = "admin"
nonblocking = false
"#;

/// Each reader is stricter than the others somewhere: one refuses a foreign `LISTEN_PID`, one finds
/// nothing without a pid, one nothing without names.
fn accepts(reader: &str, names: [&str; 2]) -> String {
    let project = Project::readers();
    project.configure(LISTEN);
    let hotrun = Hotrun::start(&project, &["--bin", reader]);
    let live = hotrun.wait_live(1);
    let addresses = hotrun.addresses();
    let names = [0, 1].map(|index| {
        let (name, address) = (names[index], addresses[index]);
        format!("socket {index} name={name} addr={address}")
    });
    let text = hotrun.stdout();
    let lines: Vec<&str> = text.lines().take(3).collect();
    assert_eq!(lines, [&names[0], &names[1], "accepted 2"]);
    let held = hotrun.wait_for("held", |_| true);
    let held: Vec<&str> = held["sockets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|socket| socket["name"].as_str().unwrap())
        .collect();
    assert_eq!(held, ["web", "admin"]);
    // Both addresses are served, also after a reload.
    for address in &addresses {
        assert_eq!(get(*address).answer().version, "1");
    }
    project.set_version("2");
    hotrun.wait_version("2");
    hotrun.wait_for("gone", |event| event["generation"] == 1);
    for address in &addresses {
        assert_eq!(get(*address).answer().version, "2");
    }
    live["proof"].as_str().unwrap().to_owned()
}

/// The crate that most Rust servers use; it knows no names.
#[test]
fn by_listenfd() {
    assert_eq!(accepts("listenfd", ["-", "-"]), "accepting");
}

/// The reader that also sends `READY=1`. Whichever proof is seen first counts.
#[test]
fn by_sd_notify() {
    let proof = accepts("sd-notify", ["web", "admin"]);
    assert!(["notified", "accepting"].contains(&&*proof), "{proof}");
}

#[test]
fn by_libsystemd() {
    assert_eq!(accepts("libsystemd", ["web", "admin"]), "accepting");
}

/// The command line has names too, and a socket without one gets the name that the contract has for it.
#[test]
fn names_from_the_command_line() {
    let project = Project::readers();
    let addresses = ["web=127.0.0.1:0", "127.0.0.1:0"];
    let [web, other] = addresses.map(|address| ["--listen", address]);
    let hotrun = Hotrun::start(
        &project,
        &[&["--bin", "libsystemd"], &web[..], &other].concat(),
    );
    hotrun.wait_line(|line| line == "accepted 2");
    let held = hotrun.addresses();
    let said = hotrun.stdout();
    for (index, name) in ["web", "unknown"].into_iter().enumerate() {
        let line = format!("socket {index} name={name} addr={}\n", held[index]);
        assert!(said.contains(&line), "no {line} in {said}");
    }
}
