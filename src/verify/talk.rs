//! One client's connection: begun, looked at, asked over, and read to its end. Blocking, on a thread
//! of its own, so that nothing that hotrun tells holds it up.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_rustls::rustls::ClientConfig;

use super::account::Answer;
use super::answer::{Known, Reader};
use super::facts::{How, Loss, PATIENCE};
use super::stream::{Ends, Stream};
use super::target::At;
use super::websocket::WebSocket;
use crate::sys;
use crate::tls::{self, Spoken};

/// A client that has waited for its answer for so long looks whose connection it is.
const GLANCE: Duration = Duration::from_millis(20);
/// Between two looks whether a connection was accepted.
const LOOK: Duration = Duration::from_millis(1);

/// A connection.
#[derive(Debug)]
pub(super) struct Talk {
    stream: Stream,
}

impl Talk {
    /// Connects.
    pub(super) fn begin(at: &At, tls: Option<&Arc<ClientConfig>>) -> Result<Self, Loss> {
        let stream = Stream::connect(at, tls).map_err(|error| loss(&error))?;
        Ok(Self { stream })
    }

    /// By what to look for its other end.
    pub(super) fn ends(&self) -> Option<Ends> {
        self.stream.ends()
    }

    /// Asks and reads the whole answer; or, where nothing is asked, waits until it is accepted.
    /// `waiting` is called now and then while nothing comes, for as long as it wants to be.
    pub(super) fn finish(
        &mut self,
        how: How,
        request: &[u8],
        waiting: impl FnMut() -> bool,
    ) -> Result<Answer, Loss> {
        match how {
            How::Ask | How::Open => self.ask(request, waiting).map(Answer::Status),
            How::Connect => self.wait_accepted(),
        }
    }

    /// Opens a WebSocket over it; `url` names no more than the host and the path.
    pub(super) fn open(self, url: &str) -> Result<WebSocket, Loss> {
        WebSocket::open(self.stream, url)
    }

    /// Asks and reads the whole answer; its status.
    pub(super) fn ask(
        &mut self,
        request: &[u8],
        mut waiting: impl FnMut() -> bool,
    ) -> Result<u16, Loss> {
        let stream = &mut self.stream;
        let asked = stream.write_all(request).and_then(|()| stream.flush());
        asked.map_err(|error| loss(&error))?;
        while !self.stream.has_input(GLANCE) && waiting() && !self.stream.left().is_zero() {}
        let mut reader = Reader::default();
        let mut buffer = [0; 16 * 1024];
        loop {
            let read = self.stream.read(&mut buffer);
            let known = match read.map_err(|error| loss(&error))? {
                0 => match reader.end() {
                    Known::Partial => return Err(Loss::Closed),
                    known => known,
                },
                count => reader.take(&buffer[..count]),
            };
            match known {
                Known::Partial => {}
                Known::Whole(status) => return Ok(status),
                Known::Tls => return Err(Loss::Tls),
                Known::NoHttp => return Err(Loss::Other(ErrorKind::InvalidData)),
            }
        }
    }

    /// A server that closes it in good order, or says something, has accepted it.
    fn wait_accepted(&mut self) -> Result<Answer, Loss> {
        let (ends, deadline) = (self.ends(), Instant::now() + PATIENCE);
        loop {
            self.stream.wait_at_most(LOOK);
            match self.stream.read(&mut [0]) {
                Ok(_) => return Ok(Answer::Accepted),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(loss(&error)),
            }
            match ends.map(Ends::accepted) {
                Some(Ok(Some(_))) => return Ok(Answer::Accepted),
                // The system does not say more than that it is connected.
                Some(Err(error)) if error.kind() == ErrorKind::Unsupported => {
                    return Ok(Answer::Accepted);
                }
                _ => {}
            }
            if deadline <= Instant::now() {
                return Err(Loss::TimedOut);
            }
        }
    }
}

/// What an error of the system means for a client.
pub(super) fn loss(error: &io::Error) -> Loss {
    match error.kind() {
        // Where TLS was asked for: the handshake was cut, or what is said after it.
        ErrorKind::UnexpectedEof => Loss::Closed,
        ErrorKind::InvalidData if tls::spoken(error) == Some(Spoken::Plain) => Loss::NoTls,
        // `NotFound`: there is no unix socket at the path.
        ErrorKind::ConnectionRefused | ErrorKind::NotFound => Loss::Refused,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            Loss::Reset
        }
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Loss::TimedOut,
        // The handshake took longer than the socket may wait.
        _ if sys::is_in_progress(error) => Loss::TimedOut,
        kind => Loss::Other(kind),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::sys::ABLE;
    use crate::sys::sockets::listen_unix;
    use crate::sys::testing::{emulation_lacks, is_wine, lacks};

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    /// What a client gets from a server that does this with its first connection.
    fn ask(
        how: How,
        serve: impl FnOnce(std::net::TcpStream) + Send + 'static,
    ) -> Result<Answer, Loss> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = At::Tcp(listener.local_addr().unwrap());
        let server = thread::spawn(move || serve(listener.accept().unwrap().0));
        let outcome =
            Talk::begin(&at, None).and_then(|mut talk| talk.finish(how, REQUEST, || false));
        server.join().unwrap();
        outcome
    }

    fn read_all_of(mut stream: &std::net::TcpStream) {
        stream.read_exact(&mut [0; REQUEST.len()]).unwrap();
    }

    #[test]
    fn answers_and_losses_are_told_apart() {
        let whole = ask(How::Ask, |mut stream| {
            read_all_of(&stream);
            stream.write_all(b"HTTP/1.1 204 No\r\n\r\n").unwrap();
        });
        assert_eq!(whole, Ok(Answer::Status(204)));
        let closed = ask(How::Ask, |mut stream| {
            read_all_of(&stream);
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
                .unwrap();
        });
        assert_eq!(closed, Err(Loss::Closed));
        let reset = ask(How::Ask, |stream| {
            // What was not read is what a reset is for.
            stream.peek(&mut [0]).unwrap();
        });
        // Wine's wait for input takes the error away.
        let cut = [Err(Loss::Reset), Err(Loss::Closed)];
        assert!(cut[..=usize::from(is_wine())].contains(&reset));
        let other = ask(How::Ask, |mut stream| {
            read_all_of(&stream);
            stream.write_all(b"SSH-2.0").unwrap();
        });
        assert_eq!(other, Err(Loss::Other(ErrorKind::InvalidData)));
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        assert_eq!(Talk::begin(&At::Tcp(free), None).err(), Some(Loss::Refused));
        if lacks(ABLE.unix_sockets, "unix sockets") {
            return;
        }
        let nowhere = At::Unix("/nowhere/app.sock".into());
        assert_eq!(Talk::begin(&nowhere, None).err(), Some(Loss::Refused));
    }

    #[test]
    fn who_asks_nothing_waits_until_somebody_accepts() {
        if emulation_lacks("`sock_diag`") {
            return;
        }
        let how = How::Connect;
        let accepted = ask(how, |stream| {
            // It is not closed before the client has gone.
            assert_eq!((&stream).read(&mut [0]).unwrap(), 0);
        });
        assert_eq!(accepted, Ok(Answer::Accepted));
        if lacks(ABLE.unix_sockets, "unix sockets") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = listen_unix(&path).unwrap();
        let mut talk = Talk::begin(&At::Unix(path), None).unwrap();
        let ends = talk.ends().unwrap();
        assert_eq!(ends.accepted().unwrap(), None);
        let (_server, _) = listener.accept().unwrap();
        assert!(ends.accepted().unwrap().is_some());
        let accepted = talk.finish(how, REQUEST, || false);
        assert_eq!(accepted, Ok(Answer::Accepted));
    }
}
