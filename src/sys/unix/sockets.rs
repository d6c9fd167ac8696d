//! Sockets: what they are known by, and what waits in them.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use socket2::{Domain, SockAddr, Socket, Type};

/// The number by which the system knows a socket, its inode.
pub fn id(socket: &impl AsFd) -> io::Result<u64> {
    Ok(fstat(socket)?.st_ino)
}

/// There is something to accept or to read, or comes within this time, or never will.
pub fn has_input(socket: &impl AsFd, within: Duration) -> io::Result<bool> {
    let mut asked = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    let within = PollTimeout::try_from(within).unwrap_or(PollTimeout::MAX);
    Ok(poll(&mut asked, within)? > 0)
}

/// Listens at this path.
pub fn listen_unix(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(128)?;
    Ok(socket)
}

/// Connects to who listens at this path.
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
