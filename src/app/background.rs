//! A program that goes on in the background: its first process has exited with success, and processes
//! that it left behind do the work. Tells which of them listen, and when one of those has ended.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Poll;

use procfs::process::Process;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::unix::AsyncFd;

use crate::process_tree;
use crate::sys;

/// The processes that a first process has left behind.
#[derive(Debug)]
pub(super) struct Background {
    keeper: u32,
    /// The pidfds of those that have one of the sockets open.
    listening: Vec<AsyncFd<Arc<OwnedFd>>>,
}

impl Background {
    /// The running processes of this keeper; `None` if there are none.
    pub(super) fn of(keeper: u32, sockets: &HashSet<u64>) -> Option<Self> {
        let mut left = Self {
            keeper,
            listening: Vec::new(),
        };
        let any = process_tree::of(keeper).iter().any(runs);
        any.then(|| {
            left.refresh(sockets);
            left
        })
    }

    /// One of the processes has one of the sockets open.
    pub(super) fn listens(&self) -> bool {
        !self.listening.is_empty()
    }

    /// Finds out anew which processes have one of these sockets open.
    pub(super) fn refresh(&mut self, sockets: &HashSet<u64>) {
        let tree = process_tree::of(self.keeper);
        let listens = |process: &&Process| {
            runs(process) && process_tree::sockets(process).any(|socket| sockets.contains(&socket))
        };
        let listening = tree.iter().filter(listens);
        self.listening = listening.filter_map(|one| descriptor(one.pid())).collect();
    }

    /// Waits until a listening process has ended; for ever without one.
    pub(super) async fn one_ended(background: Option<&Self>) {
        let Some(background) = background else {
            return std::future::pending().await;
        };
        std::future::poll_fn(|context| {
            let mut listening = background.listening.iter();
            if listening.any(|one| one.poll_read_ready(context).is_ready()) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

/// The process has not exited.
fn runs(process: &Process) -> bool {
    process
        .stat()
        .is_ok_and(|stat| !matches!(stat.state, 'Z' | 'X'))
}

/// Readable when the process has ended.
fn descriptor(pid: i32) -> Option<AsyncFd<Arc<OwnedFd>>> {
    let descriptor = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    sys::readable(Arc::new(descriptor)).ok()
}
