//! Open objects and sockets: what they are passed as, and those that this process was started with.

use std::io;
use std::os::windows::io::{OwnedHandle, OwnedSocket, RawHandle};
use std::process::Stdio;

use socket2::Socket;
use windows_sys::Win32::System::Console::{
    GetStdHandle, STD_ERROR_HANDLE, STD_INPUT_HANDLE, STD_OUTPUT_HANDLE,
};

/// Something open: a file, a pipe, a process, or a socket. Closed when it is dropped, and no child's.
#[derive(Debug)]
pub enum Handle {
    /// An object of the system.
    Object(OwnedHandle),
    /// A socket.
    Socket(OwnedSocket),
}

impl Handle {
    /// A duplicate.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Object(handle) => Self::Object(handle.try_clone()?),
            Self::Socket(socket) => Self::Socket(socket.try_clone()?),
        })
    }

    /// As a child's stdin, stdout or stderr, which a socket can't be.
    pub(super) fn stdio(self) -> io::Result<Stdio> {
        match self {
            Self::Object(handle) => Ok(handle.into()),
            Self::Socket(_) => super::unsupported(),
        }
    }
}

/// This process's stdin, stdout and stderr, as numbers: null or invalid for what it does not have.
pub(super) fn own_stdio() -> [RawHandle; 3] {
    // SAFETY: numbers only.
    [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE]
        .map(|which| unsafe { GetStdHandle(which) })
}

/// The most handles and sockets that one message carries; a limit of hotrun's own.
pub const MOST_DESCRIPTORS: usize = 253;

/// The sockets that this process was started with: those that a holder offers by the protocol of
/// `listenfd`, numbered from zero. To be called once.
pub fn handed_over() -> impl Iterator<Item = (i32, io::Result<Socket>)> {
    let offered = match super::offer::offered() {
        Some(Ok(sockets)) => sockets.into_iter().map(Ok).collect(),
        Some(Err(error)) => vec![Err(error)],
        None => Vec::new(),
    };
    (0..).zip(offered)
}
