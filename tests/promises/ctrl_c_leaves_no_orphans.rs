//! hotrun ends when it is asked to, and everything it started ends with it.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::common::processes::Running;
use crate::common::{ANY, Hotrun, Project, Run, get, now, wait_until};

/// The processes of the `grandchildren` fixture: the app, its child, a child in a session of its own, a
/// daemon, and a daemon without any environment. None of them ends by the stop signal.
pub(crate) fn family(hotrun: &Hotrun) -> Vec<Running> {
    let line = hotrun.wait_line(|line| line.starts_with("tree "));
    let pids = line.split(' ').skip(1);
    let family: Vec<Running> = pids
        .map(|pid| Running::find(pid.parse().unwrap()).expect("one has ended"))
        .collect();
    assert_eq!(family.len(), 5);
    family
}

/// A project whose build takes longer than any test, and the command of its build script.
pub(crate) fn slow_to_build() -> (Project, &'static str) {
    let project = Project::new("slow-drain");
    let slow = "fn main() { std::thread::sleep(std::time::Duration::from_secs(600)); }\n";
    project.save("build.rs", slow);
    (project, "build-script-build")
}

/// Waits until a process whose command contains this runs under hotrun.
pub(crate) fn wait_running(hotrun: &Hotrun, command: &str) -> Running {
    wait_until(command, || {
        let all = hotrun.survivors();
        all.into_iter()
            .find(|process| process.command.contains(command))
    })
}

#[test]
fn ctrl_c_ends_everything_and_frees_the_port() {
    let project = Project::new("slow-drain");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let address = hotrun.address();
    get(address).answer();
    hotrun.interrupt();
    // hotrun ends by the signal itself, so that a shell script with hotrun in it ends as well.
    hotrun.wait_killed_by(Signal::SIGINT);
    hotrun.assert_nothing_left();
    TcpListener::bind(address).unwrap();
    // The app got the stop signal, and was not killed.
    assert_eq!(hotrun.all("cut").len(), 0);
}

/// Processes that an app leaves behind are ended by hotrun, since no other process would.
#[test]
fn ctrl_c_ends_what_the_app_left_behind() {
    let project = Project::new("grandchildren");
    project.configure("[app]\nstop_timeout = \"300ms\"\n");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let family = family(&hotrun);
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    hotrun.assert_nothing_left();
    let left: Vec<&Running> = family.iter().filter(|process| process.runs()).collect();
    assert!(left.is_empty(), "{left:?}");
    TcpListener::bind(hotrun.address()).unwrap();
}

/// An app that does not end, and a user who does not want to wait.
#[test]
fn a_second_ctrl_c_kills_at_once() {
    let project = Project::new("ignores-term");
    project.configure("[app]\nstop_timeout = \"60s\"\n");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let start = now();
    hotrun.interrupt();
    hotrun.wait_for("quitting", |event| event["at_once"] == false);
    // hotrun waits for the app, which still serves.
    get(hotrun.address()).answer();
    assert_eq!(hotrun.exited(), None);
    hotrun.interrupt();
    hotrun.wait_for("quitting", |event| event["at_once"] == true);
    hotrun.wait_killed_by(Signal::SIGINT);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(30), "{took:?}");
    hotrun.assert_nothing_left();
}

/// A build can take minutes, and its result is not wanted any more.
#[test]
fn ctrl_c_ends_a_build() {
    let (project, script) = slow_to_build();
    let hotrun = Hotrun::start(&project, &ANY);
    let script = wait_running(&hotrun, script);
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    assert!(!script.runs());
    hotrun.assert_nothing_left();
}

/// Before the first build the project is read, and that can hang too: cargo waits for another cargo's
/// lock, or for the network.
#[test]
fn ctrl_c_ends_the_reading_of_the_project() {
    let project = Project::new("slow-drain");
    let cargo = project.root().join("cargo");
    fs::write(&cargo, "#!/bin/sh\nexec sleep 600\n").unwrap();
    fs::set_permissions(&cargo, Permissions::from_mode(0o755)).unwrap();
    let run = Run::new(&project, &ANY).env("CARGO", cargo.to_str().unwrap());
    let hotrun = run.start();
    wait_running(&hotrun, "sleep 600");
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    hotrun.assert_nothing_left();
}

/// A service manager, `docker stop`, or `kill`.
#[test]
fn sigterm_ends_everything_too() {
    let project = Project::new("slow-drain");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    hotrun.terminate();
    hotrun.wait_killed_by(Signal::SIGTERM);
    hotrun.assert_nothing_left();
}

/// Without a terminal that could have hung up, SIGHUP means what it means to a daemon: reload, even if
/// nothing has changed. Under `nohup` it is ignored.
#[test]
fn sighup_rebuilds_and_restarts() {
    let project = Project::new("slow-drain");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let place = hotrun.here();
    hotrun.hangup();
    if hotrun.ignores_hangup() {
        project.set_version("2");
        let live = hotrun.wait_next_live(place);
        assert_eq!(live["cause"], "src/version.rs");
    } else {
        let building = hotrun.wait_after(place, "building", |_| true);
        assert_eq!(building["cause"], "asked for");
        assert_eq!(hotrun.wait_live(2)["cause"], "asked for");
        hotrun.wait_for("gone", |event| event["generation"] == 1);
    }
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    hotrun.assert_nothing_left();
}

/// The socket file is there before the project is read: from then on there is something to clean up, and
/// processes that have just been started are still in the group that gets the signal.
#[test]
fn ctrl_c_right_after_the_first_socket_leaves_no_file() {
    let project = Project::new("sockets");
    let files = || {
        let all = fs::read_dir(project.dir()).unwrap().flatten();
        let names = all.map(|entry| entry.file_name().into_string().unwrap());
        names
            .filter(|name| name.contains("app.sock"))
            .collect::<Vec<_>>()
    };
    for moment in 0..100 {
        let hotrun = Hotrun::start(&project, &["--listen", "unix:app.sock"]);
        wait_until("the socket", || {
            files().contains(&"app.sock".into()).then_some(())
        });
        std::thread::sleep(Duration::from_micros(200) * moment);
        hotrun.interrupt();
        hotrun.wait_killed_by(Signal::SIGINT);
        hotrun.assert_nothing_left();
        assert_eq!(files(), [""; 0]);
    }
}
