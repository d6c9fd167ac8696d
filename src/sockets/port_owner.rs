//! Which other process has an address: its pid and command, or at least its user.

use std::fmt;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use procfs::net::{TcpState, UnixState};
use procfs::process::{FDTarget, Process, all_processes};

use super::address::{Address, is_behind};
use crate::process_tree;

/// A process that has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its pid and command; `None` where /proc does not show them, since it belongs to another user.
    pub process: Option<(i32, String)>,
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

/// A socket in the tables of /proc/net.
struct Entry {
    inode: u64,
    uid: u32,
}

/// The process that has `address`, as far as /proc shows it.
pub fn of(address: &Address) -> Option<Holder> {
    let entry = match address {
        Address::Tcp(wanted) => listening(*wanted),
        Address::Udp(wanted) => receiving(*wanted),
        Address::Unix(path) | Address::UnixDatagram(path) => at(path),
        Address::Other(_) => None,
    }?;
    let own = nix::unistd::getuid().as_raw();
    let owner = owner(entry.inode);
    let exe = |process: &Process| process.exe().ok();
    let is_hotrun = |exe: PathBuf| exe.file_name().is_some_and(|name| name == "hotrun");
    Some(Holder {
        dir: owner.as_ref().and_then(|process| process.cwd().ok()),
        is_hotrun: owner.as_ref().and_then(exe).is_some_and(is_hotrun),
        process: owner.as_ref().and_then(named),
        uid: entry.uid,
        foreign: entry.uid != own,
    })
}

fn listening(wanted: SocketAddr) -> Option<Entry> {
    let tables = [procfs::net::tcp(), procfs::net::tcp6()];
    let entry =
        tables.into_iter().flatten().flatten().find(|entry| {
            entry.state == TcpState::Listen && conflicts(entry.local_address, wanted)
        })?;
    Some(Entry {
        inode: entry.inode,
        uid: entry.uid,
    })
}

fn receiving(wanted: SocketAddr) -> Option<Entry> {
    let tables = [procfs::net::udp(), procfs::net::udp6()];
    let mut entries = tables.into_iter().flatten().flatten();
    let entry = entries.find(|entry| conflicts(entry.local_address, wanted))?;
    Some(Entry {
        inode: entry.inode,
        uid: entry.uid,
    })
}

fn at(path: &Path) -> Option<Entry> {
    let file = std::fs::metadata(path).ok()?;
    // A program may have bound a relative path.
    let is_it = |bound: &Path| {
        is_behind(path, bound) || bound.canonicalize().ok() == path.canonicalize().ok()
    };
    // Connections have the path too; those in the accept queue belong to no process.
    let mut entries = procfs::net::unix()
        .into_iter()
        .flatten()
        .filter(|entry| entry.state == UnixState::UNCONNECTED);
    let entry = entries.find(|entry| entry.path.as_deref().is_some_and(is_it))?;
    Some(Entry {
        inode: entry.inode,
        uid: file.uid(),
    })
}

/// The process that has the socket open; of several the oldest, which the others got it from.
fn owner(inode: u64) -> Option<Process> {
    let has = |process: &Process| {
        process
            .fd()
            .into_iter()
            .flatten()
            .flatten()
            .any(|fd| matches!(fd.target, FDTarget::Socket(found) if found == inode))
    };
    let age = |process: &Process| process.stat().map_or(u64::MAX, |stat| stat.starttime);
    let all = all_processes().ok()?.flatten();
    all.filter(has).min_by_key(age)
}

/// Its pid and its command.
fn named(process: &Process) -> Option<(i32, String)> {
    Some((process.pid(), process_tree::command(process)?))
}

/// The two addresses conflict: the same port, and the same IP or a wildcard. `[::]` may serve IPv4 too.
fn conflicts(held: SocketAddr, wanted: SocketAddr) -> bool {
    let any = held.ip().is_unspecified() || wanted.ip().is_unspecified();
    held.port() == wanted.port() && (any || held.ip() == wanted.ip())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

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
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let _listener = UnixListener::bind(&path).unwrap();
        // An unaccepted connection has the path and no process.
        let _waiting = UnixStream::connect(&path).unwrap();
        let holder = of(&Address::Unix(path)).unwrap();
        let (pid, command) = holder.process.clone().unwrap();
        assert_eq!(pid, std::process::id().cast_signed());
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
