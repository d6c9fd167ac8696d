//! Open files, pipes and sockets: passed to another process, inherited, and waited for.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use listenfd::ListenFd;
use nix::fcntl::FdFlag;
use nix::libc;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, recvmsg, sendmsg,
};
use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::sys::{RECEIVE, SEND, close_on_exec};

/// Something open: a file, a pipe, a terminal. Closed when it is dropped, and no child's.
pub type Handle = OwnedFd;

/// The most descriptors that one message carries (`SCM_MAX_FD` of Linux).
pub const MOST_DESCRIPTORS: usize = 253;

/// The bytes that so many take in a message.
const ROOM: usize = rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS));

/// Sends bytes and, with the first of them, at most [`MOST_DESCRIPTORS`] descriptors over a unix socket.
/// Returns how many bytes were sent.
pub(in crate::sys) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); ROOM];
    let mut parts = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !parts.push(SendAncillaryMessage::ScmRights(descriptors)) {
        // As the system says it of too many.
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut parts, SEND)?)
}

/// Receives bytes and the descriptors that came with them, all close-on-exec. No bytes: the other
/// end is closed.
pub(in crate::sys) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>)> {
    receive_into(&mut [MaybeUninit::uninit(); ROOM], socket, buffer)
}

/// The same with this room for descriptors.
fn receive_into(
    space: &mut [MaybeUninit<u8>],
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut parts = RecvAncillaryBuffer::new(space);
    let mut slices = [IoSliceMut::new(buffer)];
    let message = recvmsg(socket, &mut slices, &mut parts, RECEIVE)?;
    let mut descriptors = Vec::new();
    for part in parts.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            for descriptor in received {
                descriptors.push(close_on_exec(descriptor)?);
            }
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        // The process has too many descriptors open for some of them; those received are closed.
        return Err(io::Error::from_raw_os_error(libc::EMFILE));
    }
    Ok((message.bytes, descriptors))
}

/// The sockets that this process was started with (`sd_listen_fds(3)`), with their descriptors' numbers;
/// an error for each that is not open. To be called once, before this process opens a descriptor that
/// could get one of their numbers.
pub fn handed_over() -> impl Iterator<Item = (i32, io::Result<Socket>)> {
    let mut given = ListenFd::from_env();
    (0..given.len()).filter_map(move |at| {
        let number = given.take_raw_fd(at).ok().flatten()?;
        Some((number, adopt(number).map(Socket::from)))
    })
}

/// Takes ownership of a descriptor that this process inherited, and sets close-on-exec; an error if it
/// is not open. To be called once for each number.
fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: borrowed for this call only, which fails where nothing is open.
    let open = unsafe { libc::fcntl(number, libc::F_SETFD, FdFlag::FD_CLOEXEC.bits()) };
    if open < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and the caller guarantees that nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Something open, of which the runtime says when it is readable.
pub type Readable<T> = AsyncFd<Arc<T>>;

/// Registers something open with the runtime, to wait until it is readable.
pub fn readable<T: AsFd + AsRawFd>(descriptor: Arc<T>) -> io::Result<Readable<T>> {
    // SAFETY: `AsFd` says that the descriptor is open for as long as its owner lives, and the `Arc`, which
    // can't be taken out of the `AsyncFd`, keeps that for as long as it is registered.
    let registered = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    Ok(registered?)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use nix::fcntl::{FcntlArg, fcntl};

    use super::*;
    use crate::sys::testing::emulation_lacks;

    #[test]
    fn descriptors_travel_with_the_first_byte() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut reader, writer) = UnixStream::pair().unwrap();
        let sent = send(ours.as_fd(), b"hello", &[writer.as_fd()]).unwrap();
        assert_eq!(sent, 5);
        drop(writer);
        let mut buffer = [0; 16];
        let (count, descriptors) = receive(theirs.as_fd(), &mut buffer).unwrap();
        assert_eq!((&buffer[..count], descriptors.len()), (&b"hello"[..], 1));
        let flags = fcntl(&descriptors[0], FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags, FdFlag::FD_CLOEXEC.bits());
        let mut writer = UnixStream::from(descriptors.into_iter().next().unwrap());
        writer.write_all(b"x").unwrap();
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
    }

    /// As where this process may not open as many.
    #[test]
    fn of_descriptors_that_come_in_part_none_stays_open() {
        if emulation_lacks("word of descriptors that did not fit") {
            return;
        }
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut reader, writer) = UnixStream::pair().unwrap();
        send(ours.as_fd(), b"hello", &[writer.as_fd(); 5]).unwrap();
        drop(writer);
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let error = receive_into(&mut room, theirs.as_fd(), &mut [0; 16]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        reader.set_nonblocking(true).unwrap();
        assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn an_adopted_descriptor_is_no_childs() {
        let (socket, _) = UnixStream::pair().unwrap();
        let number = fcntl(&socket, FcntlArg::F_DUPFD(500)).unwrap();
        let owned = adopt(number).unwrap();
        let flags = fcntl(&owned, FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags, FdFlag::FD_CLOEXEC.bits());
        let error = adopt(1_000_000_000).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn a_closed_end_reads_as_no_bytes() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(ours);
        let (count, descriptors) = receive(theirs.as_fd(), &mut [0; 4]).unwrap();
        assert_eq!((count, descriptors.len()), (0, 0));
    }
}
