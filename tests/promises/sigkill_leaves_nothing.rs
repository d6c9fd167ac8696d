//! SIGKILL can't be handled. Everything that hotrun started ends all the same.

use std::net::TcpListener;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::common::processes::Running;
use crate::common::{ANY, Hotrun, Project, wait_until, wait_within};
use crate::ctrl_c_leaves_no_orphans::{family, slow_to_build, wait_running};

/// The promised time.
const AT_ONCE: Duration = Duration::from_secs(1);

/// By the out-of-memory killer, or an editor that kills its task: the usual result is a leftover server
/// that keeps the port.
#[test]
fn nothing_outlives_hotrun() {
    let project = Project::new("grandchildren");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let family = family(&hotrun);
    hotrun.kill();
    wait_within(AT_ONCE, "the whole family is gone", || {
        (!family.iter().any(Running::runs)).then_some(())
    });
    hotrun.wait_killed_by(Signal::SIGKILL);
    hotrun.assert_nothing_left_within(AT_ONCE);
    TcpListener::bind(hotrun.address()).unwrap();
}

/// During a handover there are two generations.
#[test]
fn nothing_outlives_hotrun_in_a_swap() {
    let project = Project::new("grandchildren");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let family = family(&hotrun);
    project.set_version("2");
    // The old generation ignores the stop signal and so stays for a while.
    hotrun.wait_live(2);
    assert!(family.iter().all(Running::runs));
    hotrun.kill();
    hotrun.wait_killed_by(Signal::SIGKILL);
    hotrun.assert_nothing_left_within(AT_ONCE);
    assert!(!family.iter().any(Running::runs));
    TcpListener::bind(hotrun.address()).unwrap();
}

/// A killed watcher usually leaves `cargo build` running, which holds the lock that the next cargo waits
/// for.
#[test]
fn no_build_outlives_hotrun() {
    let (project, script) = slow_to_build();
    let hotrun = Hotrun::start(&project, &ANY);
    let script = wait_running(&hotrun, script);
    hotrun.kill();
    hotrun.wait_killed_by(Signal::SIGKILL);
    hotrun.assert_nothing_left_within(AT_ONCE);
    assert!(!script.runs());
}

/// The keeper between hotrun and the app is killed: hotrun adopts its processes, ends them and starts
/// the app anew. (A daemon that has left the session and cleared its environment can't be told from
/// foreign processes any more; see `src/app/adopted.rs`.)
#[test]
fn an_app_without_keeper_is_ended_and_started_again() {
    let project = Project::new("grandchildren");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let mut family = family(&hotrun);
    let keeper = Running::find(family[0].parent).unwrap();
    assert_eq!(keeper.parent, hotrun.pid());
    keeper.signal(Signal::SIGKILL);
    let ended = hotrun.wait_for("ended", |_| true);
    assert_eq!(ended["generation"], 1);
    assert_eq!(ended["exit"], "unknown");
    hotrun.wait_for("gone", |event| event["generation"] == 1);
    let untraceable = family.pop().unwrap();
    assert!(!family.iter().any(Running::runs));
    hotrun.wait_live(2);
    hotrun.wait_version("1");
    if untraceable.runs() {
        untraceable.signal(Signal::SIGKILL);
    }
    hotrun.interrupt();
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    hotrun.assert_nothing_left();
}

/// The keeper that waits for the next cargo is killed: that gets another one.
#[test]
fn a_keeper_that_waits_may_be_killed() {
    let project = Project::new("slow-drain");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    hotrun.wait_calm().signal(Signal::SIGKILL);
    project.set_version("2");
    hotrun.wait_live(2);
    hotrun.wait_version("2");
    wait_until("no zombie", || {
        (crate::common::processes::zombies_of(hotrun.pid()) == 0).then_some(())
    });
}

/// The app itself is killed, by the out-of-memory killer or by hand, and is started again.
#[test]
fn a_killed_app_is_started_again() {
    let project = Project::new("slow-drain");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    hotrun.app(1).signal(Signal::SIGKILL);
    let ended = hotrun.wait_for("ended", |_| true);
    assert_eq!(ended["live"], true);
    assert_eq!(ended["exit"]["signal"], 9);
    assert_eq!(ended["next"]["restart_ms"], 200.0);
    let live = hotrun.wait_live(2);
    assert_eq!(live["cause"], "g1 died");
    hotrun.wait_version("1");
    // No process of the first generation is left, not even a zombie.
    wait_until("no zombie", || {
        (crate::common::processes::zombies_of(hotrun.pid()) == 0).then_some(())
    });
}
