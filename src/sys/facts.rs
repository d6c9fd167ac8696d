//! What systems tell of processes and sockets, in types that all of them have. Pure.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Whether a generation accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepts {
    /// It does.
    Accepting,
    /// It does not.
    NotYet,
    /// It may accept in a way that the system does not show.
    Unseen,
}

/// What one accept probe of a generation found.
#[derive(Debug, Default)]
pub struct Seen {
    /// The inodes of the sockets on which some process accepts or receives.
    pub accepting: HashSet<u64>,
    /// Some process may accept in a way that the system does not show.
    pub unseen: bool,
    /// A thread of a process that has such a socket is running or runnable.
    pub busy: bool,
}

impl Seen {
    /// Whether some process accepts.
    pub fn accepts(&self) -> Accepts {
        match (self.accepting.is_empty(), self.unseen) {
            (false, _) => Accepts::Accepting,
            (true, true) => Accepts::Unseen,
            (true, false) => Accepts::NotYet,
        }
    }
}

/// One socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its state, one of those in `connections`.
    pub state: u8,
    /// Identifies the socket, from its handshake to its end.
    pub cookie: u64,
    /// Its inode; zero until it is accepted.
    pub inode: u32,
    /// Of a listening socket: the length of its accept queue. Else: the bytes that are not read yet, and
    /// the FIN as one more.
    pub waiting: u32,
    /// The bytes that the client has not acknowledged yet.
    pub unsent: u32,
    /// The traffic so far.
    pub traffic: Traffic,
}

/// The traffic on a connection, as the server's end counts it. Times are as exact as the kernel's clock
/// ticks (1 to 10 ms).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// The segments with data received from the client.
    pub segments_received: u32,
    /// The segments with data sent to the client.
    pub segments_sent: u32,
    /// The time since the last of them was received; the age of the connection if there is none.
    pub since_received: Duration,
    /// The time since the last of them was sent; the age of the connection if there is none.
    pub since_sent: Duration,
    /// The round-trip time.
    pub round_trip: Duration,
}

/// What a process does with signals that would end it: a bit for each, from signal 1 on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Handled {
    /// Those that it catches.
    pub caught: u64,
    /// Those that it ignores.
    pub ignored: u64,
}

impl Handled {
    /// It catches the signal.
    pub fn catches(self, signal: i32) -> bool {
        has(self.caught, signal)
    }

    /// It ignores the signal.
    pub fn ignores(self, signal: i32) -> bool {
        has(self.ignored, signal)
    }

    /// It neither catches nor ignores the signal.
    pub fn is_ended_by(self, signal: i32) -> bool {
        !has(self.caught | self.ignored, signal)
    }
}

fn has(signals: u64, signal: i32) -> bool {
    let bit = u32::try_from(signal - 1).ok();
    bit.and_then(|bit| signals.checked_shr(bit))
        .is_some_and(|signals| signals & 1 == 1)
}

/// What has ended a wait.
#[derive(Clone, Copy, Debug)]
pub struct Woken {
    /// Nothing: the time is over.
    pub idle: bool,
    /// There is something at stdin.
    pub has_orders: bool,
    /// The child has fetched the sockets that it was offered.
    pub has_fetched: bool,
}

/// What has happened to a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has exited with this status.
    Exited(i32),
    /// This signal has ended it.
    Killed(i32),
    /// It has ended in a way without a name.
    Ended,
    /// It was stopped.
    Stopped,
    /// It was continued.
    Continued,
}

/// The protocol of a socket, of those that can be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Connections over IPv4.
    Tcp4,
    /// Connections over IPv6.
    Tcp6,
    /// Datagrams over IPv4.
    Udp4,
    /// Datagrams over IPv6.
    Udp6,
    /// Connections over unix sockets.
    Unix,
}

impl Protocol {
    /// Sockets of this protocol listen, so each slot can have its own.
    pub fn listens(self) -> bool {
        matches!(self, Self::Tcp4 | Self::Tcp6 | Self::Unix)
    }
}

/// A socket of the program, with the flags of its descriptor.
#[derive(Clone, Copy, Debug)]
pub struct ProgramSocket {
    /// Its inode.
    pub inode: u64,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its calls do not block (`O_NONBLOCK`).
    pub nonblocking: bool,
    /// The descriptor is closed by exec.
    pub close_on_exec: bool,
}

/// What a `sockaddr` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// An internet address.
    Internet(SocketAddr),
    /// The path of a unix socket.
    Path(PathBuf),
    /// The name of an abstract unix address, escaped.
    Abstract(String),
}
