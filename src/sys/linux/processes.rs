//! Processes and their trees, from /proc.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use procfs::process::{FDPermissions, FDTarget, FDsIter, Stat, all_processes};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::sys::{FileId, Handle, Readable, readable};

pub use crate::sys::children::reap;
pub use crate::sys::facts::Handled;

/// A process.
#[derive(Debug)]
pub struct Process(pub(super) procfs::process::Process);

impl Process {
    /// The process with this pid.
    pub fn of(pid: u32) -> Option<Self> {
        let found = procfs::process::Process::new(pid.cast_signed());
        found.ok().map(Self)
    }

    /// This process.
    pub fn own() -> Option<Self> {
        procfs::process::Process::myself().ok().map(Self)
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.0.pid().unsigned_abs()
    }

    fn stat(&self) -> Option<Stat> {
        self.0.stat().ok()
    }

    /// The pid of its parent.
    pub fn parent(&self) -> Option<u32> {
        self.stat().map(|stat| stat.ppid.unsigned_abs())
    }

    /// Its process group.
    pub fn group(&self) -> Option<u32> {
        self.stat().map(|stat| stat.pgrp.unsigned_abs())
    }

    /// Its session.
    pub fn session(&self) -> Option<u32> {
        self.stat().map(|stat| stat.session.unsigned_abs())
    }

    /// When it was started, in ticks of the kernel since that was.
    pub fn started(&self) -> u64 {
        self.stat().map_or(u64::MAX, |stat| stat.starttime)
    }

    /// The name of its program.
    pub fn name(&self) -> Option<String> {
        self.stat().map(|stat| stat.comm)
    }

    /// It has not exited.
    pub fn runs(&self) -> bool {
        let stat = self.stat();
        stat.is_some_and(|stat| !matches!(stat.state, 'Z' | 'X'))
    }

    /// Its command line, on one line.
    pub fn command(&self) -> Option<String> {
        let whole = self.0.cmdline().ok()?.join(" ");
        let words = whole.split(|c: char| c.is_whitespace() || c.is_control());
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        Some(words.join(" "))
    }

    /// Its executable. One that was replaced has the mark ` (deleted)` behind its path.
    pub fn executable(&self) -> Option<PathBuf> {
        self.0.exe().ok()
    }

    /// The path of its executable, even if that was replaced.
    pub fn executable_as_started(&self) -> Option<PathBuf> {
        self.executable().map(without_mark)
    }

    /// Its working directory.
    pub fn dir(&self) -> Option<PathBuf> {
        self.0.cwd().ok()
    }

    /// It was started with these variables.
    pub fn has_variables(&self, variables: &[(&str, &str)]) -> bool {
        let Ok(environment) = self.0.environ() else {
            return false;
        };
        variables.iter().all(|(key, value)| {
            let found = environment.get(OsStr::new(key));
            found.is_some_and(|found| found == value)
        })
    }

    fn descriptors(&self) -> impl Iterator<Item = procfs::process::FDInfo> + use<> {
        let open: Option<FDsIter> = self.0.fd().ok();
        open.into_iter().flatten().flatten()
    }

    /// The inodes of the sockets that it has open; none if it has exited.
    pub fn sockets(&self) -> impl Iterator<Item = u64> + use<> {
        self.descriptors()
            .filter_map(|descriptor| match descriptor.target {
                FDTarget::Socket(inode) => Some(inode),
                _ => None,
            })
    }

    /// The files that it has open, without devices.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> + use<> {
        let files = self.descriptors().filter_map(path);
        files.filter(|path| !path.starts_with("/dev"))
    }

    /// The files that it has open for writing.
    pub fn written(&self) -> impl Iterator<Item = PathBuf> + use<> {
        let written = self
            .descriptors()
            .filter(|descriptor| descriptor.mode().contains(FDPermissions::WRITE));
        written.filter_map(path)
    }

    /// The files that it has locked, from its fdinfo: /proc/locks names the device of a file system, from
    /// which a file's own may differ (btrfs, some overlays).
    pub fn locked(&self) -> Vec<FileId> {
        let pid = self.pid();
        let is_locked = |number: &i32| {
            let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}"));
            info.is_ok_and(|info| info.lines().any(|line| line.starts_with("lock:")))
        };
        let file = |number: i32| {
            let found = std::fs::metadata(format!("/proc/{pid}/fd/{number}"));
            found.ok().map(|found| FileId::of_metadata(&found))
        };
        let numbers = self.descriptors().map(|descriptor| descriptor.fd);
        numbers.filter(is_locked).filter_map(file).collect()
    }

    /// What it does with signals.
    pub fn handled(&self) -> Option<Handled> {
        let status = self.0.status().ok()?;
        Some(Handled {
            caught: status.sigcgt,
            ignored: status.sigign,
        })
    }

    /// Readable when it has ended.
    pub fn end(&self) -> Option<Readable<Handle>> {
        let descriptor = pidfd_open(Pid::from_raw(self.0.pid())?, PidfdFlags::empty()).ok()?;
        readable(Arc::new(descriptor)).ok()
    }
}

fn path(descriptor: procfs::process::FDInfo) -> Option<PathBuf> {
    match descriptor.target {
        FDTarget::Path(path) => Some(path),
        _ => None,
    }
}

/// Removes the mark that the kernel puts behind the path of a file that was replaced.
fn without_mark(path: PathBuf) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    match bytes.strip_suffix(b" (deleted)") {
        Some(name) => OsStr::from_bytes(name).into(),
        None => path,
    }
}

/// All processes that /proc shows.
pub fn all() -> impl Iterator<Item = Process> {
    let all = all_processes().into_iter().flatten().flatten();
    all.map(Process)
}

/// The descendants of this process, without itself. Those of a keeper are all processes of its
/// generation, since orphans are reparented to it.
pub fn descendants(pid: u32) -> Vec<Process> {
    let mut found = Vec::new();
    let mut open = vec![pid];
    while let Some(pid) = open.pop() {
        for child in children(pid) {
            open.push(child);
            found.extend(Process::of(child));
        }
    }
    found
}

/// The pids of the children of this process.
pub fn children(pid: u32) -> Vec<u32> {
    let tasks = procfs::process::Process::new(pid.cast_signed());
    let tasks = tasks.and_then(|process| process.tasks());
    let tasks = tasks.into_iter().flatten().flatten();
    tasks
        .flat_map(|task| task.children().unwrap_or_default())
        .collect()
}

/// The inodes of the sockets that the descendants of this process have open.
pub fn sockets_below(pid: u32) -> HashSet<u64> {
    let tree = descendants(pid);
    tree.iter().flat_map(Process::sockets).collect()
}

/// From here on orphans among this process's descendants are reparented to it, instead of to init.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// The process that holds the lock for which one of these waits.
pub fn lock_holder(waiting: &[u32]) -> Option<Process> {
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    Process::of(holder(&locks, waiting)?)
}

/// From the text of /proc/locks: lines with the same number are about the same lock, and the first is the
/// holder's.
///
/// `5: FLOCK  ADVISORY  WRITE 2614 fe:00:10011098 0 EOF`
/// `5: -> FLOCK  ADVISORY  WRITE 2700 fe:00:10011098 0 EOF`
fn holder(locks: &str, waiting: &[u32]) -> Option<u32> {
    let lock = |line: &str| {
        let (number, rest) = line.split_once(':')?;
        let waits = rest.trim_start().starts_with("->");
        let mut words = rest
            .trim_start()
            .trim_start_matches("->")
            .split_whitespace();
        let pid: u32 = words.nth(3)?.parse().ok()?;
        Some((number.to_owned(), waits, pid))
    };
    let all = || locks.lines().filter_map(lock);
    let (number, ..) = all().find(|(_, waits, pid)| *waits && waiting.contains(pid))?;
    let (.., pid) = all().find(|(other, waits, _)| *other == number && !waits)?;
    // Zero: the holder is in another container.
    (pid > 0).then_some(pid)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;

    use nix::sys::signal::Signal;

    use super::*;
    use crate::sys::signals;

    const LOCKS: &str = "\
1: POSIX  ADVISORY  WRITE 10 fe:00:1 0 EOF
2: FLOCK  ADVISORY  WRITE 20 fe:00:2 0 EOF
2: -> FLOCK  ADVISORY  WRITE 21 fe:00:2 0 EOF
2:  -> FLOCK  ADVISORY  WRITE 22 fe:00:2 0 EOF
3: FLOCK  ADVISORY  READ  30 fe:00:3 0 EOF
4: FLOCK  ADVISORY  WRITE 0 fe:00:4 0 EOF
4: -> FLOCK  ADVISORY  WRITE 41 fe:00:4 0 EOF
";

    #[test]
    fn the_holder_is_the_first_of_those_that_belong_together() {
        for (waiting, expected) in [
            (&[21][..], Some(20)),
            (&[22], Some(20)),
            (&[9, 22], Some(20)),
            (&[20, 30, 10], None),
            // The holder is in another container.
            (&[41], None),
            (&[], None),
        ] {
            assert_eq!(holder(LOCKS, waiting), expected, "{waiting:?}");
        }
    }

    #[test]
    fn a_locked_file_is_found_by_its_descriptor() {
        let dir = tempfile::tempdir().unwrap();
        let (locked, open) = (dir.path().join("locked"), dir.path().join("open"));
        let file = File::create(&locked).unwrap();
        let _open = File::create(&open).unwrap();
        file.try_lock().unwrap();
        let found = Process::own().unwrap().locked();
        let id = |path: &Path| FileId::at(path).unwrap();
        assert!(found.contains(&id(&locked)), "{found:?}");
        assert!(!found.contains(&id(&open)), "{found:?}");
    }

    #[test]
    fn what_a_process_does_with_a_signal_is_seen() {
        let own = || Process::own().unwrap().handled().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _guard = runtime.enter();
        // No other test uses this signal.
        let number = Signal::SIGURG as i32;
        assert!(!own().catches(number) && own().is_ended_by(number));
        let _handled = signals::listen(number).unwrap();
        assert!(own().catches(number) && !own().is_ended_by(number));
        // Rust's runtime ignores it in every program.
        let ignored = Signal::SIGPIPE as i32;
        assert!(own().ignores(ignored) && !own().catches(ignored) && !own().is_ended_by(ignored));
        assert!(own().is_ended_by(signals::KILL));
        assert!(own().is_ended_by(0) && own().is_ended_by(99));
    }
}
