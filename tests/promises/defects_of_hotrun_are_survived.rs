//! If a part of hotrun panics, only its current work is lost: that is said, with a request to report it,
//! later saves are served, and nothing is left behind at the end. Without the main loop hotrun ends, and
//! says so. `tidy.rs` checks that each part is here.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procfs::process::Process;
use tokio_tungstenite::tungstenite::client;

use crate::common::terminal::Terminal;
use crate::common::{ANY, Hotrun, Outcome, Project, Run, get, own_address, own_port, wait_until};

fn wait_version(address: SocketAddr, version: &str) {
    wait_until("the version to be served", || {
        let answer = get(address);
        matches!(answer, Outcome::Answer(answer) if answer.version == version).then_some(())
    });
}

/// Starts a hotrun of which one part will panic once, which only a debug build supports.
fn start(project: &Project, part: &str, args: &[&str]) -> Hotrun {
    let run = Run::new(project, args).stdin(Stdio::null());
    run.env("HOTRUN_PANIC", part).start()
}

/// Waits until the panic is told, with its part and a request to report it.
fn wait_told(hotrun: &Hotrun, part: &str) {
    let said = wait_until("the panic", || {
        let said = hotrun.stderr();
        said.contains(&format!("{part} was asked to panic"))
            .then_some(said)
    });
    let told = said
        .lines()
        .find(|line| line.contains("a defect of hotrun, in `"));
    assert!(told.is_some(), "{said}");
    assert!(said.contains("hint: please report it"), "{said}");
}

/// A part that panics while an app is started, replaced and replaced again, with a hook and stdin.
fn survives(part: &str) {
    let address = own_address();
    let project = Project::new("listens");
    project.configure("[hooks]\nbefore_start = \"true\"\n");
    let args = ["--stdin", "app", "--", "tcp", &address.to_string()];
    let hotrun = start(&project, part, &args);
    // These parts run, and panic, before the app serves.
    let at_the_start = [
        "print", "build", "inputs", "pin", "app", "capture", "hook", "input",
    ];
    if at_the_start.contains(&part) {
        wait_told(&hotrun, part);
    }
    let is_lost = ["build", "inputs", "app", "hook", "pin"].contains(&part);
    if !is_lost {
        wait_version(address, "1");
    }
    project.set_version("2");
    wait_version(address, "2");
    if part == "signal" {
        hotrun.hangup();
    }
    wait_told(&hotrun, part);
    project.set_version("3");
    wait_version(address, "3");
    ends_well(&hotrun);
}

fn ends_well(hotrun: &Hotrun) {
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    hotrun.assert_nothing_left();
}

/// A part without which there is no session: hotrun says why it ends, and ends what it has started.
fn ends(part: &str) {
    let address = own_address();
    let project = Project::new("listens");
    let hotrun = start(&project, part, &["--", "tcp", &address.to_string()]);
    if ["session", "effects"].contains(&part) {
        wait_version(address, "1");
        project.set_version("2");
    }
    wait_told(&hotrun, part);
    hotrun.wait_code(1);
    let said = hotrun.stderr();
    let error = "error: hotrun ends because of a defect of its own: ";
    assert!(said.contains(error), "{said}");
    hotrun.assert_nothing_left();
    assert_eq!(get(address), Outcome::Refused);
}

#[test]
fn in_what_prints() {
    survives("print");
}

#[test]
fn in_what_watches() {
    survives("watch");
}

#[test]
fn in_what_gets_file_events() {
    survives("file events");
}

#[test]
fn in_what_builds() {
    survives("build");
}

#[test]
fn in_what_looks_at_the_inputs_of_a_build() {
    survives("inputs");
}

#[test]
fn in_what_takes_orders_to_build() {
    survives("builder");
}

#[test]
fn in_what_waits_for_the_end_of_cargo() {
    survives("end of cargo");
}

#[test]
fn in_what_pins_what_was_built() {
    survives("pin");
}

#[test]
fn in_what_removes_what_was_built() {
    let address = own_address();
    let project = Project::new("listens");
    project.configure("[app]\nprobation = \"100ms\"\n");
    let hotrun = start(&project, "discard", &["--", "tcp", &address.to_string()]);
    wait_version(address, "1");
    project.set_version("2");
    // What was built for the first version is removed when the second has passed its probation.
    wait_told(&hotrun, "discard");
    project.set_version("3");
    wait_version(address, "3");
    ends_well(&hotrun);
}

#[test]
fn in_what_finds_executables() {
    survives("executables");
}

#[test]
fn in_what_compiles_without_cargo() {
    let address = own_address();
    let project = Project::new("listens");
    project.add("src/lib.rs", "pub fn first() {}\n");
    let args = ["--fast", "--", "tcp", &address.to_string()];
    let hotrun = start(&project, "mirror", &args);
    wait_version(address, "1");
    // Cargo compiles both crates, and its calls are recorded.
    project.add("src/lib.rs", "pub fn second() {}\n");
    project.set_version("2");
    wait_version(address, "2");
    project.add("src/lib.rs", "pub fn third() {}\n");
    project.set_version("3");
    wait_told(&hotrun, "mirror");
    wait_version(address, "3");
    ends_well(&hotrun);
}

#[test]
fn in_what_compares_what_was_built() {
    survives("compare");
}

#[test]
fn in_what_runs_the_app() {
    survives("app");
}

#[test]
fn in_what_keeps_processes() {
    survives("keeper");
}

#[test]
fn in_what_sees_the_app_accept() {
    survives("accept probe");
}

/// It looks for a debugger first, without which the app is replaced.
#[test]
fn in_what_looks_at_processes() {
    survives("look");
}

#[test]
fn in_what_answers_the_app() {
    survives("capture");
}

#[test]
fn in_what_runs_hooks() {
    survives("hook");
}

#[test]
fn in_what_hears_signals() {
    survives("signal");
}

#[test]
fn in_what_reaps_processes() {
    survives("reap");
}

#[test]
fn in_what_reads_the_input() {
    survives("input");
}

#[test]
fn in_what_reads_keys() {
    let terminal = Terminal::open(24, 80);
    let project = Project::new("slow-drain");
    let run = Run::new(&project, &ANY).env("HOTRUN_PANIC", "keys");
    let hotrun = run.at(&terminal).start();
    hotrun.wait_live(1);
    terminal.press("s");
    let said = "a defect of hotrun, in `keys`";
    terminal.wait_screen(said, |screen| screen.contains(said));
    terminal.press("s");
    hotrun.wait_live(2);
    terminal.press("q");
    terminal.wait_screen("the end", |screen| screen.contains("back 0"));
}

#[test]
fn in_what_hands_the_input_on() {
    survives("stdin");
}

#[test]
fn in_what_waits_for_requests_to_end() {
    survives("quiesce");
}

#[test]
fn in_what_asks_for_connections() {
    survives("dump of connections");
}

#[test]
fn in_what_warns_of_what_is_not_watched() {
    survives("unwatched");
}

/// Who was asking asks again.
#[test]
fn in_what_answers_over_the_control_socket() {
    let project = Project::new("plain");
    let address = own_address();
    project.configure(&format!("[app]\nenv = {{ ADDR = \"{address}\" }}\n"));
    let hotrun = start(&project, "control", &[]);
    hotrun.wait_live(1);
    let ctl = |word: &str| {
        let mut command = project.command(env!("CARGO_BIN_EXE_hotrun"));
        command.args(["ctl", word]).output().unwrap().status
    };
    assert_eq!(ctl("status").code(), Some(1));
    wait_told(&hotrun, "control");
    assert_eq!(ctl("status").code(), Some(0));
    assert_eq!(ctl("stop").code(), Some(0));
    hotrun.wait_code(0);
}

/// A browser connects again.
#[test]
fn in_what_has_browsers_reload() {
    for part in ["livereload", "livereload connection", "livereload socket"] {
        let project = Project::new("plain");
        let address = own_address();
        project.configure(&format!("[app]\nenv = {{ ADDR = \"{address}\" }}\n"));
        let port = own_port();
        let hotrun = Run::new(&project, &[])
            .env("HOTRUN_PANIC", part)
            .with_browsers_at(port)
            .start();
        hotrun.wait_live(1);
        let connect = || {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            let url = format!("ws://127.0.0.1:{port}/livereload");
            client(url, stream).is_ok()
        };
        connect();
        wait_told(&hotrun, part);
        assert!(connect(), "{part}");
        ends_well(&hotrun);
    }
}

/// A client connects again.
#[test]
fn in_what_passes_clients_on() {
    for part in ["front", "front client"] {
        let address = own_address();
        let project = Project::new("listens");
        let args = ["--inject", "--", "tcp", &address.to_string()];
        let hotrun = Run::new(&project, &args)
            .env("HOTRUN_PANIC", part)
            .with_browsers()
            .start();
        wait_version(address, "1");
        wait_told(&hotrun, part);
        project.set_version("2");
        wait_version(address, "2");
        ends_well(&hotrun);
    }
}

#[test]
fn in_what_takes_late_connections() {
    survives("relay");
}

/// The page is shown to the browser with this number, and the app comes.
fn page_survives(part: &str, number: usize) {
    let project = Project::new("slow-drain");
    project.edit("src/version.rs", "\"1\";", "oops");
    let hotrun = start(&project, part, &ANY);
    hotrun.wait_for("build-failed", |_| true);
    let is_shown = |_: &usize| {
        let mut browser = TcpStream::connect(hotrun.address()).unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n";
        browser.write_all(request).unwrap();
        browser.read(&mut [0]).is_ok_and(|count| count == 1)
    };
    assert_eq!((1..=number).find(is_shown), Some(number));
    wait_told(&hotrun, part);
    project.edit("src/version.rs", "oops", "\"2\";");
    hotrun.wait_version("2");
    ends_well(&hotrun);
}

#[test]
fn in_what_accepts_for_the_page() {
    page_survives("page", 1);
}

#[test]
fn in_what_shows_a_browser_the_page() {
    page_survives("page client", 2);
}

#[test]
fn in_what_opens_a_browser() {
    let project = Project::new("slow-drain");
    let hotrun = start(&project, "open", &[&ANY[..], &["--open"]].concat());
    wait_told(&hotrun, "open");
    project.set_version("2");
    hotrun.wait_version("2");
    ends_well(&hotrun);
}

/// A proof of readiness must not come from a panic: this app gives no answer that is one.
#[test]
fn in_what_asks_the_app_whether_it_is_ready() {
    let address = own_address();
    let project = Project::new("listens");
    project.configure("[app]\nready = \"http:/\"\nready_timeout = \"2s\"\n");
    let args = ["--", "speaks-first", &address.to_string()];
    let hotrun = start(&project, "probe", &args);
    hotrun.wait_for("not-ready", |_| true);
    wait_told(&hotrun, "probe");
    assert_eq!(hotrun.all("live").len(), 0);
    ends_well(&hotrun);
}

/// The app can't be started without it: that is said, and the next save is served.
#[test]
fn in_what_starts_the_app() {
    let address = own_address();
    let project = Project::new("listens");
    let hotrun = start(&project, "start", &["--", "tcp", &address.to_string()]);
    wait_told(&hotrun, "start");
    let said = wait_until("the reason", || {
        let said = hotrun.stderr();
        said.contains("cannot be started: a defect of hotrun")
            .then_some(said)
    });
    assert!(said.contains("in `keeper` at src/keeper/"), "{said}");
    ends_well(&hotrun);
}

#[test]
fn in_what_restores_socket_files() {
    let project = Project::new("sockets");
    let hotrun = start(
        &project,
        "relink",
        &["--no-capture", "--listen", "unix:app.sock"],
    );
    hotrun.wait_live(1);
    project.set_version("2");
    hotrun.wait_live(2);
    wait_told(&hotrun, "relink");
    let path = project.path("app.sock");
    wait_until("the version to be served", || {
        let answer = get(path.as_path());
        matches!(answer, Outcome::Answer(answer) if answer.version == "2").then_some(())
    });
    ends_well(&hotrun);
    assert!(!path.exists());
}

#[test]
fn in_what_reads_the_configuration_again() {
    let address = own_address();
    let project = Project::new("listens");
    project.configure("[app]\nprobation = \"1s\"\n");
    let hotrun = start(
        &project,
        "configuration",
        &["--", "tcp", &address.to_string()],
    );
    wait_version(address, "1");
    project.configure("");
    wait_told(&hotrun, "configuration");
    hotrun.wait_for("configured", |_| true);
    project.set_version("2");
    wait_version(address, "2");
    ends_well(&hotrun);
}

#[test]
fn in_what_finds_who_has_a_lock() {
    let address = own_address();
    let project = Project::new("listens");
    let hotrun = start(&project, "lock", &["--", "tcp", &address.to_string()]);
    wait_version(address, "1");
    let lock = File::open(project.path("target/debug/.cargo-lock")).unwrap();
    lock.lock().unwrap();
    project.set_version("2");
    wait_told(&hotrun, "lock");
    hotrun.wait_for("blocked", |event| event["on"].is_string());
    drop(lock);
    wait_version(address, "2");
    ends_well(&hotrun);
}

#[test]
fn in_what_finds_who_has_an_address() {
    let address = own_address();
    let project = Project::new("listens");
    let other = TcpListener::bind(address).unwrap();
    let hotrun = start(&project, "port owner", &["--", "tcp", &address.to_string()]);
    wait_told(&hotrun, "port owner");
    hotrun.wait_for("address-in-use", |_| true);
    drop(other);
    project.set_version("2");
    wait_version(address, "2");
    ends_well(&hotrun);
}

/// Version 2 listens at all addresses: until the old address is released, its clients are carried.
fn of_an_old_address(part: &str) {
    let (port, project) = (own_port(), Project::new("listens"));
    let listen_at = |host: &str| {
        project.configure(&format!(
            "[app]\nargs = [\"tcp\", \"{host}:{port}\"]\nprobation = \"300ms\"\n"
        ));
    };
    listen_at("127.0.0.1");
    let hotrun = start(&project, part, &[]);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    wait_version(address, "1");
    listen_at("0.0.0.0");
    wait_until("the panic", || {
        get(address);
        let said = hotrun.stderr();
        said.contains(&format!("{part} was asked to panic"))
            .then_some(())
    });
    wait_told(&hotrun, part);
    project.set_version("2");
    wait_version(address, "2");
    ends_well(&hotrun);
}

#[test]
fn in_what_carries_connections() {
    of_an_old_address("carry");
}

#[test]
fn in_what_takes_the_last_connections() {
    of_an_old_address("last connections");
}

#[test]
fn in_the_main_loop() {
    ends("main");
}

#[test]
fn in_what_decides() {
    ends("session");
}

#[test]
fn in_what_carries_decisions_out() {
    ends("effects");
}

#[test]
fn in_what_reads_the_project() {
    ends("prepare");
}

/// The doctor does not take a panic for a good sign.
#[test]
fn in_the_doctor() {
    let project = Project::new("plain");
    let hotrun = start(&project, "trial", &["doctor"]);
    hotrun.wait_code(1);
    wait_told(&hotrun, "trial");
    let said = hotrun.stdout();
    assert!(
        said.contains("a client of a held address was refused"),
        "{said}"
    );
}

/// Clients that are not counted must not look like clients that were served.
fn of_verify(part: &str, code: i32) {
    let project = Project::hello();
    let args = [&["verify", "--reloads", "1"], &ANY[..]].concat();
    let hotrun = start(&project, part, &args);
    hotrun.wait_code(code);
    wait_told(&hotrun, part);
    let said = hotrun.stderr();
    assert_eq!(
        said.contains("error: the clients were not counted"),
        code == 1,
        "{said}"
    );
    hotrun.assert_nothing_left();
}

#[test]
fn in_a_client_of_verify() {
    of_verify("client", 1);
}

#[test]
fn in_what_counts_for_verify() {
    of_verify("count", 1);
}

#[test]
fn in_the_first_request_of_verify() {
    of_verify("first request", 0);
}

/// A process that never reports its end: two Ctrl-Cs wait for it.
#[test]
fn the_third_ctrl_c_leaves_at_once() {
    let address = own_address();
    let project = Project::new("listens");
    let hotrun = Hotrun::start(&project, &["--", "tcp", &address.to_string()]);
    hotrun.wait_live(1);
    let app = Process::new(hotrun.app(1).pid).unwrap();
    let keeper = Pid::from_raw(app.stat().unwrap().ppid);
    kill(keeper, Signal::SIGSTOP).unwrap();
    hotrun.interrupt();
    hotrun.wait_for("quitting", |event| event["at_once"] == false);
    hotrun.interrupt();
    hotrun.wait_for("quitting", |event| event["at_once"] == true);
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    kill(keeper, Signal::SIGCONT).unwrap();
    hotrun.assert_nothing_left();
}
