//! Processes and their trees. The kernel reparents orphans to launchd: which of them a generation has left
//! behind is known by their process group and session (`xnu::process_tree`). A daemon that has forked twice
//! and begun a session of its own escapes.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use nix::libc;
use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};

use super::{proc_info, sysctl};
use crate::sys::xnu::arguments::StartedWith;
use crate::sys::xnu::{process_tree, signals};
use crate::sys::{FileId, Handle, Readable, readable};

pub use crate::sys::children::reap;
pub use crate::sys::facts::Handled;

/// A process: its pid and its start, since the pid may be another one's later.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    started: u64,
}

fn started(process: &libc::proc_bsdinfo) -> u64 {
    let seconds = process.pbi_start_tvsec.saturating_mul(1_000_000);
    seconds.saturating_add(process.pbi_start_tvusec)
}

impl Process {
    /// The process with this pid; `None` if it is another user's.
    pub fn of(pid: u32) -> Option<Self> {
        let started = started(&proc_info::process(pid)?);
        Some(Self { pid, started })
    }

    /// This process.
    pub fn own() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    fn now(&self) -> Option<libc::proc_bsdinfo> {
        proc_info::process(self.pid).filter(|process| started(process) == self.started)
    }

    /// The pid of its parent.
    pub fn parent(&self) -> Option<u32> {
        self.now().map(|process| process.pbi_ppid)
    }

    /// Its process group.
    pub fn group(&self) -> Option<u32> {
        self.now().map(|process| process.pbi_pgid)
    }

    /// Its session.
    pub fn session(&self) -> Option<u32> {
        self.now()?;
        proc_info::session(self.pid)
    }

    /// When it was started, in microseconds since 1970.
    pub fn started(&self) -> u64 {
        self.started
    }

    /// The name of its program, of which the kernel keeps 31 bytes.
    pub fn name(&self) -> Option<String> {
        let process = self.now()?;
        let bytes = process.pbi_name.into_iter().map(proc_info::byte);
        let name: Vec<u8> = bytes.take_while(|byte| *byte != 0).collect();
        Some(String::from_utf8_lossy(&name).into_owned())
    }

    /// It has not exited.
    pub fn runs(&self) -> bool {
        self.now().is_some() && proc_info::runs(self.pid)
    }

    /// What it was started with, as the kernel has it.
    fn started_with(&self) -> Option<Vec<u8>> {
        self.now()?;
        let names = [
            libc::CTL_KERN,
            libc::KERN_PROCARGS2,
            self.pid.cast_signed(),
            0,
        ];
        sysctl::numbered(names, 3).ok()
    }

    /// Its command line, on one line.
    pub fn command(&self) -> Option<String> {
        let buffer = self.started_with()?;
        let whole = StartedWith::read(&buffer)?.arguments.join(&b' ');
        let whole = String::from_utf8_lossy(&whole);
        let words = whole.split(|c: char| c.is_whitespace() || c.is_control());
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        Some(words.join(" "))
    }

    /// Its executable.
    pub fn executable(&self) -> Option<PathBuf> {
        proc_info::executable(self.pid)
    }

    /// The same: of one that was removed the path is not known.
    pub fn executable_as_started(&self) -> Option<PathBuf> {
        self.executable()
    }

    /// Its working directory.
    pub fn dir(&self) -> Option<PathBuf> {
        proc_info::dir(self.pid)
    }

    /// It was started with these variables; `false` also for a program of the system, whose variables are not
    /// shown.
    pub fn has_variables(&self, variables: &[(&str, &str)]) -> bool {
        let buffer = self.started_with().unwrap_or_default();
        let found = StartedWith::read(&buffer);
        found.is_some_and(|found| variables.iter().all(|(key, value)| found.has(key, value)))
    }

    /// The numbers of the sockets that it has open; none if it has exited.
    pub fn sockets(&self) -> impl Iterator<Item = u64> + use<> {
        proc_info::sockets(self.pid).map(|socket| socket.id)
    }

    /// The files that it has open, without devices.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> + use<> {
        let files = proc_info::open_files(self.pid).map(|(path, _)| path);
        files.filter(|path| !path.starts_with("/dev"))
    }

    /// The files that it has open for writing.
    pub fn written(&self) -> impl Iterator<Item = PathBuf> + use<> {
        let files = proc_info::open_files(self.pid);
        files.filter_map(|(path, is_written)| is_written.then_some(path))
    }

    /// None: which files it has locked is not told.
    pub fn locked(&self) -> Vec<FileId> {
        Vec::new()
    }

    /// What it does with signals.
    pub fn handled(&self) -> Option<Handled> {
        self.now()?;
        let pid = self.pid.cast_signed();
        let names = [libc::CTL_KERN, libc::KERN_PROC, libc::KERN_PROC_PID, pid];
        signals::handled(&sysctl::numbered(names, 4).ok()?)
    }

    /// Readable when it has ended.
    pub fn end(&self) -> Option<Readable<Handle>> {
        let queue = Kqueue::new().ok()?;
        let end = exit_of(self.pid);
        // An error if it has ended already; then there is nothing to wait for.
        queue.kevent(&[end], &mut [], None).ok()?;
        readable(Arc::new(queue.into())).ok()
    }
}

/// The event that this process exits, told once.
pub(super) fn exit_of(pid: u32) -> KEvent {
    KEvent::new(
        pid as libc::uintptr_t,
        EventFilter::EVFILT_PROC,
        EvFlags::EV_ADD | EvFlags::EV_ONESHOT,
        FilterFlag::NOTE_EXIT,
        0,
        0,
    )
}

/// All processes of this user; for root, of all users.
pub fn all() -> impl Iterator<Item = Process> {
    proc_info::pids().into_iter().filter_map(Process::of)
}

/// The pids of the descendants of this process, without itself, and of what those have left behind.
pub(super) fn below(pid: u32) -> Vec<u32> {
    process_tree::below(pid, &proc_info::listed())
}

/// The descendants of this process, without itself, and what those have left behind.
pub fn descendants(pid: u32) -> Vec<Process> {
    below(pid).into_iter().filter_map(Process::of).collect()
}

/// The pids of the children of this process; of hotrun itself also the orphans that launchd has, among which
/// are those that a killed keeper has left behind.
pub fn children(pid: u32) -> Vec<u32> {
    let all = proc_info::listed();
    let own = all.iter().filter(|process| process.parent == pid);
    let mut children: Vec<u32> = own.map(|process| process.pid).collect();
    if pid == std::process::id() {
        children.extend(process_tree::orphans(&all));
    }
    children
}

/// The numbers of the sockets that the descendants of this process have open.
pub fn sockets_below(pid: u32) -> HashSet<u64> {
    let tree = descendants(pid);
    tree.iter().flat_map(Process::sockets).collect()
}

/// An error: launchd has all orphans. See [`children`].
pub fn adopt_orphans() -> io::Result<()> {
    super::unsupported()
}

/// `None`: which process has a lock is not told.
pub fn lock_holder(_waiting: &[u32]) -> Option<Process> {
    None
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// The child of the next test: no program of the system, whose variables are not shown.
    #[test]
    fn a_child_waits_for_the_end_of_its_input() {
        if std::env::var_os("HOTRUN_TEST_CHILD").is_some() {
            io::copy(&mut io::stdin(), &mut io::sink()).unwrap();
        }
    }

    #[tokio::test]
    async fn a_process_is_seen_from_its_start_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let program = std::env::current_exe().unwrap().canonicalize().unwrap();
        let mut child = Command::new(&program)
            .arg("a_child_waits_for_the_end_of_its_input")
            .env("HOTRUN_TEST_CHILD", "a b")
            .current_dir(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (own, pid) = (std::process::id(), child.id());
        let process = Process::of(pid).unwrap();
        assert!(process.runs() && process.parent() == Some(own));
        let mine = Process::own().unwrap();
        assert_eq!(process.group(), mine.group());
        assert_eq!(process.session(), mine.session());
        assert!(mine.started() <= process.started());
        assert!(children(own).contains(&pid));
        assert!(descendants(own).iter().any(|found| found.pid() == pid));
        // It may not have executed the program yet.
        while process.executable().as_ref() != Some(&program) {
            std::thread::yield_now();
        }
        assert!(process.name().unwrap().starts_with("hotrun"));
        let command = process.command().unwrap();
        assert!(command.ends_with(" a_child_waits_for_the_end_of_its_input"));
        assert_eq!(process.dir(), Some(dir));
        assert!(process.has_variables(&[("HOTRUN_TEST_CHILD", "a b")]));
        assert!(!process.has_variables(&[("HOTRUN_TEST_CHILD", "a")]));
        assert!(process.handled().unwrap().is_ended_by(libc::SIGTERM));
        let end = process.end().unwrap();
        drop(child.stdin.take());
        end.readable().await.unwrap().retain_ready();
        assert!(!process.runs());
        assert!(child.wait().unwrap().success());
        assert!(process.parent().is_none() && process.end().is_none());
    }

    #[test]
    fn files_and_sockets_are_seen() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().canonicalize().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let own = Process::own().unwrap();
        assert!(own.files().any(|found| found == path));
        assert!(own.written().any(|found| found == path));
        let id = proc_info::socket_id(&listener).unwrap();
        assert!(own.sockets().any(|found| found == id));
        let copy = listener.try_clone().unwrap();
        assert_eq!(proc_info::socket_id(&copy).unwrap(), id);
        proc_info::socket_id(&file).unwrap_err();
    }
}
