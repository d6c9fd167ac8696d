//! Both ends of `sd_notify(3)`: a service says over a datagram socket how it is.

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a service says how it is; removed when it is dropped.
#[derive(Debug)]
pub struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
}

impl NotifySocket {
    /// At this path, in a directory that is made for it.
    pub fn bind(path: &Path) -> io::Result<Self> {
        // A directory of its own, which no other user can reach and no other keeper uses.
        if let Some(dir) = path.parent() {
            DirBuilder::new().mode(0o700).create(dir)?;
        }
        let socket = UnixDatagram::bind(path)?;
        let notify = Self {
            socket,
            path: path.to_owned(),
        };
        notify.socket.set_nonblocking(true)?;
        Ok(notify)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next message, if one has arrived.
    pub fn message(&self) -> Option<Vec<u8>> {
        let mut buffer = [0; 4096];
        let count = self.socket.recv(&mut buffer).ok()?;
        Some(buffer[..count].to_vec())
    }

    /// Takes in all messages; whether one of them was `READY=1`.
    pub fn is_ready(&self) -> bool {
        let mut ready = false;
        while let Some(message) = self.message() {
            let mut lines = message.split(|byte| *byte == b'\n');
            ready |= lines.any(|line| line == b"READY=1");
        }
        ready
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        std::fs::remove_file(&self.path).ok();
        if let Some(dir) = self.path.parent() {
            std::fs::remove_dir(dir).ok();
        }
    }
}

impl std::os::fd::AsFd for NotifySocket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Where a service manager listens.
#[derive(Debug)]
pub struct Notified {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Notified {
    /// The one that listens at the value of `NOTIFY_SOCKET`: a path, or `@` and an abstract name. One that
    /// does not read what it is sent is waited for no longer than `patience`.
    pub fn at(name: &OsStr, patience: Duration) -> Option<Self> {
        let address = match name.as_bytes() {
            #[cfg(target_os = "linux")]
            [b'@', name @ ..] => {
                use std::os::linux::net::SocketAddrExt;
                SocketAddr::from_abstract_name(name)
            }
            [b'/', ..] => SocketAddr::from_pathname(name),
            _ => return None,
        };
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_write_timeout(Some(patience)).ok()?;
        let address = address.ok()?;
        Some(Self { socket, address })
    }

    /// Sends a message.
    pub fn send(&self, message: &str) -> io::Result<usize> {
        self.socket.send_to_addr(message.as_bytes(), &self.address)
    }
}
