//! A program that goes on in the background: its first process has exited with success, and processes
//! that it left behind do the work. Tells which of them listen, and when one of those has ended.

use std::collections::HashSet;
use std::task::Poll;

use crate::sys::processes::{self, Process};
use crate::sys::{Handle, Readable};

/// The processes that a first process has left behind.
#[derive(Debug)]
pub(super) struct Background {
    keeper: u32,
    /// The ends of those that have one of the sockets open.
    listening: Vec<Readable<Handle>>,
}

impl Background {
    /// The running processes of this keeper; `None` if there are none.
    pub(super) fn of(keeper: u32, sockets: &HashSet<u64>) -> Option<Self> {
        let mut left = Self {
            keeper,
            listening: Vec::new(),
        };
        let any = processes::descendants(keeper).iter().any(Process::runs);
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
        let tree = processes::descendants(self.keeper);
        let listens = |process: &&Process| {
            process.runs() && process.sockets().any(|socket| sockets.contains(&socket))
        };
        let listening = tree.iter().filter(listens);
        self.listening = listening.filter_map(Process::end).collect();
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
