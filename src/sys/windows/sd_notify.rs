//! `sd_notify(3)`, which Windows does not have: no app can say that it is ready, and no service manager
//! listens.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Where a service says how it is; there is none.
#[derive(Debug)]
pub struct NotifySocket(Infallible);

impl NotifySocket {
    /// An error.
    pub fn bind(_path: &Path) -> io::Result<Self> {
        super::unsupported()
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        match self.0 {}
    }

    /// The next message, if one has arrived.
    pub fn message(&self) -> Option<Vec<u8>> {
        match self.0 {}
    }

    /// Takes in all messages; whether one of them was `READY=1`.
    pub fn is_ready(&self) -> bool {
        match self.0 {}
    }
}

/// Where a service manager listens; there is none.
#[derive(Debug)]
pub struct Notified(Infallible);

impl Notified {
    /// `None`.
    pub fn at(_name: &OsStr, _patience: Duration) -> Option<Self> {
        None
    }

    /// Sends a message.
    pub fn send(&self, _message: &str) -> io::Result<usize> {
        match self.0 {}
    }
}
