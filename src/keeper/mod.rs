//! The small process between hotrun and what it runs.
//!
//! # Theory of operation
//!
//! Every app generation, every cargo and every helper is the child of a *keeper*: hotrun's own
//! program, started through `/proc/self/exe` with a hidden first argument, single-threaded, in a
//! session of its own. It gets its orders, and the descriptors for its child, over a unix socket
//! that is its stdin. When it is told to, or when that socket ends because hotrun has, it ends
//! what it keeps and reaps it:
//!
//! - [`Mode::Tree`] (apps): it is a subreaper, so whatever forks away twice still comes back to
//!   it; it kills and reaps until it has no child left.
//! - [`Mode::Group`] (cargo, helpers): it ends the process group only. Daemons that a build starts
//!   in sessions of their own (compile caches) are not its business.
//!
//! Why not `PR_SET_PDEATHSIG`: it fires when the *thread* that spawned ends, and covers only the
//! direct child. Deliberately absent: any thread, any runtime, any decision.

pub mod client;
pub mod process;
pub mod protocol;
pub mod terminal;

/// How much of what it started a keeper ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything that descends from it.
    Tree,
    /// Its child's process group.
    Group,
}

/// The hidden first argument that makes hotrun a keeper.
const ARGUMENT: &str = "__keeper";

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Group => "group",
        }
    }

    /// The mode that this process was started in, if it is to be a keeper.
    pub fn requested() -> Option<Self> {
        let mut arguments = std::env::args_os().skip(1);
        if arguments.next()? != ARGUMENT {
            return None;
        }
        let name = arguments.next()?;
        [Self::Tree, Self::Group]
            .into_iter()
            .find(|mode| name == mode.name())
    }
}
