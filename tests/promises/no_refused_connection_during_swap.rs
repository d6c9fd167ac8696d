//! Whatever is swapped, whoever connects is served: nobody is refused and nobody waits in vain.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::common::load::{Kind, Outcomes};
use crate::common::{Hotrun, LIMIT, Load, Outcome, Project, now, say};

/// Puts a real server through reloads while clients come, half of them with a body to upload.
fn reload(handover: &str, reloads: u32) -> Outcomes {
    let project = Project::hello();
    let hotrun = Hotrun::start(
        &project,
        &["--listen", "127.0.0.1:0", "--handover", handover],
    );
    hotrun.wait_live(1);
    let load = Load::start(hotrun.address(), 200, Kind::Mixed);
    for number in 2..reloads + 2 {
        let place = hotrun.here();
        if number % 2 == 0 {
            project.set_version(&number.to_string());
        } else {
            project.set_version_in_place(&number.to_string());
        }
        hotrun.wait_next_live(place);
    }
    // The last one has to be seen by clients too.
    load.wait_more(100);
    let outcomes = load.stop();
    let resets = outcomes.count(|outcome| *outcome == Outcome::Reset);
    let stale = outcomes.stale();
    say(&format!(
        "{handover}: {reloads} reloads, {resets} reset, {stale} stale; {}",
        outcomes.summary()
    ));
    outcomes.assert_nobody_refused();
    let last = outcomes.0.last().and_then(|last| last.answer()).unwrap();
    assert_eq!(last.version, (reloads + 1).to_string());
    let live = hotrun.all("live").len();
    assert_eq!(live, usize::try_from(reloads + 1).unwrap());
    outcomes
}

/// Two generations serve side by side for a moment. A connection that the old one has accepted but
/// not read when it is told to stop may be reset by it; that is counted, and not promised yet.
#[test]
fn beside_live_nobody_is_refused() {
    reload("auto", 20);
}

/// There is never more than one: clients wait in the queue of the held socket while nobody accepts,
/// and an answer of an old version after one of a new version can't be.
#[test]
fn with_live_stopped_first_nobody_is_refused() {
    let outcomes = reload("stop-first", 6);
    assert_eq!(outcomes.stale(), 0, "{}", outcomes.summary());
}

/// Nobody accepts for as long as the code is broken. A short queue would be full after a few
/// clients; the handshake of the next one is then tried again after one second, three, seven, and
/// so it takes half a minute to notice that all is well again.
#[test]
fn while_nobody_serves_the_queue_takes_everybody() {
    let project = Project::new("crash-at-start");
    project.set_version("crash");
    let hotrun = Hotrun::start(&project, &["--listen", "127.0.0.1:0"]);
    hotrun.wait_for("ended", |_| true);
    let start = now();
    let connections: Vec<TcpStream> = (0..300)
        .map(|_| TcpStream::connect_timeout(&hotrun.address(), LIMIT).unwrap())
        .collect();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    project.set_version("2");
    hotrun.wait_version("2");
    for mut connection in connections {
        connection.set_read_timeout(Some(LIMIT)).unwrap();
        connection
            .write_all(b"GET / HTTP/1.1\r\nHost: promise\r\n\r\n")
            .unwrap();
        let mut text = String::new();
        connection.read_to_string(&mut text).unwrap();
        assert!(text.ends_with("2 g2\n"), "{text}");
    }
}
