//! One request, one answer, and every possible failure.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

/// The size of an upload.
const BODY: usize = 16 * 1024;

/// What an answer says about the process that sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The version of the code.
    pub(crate) version: u32,
    /// The generation of the process.
    pub(crate) generation: u32,
    /// The server closes the connection after it.
    pub(crate) last: bool,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The connection was refused.
    Refused,
    /// The connection was cut before the answer was complete.
    Reset,
    /// The answer took too long.
    TimedOut,
    /// Other bytes than an answer came, or the request could not be sent.
    Other,
}

impl From<std::io::Error> for Loss {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof => Self::Reset,
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Other,
        }
    }
}

/// The bytes of a GET.
pub(crate) fn get_of(path: &str, close: bool) -> Vec<u8> {
    let close = if close { "Connection: close\r\n" } else { "" };
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{close}\r\n").into_bytes()
}

/// The bytes of an upload.
pub(crate) fn post() -> Vec<u8> {
    let head = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {BODY}\r\n\r\n"
    );
    let mut request = head.into_bytes();
    request.resize(request.len() + BODY, b'x');
    request
}

/// Asks over a new connection.
pub(crate) fn ask(address: SocketAddr, request: &[u8], limit: Duration) -> Result<Answer, Loss> {
    let deadline = Instant::now() + limit;
    let mut stream = connect(address, limit)?;
    exchange(&mut stream, request, deadline)
}

/// Asks for the front page over a new connection.
pub(crate) fn get(address: SocketAddr, limit: Duration) -> Result<Answer, Loss> {
    ask(address, &get_of("/", true), limit)
}

/// A new connection.
pub(crate) fn connect(address: SocketAddr, limit: Duration) -> Result<TcpStream, Loss> {
    let stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends a request and reads all of its answer.
pub(crate) fn exchange(
    stream: &mut TcpStream,
    request: &[u8],
    deadline: Instant,
) -> Result<Answer, Loss> {
    stream.write_all(request)?;
    let mut received = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        if let Some(answer) = parse(&received)? {
            return Ok(answer);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Loss::TimedOut);
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(0) => return Err(Loss::Reset),
            Ok(count) => received.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Sends a request and reads all of its answer, whatever that is, with its length or in chunks.
pub(crate) fn exchange_any(stream: &mut TcpStream, request: &[u8]) -> Result<()> {
    stream.write_all(request)?;
    let mut received = Vec::new();
    let mut buffer = [0; 16 * 1024];
    while !is_complete(&received) {
        match stream.read(&mut buffer)? {
            0 => return Err("the connection ended before the answer".into()),
            count => received.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(())
}

fn is_complete(received: &[u8]) -> bool {
    let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    match length.and_then(|length| length.parse::<usize>().ok()) {
        Some(length) => received.len() >= end + 4 + length,
        None => received.ends_with(b"\r\n0\r\n\r\n"),
    }
}

/// The answer, if it is complete.
fn parse(received: &[u8]) -> Result<Option<Answer>, Loss> {
    let text = String::from_utf8_lossy(received);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return Ok(None);
    };
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(Loss::Other);
    }
    let field = |name: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        fields.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
    };
    let number = |text: Option<&str>| text.and_then(|text| text.parse().ok());
    let length: u32 = number(field("content-length")).ok_or(Loss::Other)?;
    if body.len() < length as usize {
        return Ok(None);
    }
    Ok(Some(Answer {
        version: number(body.split(' ').next()).ok_or(Loss::Other)?,
        generation: number(field("x-generation")).ok_or(Loss::Other)?,
        last: field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")),
    }))
}

/// Sends requests over new connections, about one per millisecond, until `version` answers; returns how
/// long after `start` that was.
pub(crate) fn first_answer(address: SocketAddr, version: u32, start: Instant) -> Result<Duration> {
    let request = get_of("/", true);
    let deadline = start + Duration::from_secs(30);
    while Instant::now() < deadline {
        let answer = ask(address, &request, Duration::from_secs(5));
        if answer.is_ok_and(|answer| answer.version >= version) {
            return Ok(start.elapsed());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Err(format!("version {version} never answered").into())
}
