//! Children that have exited are reaped.

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpgid};

pub(in crate::sys) fn pid_of(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed())
}

/// Reaps a child that has exited; `true` if it still runs.
pub(in crate::sys) fn child_runs(pid: u32) -> bool {
    matches!(
        waitpid(pid_of(pid), Some(WaitPidFlag::WNOHANG)),
        Ok(WaitStatus::StillAlive)
    )
}

/// Reaps children that have exited; whether any still runs.
pub(in crate::sys) fn any_child_runs() -> bool {
    any(None)
}

/// The same for the children of this process group.
pub(in crate::sys) fn any_child_of_group_runs(group: u32) -> bool {
    any(Some(Pid::from_raw(-group.cast_signed())))
}

fn any(of: Option<Pid>) -> bool {
    loop {
        match waitpid(of, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return true,
            Err(Errno::ECHILD) => return false,
            // A realtime signal, for which nix has no name, is EINVAL after the fact.
            Ok(_) | Err(_) => {}
        }
    }
}

/// The process group of a process; `None` if it is gone.
pub fn group_of(pid: u32) -> Option<u32> {
    let group = getpgid(Some(pid_of(pid))).ok()?;
    Some(group.as_raw().unsigned_abs())
}

/// Reaps every child of this process that has exited.
pub fn reap() {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            // A realtime signal is EINVAL after the fact: that child was reaped too.
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
            Ok(_) | Err(_) => {}
        }
    }
}
