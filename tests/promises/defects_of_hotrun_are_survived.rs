//! If a part of hotrun panics, only its current work is lost: that is said, with a request to report it,
//! later saves are served, and nothing is left behind at the end.

use std::net::SocketAddr;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procfs::process::Process;

use crate::common::{Hotrun, Outcome, Project, Run, get, own_address, wait_until};

fn wait_version(address: SocketAddr, version: &str) {
    wait_until("the version to be served", || {
        let answer = get(address);
        matches!(answer, Outcome::Answer(answer) if answer.version == version).then_some(())
    });
}

/// Has one task or thread panic once, which only a debug build of hotrun supports.
fn survives(part: &str) {
    let address = own_address();
    let project = Project::new("listens");
    project.configure("[hooks]\nbefore_start = \"true\"\n");
    let args = ["--stdin", "app", "--", "tcp", &address.to_string()];
    let run = Run::new(&project, &args).stdin(Stdio::null());
    let hotrun = run.env("HOTRUN_PANIC", part).start();
    let told = || {
        let said = hotrun.stderr();
        said.contains(&format!("{part} was asked to panic"))
            .then_some(said)
    };
    // These parts run, and panic, before the app serves.
    let at_the_start = ["print", "build", "app", "capture", "hook", "input"];
    if at_the_start.contains(&part) {
        wait_until("the panic", told);
    }
    let is_lost = ["build", "app", "hook"].contains(&part);
    if !is_lost {
        wait_version(address, "1");
    }
    project.set_version("2");
    wait_version(address, "2");
    if part == "signal" {
        hotrun.hangup();
    }
    let said = wait_until("the panic", told);
    assert!(said.contains("hotrun: a defect of hotrun, in `"), "{said}");
    assert!(said.contains("hint: please report it"), "{said}");
    project.set_version("3");
    wait_version(address, "3");
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    hotrun.assert_nothing_left();
}

#[test]
fn in_what_prints() {
    survives("print");
}

#[test]
fn in_what_watches() {
    survives("watch");
}

#[test]
fn in_what_builds() {
    survives("build");
}

#[test]
fn in_what_runs_the_app() {
    survives("app");
}

#[test]
fn in_what_answers_the_app() {
    survives("capture");
}

#[test]
fn in_what_runs_hooks() {
    survives("hook");
}

#[test]
fn in_what_hears_signals() {
    survives("signal");
}

#[test]
fn in_what_reads_the_input() {
    survives("input");
}

#[test]
fn in_what_carries_late_connections() {
    survives("relay");
}

/// A process that never reports its end: two Ctrl-Cs wait for it.
#[test]
fn the_third_ctrl_c_leaves_at_once() {
    let address = own_address();
    let project = Project::new("listens");
    let hotrun = Hotrun::start(&project, &["--", "tcp", &address.to_string()]);
    hotrun.wait_live(1);
    let app = Process::new(hotrun.app(1).pid).unwrap();
    let keeper = Pid::from_raw(app.stat().unwrap().ppid);
    kill(keeper, Signal::SIGSTOP).unwrap();
    hotrun.interrupt();
    hotrun.wait_for("quitting", |event| event["at_once"] == false);
    hotrun.interrupt();
    hotrun.wait_for("quitting", |event| event["at_once"] == true);
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    kill(keeper, Signal::SIGCONT).unwrap();
    hotrun.assert_nothing_left();
}
