//! A program that goes into the background is followed: the process that it left behind serves, is
//! replaced without a loss, is started again when it dies, and ends with hotrun.

use std::net::SocketAddr;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::client::{Outcome, get_path};
use crate::common::load::Kind;
use crate::common::{Hotrun, Load, Project, Run, own_address, wait_until};

/// A server that starts itself once more by this command, and ends with success.
fn detaches(command: &str) -> Project {
    let project = Project::new("slow-drain");
    let main = format!(
        "fn main() -> io::Result<()> {{
    if std::env::var_os(\"DETACHED\").is_none() {{
        let exe = std::env::current_exe()?;
        std::process::Command::{command}.env(\"DETACHED\", \"1\").spawn()?;
        return Ok(());
    }}"
    );
    project.edit("src/main.rs", "fn main() -> io::Result<()> {", &main);
    project
}

fn start(project: &Project, address: SocketAddr) -> Hotrun {
    let run = Run::new(project, &[]).env("ADDR", &address.to_string());
    let hotrun = run.start();
    hotrun.wait_live(1);
    hotrun.wait_for("background", |event| event["followed"] == true);
    hotrun
}

/// Reloads such a server under load, and ends it.
fn reload(command: &str) {
    let project = detaches(command);
    let address = own_address();
    let hotrun = start(&project, address);
    let load = Load::start(address, 100, Kind::Mixed);
    // It gets the stop signal like any other, and finishes its requests.
    let slow = thread::spawn(move || get_path(address, "/slow?ms=1500"));
    load.wait_more(50);
    project.set_version("2");
    hotrun.wait_live(2);
    hotrun.wait_for("gone", |event| event["generation"] == 1);
    load.wait_more(50);
    load.stop().assert_all_answered();
    assert_eq!(slow.join().unwrap().answer().status, 200);
    assert_eq!(hotrun.all("cut").len(), 0);
    assert_eq!(hotrun.all("ended").len(), 0);
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    hotrun.assert_nothing_left();
}

#[test]
fn a_server_that_detaches_is_replaced_without_a_loss() {
    reload("new(exe)");
}

/// In a session of its own, no signal to the process group of its parent reaches the server.
#[test]
fn a_server_in_a_session_of_its_own_is_replaced_without_a_loss() {
    reload("new(\"setsid\").arg(exe)");
}

/// Its death is noticed, though a helper process of it lives on.
#[test]
fn a_server_that_dies_in_the_background_is_started_again() {
    let project = detaches("new(exe)");
    project.edit(
        "src/main.rs",
        "let listener = listen::listen()?;",
        "std::process::Command::new(\"sleep\").arg(\"600\").spawn()?;\n    \
         let listener = listen::listen()?;",
    );
    let address = own_address();
    let hotrun = start(&project, address);
    let serving = || {
        let running = hotrun.survivors().into_iter();
        running
            .filter(|process| process.to_string().contains(".g1/"))
            .map(|process| process.pid)
            .next()
    };
    let pid = wait_until("the server", serving);
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    hotrun.wait_for("ended", |event| event["generation"] == 1);
    hotrun.wait_live(2);
    assert!(matches!(get_path(address, "/"), Outcome::Answer(_)));
}

/// A process that a program without an address leaves behind is no server.
#[test]
fn a_worker_that_leaves_a_helper_has_finished() {
    let project = Project::of(&[
        (
            "Cargo.toml",
            "[package]\nname = \"app\"\nversion = \"1.0.0\"\nedition = \"2024\"\n",
        ),
        (
            "src/main.rs",
            "fn main() { std::process::Command::new(\"sleep\").arg(\"600\").spawn().unwrap(); }",
        ),
    ]);
    project.configure("[app]\nprobation = \"500ms\"\n");
    let hotrun = Hotrun::start(&project, &[]);
    hotrun.wait_for("finished", |_| true);
    hotrun.wait_for("gone", |event| event["generation"] == 1);
}
