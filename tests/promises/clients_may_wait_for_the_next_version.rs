//! With `--while-building hold`, no client sees the old generation after a save, and none waits longer
//! than the limit.

use std::thread;

use crate::common::load::Kind;
use crate::common::{Hotrun, Load, Project, Run, get, now, say};

const HOLD: [&str; 4] = ["--listen", "127.0.0.1:0", "--while-building", "hold"];

#[test]
fn no_client_gets_the_old_generation_after_a_save() {
    let project = Project::hello();
    let hotrun = Hotrun::start(&project, &HOLD);
    hotrun.wait_live(1);
    let load = Load::start(hotrun.address(), 100, Kind::Mixed);
    let mut held = Vec::new();
    for number in 2..7 {
        let place = hotrun.here();
        project.set_version(&number.to_string());
        hotrun.wait_after(place, "holding", |_| true);
        held.push((now(), number));
        hotrun.wait_next_live(place);
        hotrun.wait_after(place, "gone", |_| true);
    }
    load.wait_more(50);
    let outcomes = load.stop();
    say(&outcomes.summary());
    outcomes.assert_all_answered();
    for exchange in &outcomes.0 {
        let version: u32 = exchange.answer().unwrap().version.parse().unwrap();
        let since = held
            .iter()
            .rev()
            .find(|(since, _)| *since <= exchange.opened);
        let least = since.map_or(1, |(_, number)| *number);
        assert!(version >= least, "{version} after the save of {least}");
    }
    assert_eq!(hotrun.all("released").len(), 0);
}

/// Live is stopped first, and the next generation answers the parked connections.
#[test]
fn nor_where_live_is_stopped_first() {
    let project = Project::new("slow-drain");
    // Parked connections don't delay the drain of the old generation.
    project.configure("[handover]\nquiesce_max = \"90s\"\n");
    let args = [&HOLD[..], &["--handover", "stop-first"]].concat();
    let hotrun = Hotrun::start(&project, &args);
    hotrun.wait_live(1);
    let address = hotrun.address();
    for number in 2..5 {
        let place = hotrun.here();
        project.set_version(&number.to_string());
        hotrun.wait_after(place, "holding", |_| true);
        assert_eq!(get(address).answer().version, number.to_string());
    }
}

/// The code is broken for longer than the limit.
#[test]
fn after_the_limit_clients_get_the_old_generation() {
    let project = Project::new("slow-drain");
    project.configure("[handover]\nhold_limit = \"1500ms\"\n");
    let hotrun = Run::new(&project, &HOLD).start();
    hotrun.wait_live(1);
    let address = hotrun.address();
    let place = hotrun.here();
    project.save("src/main.rs", "fn main( {");
    let holding = hotrun.wait_after(place, "holding", |_| true);
    let waiting = thread::spawn(move || get(address));
    hotrun.wait_after(place, "build-failed", |_| true);
    let released = hotrun.wait_after(place, "released", |_| true);
    let waited = released["ms"].as_f64().unwrap() - holding["ms"].as_f64().unwrap();
    assert!(waited >= 1500.0, "{waited}");
    assert_eq!(waiting.join().unwrap().answer().generation, 1);
    // New clients need not wait either.
    assert_eq!(get(address).answer().generation, 1);
}

#[test]
fn no_client_waits_for_an_unchanged_program() {
    let project = Project::new("slow-drain");
    let hotrun = Hotrun::start(&project, &HOLD);
    hotrun.wait_live(1);
    let place = hotrun.here();
    project.edit("src/main.rs", "mod http;", "mod http; // the same");
    hotrun.wait_after(place, "holding", |_| true);
    assert_eq!(get(hotrun.address()).answer().generation, 1);
    hotrun.wait_after(place, "unchanged", |_| true);
    assert_eq!(hotrun.all("released").len(), 0);
}
