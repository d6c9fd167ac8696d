//! What a keeper needs: a job of its own, its child and its orders in one wait, and what it ends.

use std::io;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use windows_sys::Win32::Foundation::STATUS_CONTROL_C_EXIT;

use super::event::{Event, MOST_OBJECTS, is_set, wait_for};
use super::processes::{KILLED, open_process};
use super::{Descriptors, NotifySocket, Spawned, Stdin, job, offer, signals, unsupported};
use crate::sys::calls::FilterStep;

pub use crate::sys::facts::{Change, Woken};

/// The child of this process, which is a keeper.
#[derive(Debug)]
pub struct Children {
    /// Set while it is not told yet that the child has fetched its sockets.
    fetched: Arc<Event>,
}

/// The child of this process; its end was reported, or not yet.
struct Kept {
    child: Child,
    reported: bool,
}

static CHILD: Mutex<Option<Kept>> = Mutex::new(None);

fn child() -> MutexGuard<'static, Option<Kept>> {
    CHILD.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Children {
    /// Makes this process a keeper: in a job of its own, and deaf to the Ctrl-C that it sends to its own
    /// hidden console. "Ignore" would be inherited by the app, a handler is not.
    pub fn begin() -> io::Result<Self> {
        job::join()?;
        signals::survive_own_ctrl_c()?;
        Ok(Self {
            fetched: Arc::new(Event::new()?),
        })
    }

    /// Waits for orders, the child, or what it has left behind, at most for this time.
    pub fn wait(
        &self,
        orders: Option<&Stdin>,
        _notify: Option<&NotifySocket>,
        most: Option<Duration>,
    ) -> io::Result<Woken> {
        let (running, over) = match &*child() {
            Some(kept) if !kept.reported => {
                (Some(kept.child.as_handle().try_clone_to_owned()?), false)
            }
            kept => (None, kept.is_some()),
        };
        let left: Vec<OwnedHandle> = if over {
            let left = job::others().into_iter();
            left.filter_map(|pid| open_process(pid).ok())
                .take(MOST_OBJECTS - 3)
                .collect()
        } else {
            Vec::new()
        };
        let mut objects: Vec<BorrowedHandle> = orders.map(Stdin::arrived).into_iter().collect();
        objects.push(self.fetched.as_handle());
        objects.extend(running.iter().chain(&left).map(AsHandle::as_handle));
        let woken = wait_for(&objects, most)?;
        let has_fetched = is_set(self.fetched.as_handle());
        if has_fetched {
            self.fetched.reset();
        }
        Ok(Woken {
            idle: woken.is_none(),
            has_orders: orders.is_some_and(|orders| is_set(orders.arrived())),
            has_fetched,
        })
    }

    /// Whether anything may have happened to a child since this was last asked.
    #[expect(clippy::unused_self, reason = "other systems keep something here")]
    pub fn changed(&self) -> bool {
        true
    }

    /// Starts a child in the keeper's console, which offers it the sockets by the protocol of `listenfd`.
    pub fn start(
        &self,
        mut command: Command,
        descriptors: Descriptors,
        filter: &[FilterStep],
    ) -> io::Result<Spawned> {
        if descriptors.at_terminal || !filter.is_empty() {
            return unsupported();
        }
        let stdin = descriptors.stdin.map(super::Handle::stdio).transpose()?;
        offer::make(&mut command, descriptors.sockets, &self.fetched)?;
        let started = command
            .stdin(stdin.unwrap_or_else(Stdio::null))
            .stdout(descriptors.stdout.stdio()?)
            .stderr(descriptors.stderr.stdio()?)
            .spawn()?;
        let pid = started.id();
        *child() = Some(Kept {
            child: started,
            reported: false,
        });
        Ok(Spawned {
            pid,
            listener: None,
        })
    }
}

/// The next change of this child, which is told once.
pub fn next_change(pid: u32) -> Option<Change> {
    let mut kept = child();
    let kept = kept
        .as_mut()
        .filter(|kept| kept.child.id() == pid && !kept.reported)?;
    let status = kept.child.try_wait().ok()??;
    kept.reported = true;
    Some(change(status))
}

/// What a status says. One that Ctrl-C has ended, or that was killed, has a status of the system's.
fn change(status: ExitStatus) -> Change {
    match status.code() {
        Some(STATUS_CONTROL_C_EXIT) => Change::Killed(signals::INTERRUPT),
        Some(code) if code.cast_unsigned() == KILLED => Change::Killed(signals::KILL),
        Some(code) => Change::Exited(code),
        None => Change::Ended,
    }
}

/// Whether this process still runs.
pub fn reap_one(pid: u32) -> bool {
    match &*child() {
        Some(kept) if kept.child.id() == pid => !is_set(kept.child.as_handle()),
        _ => open_process(pid).is_ok_and(|process| !is_set(process.as_handle())),
    }
}

/// Whether any process of the keeper still runs.
pub fn any_child() -> bool {
    own_children().into_iter().any(reap_one)
}

/// The same: the processes of a keeper are one group.
pub fn any_of_group(_group: u32) -> bool {
    any_child()
}

/// The process group of a process: that of the keeper's child, which is reached by a Ctrl-C as well.
pub fn group_of(_pid: u32) -> Option<u32> {
    child().as_ref().map(|kept| kept.child.id())
}

/// The processes of the keeper.
pub fn own_children() -> Vec<u32> {
    job::others()
}

#[cfg(test)]
mod tests {
    use std::os::windows::process::ExitStatusExt;

    use super::*;

    #[test]
    fn what_has_ended_a_process_is_seen_in_its_status() {
        let of = |code| change(ExitStatus::from_raw(code));
        assert_eq!(of(3), Change::Exited(3));
        assert_eq!(of(0xc000_013a), Change::Killed(signals::INTERRUPT));
        assert_eq!(of(KILLED), Change::Killed(signals::KILL));
    }
}
