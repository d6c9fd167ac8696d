//! System calls of the app that hotrun answers: none where a system has nothing for it (`ABLE.capture`). No
//! call is ever received, so what would be asked of one has no value.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::Socket;

use crate::sys::Handle;

pub use crate::sys::facts::{Bound, ProgramSocket, Protocol};

/// One instruction of a filter: code, both jumps, constant.
pub type FilterStep = (u16, u8, u8, u32);

/// `None`: there is no filter of system calls.
pub fn filter(_paths: bool) -> Option<Vec<FilterStep>> {
    None
}

/// `false`: likewise.
pub fn is_filtered(_filter: &[FilterStep]) -> bool {
    false
}

/// Why there is none.
pub fn why_refused(_code: i32) -> String {
    "this system has nothing for it".into()
}

/// `false`: programs of other architectures are started as others are.
pub fn is_of_other_architecture(_program: &Path) -> bool {
    false
}

/// `None`: only Linux has it.
pub fn ptrace_scope() -> Option<u32> {
    None
}

/// An IPv6 socket gets no IPv4 clients unless its program asks for them; elsewhere it gets them unless its
/// program asks for none (`net.inet6.ip6.v6only`).
pub fn only_v6_by_default() -> bool {
    cfg!(windows)
}

/// `false`: no descriptor of another process is duplicated.
pub fn may_copy() -> bool {
    false
}

/// The calls of one tree of processes: none.
#[derive(Debug)]
pub struct Calls(());

/// A call that waits for its answer; there is none.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    never: Infallible,
    /// The program that has made it.
    pub program: Program,
    /// Its first argument.
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
        /// The program's descriptor of the directory that a relative path starts from, if it is not the
        /// working directory.
        dir: Option<i32>,
        /// Where the path is.
        path: u64,
    },
    /// Something else.
    Other,
}

/// Bytes in a program's memory; there are none.
#[derive(Clone, Copy, Debug)]
pub struct ProgramBytes(Infallible);

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
    /// Those at this handle: none.
    pub fn at(_handle: Handle) -> Self {
        Self(())
    }

    /// There is no next call.
    pub fn next(&self, _within: Option<Duration>) -> Next {
        Next::Over
    }

    /// The call still waits.
    pub fn still_waits(&self, call: &Call) -> bool {
        match call.never {}
    }

    /// Lets the system execute the call.
    pub fn let_through(&self, call: &Call) -> io::Result<()> {
        match call.never {}
    }

    /// Answers the call with success.
    pub fn succeed(&self, call: &Call) -> io::Result<()> {
        match call.never {}
    }

    /// Answers the call with this error.
    pub fn fail(&self, call: &Call, _error: &io::Error) -> io::Result<()> {
        match call.never {}
    }

    /// Puts a duplicate of a socket over the program's own.
    pub fn put(&self, call: &Call, _socket: &Socket, _close_on_exec: bool) -> io::Result<()> {
        match call.never {}
    }
}

impl ProgramBytes {
    /// As many of them as can make an address of this protocol.
    pub fn of_address(self, _protocol: Protocol) -> Option<Self> {
        match self.0 {}
    }

    /// How many there are.
    pub fn count(self) -> usize {
        match self.0 {}
    }
}

/// A program, of which nothing can be read.
#[derive(Clone, Copy, Debug)]
pub struct Program(i32);

impl Program {
    /// By the id of a process or thread.
    pub fn of(thread: i32) -> Self {
        Self(thread)
    }

    /// `None`.
    pub fn process(self) -> Option<i32> {
        None
    }

    /// The thread.
    pub fn process_or_thread(self) -> i32 {
        self.0
    }

    /// `false`.
    pub fn is_readable(self) -> bool {
        false
    }

    /// `None`.
    pub fn inode(self, _number: i32) -> Option<u64> {
        None
    }

    /// `None`.
    pub fn socket(self, _number: i32) -> Option<ProgramSocket> {
        None
    }

    /// `None`.
    pub fn copy(self, _number: i32) -> Option<Socket> {
        None
    }

    /// Bytes of its memory.
    pub fn bytes(self, bytes: ProgramBytes) -> Option<Vec<u8>> {
        match bytes.0 {}
    }

    /// `None`.
    pub fn text(self, _at: u64) -> Option<OsString> {
        None
    }

    /// `None`.
    pub fn dir(self, _number: Option<i32>) -> Option<PathBuf> {
        None
    }
}

/// Reads an address: `None`, since no program's is read.
pub fn read(_protocol: Protocol, _bytes: &[u8]) -> Option<Bound> {
    None
}
