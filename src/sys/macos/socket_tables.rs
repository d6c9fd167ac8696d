//! All sockets of this user's processes; for root, of all users. Sockets of other users are not told of.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::proc_info;
use super::processes::{self, Process};
use crate::sys::xnu::sockets::{Ends, SocketInfo};

/// A socket, and the id of the user that has made it.
#[derive(Clone, Copy, Debug)]
pub struct Owned {
    /// Its number.
    pub inode: u64,
    /// The user's id.
    pub user: u32,
}

/// All sockets, with the pids of their processes.
fn all() -> impl Iterator<Item = (u32, SocketInfo)> {
    let pids = proc_info::pids().into_iter();
    pids.flat_map(|pid| proc_info::sockets(pid).map(move |socket| (pid, socket)))
}

fn owned(is_it: impl Fn(&SocketInfo) -> bool) -> Option<Owned> {
    let (pid, socket) = all().find(|(_, socket)| is_it(socket))?;
    let user = proc_info::process(pid).map(|process| process.pbi_uid);
    Some(Owned {
        inode: socket.id,
        user: user.unwrap_or_else(crate::sys::user),
    })
}

/// A TCP socket that listens on such an address.
pub fn listening(is_it: impl Fn(SocketAddr) -> bool) -> Option<Owned> {
    owned(|socket| match socket.ends {
        Ends::Internet { is_tcp, own, .. } => is_tcp && socket.listens && is_it(own),
        _ => false,
    })
}

/// A UDP socket that receives at such an address.
pub fn receiving(is_it: impl Fn(SocketAddr) -> bool) -> Option<Owned> {
    owned(|socket| match socket.ends {
        Ends::Internet { is_tcp, own, .. } => !is_tcp && own.port() != 0 && is_it(own),
        _ => false,
    })
}

fn is_bound(socket: &SocketInfo, is_it: impl Fn(&Path) -> bool) -> bool {
    match &socket.ends {
        Ends::Unix { path, .. } => !path.is_empty() && is_it(OsStr::from_bytes(path).as_ref()),
        _ => false,
    }
}

fn has_peer(socket: &SocketInfo) -> bool {
    matches!(socket.ends, Ends::Unix { peer: Some(_), .. })
}

/// The number of a unix socket that is bound to such a path. Its connections have the path too.
pub fn bound(is_it: impl Fn(&Path) -> bool) -> Option<u64> {
    let mut all = all().map(|(_, socket)| socket);
    all.find(|socket| !has_peer(socket) && is_bound(socket, &is_it))
        .map(|socket| socket.id)
}

/// The numbers of the unix sockets that were accepted at such a path.
pub fn accepted(is_it: impl Fn(&Path) -> bool) -> impl Iterator<Item = u64> {
    // An accepted unix socket reports the path of its listener.
    let all = all().map(|(_, socket)| socket);
    all.filter(move |socket| has_peer(socket) && is_bound(socket, &is_it))
        .map(|socket| socket.id)
}

/// The process that has the socket open; of several the oldest, which the others got it from.
pub fn owner(inode: u64) -> Option<Process> {
    let has = |process: &Process| process.sockets().any(|found| found == inode);
    processes::all().filter(has).min_by_key(Process::started)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;
    use crate::sys::sockets::{connect_unix, id, listen_unix};

    #[test]
    fn sockets_are_found_with_their_processes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let found = listening(|found| found == at).unwrap();
        assert_eq!(found.inode, id(&listener).unwrap());
        assert_eq!(found.user, crate::sys::user());
        assert_eq!(owner(found.inode).unwrap().pid(), std::process::id());
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = socket.local_addr().unwrap();
        let found = receiving(|found| found == at).unwrap();
        assert_eq!(found.inode, id(&socket).unwrap());
    }

    #[test]
    fn unix_sockets_are_found_by_their_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = listen_unix(&path).unwrap();
        let is_it = |found: &Path| found == path;
        assert_eq!(bound(is_it), id(&listener).ok());
        assert_eq!(accepted(is_it).count(), 0);
        let _client = connect_unix(&path).unwrap();
        let (server, _) = listener.accept().unwrap();
        assert_eq!(accepted(is_it).collect::<Vec<_>>(), [id(&server).unwrap()]);
    }
}
