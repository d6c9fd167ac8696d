//! Why an address that a program listens on is not captured, and what to do about it.

use std::path::Path;

use super::filter;
use crate::session::reason::Reason;
use crate::sockets::captured::MOST;

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
        use std::io::Read;
        if filter::program(false).is_none() {
            return Some(Self::Unknown);
        }
        let mut head = [0; 5];
        let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut head));
        // A 32-bit ELF.
        let is_other = read.is_ok() && head == *b"\x7fELF\x01";
        is_other.then_some(Self::Other)
    }

    /// The explanation.
    pub fn explain(&self) -> Reason {
        let what = "what the app listens on is not held";
        let declare = "declare its address with --listen, and take the socket over in the app with \
                       `listenfd`, or pass --no-capture if it need not be held";
        let (what, why, hint) = match self {
            Self::Unreadable => match ptrace_scope() {
                Some(scope @ 2..) => (
                    what.into(),
                    format!("kernel.yama.ptrace_scope is {scope}, so that hotrun may not read the app's memory"),
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

/// Yama's restriction of ptrace; `None`: the kernel does not have it.
fn ptrace_scope() -> Option<u32> {
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
    scope.ok()?.trim().parse().ok()
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_32_bit_program_is_known_by_its_header() {
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
