//! How descriptors are passed on, and not passed on.

use std::io;
use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::libc;
use rustix::net::{RecvFlags, SendFlags};

use super::proc_info;
use crate::sys::FIRST_SOCKET;

/// With each message that is sent: nothing. There is no flag against the signal that comes if the other end
/// is closed, but Rust's runtime ignores SIGPIPE in every program.
pub(in crate::sys) const SEND: SendFlags = SendFlags::empty();

/// With each message that is received: nothing.
pub(in crate::sys) const RECEIVE: RecvFlags = RecvFlags::empty();

/// With a terminal that is opened: nothing, since `posix_openpt` may refuse other flags.
pub(in crate::sys) const PTY: OFlag = OFlag::empty();

/// Makes a new descriptor close-on-exec, which no flag does at once: a child that another thread starts
/// in between gets it too.
pub(in crate::sys) fn close_on_exec(new: OwnedFd) -> io::Result<OwnedFd> {
    fcntl(&new, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(new)
}

/// Closes every descriptor from 3 up. To be called first in a process that has opened none itself: what
/// is open was leaked into it.
pub fn close_inherited() {
    let open = proc_info::descriptors(std::process::id()).unwrap_or_default();
    let leaked = open.into_iter().map(|open| open.number);
    for number in leaked.filter(|number| *number >= FIRST_SOCKET) {
        // SAFETY: called before anything in this process owns a descriptor above 2; a number that is not
        // open is an error.
        unsafe { libc::close(number) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_is_made_close_on_exec() {
        let (reader, _writer) = io::pipe().unwrap();
        fcntl(&reader, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        let reader = close_on_exec(reader.into()).unwrap();
        let flags = fcntl(&reader, FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags, FdFlag::FD_CLOEXEC.bits());
    }
}
