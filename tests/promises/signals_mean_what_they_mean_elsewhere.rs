//! A signal does to hotrun what it does to every well-behaved program: Ctrl-Z stops it, Ctrl-\ ends it,
//! a signal that is ignored at its start stays ignored, and a signal meant for the app reaches the app.

use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use procfs::Current as _;

use crate::common::processes::Running;
use crate::common::{ANY, Hotrun, Project, Run, get, wait_until};
use crate::ctrl_c_leaves_no_orphans::slow_to_build;

/// Sends Ctrl-Z, and waits until the shell has noticed the stop.
fn ctrl_z(hotrun: &Hotrun) {
    let group = Pid::from_raw(hotrun.pid());
    killpg(group, Signal::SIGTSTP).unwrap();
    let status = wait_until("hotrun is stopped", || {
        let flags = WaitPidFlag::WUNTRACED | WaitPidFlag::WNOHANG;
        let status = waitpid(group, Some(flags)).unwrap();
        (status != WaitStatus::StillAlive).then_some(status)
    });
    assert_eq!(status, WaitStatus::Stopped(group, Signal::SIGTSTP));
}

/// How long the process has run.
fn age(process: &Running) -> Duration {
    let stat = procfs::process::Process::new(process.pid).unwrap().stat();
    let started = stat.unwrap().starttime / procfs::ticks_per_second();
    let up = procfs::Uptime::current().unwrap().uptime_duration();
    up.saturating_sub(Duration::from_secs(started))
}

#[test]
fn ctrl_backslash_ends_it_in_good_order() {
    let project = Project::new("slow-drain");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    hotrun.signal(Signal::SIGQUIT);
    hotrun.wait_killed_by(Signal::SIGQUIT);
    assert_eq!(hotrun.all("cut").len(), 0);
    hotrun.assert_nothing_left();
}

/// The shell gets its terminal back; the app goes on, as every server in the background would.
#[test]
fn ctrl_z_stops_hotrun_and_not_the_app() {
    let project = Project::new("slow-drain");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    ctrl_z(&hotrun);
    get(hotrun.address()).answer();
    project.set_version("2");
    hotrun.signal(Signal::SIGCONT);
    hotrun.wait_version("2");
    // It works a second time too.
    ctrl_z(&hotrun);
    get(hotrun.address()).answer();
    hotrun.signal(Signal::SIGCONT);
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    hotrun.assert_nothing_left();
}

/// The prompt of the shell is on a line of its own, and afterwards the status line is drawn again.
#[test]
fn the_status_line_makes_room_for_the_shell() {
    const ERASED: &str = "\u{1b}[1G\u{1b}[J";
    // The status line may show the progress of the build.
    let is_drawn = |hotrun: &Hotrun| {
        let text = hotrun.stderr();
        let last = text.rsplit(['\n', 'J']).next().unwrap_or_default();
        last.starts_with(" ~ building g1").then_some(())
    };
    let (project, _) = slow_to_build();
    let run = Run::new(&project, &["--format", "terminal"]);
    let hotrun = run.env("TERM", "xterm").start();
    wait_until("the status line", || is_drawn(&hotrun));
    ctrl_z(&hotrun);
    let stopped = hotrun.stderr();
    assert!(stopped.ends_with(ERASED), "{stopped:?}");
    hotrun.signal(Signal::SIGCONT);
    wait_until("the status line again", || is_drawn(&hotrun));
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
}

/// While hotrun is stopped it can't probe; a candidate that got ready meanwhile is not late.
#[test]
fn while_hotrun_is_stopped_nobody_is_late() {
    let project = Project::new("slow-start");
    project.configure("[app]\nready_timeout = \"2s\"\nenv.START_MS = \"1000\"\n");
    let hotrun = Hotrun::start(&project, &ANY);
    let app = hotrun.app(1);
    hotrun.signal(Signal::SIGSTOP);
    wait_until("the app is up for longer than it may take", || {
        (age(&app) > Duration::from_secs(5)).then_some(())
    });
    hotrun.signal(Signal::SIGCONT);
    hotrun.wait_live(1);
    assert_eq!(hotrun.all("not-ready").len(), 0);
    assert!(app.runs());
}

/// SIGUSR2 is passed on to the app; this one does not handle it, so it ends.
#[test]
fn sigusr2_is_for_the_app() {
    let (project, _) = slow_to_build();
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_for("building", |_| true);
    hotrun.signal(Signal::SIGUSR2);
    let nobody = hotrun.wait_for("signalled", |_| true);
    assert_eq!(nobody["generation"], serde_json::Value::Null);
    project.save("build.rs", "fn main() {}\n");
    let live = hotrun.wait_for("live", |_| true);
    let place = hotrun.here();
    hotrun.signal(Signal::SIGUSR2);
    let signalled = hotrun.wait_after(place, "signalled", |_| true);
    assert_eq!(signalled["generation"], live["generation"]);
    let ended = hotrun.wait_after(place, "ended", |_| true);
    assert_eq!(ended["exit"]["signal"], Signal::SIGUSR2 as i32);
}

/// `nohup`, or a shell without job control that starts it with `&`.
#[test]
fn what_was_ignored_stays_ignored() {
    let project = Project::new("slow-drain");
    let run = Run::new(&project, &ANY).after("trap '' HUP INT QUIT TSTP USR1 USR2");
    let hotrun = run.start();
    hotrun.wait_live(1);
    for signal in [
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTSTP,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
    ] {
        hotrun.signal(signal);
    }
    // Signals are handled first, so they would have had their effect by then.
    project.set_version("2");
    let live = hotrun.wait_live(2);
    assert_eq!(live["cause"], "src/version.rs");
    assert!(hotrun.all("signalled").is_empty() && hotrun.all("quitting").is_empty());
    hotrun.terminate();
    hotrun.wait_killed_by(Signal::SIGTERM);
    hotrun.assert_nothing_left();
}
