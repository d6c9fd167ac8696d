//! The bytes of one client's connection, as they are or over TLS. Blocking, and never for longer than
//! its deadline; what becomes of it is told by the error of the socket itself.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::time::Instant;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::facts::PATIENCE;
use super::target::At;
use crate::sys::{connections, sockets};
use crate::tls;

/// A connection.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(Bytes),
    /// The handshake is made by what is first read or written.
    Tls(Box<StreamOwned<ClientConnection, Bytes>>),
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
            Self::Tcp { server, client } => connections::accepted(server, client),
            Self::Unix(client) => connections::accepted_unix(client),
        }
    }
}

impl Stream {
    /// Connects.
    pub(super) fn connect(at: &At, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        let (domain, address) = match at {
            At::Tcp(address) => (Domain::for_address(*address), SockAddr::from(*address)),
            At::Unix(path) => (Domain::UNIX, SockAddr::unix(path)?),
        };
        let socket = Socket::new(domain, Type::STREAM, None)?;
        // It bounds the wait for a full queue, too.
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.connect(&address)?;
        let bytes = Bytes { socket, deadline };
        Ok(match tls {
            None => Self::Plain(bytes),
            Some(config) => {
                let session = tls::connection(config.clone())?;
                Self::Tls(Box::new(StreamOwned::new(session, bytes)))
            }
        })
    }

    /// By what to look for its other end.
    pub(super) fn ends(&self) -> Option<Ends> {
        let socket = &self.bytes().socket;
        let client = socket.local_addr().ok()?;
        match client.as_socket() {
            Some(client) => Some(Ends::Tcp {
                server: socket.peer_addr().ok()?.as_socket()?,
                client,
            }),
            None => Some(Ends::Unix(sockets::id(socket).ok()?)),
        }
    }

    /// How long it may still wait.
    pub(super) fn left(&self) -> Duration {
        let deadline = self.bytes().deadline;
        deadline.saturating_duration_since(Instant::now())
    }

    /// From now on it waits for so long; after that, reading is an error (`WouldBlock`) and may be
    /// tried again.
    pub(super) fn wait_at_most(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        match self {
            Self::Plain(bytes) => bytes.deadline = deadline,
            Self::Tls(tls) => tls.sock.deadline = deadline,
        }
    }

    /// There is something to read within this time.
    pub(super) fn has_input(&self, within: Duration) -> bool {
        sockets::has_input(&self.bytes().socket, within).unwrap_or(true)
    }

    fn bytes(&self) -> &Bytes {
        match self {
            Self::Plain(bytes) => bytes,
            Self::Tls(tls) => &tls.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(bytes) => bytes.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(bytes) => bytes.write(buffer),
            Self::Tls(tls) => tls.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(bytes) => bytes.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}

/// The shortest time that the system waits.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// The socket.
#[derive(Debug)]
pub(super) struct Bytes {
    socket: Socket,
    deadline: Instant,
}

impl Read for Bytes {
    /// Reads what is there, at the latest until the deadline.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::WouldBlock.into());
            }
            // Not by a timeout of the socket: on some systems that is of no use after the first.
            let within = left.max(SHORTEST_WAIT);
            let read = match sockets::has_input(&self.socket, within) {
                Ok(true) => self.socket.read(buffer),
                Ok(false) => continue,
                Err(error) => Err(error),
            };
            match read {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

impl Write for Bytes {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.socket.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}
