//! Captures the addresses that the app listens on, without a change to the app.
//!
//! # Theory of operation
//!
//! The keeper starts the app under a filter of system calls (`sys::calls`), so that each `bind` and `listen` of the
//! app and its descendants blocks until hotrun answers at the filter's notification descriptor. A
//! dedicated thread (`notify_loop`) answers at once and does nothing else, since the calling thread is
//! blocked meanwhile.
//!
//! - `bind` runs in the kernel untouched, so that its errors are the kernel's own; hotrun records what
//!   was bound (`bind_table`). Where the address is held, the program gets the socket of its slot
//!   instead.
//! - At `listen` hotrun begins to hold an address: it opens both slots' sockets there, puts one over the
//!   program's descriptor and answers the call itself. At that moment the candidate can become ready.
//! - Where unix addresses are held, a call that removes a held path returns 0 and is not executed.
//!
//! Sockets are identified by inode, and nothing here requires a duplicate of the program's socket
//! (`pidfd_getfd`, which containers deny); where one can be had, its options are carried over. A call
//! whose arguments can't be read runs in the kernel. Deliberately absent: any wait, any lock held during
//! one, the async runtime, and every decision of the session.

mod bind_table;
mod bound;
mod notify_loop;
pub mod trial;
mod why_not;

use std::io;
use std::net::SocketAddr;

use tokio::sync::{mpsc, oneshot};

use crate::defect;
use crate::session::slots::Slot;
use crate::sockets::address::Address;
use crate::sockets::held::SharedSet;
use crate::sys::Handle;
use crate::sys::calls::{self, Calls};

use notify_loop::NotifyLoop;
pub use why_not::Why;

/// Whether a program started now can be put under the filter. Not so under an outer hotrun, in a sandbox
/// that forbids it, and on older kernels.
pub fn is_possible() -> bool {
    let Some(filter) = calls::filter(false) else {
        return false;
    };
    // On a thread that ends at once, since nothing can take the filter off again.
    let tried = defect::spawn_thread("capture", None, move || calls::is_filtered(&filter));
    tried.is_ok_and(|thread| matches!(thread.join(), Ok(Ok(true))))
}

/// What a program did.
#[derive(Debug)]
pub enum Listening {
    /// It bound a held address, and may be about to listen there.
    Bound(Address),
    /// It listens on a held socket, or receives datagrams there.
    Held {
        /// The inode of the socket.
        inode: u64,
        /// Its address.
        address: Address,
        /// Where it is in fact: elsewhere if hotrun itself answers at the address.
        behind: Address,
    },
    /// It listens on an address that could not be captured: the address, and the error.
    Not(Address, String),
    /// It listens on an address that is not captured, for this reason.
    Unheld(Why),
    /// It can't bind this address. The owner is looked up meanwhile.
    Taken(Address, oneshot::Receiver<Option<Owner>>),
}

/// The process that has an address.
#[derive(Debug)]
pub struct Owner {
    /// Its pid, if /proc shows it.
    pub pid: Option<u32>,
    /// Its pid, command and directory, for people.
    pub name: String,
    /// It is hotrun, which holds this overlapping address.
    pub held: Option<String>,
}

/// What the answers to one generation's calls depend on.
#[derive(Clone, Debug)]
pub struct Capture {
    /// The held set.
    pub held: SharedSet,
    /// The generation's slot.
    pub slot: Slot,
}

impl Capture {
    /// The held TCP addresses.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let held = self.held.lock();
        held.iter().filter_map(|held| held.address.tcp()).collect()
    }

    /// Answers each notification at `listener`, until the last process of the generation is gone.
    pub fn start(self, listener: Handle) -> io::Result<mpsc::UnboundedReceiver<Listening>> {
        let (events, listening) = mpsc::unbounded_channel();
        let notify_loop = NotifyLoop::new(Calls::at(listener), self, events);
        defect::spawn_thread("capture", Some(256 * 1024), move || notify_loop.serve())?;
        Ok(listening)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::ABLE;
    use crate::sys::testing::{emulation_lacks, lacks};

    /// The thread that tried the filter takes it along.
    #[test]
    fn a_filter_that_is_tried_stays_on_no_other_thread() {
        if emulation_lacks("seccomp") {
            return;
        }
        if lacks(ABLE.capture, "capture") {
            return;
        }
        let filters = || {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let lines = status.lines();
            let is_one = |line: &&str| line.starts_with("Seccomp") || line.starts_with("NoNew");
            lines.filter(is_one).map(str::to_owned).collect::<Vec<_>>()
        };
        let before = filters();
        assert!(is_possible());
        assert_eq!(filters(), before);
        assert!(std::net::TcpListener::bind("127.0.0.1:0").is_ok());
    }
}
