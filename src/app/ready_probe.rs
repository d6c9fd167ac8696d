//! The readiness probe over the network: asks a candidate, and it alone, until it answers or accepts.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use httparse::{EMPTY_HEADER, Response};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::Reach;
use crate::config::Question;
use crate::defect;
use crate::session::event::Answer;
use crate::session::model::Proof;
use crate::sockets::address::reachable;
use crate::sys::connections;
use crate::tls;

/// The pause between two questions, and the longest wait for an answer.
const INTERVAL: Duration = Duration::from_millis(20);
const TIMEOUT: Duration = Duration::from_secs(2);
/// The pause between two looks whether a connection was accepted.
const LOOK: Duration = Duration::from_millis(2);
/// What is no HTTP by then is none.
const LONGEST_STATUS_LINE: usize = 4096;

/// What is asked, and how a candidate is reached.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) address: Option<SocketAddr>,
    pub(super) question: Question,
    pub(super) reach: Reach,
}

impl Request {
    /// What a good answer proves.
    pub(super) fn proof(&self) -> Proof {
        match self.question {
            Question::Http { .. } => Proof::Answered,
            Question::Accept => Proof::Accepting,
        }
    }
}

/// A repeated probe; dropped, it stops.
#[derive(Debug)]
pub(super) struct Probe {
    /// Ends once the answer is good.
    pub(super) task: JoinHandle<Result<(), String>>,
    /// Other answers, whenever they change.
    pub(super) answers: mpsc::UnboundedReceiver<Answer>,
}

impl Probe {
    pub(super) fn start(request: &Request, address: SocketAddr) -> Self {
        let (tell, answers) = mpsc::unbounded_channel();
        let request = request.clone();
        // Its end is a proof, so it must not end by a panic.
        let probe = defect::again("probe", async move || {
            ask_until_ready(&request, address, &tell).await;
        });
        let task = defect::spawn("probe", probe);
        Self { task, answers }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn ask_until_ready(
    request: &Request,
    address: SocketAddr,
    tell: &mpsc::UnboundedSender<Answer>,
) {
    defect::point("probe");
    let reach = request.reach;
    let mut last = None;
    loop {
        sleep(INTERVAL).await;
        let answer = match &request.question {
            Question::Accept => {
                let accepted = wait_accepted(address, reach);
                if matches!(timeout(TIMEOUT, accepted).await, Ok(Ok(()))) {
                    return;
                }
                continue;
            }
            Question::Http { tls, path } => timeout(TIMEOUT, ask(address, reach, *tls, path)).await,
        };
        let Ok(Ok(mut answer)) = answer else {
            continue;
        };
        if matches!(answer, Answer::Status(..400)) {
            return;
        }
        // Without a word the connection is closed by servers that can't read the first bytes.
        if let (Answer::Nothing, Question::Http { tls, path }) = (answer, &request.question) {
            answer = timeout(TIMEOUT, other_scheme(address, reach, *tls, path))
                .await
                .unwrap_or(answer);
        }
        if last.replace(answer) != Some(answer) {
            tell.send(answer).ok();
        }
    }
}

/// Connects to the candidate.
async fn connect(address: SocketAddr, reach: Reach) -> io::Result<TcpStream> {
    let to = reachable(address);
    let socket = match to {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    if let Reach::From(port) = reach {
        socket.set_reuseaddr(true)?;
        socket.bind(match to {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, port).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, port).into(),
        })?;
        // An orderly close would keep the source port in TIME_WAIT, and from the next probe.
        SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
    }
    socket.connect(to).await
}

/// Connects and waits until a process has accepted the connection: the kernel completes it before.
async fn wait_accepted(address: SocketAddr, reach: Reach) -> io::Result<()> {
    let stream = connect(address, reach).await?;
    let (server, client) = (stream.peer_addr()?, stream.local_addr()?);
    let mut byte = [0];
    loop {
        if connections::accepted(server, client)?.is_some() {
            return Ok(());
        }
        // What is said or closed in good order was accepted; an error means that it was not.
        if let Ok(peeked) = timeout(LOOK, stream.peek(&mut byte)).await {
            return peeked.map(|_| ());
        }
    }
}

/// One question over HTTP, as it is or over TLS.
async fn ask(address: SocketAddr, reach: Reach, tls: bool, path: &str) -> io::Result<Answer> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: hotrun\r\nConnection: close\r\n\r\n"
    );
    let stream = connect(address, reach).await?;
    if !tls {
        return exchange(stream, &request).await;
    }
    let connector = TlsConnector::from(tls::client()?);
    match connector.connect(tls::name()?, stream).await {
        Ok(stream) => exchange(stream, &request).await,
        Err(error) => match tls::spoken(&error) {
            Some(tls::Spoken::Plain) => Ok(Answer::Plain),
            Some(tls::Spoken::OtherProtocol) => Ok(Answer::Http2),
            Some(tls::Spoken::Tls) => Ok(Answer::Other),
            None => match error.kind() {
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                    Ok(Answer::Nothing)
                }
                _ => Err(error),
            },
        },
    }
}

/// What a server speaks that closes the connection without a word: whether it does so too when it is
/// asked the other way.
async fn other_scheme(address: SocketAddr, reach: Reach, tls: bool, path: &str) -> Answer {
    match ask(address, reach, !tls, path).await {
        Ok(Answer::Status(_)) if tls => Answer::Plain,
        Ok(Answer::Status(_) | Answer::Other | Answer::Http2) if !tls => Answer::Tls,
        _ => Answer::Nothing,
    }
}

/// Sends the request and reads until the status is there.
async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &str,
) -> io::Result<Answer> {
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    loop {
        // A server that does not read the request resets the connection after its answer.
        let ended = matches!(stream.read_buf(&mut answer).await, Ok(0) | Err(_));
        if let Some(known) = read_answer(&answer, ended) {
            return Ok(known);
        }
    }
}

/// The kind of answer, by the first bytes that a server sends; nothing as long as it may be several.
fn read_answer(bytes: &[u8], ended: bool) -> Option<Answer> {
    let mut fields = [EMPTY_HEADER; 0];
    let mut head = Response::new(&mut fields);
    // An error after the status line is that there is no room for fields.
    let parsed = head.parse(bytes);
    match (bytes, head.code) {
        (_, Some(code)) => Some(Answer::Status(code)),
        ([], _) => ended.then_some(Answer::Nothing),
        // A TLS record: an alert or a handshake, then the version.
        ([0x15 | 0x16, 3, ..], _) => Some(Answer::Tls),
        // An HTTP/2 frame: its length, then SETTINGS or GOAWAY.
        ([0, _, _, 4 | 7, ..], _) => Some(Answer::Http2),
        ([0x15 | 0x16 | 0] | [0, _] | [0, _, _], _) if !ended => None,
        _ => {
            let is_other = parsed.is_err() || ended || bytes.len() > LONGEST_STATUS_LINE;
            is_other.then_some(Answer::Other)
        }
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod hostile_tests {
    use super::*;
    use crate::hostile::Target;

    pub(crate) fn what_is_known_of_any_answer_stays_so() -> Target {
        let corpus = [
            &b"HTTP/1.1 204 No Content\r\nA: b\r\n\r\n"[..],
            b"HTTP/1.0 503 x",
            b"\x15\x03\x03\x00\x02\x02\x32",
            b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
            b"220 mail ESMTP\r\n",
        ];
        Target::bytes(&corpus, 1, |bytes| {
            let whole = read_answer(bytes, false);
            let length = bytes.len();
            for end in [1.min(length), length / 2, length.saturating_sub(1)] {
                let begun = read_answer(&bytes[..end], false);
                assert!(begun.is_none() || begun == whole, "{begun:?} {whole:?}");
            }
            let ended = read_answer(bytes, true);
            assert!(ended.is_some() && (whole.is_none() || whole == ended));
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_known_by_its_first_bytes() {
        for (bytes, answer) in [
            (&b"HTTP/1.1 204 No Content\r\n"[..], Answer::Status(204)),
            (
                b"HTTP/1.1 204 No Content\r\nA: b\r\n\r\n",
                Answer::Status(204),
            ),
            (b"HTTP/1.0 503 x", Answer::Status(503)),
            (b"\x15\x03\x03\x00\x02\x02\x32", Answer::Tls),
            (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", Answer::Http2),
            (b"220 mail ESMTP\r\n", Answer::Other),
            (b"HTTP/1.1 x", Answer::Other),
        ] {
            let known = (1..=bytes.len()).find_map(|count| read_answer(&bytes[..count], false));
            assert_eq!(known, Some(answer));
            assert_eq!(read_answer(bytes, true), Some(answer));
        }
        assert_eq!(read_answer(b"", false), None);
        assert_eq!(read_answer(b"", true), Some(Answer::Nothing));
        assert_eq!(read_answer(b"HTTP/1.1 2", false), None);
        assert_eq!(read_answer(b"HTTP/1.1 2", true), Some(Answer::Other));
    }
}
