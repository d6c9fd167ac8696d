//! The accept probe and other facts about a generation from /proc: its processes, whether one of them
//! accepts connections, and what files and sockets it has open.
//!
//! A process that accepts can be seen from outside: the socket is in an epoll set or in the array of a
//! `poll`, or a thread is blocked in `accept` or a receiving call on it.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use procfs::ProcError;
use procfs::net::UnixState;
use procfs::process::{FDPermissions, FDTarget, Process, StatFlags, Syscall};

use super::HeldSocket;
use crate::defect::{self, Blocking};
use crate::process_tree;
use crate::sock_diag;
use crate::sockets::address::{Address, is_behind};

/// Numbers of the system calls in which a thread waits for clients. `SOCKET`: those that take the socket
/// as their first argument (accept, accept4; read, recvfrom, recvmsg, recvmmsg).
#[cfg(target_arch = "x86_64")]
mod call {
    pub(super) const ARE_KNOWN: bool = true;
    pub(super) const SOCKET: [i64; 6] = [43, 288, 0, 45, 47, 299];
    pub(super) const POLL: [i64; 2] = [7, 271];
    pub(super) const SELECT: [i64; 2] = [23, 270];
}
#[cfg(target_arch = "aarch64")]
mod call {
    pub(super) const ARE_KNOWN: bool = true;
    pub(super) const SOCKET: [i64; 6] = [202, 242, 63, 207, 212, 243];
    pub(super) const POLL: [i64; 1] = [73];
    pub(super) const SELECT: [i64; 1] = [72];
}
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod call {
    pub(super) const ARE_KNOWN: bool = false;
    pub(super) const SOCKET: [i64; 0] = [];
    pub(super) const POLL: [i64; 0] = [];
    pub(super) const SELECT: [i64; 0] = [];
}

/// Whether a generation accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepts {
    Accepting,
    NotYet,
    /// It may accept in a way that /proc does not show.
    Unseen,
}

/// What one accept probe of a generation found.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The inodes of the sockets on which some process accepts or receives.
    pub(super) accepting: HashSet<u64>,
    /// Some process may accept in a way that /proc does not show.
    pub(super) unseen: bool,
    /// A thread of a process that has such a socket is running or runnable.
    pub(super) busy: bool,
}

impl Seen {
    pub(super) fn accepts(&self) -> Accepts {
        match (self.accepting.is_empty(), self.unseen) {
            (false, _) => Accepts::Accepting,
            (true, true) => Accepts::Unseen,
            (true, false) => Accepts::NotYet,
        }
    }
}

/// Whether one of these processes accepts on one of these sockets.
fn probe(tree: &[Process], inodes: &HashSet<u64>) -> Seen {
    probe_where(call::ARE_KNOWN, tree, inodes)
}

/// What one accept probe of a keeper's processes found, and the files that they have open.
pub(super) type Probed = (Seen, HashSet<PathBuf>);

/// Accept probes, one after the other, in a thread of the runtime: all that /proc shows of a large
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
                let tree = process_tree::of(keeper);
                let files = with_files.then(|| open_files(&tree).collect());
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

/// The same where the numbers of system calls `are_known`, or are not.
fn probe_where(are_known: bool, tree: &[Process], inodes: &HashSet<u64>) -> Seen {
    let mut found = Seen::default();
    for process in tree {
        probe_process(are_known, process, inodes, &mut found);
    }
    found
}

fn probe_process(are_known: bool, process: &Process, inodes: &HashSet<u64>, found: &mut Seen) {
    let descriptors = match process.fd() {
        Ok(descriptors) => descriptors,
        Err(error) => {
            found.unseen |= matches!(error, ProcError::PermissionDenied(_)) && !is_ending(process);
            return;
        }
    };
    let mut sockets: HashMap<i32, u64> = HashMap::new();
    for descriptor in descriptors.flatten() {
        match &descriptor.target {
            FDTarget::Socket(inode) if inodes.contains(inode) => {
                sockets.insert(descriptor.fd, *inode);
            }
            FDTarget::AnonInode(kind) if kind.contains("eventpoll") => {
                let path = format!("/proc/{}/fdinfo/{}", process.pid(), descriptor.fd);
                let info = std::fs::read_to_string(path).unwrap_or_default();
                found
                    .accepting
                    .extend(epoll_inodes(&info).filter(|inode| inodes.contains(inode)));
            }
            FDTarget::AnonInode(kind) if kind.contains("io_uring") => found.unseen = true,
            _ => {}
        }
    }
    if sockets.is_empty() {
        return;
    }
    for task in process.tasks().into_iter().flatten().flatten() {
        let Ok(thread) = Process::new(task.tid) else {
            continue;
        };
        match thread.syscall() {
            Ok(Syscall::Running) => found.busy = true,
            Ok(call) if are_known => waits(process.pid(), &call, &sockets, found),
            // On an unknown architecture it may be the accepting thread.
            Ok(_) => found.unseen = true,
            Err(ProcError::PermissionDenied(_)) => found.unseen |= !is_ending(&thread),
            Err(_) => {}
        }
    }
}

/// A process or thread that is exiting or has exited accepts nothing; once its memory is gone, its /proc
/// belongs to root, which makes it unreadable.
fn is_ending(thread: &Process) -> bool {
    let exiting = StatFlags::PF_EXITING.bits();
    thread.stat().map_or(true, |stat| stat.flags & exiting != 0)
}

/// Adds the sockets that a thread waits on in this system call.
fn waits(pid: i32, call: &Syscall, sockets: &HashMap<i32, u64>, found: &mut Seen) {
    let Syscall::Blocked {
        syscall_number,
        argument_registers,
        ..
    } = call
    else {
        return;
    };
    let argument = |at: usize| argument_registers.get(at).copied().unwrap_or_default();
    if call::SOCKET.contains(syscall_number) {
        let number = i32::try_from(argument(0)).ok();
        found
            .accepting
            .extend(number.and_then(|number| sockets.get(&number)));
    } else if call::POLL.contains(syscall_number) {
        match polled(pid, argument(0), argument(1)) {
            Some(numbers) => {
                found
                    .accepting
                    .extend(numbers.iter().filter_map(|number| sockets.get(number)));
            }
            None => found.unseen = true,
        }
    } else if call::SELECT.contains(syscall_number) {
        found.unseen = true;
    }
}

/// The descriptors in the `struct pollfd` array of another process (poll(2): int, short, short).
fn polled(pid: i32, array: u64, count: u64) -> Option<Vec<i32>> {
    use std::os::unix::fs::FileExt;
    const ENTRY: usize = 8;
    let count = usize::try_from(count).ok().filter(|count| *count <= 4096)?;
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut bytes = vec![0; count * ENTRY];
    memory.read_exact_at(&mut bytes, array).ok()?;
    let number = |entry: &[u8]| entry.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes));
    Some(bytes.chunks_exact(ENTRY).filter_map(number).collect())
}

/// The inodes in the fdinfo of an epoll descriptor: `tfd: 9 events: 19 data: 0 pos:0 ino:2b67 …`.
fn epoll_inodes(info: &str) -> impl Iterator<Item = u64> {
    info.lines()
        .filter(|line| line.starts_with("tfd:"))
        .filter_map(|line| {
            let (_, rest) = line.split_once("ino:")?;
            u64::from_str_radix(rest.split_whitespace().next()?, 16).ok()
        })
}

/// The process of this keeper that a debugger traces. A tracer of the generation's own (a runner that
/// traces the app) does not count.
pub(super) fn traced(keeper: u32) -> Option<i32> {
    let tree: Vec<i32> = process_tree::of(keeper).iter().map(Process::pid).collect();
    let status = |pid| std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    tree.iter().copied().find(|pid| {
        number(&status(*pid), "TracerPid:").is_some_and(|tracer| {
            // TracerPid is the id of a thread.
            let debugger = number(&status(tracer), "Tgid:").unwrap_or(tracer);
            !tree.contains(&debugger)
        })
    })
}

/// A number in `/proc/PID/status`; `None` for zero.
fn number(status: &str, name: &str) -> Option<i32> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().parse().ok().filter(|number| *number != 0)
}

/// How many open connections of clients the processes of this keeper have.
pub(super) fn connections(keeper: u32, held: &[HeldSocket]) -> usize {
    accepted(held).intersection(&sockets(keeper)).count()
}

/// The sockets that the processes of this keeper have open.
pub(super) fn sockets(keeper: u32) -> HashSet<u64> {
    process_tree::of(keeper)
        .iter()
        .flat_map(process_tree::sockets)
        .collect()
}

/// The paths of the executables that the processes of this keeper run.
pub(super) fn executables(keeper: u32) -> Vec<PathBuf> {
    let tree = process_tree::of(keeper);
    let paths = tree.iter().filter_map(|process| process.exe().ok());
    paths.map(without_mark).collect()
}

/// Removes the mark that the kernel puts behind the path of a file that was replaced.
fn without_mark(path: PathBuf) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    match bytes.strip_suffix(b" (deleted)") {
        Some(name) => OsStr::from_bytes(name).into(),
        None => path,
    }
}

/// The inodes of all accepted connections to these addresses, in any process.
fn accepted(held: &[HeldSocket]) -> HashSet<u64> {
    let addresses = || held.iter().map(|held| &held.behind);
    let tcp = addresses().filter_map(Address::tcp);
    let tcp = tcp.flat_map(sock_diag::dump).flatten();
    let tcp = tcp
        .filter(|entry| entry.state == sock_diag::ESTABLISHED)
        .map(|entry| u64::from(entry.inode));
    let paths: Vec<&Path> = addresses().filter_map(Address::path).collect();
    let is_behind_one = |bound: &Path| paths.iter().any(|path| is_behind(path, bound));
    // An accepted unix socket reports the path of its listener.
    let unix = procfs::net::unix().into_iter().flatten();
    let unix = unix
        .filter(|entry| entry.state == UnixState::CONNECTED)
        .filter(|entry| entry.path.as_deref().is_some_and(is_behind_one))
        .map(|entry| entry.inode);
    tcp.chain(unix).collect()
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
        .map(|port| sock_diag::closed_by_clients(port, within));
    closed.flatten().flatten().find(leads)
}

/// The files that the processes of this keeper have locked.
pub(super) fn locks(keeper: u32) -> HashSet<(u64, u64)> {
    let tree = process_tree::of(keeper);
    tree.iter().flat_map(locked).collect()
}

/// The files that a process has locked, from its fdinfo: /proc/locks names the device of a file system,
/// from which a file's own may differ (btrfs, some overlays).
fn locked(process: &Process) -> Vec<(u64, u64)> {
    let is_locked = |number: &i32| {
        let info = std::fs::read_to_string(format!("/proc/{}/fdinfo/{number}", process.pid()));
        info.is_ok_and(|info| info.lines().any(|line| line.starts_with("lock:")))
    };
    let file = |number: i32| {
        let found = std::fs::metadata(format!("/proc/{}/fd/{number}", process.pid())).ok()?;
        Some((found.dev(), found.ino()))
    };
    let descriptors = process.fd().into_iter().flatten().flatten();
    let numbers = descriptors.map(|descriptor| descriptor.fd);
    numbers.filter(is_locked).filter_map(file).collect()
}

/// The files outside of /dev that these processes have open.
fn open_files(tree: &[Process]) -> impl Iterator<Item = PathBuf> {
    let descriptors = tree
        .iter()
        .flat_map(|process| process.fd().into_iter().flatten());
    descriptors
        .flatten()
        .filter_map(|descriptor| match descriptor.target {
            FDTarget::Path(path) if !path.starts_with("/dev") => Some(path),
            _ => None,
        })
}

/// The files that the processes of this keeper have open for writing.
pub(super) fn written(keeper: u32) -> HashSet<PathBuf> {
    let tree = process_tree::of(keeper);
    let descriptors = tree
        .iter()
        .flat_map(|process| process.fd().into_iter().flatten())
        .flatten();
    let written = descriptors.filter(|descriptor| descriptor.mode().contains(FDPermissions::WRITE));
    let paths = written.filter_map(|descriptor| match descriptor.target {
        FDTarget::Path(path) => Some(path),
        _ => None,
    });
    paths.collect()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::thread;

    use nix::sys::socket::{MsgFlags, recvmsg};

    use super::*;

    #[test]
    fn a_locked_file_is_found_by_its_descriptor() {
        let dir = tempfile::tempdir().unwrap();
        let (locked, open) = (dir.path().join("locked"), dir.path().join("open"));
        let file = File::create(&locked).unwrap();
        let _open = File::create(&open).unwrap();
        file.try_lock().unwrap();
        let found = super::locked(&Process::myself().unwrap());
        let id = |path: &Path| {
            let metadata = std::fs::metadata(path).unwrap();
            (metadata.dev(), metadata.ino())
        };
        assert!(found.contains(&id(&locked)), "{found:?}");
        assert!(!found.contains(&id(&open)), "{found:?}");
    }

    fn inode(socket: &impl AsRawFd) -> u64 {
        let link = format!("/proc/self/fd/{}", socket.as_raw_fd());
        std::fs::metadata(link).unwrap().ino()
    }

    #[test]
    fn epoll_sets_are_read() {
        let info =
            "pos:\t0\nflags:\t02\ntfd:        9 events: 80000019 data: 1  pos:0 ino:2b67 sdev:8\n";
        assert_eq!(epoll_inodes(info).collect::<Vec<_>>(), [0x2b67]);
    }

    #[test]
    fn a_debugger_is_recognised() {
        let status = |tracer| format!("Name:\tapp\nTgid:\t7\nTracerPid:\t{tracer}\nUid:\t0\t0\n");
        assert_eq!(number(&status(0), "TracerPid:"), None);
        assert_eq!(number(&status(123), "TracerPid:"), Some(123));
        assert_eq!(number("", "TracerPid:"), None);
    }

    /// Connections are carried and output is passed on meanwhile.
    #[test]
    fn a_probe_does_not_hold_up_the_runtime() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inodes = HashSet::from([inode(&listener)]);
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.max_blocking_threads(1).build().unwrap();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        runtime.block_on(async {
            let mut other = defect::spawn_blocking("other", move || wait.recv());
            let mut probes = Probes::default();
            let mut found = std::pin::pin!(probes.next(std::process::id(), &inodes, true));
            // The probe waits for the thread that the other work has.
            tokio::select! {
                biased;
                _ = &mut found => panic!("it ran in the thread of the runtime"),
                () = tokio::task::yield_now() => {}
            }
            go.send(()).unwrap();
            let (seen, _) = found.await;
            assert_eq!(seen.accepts(), Accepts::NotYet);
            other.done().await.unwrap().unwrap();
        });
    }

    #[test]
    fn a_socket_is_accepting_once_it_is_in_an_epoll_set() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let own = [Process::myself().unwrap()];
        let inodes = HashSet::from([inode(&listener)]);
        assert_eq!(probe(&own, &inodes).accepts(), Accepts::NotYet);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap();
        let _guard = runtime.enter();
        let _registered = tokio::net::TcpListener::from_std(listener).unwrap();
        assert_eq!(probe(&own, &inodes).accepting, inodes);
    }

    /// A server that blocks in `accept` must not count as one that does not accept.
    #[test]
    fn where_system_calls_have_unknown_numbers_a_blocked_thread_may_accept() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let inodes = HashSet::from([inode(&listener)]);
        let own = [Process::myself().unwrap()];
        let waiting = thread::spawn(move || listener.accept().unwrap());
        while probe(&own, &inodes).accepting != inodes {
            assert!(!waiting.is_finished());
            thread::yield_now();
        }
        let unknown = probe_where(false, &own, &inodes);
        assert_eq!(unknown.accepts(), Accepts::Unseen);
        TcpStream::connect(address).unwrap();
        waiting.join().unwrap();
    }

    #[test]
    fn a_thread_that_receives_datagrams_is_seen() {
        let receive: [fn(UdpSocket); 3] = [
            |socket| assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 3),
            |socket| {
                let mut file = File::from(OwnedFd::from(socket));
                assert_eq!(file.read(&mut [0; 8]).unwrap(), 3);
            },
            |socket| {
                let flags = MsgFlags::empty();
                let message = recvmsg::<()>(socket.as_raw_fd(), &mut [], None, flags);
                assert_eq!(message.unwrap().bytes, 0);
            },
        ];
        for receive in receive {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let address = socket.local_addr().unwrap();
            let inodes = HashSet::from([inode(&socket)]);
            let own = [Process::myself().unwrap()];
            assert_eq!(probe(&own, &inodes).accepts(), Accepts::NotYet);
            let waiting = thread::spawn(move || receive(socket));
            while probe(&own, &inodes).accepting != inodes {
                assert!(!waiting.is_finished());
                thread::yield_now();
            }
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.send_to(b"end", address).unwrap();
            waiting.join().unwrap();
        }
    }

    #[test]
    fn connections_are_found_by_the_address_they_came_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let unix = UnixListener::bind(&path).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let held = [Address::Unix(path.clone()), Address::Tcp(address)].map(|address| HeldSocket {
            name: None,
            behind: address.clone(),
            address,
            inode: 0,
        });
        assert_eq!(accepted(&held), HashSet::new());
        let _clients = (UnixStream::connect(&path), TcpStream::connect(address));
        let (unix, _) = unix.accept().unwrap();
        let (tcp, _) = tcp.accept().unwrap();
        assert_eq!(accepted(&held), HashSet::from([inode(&unix), inode(&tcp)]));
    }
}
