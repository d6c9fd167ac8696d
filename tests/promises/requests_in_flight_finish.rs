//! The old generation answers the requests that it has, within `stop_timeout`.

use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::common::client::{Outcome, get_path};
use crate::common::{ANY, Hotrun, Project, Run, now, own_address};

/// Five requests that take so long, each with the time of its end.
fn ask(address: SocketAddr, ms: u128) -> Vec<JoinHandle<(Outcome, Instant)>> {
    let client = move || (get_path(address, &format!("/slow?ms={ms}")), now());
    (0..5).map(|_| thread::spawn(client)).collect()
}

fn finish(project: &Project) {
    finish_with(project, Run::new(project, &ANY));
}

fn finish_with(project: &Project, run: Run) {
    project.configure("[app]\nstop_timeout = \"60s\"\n");
    let hotrun = run.start();
    hotrun.wait_live(1);
    // How long a reload takes on this machine: the requests must take much longer than the next one.
    let start = now();
    project.set_version("2");
    hotrun.wait_live(2);
    let reload = start.elapsed();
    // On a shared socket the generation before might accept some of them, and it is cut soon.
    hotrun.wait_for("gone", |event| event["generation"] == 1);
    let requests = ask(hotrun.address(), 2000 + 2 * reload.as_millis());
    project.set_version("3");
    hotrun.wait_live(3);
    let swapped = now();
    hotrun.wait_for("draining", |event| event["generation"] == 2);
    // The new generation serves without waiting for them.
    hotrun.wait_version("3");
    let open = |request: &JoinHandle<_>| !request.is_finished();
    assert!(requests.iter().all(open), "they did not take long enough");
    for request in requests {
        let (outcome, ended) = request.join().unwrap();
        let answer = outcome.answer();
        assert!(ended > swapped, "it did not take long enough");
        let found = (answer.status, &*answer.version, answer.generation);
        assert_eq!(found, (200, "2", 2));
    }
    // The old generation has finished its requests.
    hotrun.wait_for("gone", |event| event["generation"] == 2);
    assert_eq!(hotrun.all("cut").len(), 0);
}

/// A server with only std that stops accepting on SIGTERM.
#[test]
fn a_simple_server_answers_all_it_was_asked() {
    finish(&Project::new("slow-drain"));
}

/// Many servers only handle SIGINT, so they get that: SIGTERM would cut their answers.
#[test]
fn a_server_that_catches_ctrl_c_alone_answers_all_it_was_asked() {
    let project = Project::new("slow-drain");
    project.edit("src/main.rs", "SIGTERM: c_int = 15", "SIGTERM: c_int = 2");
    finish(&project);
}

/// The signals that the server handles count, not those of the shell in front of it, which handles both.
#[test]
fn a_server_behind_a_shell_answers_all_it_was_asked() {
    let project = Project::new("slow-drain");
    project.edit("src/main.rs", "SIGTERM: c_int = 15", "SIGTERM: c_int = 2");
    let runner = "[target.'cfg(unix)']\nrunner = [\"sh\", \"-c\", \"trap : INT TERM; $0\"]\n";
    project.add(".cargo/config.toml", runner);
    // Activation is for the first process alone, so the server binds its address.
    let address = own_address().to_string();
    finish_with(&project, Run::new(&project, &[]).env("ADDR", &address));
}

/// A typical real server (axum).
#[test]
fn a_real_server_answers_all_it_was_asked() {
    finish(&Project::hello());
}

/// A download, or a hanging handler, must not keep the old generation for ever: it is cut, and the line
/// counts the connections.
#[test]
fn a_request_that_takes_too_long_is_cut_and_counted() {
    for project in [Project::new("slow-drain"), Project::hello()] {
        project.configure("[app]\nstop_timeout = \"500ms\"\n");
        let hotrun = Hotrun::start(&project, &ANY);
        hotrun.wait_live(1);
        let requests = ask(hotrun.address(), 600_000);
        project.set_version("2");
        let cut = hotrun.wait_for("cut", |_| true);
        assert_eq!(cut["generation"], 1);
        assert_eq!(cut["connections"], 5);
        assert_eq!(cut["for_next"], false);
        assert!(cut["after_ms"].as_f64().unwrap() >= 500.0, "{cut}");
        for request in requests {
            let (outcome, _) = request.join().unwrap();
            assert_eq!(outcome, Outcome::Reset);
        }
        hotrun.wait_for("gone", |event| event["generation"] == 1);
        hotrun.wait_version("2");
        assert!(hotrun.stderr().contains("which cut 5 open connections"));
    }
}

/// At most two generations have processes: the drain of the first does not hold up the third for a
/// minute because of a download.
#[test]
fn a_drain_ends_when_the_next_candidate_needs_its_place() {
    let project = Project::new("slow-drain");
    project.configure("[app]\nstop_timeout = \"10m\"\n");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let requests = ask(hotrun.address(), 600_000);
    project.set_version("2");
    hotrun.wait_for("draining", |event| event["generation"] == 1);
    project.set_version("3");
    let cut = hotrun.wait_for("cut", |_| true);
    assert_eq!(cut["generation"], 1);
    assert_eq!(cut["connections"], 5);
    assert_eq!(cut["for_next"], true);
    hotrun.wait_version("3");
    for request in requests {
        assert_eq!(request.join().unwrap().0, Outcome::Reset);
    }
    let events = hotrun.events();
    let place = |name: &str, generation: u64| {
        let is =
            |event: &serde_json::Value| event["event"] == name && event["generation"] == generation;
        events.iter().position(is).unwrap()
    };
    assert!(place("gone", 1) < place("starting", 3));
}
