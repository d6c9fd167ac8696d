//! Any process may be killed or stopped at any moment (the out-of-memory killer, a laptop that is
//! closed, a person with `kill`), and a limit may be reached: no client is refused, what is saved
//! afterwards is served, and nothing is left behind.
//!
//! The moments come from a seed. `HOTRUN_TEST_SEED` tries others, and `HOTRUN_TEST_KILLS` more.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::Value;

use crate::common::hotrun::Place;
use crate::common::load::Kind;
use crate::common::processes::Running;
use crate::common::{
    Hotrun, Load, Numbers, Outcome, Project, get, own_address, say, size_of_test, wait_until,
};

/// What is killed, by a part of its command line.
const VICTIMS: [(&str, &str); 5] = [
    ("keeper", "keeper"),
    ("cargo", "cargo"),
    ("rustc", "rustc"),
    ("app", "pre-fork"),
    ("worker", "pre-fork"),
];

/// A process of this kind, if there is one at this moment.
fn victim(hotrun: &Hotrun, kind: &str, part: &str) -> Option<Running> {
    let all = hotrun.survivors();
    let is_app = |process: &&Running| {
        process.command.contains(part) && !process.command.contains("/hotrun ")
    };
    let parent_is_app = |process: &&Running| {
        all.iter()
            .filter(is_app)
            .any(|app| app.pid == process.parent)
    };
    match kind {
        "keeper" => all.iter().find(|process| process.command.contains(part)),
        "worker" => all.iter().filter(is_app).find(parent_is_app),
        _ => all.iter().find(is_app),
    }
    .cloned()
}

/// A process of this kind, in the middle of the build that begins after `place`, unless it is over sooner.
fn in_a_build(hotrun: &Hotrun, place: Place, kind: &str, numbers: &mut Numbers) -> Option<Running> {
    hotrun.wait_after(place, "building", |_| true);
    let ends = ["build-ended", "build-failed"];
    let is_over = |event: &Value| ends.iter().any(|end| event["event"] == *end);
    let found = wait_until("the build", || {
        let is_over = hotrun.events_after(place).iter().any(is_over);
        let found = victim(hotrun, kind, kind);
        (is_over || found.is_some()).then_some(found)
    });
    thread::sleep(Duration::from_millis(numbers.below(100)));
    found
}

#[test]
fn killed_at_any_moment() {
    let seed = size_of_test("HOTRUN_TEST_SEED", 7_u64);
    let kills = size_of_test("HOTRUN_TEST_KILLS", 9_u32);
    let mut numbers = Numbers(seed.max(1));
    let project = Project::new("listens");
    let address = own_address();
    let text = address.to_string();
    let mut killed = BTreeMap::<&str, u32>::new();
    let mut version = 1;
    let mut done = 0;
    while done < kills {
        let hotrun = Hotrun::start(&project, &["--", "pre-fork", "3", &text]);
        hotrun.wait_for("live", |_| true);
        wait_until("the address to be held", || {
            hotrun.held().contains(&text).then_some(())
        });
        let load = Load::start(address, 50, Kind::Get);
        for _ in 0..3 {
            let (kind, part) = VICTIMS[usize::try_from(numbers.below(5)).unwrap()];
            version += 1;
            let place = hotrun.here();
            project.set_version(&version.to_string());
            // The moment is what is tried here.
            let found = if ["cargo", "rustc"].contains(&kind) {
                in_a_build(&hotrun, place, kind, &mut numbers)
            } else {
                thread::sleep(Duration::from_millis(numbers.below(400)));
                victim(&hotrun, kind, part)
            };
            if found.is_some_and(|process| process.try_signal(Signal::SIGKILL)) {
                *killed.entry(kind).or_default() += 1;
            }
            done += 1;
            wait_until("an answer", || match get(address) {
                Outcome::Answer(_) => Some(()),
                // By a process that was killed.
                Outcome::Reset => None,
                other => panic!("seed {seed}, {kind}: {other:?}"),
            });
        }
        // Whatever became of those, the last save is served.
        version += 1;
        let last = version.to_string();
        project.set_version(&last);
        wait_until("the last save to be served", || match get(address) {
            Outcome::Answer(answer) => (answer.version == last).then_some(()),
            Outcome::Reset => None,
            other => panic!("seed {seed}: {other:?}"),
        });
        let outcomes = load.stop();
        say(&outcomes.summary());
        outcomes.assert_none_refused();
        // And now hotrun itself, in the middle of something.
        version += 1;
        project.set_version(&version.to_string());
        thread::sleep(Duration::from_millis(numbers.below(600)));
        hotrun.kill();
        hotrun.wait_killed_by(Signal::SIGKILL);
        hotrun.assert_nothing_left_within(Duration::from_secs(2));
        *killed.entry("hotrun").or_default() += 1;
    }
    say(&format!("seed {seed}: {killed:?}"));
}

/// hotrun is stopped and continued in the middle of builds and swaps: live answers meanwhile, and what
/// was saved meanwhile is served afterwards.
#[test]
fn stopped_and_continued_at_any_moment() {
    let seed = size_of_test("HOTRUN_TEST_SEED", 11_u64);
    let stops = size_of_test("HOTRUN_TEST_STOPS", 5_u32);
    let mut numbers = Numbers(seed.max(1));
    let project = Project::new("slow-drain");
    let hotrun = Hotrun::start(&project, &crate::common::ANY);
    hotrun.wait_live(1);
    let load = Load::start(hotrun.address(), 50, Kind::Get);
    let itself = Running::find(hotrun.pid()).unwrap();
    for stop in 0..stops {
        project.set_version(&format!("{stop}-before"));
        // The moment is what is tried here.
        thread::sleep(Duration::from_millis(numbers.below(500)));
        hotrun.signal(Signal::SIGSTOP);
        wait_until("hotrun to be stopped", || itself.is_stopped().then_some(()));
        let during = format!("{stop}-during");
        project.set_version(&during);
        load.wait_more(10);
        hotrun.signal(Signal::SIGCONT);
        hotrun.wait_version(&during);
    }
    load.stop().assert_all_answered();
    assert_eq!(hotrun.all("not-ready").len(), 0);
}

/// hotrun may open no more descriptors than it has: nothing can be built or started, live answers, and
/// a save is served when it may again.
#[test]
fn no_descriptor_is_left_for_a_while() {
    let project = Project::new("slow-drain");
    let hotrun = Hotrun::start(&project, &crate::common::ANY);
    hotrun.wait_live(1);
    let load = Load::start(hotrun.address(), 50, Kind::Get);
    let pid = rustix::process::Pid::from_raw(hotrun.pid());
    let limit = |current| {
        let now = Rlimit {
            current,
            maximum: rustix::process::getrlimit(Resource::Nofile).maximum,
        };
        prlimit(pid, Resource::Nofile, now).unwrap()
    };
    let before = limit(Some(4));
    let place = hotrun.here();
    project.set_version("2");
    hotrun.wait_any(place, &["build-failed", "start-failed", "warning"], |_| {
        true
    });
    load.wait_more(20);
    limit(before.current);
    let place = hotrun.here();
    project.set_version("3");
    hotrun.wait_after(place, "building", |_| true);
    hotrun.wait_version("3");
    load.stop().assert_all_answered();
}
