//! A program that goes on in the background: its first process has exited with success, and processes
//! that it left behind do the work. Tells which of them listen, and when one of those has ended.

use std::collections::HashSet;
use std::task::Poll;

use super::accept_probe::seen;
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
    pub(super) async fn of(keeper: u32, sockets: HashSet<u64>) -> Option<Self> {
        let (any, listening) = seen(move || running(keeper, &sockets)).await;
        any.then(|| Self {
            keeper,
            listening: ends(&listening),
        })
    }

    /// One of the processes has one of the sockets open.
    pub(super) fn listens(&self) -> bool {
        !self.listening.is_empty()
    }

    /// Finds out anew which processes have one of these sockets open.
    pub(super) async fn refresh(&mut self, sockets: HashSet<u64>) {
        let keeper = self.keeper;
        let (_, listening) = seen(move || running(keeper, &sockets)).await;
        self.listening = ends(&listening);
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

/// Whether any process of this keeper runs, and those of them that have one of these sockets open.
fn running(keeper: u32, sockets: &HashSet<u64>) -> (bool, Vec<Process>) {
    let tree = processes::descendants(keeper).into_iter();
    let running: Vec<Process> = tree.filter(Process::runs).collect();
    let any = !running.is_empty();
    let listens = |process: &Process| process.sockets().any(|socket| sockets.contains(&socket));
    (any, running.into_iter().filter(listens).collect())
}

/// What is readable when these have ended; those that have ended already are left out.
fn ends(processes: &[Process]) -> Vec<Readable<Handle>> {
    processes.iter().filter_map(Process::end).collect()
}

#[cfg(test)]
mod tests {
    use super::super::accept_probe::waits_for_a_thread;
    use super::*;

    /// Connections are carried and output is passed on meanwhile.
    #[test]
    fn a_look_does_not_hold_up_the_runtime() {
        let own = std::process::id();
        waits_for_a_thread(async || Background::of(own, HashSet::new()).await);
        waits_for_a_thread(async || {
            let mut left = Background {
                keeper: own,
                listening: Vec::new(),
            };
            left.refresh(HashSet::new()).await;
            assert!(!left.listens());
        });
    }
}
