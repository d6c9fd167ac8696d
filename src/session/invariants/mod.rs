//! Invariants of the session: every order of events to a bounded depth, and seeded random orders far
//! beyond it, against a model of the world that answers actions as the real one would.
//!
//! `world` is the model, `play` a session in it; `steps` has all that may happen, `promises` what must
//! hold, and `search` tries every order, with `same` for what counts as one state. `HOTRUN_TEST_SECONDS`
//! searches as deep as that time allows, `HOTRUN_TEST_DEPTH` to this depth.

mod browsers;
mod ending;
mod kinds;
mod play;
mod policies;
mod promises;
mod same;
mod search;
mod steps;
mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use kinds::KINDS;
use policies::setups;
use search::{Endings, From, Limit, beginning, search, wander};

/// As deep as a few seconds allow; one more takes four times as long.
const DEPTH: usize = 3;

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap())
}

#[test]
#[expect(clippy::print_stdout, reason = "how far it came")]
fn every_order_of_events_to_a_bounded_depth() {
    let mut beginnings = Vec::new();
    for setup in setups() {
        for from in [From::Start, From::Live, From::Proved] {
            beginnings.push((setup.clone(), beginning(&setup, from)));
        }
    }
    let time = setting("HOTRUN_TEST_SECONDS").map(Duration::from_secs);
    let depth = setting("HOTRUN_TEST_DEPTH").map(|depth| usize::try_from(depth).unwrap());
    let limit = Limit {
        depth: depth.unwrap_or(if time.is_some() { usize::MAX } else { DEPTH }),
        time,
    };
    let count = beginnings.len();
    let found = search(beginnings, limit);
    for (name, states) in &found.states {
        println!("{name}: {states} states");
    }
    let states: usize = found.states.values().sum();
    println!(
        "{} steps deep from {} beginnings: {} states, {} steps",
        found.depth, count, states, found.steps
    );
}

#[test]
fn long_random_orders() {
    let long = setting("HOTRUN_TEST_SECONDS").map_or(1, |seconds| seconds / 10 + 1);
    let (mut endings, mut kinds) = (Endings::default(), BTreeSet::new());
    let setups = setups();
    for (number, setup) in (0..400 * long).zip(setups.iter().cycle()) {
        wander(setup, number + 1, &mut endings, &mut kinds);
    }
    let mut missing = KINDS.iter().filter(|kind| !kinds.contains(*kind));
    assert_eq!(missing.next(), None, "this never happens");
}
