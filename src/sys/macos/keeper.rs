//! What a keeper needs: its child's changes, the ends of all processes below it and its messages in one wait,
//! and what it kills and reaps.
//!
//! No system call ends the processes when the keeper has ended, and orphans are launchd's: the keeper finds
//! what the child has left behind by parent, process group and session (`xnu::process_tree`), and waits for
//! each end by a kqueue. A daemon that has forked twice and begun a session of its own escapes. That hotrun has
//! ended is seen at the end of its orders.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
use nix::unistd::setsid;

use super::calls::FilterStep;
use super::{proc_info, processes, unsupported};
use crate::sys::children::{any_child_of_group_runs, any_child_runs, child_runs};
use crate::sys::spawn::spawn_activated;
use crate::sys::{Descriptors, NotifySocket, Spawned, Stdin};

pub use crate::sys::children::group_of;
pub use crate::sys::facts::{Change, Woken};

/// The events of this process, which is a keeper.
static QUEUE: OnceLock<Kqueue> = OnceLock::new();

/// A process is ending of which the kernel does not tell any more that it has ended: it is asked for again
/// soon.
static UNWATCHED: AtomicBool = AtomicBool::new(false);
const SOON: Duration = Duration::from_millis(10);

/// The child is stopped. No signal tells its parent that it was continued: it is asked for now and then.
static STOPPED: AtomicBool = AtomicBool::new(false);
const NOW_AND_THEN: Duration = Duration::from_millis(100);

/// How many events one wait takes in.
const EVENTS: usize = 32;

/// How often the processes are listed anew, if some exit meanwhile.
const LISTS: usize = 8;

/// The children of this process, which is a keeper.
#[derive(Debug)]
pub struct Children {
    changed: Cell<bool>,
}

/// What is watched: a number of this kind, which is told when something happens.
fn event(ident: usize, filter: EventFilter, flags: EvFlags) -> KEvent {
    KEvent::new(ident, filter, flags, FilterFlag::empty(), 0, 0)
}

fn readable(open: &impl AsFd) -> KEvent {
    let number = open.as_fd().as_raw_fd().unsigned_abs() as usize;
    event(number, EventFilter::EVFILT_READ, EvFlags::EV_ADD)
}

impl Children {
    /// Makes this process a keeper, which was started with all signals blocked: out of the terminal's
    /// session, so that signals meant for hotrun do not reach the app.
    pub fn begin() -> io::Result<Self> {
        setsid().ok();
        let queue = Kqueue::new()?;
        // Also told of a signal that is blocked (kqueue(2)).
        let child = libc::SIGCHLD.unsigned_abs() as usize;
        let child = event(child, EventFilter::EVFILT_SIGNAL, EvFlags::EV_ADD);
        queue.kevent(&[child], &mut [], None)?;
        let begun = QUEUE.set(queue);
        begun.map_err(|_| io::Error::other("this process is a keeper already"))?;
        Ok(Self {
            changed: Cell::new(false),
        })
    }

    /// Waits for orders, the end of a process or a message, at most for this time.
    pub fn wait(
        &self,
        orders: Option<&Stdin>,
        notify: Option<&NotifySocket>,
        most: Option<Duration>,
    ) -> io::Result<Woken> {
        let queue = QUEUE.get().ok_or(io::ErrorKind::NotFound)?;
        let orders = orders.map(readable);
        let added: Vec<KEvent> = orders.into_iter().chain(notify.map(readable)).collect();
        let mut events = [event(0, EventFilter::EVFILT_READ, EvFlags::empty()); EVENTS];
        let again = [(&UNWATCHED, SOON), (&STOPPED, NOW_AND_THEN)];
        let again = again
            .into_iter()
            .filter(|(is_so, _)| is_so.load(Ordering::Relaxed));
        let most = most.into_iter().chain(again.map(|(_, time)| time)).min();
        let most = most.map(|most| libc::timespec {
            tv_sec: most.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: most.subsec_nanos().into(),
        });
        let count = match queue.kevent(&added, &mut events, most) {
            Ok(count) => count,
            Err(Errno::EINTR) => {
                return Ok(Woken {
                    idle: false,
                    has_orders: false,
                    has_fetched: false,
                });
            }
            Err(error) => return Err(error.into()),
        };
        let events = &events[..count];
        let is_end = |event: &KEvent| {
            let ends = [EventFilter::EVFILT_SIGNAL, EventFilter::EVFILT_PROC];
            event.filter().is_ok_and(|filter| ends.contains(&filter))
        };
        let is_order = |event: &KEvent| {
            let is_readable = event.filter() == Ok(EventFilter::EVFILT_READ);
            is_readable && orders.is_some_and(|orders| orders.ident() == event.ident())
        };
        if events.iter().any(is_end) {
            self.changed.set(true);
        }
        Ok(Woken {
            idle: count == 0,
            has_orders: events.iter().any(is_order),
            has_fetched: false,
        })
    }

    /// Whether anything has happened to a process since this was last asked.
    pub fn changed(&self) -> bool {
        self.changed.take()
    }

    /// Starts a child, see `spawn_activated`.
    pub fn start(
        &self,
        command: Command,
        descriptors: Descriptors,
        filter: &[FilterStep],
    ) -> io::Result<Spawned> {
        if !filter.is_empty() {
            return unsupported();
        }
        spawn_activated(command, descriptors, None)
    }
}

/// Asks about this child as waitid(2) does: `None` if nothing has happened.
fn wait_for(pid: u32, what: libc::c_int) -> Option<libc::siginfo_t> {
    let mut found = MaybeUninit::<libc::siginfo_t>::zeroed();
    let what = what | libc::WNOHANG;
    // SAFETY: the kernel writes one structure, which is there.
    let done = unsafe { libc::waitid(libc::P_PID, pid, found.as_mut_ptr(), what) };
    // SAFETY: zeros are a value of it, and the kernel leaves it as it was where nothing has happened.
    let found = unsafe { found.assume_init() };
    (done == 0 && found.si_pid != 0).then_some(found)
}

/// The next change of this child, which is told once. One that has ended is not reaped, so that its
/// process group's id is not reused.
pub fn next_change(pid: u32) -> Option<Change> {
    let kinds = libc::WEXITED | libc::WSTOPPED | libc::WCONTINUED;
    let found = wait_for(pid, kinds | libc::WNOWAIT)?;
    Some(match found.si_code {
        libc::CLD_EXITED => Change::Exited(found.si_status),
        libc::CLD_KILLED | libc::CLD_DUMPED => Change::Killed(found.si_status),
        libc::CLD_STOPPED | libc::CLD_TRAPPED => {
            wait_for(pid, libc::WSTOPPED);
            STOPPED.store(true, Ordering::Relaxed);
            Change::Stopped
        }
        libc::CLD_CONTINUED => {
            wait_for(pid, libc::WCONTINUED);
            // The signal may have come to one that was not stopped.
            STOPPED
                .swap(false, Ordering::Relaxed)
                .then_some(Change::Continued)?
        }
        _ => Change::Ended,
    })
}

/// Reaps a child that has exited; `true` if the process still runs, also if it is no child.
pub fn reap_one(pid: u32) -> bool {
    child_runs(pid) || proc_info::runs(pid)
}

/// Reaps children that have exited; whether any process below this one still runs.
pub fn any_child() -> bool {
    any_child_runs() || own_children().into_iter().any(proc_info::runs)
}

/// Reaps the children of this process group that have exited; whether any process of it still runs.
pub fn any_of_group(group: u32) -> bool {
    let is_member = |pid: &u32| group_of(*pid) == Some(group);
    let mut others = own_children().into_iter().filter(is_member);
    any_child_of_group_runs(group) || others.any(proc_info::runs)
}

/// All processes below this one, and those that they have left behind. The end of each that runs is told to
/// [`Children::wait`].
pub fn own_children() -> Vec<u32> {
    let mut found = Vec::new();
    // One that has exited since it was listed may have left others behind.
    for _ in 0..LISTS {
        found = processes::below(std::process::id());
        let unwatched = found.iter().filter(|pid| !watch_end(**pid));
        let unwatched: Vec<u32> = unwatched.copied().collect();
        let is_ending = unwatched.iter().any(|pid| proc_info::runs(*pid));
        UNWATCHED.store(is_ending, Ordering::Relaxed);
        if unwatched.into_iter().all(proc_info::exists) {
            break;
        }
    }
    found
}

/// Has the end of this process told; `false` if it has ended.
fn watch_end(pid: u32) -> bool {
    let queue = QUEUE.get();
    queue.is_some_and(|queue| {
        queue
            .kevent(&[processes::exit_of(pid)], &mut [], None)
            .is_ok()
    })
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_change_of_a_child_is_told_once() {
        let mut child = Command::new("/bin/cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pid = child.id();
        let next = || {
            loop {
                match next_change(pid) {
                    Some(change) => break change,
                    None => std::thread::yield_now(),
                }
            }
        };
        assert_eq!(next_change(pid), None);
        crate::sys::signals::send(pid, libc::SIGCONT);
        assert_eq!(next_change(pid), None);
        crate::sys::signals::send(pid, libc::SIGSTOP);
        assert_eq!(next(), Change::Stopped);
        assert_eq!(next_change(pid), None);
        crate::sys::signals::send(pid, libc::SIGCONT);
        assert_eq!(next(), Change::Continued);
        drop(child.stdin.take());
        assert_eq!(next(), Change::Exited(0));
        // Not reaped until then.
        assert!(proc_info::exists(pid) && !proc_info::runs(pid));
        assert!(!reap_one(pid) && !proc_info::exists(pid));
        child.wait().unwrap_err();
    }
}
