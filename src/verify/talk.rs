//! One client's connection: begun, looked at, asked over, and read to its end. Blocking, on a thread
//! of its own, so that nothing that hotrun tells holds it up.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::time::Instant;

use super::account::Answer;
use super::answer::{Known, Reader};
use super::facts::{How, Loss, PATIENCE};
use super::target::At;
use crate::sock_diag;

/// A client that has waited for its answer for so long looks whose connection it is; in milliseconds.
const GLANCE: u8 = 20;
/// Between two looks whether a connection was accepted.
const LOOK: Duration = Duration::from_millis(1);

/// A connection.
#[derive(Debug)]
pub(super) struct Talk {
    socket: Socket,
    deadline: Instant,
}

/// By what the kernel knows a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ends {
    Tcp {
        server: SocketAddr,
        client: SocketAddr,
    },
    /// The number of the client's end.
    Unix(u64),
}

impl Ends {
    /// The number in /proc of the server's end, once it was accepted.
    pub(super) fn accepted(self) -> io::Result<Option<u64>> {
        match self {
            Self::Tcp { server, client } => sock_diag::accepted(server, client),
            Self::Unix(client) => sock_diag::accepted_unix(client),
        }
    }
}

impl Talk {
    /// Connects.
    pub(super) fn begin(at: &At) -> Result<Self, Loss> {
        let deadline = Instant::now() + PATIENCE;
        let (domain, address) = match at {
            At::Tcp(address) => (Domain::for_address(*address), SockAddr::from(*address)),
            At::Unix(path) => (
                Domain::UNIX,
                SockAddr::unix(path).map_err(|error| loss(&error))?,
            ),
        };
        let connect = || {
            let socket = Socket::new(domain, Type::STREAM, None)?;
            // It bounds the wait for a full queue, too.
            socket.set_write_timeout(Some(PATIENCE))?;
            socket.connect(&address)?;
            Ok(socket)
        };
        let socket = connect().map_err(|error| loss(&error))?;
        Ok(Self { socket, deadline })
    }

    /// By what to look for its other end.
    pub(super) fn ends(&self) -> Option<Ends> {
        let client = self.socket.local_addr().ok()?;
        match client.as_socket() {
            Some(client) => Some(Ends::Tcp {
                server: self.socket.peer_addr().ok()?.as_socket()?,
                client,
            }),
            None => Some(Ends::Unix(fstat(&self.socket).ok()?.st_ino)),
        }
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
            How::Ask => self.ask(request, waiting).map(Answer::Status),
            How::Connect { .. } => self.wait_accepted(),
        }
    }

    /// Asks and reads the whole answer; its status.
    pub(super) fn ask(
        &mut self,
        request: &[u8],
        mut waiting: impl FnMut() -> bool,
    ) -> Result<u16, Loss> {
        self.socket
            .write_all(request)
            .map_err(|error| loss(&error))?;
        while !self.speaks_within(GLANCE) && waiting() && Instant::now() < self.deadline {}
        let mut reader = Reader::default();
        let mut buffer = [0; 16 * 1024];
        loop {
            let known = match self.read(&mut buffer)? {
                0 => match reader.end() {
                    Known::Partial => return Err(Loss::Closed),
                    known => known,
                },
                count => reader.take(&buffer[..count]),
            };
            match known {
                Known::Partial => {}
                Known::Whole(status) => return Ok(status),
                Known::NoHttp => return Err(Loss::Other(ErrorKind::InvalidData)),
            }
        }
    }

    /// There is something to read within this time.
    fn speaks_within(&self, ms: u8) -> bool {
        let mut socket = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        poll(&mut socket, PollTimeout::from(ms)) != Ok(0)
    }

    /// Reads what is there, at the latest until patience ends.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Loss> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Loss::TimedOut);
            }
            let read = self.socket.set_read_timeout(Some(left));
            match read.and_then(|()| self.socket.read(buffer)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read.map_err(|error| loss(&error)),
            }
        }
    }

    /// A server that closes it in good order, or says something, has accepted it.
    fn wait_accepted(&mut self) -> Result<Answer, Loss> {
        let ends = self.ends();
        self.socket
            .set_nonblocking(true)
            .map_err(|error| loss(&error))?;
        loop {
            match self.socket.read(&mut [0]) {
                Ok(_) => return Ok(Answer::Accepted),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Err(loss(&error)),
            }
            if ends.is_some_and(|ends| matches!(ends.accepted(), Ok(Some(_)))) {
                return Ok(Answer::Accepted);
            }
            if self.deadline <= Instant::now() {
                return Err(Loss::TimedOut);
            }
            thread::sleep(LOOK);
        }
    }
}

/// What an error of the system means for a client.
fn loss(error: &io::Error) -> Loss {
    match error.kind() {
        // `NotFound`: there is no unix socket at the path.
        ErrorKind::ConnectionRefused | ErrorKind::NotFound => Loss::Refused,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            Loss::Reset
        }
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Loss::TimedOut,
        // The handshake took longer than the socket may wait.
        _ if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => Loss::TimedOut,
        kind => Loss::Other(kind),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    /// What a client gets from a server that does this with its first connection.
    fn ask(
        how: How,
        serve: impl FnOnce(std::net::TcpStream) + Send + 'static,
    ) -> Result<Answer, Loss> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = At::Tcp(listener.local_addr().unwrap());
        let server = thread::spawn(move || serve(listener.accept().unwrap().0));
        let outcome = Talk::begin(&at).and_then(|mut talk| talk.finish(how, REQUEST, || false));
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
        assert_eq!(reset, Err(Loss::Reset));
        let other = ask(How::Ask, |mut stream| {
            read_all_of(&stream);
            stream.write_all(b"SSH-2.0").unwrap();
        });
        assert_eq!(other, Err(Loss::Other(ErrorKind::InvalidData)));
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        assert_eq!(Talk::begin(&At::Tcp(free)).err(), Some(Loss::Refused));
        let nowhere = At::Unix("/nowhere/app.sock".into());
        assert_eq!(Talk::begin(&nowhere).err(), Some(Loss::Refused));
    }

    #[test]
    fn who_asks_nothing_waits_until_somebody_accepts() {
        let how = How::Connect { silent: true };
        let accepted = ask(how, |stream| {
            // It is not closed before the client has gone.
            assert_eq!((&stream).read(&mut [0]).unwrap(), 0);
        });
        assert_eq!(accepted, Ok(Answer::Accepted));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let mut talk = Talk::begin(&At::Unix(path)).unwrap();
        let ends = talk.ends().unwrap();
        assert_eq!(ends.accepted().unwrap(), None);
        let (_server, _) = listener.accept().unwrap();
        assert!(ends.accepted().unwrap().is_some());
        let accepted = talk.finish(how, REQUEST, || false);
        assert_eq!(accepted, Ok(Answer::Accepted));
    }
}
