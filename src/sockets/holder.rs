//! Who else listens on an address: its pid and command, or at least its user.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use procfs::net::{TcpNetEntry, TcpState};
use procfs::process::{FDTarget, Process, all_processes};

/// A program that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its pid and command; unknown where it belongs to somebody else.
    pub process: Option<(i32, String)>,
    /// Its user.
    pub uid: u32,
    /// That user is another one than ours.
    pub foreign: bool,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some((pid, command)) => write!(f, "pid {pid} ({command})")?,
            None => f.write_str("a process that cannot be named")?,
        }
        if self.foreign {
            write!(f, " of user {}", self.uid)
        } else {
            Ok(())
        }
    }
}

/// Who listens on `address`, as far as /proc tells.
pub fn of(address: SocketAddr) -> Option<Holder> {
    let entries = procfs::net::tcp()
        .into_iter()
        .chain(procfs::net::tcp6())
        .flatten();
    let socket = entries
        .into_iter()
        .find(|entry| entry.state == TcpState::Listen && overlaps(entry.local_address, address))?;
    let own = nix::unistd::getuid().as_raw();
    Some(Holder {
        process: owner(&socket),
        uid: socket.uid,
        foreign: socket.uid != own,
    })
}

/// The process that has the socket open.
fn owner(socket: &TcpNetEntry) -> Option<(i32, String)> {
    let has = |process: &Process| {
        process
            .fd()
            .into_iter()
            .flatten()
            .flatten()
            .any(|fd| matches!(fd.target, FDTarget::Socket(inode) if inode == socket.inode))
    };
    let process = all_processes().ok()?.flatten().find(has)?;
    let command = process.cmdline().ok()?.join(" ");
    Some((process.pid(), command))
}

/// Two listening addresses exclude each other: the same port, and the same or any interface.
fn overlaps(held: SocketAddr, wanted: SocketAddr) -> bool {
    let any = |ip: IpAddr| ip.is_unspecified();
    held.port() == wanted.port() && (held.ip() == wanted.ip() || any(held.ip()) || any(wanted.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_interface_overlaps_with_each() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        for (held, wanted, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "[::]:80", true),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "127.0.0.1:81", false),
        ] {
            assert_eq!(
                overlaps(address(held), address(wanted)),
                expected,
                "{held} {wanted}"
            );
        }
    }
}
