//! `hotrun verify` reloads a project under load and reports what became of every request: that nothing
//! was lost, or what was lost, when, and what to do about it.

use std::fs::{self, File, FileTimes};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;

use crate::common::{ANY, Hotrun, Project, Run, own_address, say};

/// A time stamp from long before any build.
const OLD: Duration = Duration::from_secs(1_000_000_000);

/// The source that `verify` touches, with an old time stamp.
struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn of(project: &Project) -> Self {
        let path = project.path("src/main.rs");
        let old = SystemTime::UNIX_EPOCH + OLD;
        let times = FileTimes::new().set_accessed(old).set_modified(old);
        File::open(&path).unwrap().set_times(times).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        Self { path, text }
    }

    fn is_old(&self) -> bool {
        let written = self.path.metadata().unwrap().modified().unwrap();
        written == SystemTime::UNIX_EPOCH + OLD
    }

    #[track_caller]
    fn assert_untouched(&self) {
        assert!(self.is_old());
        assert_eq!(fs::read_to_string(&self.path).unwrap(), self.text);
    }
}

/// Starts a verification; its events are those of the hotrun under load.
fn verify(project: &Project, args: &[&str]) -> Hotrun {
    Hotrun::start(project, &[&["verify"], args].concat())
}

/// The number after this word in the report.
#[track_caller]
fn count(report: &str, name: &str) -> usize {
    let line = report
        .lines()
        .find_map(|line| line.trim_start().strip_prefix(name));
    let word = line.expect(report).split_whitespace().next().unwrap();
    word.parse().expect(word)
}

/// The report of a verification, which must end with this code.
#[track_caller]
fn report(hotrun: &Hotrun, code: i32) -> String {
    hotrun.wait_code(code);
    hotrun.assert_nothing_left();
    let report = hotrun.stdout();
    say(&report);
    report
}

/// The report says so, with every count, and they are true: each reload was a build, a new process and
/// the end of the old one, with clients all the time.
#[test]
fn where_nothing_is_lost_it_says_so() {
    let project = Project::hello();
    // A client that is slow on a busy machine is not cut.
    project.configure("[handover]\nquiesce_max = \"60s\"\n");
    let source = Source::of(&project);
    let hotrun = verify(&project, &[&["--reloads", "3"], &ANY[..]].concat());
    let report = report(&hotrun, 0);
    source.assert_untouched();
    let address = hotrun.address();
    assert!(report.starts_with("nothing lost: 3 reloads, "), "{report}");
    assert!(
        report.contains(&format!(" requests for `/` at {address}\n")),
        "{report}"
    );
    for name in [
        "refused",
        "reset",
        "closed unanswered",
        "no answer in 10 s",
        "stale",
        "answered with 5xx",
    ] {
        assert_eq!(count(&report, name), 0, "{report}");
    }
    assert!(count(&report, "nothing lost: 3 reloads,") > 20, "{report}");
    assert!(report.contains("statuses  200 ("), "{report}");
    assert!(!report.contains("hint: "), "{report}");
    let causes = hotrun.values("building", "cause");
    assert_eq!(
        causes,
        ["first start", "asked for", "asked for", "asked for"]
    );
    assert_eq!(hotrun.all("live").len(), 4);
    // Each reload was a real build.
    for live in hotrun.all("live").iter().skip(1) {
        let generation = &live["generation"];
        let compiled = hotrun.events().iter().any(|event| {
            let line = event["line"].as_str().unwrap_or_default();
            event["generation"] == *generation && line.contains("Compiling hello")
        });
        assert!(compiled, "g{generation} was not compiled");
    }
    let said = hotrun.stderr();
    assert!(
        said.contains("hotrun: reload 3 of 3: g4 live in "),
        "{said}"
    );
}

/// A program that does not handle the stop signal is ended in the middle of answers that take longer
/// than `stop_timeout`.
#[test]
fn losses_are_told_with_their_cause() {
    let project = Project::new("crash-late");
    project.configure("[app]\nstop_timeout = \"100ms\"\n");
    let source = Source::of(&project);
    let path = ["--reloads", "2", "--path", "/slow?ms=400"];
    let hotrun = verify(&project, &[&path[..], &ANY].concat());
    let report = report(&hotrun, 1);
    source.assert_untouched();
    let cut = count(&report, "reset") + count(&report, "closed unanswered");
    assert!(cut > 0, "{report}");
    let headline = report.lines().next().unwrap();
    assert!(
        headline.starts_with(&format!("{cut} lost: 2 reloads, ")),
        "{report}"
    );
    assert!(report.contains(" at the swap to g"), "{report}");
    assert!(report.contains(" (connections of g"), "{report}");
    let hint = "hint: signal 15 (SIGTERM) ended 2 versions at once: ";
    assert!(report.contains(hint), "{report}");
    assert!(report.contains("a graceful shutdown"), "{report}");
}

/// Two generations accept from one socket, and the old one drains slowly: it answers after the new one
/// has. If `verify` did not see this, a count of no stale answers would mean nothing.
#[test]
fn answers_of_an_old_version_are_seen() {
    let project = Project::new("ignores-term");
    project.configure("[handover]\nsteering = \"none\"\n[app]\nstop_timeout = \"1s\"\n");
    let hotrun = verify(&project, &[&["--reloads", "2"], &ANY[..]].concat());
    let report = report(&hotrun, 1);
    assert!(count(&report, "stale") > 0, "{report}");
    assert!(report.contains(" stale: 2 reloads, "), "{report}");
    let hint = "hint: old and new version accept from one socket at 127.0.0.1:";
    assert!(report.contains(hint), "{report}");
}

/// With two slots, the same program has no stale answers.
#[test]
fn where_versions_do_not_share_nothing_is_stale() {
    let project = Project::new("ignores-term");
    project.configure("[app]\nstop_timeout = \"1s\"\n");
    let hotrun = verify(&project, &[&["--reloads", "2"], &ANY[..]].concat());
    hotrun.wait_exit();
    let report = hotrun.stdout();
    say(&report);
    assert_eq!(count(&report, "stale"), 0, "{report}");
    let looked_at = report.split("stale  0 of ").nth(1).unwrap();
    assert!(count(looked_at, "") > 20, "{report}");
}

#[test]
fn live_that_is_stopped_first_keeps_clients_waiting() {
    let project = Project::new("slow-drain");
    let args = ["--reloads", "2", "--handover", "stop-first"];
    let hotrun = verify(&project, &[&args[..], &ANY].concat());
    let report = report(&hotrun, 0);
    let hint = "hint: the old version is stopped before the new one starts: ";
    assert!(report.contains(hint), "{report}");
}

/// Unix sockets get load too; sockets without connections don't.
#[test]
fn every_address_that_takes_connections_is_loaded() {
    let project = Project::new("sockets");
    let addresses = ["unix:app.sock", "[::]:0", "udp:127.0.0.1:0"];
    let listen = addresses.map(|address| ["--listen", address]).concat();
    let hotrun = verify(&project, &[&["--reloads", "1"], &listen[..]].concat());
    // The app does not handle the stop signal, so a request may be cut.
    hotrun.wait_exit();
    hotrun.assert_nothing_left();
    let report = hotrun.stdout();
    say(&report);
    let held = hotrun.held();
    assert!(
        report.contains(&format!(" at {}, {}\n", held[0], held[1])),
        "{report}"
    );
    let hint = format!("hint: {} had no clients: nothing connects to it\n", held[2]);
    assert!(report.contains(&hint), "{report}");
    for name in ["refused", "stale", "no answer in 10 s"] {
        assert_eq!(count(&report, name), 0, "{report}");
    }
}

/// The hotrun under load inherits the sockets that `verify` was started with.
#[test]
fn sockets_that_were_handed_over_are_handed_on() {
    let project = Project::new("sockets");
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = project.root().join("outer.sock");
    let admin = UnixListener::bind(&path).unwrap();
    let address = web.local_addr().unwrap().to_string();
    let hotrun = Run::new(&project, &["verify", "--reloads", "1"])
        .inheriting("web:admin", [web.into(), admin.into()])
        .start();
    // The app does not handle the stop signal, so a request may be cut.
    hotrun.wait_exit();
    hotrun.assert_nothing_left();
    let held = [address, format!("unix:{}", path.display())];
    assert_eq!(hotrun.held(), held);
    assert_eq!(hotrun.all("live").len(), 2);
    let report = hotrun.stdout();
    let at = format!(" at {}\n", held.join(", "));
    assert!(report.contains(&at), "{report}");
    assert_eq!(count(&report, "refused"), 0, "{report}");
}

/// If the app does not speak HTTP, clients only connect, and the report says so.
#[test]
fn apps_without_http_are_only_connected_to() {
    let project = Project::new("slow-drain");
    project.edit("src/http.rs", "\"HTTP/1.1 200 OK", "\"GOPHER/9 200 OK");
    let hotrun = verify(&project, &[&["--reloads", "2"], &ANY[..]].concat());
    let report = report(&hotrun, 0);
    assert!(report.contains(" connections at 127.0.0.1:"), "{report}");
    assert!(
        report.contains(" answered `GET /` with something else than HTTP: "),
        "{report}"
    );
}

/// A program with TLS that knows nothing of shutdown loses nothing, its handshakes included. Without
/// `--tls`, its clients would only connect.
#[test]
fn over_tls_nothing_is_lost() {
    let address = own_address().to_string();
    let project = Project::tls();
    let words = [
        "--reloads",
        "3",
        "--tls",
        "--path",
        "/slow?ms=50",
        "--",
        "https",
        &address,
    ];
    let hotrun = verify(&project, &words);
    let told = report(&hotrun, 0);
    let first = told.lines().next().unwrap();
    assert!(first.starts_with("nothing lost: 3 reloads, "), "{told}");
    let asked = format!(" requests over TLS for `/slow?ms=50` at {address}");
    assert!(first.ends_with(&asked), "{told}");
    assert!(count(&told, "nothing lost: 3 reloads,") > 20, "{told}");
    let hotrun = verify(&project, &["--reloads", "1", "--", "https", &address]);
    let told = report(&hotrun, 0);
    let hint = format!("hint: {address} speaks TLS: clients only connected there");
    assert!(told.contains(&hint), "{told}");
}

/// What works at no time proves nothing about reloads.
#[test]
fn a_path_where_nothing_works_is_named() {
    let project = Project::new("slow-drain");
    project.edit(
        "src/http.rs",
        "\"HTTP/1.1 200 OK",
        "\"HTTP/1.1 404 Not Found",
    );
    let source = Source::of(&project);
    let hotrun = verify(&project, &[&["--path", "/typo"], &ANY[..]].concat());
    hotrun.wait_code(2);
    hotrun.assert_nothing_left();
    source.assert_untouched();
    assert_eq!(hotrun.all("live").len(), 1);
    let said = hotrun.stderr();
    let error = " to `GET /typo` before the first reload were errors: status 404 (";
    assert!(said.contains(error), "{said}");
    assert!(said.contains("\nhint: name a path that "), "{said}");
}

/// WebSockets end with the version that serves them, and are opened again on the next.
#[test]
fn websockets_are_cut_and_opened_again() {
    for kind in ["ws", "wss"] {
        let address = own_address().to_string();
        let project = Project::tls();
        let tls: &[&str] = if kind == "wss" { &["--tls"] } else { &[] };
        let words = ["--reloads", "2", "--websocket", "--", kind, &address];
        let hotrun = verify(&project, &[tls, &words].concat());
        let told = report(&hotrun, 0);
        for (name, expected) in [("not opened", 0), ("opened", 12), ("cut without a word", 8)] {
            assert_eq!(count(&told, name), expected, "{told}");
        }
        let again = "reopened  8, all of them on a newer version\n";
        assert!(told.contains(again), "{told}");
        let hint = "hint: 8 WebSockets were cut without a word";
        assert!(told.contains(hint), "{told}");
    }
}

#[test]
fn where_no_websocket_is_opened_it_says_so() {
    let project = Project::new("slow-drain");
    let hotrun = verify(&project, &[&["--websocket"], &ANY[..]].concat());
    hotrun.wait_code(2);
    let said = hotrun.stderr();
    let error = "error: no WebSocket was opened at 127.0.0.1:";
    assert!(said.contains(error), "{said}");
    assert!(said.contains(": it answered 200\nhint: "), "{said}");
}

/// A build that fails, at first or later, is reported with the compiler's output.
#[test]
fn what_does_not_build_is_told() {
    let project = Project::new("slow-drain");
    let source = Source::of(&project);
    let good = fs::read_to_string(project.path("src/version.rs")).unwrap();
    project.save("src/version.rs", "pub const VERSION: &str = nonsense;\n");
    let hotrun = verify(&project, &ANY);
    hotrun.wait_code(1);
    hotrun.assert_nothing_left();
    assert_eq!(hotrun.stdout(), "");
    let said = hotrun.stderr();
    let compiler = said.find("cannot find value `nonsense`").expect(&said);
    let own = said
        .find("error: g1 failed to build: 1 error\n")
        .expect(&said);
    assert!(compiler < own, "{said}");
    project.save("src/version.rs", &good);
    let hotrun = verify(&project, &[&["--reloads", "100"], &ANY[..]].concat());
    hotrun.wait_live(2);
    project.save("src/version.rs", "pub const VERSION: &str = nonsense;\n");
    hotrun.wait_code(1);
    hotrun.assert_nothing_left();
    let said = hotrun.stderr();
    assert!(said.contains("cannot find value `nonsense`"), "{said}");
    source.assert_untouched();
}

/// A generation that does not get ready, or dies, is reported with its last lines.
#[test]
fn what_does_not_serve_is_told_with_its_last_words() {
    let project = Project::new("never-ready");
    project.configure("[app]\nready_timeout = \"2s\"\n");
    let hotrun = verify(&project, &ANY);
    hotrun.wait_code(1);
    hotrun.assert_nothing_left();
    let said = hotrun.stderr();
    assert!(said.contains("hanging 1 g1\n"), "{said}");
    assert!(said.contains("error: g1 was not ready after "), "{said}");
    let project = Project::new("crash-late");
    project.set_version("crash");
    let args = [&["verify"], &ANY[..]].concat();
    let hotrun = Run::new(&project, &args).env("CRASH_MS", "200").start();
    hotrun.wait_code(1);
    hotrun.assert_nothing_left();
    let said = hotrun.stderr();
    assert!(said.contains("crash of crash\n"), "{said}");
    let error = "ended by itself while it was live: exit status 3\nhint: ";
    assert!(said.contains(error), "{said}");
}

#[test]
fn what_holds_no_address_has_nothing_to_load() {
    let project = Project::new("worker");
    let hotrun = verify(&project, &[]);
    hotrun.wait_code(2);
    hotrun.assert_nothing_left();
    let said = hotrun.stderr();
    let error = "error: this program holds no address, so there is nothing to load\nhint: ";
    assert!(said.contains(error), "{said}");
    let project = Project::new("sockets");
    let hotrun = verify(&project, &["--listen", "udp:127.0.0.1:0"]);
    hotrun.wait_code(2);
    let said = hotrun.stderr();
    assert!(
        said.contains("error: no client connects to udp:127.0.0.1:"),
        "{said}"
    );
}

/// If the hotrun under load refuses to start, `verify` ends with the same message and code.
#[test]
fn an_address_in_use_is_named() {
    let project = Project::new("slow-drain");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let hotrun = verify(&project, &["--listen", &address]);
    hotrun.wait_code(3);
    let said = hotrun.stderr();
    assert!(said.starts_with("error: "), "{said}");
    assert!(said.contains(&address), "{said}");
}

/// However it is ended, the source has its time stamp again, and no process is left.
#[test]
fn a_signal_leaves_nothing_behind() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let project = Project::new("slow-drain");
        let source = Source::of(&project);
        let hotrun = verify(&project, &[&["--reloads", "1000"], &ANY[..]].concat());
        hotrun.wait_live(2);
        assert!(!source.is_old());
        if signal == Signal::SIGHUP && hotrun.ignores_hangup() {
            continue;
        }
        hotrun.signal(signal);
        hotrun.wait_killed_by(signal);
        source.assert_untouched();
        hotrun.assert_nothing_left();
        assert_eq!(hotrun.stdout(), "");
        // The hotrun under load got a signal to end, and was not killed.
        assert_eq!(hotrun.all("quitting").len(), 1);
    }
}

/// The same before there is an address to load.
#[test]
fn a_signal_at_the_start_leaves_nothing_behind() {
    let project = Project::new("slow-drain");
    let hotrun = verify(&project, &ANY);
    hotrun.wait_for("building", |_| true);
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    hotrun.assert_nothing_left();
}

/// Under `nohup`, children inherit that SIGHUP is ignored, and `verify` asks for reloads by that signal.
#[test]
fn reloads_come_where_hangups_are_ignored() {
    let project = Project::new("slow-drain");
    let args = [&["verify", "--reloads", "1"], &ANY[..]].concat();
    let hotrun = Run::new(&project, &args).after("trap '' HUP").start();
    // `verify` itself ignores the signal.
    hotrun.wait_for("building", |_| true);
    hotrun.hangup();
    let report = report(&hotrun, 0);
    assert!(report.starts_with("nothing lost: 1 reload, "), "{report}");
}

/// The keeper of `verify` ends the hotrun under load, whose keepers end the rest.
#[test]
fn nothing_outlives_a_verification_that_is_killed() {
    let project = Project::new("slow-drain");
    let hotrun = verify(&project, &[&["--reloads", "1000"], &ANY[..]].concat());
    hotrun.wait_live(2);
    hotrun.kill();
    hotrun.wait_killed_by(Signal::SIGKILL);
    hotrun.assert_nothing_left_within(Duration::from_secs(1));
    TcpListener::bind(hotrun.address()).unwrap();
}
