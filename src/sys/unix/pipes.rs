//! The pipes of a child's stdio.

use std::io;
use std::os::fd::OwnedFd;

use tokio::net::unix::pipe::pipe;
pub use tokio::net::unix::pipe::{Receiver, Sender};

/// A pipe that a child reads: our end, and its own.
pub fn to_child() -> io::Result<(Sender, OwnedFd)> {
    let (ours, theirs) = pipe()?;
    Ok((ours, theirs.into_blocking_fd()?))
}

/// A pipe that a child writes to: our end, and its own.
pub fn from_child() -> io::Result<(Receiver, OwnedFd)> {
    let (theirs, ours) = pipe()?;
    Ok((ours, theirs.into_blocking_fd()?))
}

/// Reads a part of what is left in a pipe after its writer has exited. Returns the number of bytes;
/// `WouldBlock` if it is empty and another process still has the writing end open.
///
/// Not by tokio's `try_read`: that reads only if the runtime has seen the pipe become readable, which
/// may come after the news of the exit.
pub fn take_rest(pipe: &Receiver, to: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0; 16 * 1024];
    let count = nix::unistd::read(pipe, &mut buffer)?;
    to.extend_from_slice(&buffer[..count]);
    Ok(count)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// The runtime has no chance to see the pipe become readable in between.
    #[tokio::test]
    async fn the_rest_is_read_even_if_the_runtime_has_not_seen_it() {
        let (reader, writer) = from_child().unwrap();
        let mut writer = std::fs::File::from(writer);
        writer.write_all(b"last ").unwrap();
        writer.write_all(b"words").unwrap();
        let mut taken = Vec::new();
        assert_eq!(take_rest(&reader, &mut taken).unwrap(), 10);
        assert_eq!(taken, b"last words");
        let nothing = take_rest(&reader, &mut taken).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        drop(writer);
        assert_eq!(take_rest(&reader, &mut taken).unwrap(), 0);
    }
}
