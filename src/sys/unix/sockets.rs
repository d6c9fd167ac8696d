//! Sockets: what they are known by, and what waits in them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::AcceptConn;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::sys::socket_id;

/// The kernel caps it at its own maximum (`somaxconn`); with a shorter queue clients would have to retry
/// the handshake while no process accepts.
pub const BACKLOG: i32 = i32::MAX;

/// A port that the system chose at `bind` is given back when a program shuts the listener down. Where it is
/// not, no second socket could be bound to it either, by [`claim_address`] alone.
pub const GIVES_BACK_PORTS: bool = cfg!(target_os = "linux");

/// Why a program may not bind a port, and what to do.
pub const PORT_DENIED: (&str, &str) = (
    "ports below 1024 need a privilege you don't have",
    "choose a port from 1024 up, like `:3000`",
);

/// Before `bind`: makes it fail if another program has the address, but not because of connections of an
/// earlier run in `TIME_WAIT`. With UDP the option would let two programs share the address unnoticed. On
/// macOS a program that has the port on all interfaces has another address than one with it on a single one.
pub fn claim_address(socket: &Socket, kind: Type) -> io::Result<()> {
    socket.set_reuse_address(kind == Type::STREAM)
}

/// The number by which the system knows a socket, in all processes.
pub fn id(socket: &impl AsFd) -> io::Result<u64> {
    socket_id(socket)
}

/// There is something to accept or to read, or comes within this time, or never will.
pub fn has_input(socket: &impl AsFd, within: Duration) -> io::Result<bool> {
    let mut asked = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    let within = PollTimeout::try_from(within).unwrap_or(PollTimeout::MAX);
    Ok(poll(&mut asked, within)? > 0)
}

/// The socket listens.
pub fn listens(socket: &Socket) -> io::Result<bool> {
    Ok(getsockopt(socket, AcceptConn)?)
}

/// `O_NONBLOCK` is set.
pub fn is_nonblocking(socket: &Socket) -> io::Result<bool> {
    socket.nonblocking()
}

/// Whether other sockets may be bound to the same address, if they allow it as well (`SO_REUSEPORT`).
pub fn share_address(socket: &Socket, allow: bool) -> io::Result<()> {
    socket.set_reuse_port(allow)
}

/// [`share_address`] is set.
pub fn shares_address(socket: &Socket) -> io::Result<bool> {
    socket.reuse_port()
}

/// What a socket is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// An internet address.
    Internet(SocketAddr),
    /// A path.
    Path(PathBuf),
    /// An abstract name, escaped.
    Abstract(String),
    /// Nothing.
    Unnamed,
    /// Something else, as text.
    Other(String),
}

/// What a socket with this address is bound to.
pub fn name(address: &SockAddr) -> Name {
    #[cfg(target_os = "linux")]
    if let Some((cid, port)) = address.as_vsock_address() {
        return Name::Other(format!("vsock:{cid}:{port}"));
    }
    if let Some(at) = address.as_socket() {
        Name::Internet(at)
    } else if let Some(path) = address.as_pathname() {
        Name::Path(path.to_owned())
    } else if let Some(name) = address.as_abstract_namespace() {
        Name::Abstract(name.escape_ascii().to_string())
    } else if address.is_unnamed() {
        Name::Unnamed
    } else {
        Name::Other(format!("family-{}", address.family()))
    }
}

/// The program that has bound a socket to this path has ended.
///
/// Found out by connecting a datagram socket: a stale file refuses, a datagram socket accepts without
/// receiving anything, and for a stream socket the kernel reports a wrong type without its program
/// noticing.
pub fn is_refused(path: &Path) -> bool {
    let connect = || Socket::new(Domain::UNIX, Type::DGRAM, None)?.connect(&SockAddr::unix(path)?);
    connect().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Receives datagrams at this path.
#[cfg(test)]
pub fn receive_unix(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    Ok(socket)
}

/// Sends a datagram to this path.
#[cfg(test)]
pub fn send_unix(path: &Path, bytes: &[u8]) -> io::Result<usize> {
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    socket.send_to(bytes, &SockAddr::unix(path)?)
}

/// Listens at this path.
#[cfg(test)]
pub fn listen_unix(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(128)?;
    Ok(socket)
}

/// Connects to the socket that listens at this path.
#[cfg(test)]
pub fn connect_unix(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queued_connection_is_input() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = listen_unix(&path).unwrap();
        assert!(!has_input(&listener, Duration::ZERO).unwrap());
        let client = connect_unix(&path).unwrap();
        assert!(has_input(&listener, Duration::ZERO).unwrap());
        assert_ne!(id(&listener).unwrap(), id(&client).unwrap());
    }
}
