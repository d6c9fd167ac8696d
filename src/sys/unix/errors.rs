//! Errors of the system for which `io::ErrorKind` has no name.

use std::io;

use nix::errno::Errno;

fn is(error: &io::Error, code: Errno) -> bool {
    error.raw_os_error() == Some(code as i32)
}

/// This process has too many files open, or this user too many of that kind.
pub fn is_too_many_open(error: &io::Error) -> bool {
    is(error, Errno::EMFILE)
}

/// The error of [`is_too_many_open`].
#[cfg(test)]
pub fn too_many_open() -> io::Error {
    Errno::EMFILE.into()
}

/// Something takes longer than this socket may wait.
pub fn is_in_progress(error: &io::Error) -> bool {
    is(error, Errno::EINPROGRESS)
}

/// A child's end can't be learned, since [`processes::reap`](crate::sys::processes::reap) was quicker.
pub fn is_reaped(error: &io::Error) -> bool {
    is(error, Errno::ECHILD)
}

/// This system has no addresses of that family.
pub fn is_unknown_family(error: &io::Error) -> bool {
    is(error, Errno::EAFNOSUPPORT)
}

/// The socket does not listen any more.
pub fn is_not_listening(error: &io::Error) -> bool {
    is(error, Errno::EINVAL)
}

/// The file is no program of this system.
pub fn is_foreign_program(error: &io::Error) -> bool {
    is(error, Errno::ENOEXEC)
}
