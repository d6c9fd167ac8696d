//! The processes on this machine that belong to a test.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procfs::process::{FDInfo, FDTarget, Process, Stat, Task, all_processes};

/// The variable that every process started by a test's hotrun inherits, unless it clears its
/// environment.
pub(crate) const MARK: &str = "HOTRUN_PROMISE";

/// Has everything that tests of this program have started killed if this program ends before them, as by
/// Ctrl-C: each hotrun is in a process group of its own.
pub(crate) fn end_with_this_program() {
    static GUARD: OnceLock<ChildStdin> = OnceLock::new();
    GUARD.get_or_init(|| {
        let own = std::process::id();
        let script = format!(
            "read -r _
            for file in $(grep -lzs '^{MARK}={own}-' /proc/[0-9]*/environ); do
                pid=${{file#/proc/}}
                kill -KILL ${{pid%/environ}}
            done"
        );
        let mut guard = Command::new("sh");
        guard.args(["-c", &script]).process_group(0);
        guard.stdin(Stdio::piped()).stdout(Stdio::null());
        guard.spawn().unwrap().stdin.take().unwrap()
    });
}

/// A process, told from a later one with the same pid by its start time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) session: i32,
    pub(crate) started: u64,
    pub(crate) command: String,
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {} ({})", self.pid, self.command)
    }
}

impl Running {
    /// The process with this pid, if it runs; a zombie does not.
    pub(crate) fn find(pid: i32) -> Option<Self> {
        let process = Process::new(pid).ok()?;
        let stat = alive(&process)?;
        Some(Self::new(&process, &stat))
    }

    fn new(process: &Process, stat: &Stat) -> Self {
        let words = process.cmdline().unwrap_or_default();
        Self {
            pid: stat.pid,
            parent: stat.ppid,
            session: stat.session,
            started: stat.starttime,
            command: if words.is_empty() {
                stat.comm.clone()
            } else {
                words.join(" ")
            },
        }
    }

    /// The process still runs.
    pub(crate) fn runs(&self) -> bool {
        Self::find(self.pid).is_some_and(|found| found.started == self.started)
    }

    /// All its threads are stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        let tasks = Process::new(self.pid).and_then(|process| process.tasks());
        let is_stopped = |task: Task| task.stat().is_ok_and(|stat| stat.state == 'T');
        tasks.is_ok_and(|tasks| tasks.flatten().all(is_stopped))
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        assert!(self.try_signal(signal), "{self} has ended");
    }

    /// Sends it a signal, if it still runs; returns whether it does.
    pub(crate) fn try_signal(&self, signal: Signal) -> bool {
        self.runs() && kill(Pid::from_raw(self.pid), signal).is_ok()
    }
}

fn alive(process: &Process) -> Option<Stat> {
    process
        .stat()
        .ok()
        .filter(|stat| !matches!(stat.state, 'Z' | 'X'))
}

/// All processes of a hotrun, except itself: its descendants, processes with its mark in the
/// environment, and of those without any mark, programs of its project and processes that work in one of
/// its directories.
pub(crate) fn of_hotrun(pid: i32, mark: &str, root: &Path) -> Vec<Running> {
    let all: Vec<(Process, Stat)> = all_processes()
        .unwrap()
        .filter_map(|process| {
            let process = process.ok()?;
            let stat = alive(&process)?;
            Some((process, stat))
        })
        .collect();
    let stats: Vec<&Stat> = all.iter().map(|(_, stat)| stat).collect();
    let family = family(pid, &stats);
    all.iter()
        .filter(|(_, stat)| stat.pid != pid)
        .filter(|(process, stat)| {
            family.contains(&stat.pid)
                || mark_of(process).map_or_else(|| at_home(process, root), |found| found == mark)
        })
        .map(|(process, stat)| Running::new(process, stat))
        .collect()
}

/// This process and all its descendants.
fn family(pid: i32, all: &[&Stat]) -> HashSet<i32> {
    let mut family = HashSet::from([pid]);
    loop {
        let before = family.len();
        let children = all.iter().filter(|stat| family.contains(&stat.ppid));
        family.extend(children.map(|stat| stat.pid).collect::<Vec<_>>());
        if family.len() == before {
            return family;
        }
    }
}

fn mark_of(process: &Process) -> Option<OsString> {
    process.environ().ok()?.remove(OsStr::new(MARK))
}

fn at_home(process: &Process, root: &Path) -> bool {
    let places = [process.exe(), process.cwd()];
    places.into_iter().flatten().any(|at| at.starts_with(root))
}

/// The zombies among the descendants of this process.
pub(crate) fn zombies_below(pid: i32) -> Vec<i32> {
    let all: Vec<Stat> = all_processes()
        .unwrap()
        .filter_map(|process| process.ok()?.stat().ok())
        .collect();
    let family = family(pid, &all.iter().collect::<Vec<_>>());
    all.iter()
        .filter(|stat| stat.state == 'Z' && family.contains(&stat.pid))
        .map(|stat| stat.pid)
        .collect()
}

/// How many children of this process are zombies.
pub(crate) fn zombies_of(pid: i32) -> usize {
    let processes = all_processes().unwrap().flatten();
    processes
        .filter_map(|process| process.stat().ok())
        .filter(|stat| stat.ppid == pid && stat.state == 'Z')
        .count()
}

/// The descriptors and threads that a process has.
pub(crate) fn size_of(pid: i32) -> Option<(usize, i64)> {
    let process = Process::new(pid).ok()?;
    let threads = process.stat().ok()?.num_threads;
    Some((process.fd_count().ok()?, threads))
}

/// The sockets of a process, and all connections of this machine (IPv4) at the same time.
pub(crate) struct Connections {
    sockets: HashSet<u64>,
    table: String,
}

impl Connections {
    /// Takes them down, to be looked through later: after a long load there are a hundred thousand that
    /// have ended.
    pub(crate) fn of(pid: i32) -> Self {
        let descriptors = Process::new(pid).and_then(|process| process.fd());
        let sockets = descriptors.into_iter().flatten().flatten();
        let inode = |fd: FDInfo| match fd.target {
            FDTarget::Socket(inode) => Some(inode),
            _ => None,
        };
        Self {
            sockets: sockets.filter_map(inode).collect(),
            table: fs::read_to_string("/proc/net/tcp").unwrap(),
        }
    }

    /// The ports of those whose connections the process has accepted.
    pub(crate) fn clients(&self) -> HashSet<u16> {
        let client = |line: &str| {
            // "0: 0100007F:1267 0100007F:9C40 01 …", where 01 is ESTABLISHED and 08 CLOSE_WAIT.
            let (_, line) = line.split_once(": ")?;
            let is_open = [" 01 ", " 08 "].contains(&line.get(27..31)?);
            let inode = is_open.then(|| line.split_ascii_whitespace().nth(8));
            let inode = inode.flatten()?.parse().ok()?;
            let port = u16::from_str_radix(line.get(23..27)?, 16).ok()?;
            self.sockets.contains(&inode).then_some(port)
        };
        self.table.lines().filter_map(client).collect()
    }
}
