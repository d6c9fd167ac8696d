//! All sockets of this machine, as /proc/net lists them.

use std::net::SocketAddr;
use std::path::Path;

use procfs::net::{TcpState, UnixState};

use super::processes::{self, Process};

/// A socket, and the id of the user that has made it.
#[derive(Clone, Copy, Debug)]
pub struct Owned {
    /// Its inode.
    pub inode: u64,
    /// The user's id.
    pub user: u32,
}

/// A TCP socket that listens on such an address.
pub fn listening(is_it: impl Fn(SocketAddr) -> bool) -> Option<Owned> {
    let tables = [procfs::net::tcp(), procfs::net::tcp6()];
    let mut entries = tables.into_iter().flatten().flatten();
    let entry =
        entries.find(|entry| entry.state == TcpState::Listen && is_it(entry.local_address))?;
    Some(Owned {
        inode: entry.inode,
        user: entry.uid,
    })
}

/// A UDP socket that receives at such an address.
pub fn receiving(is_it: impl Fn(SocketAddr) -> bool) -> Option<Owned> {
    let tables = [procfs::net::udp(), procfs::net::udp6()];
    let mut entries = tables.into_iter().flatten().flatten();
    let entry = entries.find(|entry| is_it(entry.local_address))?;
    Some(Owned {
        inode: entry.inode,
        user: entry.uid,
    })
}

fn unix(state: UnixState, is_it: impl Fn(&Path) -> bool) -> impl Iterator<Item = u64> {
    let entries = procfs::net::unix().into_iter().flatten();
    let entries = entries.filter(move |entry| entry.state == state);
    let entries = entries.filter(move |entry| entry.path.as_deref().is_some_and(&is_it));
    entries.map(|entry| entry.inode)
}

/// The inode of a unix socket that is bound to such a path. Its connections have the path too; those in
/// its accept queue belong to no process.
pub fn bound(is_it: impl Fn(&Path) -> bool) -> Option<u64> {
    unix(UnixState::UNCONNECTED, is_it).next()
}

/// The inodes of the unix sockets that were accepted at such a path.
pub fn accepted(is_it: impl Fn(&Path) -> bool) -> impl Iterator<Item = u64> {
    // An accepted unix socket reports the path of its listener.
    unix(UnixState::CONNECTED, is_it)
}

/// The process that has the socket open; of several the oldest, which the others got it from.
pub fn owner(inode: u64) -> Option<Process> {
    let has = |process: &Process| process.sockets().any(|found| found == inode);
    processes::all().filter(has).min_by_key(Process::started)
}
