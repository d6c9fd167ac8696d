//! A generation that dies soon after it became live does not take the service down with it.

use crate::common::load::Kind;
use crate::common::{ANY, Hotrun, Load, Project, now};

/// A server that dies soon after it began to serve, if its `VERSION` says so.
fn project() -> Project {
    let project = Project::new("crash-late");
    project.configure("[app.env]\nCRASH_MS = \"300\"\n");
    project
}

/// The server starts, answers the first request, and dies: a bad migration, a task that panics. The
/// generation before was fine, so its program serves until there is a fix.
#[test]
fn the_last_good_version_takes_the_place_of_one_that_dies() {
    let project = project();
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let load = Load::start(hotrun.address(), 50, Kind::Get);
    project.set_version("crash");
    hotrun.wait_live(2);
    let ended = hotrun.wait_for("ended", |_| true);
    assert_eq!(ended["generation"], 2);
    assert_eq!(ended["live"], true);
    assert_eq!(ended["exit"]["status"], 3);
    assert_eq!(ended["next"]["rollback"], 1);
    let live = hotrun.wait_live(3);
    assert_eq!(live["cause"], "rollback from g2");
    load.wait_more(50);
    let outcomes = load.stop();
    outcomes.assert_none_refused();
    let last = outcomes.0.last().and_then(|last| last.answer()).unwrap();
    assert_eq!((&*last.version, last.generation), ("1", 3));
    // Last-good serves until an edit.
    project.set_version("4");
    hotrun.wait_version("4");
    let causes = hotrun.values("building", "cause");
    assert_eq!(causes, ["first start", "src/version.rs", "src/version.rs"]);
    assert_eq!(hotrun.all("starting").len(), 4);
}

/// Without another last-good, the same program is started again with a growing back-off: its database
/// may be up by then. After the third death within a minute an edit is waited for, and connections wait
/// in the queue.
#[test]
fn what_dies_again_and_again_is_left_alone_until_an_edit() {
    let project = project();
    project.set_version("crash");
    let hotrun = Hotrun::start(&project, &ANY);
    let nexts = [1, 2, 3].map(|generation| {
        hotrun.wait_live(generation);
        let is = |event: &serde_json::Value| event["generation"] == generation;
        let ended = hotrun.wait_for("ended", is);
        (now(), ended["next"].to_string())
    });
    let [(first, next), (second, then), (_, last)] = nexts;
    assert_eq!(next, "{\"restart_ms\":200.0}");
    assert_eq!(then, "{\"restart_ms\":1000.0}");
    assert_eq!(last, "\"wait\"");
    assert!(second > first);
    let starts = hotrun.all("starting");
    assert_eq!(starts.len(), 3);
    let wait = |place: usize| {
        let ended = hotrun.all("ended")[place]["ms"].as_f64().unwrap();
        starts[place + 1]["ms"].as_f64().unwrap() - ended
    };
    // The back-off was kept.
    assert!(
        wait(0) >= 199.0 && wait(1) >= 999.0,
        "{} {}",
        wait(0),
        wait(1)
    );
    // An edit clears the record, even one that fixes nothing.
    let early = Load::start(hotrun.address(), 20, Kind::Get);
    project.set_version("crash-again");
    hotrun.wait_live(4);
    let ended = hotrun.wait_for("ended", |event| event["generation"] == 4);
    assert_eq!(ended["next"]["restart_ms"], 200.0);
    project.set_version("2");
    hotrun.wait_version("2");
    early.stop().assert_none_refused();
}
