//! Whether a process accepts connections, as /proc shows it.
//!
//! A process that accepts can be seen from outside: the socket is in an epoll set or in the array of a
//! `poll`, or a thread is blocked in `accept` or a receiving call on it.

use std::collections::{HashMap, HashSet};

use procfs::ProcError;
use procfs::process::{FDTarget, Process as Shown, StatFlags, Syscall};

use super::processes::{Process, descendants};

pub use crate::sys::facts::{Accepts, Seen};

/// Numbers of the system calls in which a thread waits for clients. `SOCKET`: those that take the socket
/// as their first argument.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod call {
    use nix::libc;

    pub(super) const ARE_KNOWN: bool = true;
    pub(super) const SOCKET: [i64; 6] = [
        libc::SYS_accept,
        libc::SYS_accept4,
        libc::SYS_read,
        libc::SYS_recvfrom,
        libc::SYS_recvmsg,
        libc::SYS_recvmmsg,
    ];
    #[cfg(target_arch = "x86_64")]
    pub(super) const POLL: [i64; 2] = [libc::SYS_poll, libc::SYS_ppoll];
    #[cfg(target_arch = "x86_64")]
    pub(super) const SELECT: [i64; 2] = [libc::SYS_select, libc::SYS_pselect6];
    // There is no older form of these.
    #[cfg(target_arch = "aarch64")]
    pub(super) const POLL: [i64; 1] = [libc::SYS_ppoll];
    #[cfg(target_arch = "aarch64")]
    pub(super) const SELECT: [i64; 1] = [libc::SYS_pselect6];
}
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod call {
    pub(super) const ARE_KNOWN: bool = false;
    pub(super) const SOCKET: [i64; 0] = [];
    pub(super) const POLL: [i64; 0] = [];
    pub(super) const SELECT: [i64; 0] = [];
}

/// Whether one of these processes accepts on one of these sockets.
pub(crate) fn probe(tree: &[Process], inodes: &HashSet<u64>) -> Seen {
    probe_where(call::ARE_KNOWN, tree, inodes)
}

/// The same where the numbers of system calls `are_known`, or are not.
fn probe_where(are_known: bool, tree: &[Process], inodes: &HashSet<u64>) -> Seen {
    let mut found = Seen::default();
    for process in tree {
        probe_process(are_known, &process.0, inodes, &mut found);
    }
    found
}

fn probe_process(are_known: bool, process: &Shown, inodes: &HashSet<u64>, found: &mut Seen) {
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
        let Ok(thread) = Shown::new(task.tid) else {
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
fn is_ending(thread: &Shown) -> bool {
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
pub fn traced(keeper: u32) -> Option<i32> {
    let tree = descendants(keeper);
    let tree: Vec<i32> = tree.iter().map(|process| process.0.pid()).collect();
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

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::thread;

    use nix::sys::socket::{MsgFlags, recvmsg};

    use super::*;
    use crate::sys::sockets::id;
    use crate::sys::testing::emulation_lacks;

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

    #[test]
    fn a_socket_is_accepting_once_it_is_in_an_epoll_set() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let own = [Process::own().unwrap()];
        let inodes = HashSet::from([id(&listener).unwrap()]);
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
        if emulation_lacks("system calls under their own numbers in /proc") {
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let inodes = HashSet::from([id(&listener).unwrap()]);
        let own = [Process::own().unwrap()];
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
        if emulation_lacks("system calls under their own numbers in /proc") {
            return;
        }
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
            let inodes = HashSet::from([id(&socket).unwrap()]);
            let own = [Process::own().unwrap()];
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
}
