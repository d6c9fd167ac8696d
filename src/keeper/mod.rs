//! The small process between hotrun and the processes it starts.
//!
//! # Theory of operation
//!
//! Every app generation, every cargo and every helper is the child of a *keeper*: hotrun's own program,
//! started with a hidden first argument, single-threaded, in a session of its own. It gets its orders, and
//! the descriptors for its child, over a channel that is its stdin. When it is told to, or when that channel
//! ends because hotrun has ended, it kills and reaps its child's processes:
//!
//! - [`Mode::Tree`] (apps): it is a subreaper, so that processes which double-fork are reparented to it;
//!   it kills and reaps until it has no child left.
//! - [`Mode::Group`] (cargo, helpers): it kills the process group only. Daemons that a build starts in
//!   sessions of their own (compile caches) are left alone.
//!
//! Why not `PR_SET_PDEATHSIG`: it fires when the *thread* that spawned ends, and covers only the
//! direct child. Deliberately absent: any thread, any runtime, any decision.

pub mod client;
pub mod process;
pub mod protocol;

/// Which processes a keeper ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All of its descendants.
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

    /// The mode that this process was started in, if it is a keeper.
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
