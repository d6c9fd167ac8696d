//! A generation is live when it can serve, not when it runs; and one that never can costs nothing.

use std::fs;

use crate::common::load::Kind;
use crate::common::project::fixtures;
use crate::common::{ANY, Hotrun, Load, Project};

/// A server that loads for a while before it accepts. A held socket queues connections from the first
/// moment, so connecting proves nothing; hotrun has to see the server accept.
#[test]
fn a_slow_start_is_not_live_before_it_accepts() {
    let project = Project::new("slow-start");
    project.configure("[app.env]\nSTART_MS = \"700\"\n");
    let hotrun = Hotrun::start(&project, &ANY);
    let load = Load::start(hotrun.address(), 50, Kind::Get);
    let slow = |generation: u64| {
        let live = hotrun.wait_live(generation);
        assert_eq!(live["proof"], "accepting");
        let start = live["phases"]["start_ms"].as_f64().unwrap();
        assert!(start >= 700.0, "{live}");
    };
    slow(1);
    let place = hotrun.here();
    project.set_version("2");
    slow(2);
    // Until then, the old generation did not get the stop signal.
    let (_, first) = hotrun.wait_any(place, &["live", "draining"], |_| true);
    assert_eq!(first["event"], "live");
    hotrun.wait_version("2");
    load.stop().assert_none_refused();
}

/// A candidate that hangs: it does not crash, so only the timeout can tell.
#[test]
fn a_version_that_is_never_ready_is_ended_and_the_old_one_serves() {
    let project = Project::new("slow-drain");
    project.configure("[app]\nready_timeout = \"1500ms\"\n");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let load = Load::start(hotrun.address(), 100, Kind::Get);
    let good = fs::read_to_string(project.path("src/main.rs")).unwrap();
    let hangs = fs::read_to_string(fixtures().join("never-ready/src/main.rs")).unwrap();
    project.save("src/main.rs", &hangs);
    let hanging = hotrun.app(2);
    let not_ready = hotrun.wait_for("not-ready", |_| true);
    assert_eq!(not_ready["generation"], 2);
    assert_eq!(not_ready["suspended"], false);
    assert_eq!(not_ready["next"]["keeps"], 1);
    assert!(
        not_ready["after_ms"].as_f64().unwrap() >= 1500.0,
        "{not_ready}"
    );
    hotrun.wait_for("gone", |event| event["generation"] == 2);
    assert!(!hanging.runs());
    load.wait_more(50);
    let outcomes = load.stop();
    outcomes.assert_all_answered();
    for exchange in &outcomes.0 {
        assert_eq!(exchange.answer().unwrap().generation, 1);
    }
    project.save("src/main.rs", &good);
    project.set_version("3");
    hotrun.wait_version("3");
    // Its timeout began at its own start, not at the first save.
    assert_eq!(hotrun.all("live").len(), 2);
}

/// There is no live yet, and the first generation hangs.
#[test]
fn a_first_version_that_is_never_ready_is_waited_out() {
    let project = Project::new("slow-drain");
    project.configure("[app]\nready_timeout = \"1500ms\"\n");
    let good = fs::read_to_string(project.path("src/main.rs")).unwrap();
    let hangs = fs::read_to_string(fixtures().join("never-ready/src/main.rs")).unwrap();
    project.save("src/main.rs", &hangs);
    let hotrun = Hotrun::start(&project, &ANY);
    let not_ready = hotrun.wait_for("not-ready", |_| true);
    assert_eq!(not_ready["next"], "wait");
    project.save("src/main.rs", &good);
    hotrun.wait_version("1");
}

/// While a program, or a thread of it, is ending, its /proc belongs to root for a moment and can't be
/// read. Once, such a program was taken for a server whose accepting can't be seen, which becomes live
/// after `settle`; so a candidate that gave up after a second replaced live.
#[test]
fn what_is_ending_is_not_taken_for_ready() {
    let project = Project::new("crash-at-start");
    // It lives for longer than `settle`, with threads that start and end as in a pool.
    let gives_up = "{
        let start = std::time::Instant::now();
        while start.elapsed().as_millis() < 600 {
            let threads: Vec<_> = (0..8).map(|_| thread::spawn(|| {})).collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
        panic!";
    project.edit("src/main.rs", "panic!", gives_up);
    project.edit("src/main.rs", "{VERSION}\");", "{VERSION}\"); }");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    for version in 0..10 {
        let place = hotrun.here();
        project.set_version(&format!("crash-{version}"));
        let (_, event) = hotrun.wait_any(place, &["live", "ended"], |_| true);
        assert_eq!(event["event"], "ended");
        assert_eq!(event["next"]["keeps"], 1);
    }
    hotrun.wait_version("1");
}
