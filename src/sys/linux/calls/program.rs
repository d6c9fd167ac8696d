//! What /proc shows of a program that is blocked in a call: the sockets behind its descriptors, and the
//! memory that its arguments point at. /proc has a directory for each thread, also for those that are
//! not the first of their process.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::libc;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use socket2::Socket;

use super::ProgramBytes;
use super::sockaddr::Protocol;

pub use crate::sys::facts::ProgramSocket;

/// The program, by the id of the blocked thread.
#[derive(Clone, Copy, Debug)]
pub struct Program(i32);

/// Whether hotrun can duplicate descriptors of other processes, so that the options of an app's socket
/// are carried over. Containers deny it.
pub fn may_copy() -> bool {
    let copy = |own: File| Program(std::process::id().cast_signed()).duplicate(own.as_raw_fd());
    File::open("/proc/self/status").is_ok_and(|own| copy(own).is_some())
}

/// Whether the kernel lists this as a unix stream socket.
fn is_unix_stream(inode: u64) -> bool {
    let all = procfs::net::unix().into_iter().flatten();
    let mut own = all.filter(|entry| entry.inode == inode);
    own.any(|entry| i32::from(entry.socket_type) == libc::SOCK_STREAM)
}

impl Program {
    /// By the id of a process or thread.
    pub fn of(thread: i32) -> Self {
        Self(thread)
    }

    fn path(self, rest: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{rest}", self.0))
    }

    fn fd(self, number: i32) -> PathBuf {
        self.path(&format!("fd/{number}"))
    }

    /// The process of the thread.
    pub fn process(self) -> Option<i32> {
        let status = fs::read_to_string(self.path("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
        line.trim().parse().ok()
    }

    /// The same; the thread where that has ended.
    pub fn process_or_thread(self) -> i32 {
        self.process().unwrap_or(self.0)
    }

    /// Its descriptors and its memory can be read.
    pub fn is_readable(self) -> bool {
        File::open(self.path("mem")).is_ok() && fs::read_dir(self.path("fd")).is_ok()
    }

    /// The inode behind a descriptor.
    pub fn inode(self, number: i32) -> Option<u64> {
        fs::metadata(self.fd(number)).ok().map(|found| found.ino())
    }

    /// It is in the same namespace of this kind as hotrun.
    fn shares_namespace(self, kind: &str) -> bool {
        let ours = fs::read_link(format!("/proc/self/ns/{kind}"));
        let its = fs::read_link(self.path(&format!("ns/{kind}")));
        ours.is_ok_and(|ours| its.is_ok_and(|its| ours == its))
    }

    /// The socket behind a descriptor. `None`: it is no socket, or of a kind that is never held, or in
    /// another network namespace.
    pub fn socket(self, number: i32) -> Option<ProgramSocket> {
        let path = self.fd(number);
        let mut name = [0; 32];
        let length = rustix::fs::getxattr(&path, "system.sockprotoname", &mut name[..]).ok()?;
        let info = fs::read_to_string(self.path(&format!("fdinfo/{number}"))).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        let flags = i32::from_str_radix(flags.trim(), 8).ok()?;
        if !self.shares_namespace("net") {
            return None;
        }
        let inode = self.inode(number)?;
        let name = name.get(..length)?;
        let is_stream = || Protocol::is_some_unix(name) && is_unix_stream(inode);
        let protocol = Protocol::named(name).or_else(|| is_stream().then_some(Protocol::Unix))?;
        Some(ProgramSocket {
            inode,
            protocol,
            nonblocking: flags & libc::O_NONBLOCK != 0,
            close_on_exec: flags & libc::O_CLOEXEC != 0,
        })
    }

    /// A duplicate of the program's socket, where that is allowed.
    pub fn copy(self, number: i32) -> Option<Socket> {
        self.duplicate(number).map(Socket::from)
    }

    fn duplicate(self, number: i32) -> Option<OwnedFd> {
        // `pidfd_open` takes a process id, and `self` may be another thread's.
        let process = pidfd_open(Pid::from_raw(self.process()?)?, PidfdFlags::empty()).ok()?;
        pidfd_getfd(process, number, PidfdGetfdFlags::empty()).ok()
    }

    /// These bytes; fewer, where the mapping ends.
    pub fn bytes(self, bytes: ProgramBytes) -> Option<Vec<u8>> {
        self.memory(bytes.at, bytes.count())
    }

    /// The bytes at this address of its memory; fewer, where its mapping ends.
    fn memory(self, at: u64, length: usize) -> Option<Vec<u8>> {
        let memory = File::open(self.path("mem")).ok()?;
        let mut bytes = vec![0; length];
        let read = memory.read_at(&mut bytes, at).ok()?;
        bytes.truncate(read);
        Some(bytes)
    }

    /// The path at this address of its memory.
    pub fn text(self, at: u64) -> Option<OsString> {
        let longest = usize::try_from(libc::PATH_MAX).ok()?;
        let mut bytes = self.memory(at, longest)?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        bytes.truncate(end);
        Some(OsString::from_vec(bytes))
    }

    /// The directory that its relative paths start from: this descriptor, or its working directory.
    /// `None` also where it has another root directory or mount namespace than hotrun.
    pub fn dir(self, number: Option<i32>) -> Option<PathBuf> {
        if fs::read_link(self.path("root")).ok()? != Path::new("/") || !self.shares_namespace("mnt")
        {
            return None;
        }
        let dir = number.map_or_else(|| self.path("cwd"), |number| self.fd(number));
        fs::read_link(dir).ok()
    }
}
