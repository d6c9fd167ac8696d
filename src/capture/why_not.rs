//! Why something that a program listens on is not held, and what to do about that.

use std::path::Path;

use super::filter;
use crate::session::reason::Reason;
use crate::sockets::captured::MOST;

/// Why it is not held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The program can't be looked into.
    Unreadable,
    /// A unix socket without a path, by its name.
    Abstract(String),
    /// It is bound to a device.
    Device,
    /// So many are held already.
    Many,
    /// The program is made for another kind of machine, whose system calls have other numbers.
    Other,
    /// The numbers of this machine's system calls are not known.
    Unknown,
}

impl Why {
    /// Why nothing can be held that this program listens on, if that can be told from its file.
    pub fn of_program(path: &Path) -> Option<Self> {
        use std::io::Read;
        if filter::program(false).is_none() {
            return Some(Self::Unknown);
        }
        let mut head = [0; 5];
        let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut head));
        // The class of an ELF: 32 bits.
        let is_other = read.is_ok() && head == *b"\x7fELF\x01";
        is_other.then_some(Self::Other)
    }

    /// In words.
    pub fn explain(&self) -> Reason {
        let what = "what the app listens on is not held";
        let declare = "declare its address with --listen, and take the socket over in the app with \
                       `listenfd`; --no-capture says that it need not be held";
        let (what, why, hint) = match self {
            Self::Unreadable => match ptrace_scope() {
                Some(scope @ 2..) => (
                    what.into(),
                    format!("kernel.yama.ptrace_scope is {scope}, so that no program may be looked into"),
                    "`sysctl -w kernel.yama.ptrace_scope=1`".into(),
                ),
                _ => (
                    what.into(),
                    "the system lets nobody look into it (it has file capabilities, another user's rights, \
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
                "it is bound to a device (SO_BINDTODEVICE)".into(),
                declare.into(),
            ),
            Self::Many => (
                "more of what the app listens on is not held".into(),
                format!("{MOST} addresses are, which is the most"),
                declare.into(),
            ),
            Self::Other => (
                what.into(),
                format!("it is not made for {} with 64 bits", std::env::consts::ARCH),
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

/// Who may look into whom; `None`: the kernel has no such rule.
fn ptrace_scope() -> Option<u32> {
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
    scope.ok()?.trim().parse().ok()
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_32_bits_is_known_by_its_head() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app");
        for (head, expected) in [
            (&b"\x7fELF\x01\x01"[..], Some(Why::Other)),
            (b"\x7fELF\x02\x01", None),
            (b"#!/bin/sh", None),
            (b"", None),
        ] {
            std::fs::write(&path, head).unwrap();
            assert_eq!(Why::of_program(&path), expected);
        }
    }
}
