//! What /proc shows of a generation: its processes, whether one of them waits for connections, and
//! what they have open.
//!
//! Waiting for connections can be seen from outside: the socket is in an epoll set, in the array of
//! a `poll`, or a thread is blocked in accept on it.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use procfs::ProcError;
use procfs::net::TcpState;
use procfs::process::{FDTarget, Process, StatFlags, Syscall};

use super::HeldSocket;

/// System call numbers of a thread that waits for connections.
#[cfg(target_arch = "x86_64")]
mod call {
    pub(super) const ACCEPT: [i64; 2] = [43, 288];
    pub(super) const POLL: [i64; 2] = [7, 271];
    pub(super) const SELECT: [i64; 2] = [23, 270];
}
#[cfg(target_arch = "aarch64")]
mod call {
    pub(super) const ACCEPT: [i64; 2] = [202, 242];
    pub(super) const POLL: [i64; 1] = [73];
    pub(super) const SELECT: [i64; 1] = [72];
}
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod call {
    pub(super) const ACCEPT: [i64; 0] = [];
    pub(super) const POLL: [i64; 0] = [];
    pub(super) const SELECT: [i64; 0] = [];
}

/// What can be seen of a generation's waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    Accepting,
    NotYet,
    /// It may wait in a way that can't be seen.
    Unseen,
}

/// The processes that descend from this one, itself left out.
pub(super) fn family(of: u32) -> Vec<Process> {
    let mut found: Vec<Process> = Vec::new();
    let mut open = vec![of.cast_signed()];
    while let Some(pid) = open.pop() {
        let Ok(tasks) = Process::new(pid).and_then(|process| process.tasks()) else {
            continue;
        };
        for task in tasks.flatten() {
            let children = task.children().unwrap_or_default();
            for child in children {
                open.push(child.cast_signed());
                found.extend(Process::new(child.cast_signed()).ok());
            }
        }
    }
    found
}

/// What a look at a generation finds.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// The sockets that somebody waits on for connections.
    pub(super) waited: HashSet<u64>,
    /// Somebody may wait in a way that can't be seen.
    pub(super) unseen: bool,
}

impl Look {
    pub(super) fn sight(&self) -> Sight {
        match (self.waited.is_empty(), self.unseen) {
            (false, _) => Sight::Accepting,
            (true, true) => Sight::Unseen,
            (true, false) => Sight::NotYet,
        }
    }
}

pub(super) fn look(family: &[Process], inodes: &HashSet<u64>) -> Look {
    let mut found = Look::default();
    for process in family {
        look_at(process, inodes, &mut found);
    }
    found
}

fn look_at(process: &Process, inodes: &HashSet<u64>, found: &mut Look) {
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
                    .waited
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
            Ok(call) => waits(process.pid(), &call, &sockets, found),
            Err(ProcError::PermissionDenied(_)) => found.unseen |= !is_ending(&thread),
            Err(_) => {}
        }
    }
}

/// A process or thread that ends, or has ended, waits for nobody; from the moment it has no memory
/// any more, its /proc belongs to root.
fn is_ending(thread: &Process) -> bool {
    let exiting = StatFlags::PF_EXITING.bits();
    thread.stat().map_or(true, |stat| stat.flags & exiting != 0)
}

/// Adds the sockets that a thread in this system call waits on.
fn waits(pid: i32, call: &Syscall, sockets: &HashMap<i32, u64>, found: &mut Look) {
    let Syscall::Blocked {
        syscall_number,
        argument_registers,
        ..
    } = call
    else {
        return;
    };
    let argument = |at: usize| argument_registers.get(at).copied().unwrap_or_default();
    if call::ACCEPT.contains(syscall_number) {
        let number = i32::try_from(argument(0)).ok();
        found
            .waited
            .extend(number.and_then(|number| sockets.get(&number)));
    } else if call::POLL.contains(syscall_number) {
        match polled(pid, argument(0), argument(1)) {
            Some(numbers) => {
                found
                    .waited
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

/// The process of this keeper that has a debugger. One that the generation brings with it (a runner
/// that traces what it runs) is none.
pub(super) fn traced(keeper: u32) -> Option<i32> {
    let family: Vec<i32> = family(keeper).iter().map(Process::pid).collect();
    let status = |pid| std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    family.iter().copied().find(|pid| {
        number(&status(*pid), "TracerPid:").is_some_and(|tracer| {
            // It is the thread that traces.
            let debugger = number(&status(tracer), "Tgid:").unwrap_or(tracer);
            !family.contains(&debugger)
        })
    })
}

/// A number of a `/proc/PID/status`; zero is none.
fn number(status: &str, name: &str) -> Option<i32> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().parse().ok().filter(|number| *number != 0)
}

/// How many connections clients have open to the processes of this keeper.
pub(super) fn connections(keeper: u32, held: &[HeldSocket]) -> usize {
    let ports: HashSet<u16> = held.iter().map(|held| held.address.port()).collect();
    let open: HashSet<u64> = procfs::net::tcp()
        .into_iter()
        .chain(procfs::net::tcp6())
        .flatten()
        .filter(|entry| entry.state == TcpState::Established)
        .filter(|entry| ports.contains(&entry.local_address.port()))
        .map(|entry| entry.inode)
        .collect();
    let inodes = |process: Process| {
        process
            .fd()
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|fd| match fd.target {
                FDTarget::Socket(inode) => Some(inode),
                _ => None,
            })
    };
    let theirs: HashSet<u64> = family(keeper).into_iter().flat_map(inodes).collect();
    open.intersection(&theirs).count()
}

/// The files that the processes of this keeper have locked.
pub(super) fn locks(keeper: u32) -> HashSet<(u64, u64)> {
    let pids: HashSet<i32> = family(keeper).iter().map(Process::pid).collect();
    procfs::locks()
        .into_iter()
        .flatten()
        .filter(|lock| lock.pid.is_some_and(|pid| pids.contains(&pid)))
        .map(|lock| (nix::libc::makedev(lock.devmaj, lock.devmin), lock.inode))
        .collect()
}

/// The regular files that these processes have open.
pub(super) fn open_files(family: &[Process]) -> impl Iterator<Item = PathBuf> {
    let descriptors = family
        .iter()
        .flat_map(|process| process.fd().into_iter().flatten());
    descriptors
        .flatten()
        .filter_map(|descriptor| match descriptor.target {
            FDTarget::Path(path) if !path.starts_with("/dev") => Some(path),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;

    use super::*;

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
    fn a_socket_nobody_waits_on_is_not_accepting_and_one_in_epoll_is() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let link = format!("/proc/self/fd/{}", listener.as_raw_fd());
        let inode = std::fs::metadata(link).unwrap().ino();
        let own = [Process::myself().unwrap()];
        let inodes = HashSet::from([inode]);
        assert_eq!(look(&own, &inodes).sight(), Sight::NotYet);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap();
        let _guard = runtime.enter();
        let _registered = tokio::net::TcpListener::from_std(listener).unwrap();
        assert_eq!(look(&own, &inodes).waited, inodes);
    }
}
