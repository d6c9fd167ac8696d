//! A stopped process (SIGSTOP, a debugger) is never ready, and does not hang by its own fault.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::common::{ANY, Hotrun, Project};

fn is_suspended(suspended: bool) -> impl Fn(&Value) -> bool {
    move |event| event["suspended"] == suspended && event["generation"] == 2
}

/// A debugger that stops at the entry, or Ctrl-Z by mistake: the user is told, and when the candidate is
/// continued, it becomes live.
#[test]
fn a_stopped_candidate_becomes_live_when_it_goes_on() {
    let project = Project::new("slow-start");
    project.configure("[app.env]\nSTART_MS = \"1000\"\n");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    project.set_version("2");
    let candidate = hotrun.app(2);
    candidate.signal(Signal::SIGSTOP);
    hotrun.wait_for("suspended", is_suspended(true));
    // Meanwhile live serves.
    assert_eq!(hotrun.wait_version("1").generation, 1);
    candidate.signal(Signal::SIGCONT);
    hotrun.wait_for("suspended", is_suspended(false));
    hotrun.wait_version("2");
    let events = hotrun.events();
    let place = |is: &dyn Fn(&Value) -> bool| events.iter().position(is).unwrap();
    let live = place(&|event| event["event"] == "live" && event["generation"] == 2);
    let goes_on = place(&|event| event["event"] == "suspended" && event["suspended"] == false);
    assert!(goes_on < live);
    assert!(
        hotrun
            .stderr()
            .contains("g2 is stopped (SIGSTOP or a debugger)")
    );
}

/// By `settle` the candidate would be ready long before its timeout. It is not, and the line says why.
#[test]
fn a_stopped_candidate_is_not_ready_by_the_clock() {
    let project = Project::new("slow-drain");
    project.configure("[app]\nready = \"delay:1s\"\nready_timeout = \"2500ms\"\n");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    project.set_version("2");
    let candidate = hotrun.app(2);
    candidate.signal(Signal::SIGSTOP);
    hotrun.wait_for("suspended", is_suspended(true));
    let (_, event) = hotrun.wait_any(
        crate::common::hotrun::Place(0),
        &["live", "not-ready"],
        |event| event["generation"] == 2,
    );
    assert_eq!(event["event"], "not-ready");
    assert_eq!(event["suspended"], true);
    assert_eq!(event["next"]["keeps"], 1);
    // A stopped process can be killed all the same.
    hotrun.wait_for("gone", |event| event["generation"] == 2);
    assert!(!candidate.runs());
    assert!(hotrun.stderr().contains("it is stopped"));
}

/// Live is stopped (SIGSTOP) when the next generation is ready: it is continued, so that it can finish
/// instead of being killed.
#[test]
fn a_stopped_live_version_ends_in_good_order() {
    let project = Project::new("slow-drain");
    project.configure("[app]\nstop_timeout = \"60s\"\n");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    hotrun.app(1).signal(Signal::SIGSTOP);
    hotrun.wait_for("suspended", |event| event["suspended"] == true);
    project.set_version("2");
    hotrun.wait_for("gone", |event| event["generation"] == 1);
    hotrun.wait_version("2");
    assert_eq!(hotrun.all("cut").len(), 0);
}
