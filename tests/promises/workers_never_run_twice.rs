//! A program that holds no address would do its work twice if two generations ran: at most one runs.

use serde_json::Value;

use crate::common::{Hotrun, Project};

fn place(events: &[Value], name: &str, generation: u64) -> usize {
    let is = |event: &Value| event["event"] == name && event["generation"] == generation;
    events.iter().position(is).unwrap()
}

/// Two queue workers on one queue, or two bots in one chat: the new generation is started when no
/// process of the old one is left, whatever `--handover` says.
#[test]
fn the_old_one_is_gone_before_the_new_one_starts() {
    let project = Project::new("worker");
    for args in [&[][..], &["--handover", "overlap"]] {
        project.set_version("1");
        let hotrun = Hotrun::start(&project, args);
        let live = hotrun.wait_live(1);
        assert_eq!(live["proof"], "alive");
        project.set_version("2");
        hotrun.wait_live(2);
        let events = hotrun.events();
        assert!(place(&events, "gone", 1) < place(&events, "starting", 2));
        hotrun.wait_line(|line| line == "working 2 g2");
        // Each generation is stopped only when the next one is built.
        assert!(place(&events, "build-ended", 2) < place(&events, "draining", 1));
    }
}

/// Code that does not compile is no reason to stop the worker.
#[test]
fn a_failed_build_does_not_stop_a_worker() {
    let project = Project::new("worker");
    let hotrun = Hotrun::start(&project, &[]);
    hotrun.wait_live(1);
    let app = hotrun.app(1);
    project.edit("src/version.rs", "\"1\"", "1");
    let failed = hotrun.wait_for("build-failed", |_| true);
    assert_eq!(failed["next"]["keeps"], 1);
    assert!(app.runs());
    project.set_version("3");
    hotrun.wait_live(3);
}

/// A program that has finished is not restarted; it runs again when it has changed.
#[test]
fn a_program_that_finished_runs_again_after_a_change() {
    let project = Project::new("once");
    let hotrun = Hotrun::start(&project, &[]);
    hotrun.wait_for("finished", |event| event["generation"] == 1);
    hotrun.wait_line(|line| line == "done 1");
    hotrun.wait_for("gone", |event| event["generation"] == 1);
    project.set_version("2");
    hotrun.wait_for("finished", |event| event["generation"] == 2);
    hotrun.wait_line(|line| line == "done 2");
    assert_eq!(hotrun.values("starting", "generation"), ["1", "2"]);
    assert_eq!(hotrun.all("ended").len(), 0);
}
