//! What the system reports about the sockets of an address: nothing that hotrun could steer by. Every
//! question is an error, and the callers go by what they see themselves.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::unsupported;

/// It is open at both ends.
pub const ESTABLISHED: u8 = 1;
/// A handshake under way.
pub const SYN_RECEIVED: u8 = 3;
/// The client has closed its end.
pub const CLOSE_WAIT: u8 = 8;
/// No connection: a socket that listens.
pub const LISTENING: u8 = 10;
/// A handshake under way, as some systems report it.
pub const NEW_SYN_RECEIVED: u8 = 12;

/// One socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its state, one of those above.
    pub state: u8,
    /// Identifies the socket, from its handshake to its end.
    pub cookie: u64,
    /// Its number; zero until it is accepted.
    pub inode: u32,
    /// Of a listening socket: the length of its accept queue. Else: the bytes that are not read yet, and
    /// the FIN as one more.
    pub waiting: u32,
    /// The bytes that the client has not acknowledged yet.
    pub unsent: u32,
    /// The traffic so far.
    pub traffic: Traffic,
}

/// The traffic on a connection, as the server's end counts it.
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

/// An error.
pub fn dump(_address: SocketAddr) -> io::Result<Vec<Entry>> {
    unsupported()
}

/// An error.
pub fn closed_by_clients(_port: u16, _within: Duration) -> io::Result<Vec<SocketAddr>> {
    unsupported()
}

/// An error.
pub fn queued(_id: u64) -> io::Result<u32> {
    unsupported()
}

/// An error.
pub fn accepted(_server: SocketAddr, _client: SocketAddr) -> io::Result<Option<u64>> {
    unsupported()
}

/// An error.
pub fn accepted_unix(_client: u64) -> io::Result<Option<u64>> {
    unsupported()
}
