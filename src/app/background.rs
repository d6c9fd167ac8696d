//! A program that goes on in the background: its first process has ended with success, and what it
//! left behind does the work. Says which of that listens, and when that has ended.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Poll;

use procfs::process::Process;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::unix::AsyncFd;

use crate::process_tree;
use crate::sys;

/// What a first process has left behind.
#[derive(Debug)]
pub(super) struct Background {
    keeper: u32,
    /// Those that listen, or would.
    listening: Vec<AsyncFd<Arc<OwnedFd>>>,
}

impl Background {
    /// What the keeper still has; `None` if that is nothing.
    pub(super) fn of(keeper: u32, sockets: &HashSet<u64>) -> Option<Self> {
        let mut left = Self {
            keeper,
            listening: Vec::new(),
        };
        let any = process_tree::of(keeper).iter().any(runs);
        any.then(|| {
            left.look(sockets);
            left
        })
    }

    /// One of these sockets is open somewhere in it.
    pub(super) fn listens(&self) -> bool {
        !self.listening.is_empty()
    }

    /// Looks anew which processes have these sockets open.
    pub(super) fn look(&mut self, sockets: &HashSet<u64>) {
        let family = process_tree::of(self.keeper);
        let listens = |process: &&Process| {
            runs(process) && process_tree::sockets(process).any(|socket| sockets.contains(&socket))
        };
        let listening = family.iter().filter(listens);
        self.listening = listening.filter_map(|one| descriptor(one.pid())).collect();
    }

    /// Waits until one of those that listen has ended; for ever where there is none.
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

/// It has not ended.
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
