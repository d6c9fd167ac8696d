//! Proofs of readiness, and what /proc shows of a generation.
//!
//! A TCP connect proves nothing on a held socket: it succeeds before the app has started. What
//! does prove something is a process of the generation that waits for connections: the socket in
//! its epoll set, in the array of a `poll`, or a thread blocked in accept.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use procfs::ProcError;
use procfs::net::TcpState;
use procfs::process::{FDTarget, Process, Syscall};
use regex::Regex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::HeldSocket;
use crate::config::{self, Ready};
use crate::session::model::Proof;

/// Between two looks at a process that starts.
const LOOK: Duration = Duration::from_millis(2);
/// After this long, looks become rarer: what takes that long does not miss milliseconds.
const PATIENT_AFTER: Duration = Duration::from_secs(2);
/// Between two looks at a process that takes its time.
const PATIENT_LOOK: Duration = Duration::from_millis(20);
/// Between two HTTP requests, and the longest wait for an answer.
const ASK: Duration = Duration::from_millis(20);
const ANSWER: Duration = Duration::from_secs(2);

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

/// How this generation proves itself.
#[derive(Debug)]
enum How {
    /// Only by saying so.
    Notify,
    /// The task asks until it gets a good answer.
    Http(Option<JoinHandle<()>>, SocketAddr, String),
    Log(Regex),
    Delay(Duration),
    /// Whatever is seen first: it says so, or it is seen accepting; where that can't be seen, it
    /// has lived for a while.
    Sight {
        inodes: HashSet<u64>,
        settle: Duration,
    },
    /// It has lived for a while, or says so.
    Settle(Duration),
}

/// What a check finds out.
#[derive(Debug)]
pub(super) enum Found {
    /// It serves.
    Proof(Proof),
    /// It serves, but nobody waits on these sockets.
    Unclaimed(HashSet<u64>),
    /// Not yet.
    Nothing,
}

/// The check of one generation.
#[derive(Debug)]
pub(super) struct Check {
    how: How,
    started: Instant,
    next_look: Instant,
    suspended: bool,
    done: bool,
    /// When it was ready, until the sockets that nobody waits on were looked for.
    ready: Option<Instant>,
    /// The keeper of live, if there is one, and the files that were seen open meanwhile.
    beside: Option<u32>,
    files: HashSet<PathBuf>,
}

impl Check {
    pub(super) fn new(settings: &config::App, held: &[HeldSocket], beside: Option<u32>) -> Self {
        let how = match (&settings.ready, held.first()) {
            (Some(Ready::Notify), _) => How::Notify,
            (Some(Ready::Http(path)), Some(first)) => How::Http(None, first.address, path.clone()),
            (Some(Ready::Log(pattern)), _) => How::Log(pattern.clone()),
            (Some(Ready::Delay(time)), _) => How::Delay(*time),
            (_, None) => How::Settle(settings.settle),
            (_, Some(_)) => How::Sight {
                inodes: held.iter().map(|held| held.inode).collect(),
                settle: settings.settle,
            },
        };
        Self {
            how,
            started: Instant::now(),
            next_look: Instant::now(),
            suspended: false,
            done: false,
            ready: None,
            beside,
            files: HashSet::new(),
        }
    }

    /// The process runs now.
    pub(super) fn started(&mut self) {
        self.started = Instant::now();
        self.next_look = self.started + LOOK;
        if let How::Http(task, address, path) = &mut self.how {
            *task = Some(tokio::spawn(answered(*address, path.clone())));
        }
    }

    /// It was stopped, or continued; a stopped process is never ready.
    pub(super) fn suspended(&mut self, suspended: bool) {
        self.suspended = suspended;
    }

    /// Whether this proof counts; only the first one does.
    pub(super) fn accepts(&mut self, proof: Proof) -> bool {
        let counts = match self.how {
            How::Notify | How::Sight { .. } | How::Settle(_) => true,
            _ => proof != Proof::Notified,
        };
        let first = counts && !self.done;
        if first {
            self.done = true;
            self.ready = Some(Instant::now());
        }
        first
    }

    /// It printed this line: whether that is the awaited one.
    pub(super) fn printed(&self, line: &str) -> bool {
        !self.suspended && matches!(&self.how, How::Log(pattern) if pattern.is_match(line))
    }

    /// A file it had open on which live holds a lock: why it may have ended. Asked for only then,
    /// since the system takes milliseconds to list its locks.
    pub(super) fn lock(&self) -> Option<String> {
        let locked = locks(
            self.beside
                .filter(|_| !self.done && !self.files.is_empty())?,
        );
        let is_locked = |path: &&PathBuf| {
            let metadata = std::fs::metadata(path);
            metadata.is_ok_and(|metadata| locked.contains(&(metadata.dev(), metadata.ino())))
        };
        self.files
            .iter()
            .find(is_locked)
            .map(|path| path.display().to_string())
    }

    /// Waits until it has been ready for a while, once; then the held sockets that nobody waits
    /// on, if that can be seen.
    async fn unclaimed(&mut self, keeper: u32) -> HashSet<u64> {
        let (How::Sight { inodes, settle }, Some(ready)) = (&self.how, self.ready) else {
            return std::future::pending().await;
        };
        sleep_until(ready + *settle).await;
        self.ready = None;
        let found = look(&family(keeper), inodes);
        if found.unseen {
            return HashSet::new();
        }
        inodes.difference(&found.waited).copied().collect()
    }

    /// Waits for the next thing that can be found out. Safe to drop while it waits.
    pub(super) async fn find(&mut self, keeper: u32) -> Found {
        if self.done {
            return Found::Unclaimed(self.unclaimed(keeper).await);
        }
        self.proved(keeper)
            .await
            .map_or(Found::Nothing, Found::Proof)
    }

    /// Waits for one look; the proof, if there was one.
    async fn proved(&mut self, keeper: u32) -> Option<Proof> {
        if self.suspended {
            return std::future::pending().await;
        }
        match &mut self.how {
            How::Delay(time) | How::Settle(time) => {
                sleep_until(self.started + *time).await;
                Some(Proof::Alive)
            }
            How::Http(Some(task), ..) => {
                task.await.ok();
                Some(Proof::Answered)
            }
            How::Notify | How::Log(_) | How::Http(None, ..) => std::future::pending().await,
            How::Sight { inodes, settle } => {
                sleep_until(self.next_look).await;
                let alive = self.started.elapsed();
                let wait = if alive < PATIENT_AFTER {
                    LOOK
                } else {
                    PATIENT_LOOK
                };
                self.next_look = Instant::now() + wait;
                let family = family(keeper);
                if self.beside.is_some() {
                    self.files.extend(open_files(&family));
                }
                match look(&family, inodes).sight() {
                    Sight::Accepting => Some(Proof::Accepting),
                    Sight::Unseen if alive >= *settle => Some(Proof::Alive),
                    Sight::Unseen | Sight::NotYet => None,
                }
            }
        }
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        if let How::Http(Some(task), ..) = &self.how {
            task.abort();
        }
    }
}

/// Asks for `path` until the answer is one of success.
async fn answered(address: SocketAddr, path: String) {
    loop {
        sleep(ASK).await;
        if matches!(timeout(ANSWER, ask(address, &path)).await, Ok(Ok(true))) {
            return;
        }
    }
}

/// Asks for `path`; whether the answer is one of success.
async fn ask(address: SocketAddr, path: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(reachable(address)).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: hotrun\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut buffer = [0; 256];
    while answer.len() < 16 {
        match stream.read(&mut buffer).await? {
            0 => break,
            count => answer.extend_from_slice(&buffer[..count]),
        }
    }
    let status = String::from_utf8_lossy(&answer);
    let code = status
        .split_whitespace()
        .nth(1)
        .and_then(|code| code.parse::<u16>().ok());
    Ok(status.starts_with("HTTP/") && code.is_some_and(|code| code < 400))
}

/// An address that listens on every interface is reached on loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// What can be seen of a generation's waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    Accepting,
    NotYet,
    /// It may wait in a way that can't be seen.
    Unseen,
}

/// The processes that descend from this one, itself left out.
fn family(of: u32) -> Vec<Process> {
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
struct Look {
    /// The sockets that somebody waits on for connections.
    waited: HashSet<u64>,
    /// Somebody may wait in a way that can't be seen.
    unseen: bool,
}

impl Look {
    fn sight(&self) -> Sight {
        match (self.waited.is_empty(), self.unseen) {
            (false, _) => Sight::Accepting,
            (true, true) => Sight::Unseen,
            (true, false) => Sight::NotYet,
        }
    }
}

fn look(family: &[Process], inodes: &HashSet<u64>) -> Look {
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
            // One that has ended, reaped or not, waits for nobody.
            let ended = process.stat().map_or(true, |stat| stat.state == 'Z');
            found.unseen |= !ended && matches!(error, ProcError::PermissionDenied(_));
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
        let call = Process::new(task.tid).and_then(|thread| thread.syscall());
        match call {
            Ok(call) => waits(process.pid(), &call, &sockets, found),
            Err(ProcError::PermissionDenied(_)) => found.unseen = true,
            Err(_) => {}
        }
    }
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
fn locks(keeper: u32) -> HashSet<(u64, u64)> {
    let pids: HashSet<i32> = family(keeper).iter().map(Process::pid).collect();
    procfs::locks()
        .into_iter()
        .flatten()
        .filter(|lock| lock.pid.is_some_and(|pid| pids.contains(&pid)))
        .map(|lock| (nix::libc::makedev(lock.devmaj, lock.devmin), lock.inode))
        .collect()
}

/// The regular files that these processes have open.
fn open_files(family: &[Process]) -> impl Iterator<Item = PathBuf> {
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

    use super::*;

    #[test]
    fn epoll_sets_are_read() {
        let info =
            "pos:\t0\nflags:\t02\ntfd:        9 events: 80000019 data: 1  pos:0 ino:2b67 sdev:8\n";
        assert_eq!(epoll_inodes(info).collect::<Vec<_>>(), [0x2b67]);
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
