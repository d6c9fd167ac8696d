//! What the system reports about the sockets of an address: nothing that hotrun could steer by. Every
//! question is an error, and the callers go by what they see themselves.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::unsupported;

pub use crate::sys::facts::{Entry, Traffic};

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
