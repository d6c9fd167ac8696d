//! Holding what the app listens on, with no change to the app (Linux, `seccomp_unotify(2)`).
//!
//! # Theory of operation
//!
//! The keeper starts the app under a filter (`filter`), so that each `bind` and `listen` of it, and of
//! all it starts, waits for an answer at a descriptor that comes to hotrun. A thread of its own (`notify_loop`)
//! answers them at once and does nothing else: whoever asks stands still meanwhile.
//!
//! - `bind` runs in the kernel untouched, so that its errors are the kernel's own; what was bound is
//!   written down (`bind_table`). Where the address is held, the program is given the socket of its slot
//!   instead.
//! - `listen` is when an address begins to be held: hotrun makes its own two sockets there, puts one
//!   over the program's and answers in the kernel's place. That is the moment at which a candidate can
//!   be ready.
//! - Where paths are held, what removes one of them is answered and not done.
//!
//! Sockets are known by their numbers in /proc, and nothing here needs to get a copy of the program's
//! (`pidfd_getfd`, which containers deny); where one can be had, its options are carried over.
//! Whatever can't be read is the kernel's to answer. Deliberately absent: any wait, any lock that is
//! held over one, the runtime, and every decision of the session.

mod bind_table;
pub mod filter;
mod notify_loop;
mod program;
mod sockaddr;
pub mod trial;
mod why_not;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use tokio::sync::{mpsc, oneshot};

use crate::session::slots::Slot;
use crate::sockets::address::Address;
use crate::sockets::held::SharedSet;

use notify_loop::NotifyLoop;
pub use program::may_copy;
pub use why_not::Why;

/// What a program does.
#[derive(Debug)]
pub enum Listening {
    /// It has bound a held address, and may be about to listen there.
    Bound(Address),
    /// It listens on a held socket, or takes datagrams there.
    Held {
        /// The number of the socket in /proc.
        inode: u64,
        /// Where it is.
        address: Address,
    },
    /// It listens where nothing can be held: where, and why.
    Not(Address, String),
    /// It listens where nothing is held: why.
    Unheld(Why),
    /// It can't bind this address. Who has it is found out meanwhile.
    Taken(Address, oneshot::Receiver<Option<Owner>>),
}

/// The process that has an address.
#[derive(Debug)]
pub struct Owner {
    /// Its pid, if that can be seen.
    pub pid: Option<i32>,
    /// Its pid, command and directory, for people.
    pub name: String,
}

/// What the answers to one generation depend on.
#[derive(Clone, Debug)]
pub struct Capture {
    /// What is held.
    pub held: SharedSet,
    /// Its slot.
    pub slot: Slot,
}

impl Capture {
    /// Where clients can connect to what is held.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let held = self.held.lock();
        held.iter().filter_map(|held| held.address.tcp()).collect()
    }

    /// Answers everything that waits at `listener`, until the last process of the generation is gone.
    pub fn start(self, listener: OwnedFd) -> io::Result<mpsc::UnboundedReceiver<Listening>> {
        let (told, listening) = mpsc::unbounded_channel();
        let notify_loop = NotifyLoop::new(listener, self, told);
        std::thread::Builder::new()
            .name("hotrun-capture".into())
            .stack_size(256 * 1024)
            .spawn(move || notify_loop.serve())?;
        Ok(listening)
    }
}
