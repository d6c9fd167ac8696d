//! Programs that do odd things with their sockets, and programs whose calls the kernel refuses: no call
//! hangs, each gets the result that it would get without hotrun, and the next reload works.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::common::load::Kind;
use crate::common::{Hotrun, Load, Project, get, own_address, say, wait_until};

/// Runs `listens` as this server, at an address of its own, and reloads it twice.
fn reload(words: &[&str]) -> (SocketAddr, Hotrun) {
    let address = own_address();
    let project = Project::new("listens");
    let text = address.to_string();
    let args = [&["--"], words, &[&*text]].concat();
    let hotrun = Hotrun::start(&project, &args);
    hotrun.wait_live(1);
    wait_until("the address to be held", || {
        hotrun.held().contains(&text).then_some(())
    });
    let load = Load::start(address, 100, Kind::Get);
    for version in ["2", "3"] {
        let place = hotrun.here();
        project.set_version(version);
        let live = hotrun.wait_next_live(place);
        let answer = get(address).answer();
        assert_eq!(
            u64::from(answer.generation),
            live["generation"].as_u64().unwrap()
        );
        hotrun.wait_after(place, "gone", |_| true);
    }
    load.wait_more(10);
    let outcomes = load.stop();
    say(&outcomes.summary());
    outcomes.assert_none_refused();
    // An address that it had only for a moment is released.
    wait_until("nothing else to be held", || {
        (hotrun.held() == [&*text]).then_some(())
    });
    (address, hotrun)
}

#[test]
fn one_that_closes_and_binds_again() {
    reload(&["binds-again"]);
}

#[test]
fn one_that_binds_twice() {
    let (_, hotrun) = reload(&["binds-twice"]);
    let stdout = hotrun.stdout();
    let said: Vec<&str> = stdout
        .lines()
        .filter(|line| line.starts_with("twice"))
        .collect();
    assert_eq!(said, ["twice: Err(AddrInUse)"; 3]);
}

#[test]
fn one_that_binds_while_it_ends() {
    let (_, hotrun) = reload(&["binds-while-it-ends"]);
    let stdout = hotrun.stdout();
    let said = |start: &str| {
        stdout
            .lines()
            .filter(|line| line.starts_with(start))
            .count()
    };
    assert_eq!(said("again: Err(AddrInUse)"), 2);
    assert_eq!(said("another: Ok"), 2);
}

#[test]
fn one_whose_workers_bind() {
    reload(&["workers-bind", "3"]);
}

#[test]
fn one_that_ends_its_listening_and_begins_anew() {
    reload(&["listens-again"]);
}

#[test]
fn one_that_listens_on_more_than_can_be_held() {
    reload(&["tries-many"]);
}

#[test]
fn one_that_becomes_another() {
    reload(&["becomes", "tcp"]);
}

#[test]
fn one_whose_processes_die_while_they_bind() {
    reload(&["dies-while-it-binds"]);
}

#[test]
fn one_under_a_storm_of_signals() {
    reload(&["under-fire"]);
}

/// The same error for every refused call as without hotrun, in the first generation and in later ones.
#[test]
fn one_that_asks_for_what_is_refused() {
    let bare = Project::new("listens");
    let built = Command::new("cargo")
        .args(["build", "--quiet"])
        .current_dir(bare.dir())
        .status();
    assert!(built.unwrap().success());
    let mut child = Command::new(bare.path("target/debug/listens"))
        .args(["asks-wrongly", &own_address().to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let expected: Vec<String> = lines.map(Result::unwrap).take(25).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        expected[24].starts_with("bound while it listens: Invalid"),
        "{expected:?}"
    );
    let (_, hotrun) = reload(&["asks-wrongly"]);
    let stdout = hotrun.stdout();
    let said: Vec<&str> = stdout.lines().collect();
    assert_eq!(said.len(), 75);
    for version in said.chunks(25) {
        assert_eq!(version, expected);
    }
}
