//! A candidate that crashes before it can serve costs clients nothing: live stays.

use crate::common::load::Kind;
use crate::common::{ANY, Hotrun, Load, Project};

/// A panic in the set-up code compiles and ends the server at once. A usual watcher has stopped the old
/// process by then.
#[test]
fn a_crash_at_start_costs_no_answer() {
    let project = Project::new("crash-at-start");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let load = Load::start(hotrun.address(), 100, Kind::Get);
    project.set_version("crash");
    let ended = hotrun.wait_for("ended", |_| true);
    assert_eq!(ended["generation"], 2);
    assert_eq!(ended["live"], false);
    assert_eq!(ended["exit"]["status"], 101);
    assert_eq!(ended["next"]["keeps"], 1);
    load.wait_more(150);
    let outcomes = load.stop();
    outcomes.assert_all_answered();
    for exchange in &outcomes.0 {
        let answer = exchange.answer().unwrap();
        assert_eq!((&*answer.version, answer.generation), ("1", 1));
    }
    // Its last lines were printed.
    assert!(hotrun.stderr().contains("crash at start of crash"));
    project.set_version("3");
    hotrun.wait_version("3");
    assert_eq!(hotrun.all("live").len(), 2);
}

/// The very first generation crashes: hotrun waits for a fix, and so do connections, in the queue,
/// instead of being refused.
#[test]
fn a_crash_of_the_first_version_is_waited_out() {
    let project = Project::new("crash-at-start");
    project.set_version("crash");
    let hotrun = Hotrun::start(&project, &ANY);
    let ended = hotrun.wait_for("ended", |_| true);
    assert_eq!(ended["live"], false);
    assert_eq!(ended["next"], "wait");
    let early = Load::start(hotrun.address(), 20, Kind::Get);
    project.set_version("2");
    hotrun.wait_version("2");
    early.stop().assert_all_answered();
}
