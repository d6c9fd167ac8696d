//! The addresses of the last run are held until the program has had the time to listen on each: from the
//! first moment on no client is refused or reset, however long the program takes between two of them.

use std::net::SocketAddr;

use nix::sys::signal::Signal;

use crate::common::load::Kind;
use crate::common::{Hotrun, Load, Project, get, own_address, say, wait_until};

/// Starts a server with this many addresses again and again, with clients at all of them; each time its
/// source is saved once.
fn restart(ports: usize, later: &str, restarts: u32) {
    let addresses: Vec<SocketAddr> = (0..ports).map(|_| own_address()).collect();
    let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let mut args = vec!["--", "later", later];
    args.extend(shown.iter().map(String::as_str));
    let project = Project::new("listens");
    let hotrun = Hotrun::start(&project, &args);
    wait_held(&hotrun, ports);
    end(&hotrun);
    for number in 1..=restarts {
        let hotrun = Hotrun::start(&project, &args);
        wait_held(&hotrun, ports);
        let loads: Vec<Load> = addresses
            .iter()
            .map(|address| Load::start(*address, 20, Kind::Get))
            .collect();
        hotrun.wait_live(1);
        let place = hotrun.here();
        let version = format!("{number}-of-{restarts}");
        project.set_version(&version);
        hotrun.wait_next_live(place);
        for address in &addresses {
            wait_served(*address, &version);
        }
        let mut requests = 0;
        for load in loads {
            load.wait_more(5);
            let outcomes = load.stop();
            outcomes.assert_all_answered();
            assert_eq!(outcomes.stale(), 0, "{}", outcomes.summary());
            requests += outcomes.0.len();
        }
        assert_eq!(hotrun.held(), shown);
        let went = ["ended", "not-ready", "warning", "uncaptured"];
        for event in went {
            assert_eq!(hotrun.all(event), Vec::<serde_json::Value>::new());
        }
        say(&format!(
            "{ports} ports, {later} ms, {number}: {requests} requests"
        ));
        end(&hotrun);
    }
}

fn wait_held(hotrun: &Hotrun, count: usize) {
    wait_until("all addresses to be held", || {
        (hotrun.all("held").pop()?["sockets"].as_array()?.len() == count).then_some(())
    });
}

fn wait_served(address: SocketAddr, version: &str) {
    wait_until("the save to be served", || {
        (get(address).answer().version == version).then_some(())
    });
}

fn end(hotrun: &Hotrun) {
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
}

#[test]
fn one_address() {
    restart(1, "0", 2);
}

#[test]
fn several_at_once() {
    restart(7, "0", 2);
}

#[test]
fn others_right_after_the_first() {
    restart(7, "1", 2);
}

#[test]
fn others_after_a_while() {
    restart(2, "300", 2);
}

/// The next generation is ready before this one has listened on all of them.
#[test]
fn others_after_the_save() {
    restart(7, "2000", 1);
}
