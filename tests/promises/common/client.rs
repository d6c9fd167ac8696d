//! A client of the app: one connection, one request, and every possible outcome.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a client waits for the handshake, and then for each part of the answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a client connects to.
#[derive(Clone, Debug)]
pub(crate) enum At {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl From<SocketAddr> for At {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl From<&Path> for At {
    fn from(path: &Path) -> Self {
        Self::Unix(path.to_owned())
    }
}

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A whole answer.
    Answer(Answer),
    /// The connection was refused.
    Refused,
    /// The connection was closed before the answer was whole.
    Reset,
    /// No answer came in time.
    TimedOut,
    /// Anything else.
    Other(String),
}

/// A whole answer of a fixture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Its HTTP status.
    pub(crate) status: u16,
    /// The first word of the body.
    pub(crate) version: String,
    /// The generation in the head.
    pub(crate) generation: u32,
    /// The whole body.
    pub(crate) body: String,
}

impl Outcome {
    /// The answer, which there must be.
    #[track_caller]
    pub(crate) fn answer(self) -> Answer {
        match self {
            Self::Answer(answer) => answer,
            other => panic!("no answer: {other:?}"),
        }
    }

    fn of_error(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof => Self::Reset,
            // A read that times out reports `WouldBlock`.
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Self::TimedOut,
            _ => Self::Other(error.to_string()),
        }
    }
}

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish<'a> {
    /// A page.
    Get(&'a str),
    /// To send so many bytes.
    Post(usize),
    /// The greeting that a server sends by itself.
    Greeting,
}

/// Asks for `/` on a new connection.
pub(crate) fn get(at: impl Into<At>) -> Outcome {
    get_path(at, "/")
}

/// Asks for a path on a new connection.
pub(crate) fn get_path(at: impl Into<At>, path: &str) -> Outcome {
    ask(&at.into(), Wish::Get(path)).0
}

/// Asks on a new connection. Also returns the client's own port, where it got as far as that: by its
/// number the server's end of the connection can be found.
pub(crate) fn ask(at: &At, wish: Wish<'_>) -> (Outcome, Option<u16>) {
    let mut port = None;
    let request = match wish {
        Wish::Get(path) => request("GET", path, 0),
        Wish::Post(length) => request("POST", "/", length),
        Wish::Greeting => Vec::new(),
    };
    let outcome = match try_exchange(at, &request, &mut port) {
        Ok(bytes) if wish == Wish::Greeting => greeting(&String::from_utf8_lossy(&bytes)),
        Ok(bytes) => parse(&bytes),
        Err(error) => Outcome::of_error(&error),
    };
    (outcome, port)
}

/// Version and generation on one line.
fn greeting(text: &str) -> Outcome {
    let Some((version, generation)) = text.trim_end().split_once(" g") else {
        return Outcome::Reset;
    };
    match generation.parse() {
        Ok(generation) if text.ends_with('\n') => Outcome::Answer(Answer {
            status: 200,
            version: version.to_owned(),
            generation,
            body: text.to_owned(),
        }),
        _ => Outcome::Reset,
    }
}

fn request(method: &str, path: &str, length: usize) -> Vec<u8> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: promise\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    let mut request = head.into_bytes();
    request.resize(request.len() + length, b'x');
    request
}

fn try_exchange(at: &At, request: &[u8], port: &mut Option<u16>) -> io::Result<Vec<u8>> {
    match at {
        At::Tcp(address) => {
            let stream = TcpStream::connect_timeout(address, PATIENCE)?;
            *port = Some(stream.local_addr()?.port());
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            send(stream, request)
        }
        At::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            send(stream, request)
        }
    }
}

fn send(mut stream: impl Read + Write, request: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(request)?;
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        // Whether the bytes before the reset are a whole answer shows by their length.
        Err(error) if error.kind() == ErrorKind::ConnectionReset && !bytes.is_empty() => {}
        result => {
            result?;
        }
    }
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        // Closed in the middle, or before the first byte.
        return Outcome::Reset;
    };
    let field = |wanted: &str| {
        head.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .and_then(|(_, value)| value.trim().parse::<u32>().ok())
    };
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let (Some(status), Some(length)) = (status, field("content-length")) else {
        return Outcome::Other(format!("no answer of the app: {head}"));
    };
    if u32::try_from(body.len()).is_ok_and(|had| had < length) {
        return Outcome::Reset;
    }
    Outcome::Answer(Answer {
        status,
        version: body
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned(),
        generation: field("x-generation").unwrap_or_default(),
        body: body.to_owned(),
    })
}
