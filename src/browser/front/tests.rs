//! Clients, hotrun and an app in one process.

use std::future::Future;
use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::coding::{Coding, Decoder, Encoder};
use super::hostile_tests::{PAGE, SCRIPT, encoded, script, without_script};
use super::html::Injector;
use super::*;
use crate::hostile::Random;

/// Longer than anything takes, also thousands of small chunks under Wine, on a busy machine.
const LIMIT: Duration = Duration::from_mins(2);

/// What a browser sends.
const BROWSER: &str = "Host: localhost:3000\r\nSec-Fetch-Dest: document\r\n\
                       Accept: text/html\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n";

async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(LIMIT, work).await.unwrap()
}

/// Hotrun in front of a listener, which is the app's.
struct Fronted {
    front: Front,
    app: TcpListener,
    public: Arc<Socket>,
    at: SocketAddr,
}

impl Fronted {
    async fn start() -> Self {
        Self::telling(|| {}).await
    }

    async fn telling(unread: impl FnOnce() + Send + 'static) -> Self {
        let public = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = public.local_addr().unwrap();
        let public: Arc<Socket> = Arc::new(public.into());
        let app = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut front = Front::start(Peers::default(), unread).unwrap();
        front.livereload(Some(1));
        let fronts = [held::Front {
            public: public.clone(),
            behind: Behind::only(app.local_addr().unwrap()),
        }];
        front.adopt(&fronts).unwrap();
        Self {
            front,
            app,
            public,
            at,
        }
    }

    async fn client(&self) -> TcpStream {
        within(TcpStream::connect(self.at)).await.unwrap()
    }

    async fn accept(&self) -> TcpStream {
        within(self.app.accept()).await.unwrap().0
    }

    /// A client and the app's end of its connection.
    async fn pair(&self) -> (TcpStream, TcpStream) {
        let client = self.client().await;
        (client, self.accept().await)
    }

    /// A browser asks, and the app answers with these bytes and closes. What each has got.
    async fn ask(&self, fields: &str, answer: &[u8]) -> (String, Vec<u8>) {
        let (mut client, mut app) = self.pair().await;
        let request = format!("GET /a HTTP/1.1\r\n{fields}\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let asked = head(&mut app).await;
        app.write_all(answer).await.unwrap();
        app.shutdown().await.unwrap();
        client.shutdown().await.unwrap();
        let mut answered = Vec::new();
        within(client.read_to_end(&mut answered)).await.unwrap();
        (asked, answered)
    }
}

/// Reads to the end of a head.
async fn head(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(within(stream.read_u8()).await.unwrap());
    }
    String::from_utf8(read).unwrap()
}

async fn exactly(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut read = vec![0; count];
    within(stream.read_exact(&mut read)).await.unwrap();
    read
}

/// The head and the body of an answer, without its framing.
fn split(answer: &[u8]) -> (String, Vec<u8>) {
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap()
        + 4;
    let head = String::from_utf8(answer[..end].to_vec())
        .unwrap()
        .to_lowercase();
    let body = &answer[end..];
    if head.contains("transfer-encoding: chunked") {
        (head, unchunked(body))
    } else {
        (head, body.to_vec())
    }
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let end = body.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = std::str::from_utf8(&body[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        body = &body[end + 2..];
        if size == 0 {
            return whole;
        }
        whole.extend_from_slice(&body[..size]);
        body = &body[size + 2..];
    }
}

fn decoded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    let mut decoder = Decoder::new(coding, Vec::new());
    decoder.write(bytes).unwrap();
    decoder.finish().unwrap();
    decoder.get_mut().clone()
}

// ---- pages

/// Pieces of which pages are made, whole ones and broken ones.
const PIECES: &[&str] = &[
    "<!doctype html>",
    "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Strict//EN\" \"http://www.w3.org/TR/xhtml1\">",
    "<html lang=de>",
    "<HEAD>",
    "<head class='a' >",
    "</head>",
    "<body onload=\"a('<head>')\">",
    "<title><head></title>",
    "<!-- <head> -->",
    "<!-- never closed <head>",
    "<script>if (a < b) { '<head>' }</script>",
    "<script>document.write('<\\/script>')",
    "<style>a > b { content: '<body>' }</style>",
    "<meta charset=\"windows-1252\">",
    "<meta http-equiv=refresh content=5>",
    "<p title='a>b'>caf\u{e9} &amp; &copy; &#0; &bogus; \u{1f600}</p>",
    "<svg><head/></svg>",
    "<template><head></head></template>",
    "<![CDATA[ <head> ]]>",
    "<textarea><head></textarea>",
    "<plaintext>",
    "</html>",
    "<",
    "<h",
    "</",
    "<a href=\"",
    "\0",
    "\u{feff}",
    "<frameset><frame src=a></frameset>",
    "\r\n\t ",
];

fn generated(random: &mut Random) -> Vec<u8> {
    let mut page = Vec::new();
    for _ in 0..random.below(24) {
        match random.below(12) {
            0 => page.extend((0..random.below(64)).map(|_| random.next().to_le_bytes()[0])),
            1 => page.extend(std::iter::repeat_n(b'x', random.below(20_000))),
            _ => page.extend_from_slice(random.one(PIECES).as_bytes()),
        }
    }
    page
}

/// An answer with this body: in some framing, in pieces of some size.
fn framed(random: &mut Random, fields: &str, body: &[u8]) -> Vec<u8> {
    let start = format!("HTTP/1.1 200 OK\r\n{fields}");
    match random.below(3) {
        0 => [format!("{start}\r\n").as_bytes(), body].concat(),
        1 => {
            let length = body.len();
            [
                format!("{start}Content-Length: {length}\r\n\r\n").as_bytes(),
                body,
            ]
            .concat()
        }
        _ => {
            let mut answer = format!("{start}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
            let most = random.one(&[1, 7, 1000, 100_000]);
            let mut rest = body;
            while !rest.is_empty() {
                let (piece, more) = rest.split_at(rest.len().min(1 + random.below(most)));
                answer.extend(format!("{:x}\r\n", piece.len()).into_bytes());
                answer.extend_from_slice(piece);
                answer.extend_from_slice(b"\r\n");
                rest = more;
            }
            answer.extend_from_slice(b"0\r\n\r\n");
            answer
        }
    }
}

/// Whatever a page is made of, whatever its coding and however it comes: with the script taken out it is
/// what the app has sent.
#[tokio::test]
async fn pages_differ_by_the_script_alone() {
    let fronted = Fronted::start().await;
    let mut random = Random(16);
    let mut with_script = 0;
    for number in 0..200 {
        let page = generated(&mut random);
        let (coding, name) = random.one(&[
            (Coding::Identity, ""),
            (Coding::Identity, "Content-Encoding: identity\r\n"),
            (Coding::Gzip, "Content-Encoding: gzip\r\n"),
            (Coding::Brotli, "Content-Encoding: br\r\n"),
        ]);
        let (charset, is_readable) = random.one(&[
            ("", true),
            ("; charset=utf-8", true),
            (";Charset=\"Shift_JIS\"", true),
            ("; charset=windows-1252", true),
            ("; charset=utf-16le", false),
            ("; charset=iso-2022-jp", false),
            ("; charset=unheard-of", false),
        ]);
        let fields = format!("Content-Type: text/html{charset}\r\n{name}");
        let body = encoded(coding, &page);
        let answer = framed(&mut random, &fields, &body);
        let (_, answered) = fronted.ask(BROWSER, &answer).await;
        let (head, got) = split(&answered);
        if !is_readable {
            assert_eq!(got, body, "{number}");
            continue;
        }
        let (without, count) = without_script(&decoded(coding, &got));
        assert!(
            without == page,
            "{number}: {head}{}",
            String::from_utf8_lossy(&page)
        );
        let is_wide = page.starts_with(&[0xff, 0xfe]) || page.starts_with(&[0xfe, 0xff]);
        // A comment or an attribute that never ends has the end of the page in it.
        assert!(
            count <= 1 && (count == 1 || is_wide || page.is_empty()),
            "{number}"
        );
        with_script += count;
    }
    assert!(with_script > 80, "{with_script}");
}

/// The same bytes, in all ways of cutting them in two.
#[test]
fn where_a_page_is_cut_makes_no_difference() {
    let page = "<!doctype html><!--<head>--><script>'<head>'</script><head a='>'><body>x</body>";
    for coding in [Coding::Identity, Coding::Gzip, Coding::Brotli] {
        let bytes = encoded(coding, page.as_bytes());
        for cut in 0..bytes.len() {
            let mut injector = Injector::new(coding, script(true));
            let mut got = injector.push(&bytes[..cut]).unwrap();
            got.extend(injector.push(&bytes[cut..]).unwrap());
            got.extend(injector.finish().unwrap());
            let got = String::from_utf8(decoded(coding, &got)).unwrap();
            let expected = page.replace("<head a='>'>", &format!("<head a='>'>{SCRIPT}"));
            assert_eq!(got, expected, "{cut}");
        }
    }
}

fn injected(page: &str, is_page: bool) -> String {
    let mut injector = Injector::new(Coding::Identity, script(is_page));
    let mut got = injector.push(page.as_bytes()).unwrap();
    got.extend(injector.finish().unwrap());
    String::from_utf8(got).unwrap()
}

#[test]
fn a_script_is_put_where_it_runs_first() {
    for (page, is_page, expected) in [
        ("<HTML><HEAD><p>", true, "<HTML><HEAD>|<p>"),
        ("<p>a<body class=b>c", true, "<p>a<body class=b>|c"),
        ("<title>a</title><p>b", true, "<title>a</title><p>b|"),
        ("<!doctype html><p>b", false, "<!doctype html><p>b|"),
        // A piece of a page, for a script.
        ("<p>b</p>", false, "<p>b</p>"),
        ("", true, ""),
    ] {
        assert_eq!(injected(page, is_page), expected.replace('|', SCRIPT));
    }
}

#[test]
fn a_policy_in_the_page_allows_the_socket() {
    let page = "<head><meta http-equiv=\"Content-Security-Policy\" content=\"connect-src 'self'\">";
    let got = injected(page, true);
    assert!(
        got.contains("content=\"connect-src 'self' ws://localhost:3000\""),
        "{got}"
    );
    let other = "<head><meta http-equiv=refresh content='5; url=a'>";
    assert_eq!(
        without_script(injected(other, true).as_bytes()).0,
        other.as_bytes()
    );
}

/// A page that is not in the coding that it says passes as it is, or ends there.
#[test]
fn a_coding_that_lies_is_passed_on() {
    for coding in [Coding::Gzip, Coding::Brotli] {
        let mut injector = Injector::new(coding, script(true));
        let mut got = injector.push(b"<html>no coding").unwrap();
        got.extend(injector.push(b" at all").unwrap());
        got.extend(injector.finish().unwrap());
        assert_eq!(got, b"<html>no coding at all");
        let mut noise = Random(3);
        let noise: Vec<u8> = (0..200_000)
            .map(|_| noise.next().to_le_bytes()[0])
            .collect();
        let whole = encoded(coding, &noise);
        let mut injector = Injector::new(coding, script(true));
        assert!(!injector.push(&whole[..whole.len() / 2]).unwrap().is_empty());
        assert!(injector.finish().is_err());
    }
}

// ---- requests and answers

#[tokio::test]
async fn a_page_is_changed_and_its_head_says_so() {
    let fronted = Fronted::start().await;
    let answer = format!(
        "HTTP/1.1 404 Not Here\r\nContent-Type: text/html; charset=utf-8\r\nX-Own: A\r\nETag: \"e\"\r\n\
         Content-MD5: x\r\nContent-Security-Policy: script-src 'nonce-abc'\r\nContent-Length: {}\r\n\r\n{PAGE}",
        PAGE.len()
    );
    let (asked, answered) = fronted.ask(BROWSER, answer.as_bytes()).await;
    assert!(
        asked.starts_with("GET /a HTTP/1.1\r\nHost: localhost:3000\r\n"),
        "{asked}"
    );
    // Only what can be read again.
    assert!(asked.contains("Accept-Encoding: gzip, br\r\n"), "{asked}");
    let text = String::from_utf8(answered.clone()).unwrap();
    assert!(text.starts_with("HTTP/1.1 404 Not Here\r\n"), "{text}");
    assert!(
        text.contains("X-Own: A\r\n") && text.contains("ETag: \"e-hotrun\"\r\n"),
        "{text}"
    );
    let (head, body) = split(&answered);
    assert!(
        !head.contains("content-md5") && !head.contains("content-length"),
        "{head}"
    );
    assert!(head.contains("script-src 'nonce-abc'\r\n"), "{head}");
    let script = "<head><script src=\"/__hotrun/livereload.js\" nonce=\"abc\" async></script>";
    assert_eq!(
        String::from_utf8(body).unwrap(),
        PAGE.replace("<head>", script)
    );
}

/// Whatever is no page that a browser shows is as the app has sent it.
#[tokio::test]
async fn other_answers_are_not_changed() {
    let fronted = Fronted::start().await;
    let page = |fields: &str| {
        format!(
            "HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n{PAGE}",
            PAGE.len()
        )
    };
    let html = page("Content-Type: text/html\r\n");
    let script = BROWSER.replace("document", "empty");
    let old = "Host: a\r\nAccept: */*\r\nAccept-Encoding: zstd\r\n";
    for (fields, answer) in [
        (BROWSER, page("Content-Type: text/plain\r\n")),
        (BROWSER, page("Content-Type: application/xhtml+xml\r\n")),
        (BROWSER, page("")),
        (
            BROWSER,
            page("Content-Type: text/html\r\nContent-Encoding: zstd\r\n"),
        ),
        (
            BROWSER,
            page("Content-Type: text/html\r\nContent-Security-Policy: sandbox\r\n"),
        ),
        (
            BROWSER,
            page("Content-Type: text/html\r\nhotrun-page: page\r\n"),
        ),
        (BROWSER, html.replace("200 OK", "206 Partial Content")),
        (&script, html.clone()),
        (old, html.clone()),
    ] {
        let (asked, answered) = fronted.ask(fields, answer.as_bytes()).await;
        assert_eq!(split(&answered).1, PAGE.as_bytes(), "{answer}");
        if fields != BROWSER {
            assert_eq!(asked, format!("GET /a HTTP/1.1\r\n{fields}\r\n"));
        }
    }
    // A browser that does not say what for still says what it takes.
    let old = "Host: localhost\r\nAccept: text/html,*/*;q=0.8\r\n";
    let (_, answered) = fronted.ask(old, html.as_bytes()).await;
    assert_eq!(without_script(&split(&answered).1), (PAGE.into(), 1));
}

#[tokio::test]
async fn head_and_304_are_about_the_page_with_the_script() {
    let fronted = Fronted::start().await;
    let (mut client, mut app) = fronted.pair().await;
    let fields = "Content-Type: text/html\r\nETag: \"e\"\r\n";
    let request = format!("HEAD /a HTTP/1.1\r\n{BROWSER}\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    head(&mut app).await;
    let answer = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 5\r\n\r\n");
    app.write_all(answer.as_bytes()).await.unwrap();
    let answered = head(&mut client).await;
    assert!(answered.contains("ETag: \"e-hotrun\"\r\n"), "{answered}");
    assert!(
        !answered.to_lowercase().contains("content-length"),
        "{answered}"
    );

    // A page that the browser has kept with the script, and one that it has kept without it.
    for (tag, expected) in [("\"e-hotrun\"", Some("\"e\"")), ("\"e\"", None)] {
        let request = format!("GET /a HTTP/1.1\r\n{BROWSER}If-None-Match: {tag}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let asked = head(&mut app).await;
        let tag = asked
            .lines()
            .find_map(|line| line.strip_prefix("If-None-Match: "));
        assert_eq!(tag, expected);
        let answer = "HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n\
                      Content-Security-Policy: connect-src 'none'\r\n\r\n";
        app.write_all(answer.as_bytes()).await.unwrap();
        let answered = head(&mut client).await;
        let is_ours = expected.is_some();
        assert_eq!(
            answered.contains("ETag: \"e-hotrun\"\r\n"),
            is_ours,
            "{answered}"
        );
        assert_eq!(
            answered.contains("ws://localhost:3000"),
            is_ours,
            "{answered}"
        );
    }
}

/// What was written at once is there at once, and not when the page is complete.
#[tokio::test]
async fn streams_are_not_delayed() {
    let fronted = Fronted::start().await;
    for (coding, name) in [
        (Coding::Identity, "identity"),
        (Coding::Gzip, "gzip"),
        (Coding::Brotli, "br"),
    ] {
        let (mut client, mut app) = fronted.pair().await;
        let request = format!("GET /a HTTP/1.0\r\n{BROWSER}\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        head(&mut app).await;
        let start = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: {name}\r\n\r\n"
        );
        app.write_all(start.as_bytes()).await.unwrap();
        head(&mut client).await;
        let mut encoder = Encoder::new(coding);
        let mut decoder = Decoder::new(coding, Vec::new());
        for text in ["<html><head>", "<p>one</p>", "<p>two</p>"] {
            encoder.write(text.as_bytes()).unwrap();
            app.write_all(&encoder.take().unwrap()).await.unwrap();
            while !decoder
                .get_mut()
                .ends_with(text.trim_start_matches("<html>").as_bytes())
                && !decoder.get_mut().ends_with(SCRIPT.as_bytes())
            {
                let mut some = [0; 4096];
                let count = within(client.read(&mut some)).await.unwrap();
                assert_ne!(count, 0, "{name}");
                decoder.write(&some[..count]).unwrap();
            }
            decoder.get_mut().clear();
        }
    }
    // Events for a script.
    let (mut client, mut app) = fronted.pair().await;
    client
        .write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    head(&mut app).await;
    let start =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    app.write_all(start).await.unwrap();
    head(&mut client).await;
    for _ in 0..3 {
        app.write_all(b"8\r\ndata: 1\n\r\n").await.unwrap();
        assert_eq!(exactly(&mut client, 13).await, b"8\r\ndata: 1\n\r\n");
    }
}

// ---- connections

#[tokio::test]
async fn other_protocols_pass_byte_for_byte() {
    let fronted = Fronted::start().await;
    let hello: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    for said in [
        hello,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"EHLO\r\n",
        b"\0",
    ] {
        let (mut client, mut app) = fronted.pair().await;
        client.write_all(said).await.unwrap();
        assert_eq!(exactly(&mut app, said.len()).await, said);
        app.write_all(b"GET <head>").await.unwrap();
        assert_eq!(exactly(&mut client, 10).await, b"GET <head>");
        // The end of one direction is not the end of the other.
        client.shutdown().await.unwrap();
        assert_eq!(within(app.read(&mut [0])).await.unwrap(), 0);
        app.write_all(b"more").await.unwrap();
        assert_eq!(exactly(&mut client, 4).await, b"more");
    }
    // A server that speaks first.
    let (mut client, mut app) = fronted.pair().await;
    app.write_all(b"220 hello\r\n").await.unwrap();
    assert_eq!(exactly(&mut client, 11).await, b"220 hello\r\n");
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(exactly(&mut app, 18).await, b"GET / HTTP/1.1\r\n\r\n");
}

#[tokio::test]
async fn a_web_socket_carries_bytes() {
    let fronted = Fronted::start().await;
    let (mut client, mut app) = fronted.pair().await;
    let request = "GET /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(head(&mut app).await, request);
    let answer =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    app.write_all(answer.as_bytes()).await.unwrap();
    app.write_all(&[0x81, 0]).await.unwrap();
    assert_eq!(head(&mut client).await, answer);
    assert_eq!(exactly(&mut client, 2).await, [0x81, 0]);
    client.write_all(&[0, 255, 7]).await.unwrap();
    assert_eq!(exactly(&mut app, 3).await, [0, 255, 7]);
    drop(client);
    assert_eq!(within(app.read(&mut [0])).await.unwrap(), 0);
}

const SHORT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";

/// What browsers can read of an app is read in between as well.
#[tokio::test]
async fn an_answer_with_mistakes_is_passed_on() {
    let fronted = Fronted::start().await;
    for fields in [
        "Content-Length: 9\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nA : b\r\n",
        "Transfer-Encoding: chunked\r\nA: b\r\n c\r\n",
        "Transfer-Encoding: chunked\r\nA B: c\r\n",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\n2\r\nok\r\n0\r\n\r\n");
        let (_, answered) = fronted.ask("Host: a\r\n", answer.as_bytes()).await;
        let (head, body) = split(&answered);
        assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
        assert!(!head.contains("content-length"), "{head}");
        assert_eq!(body, b"ok", "{head}");
    }
}

/// What is not read passes at once, and a silent connection goes along with a switch.
#[tokio::test]
async fn without_a_script_everything_passes_byte_for_byte() {
    let fronted = Fronted::start().await;
    fronted.front.livereload(None);
    let (mut client, mut app) = fronted.pair().await;
    fronted.front.switched();
    assert_eq!(within(app.read(&mut [0])).await.unwrap(), 0);
    client.write_all(b"GET").await.unwrap();
    let mut app = fronted.accept().await;
    assert_eq!(exactly(&mut app, 3).await, b"GET");
    fronted.front.switched();
    app.write_all(b"HTTP/1.1 200 OK").await.unwrap();
    assert_eq!(exactly(&mut client, 15).await, b"HTTP/1.1 200 OK");
}

/// A client's connection stays, and its next request is for the generation that serves by then.
#[tokio::test]
async fn after_a_switch_a_request_goes_by_a_new_connection() {
    let fronted = Fronted::start().await;
    let (mut client, mut app) = fronted.pair().await;
    let request = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    for _ in 0..2 {
        client.write_all(request).await.unwrap();
        head(&mut app).await;
        app.write_all(SHORT).await.unwrap();
        head(&mut client).await;
        exactly(&mut client, 1).await;
    }
    fronted.front.switched();
    // The old generation is rid of it at once.
    assert_eq!(within(app.read(&mut [0])).await.unwrap(), 0);
    client.write_all(request).await.unwrap();
    let mut app = fronted.accept().await;
    head(&mut app).await;
    // A request that was sent before the switch is answered by the generation that it was sent to.
    fronted.front.switched();
    app.write_all(SHORT).await.unwrap();
    head(&mut client).await;
    exactly(&mut client, 1).await;
    assert_eq!(within(app.read(&mut [0])).await.unwrap(), 0);

    // The same before the first request.
    let (mut client, mut app) = fronted.pair().await;
    fronted.front.switched();
    assert_eq!(within(app.read(&mut [0])).await.unwrap(), 0);
    client.write_all(request).await.unwrap();
    head(&mut fronted.accept().await).await;
}

/// The app closes a connection while a request is on its way: that is sent again, if it does no harm.
#[tokio::test]
async fn a_request_that_met_the_end_of_a_connection_is_sent_again() {
    let fronted = Fronted::start().await;
    for (method, is_again) in [("GET", true), ("DELETE", false)] {
        let (mut client, mut app) = fronted.pair().await;
        let request = format!("{method} /a HTTP/1.1\r\nHost: a\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        head(&mut app).await;
        app.write_all(SHORT).await.unwrap();
        head(&mut client).await;
        exactly(&mut client, 1).await;
        client.write_all(request.as_bytes()).await.unwrap();
        head(&mut app).await;
        drop(app);
        if is_again {
            let mut app = fronted.accept().await;
            let asked = head(&mut app).await;
            assert!(asked.eq_ignore_ascii_case(&request), "{asked}");
            app.write_all(SHORT).await.unwrap();
            head(&mut client).await;
        } else {
            assert_eq!(within(client.read(&mut [0])).await.unwrap_or(0), 0);
        }
    }
}

/// Some apps answer a client that sends no more, and for others it is gone.
#[tokio::test]
async fn the_end_of_a_client_is_seen_by_the_app() {
    let fronted = Fronted::start().await;
    for answers in [true, false] {
        let (mut client, mut app) = fronted.pair().await;
        client
            .write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        head(&mut app).await;
        client.shutdown().await.unwrap();
        assert_eq!(within(app.read(&mut [0])).await.unwrap(), 0);
        let mut got = Vec::new();
        if answers {
            app.write_all(SHORT).await.unwrap();
        }
        drop(app);
        within(client.read_to_end(&mut got)).await.unwrap();
        assert_eq!(got.is_empty(), !answers);
    }
    // In the middle of an answer that never ends.
    let (mut client, mut app) = fronted.pair().await;
    client
        .write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    head(&mut app).await;
    app.write_all(b"HTTP/1.1 200 OK\r\n\r\nabc").await.unwrap();
    // Without an end of its own it is not given one.
    assert!(head(&mut client).await.starts_with("HTTP/1.0 200 OK\r\n"));
    assert_eq!(exactly(&mut client, 3).await, b"abc");
    drop(client);
    assert_eq!(within(app.read(&mut [0])).await.unwrap(), 0);
}

/// The end of a client that is done at once comes behind its request, however long that is.
#[tokio::test]
async fn a_request_is_before_the_end_of_its_client() {
    let fronted = Fronted::start().await;
    for length in std::iter::repeat_n(0, 50).chain([8 << 20]) {
        let (mut client, mut app) = fronted.pair().await;
        let request = format!("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        let send = async {
            client.write_all(request.as_bytes()).await.unwrap();
            client.write_all(&vec![b'a'; length]).await.unwrap();
            client.shutdown().await.unwrap();
        };
        let receive = async {
            let mut got = Vec::new();
            app.read_to_end(&mut got).await.unwrap();
            assert_eq!(got.len(), request.len() + length);
            app.write_all(SHORT).await.unwrap();
        };
        within(async { tokio::join!(send, receive) }).await;
        drop(app);
        let mut answered = Vec::new();
        within(client.read_to_end(&mut answered)).await.unwrap();
        assert_eq!(answered.to_ascii_lowercase(), SHORT.to_ascii_lowercase());
    }
}

/// A client that leaves while the app works on what it has sent.
#[tokio::test]
async fn an_app_sees_who_has_left_after_an_upload() {
    let fronted = Fronted::start().await;
    for upload in ["Content-Length: 100000", "Transfer-Encoding: chunked"] {
        let (mut client, mut app) = fronted.pair().await;
        let request = format!("POST /a HTTP/1.1\r\nHost: a\r\n{upload}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        head(&mut app).await;
        let body = match upload {
            "Transfer-Encoding: chunked" => b"1\r\na\r\n0\r\n\r\n".to_vec(),
            _ => vec![b'a'; 100_000],
        };
        client.write_all(&body).await.unwrap();
        assert_eq!(exactly(&mut app, body.len()).await, body);
        drop(client);
        assert_eq!(within(app.read(&mut [0])).await.unwrap(), 0);
    }
}

/// As for what is too long, or from a client that has not logged in.
#[tokio::test]
async fn an_app_may_answer_and_close_without_reading_everything() {
    let fronted = Fronted::start().await;
    for _ in 0..10 {
        let (client, mut app) = fronted.pair().await;
        let (mut reader, mut writer) = client.into_split();
        let upload = tokio::spawn(async move {
            let request = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n";
            writer.write_all(request).await.unwrap();
            while writer.write_all(&[b'a'; 10_000]).await.is_ok() {}
        });
        head(&mut app).await;
        exactly(&mut app, 100_000).await;
        let answer = "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 1\r\n\r\na";
        app.write_all(answer.as_bytes()).await.unwrap();
        drop(app);
        let mut answered = vec![0; 30];
        within(reader.read_exact(&mut answered)).await.unwrap();
        assert_eq!(answered, answer.as_bytes()[..30]);
        within(upload).await.unwrap();
    }
}

#[tokio::test]
async fn a_tunnel_carries_bytes() {
    let fronted = Fronted::start().await;
    let (mut client, mut app) = fronted.pair().await;
    let request = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(head(&mut app).await, request);
    app.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    assert_eq!(head(&mut client).await, "HTTP/1.1 200 OK\r\n\r\n");
    client.write_all(b"\0there").await.unwrap();
    assert_eq!(exactly(&mut app, 6).await, b"\0there");
    app.write_all(b"back").await.unwrap();
    assert_eq!(exactly(&mut client, 4).await, b"back");
}

/// An app that dies in a request: the client sees what it would see without hotrun in between.
#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off() {
    let fronted = Fronted::start().await;
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"] {
        let (mut client, mut app) = fronted.pair().await;
        client
            .write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        head(&mut app).await;
        app.write_all(answer.as_bytes()).await.unwrap();
        drop(app);
        let mut got = Vec::new();
        // An error is the end as well.
        within(client.read_to_end(&mut got)).await.ok();
        let got = String::from_utf8(got).unwrap();
        assert_eq!(got.to_lowercase(), answer.to_lowercase());
    }
}

/// The address is released: clients that have connected are served, and no others.
#[tokio::test]
async fn an_address_that_is_given_up_loses_nobody() {
    let mut fronted = Fronted::start().await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(fronted.client().await);
    }
    fronted.front.adopt(&[]).unwrap();
    fronted.public = Arc::new(StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().into());
    for client in &mut clients {
        client.write_all(b"\0").await.unwrap();
    }
    for _ in 0..clients.len() {
        let mut app = fronted.accept().await;
        assert_eq!(exactly(&mut app, 1).await, b"\0");
    }
    within(async {
        while TcpStream::connect(fronted.at).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn pages_that_can_not_be_read_are_told_of_once() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let fronted = Fronted::telling(move || tell.send(()).unwrap()).await;
    for _ in 0..2 {
        let (mut client, mut app) = fronted.pair().await;
        client.write_all(&[22, 3, 1]).await.unwrap();
        assert_eq!(exactly(&mut app, 3).await, [22, 3, 1]);
    }
    assert_eq!(within(told.recv()).await, Some(()));
    assert_eq!(within(told.recv()).await, None);
}

/// A client of another machine gets what the app sends, and hotrun's server is not there for it.
#[tokio::test]
async fn others_get_the_app_as_it_is() {
    let fronted = Fronted::start().await;
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut client = TcpStream::connect(other.local_addr().unwrap())
        .await
        .unwrap();
    let (accepted, _) = other.accept().await.unwrap();
    let shared = Arc::new(Shared {
        peers: Peers::default(),
        switches: Switches(watch::Sender::new(0)),
        livereload: AtomicU16::new(1),
        nonce: String::new(),
        unread: Unread(Mutex::default()),
    });
    let behind = fronted.app.local_addr().unwrap();
    let way = Arc::new(Way {
        shared: shared.clone(),
        behind: Behind::only(behind),
    });
    let peer = "192.168.1.2:5".parse().unwrap();
    let served = tokio::spawn(way.serve(accepted, peer));
    let mut app = fronted.accept().await;
    let request = format!("GET /__hotrun/livereload.js HTTP/1.1\r\n{BROWSER}\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(head(&mut app).await, request);
    // What is behind knows whose connection it is, by the time that something comes.
    assert_eq!(shared.peers.client(app.peer_addr().unwrap(), behind), peer);
    app.write_all(b"<head>").await.unwrap();
    assert_eq!(exactly(&mut client, 6).await, b"<head>");
    drop((client, app));
    within(served).await.unwrap().ok();
}

#[test]
fn own_paths_are_hotruns() {
    use super::answer::own_path;
    assert_eq!(
        own_path("/__hotrun/overlay?token=1"),
        Some("/overlay?token=1")
    );
    for other in ["/__hotrun", "/__hotrunner/a", "/a/__hotrun/b", "/"] {
        assert_eq!(own_path(other), None, "{other}");
    }
}
