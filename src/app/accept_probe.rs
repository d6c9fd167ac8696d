//! The accept probe and other facts about a generation that its system shows: its processes, whether one
//! of them accepts connections, and what files and sockets it has open.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::HeldSocket;
use crate::defect::{self, Blocking};
use crate::sockets::address::{Address, is_behind};
use crate::sys::accept_probe::{Seen, probe};
use crate::sys::files::FileId;
use crate::sys::processes::{self, Process, sockets_below};
use crate::sys::{connections, socket_tables};

/// What one accept probe of a keeper's processes found, and the files that they have open.
pub(super) type Probed = (Seen, HashSet<PathBuf>);

/// Accept probes, one after the other, in a thread of the runtime: all that is shown of a large
/// program takes longer to read than connections and output may wait.
#[derive(Debug, Default)]
pub(super) struct Probes {
    running: Option<Blocking<Probed>>,
}

impl Probes {
    /// Starts a probe, unless one runs, and waits for what it finds. Safe to drop while it waits.
    pub(super) async fn next(
        &mut self,
        keeper: u32,
        inodes: &HashSet<u64>,
        with_files: bool,
    ) -> Probed {
        let running = self.running.get_or_insert_with(|| {
            let inodes = inodes.clone();
            defect::spawn_blocking("accept probe", move || {
                defect::point("accept probe");
                let tree = processes::descendants(keeper);
                let files = with_files.then(|| tree.iter().flat_map(Process::files).collect());
                (probe(&tree, &inodes), files.unwrap_or_default())
            })
        });
        let found = running.done().await;
        self.running = None;
        // After a panic nothing was seen, and another probe follows.
        found.unwrap_or_default()
    }

    /// What a running probe finds does not count any more.
    pub(super) fn forget(&mut self) {
        self.running = None;
    }
}

/// Starts to read, in a thread of the runtime, what the system shows of processes.
pub(super) fn look<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> Blocking<T> {
    defect::spawn_blocking("look", move || {
        defect::point("look");
        read()
    })
}

/// The same, and waits for what it finds: nothing after a panic.
pub(super) async fn seen<T: Default + Send + 'static>(
    read: impl FnOnce() -> T + Send + 'static,
) -> T {
    look(read).done().await.unwrap_or_default()
}

/// How many open connections of clients the processes of this keeper have.
pub(super) fn connections(keeper: u32, held: &[HeldSocket]) -> usize {
    accepted(held).intersection(&sockets_below(keeper)).count()
}

/// The paths of the executables that the processes of this keeper run.
pub(super) fn executables(keeper: u32) -> Vec<PathBuf> {
    let tree = processes::descendants(keeper);
    let paths = tree.iter().filter_map(Process::executable_as_started);
    paths.collect()
}

/// The inodes of all accepted connections to these addresses, in any process.
fn accepted(held: &[HeldSocket]) -> HashSet<u64> {
    let addresses = || held.iter().map(|held| &held.behind);
    let tcp = addresses().filter_map(Address::tcp);
    let tcp = tcp.flat_map(connections::dump).flatten();
    let tcp = tcp
        .filter(|entry| entry.state == connections::ESTABLISHED)
        .map(|entry| u64::from(entry.inode));
    let paths: Vec<&Path> = addresses().filter_map(Address::path).collect();
    let is_behind_one = |bound: &Path| paths.iter().any(|path| is_behind(path, bound));
    tcp.chain(socket_tables::accepted(is_behind_one)).collect()
}

/// One of these addresses to which a client has connected within the last `within`, and closed the
/// connection.
pub(super) fn asked(addresses: &[SocketAddr], within: Duration) -> Option<SocketAddr> {
    let leads = |to: &SocketAddr| {
        let ip = to.ip().to_canonical();
        let mut all = addresses.iter();
        all.any(|at| {
            let own = at.ip().to_canonical();
            at.port() == to.port() && (own.is_unspecified() || own == ip)
        })
    };
    let ports: HashSet<u16> = addresses.iter().map(SocketAddr::port).collect();
    let closed = ports
        .into_iter()
        .map(|port| connections::closed_by_clients(port, within));
    closed.flatten().flatten().find(leads)
}

/// The files that the processes of this keeper have locked.
pub(super) fn locks(keeper: u32) -> HashSet<FileId> {
    let tree = processes::descendants(keeper);
    tree.iter().flat_map(Process::locked).collect()
}

/// The files that the processes of this keeper have open for writing.
pub(super) fn written(keeper: u32) -> HashSet<PathBuf> {
    let tree = processes::descendants(keeper);
    tree.iter().flat_map(Process::written).collect()
}

/// Does this while the only thread for blocking work is busy, and makes sure that it waits for it.
#[cfg(test)]
pub(super) fn waits_for_a_thread<T>(work: impl AsyncFnOnce() -> T) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(1).build();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    runtime.unwrap().block_on(async {
        let mut other = look(move || wait.recv());
        let mut work = std::pin::pin!(work());
        tokio::select! {
            biased;
            _ = &mut work => panic!("it ran in the thread of the runtime"),
            () = tokio::task::yield_now() => {}
        }
        go.send(()).unwrap();
        let done = work.await;
        other.done().await.unwrap().unwrap();
        done
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::sys::ABLE;
    use crate::sys::accept_probe::Accepts;
    use crate::sys::sockets::{connect_unix, id, listen_unix};
    use crate::sys::testing::{emulation_lacks, lacks};

    /// Connections are carried and output is passed on meanwhile.
    #[test]
    fn a_probe_does_not_hold_up_the_runtime() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inodes = HashSet::from([id(&listener).unwrap()]);
        let mut probes = Probes::default();
        let probe = async || probes.next(std::process::id(), &inodes, true).await;
        let (seen, _) = waits_for_a_thread(probe);
        assert_eq!(seen.accepts(), Accepts::NotYet);
    }

    #[test]
    fn connections_are_found_by_the_address_they_came_to() {
        if emulation_lacks("`sock_diag`") {
            return;
        }
        if lacks(ABLE.sight, "sight of the sockets of processes") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let unix = listen_unix(&path).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let held = [Address::Unix(path.clone()), Address::Tcp(address)].map(|address| HeldSocket {
            name: None,
            behind: address.clone(),
            address,
            inode: 0,
        });
        assert_eq!(accepted(&held), HashSet::new());
        let _clients = (connect_unix(&path), TcpStream::connect(address));
        let (unix, _) = unix.accept().unwrap();
        let (tcp, _) = tcp.accept().unwrap();
        assert_eq!(
            accepted(&held),
            HashSet::from([id(&unix).unwrap(), id(&tcp).unwrap()])
        );
    }
}
