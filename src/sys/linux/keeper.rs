//! What a keeper needs: orphans reparented to it, its children's changes and its messages in one wait, and
//! what it kills and reaps.

use std::io;
use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::setsid;

use super::calls::seccomp::notify;
use super::calls::{FilterStep, kernel_filter};
use super::processes::{self, adopt_orphans};
use crate::sys::children::{any_child_of_group_runs, any_child_runs, child_runs, pid_of};
use crate::sys::spawn::{PutUnderFilter, spawn_activated};
use crate::sys::{Descriptors, NotifySocket, Spawned, Stdin};

pub use crate::sys::children::group_of;
pub use crate::sys::facts::{Change, Woken};

/// The children of this process, which is a keeper.
#[derive(Debug)]
pub struct Children {
    signals: SignalFd,
}

impl Children {
    /// Makes this process a keeper, which was started with all signals blocked: out of the terminal's
    /// session, so that signals meant for hotrun do not reach the app; orphans of the child's tree are
    /// reparented to it.
    pub fn begin() -> io::Result<Self> {
        setsid().ok();
        adopt_orphans()?;
        nix::sys::prctl::set_name(c"hotrun-keeper").ok();
        let signals = SignalFd::with_flags(
            &SigSet::from(Signal::SIGCHLD),
            SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK,
        )?;
        Ok(Self { signals })
    }

    /// Waits for orders, a child or a message, at most for this time.
    pub fn wait(
        &self,
        orders: Option<&Stdin>,
        notify: Option<&NotifySocket>,
        most: Option<Duration>,
    ) -> io::Result<Woken> {
        let most = most.and_then(|most| PollTimeout::try_from(most).ok());
        let sources = [
            Some(self.signals.as_fd()),
            notify.map(AsFd::as_fd),
            orders.map(AsFd::as_fd),
        ];
        let mut sources: Vec<PollFd> = sources
            .into_iter()
            .flatten()
            .map(|source| PollFd::new(source, PollFlags::POLLIN))
            .collect();
        let idle = match poll(&mut sources, most.unwrap_or(PollTimeout::NONE)) {
            Ok(count) => count == 0,
            Err(Errno::EINTR) => false,
            Err(error) => return Err(error.into()),
        };
        let last = sources.last().and_then(PollFd::any);
        Ok(Woken {
            idle,
            has_orders: orders.is_some() && last.unwrap_or_default(),
            has_fetched: false,
        })
    }

    /// Whether anything has happened to a child since this was last asked.
    pub fn changed(&self) -> bool {
        let mut changed = false;
        while let Ok(Some(_)) = self.signals.read_signal() {
            changed = true;
        }
        changed
    }

    /// Starts a child, see `spawn_activated`.
    pub fn start(
        &self,
        command: Command,
        descriptors: Descriptors,
        filter: &[FilterStep],
    ) -> io::Result<Spawned> {
        let mut filter = kernel_filter(filter);
        let is_filtered = !filter.is_empty();
        let mut notify = || notify(&mut filter);
        let filter: Option<PutUnderFilter> = is_filtered.then_some(&mut notify);
        spawn_activated(command, descriptors, filter)
    }
}

/// The next change of this child, which is told once. One that has ended is not reaped, so that its
/// process group's id is not reused.
pub fn next_change(pid: u32) -> Option<Change> {
    let flags = WaitPidFlag::WEXITED
        | WaitPidFlag::WSTOPPED
        | WaitPidFlag::WCONTINUED
        | WaitPidFlag::WNOHANG
        | WaitPidFlag::WNOWAIT;
    let consume =
        |kind: WaitPidFlag| waitid(Id::Pid(pid_of(pid)), kind | WaitPidFlag::WNOHANG).ok();
    Some(match waitid(Id::Pid(pid_of(pid)), flags) {
        Ok(WaitStatus::Exited(_, code)) => Change::Exited(code),
        Ok(WaitStatus::Signaled(_, signal, _)) => Change::Killed(signal as i32),
        Ok(WaitStatus::Stopped(..)) => {
            consume(WaitPidFlag::WSTOPPED);
            Change::Stopped
        }
        Ok(WaitStatus::Continued(_)) => {
            consume(WaitPidFlag::WCONTINUED);
            Change::Continued
        }
        // A realtime signal, for which nix has no name.
        Err(Errno::EINVAL) => Change::Ended,
        _ => return None,
    })
}

/// Reaps a child that has exited; `true` if it still runs.
pub fn reap_one(pid: u32) -> bool {
    child_runs(pid)
}

/// Reaps children that have exited; whether any still runs.
pub fn any_child() -> bool {
    any_child_runs()
}

/// Reaps the children of this process group that have exited; whether any still runs.
pub fn any_of_group(group: u32) -> bool {
    any_child_of_group_runs(group)
}

/// The direct children. Orphans are among them, so that killing them level by level reaches the whole
/// tree.
pub fn own_children() -> Vec<u32> {
    let own = std::process::id();
    let listed = std::fs::read_to_string(format!("/proc/self/task/{own}/children"));
    match listed {
        Ok(list) => list
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect(),
        // A kernel without that file: look for processes with this parent.
        Err(_) => processes::all()
            .filter(|process| process.parent() == Some(own))
            .map(|process| process.pid())
            .collect(),
    }
}
