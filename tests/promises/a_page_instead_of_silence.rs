//! While no generation can answer, a browser is shown the build, or what is wrong, and the app as soon as
//! it is live. All others wait for the app, whatever they speak, and are answered by it. Strangers see
//! nothing of the build.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::common::chromium::Chromium;
use crate::common::load::Kind;
use crate::common::{ANY, Hotrun, Load, Project, Run, own_address, say, size_of_test, wait_until};

/// A server that answers with the bytes that it was sent, whatever they are.
const ECHO: &str = "
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::FromRawFd;

fn main() {
    // Safety: the first socket that hotrun hands over.
    let listener = unsafe { TcpListener::from_raw_fd(3) };
    listener.set_nonblocking(false).unwrap();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        std::thread::spawn(move || {
            let mut bytes = [0; 8192];
            let count = stream.read(&mut bytes).unwrap_or(0);
            stream.write_all(b\"app: \").ok();
            stream.write_all(&bytes[..count]).ok();
        });
    }
}
";

const BROKEN: &str = "fn main() { oops }\n";

fn echo(main: &str) -> Project {
    let manifest = "[package]\nname = \"echo\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    Project::of(&[("Cargo.toml", manifest), ("src/main.rs", main)])
}

/// A hotrun whose first build has failed.
fn start_failed(project: &Project) -> Hotrun {
    let hotrun = Hotrun::start(project, &ANY);
    hotrun.wait_for("build-failed", |_| true);
    hotrun
}

fn connect(at: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(at).unwrap();
    client
        .set_read_timeout(Some(Duration::from_mins(1)))
        .unwrap();
    client
}

fn send(at: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut client = connect(at);
    client.write_all(bytes).unwrap();
    client
}

/// A request of a browser that is to show a page, with these fields instead of `Host`.
fn navigate(at: SocketAddr, fields: &str) -> TcpStream {
    let request = format!("GET / HTTP/1.1\r\n{fields}\r\nAccept: text/html,*/*;q=0.8\r\n\r\n");
    send(at, request.as_bytes())
}

fn browser(at: SocketAddr) -> TcpStream {
    navigate(at, &format!("Host: {at}\r\nSec-Fetch-Mode: navigate"))
}

/// Reads until this has come; all that has come until then.
#[track_caller]
fn read_until(client: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let read = String::from_utf8_lossy(&text).into_owned();
        if read.contains(end) {
            return read;
        }
        match client.read(&mut piece) {
            Ok(count @ 1..) => text.extend_from_slice(&piece[..count]),
            ended => panic!("{ended:?} before {end:?}: {read}"),
        }
    }
}

/// All that comes; a reset is an end.
fn rest(client: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match client.read_to_end(&mut bytes) {
        Ok(_) => bytes,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => bytes,
        Err(error) => panic!("{error} after {bytes:?}"),
    }
}

const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
/// The beginning of a TLS handshake.
const HELLO: &[u8] = &[0x16, 3, 1, 0, 4, 1, 0, 0, 0];
/// The preface of HTTP/2 and its first frame, as a gRPC client sends them.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[test]
fn all_but_browsers_are_answered_by_the_app() {
    let project = echo(BROKEN);
    let hotrun = start_failed(&project);
    let at = hotrun.address();
    let mut clients: Vec<(TcpStream, &[u8])> = Vec::new();
    for _ in 0..100 {
        clients.push((send(at, POST), POST));
    }
    for bytes in [HELLO, PREFACE, b"\0", b"GET / HTT"] {
        clients.push((send(at, bytes), bytes));
    }
    let mut silent = connect(at);
    project.save("src/main.rs", ECHO);
    hotrun.wait_for("live", |_| true);
    for (client, bytes) in &mut clients {
        assert_eq!(rest(client), [b"app: ", *bytes].concat());
    }
    silent.write_all(b"at last").unwrap();
    assert_eq!(rest(&mut silent), b"app: at last");
}

/// Under load, each request is answered by the app, though hotrun has accepted some of them.
#[test]
fn the_change_from_page_to_app_loses_nobody() {
    for _ in 0..size_of_test("HOTRUN_TEST_ROUNDS", 3) {
        let project = Project::new("slow-drain");
        project.edit("src/version.rs", "\"1\";", "oops;");
        let hotrun = start_failed(&project);
        let load = Load::start(hotrun.address(), 400, Kind::Get);
        let mut page = browser(hotrun.address());
        read_until(&mut page, "oops");
        project.edit("src/version.rs", "oops;", "\"2\";");
        hotrun.wait_version("2");
        load.wait_more(200);
        load.stop().assert_all_answered();
        read_until(&mut page, "live()");
    }
}

#[test]
fn a_browser_sees_what_is_wrong_then_the_app() {
    let project = echo(BROKEN);
    let hotrun = start_failed(&project);
    let at = hotrun.address();
    let mut page = browser(at);
    let shown = read_until(&mut page, "\"state\":\"failed\"");
    assert!(shown.starts_with("HTTP/1.1 503 "), "{shown}");
    assert!(shown.contains("cannot find value `oops`"), "{shown}");
    project.save("src/main.rs", ECHO);
    let more = read_until(&mut page, "live()</script>\n");
    assert!(more.contains("\"state\":\"building\""), "{more}");
    assert_eq!(rest(&mut page), b"");
    // While a generation serves, hotrun takes no connection.
    let answer = rest(&mut browser(at));
    assert!(answer.starts_with(b"app: GET / "), "{answer:?}");
}

#[test]
fn a_crash_at_start_is_shown() {
    let panics = "fn main() { eprintln!(\"\\x1b[31mno <b>database</b>\\x1b[m\"); panic!(\"oh\"); }";
    let project = echo(panics);
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_for("ended", |_| true);
    let mut page = browser(hotrun.address());
    let shown = read_until(&mut page, "\"state\":\"failed\"");
    for part in [
        "\"kind\":\"app\"",
        "exit status 101",
        "no \\u003cb\\u003edatabase\\u003c/b\\u003e",
        "\"style\":\"red\"",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn what_waits_too_long_is_refused() {
    let project = echo(BROKEN);
    project.configure("[page]\nhold = '300ms'\n");
    let hotrun = start_failed(&project);
    let at = hotrun.address();
    let mut page = browser(at);
    let (mut post, mut other, mut silent) = (send(at, POST), send(at, HELLO), connect(at));
    let refused = String::from_utf8(rest(&mut post)).unwrap();
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(!refused.contains("oops"), "{refused}");
    assert_eq!(rest(&mut other), b"");
    assert_eq!(rest(&mut silent), b"");
    // A browser has its answer, and goes on seeing what happens.
    project.save("src/main.rs", ECHO);
    read_until(&mut page, "live()");
}

#[test]
fn without_a_page_clients_stay_queued() {
    let project = echo(BROKEN);
    project.configure("[page]\nenabled = false\n");
    let hotrun = start_failed(&project);
    let mut client = browser(hotrun.address());
    project.save("src/main.rs", ECHO);
    let answer = rest(&mut client);
    assert!(answer.starts_with(b"app: GET / "), "{answer:?}");
}

/// An address of this machine that is not a loopback one.
fn outer_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // Sends nothing: the kernel chooses the address that packets would come from (RFC 5737).
    socket.connect("192.0.2.1:9").ok()?;
    let own = socket.local_addr().ok()?.ip();
    (!own.is_loopback() && !own.is_unspecified()).then_some(own)
}

/// DNS rebinding (CVE-2025-24010, GHSA-67mh-4wv8-2f99) and peers elsewhere: each with one who may.
#[test]
fn strangers_see_nothing_of_the_build() {
    see_nothing_of_the_build(&[]);
}

/// Then hotrun is the peer of all connections to what is behind it.
#[test]
fn strangers_see_nothing_where_hotrun_is_in_front() {
    see_nothing_of_the_build(&["--inject"]);
}

fn see_nothing_of_the_build(args: &[&str]) {
    let project = echo(BROKEN);
    project.configure("[page]\nhold = '300ms'\nhosts = ['app.test']\n");
    let args = [args, &["--listen", "0.0.0.0:0"]].concat();
    let hotrun = Run::new(&project, &args).with_browsers().start();
    hotrun.wait_for("build-failed", |_| true);
    let port = hotrun.address().port();
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    for host in ["localhost", "app.test:3000", "127.0.0.1", "[::1]:3000"] {
        let mut page = navigate(local, &format!("Host: {host}"));
        read_until(&mut page, "oops");
    }
    let refused = |mut client: TcpStream, why: &str| {
        let answer = String::from_utf8(rest(&mut client)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{why}: {answer}");
        assert!(!answer.contains("oops"), "{why}: {answer}");
        assert!(!answer.contains("echo"), "{why}: {answer}");
    };
    for host in ["evil.example:3000", "localhost.evil.example", ""] {
        refused(navigate(local, &format!("Host: {host}")), host);
    }
    for fields in [
        "X: no host",
        "Host: localhost\r\nSec-Fetch-Mode: cors",
        "Host: localhost\r\nSec-Fetch-Mode: no-cors",
        "Host: localhost\r\nUpgrade: websocket",
    ] {
        refused(navigate(local, fields), fields);
    }
    match outer_address() {
        Some(own) => {
            let at = SocketAddr::from((own, port));
            refused(navigate(at, "Host: localhost"), "from elsewhere");
        }
        None => say("this machine has no other address: not tried from one"),
    }
}

fn descriptors(hotrun: &Hotrun) -> usize {
    let dir = format!("/proc/{}/fd", hotrun.pid());
    std::fs::read_dir(dir).unwrap().count()
}

/// More clients than may be open at once, half of which leave without a word.
#[test]
fn many_clients_leave_nothing_open() {
    let project = echo(BROKEN);
    let hotrun = start_failed(&project);
    let at = hotrun.address();
    read_until(&mut browser(at), "oops");
    let before = descriptors(&hotrun);
    for number in 0..size_of_test("HOTRUN_TEST_CLIENTS", 1000) {
        let mut client = browser(at);
        if number % 2 == 0 {
            read_until(&mut client, "oops");
        }
    }
    // Whoever has left is gone, so there is a place for one more.
    let mut page = browser(at);
    read_until(&mut page, "oops");
    drop(page);
    wait_until("all are closed", || {
        (descriptors(&hotrun) <= before).then_some(())
    });
    project.save("src/main.rs", ECHO);
    hotrun.wait_for("live", |_| true);
}

/// A server with a page that has its version.
fn page(version: u32) -> String {
    let page = format!("<title>app {version}</title><h1>version {version}</h1>");
    let head = "HTTP/1.1 200 OK\\r\\nContent-Type: text/html\\r\\nConnection: close\\r\\n\\r\\n";
    let answer = format!("stream.write_all(b\"{head}{page}\").ok();\n            let _ = count;");
    let said = "stream.write_all(b\"app: \").ok();\n            \
        stream.write_all(&bytes[..count]).ok();";
    ECHO.replace(said, &answer)
}

/// From the first build to the end of hotrun and its next start, in one tab that nobody touches.
#[test]
fn a_tab_follows_from_the_first_build_on() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let project = echo(&page(1));
    // The first build takes until the test says so.
    let waits = "fn main() {\n    println!(\"cargo::rerun-if-changed=build.rs\");\n    \
        while !std::path::Path::new(\"../go\").exists() {\n        \
        std::thread::sleep(std::time::Duration::from_millis(20));\n    }\n}\n";
    project.add("build.rs", waits);
    let at = own_address();
    let listen = ["--listen", &at.to_string()];
    let hotrun = Hotrun::start(&project, &listen);
    hotrun.wait_for("building", |_| true);
    let tab = chromium.open(&format!("http://{at}/"));
    let shows = |text: &str| {
        tab.wait(&format!(
            "document.body?.innerText.includes('{text}') ?? false"
        ));
    };
    shows("Building echo");
    tab.wait("document.title.startsWith('Building echo')");
    project.add("../go", "");
    shows("version 1");
    // A crash at start leaves nobody: the tab is reloaded by hand here, as its app does not follow.
    project.save("src/main.rs", "fn main() { panic!(\"no luck\") }");
    let place = hotrun.here();
    hotrun.wait_after(place, "ended", |_| true);
    tab.go(&format!("http://{at}/?again"));
    shows("version 1");
    // Hotrun ends and starts again, with code that does not compile.
    hotrun.interrupt();
    hotrun.wait_exit();
    project.save("src/main.rs", BROKEN);
    let hotrun = Hotrun::start(&project, &listen);
    hotrun.wait_for("build-failed", |_| true);
    tab.go(&format!("http://{at}/?failed"));
    shows("The build failed");
    shows("cannot find value `oops` in this scope");
    tab.wait("document.querySelector('pre .red')?.textContent.startsWith('error') ?? false");
    hotrun.interrupt();
    hotrun.wait_exit();
    shows("hotrun has ended");
    project.save("src/main.rs", "fn main() { panic!(\"no luck\") }");
    let hotrun = Hotrun::start(&project, &listen);
    shows("echo failed");
    shows("no luck");
    project.save("src/main.rs", &page(2));
    shows("version 2");
    drop(hotrun);
}

/// `--open`, and the key or command for it: the first address, once by itself.
#[test]
fn the_app_is_opened_in_a_browser() {
    let project = echo(ECHO);
    project.run("mkdir ../bin; printf '#!/bin/sh\\necho \"$1\" >> ../opened\\n' > ../bin/xdg-open; chmod +x ../bin/xdg-open");
    let path = format!(
        "{}:{}",
        project.path("../bin").display(),
        std::env::var("PATH").unwrap()
    );
    let run = Run::new(&project, &["--listen", "127.0.0.1:0", "--open"]);
    let hotrun = run.env("PATH", &path).start();
    let url = format!("http://localhost:{}/\n", hotrun.address().port());
    let opened = || std::fs::read_to_string(project.path("../opened")).unwrap_or_default();
    wait_until("a browser", || (opened() == url).then_some(()));
    project.edit("src/main.rs", "app: ", "new: ");
    hotrun.wait_live(2);
    let ctl = project
        .command(env!("CARGO_BIN_EXE_hotrun"))
        .args(["ctl", "open"])
        .output()
        .unwrap();
    assert!(ctl.status.success(), "{ctl:?}");
    // The two that were asked for, in order: a third one would have come between them.
    wait_until("a second one", || (opened() == url.repeat(2)).then_some(()));
    for times in 3..7 {
        let place = hotrun.here();
        project.run(&format!("'{}' ctl open", env!("CARGO_BIN_EXE_hotrun")));
        wait_until("one more", || (opened() == url.repeat(times)).then_some(()));
        project.edit("src/main.rs", "new: ", &format!("{times}new: "));
        hotrun.wait_next_live(place);
    }
    let said = hotrun.stderr();
    assert!(!said.contains("cannot open a browser"), "{said}");
}
