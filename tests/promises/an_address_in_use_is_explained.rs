//! If an app can't bind its address, the owner of the address is named, with what to do about that.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use nix::sys::signal::Signal;

use crate::common::{Hotrun, Project, get, own_address, own_port, wait_until};

/// The owner that is reported of this address, which the app could not bind.
#[track_caller]
fn refused(hotrun: &Hotrun, address: SocketAddr) -> String {
    let told = hotrun.wait_for("address-in-use", |_| true);
    assert_eq!(told["address"], address.to_string());
    let ended = hotrun.wait_for("ended", |_| true);
    assert_eq!(ended["in_use"], address.to_string());
    let holder = &told["holder"];
    let other = holder.as_str().or(holder["other"].as_str());
    other.unwrap().to_owned()
}

#[test]
fn by_another_program() {
    let address = own_address();
    let _other = TcpListener::bind(address).unwrap();
    let project = Project::new("listens");
    let hotrun = Hotrun::start(&project, &["--", "tcp", &address.to_string()]);
    let holder = refused(&hotrun, address);
    assert!(
        holder.starts_with(&format!("pid {} (", std::process::id())),
        "{holder}"
    );
    let dir = std::env::current_dir().unwrap();
    assert!(
        holder.ends_with(&format!(" in {}", dir.display())),
        "{holder}"
    );
    let said = hotrun.stderr();
    let line =
        format!("g1 cannot listen on {address}: it is in use by {holder}\nhint: end that program");
    assert!(said.contains(&line), "{said}");
    let line = format!(
        " ms, before it was ready: exit status 1, {address} is in use; waiting for a change"
    );
    assert!(said.contains(&line), "{said}");
}

#[test]
fn once_however_often_it_is_asked_for() {
    let address = own_address();
    let _other = UdpSocket::bind(address).unwrap();
    let project = Project::new("listens");
    let hotrun = Hotrun::start(&project, &["--", "keeps-asking", &address.to_string()]);
    hotrun.wait_for("ended", |_| true);
    assert_eq!(hotrun.all("address-in-use").len(), 1);
}

/// Two copies of one project, as with `git worktree`.
#[test]
fn by_another_hotrun() {
    let address = own_address();
    let projects = [Project::new("listens"), Project::new("listens")];
    let text = address.to_string();
    let args = ["--", "tcp", &text];
    let first = Hotrun::start(&projects[0], &args);
    first.wait_live(1);
    let second = Hotrun::start(&projects[1], &args);
    let holder = refused(&second, address);
    let dir = projects[0].dir().display();
    assert_eq!(
        holder,
        format!("another hotrun in {dir} (pid {})", first.pid())
    );
}

/// It was told to hold every interface, and the app binds one.
#[test]
fn by_hotrun_that_holds_more() {
    let port = own_port();
    let project = Project::new("listens");
    let [wide, own] = ["0.0.0.0", "127.0.0.1"].map(|ip| format!("{ip}:{port}"));
    let hotrun = Hotrun::start(&project, &["--listen", &wide, "--", "tcp", &own]);
    let told = hotrun.wait_for("address-in-use", |_| true);
    assert_eq!(told["holder"]["held"], wide);
    let line = format!("g1 cannot listen on {own}: it overlaps with {wide}, which ");
    hotrun.wait_for("ended", |_| true);
    let said = hotrun.stderr();
    assert!(said.contains(&line), "{said}");
    let hint = format!("hint: declare what the app binds (`--listen {own}`)");
    assert!(said.contains(&hint), "{said}");
}

/// The conflict is with another program, so live keeps serving.
#[test]
fn by_another_program_while_live_serves() {
    let [address, taken] = [own_address(), own_address()];
    let _other = TcpListener::bind(taken).unwrap();
    let project = Project::new("listens");
    project.edit(
        "src/main.rs",
        "    let threads: Vec<_> = addresses",
        &format!(
            "    if VERSION == \"2\" {{
        TcpListener::bind(\"{taken}\")?;
    }}
    let threads: Vec<_> = addresses"
        ),
    );
    let hotrun = Hotrun::start(&project, &["--", "tcp", &address.to_string()]);
    hotrun.wait_live(1);
    project.set_version("2");
    refused(&hotrun, taken);
    let ended = hotrun.wait_for("ended", |_| true);
    assert_eq!(ended["next"]["keeps"], 1);
    assert_eq!(get(address).answer().version, "1");
    assert_eq!(hotrun.all("draining").len(), 0);
}

/// Waits until this version answers.
fn wait_version(address: SocketAddr, version: &str) {
    wait_until("the version to be served", || {
        let answer = get(address);
        matches!(answer, crate::common::Outcome::Answer(answer) if answer.version == version)
            .then_some(())
    });
}

/// A program that connects to its own address to find out whether it already runs.
#[test]
fn by_hotrun_for_a_program_that_asks_first() {
    let address = own_address();
    let project = Project::new("listens");
    let text = address.to_string();
    let args = ["--", "asks-first", &text];
    let hotrun = Hotrun::start(&project, &args);
    wait_version(address, "1");
    // Live is not affected.
    project.set_version("2");
    let ended = hotrun.wait_for("ended", |_| true);
    assert_eq!(ended["next"]["keeps"], 1);
    wait_version(address, "1");
    assert_eq!(hotrun.all("draining").len(), 0);
    let said = hotrun.stderr();
    let line = format!("hint: the app connects to {address} to see whether it runs already");
    assert!(said.contains(&line), "{said}");
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    // From the start, it finds the held address, and is started once more without it.
    let hotrun = Hotrun::start(&project, &args);
    hotrun.wait_for("ended", |ended| ended["next"]["restart_ms"] == 0.0);
    wait_version(address, "2");
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    // As the hint says.
    let hotrun = Hotrun::start(&project, &[&["--no-capture"], &args[..]].concat());
    wait_version(address, "2");
    project.set_version("3");
    wait_version(address, "3");
    assert_eq!(hotrun.all("ended").len(), 0);
}
