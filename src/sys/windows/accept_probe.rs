//! Whether a process accepts connections, which Windows does not show.

use std::collections::HashSet;

use super::processes::Process;

pub use crate::sys::facts::{Accepts, Seen};

/// Whether one of these processes accepts on one of these sockets: if there is one, it may.
pub(crate) fn probe(tree: &[Process], _ids: &HashSet<u64>) -> Seen {
    Seen {
        unseen: !tree.is_empty(),
        ..Seen::default()
    }
}

/// `None`: whether a debugger stops a process is not shown.
pub fn traced(_keeper: u32) -> Option<i32> {
    None
}
