//! A connection is steered to one generation. One that was on its way to the old generation at the
//! switch is still answered, by the old or the new one, however late it completes; and silent
//! connections delay nothing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use nix::sys::signal::Signal;
use nix::sys::socket::setsockopt;
use nix::{libc, setsockopt_impl, sockopt_impl};

use crate::common::load::{Kind, Outcomes};
use crate::common::processes::Connections;
use crate::common::{ANY, Hotrun, LIMIT, Load, Outcome, Project, Run, get, say};

/// Reloads a real server while clients connect, half of them with a body to upload.
fn reload(project: &Project, hotrun: &Hotrun, reloads: u32) -> Outcomes {
    hotrun.wait_live(1);
    let load = Load::start(hotrun.address(), 400, Kind::Mixed);
    for number in 2..reloads + 2 {
        let place = hotrun.here();
        project.set_version(&number.to_string());
        hotrun.wait_next_live(place);
        hotrun.wait_after(place, "gone", |_| true);
    }
    load.wait_more(100);
    let outcomes = load.stop();
    let last = outcomes.0.last().and_then(|last| last.answer()).unwrap();
    assert_eq!(last.version, (reloads + 1).to_string());
    let stale = outcomes.stale();
    say(&format!("{stale} stale; {}", outcomes.summary()));
    outcomes
}

#[test]
fn nothing_is_lost_and_nothing_stale() {
    for (address, more) in [
        ("127.0.0.1:0", None),
        ("[::1]:0", None),
        ("[::]:0", None),
        ("127.0.0.1:0", Some("--inject")),
        ("[::]:0", Some("--inject")),
    ] {
        let project = Project::hello();
        let args: Vec<&str> = more.into_iter().chain(["--listen", address]).collect();
        let hotrun = Run::new(&project, &args).with_browsers().start();
        let outcomes = reload(&project, &hotrun, 10);
        outcomes.assert_all_answered();
        assert_eq!(outcomes.stale(), 0);
        assert_eq!(hotrun.all("warning").len(), 0);
    }
}

/// Without the kernel's help the same holds.
#[test]
fn hotrun_in_between_loses_nothing() {
    let project = Project::hello();
    project.configure("[handover]\nsteering = \"relay\"\n");
    let hotrun = Hotrun::start(&project, &ANY);
    let outcomes = reload(&project, &hotrun, 10);
    outcomes.assert_all_answered();
    assert_eq!(outcomes.stale(), 0);
}

/// With `steering = "none"`, the promises of one shared socket hold.
#[test]
fn one_shared_socket_refuses_nobody() {
    let project = Project::hello();
    project.configure("[handover]\nsteering = \"none\"\n");
    let hotrun = Hotrun::start(&project, &ANY);
    reload(&project, &hotrun, 5).assert_none_refused();
}

/// Only connections that the killed process had accepted are lost; those in the queue are for the next
/// generation.
#[test]
fn a_killed_version_takes_nothing_with_it_but_what_it_had() {
    let project = Project::hello();
    project.configure("[app]\nprobation = \"1ms\"\n");
    let hotrun = Hotrun::start(&project, &ANY);
    let mut live = hotrun.wait_live(1);
    let load = Load::start(hotrun.address(), 200, Kind::Get);
    let mut taken = 0;
    for number in 0..4 {
        let place = hotrun.here();
        // With live on the one slot and on the other.
        if number == 2 {
            project.set_version("2");
            live = hotrun.wait_next_live(place);
            hotrun.wait_after(place, "gone", |_| true);
        }
        let place = hotrun.here();
        let generation = live["generation"].as_u64().unwrap();
        let app = hotrun.app(generation);
        // Stopped, the app accepts no more, so that its connections can be counted.
        app.signal(Signal::SIGSTOP);
        hotrun.wait_after(place, "suspended", |_| true);
        taken += Connections::of(app.pid).clients().len();
        app.signal(Signal::SIGKILL);
        // After the third death within a minute an edit is waited for.
        if number == 2 {
            hotrun.wait_after(place, "ended", |_| true);
            let place = hotrun.here();
            project.set_version("3");
            live = hotrun.wait_next_live(place);
        } else {
            live = hotrun.wait_next_live(place);
        }
    }
    load.wait_more(50);
    let outcomes = load.stop();
    say(&format!("{taken} taken; {}", outcomes.summary()));
    outcomes.assert_none_refused();
    let resets = outcomes.count(|outcome| *outcome == Outcome::Reset);
    assert!(resets <= taken, "{resets} reset of {taken}");
}

/// Live dies while a candidate starts beside it. New connections meanwhile are queued on live's slot.
#[test]
fn connections_queued_for_a_dead_generation_get_the_next() {
    let project = Project::new("slow-start");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let place = hotrun.here();
    project.set_version("2");
    hotrun.wait_after(place, "started", |event| event["generation"] == 2);
    hotrun.app(1).signal(Signal::SIGKILL);
    hotrun.wait_after(place, "gone", |event| event["generation"] == 1);
    assert_eq!(hotrun.all("live").len(), 1, "it was not slow enough");
    assert_eq!(get(hotrun.address()).answer().generation, 2);
}

/// Two sockets behind a path, and programs that remove it when they end.
#[test]
fn a_path_that_is_removed_comes_back() {
    let project = Project::new("sockets");
    project.edit(
        "src/main.rs",
        "let mut threads = Vec::new();",
        "let mut threads = Vec::new(); let _ = std::fs::remove_file(\"app.sock\");",
    );
    let hotrun = Hotrun::start(&project, &["--listen", "unix:app.sock"]);
    hotrun.wait_live(1);
    for version in ["2", "3"] {
        let place = hotrun.here();
        project.set_version(version);
        hotrun.wait_next_live(place);
        let answer = get(project.path("app.sock").as_path()).answer();
        assert_eq!(answer.version, version);
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client
}

const QUESTION: &[u8] = b"GET / HTTP/1.1\r\nHost: promise\r\nConnection: close\r\n\r\n";

/// Sends a request; returns the generation that answers.
#[track_caller]
fn ask(client: &mut TcpStream) -> String {
    client.write_all(QUESTION).unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    let (_, generation) = text.trim_end().rsplit_once(" g").expect(&text);
    format!("g{generation}")
}

/// A connection that is opened before the switch, and silent until after it: the old generation does not
/// get the stop signal before it has read the request.
#[test]
fn a_client_that_hesitates_is_answered_by_whom_it_came_to() {
    let project = Project::hello();
    project.configure("[handover]\nquiesce_max = \"60s\"\n");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_version("1");
    let mut clients: Vec<TcpStream> = (0..5).map(|_| connect(hotrun.address())).collect();
    project.set_version("2");
    hotrun.wait_version("2");
    assert_eq!(hotrun.all("draining").len(), 0);
    for client in &mut clients {
        assert_eq!(ask(client), "g1");
    }
    hotrun.wait_for("gone", |event| event["generation"] == 1);
    assert_eq!(hotrun.all("cut").len(), 0);
}

/// A browser opens connections that it may never use, and keeps others open: the new generation serves
/// at once, and the old one gets the stop signal after `quiesce_max`.
#[test]
fn silent_connections_are_not_waited_for() {
    let project = Project::hello();
    project.configure("[handover]\nquiesce_max = \"1500ms\"\n");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_version("1");
    let _silent: Vec<TcpStream> = (0..8).map(|_| connect(hotrun.address())).collect();
    project.set_version("2");
    hotrun.wait_version("2");
    let told = hotrun.wait_for("draining", |event| event["generation"] == 1);
    let live = hotrun.wait_live(2);
    let waited = told["ms"].as_f64().unwrap() - live["ms"].as_f64().unwrap();
    assert!(waited >= 1500.0, "{waited} ms");
    // An idle keep-alive connection is not waited for at all.
    let mut kept = connect(hotrun.address());
    kept.write_all(b"GET / HTTP/1.1\r\nHost: promise\r\n\r\n")
        .unwrap();
    kept.read_exact(&mut [0; 16]).unwrap();
    hotrun.wait_for("gone", |event| event["generation"] == 1);
    project.set_version("3");
    hotrun.wait_version("3");
    let told = hotrun.wait_for("draining", |event| event["generation"] == 2);
    let live = hotrun.wait_live(3);
    let waited = told["ms"].as_f64().unwrap() - live["ms"].as_f64().unwrap();
    assert!(waited < 1500.0, "{waited} ms");
}

sockopt_impl!(
    /// For how many seconds a handshake may wait for the client's first bytes (tcp(7)).
    DeferAccept,
    SetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_DEFER_ACCEPT,
    u32
);

/// A handshake that began before the switch completes on the old generation's slot, however late. With
/// `TCP_DEFER_ACCEPT` it completes with the client's first bytes, so the test chooses when: while the
/// old generation is still there, and when it is gone.
#[test]
fn a_handshake_that_takes_long_is_answered() {
    let project = Project::hello();
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listeners[0].local_addr().unwrap();
    for listener in &listeners {
        setsockopt(listener, DeferAccept, &60).unwrap();
    }
    let sockets = listeners.map(Into::into);
    project.configure("[handover]\nquiesce_max = \"3s\"\n");
    let hotrun = Run::new(&project, &[])
        .inheriting("web:more", sockets)
        .start();
    hotrun.wait_live(1);
    assert_eq!(hotrun.all("warning").len(), 0);
    let [mut soon, mut late] = [connect(address), connect(address)];
    project.set_version("2");
    hotrun.wait_live(2);
    assert_eq!(hotrun.all("draining").len(), 0);
    assert_eq!(ask(&mut soon), "g1");
    hotrun.wait_for("gone", |event| event["generation"] == 1);
    assert_eq!(ask(&mut late), "g2");
    // The third generation has the slot of the first, and connections there are its own again.
    project.set_version("3");
    hotrun.wait_live(3);
    let mut later = connect(address);
    assert_eq!(ask(&mut connect(address)), "g3");
    project.set_version("4");
    hotrun.wait_live(4);
    hotrun.wait_for("gone", |event| event["generation"] == 3);
    assert_eq!(ask(&mut later), "g4");
}
