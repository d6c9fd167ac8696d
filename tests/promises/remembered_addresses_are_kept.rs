//! The addresses of the last run are held until the program has had the time to listen on each: from the
//! first moment on no client is refused or reset, however long the program takes between two of them.
//!
//! `HOTRUN_TEST_RESTARTS` sets how often each of the servers is started again; `--nocapture` shows what
//! became of the requests.

use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::common::load::{Figures, Kind};
use crate::common::{Hotrun, Load, Project, get, now, own_address, say, size_of_test, wait_until};

/// New connections in a second, at each address.
const RATE: u32 = 20;

/// Starts servers with one, two, and seven addresses again and again, with clients at all of them; each
/// time its source is saved once. They listen on the first address at once, and on the others so many
/// milliseconds later.
fn restart(later: &str) {
    let addresses: Vec<SocketAddr> = (0..7).map(|_| own_address()).collect();
    let project = Project::new("listens");
    for ports in [1, 2, 7] {
        restart_with(&project, &addresses[..ports], later);
    }
}

fn restart_with(project: &Project, addresses: &[SocketAddr], later: &str) {
    let restarts: u32 = size_of_test("HOTRUN_TEST_RESTARTS", 1);
    let ports = addresses.len();
    let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let mut args = vec!["--", "later", later];
    args.extend(shown.iter().map(String::as_str));
    let hotrun = Hotrun::start(project, &args);
    wait_held(&hotrun, ports);
    end(&hotrun);
    let mut figures = Figures::default();
    let (mut held, mut saved) = (Duration::ZERO, Duration::ZERO);
    for number in 1..=restarts {
        let started = now();
        let hotrun = Hotrun::start(project, &args);
        wait_held(&hotrun, ports);
        held = held.max(started.elapsed());
        let loads: Vec<Load> = addresses
            .iter()
            .map(|address| Load::start(*address, RATE, Kind::Get))
            .collect();
        hotrun.wait_live(1);
        let place = hotrun.here();
        let version = format!("{ports}-{later}-{number}");
        let save = now();
        project.set_version(&version);
        hotrun.wait_next_live(place);
        for address in addresses {
            wait_served(*address, &version);
        }
        saved = saved.max(save.elapsed());
        for load in loads {
            load.wait_more(5);
            let outcomes = load.stop();
            outcomes.assert_all_answered();
            assert_eq!(outcomes.stale(), 0, "{}", outcomes.summary());
            figures += outcomes.figures();
        }
        assert_eq!(hotrun.held(), shown);
        let went = ["ended", "not-ready", "warning", "uncaptured"];
        for event in went {
            assert_eq!(hotrun.all(event), Vec::<serde_json::Value>::new());
        }
        end(&hotrun);
    }
    say(&format!(
        "{ports} ports, later {later} ms: {restarts} restarts, held after {held:?} at most, \
         saves served after {saved:?} at most; {figures}"
    ));
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
fn all_at_once() {
    restart("0");
}

#[test]
fn others_right_after_the_first() {
    restart("1");
}

#[test]
fn others_after_a_while() {
    restart("300");
}

/// The next generation is ready before this one has listened on all of them.
#[test]
fn others_after_the_save() {
    restart("2000");
}
