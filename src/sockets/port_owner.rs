//! Which other process has an address: its pid and command, or at least its user.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::address::{Address, is_behind};
use crate::sys::processes::Process;
use crate::sys::socket_tables::{self, Owned};
use crate::sys::{self, files};

/// A process that has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its pid and command; `None` where /proc does not show them, since it belongs to another user.
    pub process: Option<(u32, String)>,
    /// Its working directory.
    pub dir: Option<PathBuf>,
    /// It is a hotrun.
    pub is_hotrun: bool,
    /// Its user's id.
    pub uid: u32,
    /// Its user is not ours.
    pub foreign: bool,
}

impl Holder {
    /// Names the process with its directory, which tells two copies of one project apart.
    pub fn located(&self) -> String {
        let dir = self.dir.as_ref();
        let dir = dir.map(|dir| format!(" in {}", dir.display()));
        let dir = dir.unwrap_or_default();
        match &self.process {
            Some((pid, _)) if self.is_hotrun => format!("another hotrun{dir} (pid {pid})"),
            _ => format!("{self}{dir}"),
        }
    }
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

/// The process that has `address`, as far as /proc shows it.
pub fn of(address: &Address) -> Option<Holder> {
    let entry = match address {
        Address::Tcp(wanted) => socket_tables::listening(|held| conflicts(held, *wanted)),
        Address::Udp(wanted) => socket_tables::receiving(|held| conflicts(held, *wanted)),
        Address::Unix(path) | Address::UnixDatagram(path) => at(path),
        Address::Other(_) => None,
    }?;
    let owner = socket_tables::owner(entry.inode);
    let is_hotrun = |exe: PathBuf| exe.file_name().is_some_and(|name| name == "hotrun");
    Some(Holder {
        dir: owner.as_ref().and_then(Process::dir),
        is_hotrun: owner
            .as_ref()
            .and_then(Process::executable)
            .is_some_and(is_hotrun),
        process: owner
            .as_ref()
            .and_then(|process| Some((process.pid(), process.command()?))),
        uid: entry.user,
        foreign: entry.user != sys::user(),
    })
}

fn at(path: &Path) -> Option<Owned> {
    let user = files::owner(&path.metadata().ok()?);
    // A program may have bound a relative path.
    let is_it = |bound: &Path| {
        is_behind(path, bound) || dunce::canonicalize(bound).ok() == dunce::canonicalize(path).ok()
    };
    let inode = socket_tables::bound(is_it)?;
    Some(Owned { inode, user })
}

/// The two addresses conflict: the same port, and the same IP or a wildcard. `[::]` may serve IPv4 too.
fn conflicts(held: SocketAddr, wanted: SocketAddr) -> bool {
    let any = held.ip().is_unspecified() || wanted.ip().is_unspecified();
    held.port() == wanted.port() && (any || held.ip() == wanted.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::ABLE;
    use crate::sys::sockets::{connect_unix, listen_unix};
    use crate::sys::testing::lacks;

    #[test]
    fn a_wildcard_conflicts_with_each_address_of_its_port() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        for (held, wanted, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "[::]:80", true),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "127.0.0.1:81", false),
        ] {
            assert_eq!(
                conflicts(address(held), address(wanted)),
                expected,
                "{held} {wanted}"
            );
        }
    }

    #[test]
    fn the_process_with_a_socket_file_is_named() {
        if lacks(ABLE.unix_sockets, "unix sockets") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let _listener = listen_unix(&path).unwrap();
        // An unaccepted connection has the path and no process.
        let _waiting = connect_unix(&path).unwrap();
        let holder = of(&Address::Unix(path)).unwrap();
        let (pid, command) = holder.process.clone().unwrap();
        assert_eq!(pid, std::process::id());
        let dir = std::env::current_dir().unwrap();
        let located = format!("pid {pid} ({command}) in {}", dir.display());
        assert_eq!(holder.located(), located);
        let hotrun = Holder {
            is_hotrun: true,
            ..holder
        };
        let located = format!("another hotrun in {} (pid {pid})", dir.display());
        assert_eq!(hotrun.located(), located);
    }
}
