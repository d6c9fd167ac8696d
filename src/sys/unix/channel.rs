//! The connection between hotrun and a keeper: bytes in both directions, and with them handles and
//! sockets.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;

use socket2::Socket;
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::sys::Handle;
use crate::sys::descriptors::{receive, send};
use crate::sys::signals::while_blocked;

/// hotrun's end.
#[derive(Debug)]
pub struct Channel(UnixStream);

impl Channel {
    /// Starts a keeper at the other end of a new channel, with all signals blocked; also returns its pid. Must be called inside the
    /// runtime.
    pub fn start(keeper: &mut Command) -> io::Result<(Self, u32)> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let ours = UnixStream::from_std(ours)?;
        keeper
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // It is in hotrun's process group until it has left it, and Ctrl-C is for that whole group.
        let child = while_blocked(|| keeper.spawn())?;
        Ok((Self(ours), child.id()))
    }

    /// Sends bytes and, with the first of them, duplicates of these handles and sockets. Returns how many
    /// bytes were sent.
    pub async fn send(
        &self,
        bytes: &[u8],
        handles: &[Handle],
        sockets: &[Arc<Socket>],
    ) -> io::Result<usize> {
        let mut descriptors: Vec<BorrowedFd<'_>> = handles.iter().map(AsFd::as_fd).collect();
        descriptors.extend(sockets.iter().map(AsFd::as_fd));
        let send = || send(self.0.as_fd(), bytes, &descriptors);
        self.0.async_io(Interest::WRITABLE, send).await
    }

    /// Receives bytes and the handles that came with them. No bytes: the other end is closed. Safe to drop
    /// while it waits.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<Handle>)> {
        let receive = || receive(self.0.as_fd(), buffer);
        self.0.async_io(Interest::READABLE, receive).await
    }
}

/// The keeper's end, whose stdin it is. Closed when it is dropped.
#[derive(Debug)]
pub struct Stdin(Handle);

impl Stdin {
    /// That of this process.
    pub fn own() -> io::Result<Self> {
        Ok(Self(io::stdin().as_fd().try_clone_to_owned()?))
    }

    /// Sends bytes and, with the first of them, a duplicate of this handle. Returns how many bytes were
    /// sent.
    pub fn send(&self, bytes: &[u8], handle: Option<&Handle>) -> io::Result<usize> {
        let descriptor = handle.map(AsFd::as_fd);
        send(self.0.as_fd(), bytes, descriptor.as_slice())
    }

    /// Receives bytes and the handles that came with them. No bytes: the other end is closed.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<Handle>)> {
        receive(self.0.as_fd(), buffer)
    }
}

impl AsFd for Stdin {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is started takes none of the signals that are for hotrun's whole process group.
    #[tokio::test]
    async fn no_signal_reaches_a_keeper_that_begins() {
        let mut keeper = Command::new("/bin/sh");
        let signals = "for signal in INT TERM HUP QUIT TSTP; do kill -$signal $$; done";
        keeper.args(["-c", &format!("{signals}; echo lives >&0")]);
        let (channel, _) = Channel::start(&mut keeper).unwrap();
        let mut buffer = [0; 16];
        let (count, _) = channel.receive(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..count], b"lives\n");
    }
}
