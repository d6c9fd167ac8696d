//! Browsers reload when a new generation is live and never before, show what is wrong until it is mended,
//! and pages of others get nothing.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::{ClientRequestBuilder, client};
use tokio_tungstenite::tungstenite::{Error, HandshakeError, Message, WebSocket};

use crate::common::chromium::{Chromium, Tab};
use crate::common::{Hotrun, LIMIT, Project, Run, own_port, wait_until};

/// A server with a page, a stylesheet and an image; it binds its address itself.
const MAIN: &str = r##"
mod version;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::{env, fs, thread};

fn main() {
    let listener = TcpListener::bind(env::args().nth(1).unwrap()).unwrap();
    for stream in listener.incoming().flatten() {
        thread::spawn(move || serve(stream));
    }
}

/// Connections stay open, as browsers like it.
fn serve(mut stream: TcpStream) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    loop {
        let line = lines.next()?.ok()?;
        let path = line.split(' ').nth(1)?.split('?').next()?.to_owned();
        while !lines.next()?.ok()?.is_empty() {}
        let (kind, body) = match path.as_str() {
            "/" => ("text/html", page().into_bytes()),
            _ if path.ends_with(".css") => ("text/css", fs::read(&path[1..]).ok()?),
            _ if path.ends_with(".svg") => ("image/svg+xml", fs::read(&path[1..]).ok()?),
            _ => ("text/plain", Vec::new()),
        };
        let length = body.len();
        let head = "HTTP/1.1 200 OK\r\nCache-Control: no-cache\r\nContent-Type";
        write!(stream, "{head}: {kind}\r\nContent-Length: {length}\r\n\r\n").ok()?;
        stream.write_all(&body).ok()?;
    }
}

fn page() -> String {
    let version = version::VERSION;
    let port = env::var("HOTRUN_LIVERELOAD").unwrap();
    format!(r#"<!doctype html><html><head><meta charset="utf-8"><title>app</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/static/style.css"><link rel="stylesheet" href="/static/other.css">
<script>
    const seen = JSON.parse(sessionStorage.seen ?? "[]");
    sessionStorage.seen = JSON.stringify([...seen, "{version}"]);
    document.write(`<script src="http://${{location.hostname}}:{port}/livereload.js"><\/script>`);
</script></head>
<body><h1 id="version">{version}</h1><img id="logo" src="/static/logo.svg">
<p style="height: 5000px">a long page</p></body></html>"#)
}
"##;

const LOGO: &str = r#"<svg xmlns="http://www.w3.org/2000/svg" width="20" height="WIDTH"/>"#;

const RULE: &str = "[[on]]\npaths = [\"static/**\"]\ndo = \"reload-browser\"\n";

fn project() -> Project {
    let manifest = "[package]\nname = \"app\"\nedition = \"2024\"\n[workspace]\n";
    let project = Project::of(&[
        ("Cargo.toml", manifest),
        ("src/main.rs", MAIN),
        ("src/version.rs", "pub const VERSION: &str = \"1\";\n"),
    ]);
    fs::create_dir(project.path("static")).unwrap();
    project.add("static/style.css", "h1 { color: rgb(1, 0, 0) }");
    project.add("static/other.css", "p { color: rgb(9, 0, 0) }");
    project.add("static/logo.svg", &LOGO.replace("WIDTH", "10"));
    project.configure(RULE);
    project
}

/// A hotrun with browsers, the port for them, and the address of its app.
fn start(project: &Project, ports: (u16, u16)) -> (Hotrun, SocketAddr) {
    start_with(project, ports, &[])
}

fn start_with(project: &Project, ports: (u16, u16), args: &[&str]) -> (Hotrun, SocketAddr) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.0)).to_string();
    // As at a terminal: what the compiler says has colors.
    let args = [args, &["--color", "always", "--", &address]].concat();
    let hotrun = Run::new(project, &args).with_browsers_at(ports.1).start();
    (hotrun, address.parse().unwrap())
}

// ---- a client of the protocol

struct Socket(WebSocket<TcpStream>);

fn connect(port: u16) -> TcpStream {
    let stream = wait_until("the LiveReload server", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
    });
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Opens a WebSocket; an error is the status of the answer.
fn try_open(port: u16, path: &str, headers: &[(&str, &str)]) -> Result<Socket, u16> {
    let url = format!("ws://127.0.0.1:{port}{path}");
    let mut request = ClientRequestBuilder::new(url.parse().unwrap());
    for (name, value) in headers {
        request = request.with_header(*name, *value);
    }
    match client(request, connect(port)) {
        Ok((socket, _)) => Ok(Socket(socket)),
        Err(HandshakeError::Failure(Error::Http(answer))) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

const OWN: (&str, &str) = ("Origin", "http://localhost:3000");

impl Socket {
    /// Greets, and returns the server's greeting.
    fn hello(&mut self) -> Value {
        let protocol = "http://livereload.com/protocols/official-7";
        let hello = json!({ "command": "hello", "protocols": [protocol] });
        self.0.send(Message::text(hello.to_string())).unwrap();
        let answer = self.next();
        assert_eq!(answer["command"], "hello");
        assert_eq!(answer["protocols"], json!([protocol]));
        answer
    }

    /// The next message.
    fn next(&mut self) -> Value {
        loop {
            match self.0.read().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next picture that is like this.
    fn picture(&mut self, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.next();
            if message["command"] == "picture" && is(&message) {
                return message;
            }
        }
    }

    /// The code with which the server closes, before which nothing comes.
    fn closed(&mut self) -> Option<u16> {
        match self.0.read() {
            Ok(Message::Close(frame)) => frame.map(|frame| frame.code.into()),
            Ok(other) => panic!("{other:?}"),
            Err(_) => None,
        }
    }
}

/// An HTTP answer: its status, and all of it in lower case.
fn ask(port: u16, head: &str) -> (u16, String) {
    let mut stream = connect(port);
    write!(stream, "{head}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.to_ascii_lowercase())
}

/// The token in the script.
fn token(port: u16) -> String {
    let head = format!("GET /livereload.js HTTP/1.1\r\nHost: 127.0.0.1:{port}");
    let (_, script) = ask(port, &head);
    let (_, rest) = script.split_once("\"token\":\"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// The page of the app.
fn page(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut all = Vec::new();
    let mut some = [0; 4096];
    while !all.ends_with(b"</html>") {
        let read = stream.read(&mut some).unwrap();
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&all));
        all.extend_from_slice(&some[..read]);
    }
    String::from_utf8(all).unwrap()
}

fn version(address: SocketAddr) -> String {
    let page = page(address);
    let (_, rest) = page.split_once("id=\"version\">").unwrap();
    rest.split('<').next().unwrap().to_owned()
}

fn reload(path: &str) -> Value {
    json!({ "command": "reload", "path": path, "liveCSS": true })
}

// ---- tests without a browser

/// The text of its pieces.
fn text_of(spans: &Value) -> String {
    let spans = spans.as_array().unwrap().iter();
    spans.map(|span| span["text"].as_str().unwrap()).collect()
}

#[test]
fn a_reload_is_told_when_the_next_one_is_live() {
    let project = project();
    let (ports, other) = ((own_port(), own_port()), own_port());
    let (hotrun, address) = start(&project, ports);
    hotrun.wait_live(1);
    let mut socket = try_open(ports.1, "/livereload", &[]).unwrap();
    socket.hello();
    for number in 2..5 {
        let version_now = number.to_string();
        project.set_version(&version_now);
        // Nothing came before it.
        assert_eq!(socket.next(), reload("/"));
        assert_eq!(version(address), version_now);
        let live = hotrun.wait_live(number);
        let told = hotrun.wait_for("reloaded", |event| {
            event["ms"].as_f64() >= live["ms"].as_f64()
        });
        assert_eq!(told["browsers"], 1);
    }
    // Nothing new is live after these, and a rule names a file.
    let place = hotrun.here();
    project.edit("src/version.rs", "pub", "// same program\npub");
    hotrun.wait_any(place, &["unchanged", "live"], |event| {
        assert_eq!(event["event"], "unchanged");
        true
    });
    project.edit("src/version.rs", "\"4\";", "\"5\"; }");
    hotrun.wait_for("build-failed", |_| true);
    project.save("static/style.css", "h1 { color: rgb(2, 0, 0) }");
    assert_eq!(socket.next(), reload("static/style.css"));
    project.set_version("6");
    assert_eq!(socket.next(), reload("/"));
    assert_eq!(version(address), "6");
    // Another port is another server, which holds from then on.
    project.configure(&format!("{RULE}[livereload]\nenabled = false\n"));
    drop(hotrun);
    let mut run = Run::new(&project, &["--", &address.to_string()]);
    for (key, value) in [("ENABLED", "true"), ("PORT", &other.to_string())] {
        run = run.env(&format!("HOTRUN_CFG_LIVERELOAD_{key}"), value);
    }
    let hotrun = run.start();
    hotrun.wait_live(1);
    try_open(other, "/livereload", &[]).unwrap().hello();
}

#[test]
fn what_is_wrong_is_told_until_it_is_mended() {
    let project = project();
    let ports = (own_port(), own_port());
    let (hotrun, _) = start(&project, ports);
    hotrun.wait_live(1);
    let overlay = format!("/overlay?token={}", token(ports.1));
    let mut socket = try_open(ports.1, &overlay, &[OWN]).unwrap();
    assert_eq!(socket.hello()["reloads"], 1);
    let picture = socket.picture(|_| true);
    assert_eq!(
        (&picture["problem"], &picture["state"]),
        (&Value::Null, &json!("live"))
    );
    project.edit("src/version.rs", "\"1\";", "\"1\"; }");
    let picture = socket.picture(|picture| picture["problem"] != Value::Null);
    let problem = &picture["problem"];
    assert_eq!(
        (&problem["kind"], &problem["text"]),
        (&json!("build"), &json!("1 error"))
    );
    let errors = problem["errors"].as_array().unwrap();
    let error = text_of(&errors[0]);
    assert!(error.contains("unexpected closing delimiter"), "{error}");
    assert!(error.contains("src/version.rs"), "{error}");
    assert_eq!((errors.len(), &picture["live"]), (1, &json!(1)));
    project.set_version("2");
    let picture = socket.picture(|picture| picture["problem"] == Value::Null);
    assert_eq!(picture["live"], 3);
    let counted = [json!({ "command": "reloads", "count": 2 }), reload("/")];
    let reloads = std::iter::repeat_with(|| socket.next());
    let reloads = reloads.filter(|message| message["command"] != "picture");
    assert_eq!(reloads.take(2).collect::<Vec<_>>(), counted);
    // Nothing of the environment, and no path of this machine.
    let all = picture.to_string();
    assert!(!all.contains(project.dir().to_str().unwrap()), "{all}");
    project.edit(
        "src/main.rs",
        "fn main() {",
        "fn main() {\n    panic!(\"no luck\");",
    );
    let picture = socket.picture(|picture| picture["problem"]["kind"] == "app");
    let output = picture["problem"]["output"].to_string();
    assert!(output.contains("no luck"), "{output}");
}

/// Who may have what is decided in `route.rs`, whose tests name the attacks; here is that it is asked.
#[test]
fn pages_of_others_get_nothing() {
    let project = project();
    let ports = (own_port(), own_port());
    let (hotrun, _) = start(&project, ports);
    hotrun.wait_live(1);
    let port = ports.1;
    let own = format!("Host: 127.0.0.1:{port}");
    let script = "GET /livereload.js HTTP/1.1\r\n";
    let (status, answer) = ask(port, &format!("{script}{own}"));
    assert_eq!(status, 200);
    for header in [
        "cross-origin-resource-policy: same-site",
        "x-content-type-options: nosniff",
        "cache-control: no-store",
    ] {
        assert!(answer.contains(header), "{answer}");
    }
    assert!(!answer.contains("access-control"), "{answer}");
    for (head, expected) in [
        (format!("{script}Host: evil.example:{port}"), 403),
        (format!("{script}{own}\r\nSec-Fetch-Site: cross-site"), 403),
        (format!("{script}{own}\r\nOrigin: http://evil.example"), 403),
        (format!("GET /etc/passwd HTTP/1.1\r\n{own}"), 404),
        (
            format!("POST /livereload.js HTTP/1.1\r\n{own}\r\nContent-Length: 0"),
            405,
        ),
        (format!("GET /livereload HTTP/1.1\r\n{own}"), 400),
        ("nonsense".to_owned(), 400),
    ] {
        let (status, answer) = ask(port, &head);
        assert_eq!(status, expected, "{head}");
        assert!(!answer.contains("token"), "{answer}");
    }
    let overlay = format!("/overlay?token={}", token(port));
    let evil = ("Origin", "http://evil.example");
    let extension = ("Origin", "moz-extension://1234");
    let opened = |path, headers: &[(&str, &str)]| try_open(port, path, headers).map(|_| ());
    assert_eq!(opened("/livereload", &[extension]), Ok(()));
    assert_eq!(opened("/livereload", &[evil]), Err(403));
    assert_eq!(opened(&overlay, &[OWN]), Ok(()));
    for headers in [&[][..], &[evil], &[extension]] {
        assert_eq!(opened(&overlay, headers), Err(403));
    }
    // No other address of this machine.
    let elsewhere = TcpStream::connect((Ipv4Addr::new(127, 0, 0, 2), port));
    assert!(elsewhere.is_err());
    // More than a client has to say.
    let mut socket = try_open(port, "/livereload", &[]).unwrap();
    socket.hello();
    let long = Message::text("x".repeat(64 * 1024 + 1));
    // It may be closed before all is sent.
    socket.0.send(long).ok();
    assert_eq!(socket.closed(), None);
}

/// A page that stays open while hotrun ends and starts again has the token of the run before.
#[test]
fn a_page_of_the_run_before_is_reloaded() {
    let project = project();
    let ports = (own_port(), own_port());
    let (hotrun, _) = start(&project, ports);
    hotrun.wait_live(1);
    let overlay = format!("/overlay?token={}", token(ports.1));
    drop(hotrun);
    project.edit("src/version.rs", "\"1\";", "\"1\"; }");
    let (hotrun, _) = start(&project, ports);
    hotrun.wait_for("build-failed", |_| true);
    let mut socket = try_open(ports.1, &overlay, &[OWN]).unwrap();
    let hello = json!({ "command": "hello",
        "protocols": ["http://livereload.com/protocols/official-7"] });
    socket.0.send(Message::text(hello.to_string())).unwrap();
    project.set_version("2");
    // It hears nothing before, and not of what is wrong.
    assert_eq!(socket.closed(), Some(4001));
    hotrun.wait_live(2);
}

#[test]
fn a_taken_port_is_passed_over() {
    let project = project();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let (hotrun, address) = start(&project, (own_port(), port));
    let told = hotrun.wait_for("livereload", |_| true);
    assert_eq!(told["taken"], port);
    let next = u16::try_from(told["port"].as_u64().unwrap()).unwrap();
    hotrun.wait_live(1);
    try_open(next, "/livereload", &[]).unwrap().hello();
    // The app names it in its page.
    let page = page(address);
    assert!(page.contains(&format!(":{next}/livereload.js")), "{page}");
}

// ---- tests with one

/// The versions that the tab has shown, in order.
fn seen(tab: &Tab<'_>) -> Value {
    let text = tab.eval("sessionStorage.seen");
    serde_json::from_str(text.as_str().unwrap_or("null")).unwrap()
}

fn wait_version(tab: &Tab<'_>, version: &str) {
    tab.wait(&format!(
        "document.readyState === 'complete' && \
         document.getElementById('version')?.textContent === '{version}'"
    ));
}

/// The overlay is there, and shows it all.
fn wait_overlay(tab: &Tab<'_>, text: &str) {
    wait_until("the overlay", || {
        tab.whole_text().contains(text).then_some(())
    });
}

#[test]
fn a_page_follows_the_saves() {
    follows_the_saves(&project(), &[]);
}

/// The app has no line for hotrun, and knows nothing of it.
#[test]
fn a_page_of_an_app_that_knows_nothing_follows_the_saves() {
    let project = project();
    let (line, port) = ("    document.write(", "    let port = env::var");
    for known in [line, port] {
        let main = fs::read_to_string(project.path("src/main.rs")).unwrap();
        let known = main.lines().find(|line| line.starts_with(known)).unwrap();
        project.edit("src/main.rs", known, "");
    }
    follows_the_saves(&project, &["--inject"]);
}

fn follows_the_saves(project: &Project, args: &[&str]) {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let ports = (own_port(), own_port());
    let (hotrun, address) = start_with(project, ports, args);
    hotrun.wait_live(1);
    let url = format!("http://{address}/");
    let others: Vec<Tab<'_>> = (0..7).map(|_| chromium.open(&url)).collect();
    // The last one is in front.
    let tab = chromium.open(&url);
    tab.resize(1280, 800);
    let all = || others.iter().chain([&tab]);
    all().for_each(|tab| wait_version(tab, "1"));
    let mut number = 0;
    wait_until("all tabs to be connected", || {
        number += 1;
        let style = format!("h1 {{ color: rgb(3, 0, {number}) }}");
        project.save("static/style.css", &style);
        let told = hotrun.all("reloaded").pop()?;
        (told["browsers"] == 8).then_some(())
    });

    // Each of them shows each version once; a page that is scrolled down stays there.
    tab.eval("scrollTo(0, 1234)");
    tab.wait("scrollY === 1234");
    project.set_version("2");
    all().for_each(|tab| wait_version(tab, "2"));
    for tab in all() {
        assert_eq!(seen(tab), json!(["1", "2"]));
    }
    tab.wait("scrollY === 1234");

    // Stylesheets and images are swapped, and the page stays.
    let color = |value: &str| {
        format!("getComputedStyle(document.getElementById('version')).color === '{value}'")
    };
    tab.eval("window.stays = true");
    project.save("static/style.css", "h1 { color: rgb(4, 5, 6) }");
    tab.wait(&color("rgb(4, 5, 6)"));
    tab.wait("document.querySelectorAll('link[rel=stylesheet]').length === 2");
    project.save("static/logo.svg", &LOGO.replace("WIDTH", "77"));
    tab.wait("document.getElementById('logo').naturalHeight === 77");
    assert_eq!(tab.eval("window.stays"), true);
    assert_eq!(seen(&tab), json!(["1", "2"]));

    // What is wrong is shown, as text, until it is mended.
    project.edit(
        "src/main.rs",
        "fn main() {",
        "fn main() {\n    let b: u8 = \"<img src=x>\";",
    );
    wait_overlay(&tab, "mismatched types");
    wait_overlay(&tab, "src/main.rs");
    wait_overlay(&tab, "<img src=x>");
    assert_eq!(tab.eval("document.querySelectorAll('img').length"), 1);
    assert_eq!(
        tab.eval("document.querySelector('hotrun-overlay').shadowRoot"),
        Value::Null
    );
    if let Some(dir) = std::env::var_os("HOTRUN_TEST_SCREENSHOTS") {
        let dir = std::path::PathBuf::from(dir);
        for (size, width, height) in [("wide", 1280, 800), ("phone", 390, 844)] {
            for scheme in ["light", "dark"] {
                tab.resize(width, height);
                tab.prefer(scheme);
                tab.screenshot(&dir.join(format!("overlay-{size}-{scheme}.png")));
            }
        }
    }
    tab.escape();
    wait_until("the overlay to be hidden", || {
        (!tab.whole_text().contains("mismatched types")).then_some(())
    });
    project.edit("src/main.rs", "\n    let b: u8 = \"<img src=x>\";", "");
    project.set_version("3");
    all().for_each(|tab| wait_version(tab, "3"));
    assert_eq!(
        tab.eval("document.querySelector('hotrun-overlay')"),
        Value::Null
    );
    assert_eq!(seen(&tab), json!(["1", "2", "3"]));

    // hotrun ends, and another one starts.
    drop(hotrun);
    project.set_version("4");
    let (_hotrun, _) = start_with(project, ports, args);
    all().for_each(|tab| wait_version(tab, "4"));
}
