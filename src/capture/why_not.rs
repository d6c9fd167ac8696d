//! Why an address that a program listens on is not captured, and what to do about it.

use std::path::Path;

use crate::session::reason::Reason;
use crate::sockets::captured::MOST;
use crate::sys::calls;

/// Why an address is not captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// /proc does not let hotrun read the program's descriptors or memory.
    Unreadable,
    /// An abstract unix address, by its name.
    Abstract(String),
    /// The socket is bound to a device.
    Device,
    /// The limit of captured addresses is reached.
    Many,
    /// The program is of another architecture than this machine's native one, so its system calls have
    /// other numbers.
    Other,
    /// The numbers of this architecture's system calls are not known.
    Unknown,
}

impl Why {
    /// Why no address of this program can be captured, if its file shows it.
    pub fn of_program(path: &Path) -> Option<Self> {
        if calls::filter(false).is_none() {
            return Some(Self::Unknown);
        }
        calls::is_of_other_architecture(path).then_some(Self::Other)
    }

    /// The explanation.
    pub fn explain(&self) -> Reason {
        let what = "what the app listens on is not held";
        let declare = "declare its address with --listen, and take the socket over in the app with \
                       `listenfd`, or pass --no-capture if it need not be held";
        let (what, why, hint) = match self {
            Self::Unreadable => match calls::ptrace_scope() {
                Some(scope @ 2..) => (
                    what.into(),
                    format!("kernel.yama.ptrace_scope is {scope}, so that hotrun may not read the app's memory"),
                    "`sysctl -w kernel.yama.ptrace_scope=1`".into(),
                ),
                _ => (
                    what.into(),
                    "the system lets no other process look into it (it has file capabilities, another user's rights, \
                     or PR_SET_DUMPABLE is 0)"
                        .into(),
                    format!("run it without those in development, or {declare}"),
                ),
            },
            Self::Abstract(name) => (
                format!("unix:@{name} is not held"),
                "only one socket can have an abstract name".into(),
                "use a path, like `unix:/tmp/app.sock`: that is held".into(),
            ),
            Self::Device => (
                what.into(),
                "its socket is bound to a device (SO_BINDTODEVICE)".into(),
                declare.into(),
            ),
            Self::Many => (
                "more of what the app listens on is not held".into(),
                format!("{MOST} addresses are held, which is the limit"),
                declare.into(),
            ),
            Self::Other => (
                what.into(),
                format!("it is no 64-bit {} program", std::env::consts::ARCH),
                format!("build it for this machine (--target), or {declare}"),
            ),
            Self::Unknown => (
                what.into(),
                format!("hotrun does not know the system calls of {}", std::env::consts::ARCH),
                declare.into(),
            ),
        };
        Reason::new(format!("{what}: {why}"), hint)
    }
}
