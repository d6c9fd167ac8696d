//! What the kernel tells about the sockets of an address, and about the other end of a connection. It does
//! not tell of traffic, by which a request in flight would be known, nor of connections that no process has
//! accepted: [`dump`] is an error, and its callers go by what they see themselves.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::{proc_info, unsupported};
use crate::sys::xnu::sockets::{Ends, SocketInfo};

pub use crate::sys::facts::{Entry, Traffic};

// States of a connection (`netinet/tcp_fsm.h`).
/// It is open at both ends.
pub const ESTABLISHED: u8 = 4;
/// A handshake under way.
pub const SYN_RECEIVED: u8 = 3;
/// The client has closed its end.
pub const CLOSE_WAIT: u8 = 5;
/// No connection: a socket that listens.
pub const LISTENING: u8 = 1;
/// No state of this system's.
pub const NEW_SYN_RECEIVED: u8 = 11;

/// An error.
pub fn dump(_address: SocketAddr) -> io::Result<Vec<Entry>> {
    unsupported()
}

/// An error: connections that no process has open are not told of.
pub fn closed_by_clients(_port: u16, _within: Duration) -> io::Result<Vec<SocketAddr>> {
    unsupported()
}

/// The length of the accept queue of a unix socket that this process has open.
pub fn queued(id: u64) -> io::Result<u32> {
    let mut own = proc_info::sockets(std::process::id());
    let found = own.find(|socket| socket.id == id);
    Ok(found.ok_or(io::ErrorKind::NotFound)?.queued)
}

/// The number of the server's end of a connection; `None` if none of this user's processes has accepted it.
pub fn accepted(server: SocketAddr, client: SocketAddr) -> io::Result<Option<u64>> {
    let same = |a: SocketAddr, b: SocketAddr| {
        (a.ip().to_canonical(), a.port()) == (b.ip().to_canonical(), b.port())
    };
    Ok(find(|socket| match socket.ends {
        Ends::Internet { own, peer, .. } => same(own, server) && same(peer, client),
        _ => false,
    }))
}

/// The same for a unix socket, by the number of the client's end.
pub fn accepted_unix(client: u64) -> io::Result<Option<u64>> {
    Ok(find(
        |socket| matches!(socket.ends, Ends::Unix { peer: Some(peer), .. } if peer == client),
    ))
}

/// The first such socket that a process of this user has open.
fn find(is_it: impl Fn(&SocketInfo) -> bool) -> Option<u64> {
    let mut all = proc_info::pids().into_iter().flat_map(proc_info::sockets);
    all.find(is_it).map(|socket| socket.id)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::sys::sockets::{connect_unix, id, listen_unix};

    #[test]
    fn a_connection_is_seen_once_it_was_accepted() {
        for at in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(at).unwrap();
            let server = listener.local_addr().unwrap();
            let stream = TcpStream::connect(server).unwrap();
            let client = stream.local_addr().unwrap();
            assert_eq!(accepted(server, client).unwrap(), None);
            let (stream, _) = listener.accept().unwrap();
            assert_eq!(accepted(server, client).unwrap(), id(&stream).ok());
        }
    }

    #[test]
    fn a_queue_of_a_unix_socket_has_a_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = listen_unix(&path).unwrap();
        let queue = || queued(id(&listener).unwrap()).unwrap();
        assert_eq!(queue(), 0);
        let client = connect_unix(&path).unwrap();
        assert_eq!(queue(), 1);
        let client = id(&client).unwrap();
        assert_eq!(accepted_unix(client).unwrap(), None);
        let (server, _) = listener.accept().unwrap();
        assert_eq!(queue(), 0);
        assert_eq!(accepted_unix(client).unwrap(), id(&server).ok());
        queued(0).unwrap_err();
    }
}
