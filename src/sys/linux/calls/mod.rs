//! System calls of the app that hotrun answers: what waits for its answer, what it asks for, and what is
//! seen of the program that has made it. See `seccomp_unotify(2)`.

mod filter;
mod program;
pub(in crate::sys) mod seccomp;
mod sockaddr;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::Socket;

pub use filter::{FilterStep, filter};
pub use program::{Program, ProgramSocket, may_copy};
pub use seccomp::why_refused;
use seccomp::{Notification, answer, let_through, put, receive_notification, still_waits};
pub use sockaddr::{Bound, Protocol, read};

use crate::sys::Handle;

/// The longest `sockaddr` that the kernel accepts of an internet socket, in bytes (`sockaddr_storage`).
const LONGEST_ADDRESS: usize = 128;

/// The calls of one tree of processes: the notification descriptor of their filter. Once it is closed,
/// each later call fails.
#[derive(Debug)]
pub struct Calls(Handle);

/// A call that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    id: u64,
    /// The program that has made it.
    pub program: Program,
    /// Its first argument: the program's descriptor of the socket, where it is about one.
    pub number: i32,
    /// What it asks for.
    pub what: What,
}

/// What a call asks for.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// To bind a socket to the address in these bytes.
    Bind(ProgramBytes),
    /// To listen.
    Listen,
    /// To remove a file.
    Remove {
        /// The program's descriptor of the directory that a relative path starts from, if it is not the working
        /// directory.
        dir: Option<i32>,
        /// Where the path is.
        path: u64,
    },
    /// Something else.
    Other,
}

/// Bytes in a program's memory.
#[derive(Clone, Copy, Debug)]
pub struct ProgramBytes {
    at: u64,
    length: i32,
}

/// What has ended a wait for the next call.
#[derive(Clone, Copy, Debug)]
pub enum Next {
    /// A call.
    Call(Call),
    /// Nothing: the time is over.
    Idle,
    /// No process is left that could make one.
    Over,
}

impl Calls {
    /// The calls at this notification descriptor.
    pub fn at(handle: Handle) -> Self {
        Self(handle)
    }

    /// Waits for the next call.
    pub fn next(&self, within: Option<Duration>) -> Next {
        let within = within.and_then(|within| PollTimeout::try_from(within).ok());
        loop {
            let mut source = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            match poll(&mut source, within.unwrap_or(PollTimeout::NONE)) {
                Err(Errno::EINTR) => continue,
                Err(_) => return Next::Over,
                Ok(_) => {}
            }
            let ready = source[0].revents().unwrap_or(PollFlags::empty());
            if ready.contains(PollFlags::POLLIN) {
                // An error: its thread has gone.
                if let Ok(notification) = receive_notification(self.0.as_fd()) {
                    return Next::Call(Call::of(&notification));
                }
            } else if !ready.is_empty() {
                return Next::Over;
            } else {
                return Next::Idle;
            }
        }
    }

    /// The call still waits. If so, what was read of its program before was that program's.
    pub fn still_waits(&self, call: &Call) -> bool {
        still_waits(self.0.as_fd(), call.id)
    }

    /// Lets the kernel execute the call.
    pub fn let_through(&self, call: &Call) -> io::Result<()> {
        let_through(self.0.as_fd(), call.id)
    }

    /// Answers the call with success, and does not execute it.
    pub fn succeed(&self, call: &Call) -> io::Result<()> {
        answer(self.0.as_fd(), call.id, Ok(()))
    }

    /// Answers the call with this error, and does not execute it.
    pub fn fail(&self, call: &Call, error: &io::Error) -> io::Result<()> {
        let error = error.raw_os_error();
        let error = error.map_or(Errno::EADDRINUSE, Errno::from_raw);
        answer(self.0.as_fd(), call.id, Err(error))
    }

    /// Puts a duplicate of a socket over the program's own.
    pub fn put(&self, call: &Call, socket: &Socket, close_on_exec: bool) -> io::Result<()> {
        put(self.0.as_fd(), call.id, socket, call.number, close_on_exec)
    }
}

impl Call {
    fn of(notification: &Notification) -> Self {
        let (integer, pointer) = (|at| notification.integer(at), |at| notification.pointer(at));
        let what = match notification.call {
            libc::SYS_bind => What::Bind(ProgramBytes {
                at: pointer(1),
                length: integer(2),
            }),
            libc::SYS_listen => What::Listen,
            #[cfg(target_arch = "x86_64")]
            libc::SYS_unlink => What::Remove {
                dir: None,
                path: pointer(0),
            },
            libc::SYS_unlinkat if integer(2) & libc::AT_REMOVEDIR == 0 => What::Remove {
                dir: Some(integer(0)).filter(|dir| *dir != libc::AT_FDCWD),
                path: pointer(1),
            },
            _ => What::Other,
        };
        Self {
            id: notification.id,
            program: Program::of(notification.thread),
            number: integer(0),
            what,
        }
    }
}

impl ProgramBytes {
    /// As many of them as can make an address of this protocol; `None`: the kernel refuses that many.
    pub fn of_address(self, protocol: Protocol) -> Option<Self> {
        let length = usize::try_from(self.length).ok()?;
        let longest = match protocol {
            Protocol::Unix => sockaddr::LONGEST,
            _ => LONGEST_ADDRESS,
        };
        (length <= longest).then(|| Self {
            at: self.at,
            length: self
                .length
                .min(i32::try_from(sockaddr::LONGEST).unwrap_or_default()),
        })
    }

    /// How many there are.
    pub fn count(self) -> usize {
        usize::try_from(self.length).unwrap_or_default()
    }
}

/// Puts this thread under the filter, which nothing can take off again; whether that is possible.
pub fn is_filtered(filter: &[FilterStep]) -> bool {
    seccomp::notify(&mut kernel_filter(filter)).is_ok()
}

/// The filter, as the kernel has it.
pub(in crate::sys) fn kernel_filter(filter: &[FilterStep]) -> Vec<libc::sock_filter> {
    let steps = filter.iter();
    let steps = steps.map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k });
    steps.collect()
}

/// The file of a program shows that it is of another architecture than this machine's native one, so that
/// its system calls have other numbers.
pub fn is_of_other_architecture(program: &Path) -> bool {
    let mut head = [0; 5];
    let read = File::open(program).and_then(|mut file| file.read_exact(&mut head));
    // A 32-bit ELF.
    read.is_ok() && head == *b"\x7fELF\x01"
}

/// Yama's restriction of ptrace; `None`: the kernel does not have it.
pub fn ptrace_scope() -> Option<u32> {
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
    scope.ok()?.trim().parse().ok()
}

/// The default of `IPV6_V6ONLY` (`net.ipv6.bindv6only`).
pub fn only_v6_by_default() -> bool {
    let set = std::fs::read_to_string("/proc/sys/net/ipv6/bindv6only");
    set.is_ok_and(|set| set.trim() == "1")
}

#[cfg(any(test, fuzzing))]
pub(crate) mod hostile_tests {
    use super::*;
    use crate::hostile::Target;

    pub(crate) use super::sockaddr::hostile_tests::any_bytes_are_an_address_or_none;

    const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp4, Protocol::Udp6, Protocol::Unix];

    /// A call as it is in the bytes: its kind, three arguments, and the memory that one of them points into.
    fn call(bytes: &[u8]) -> Option<(Call, &[u8])> {
        let (kind, rest) = bytes.split_first()?;
        let (head, memory) = rest.split_first_chunk::<24>()?;
        let mut arguments = [0; 6];
        for (argument, bytes) in arguments.iter_mut().zip(head.as_chunks().0) {
            *argument = u64::from_ne_bytes(*bytes);
        }
        let call = [libc::SYS_bind, libc::SYS_listen, libc::SYS_unlinkat];
        let call = call.get(usize::from(*kind)).copied();
        let pointed = usize::try_from(arguments[1]).unwrap();
        arguments[1] = (memory.as_ptr() as u64).wrapping_add(arguments[1]);
        let notification = Notification {
            id: 0,
            thread: std::process::id().cast_signed(),
            call: call.unwrap_or(i64::from(*kind)),
            arguments,
        };
        Some((Call::of(&notification), memory.get(pointed..)?))
    }

    /// What a program can pass; its memory is that of this process.
    pub(crate) fn any_arguments_of_a_call_are_read() -> Target {
        let numbers = |all: [i64; 3]| all.map(i64::to_ne_bytes).concat();
        let call_of = |kind: u8, arguments, memory: &[u8]| {
            [&[kind][..], &numbers(arguments), memory].concat()
        };
        let address =
            sockaddr::hostile_tests::bytes(libc::AF_INET, b"\x0b\xb8\x7f\0\0\x01\0\0\0\0\0\0\0\0");
        let corpus = [
            call_of(0, [0, 0, 16], &address),
            call_of(0, [1, 4, 110], b"skip\x01\0/tmp/a.sock\0"),
            call_of(0, [1, 1, -1], b""),
            call_of(1, [0, 0, 128], b""),
            call_of(2, [libc::AT_FDCWD.into(), 0, 0], b"/tmp/a.sock\0"),
            call_of(2, [0, 2, libc::AT_REMOVEDIR.into()], b"./a\0"),
        ];
        let corpus: Vec<&[u8]> = corpus.iter().map(Vec::as_slice).collect();
        Target::bytes(&corpus, 20, |input| {
            let Some((call, memory)) = call(input) else {
                return;
            };
            let program = call.program;
            match call.what {
                What::Bind(bytes) => {
                    let few = PROTOCOLS.map(|protocol| (protocol, bytes.of_address(protocol)));
                    for (protocol, few) in few {
                        let Some(few) = few else { continue };
                        assert!(few.count() <= sockaddr::LONGEST);
                        let found = program.bytes(few).unwrap_or_default();
                        assert!(found.len() <= few.count());
                        // What is behind the input is somebody else's.
                        let count = found.len().min(memory.len());
                        assert_eq!(found[..count], memory[..count]);
                        read(protocol, &found);
                    }
                }
                What::Remove { dir, path } => {
                    let path = program.text(path).unwrap_or_default();
                    assert!(path.len() < usize::try_from(libc::PATH_MAX).unwrap());
                    let end = memory.iter().position(|byte| *byte == 0);
                    if let Some(end) = end
                        && !path.is_empty()
                    {
                        assert_eq!(path.as_encoded_bytes(), &memory[..end]);
                    }
                    program.dir(dir);
                }
                What::Listen | What::Other => drop(program.socket(call.number)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_32_bit_program_is_known_by_its_header() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app");
        for (head, expected) in [
            (&b"\x7fELF\x01\x01"[..], true),
            (b"\x7fELF\x02\x01", false),
            (b"#!/bin/sh", false),
            (b"", false),
        ] {
            std::fs::write(&path, head).unwrap();
            assert_eq!(is_of_other_architecture(&path), expected);
        }
    }
}
