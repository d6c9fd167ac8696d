//! Errors of the system for which `io::ErrorKind` has no name.

use std::io;

use windows_sys::Win32::Foundation::{ERROR_BAD_EXE_FORMAT, ERROR_TOO_MANY_OPEN_FILES};
use windows_sys::Win32::Networking::WinSock::{
    WSAEAFNOSUPPORT, WSAEINPROGRESS, WSAEINVAL, WSAEMFILE, WSAEWOULDBLOCK,
};

fn is(error: &io::Error, codes: &[i32]) -> bool {
    error
        .raw_os_error()
        .is_some_and(|code| codes.contains(&code))
}

/// This process has too many files or sockets open.
pub fn is_too_many_open(error: &io::Error) -> bool {
    is(error, &[ERROR_TOO_MANY_OPEN_FILES.cast_signed(), WSAEMFILE])
}

/// The error of [`is_too_many_open`].
#[cfg(test)]
pub fn too_many_open() -> io::Error {
    io::Error::from_raw_os_error(WSAEMFILE)
}

/// Something takes longer than this socket may wait.
pub fn is_in_progress(error: &io::Error) -> bool {
    is(error, &[WSAEINPROGRESS, WSAEWOULDBLOCK])
}

/// Never: the end of a child can always be learned.
pub fn is_reaped(_error: &io::Error) -> bool {
    false
}

/// This system has no addresses of that family.
pub fn is_unknown_family(error: &io::Error) -> bool {
    is(error, &[WSAEAFNOSUPPORT])
}

/// The socket does not listen any more.
pub fn is_not_listening(error: &io::Error) -> bool {
    is(error, &[WSAEINVAL])
}

/// The file is no program of this system.
pub fn is_foreign_program(error: &io::Error) -> bool {
    is(error, &[ERROR_BAD_EXE_FORMAT.cast_signed()])
}
