//! Whether a process accepts connections, which Windows does not show.

use std::collections::HashSet;

use super::processes::Process;

/// Whether a generation accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepts {
    /// It does.
    Accepting,
    /// It does not.
    NotYet,
    /// It may accept in a way that the system does not show.
    Unseen,
}

/// What one accept probe of a generation found.
#[derive(Debug, Default)]
pub struct Seen {
    /// The ids of the sockets on which some process accepts or receives.
    pub accepting: HashSet<u64>,
    /// Some process may accept in a way that the system does not show.
    pub unseen: bool,
    /// A thread of a process that has such a socket is running or runnable.
    pub busy: bool,
}

impl Seen {
    /// Whether some process accepts.
    pub fn accepts(&self) -> Accepts {
        match (self.accepting.is_empty(), self.unseen) {
            (false, _) => Accepts::Accepting,
            (true, true) => Accepts::Unseen,
            (true, false) => Accepts::NotYet,
        }
    }
}

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
