//! During every switch, each connection is served: none is refused and none waits in vain.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::common::load::Kind;
use crate::common::{Hotrun, LIMIT, Load, Project, now, say, size_of_test};

/// Reloads a real server while clients connect, half of them with a body to upload.
fn reload(handover: &str, reloads: u32) {
    let project = Project::hello();
    // A drain that ends only by this limit would take too long for the test.
    project.configure("[handover]\nquiesce_max = \"90s\"\n");
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
    // Clients have to see the last generation too.
    load.wait_more(100);
    let outcomes = load.stop();
    let stale = outcomes.stale();
    say(&format!(
        "{handover}: {reloads} reloads, {stale} stale; {}",
        outcomes.summary()
    ));
    outcomes.assert_all_answered();
    assert_eq!(stale, 0);
    let last = outcomes.0.last().and_then(|last| last.answer()).unwrap();
    assert_eq!(last.version, (reloads + 1).to_string());
    let live = hotrun.all("live").len();
    assert_eq!(live, usize::try_from(reloads + 1).unwrap());
}

#[test]
fn beside_live_nobody_is_refused() {
    reload("auto", size_of_test("HOTRUN_TEST_RELOADS", 10));
}

/// There is never more than one generation: connections wait in the queue of a held socket while no
/// process accepts, beginning while the old generation still answers its own.
#[test]
fn with_live_stopped_first_nobody_is_refused() {
    reload("stop-first", 10);
}

/// No process accepts for as long as the code is broken. A short queue would be full after a few
/// connections; the next handshake is then retried after one second, three, seven, so a client takes
/// half a minute to notice that the server is back.
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
