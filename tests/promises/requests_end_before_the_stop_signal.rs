//! A program that does not handle the stop signal does not get it before it has answered its requests,
//! and no handshake is cut, whatever the program does on the signal. Streams, which never end by
//! themselves, delay nothing.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::common::load::Kind;
use crate::common::{Hotrun, LIMIT, Load, Project, own_address, say, wait_until};

const SWAPS: u32 = 10;

/// `talks` ends by the stop signal at once; `finishes` answers its requests first.
const TALKERS: [&str; 2] = ["talks", "finishes"];

/// Runs `listens` as this server, and waits until it is live.
fn serve(server: &str, settings: &str) -> (Hotrun, SocketAddr) {
    let project = Project::new("listens");
    project.configure(settings);
    let address = own_address();
    let hotrun = Hotrun::start(&project, &["--", server, &address.to_string()]);
    hotrun.wait_live(1);
    (hotrun, address)
}

/// Replaces live, and waits until it gets the stop signal. Returns how many milliseconds after the next
/// generation became live that was.
fn swap(hotrun: &Hotrun) -> (f64, Value) {
    let place = hotrun.here();
    hotrun.hangup();
    let live = hotrun.wait_next_live(place);
    let draining = hotrun.wait_after(place, "draining", |_| true);
    let ms = |event: &Value| event["ms"].as_f64().unwrap();
    (ms(&draining) - ms(&live), draining)
}

fn swap_again_and_again(hotrun: &Hotrun) {
    for _ in 0..SWAPS {
        let place = hotrun.here();
        hotrun.hangup();
        hotrun.wait_next_live(place);
        hotrun.wait_after(place, "gone", |_| true);
    }
}

#[test]
fn a_server_without_a_handler_answers_all_it_was_asked() {
    for (ms, per_second) in [(1, 200), (50, 200), (300, 100)] {
        let (hotrun, address) = serve("tcp", "");
        let load = Load::start(address, per_second, Kind::Slow(ms));
        load.wait_more(20);
        swap_again_and_again(&hotrun);
        load.wait_more(20);
        let outcomes = load.stop();
        let stale = outcomes.stale();
        say(&format!("{ms} ms: {stale} stale; {}", outcomes.summary()));
        outcomes.assert_all_answered();
        assert_eq!(stale, 0);
        assert_eq!(hotrun.all("live").len(), 11);
    }
}

/// A client that speaks in lines.
struct Talk {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Talk {
    fn begin(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let lines = BufReader::new(stream.try_clone()?);
        Ok(Self { stream, lines })
    }

    fn say(&mut self, line: &str) -> io::Result<()> {
        self.stream.write_all(format!("{line}\n").as_bytes())
    }

    /// The next line of the server.
    fn hear(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        match line.strip_suffix('\n') {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// A handshake of four turns, as in TLS; the client is slow with each of its own. The request in the
/// last one takes long to answer, and the server sends another line before that.
fn shake_hands(address: SocketAddr) -> io::Result<()> {
    let mut talk = Talk::begin(address)?;
    talk.say("hello")?;
    talk.hear()?;
    thread::sleep(Duration::from_millis(5));
    talk.say("finish 200")?;
    assert_eq!(talk.hear()?, "ticket");
    talk.hear().map(drop)
}

#[test]
fn a_handshake_is_not_cut() {
    for server in TALKERS {
        let (hotrun, address) = serve(server, "");
        let (enough, made) = (AtomicBool::new(false), AtomicU32::new(0));
        let cut = thread::scope(|scope| {
            let client = || {
                let mut cut = Vec::new();
                while !enough.load(Ordering::Relaxed) {
                    cut.extend(shake_hands(address).err());
                    made.fetch_add(1, Ordering::Relaxed);
                }
                cut
            };
            let clients: Vec<_> = (0..24).map(|_| scope.spawn(client)).collect();
            swap_again_and_again(&hotrun);
            enough.store(true, Ordering::Relaxed);
            let cut = clients.into_iter().map(|client| client.join().unwrap());
            cut.flatten().collect::<Vec<_>>()
        });
        let made = made.into_inner();
        say(&format!("{server}: {} of {made} cut", cut.len()));
        assert!(cut.is_empty(), "{server}: of {made}: {cut:?}");
    }
}

#[test]
fn a_stream_delays_nothing_and_is_named() {
    for server in TALKERS {
        let (hotrun, address) = serve(server, "[app]\nstop_timeout = \"60s\"\n");
        for _ in 0..2 {
            let mut stream = Talk::begin(address).unwrap();
            stream.say("stream 20").unwrap();
            // The stream has been going on for a while.
            for _ in 0..80 {
                assert_eq!(stream.hear().unwrap(), "tick");
            }
            let (waited, draining) = swap(&hotrun);
            assert!(waited < 5000.0, "{waited} ms");
            assert_eq!(draining["streams"], 1, "{draining}");
        }
        // The lines come by another pipe than the events.
        let stderr = wait_until("both streams to be named", || {
            let said = hotrun.stderr();
            let named = said.matches("to finish with 1 open stream").count();
            (named == 2).then_some(said)
        });
        assert_eq!(stderr.matches("hint: a stream or WebSocket").count(), 1);
    }
}

#[test]
fn connections_that_are_kept_open_delay_nothing() {
    for server in TALKERS {
        let settings = "[app]\nstop_timeout = \"60s\"\n[handover]\nquiesce_max = \"60s\"\n";
        let (hotrun, address) = serve(server, settings);
        let mut kept: Vec<Talk> = (0..8).map(|_| Talk::begin(address).unwrap()).collect();
        for talk in &mut kept {
            talk.say("ask").unwrap();
            talk.hear().unwrap();
        }
        let (waited, draining) = swap(&hotrun);
        assert!(waited < 5000.0, "{waited} ms");
        assert_eq!(draining["unanswered"], 0, "{draining}");
    }
}

/// A browser opens connections that it may never use.
#[test]
fn a_silent_client_delays_no_longer_than_it_may() {
    for server in TALKERS {
        let settings = "[app]\nstop_timeout = \"60s\"\n[handover]\nquiesce_max = \"1s\"\n";
        let (hotrun, address) = serve(server, settings);
        let _silent = TcpStream::connect(address).unwrap();
        let (waited, _) = swap(&hotrun);
        assert!(waited < 5000.0, "{waited} ms");
        // A program that finishes may still be about to read.
        assert_eq!(waited >= 1000.0, server == "finishes", "{waited} ms");
    }
}

#[test]
fn an_answer_that_takes_too_long_is_cut_and_counted() {
    // A request that has already waited for longer than this does not end soon.
    let (hotrun, address) = serve("talks", "[app]\nstop_timeout = \"5s\"\n");
    let mut clients = [(); 2].map(|()| Talk::begin(address).unwrap());
    for talk in &mut clients {
        talk.say("ask 600000").unwrap();
    }
    let (waited, draining) = swap(&hotrun);
    assert!(waited >= 5000.0, "{waited} ms");
    assert_eq!(draining["unanswered"], 2);
    for talk in &mut clients {
        talk.hear().unwrap_err();
    }
    let line = "g1 was asked to finish with 2 unanswered connections";
    assert!(hotrun.stderr().contains(line));
}

/// Three generations are one too many, and the user waits for the new one.
#[test]
fn the_next_candidate_does_not_wait_for_answers() {
    let (hotrun, address) = serve("talks", "[app]\nstop_timeout = \"10m\"\n");
    let mut talk = Talk::begin(address).unwrap();
    talk.say("ask 600000").unwrap();
    let place = hotrun.here();
    hotrun.hangup();
    hotrun.wait_next_live(place);
    let place = hotrun.here();
    hotrun.hangup();
    hotrun.wait_next_live(place);
    let cut = hotrun.wait_for("cut", |_| true);
    assert_eq!(
        (&cut["generation"], &cut["connections"]),
        (&1.into(), &1.into())
    );
    assert_eq!(cut["for_next"], true);
    talk.hear().unwrap_err();
}
