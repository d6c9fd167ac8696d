//! Addresses that an app binds by itself are captured, without a change to the app or a setting: no
//! client is refused by a reload, or by a crash, and none reaches an old generation after a newer one.

use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use procfs::net::{TcpNetEntry, TcpState};

use crate::common::load::{Kind, Outcomes};
use crate::common::{
    Datagrams, Hotrun, Load, Outcome, Project, Run, get, own_address, own_port, say, wait_until,
};

/// Reloads of each kind of server, and how many of them begin with a crash.
const RELOADS: u32 = 10;
const CRASHES: u32 = 2;

/// A crash soon after the start must not roll back here. And on a busy machine, a server may be slow
/// between two addresses, and accepted connections may wait for long before they are read.
const CONFIGURATION: &str =
    "[app]\nprobation = \"1ms\"\nsettle = \"5s\"\n[handover]\nquiesce_max = \"20s\"\n";

/// Runs `listens` as this server.
fn serve(words: &[&str]) -> (Project, Hotrun) {
    let project = Project::new("listens");
    let hotrun = start(&project, words);
    (project, hotrun)
}

fn start(project: &Project, words: &[&str]) -> Hotrun {
    project.configure(CONFIGURATION);
    let args = [&["--"], words].concat();
    Hotrun::start(project, &args)
}

/// Waits until the first generation is live and listens on this many addresses: one that begins late is
/// live before.
fn wait_held(hotrun: &Hotrun, count: usize) -> Vec<String> {
    hotrun.wait_live(1);
    wait_until("all addresses to be held", || {
        Some(hotrun.held()).filter(|held| held.len() == count)
    })
}

/// Reloads again and again, and has live crash in some of the reloads. Returns how many connections the
/// crashed processes had.
fn reload(hotrun: &Hotrun) -> usize {
    let mut live = hotrun.all("live").pop().unwrap()["generation"]
        .as_u64()
        .unwrap();
    let mut taken = 0;
    for number in 0..RELOADS {
        let place = hotrun.here();
        if number % (RELOADS / CRASHES) == 2 {
            let app = hotrun.app(live);
            // Stopped, the app and its children accept no more, so that their connections can be
            // counted.
            killpg(Pid::from_raw(app.pid), Signal::SIGSTOP).unwrap();
            hotrun.wait_after(place, "suspended", |_| true);
            taken += connections(&hotrun.addresses());
            app.signal(Signal::SIGKILL);
        } else {
            hotrun.hangup();
        }
        let event = hotrun.wait_next_live(place);
        hotrun.wait_after(place, "gone", |event| event["generation"] == live);
        live = event["generation"].as_u64().unwrap();
    }
    taken
}

/// The accepted connections at these addresses: those still in a queue have no inode.
fn connections(addresses: &[SocketAddr]) -> usize {
    let open = [TcpState::Established, TcpState::CloseWait];
    let is_accepted = |entry: &TcpNetEntry| {
        let ports = addresses.iter().map(SocketAddr::port);
        let here = ports
            .into_iter()
            .any(|port| port == entry.local_address.port());
        here && entry.inode != 0 && open.contains(&entry.state)
    };
    let all = [procfs::net::tcp(), procfs::net::tcp6()];
    let all = all.into_iter().flatten().flatten();
    all.filter(|entry| is_accepted(entry)).count()
}

/// Puts each address under load during reloads.
fn loaded(hotrun: &Hotrun, addresses: &[SocketAddr], kind: Kind) {
    let loads: Vec<Load> = addresses
        .iter()
        .map(|address| Load::start(*address, 200, kind))
        .collect();
    let mut taken = reload(hotrun);
    for load in loads {
        load.wait_more(20);
        taken -= check(&load.stop(), taken).min(taken);
    }
    assert_eq!(hotrun.all("warning").len(), 0);
    assert_eq!(hotrun.all("uncaptured").len(), 0);
}

/// Checks that no connection was refused and no answer was stale. A process that crashes resets the
/// `taken` connections that it had, and one that ends by its stop signal the one that it is answering.
/// Returns how many were reset.
fn check(outcomes: &Outcomes, taken: usize) -> usize {
    let resets = outcomes.count(|outcome| *outcome == Outcome::Reset);
    say(&format!(
        "{resets} reset, {taken} taken; {}",
        outcomes.summary()
    ));
    outcomes.assert_none_refused();
    assert_eq!(outcomes.stale(), 0);
    assert!(resets <= taken + RELOADS as usize, "{resets} reset");
    resets
}

#[test]
fn a_plain_server() {
    let address = own_address();
    let (project, hotrun) = serve(&["tcp", &address.to_string()]);
    assert_eq!(wait_held(&hotrun, 1), [address.to_string()]);
    loaded(&hotrun, &[address], Kind::Mixed);
    let place = hotrun.here();
    project.set_version("2");
    hotrun.wait_next_live(place);
    assert_eq!(get(address).answer().version, "2");
    hotrun.terminate();
    hotrun.wait_killed_by(Signal::SIGTERM);
    hotrun.assert_nothing_left();
}

#[test]
fn every_family() {
    let port = own_port();
    let all = [
        format!("[::1]:{port}"),
        format!("127.0.0.1:{port}"),
        // IPv4 as Java binds it.
        format!("[::ffff:127.0.0.2]:{port}"),
    ];
    let words: Vec<&str> = std::iter::once("tcp")
        .chain(all.iter().map(String::as_str))
        .collect();
    let (_project, hotrun) = serve(&words);
    let mut held = wait_held(&hotrun, 3);
    held.sort();
    let mut expected = all.clone();
    expected.sort();
    assert_eq!(held, expected);
    let reached = [
        format!("[::1]:{port}"),
        format!("127.0.0.1:{port}"),
        format!("127.0.0.2:{port}"),
    ];
    loaded(&hotrun, &reached.map(|at| at.parse().unwrap()), Kind::Get);
}

#[test]
fn every_interface_of_both_families() {
    let port = own_port();
    let (_project, hotrun) = serve(&["tcp", &format!("[::]:{port}")]);
    wait_held(&hotrun, 1);
    let reached = [format!("[::1]:{port}"), format!("127.0.0.1:{port}")];
    loaded(&hotrun, &reached.map(|at| at.parse().unwrap()), Kind::Get);
}

#[test]
fn a_server_that_speaks_first() {
    let address = own_address();
    let (_project, hotrun) = serve(&["speaks-first", &address.to_string()]);
    wait_held(&hotrun, 1);
    loaded(&hotrun, &[address], Kind::Nothing);
}

/// Ports 0 are told apart by their order.
#[test]
fn ports_that_the_system_chooses_stay() {
    let (_project, hotrun) = serve(&["tcp", "127.0.0.1:0", "127.0.0.1:0", "[::1]:0"]);
    let held = wait_held(&hotrun, 3);
    assert!(
        held.iter().all(|address| !address.ends_with(":0")),
        "{held:?}"
    );
    loaded(&hotrun, &hotrun.addresses(), Kind::Get);
    assert_eq!(hotrun.held(), held);
    let said = hotrun.stdout();
    let said: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("listening on "))
        .collect();
    let first: Vec<&str> = said[..3].to_vec();
    let mut next = 0;
    for line in said {
        if line == first[0] {
            // A generation that is killed at once may not have said all.
            next = 0;
        }
        assert_eq!(Some(&line), first.get(next));
        next += 1;
    }
}

#[test]
fn a_thread_for_each_core_with_its_own_socket() {
    let address = own_address();
    let (_project, hotrun) = serve(&["per-core", "4", &address.to_string()]);
    wait_held(&hotrun, 1);
    loaded(&hotrun, &[address], Kind::Get);
}

#[test]
fn processes_that_share_one_socket() {
    let address = own_address();
    let (_project, hotrun) = serve(&["pre-fork", "3", &address.to_string()]);
    wait_held(&hotrun, 1);
    loaded(&hotrun, &[address], Kind::Get);
}

#[test]
fn a_path() {
    let project = Project::new("listens");
    let hotrun = start(&project, &["unix", "app.sock"]);
    let path = project.path("app.sock");
    assert_eq!(wait_held(&hotrun, 1), [format!("unix:{}", path.display())]);
    let load = Load::start(&*path, 200, Kind::Get);
    reload(&hotrun);
    load.wait_more(20);
    // The kernel does not list which process a client of a unix socket is connected to.
    check(&load.stop(), 2 * RELOADS as usize);
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    hotrun.assert_nothing_left();
    assert!(!path.exists());
}

#[test]
fn datagrams() {
    let address = own_address();
    let (_project, hotrun) = serve(&["udp", &address.to_string()]);
    assert_eq!(wait_held(&hotrun, 1), [format!("udp:{address}")]);
    let datagrams = Datagrams::udp(address, 200);
    reload(&hotrun);
    let answered = datagrams.stop();
    let lost = answered.lost();
    say(&format!(
        "{} datagrams, {lost} lost, {} stale, answers of {} generations",
        answered.sent,
        answered.stale(),
        answered.generations()
    ));
    assert_eq!(answered.refused, 0);
    // Lost are datagrams that a process had read when it ended, and those that came when a queue was
    // full.
    let dropped = dropped(address);
    assert!(
        lost <= RELOADS as usize + dropped,
        "{lost} lost, {dropped} dropped"
    );
}

/// How many datagrams to this address were dropped because its queue was full.
fn dropped(address: SocketAddr) -> usize {
    let SocketAddr::V4(v4) = address else {
        panic!("{address}");
    };
    let ip = u32::from_ne_bytes(v4.ip().octets());
    let shown = format!("{ip:08X}:{:04X}", v4.port());
    let all = std::fs::read_to_string("/proc/net/udp").unwrap();
    let own = all
        .lines()
        .filter(|line| line.split_whitespace().nth(1) == Some(&*shown));
    own.map(|line| {
        line.split_whitespace()
            .last()
            .unwrap()
            .parse::<usize>()
            .unwrap()
    })
    .sum()
}

/// The program is exclusive, which is learned once; its connections wait in the queue during later
/// handovers.
#[test]
fn a_server_that_locks_a_file() {
    let address = own_address();
    let project = Project::new("listens");
    // Not in the package, where a new file may be a source.
    let lock = project.root().join("lock");
    let hotrun = start(
        &project,
        &["locks", lock.to_str().unwrap(), &address.to_string()],
    );
    wait_held(&hotrun, 1);
    let load = Load::start(address, 200, Kind::Get);
    let taken = reload(&hotrun);
    load.wait_more(20);
    check(&load.stop(), taken);
    assert_eq!(hotrun.all("learned").len(), 1);
}

/// To the program, a port that is held for it is free.
#[test]
fn a_server_that_takes_the_next_free_port() {
    let port = own_port();
    let (_project, hotrun) = serve(&["takes-the-next", &port.to_string()]);
    let address = format!("127.0.0.1:{port}");
    assert_eq!(wait_held(&hotrun, 1)[0], address);
    loaded(&hotrun, &[address.parse().unwrap()], Kind::Get);
    assert_eq!(hotrun.held(), [address]);
}

/// Starts the example of a framework, as its own first page has it; `hello` is the one for axum.
fn framework(name: &str) -> (SocketAddr, Hotrun) {
    let address = own_address();
    let project = Project::frameworks();
    project.configure(CONFIGURATION);
    let hotrun = Hotrun::start(&project, &["--bin", name, "--", &address.to_string()]);
    wait_held(&hotrun, 1);
    (address, hotrun)
}

#[test]
fn axum() {
    let address = own_address();
    let project = Project::hello();
    project.configure(CONFIGURATION);
    let hotrun = Run::new(&project, &[])
        .env("ADDR", &address.to_string())
        .start();
    wait_held(&hotrun, 1);
    loaded(&hotrun, &[address], Kind::Mixed);
}

#[test]
fn actix_web() {
    let (address, hotrun) = framework("actix");
    loaded(&hotrun, &[address], Kind::Get);
}

#[test]
fn hyper() {
    let (address, hotrun) = framework("hyper");
    loaded(&hotrun, &[address], Kind::Get);
}

#[test]
fn tokio_alone() {
    let (address, hotrun) = framework("raw");
    loaded(&hotrun, &[address], Kind::Get);
}

/// gRPC, with a client of its own that opens a new connection for each request.
#[test]
fn tonic() {
    let (address, hotrun) = framework("grpc");
    let client = Project::frameworks();
    let build = ["build", "--quiet", "--bin", "grpc-client"];
    assert!(
        client
            .command("cargo")
            .args(build)
            .status()
            .unwrap()
            .success()
    );
    let mut child = Command::new(client.path("../target/debug/grpc-client"))
        .arg(address.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (tell, answered) = mpsc::channel();
    let lines = thread::spawn(move || {
        let told = lines.map(Result::unwrap).inspect(|line| {
            if line.contains(" g") {
                tell.send(()).ok();
            }
        });
        told.collect::<Vec<String>>()
    });
    let taken = reload(&hotrun);
    // However quick the reloads were.
    assert_eq!(answered.iter().take(100).count(), 100);
    child.kill().unwrap();
    child.wait().unwrap();
    let lines = lines.join().unwrap();
    let errors: Vec<&String> = lines.iter().filter(|line| line.contains("error")).collect();
    let some = &errors[..errors.len().min(10)];
    say(&format!(
        "{} asked, {taken} taken, {} errors: {some:?}",
        lines.len(),
        errors.len()
    ));
    assert!(!errors.iter().any(|line| line.contains("ConnectionRefused")));
    assert!(
        errors.len() <= taken + RELOADS as usize,
        "{taken} taken, {} errors: {some:?}",
        errors.len()
    );
    // No request that began after an answer of one generation was answered by an older one.
    let mut answered: Vec<[u64; 3]> = lines
        .iter()
        .filter_map(|line| {
            let (times, generation) = line.split_once(" g")?;
            let (opened, ended) = times.split_once(' ')?;
            Some([ended, opened, generation].map(|word| word.parse().unwrap()))
        })
        .collect();
    answered.sort_unstable();
    for [ended, _, generation] in &answered {
        let later = answered.iter().filter(|[_, opened, _]| opened > ended);
        assert!(later.into_iter().all(|[.., other]| other >= generation));
    }
}

/// A server that is another program, started by the app.
const PYTHON: &str = r#"
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        generation = os.environ["HOTRUN_GENERATION"]
        body = f"1 g{generation}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", len(body))
        self.send_header("X-Generation", generation)
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
"#;

/// The same in another language.
const NODE: &str = r#"
const generation = process.env.HOTRUN_GENERATION;
require("http").createServer((request, response) => {
  const body = `1 g${generation}\n`;
  response.writeHead(200, { "Content-Length": body.length, "X-Generation": generation });
  response.end(body);
}).listen(PORT, "127.0.0.1");
"#;

#[test]
fn servers_in_other_languages() {
    let mut found = 0;
    for (language, program) in [("python3", PYTHON), ("node", NODE)] {
        let project = Project::new("listens");
        let there = project
            .command(language)
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        if !there.is_ok_and(|there| there.success()) {
            continue;
        }
        found += 1;
        let port = own_port();
        project.add("server", &program.replace("PORT", &port.to_string()));
        let hotrun = start(&project, &["starts", language, "server"]);
        wait_held(&hotrun, 1);
        loaded(
            &hotrun,
            &[SocketAddr::from(([127, 0, 0, 1], port))],
            Kind::Get,
        );
    }
    assert!(found > 0, "neither Python nor Node is installed");
}

/// Configures the arguments of the app, and more of its settings.
fn run_with(project: &Project, words: &str, more: &str) {
    let words: Vec<String> = words.split(' ').map(|word| format!("'{word}'")).collect();
    project.configure(&format!("[app]\n{more}\nargs = [{}]\n", words.join(", ")));
}

/// The probe goes to the address on which the candidate listens now, and to the candidate only.
#[test]
fn another_address_that_is_asked_over_http() {
    let project = Project::new("listens");
    let begin = |host: &str| {
        let port = own_port();
        run_with(
            &project,
            &format!("tcp {host}:{port}"),
            "ready = \"http:/\"",
        );
        let client = host.replace("0.0.0.0", "127.0.0.1");
        format!("{client}:{port}").parse::<SocketAddr>().unwrap()
    };
    let mut address = begin("127.0.0.1");
    let hotrun = Hotrun::start(&project, &[]);
    for (number, next) in (1_u32..).zip(["127.0.0.1", "[::1]", "0.0.0.0", "127.0.0.1"]) {
        assert_eq!(hotrun.wait_live(number.into())["proof"], "answered");
        assert_eq!(get(address).answer().generation, number);
        address = begin(next);
    }
    hotrun.wait_live(5);
    // Each generation was started beside the one before.
    let starting = hotrun.all("starting");
    let beside: Vec<Option<u64>> = starting.iter().map(|one| one["beside"].as_u64()).collect();
    assert_eq!(beside, [None, Some(1), Some(2), Some(3), Some(4)]);
}

/// The address changes in the code: the new one is served by the same reload, the old one is released.
fn another_address(handover: &str) {
    let port = own_port();
    let other = own_port();
    let project = Project::new("listens");
    let args = |words: &str| run_with(&project, words, "probation = \"50ms\"");
    args(&format!("tcp 127.0.0.1:{port}"));
    let hotrun = Hotrun::start(&project, &["--handover", handover]);
    let mut before = wait_held(&hotrun, 1);
    let path = project.path("app.sock");
    for (words, held) in [
        (
            format!("tcp 127.0.0.1:{other}"),
            format!("127.0.0.1:{other}"),
        ),
        (format!("tcp 0.0.0.0:{other}"), format!("0.0.0.0:{other}")),
        (format!("tcp [::]:{other}"), format!("[::]:{other}")),
        (format!("tcp [::1]:{other}"), format!("[::1]:{other}")),
        ("unix app.sock".into(), format!("unix:{}", path.display())),
        (format!("tcp 127.0.0.1:{port}"), format!("127.0.0.1:{port}")),
    ] {
        let place = hotrun.here();
        args(&words);
        let live = hotrun.wait_next_live(place);
        let is_live = |outcome: Outcome| {
            let generation = u64::from(outcome.answer().generation);
            assert_eq!(generation, live["generation"].as_u64().unwrap());
        };
        is_live(match held.strip_prefix("unix:") {
            Some(path) => get(Path::new(path)),
            None => get(held
                .replace("0.0.0.0", "127.0.0.1")
                .replace("[::]", "[::1]")
                .parse::<SocketAddr>()
                .unwrap()),
        });
        // A client of the overlapping old address also reaches live, before and after it is released.
        let every = ["0.0.0.0", "[::]"].iter().any(|ip| held.starts_with(ip));
        let local = SocketAddr::from(([127, 0, 0, 1], other));
        if every {
            is_live(get(local));
        }
        wait_until("the old address to be released", || {
            (hotrun.held() == [held.clone()]).then_some(())
        });
        wait_until("the end of the old sockets", || {
            let before = before[0].parse::<SocketAddr>().ok();
            before
                .is_none_or(|before| !is_listened_on(before))
                .then_some(())
        });
        if every {
            is_live(get(local));
        }
        before = vec![held];
    }
    let local = SocketAddr::from(([127, 0, 0, 1], other));
    assert_eq!(get(local), Outcome::Refused);
    assert!(!path.exists());
    assert_eq!(hotrun.all("learned").len(), 0);
}

/// Some process listens on exactly this address.
fn is_listened_on(address: SocketAddr) -> bool {
    let all = [procfs::net::tcp(), procfs::net::tcp6()];
    let mut all = all.into_iter().flatten().flatten();
    all.any(|entry| entry.state == TcpState::Listen && entry.local_address == address)
}

#[test]
fn another_address_beside_live() {
    another_address("auto");
}

#[test]
fn another_address_with_live_stopped_first() {
    another_address("stop-first");
}

/// The addresses of the last run are held for a server that listens late, through its probation, also
/// with `--once`, and with parked connections.
#[test]
fn a_server_that_listens_late() {
    let address = own_address();
    let text = address.to_string();
    let project = Project::new("listens");
    project.configure("[app]\nprobation = \"3s\"\n[handover]\nwhile_building = \"hold\"\n");
    let words = ["--", "waits", "900", "tcp", &text];
    for run in 0..2 {
        let hotrun = Hotrun::start(&project, &words);
        let load = (run == 1).then(|| {
            hotrun.wait_for("building", |_| true);
            Load::start(address, 50, Kind::Get)
        });
        hotrun.wait_live(1);
        wait_until("an answer", || match get(address) {
            Outcome::Answer(answer) => Some(answer),
            _ => None,
        });
        let place = hotrun.here();
        project.set_version(&run.to_string());
        let live = hotrun.wait_next_live(place);
        assert_eq!(live["proof"], "accepting");
        assert!(
            live["phases"]["start_ms"].as_f64().unwrap() > 900.0,
            "{live}"
        );
        assert_eq!(get(address).answer().version, run.to_string());
        if let Some(load) = load {
            load.wait_more(20);
            load.stop().assert_none_refused();
        }
        hotrun.interrupt();
        hotrun.wait_killed_by(Signal::SIGINT);
    }
    let once = Hotrun::start(&project, &[&["--once"], &words[..]].concat());
    once.wait_code(0);
    let printed = once.stdout();
    assert!(printed.lines().any(|line| line == text), "{printed}");
    let once = Hotrun::start(&project, &["--once", "--", "waits", "900", "no-such"]);
    once.wait_code(1);
}

/// The setting takes effect at once, in both directions.
#[test]
fn capture_is_a_setting() {
    let address = own_address();
    let (project, hotrun) = serve(&["tcp", &address.to_string()]);
    wait_held(&hotrun, 1);
    for captures in ["false", "true", "false"] {
        let place = hotrun.here();
        project.configure(&format!(
            "[app]\nprobation = \"1ms\"\ncapture = {captures}\n"
        ));
        let live = hotrun.wait_next_live(place);
        let answer = wait_until("an answer", || match get(address) {
            Outcome::Answer(answer) => Some(answer),
            _ => None,
        });
        assert_eq!(
            u64::from(answer.generation),
            live["generation"].as_u64().unwrap()
        );
        hotrun.wait_after(place, "gone", |_| true);
    }
    assert_eq!(
        hotrun.all("not-ready").len() + hotrun.all("learned").len(),
        0
    );
}

/// A unix socket keeps the permissions that the app or its user gave it; and a program that removes its
/// path when it ends does not remove it for clients.
#[test]
fn a_path_keeps_its_mode_and_is_always_there() {
    let project = Project::new("listens");
    let hotrun = start(&project, &["tidies", "app.sock"]);
    let path = project.path("app.sock");
    wait_held(&hotrun, 1);
    let mode = || path.symlink_metadata().unwrap().permissions().mode() & 0o777;
    std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    let reload = || {
        let place = hotrun.here();
        hotrun.hangup();
        hotrun.wait_next_live(place);
        hotrun.wait_after(place, "gone", |_| true);
        assert_eq!(mode(), 0o640);
    };
    // The path was not known when the first generation was started.
    reload();
    let load = Load::start(&*path, 200, Kind::Get);
    for _ in 0..5 {
        reload();
    }
    load.wait_more(20);
    let outcomes = load.stop();
    say(&outcomes.summary());
    outcomes.assert_none_refused();
    assert_eq!(
        outcomes.count(|outcome| matches!(outcome, Outcome::Other(_))),
        0
    );
    assert_eq!(outcomes.stale(), 0);
    let removed = hotrun.stdout();
    let removed = removed.lines().filter(|line| *line == "removed: Ok(())");
    assert_eq!(removed.count(), 6);
}

/// A declared address, bound by a program that does not use activation.
#[test]
fn a_declared_address_that_the_app_binds_itself() {
    let address = own_address();
    let project = Project::new("listens");
    project.configure(CONFIGURATION);
    let text = address.to_string();
    let hotrun = Hotrun::start(&project, &["--listen", &text, "--", "tcp", &text]);
    assert_eq!(wait_held(&hotrun, 1), [text]);
    loaded(&hotrun, &[address], Kind::Get);
    assert_eq!(hotrun.all("unclaimed").len(), 0);
}

/// The next hotrun holds the address again before it has built anything.
#[test]
fn addresses_are_remembered() {
    let address = own_address();
    let (project, hotrun) = serve(&["tcp", &address.to_string()]);
    wait_held(&hotrun, 1);
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    assert_eq!(get(address), Outcome::Refused);
    project.save(
        "build.rs",
        "fn main() { while !std::path::Path::new(\"go\").exists() {} }\n",
    );
    let hotrun = start(&project, &["tcp", &address.to_string()]);
    hotrun.wait_for("building", |_| true);
    assert_eq!(hotrun.held(), [address.to_string()]);
    let asked = thread::spawn(move || get(address));
    wait_until("the request to wait in the queue", || {
        let mut all = procfs::net::tcp().unwrap().into_iter();
        let waits = |entry: &TcpNetEntry| {
            entry.local_address == address && entry.state == TcpState::Established
        };
        all.any(|entry| waits(&entry)).then_some(())
    });
    project.add("go", "");
    assert_eq!(asked.join().unwrap().answer().version, "1");
    // The program has another address now: the old one is released.
    let other = own_address();
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    let hotrun = start(&project, &["tcp", &other.to_string()]);
    hotrun.wait_live(1);
    wait_until("only the other address to be held", || {
        (hotrun.held() == [other.to_string()]).then_some(())
    });
    wait_free(address);
}

/// A program that is no server any more: it becomes live without listening, and connections to the
/// remembered address are refused and not kept waiting.
#[test]
fn what_was_remembered_in_vain_is_released() {
    let address = own_address();
    let (project, hotrun) = serve(&["tcp", &address.to_string()]);
    wait_held(&hotrun, 1);
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    let hotrun = start(&project, &["waits", "60000", "nothing"]);
    assert_eq!(hotrun.wait_live(1)["proof"], "alive");
    wait_until("no address to be held", || {
        hotrun.held().is_empty().then_some(())
    });
    wait_free(address);
}

/// Waits until no process listens there any more; the line about the release comes a moment before.
fn wait_free(address: SocketAddr) {
    wait_until("the address to be free", || {
        let connected = std::net::TcpStream::connect(address);
        connected
            .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
            .then_some(())
    });
}

/// Runs hotrun where a system call is denied, as in a container.
fn denied(number: i64, words: &[&str]) -> Hotrun {
    denied_in(&Project::new("listens"), number, words)
}

fn denied_in(project: &Project, number: i64, words: &[&str]) -> Hotrun {
    project.configure(CONFIGURATION);
    let built = project.command("cargo").args(["build", "--quiet"]).status();
    assert!(built.unwrap().success());
    let program = project.path("target/debug/listens");
    let args = [&["--"], words].concat();
    let by = [program.to_str().unwrap(), "denies", &number.to_string()];
    Run::new(project, &args).by(&by).start()
}

/// Without `pidfd_getfd`, as under Docker's default profile.
#[test]
fn in_a_container() {
    let address = own_address();
    for words in [
        vec!["tcp".to_owned(), address.to_string(), "127.0.0.1:0".into()],
        vec!["per-core".into(), "3".into(), address.to_string()],
        vec!["asks-wrongly".into(), address.to_string()],
    ] {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let hotrun = denied(nix::libc::SYS_pidfd_getfd, &words);
        wait_held(&hotrun, if words[0] == "tcp" { 2 } else { 1 });
        loaded(&hotrun, &hotrun.addresses(), Kind::Get);
    }
}

/// If no filter can be installed, one line says so, and the app runs without capture.
#[test]
fn where_a_sandbox_forbids_it() {
    let address = own_address();
    let hotrun = denied(nix::libc::SYS_seccomp, &["tcp", &address.to_string()]);
    hotrun.wait_live(1);
    hotrun.wait_line(|line| line.starts_with("listening on "));
    let said = hotrun.all("uncaptured");
    let line = "what the app listens on is not held: a sandbox forbids it (seccomp)";
    assert_eq!(said[0]["text"], line);
    let hint = said[0]["hint"].as_str().unwrap();
    assert!(hint.starts_with("declare its address"), "{hint}");
    get(address).answer();
    // The line is not repeated, and with only one port, the next generation has to wait for it.
    let place = hotrun.here();
    hotrun.hangup();
    hotrun.wait_next_live(place);
    assert_eq!(hotrun.all("uncaptured").len(), 1);
}

/// What the last run has captured can't be handed to the app here: it is left to the app's own bind.
#[test]
fn what_is_remembered_is_free_where_a_sandbox_forbids_capture() {
    let address = own_address();
    let words = ["tcp", &address.to_string()];
    let project = Project::new("listens");
    let hotrun = start(&project, &words);
    hotrun.wait_live(1);
    wait_held(&hotrun, 1);
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    let hotrun = denied_in(&project, nix::libc::SYS_seccomp, &words);
    hotrun.wait_live(1);
    assert_eq!(hotrun.all("uncaptured").len(), 1);
    assert_eq!(hotrun.all("held").len(), 0);
    get(address).answer();
    // Where it can be captured again, it is still remembered.
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    let hotrun = start(&project, &words);
    wait_held(&hotrun, 1);
    let events = hotrun.events();
    let first = |name: &str| events.iter().position(|event| event["event"] == name);
    assert!(first("held") < first("started"), "{events:#?}");
}

/// With `capture = false`, nothing is held.
#[test]
fn nothing_is_captured_where_that_is_not_wanted() {
    let address = own_address();
    let project = Project::new("listens");
    let text = address.to_string();
    let hotrun = Hotrun::start(&project, &["--no-capture", "--", "tcp", &text]);
    hotrun.wait_line(|line| line.starts_with("listening on "));
    hotrun.wait_live(1);
    assert_eq!(hotrun.all("held").len(), 0);
    get(address).answer();
}

/// A hotrun that is run by another hotrun says why it can't capture, and its app runs.
#[test]
fn a_hotrun_under_a_hotrun_says_why_not() {
    let address = own_address();
    let outer = Project::new("listens");
    let inner = Project::new("listens");
    let program = env!("CARGO_BIN_EXE_hotrun");
    let manifest = inner.path("Cargo.toml");
    let text = address.to_string();
    let words = [
        "starts",
        program,
        "--manifest-path",
        manifest.to_str().unwrap(),
        "--",
        "tcp",
        &text,
    ];
    let args = [&["--"], &words[..]].concat();
    let hotrun = Run::new(&outer, &args).start();
    let line =
        "what the app listens on is not held: another program answers its system calls already";
    wait_until("the reason", || {
        hotrun.stderr().contains(line).then_some(())
    });
    // The outer hotrun captures the address instead, beside the inner one's control socket.
    wait_until("the address", || {
        hotrun.held().contains(&text).then_some(())
    });
    get(address).answer();
}
