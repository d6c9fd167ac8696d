//! How descriptors are passed on, and not passed on, in ways that only Linux has.

use std::io;
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;
use nix::libc;
use rustix::net::{RecvFlags, SendFlags};

use crate::sys::FIRST_SOCKET;

/// With each message that is sent: if the other end is closed, that is an error and no signal.
pub(in crate::sys) const SEND: SendFlags = SendFlags::NOSIGNAL;

/// With each message that is received: descriptors in it are close-on-exec.
pub(in crate::sys) const RECEIVE: RecvFlags = RecvFlags::CMSG_CLOEXEC;

/// With a terminal that is opened: it is close-on-exec.
pub(in crate::sys) const PTY: OFlag = OFlag::O_CLOEXEC;

/// Makes a new descriptor close-on-exec: it is already, by [`RECEIVE`] or [`PTY`].
#[expect(clippy::unnecessary_wraps, reason = "other systems can fail")]
pub(in crate::sys) fn close_on_exec(new: OwnedFd) -> io::Result<OwnedFd> {
    Ok(new)
}

/// Closes every descriptor from 3 up. To be called first in a process that has opened none itself: what
/// is open was leaked into it.
pub fn close_inherited() {
    // SAFETY: called before anything in this process owns a descriptor above 2; the call has no
    // memory arguments. Where the kernel has none (before 5.9), what leaked stays open.
    unsafe { libc::syscall(libc::SYS_close_range, FIRST_SOCKET, libc::c_uint::MAX, 0) };
}
