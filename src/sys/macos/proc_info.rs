//! What the kernel tells of a process, see `libproc.h` and `sys/proc_info.h`. Of another user's process it
//! tells next to nothing, except to root.

use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::getsid;

use crate::sys::children::pid_of;
use crate::sys::xnu::process_tree::{KERNEL, Listed};
use crate::sys::xnu::sockets::SocketInfo;
use crate::sys::xnu::{files, kqueue, sockets};

/// `PROC_ALL_PIDS`.
const ALL: u32 = 1;

/// `SZOMB` of `sys/proc.h`: the process has exited and was not reaped.
const ZOMBIE: u32 = 5;

/// Also of a process that has exited and was not reaped.
const ALSO_ZOMBIES: u64 = 1;

/// Requests of `proc_pidfdinfo` (`PROC_PIDFD…INFO`).
const FILE: libc::c_int = 2;
const SOCKET: libc::c_int = 3;
/// `PROC_PIDFDKQUEUE_EXTINFO` of `sys/proc_info_private.h`.
const KQUEUE: libc::c_int = 9;

/// Kinds of descriptors (`PROX_FDTYPE_…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Socket,
    Kqueue,
    Other,
}

/// A descriptor of a process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Descriptor {
    pub(super) number: RawFd,
    pub(super) kind: Kind,
}

fn number(pid: u32) -> libc::c_int {
    pid.cast_signed()
}

/// Reads a list of which the length is not known, of structures of `N` bytes: `ask` writes no more than so
/// many bytes, and says how many it has written.
fn list<const N: usize>(
    mut ask: impl FnMut(*mut libc::c_void, libc::c_int) -> libc::c_int,
) -> io::Result<Vec<[u8; N]>> {
    let mut room = 256;
    loop {
        let mut items = vec![[0; N]; room];
        let size = libc::c_int::try_from(room * N).map_err(io::Error::other)?;
        // Without it, an empty list can't be told from an error.
        Errno::clear();
        let written = ask(items.as_mut_ptr().cast(), size);
        // A list that fills the room may be cut off.
        if written == size {
            room *= 2;
            continue;
        }
        match Errno::last_raw() {
            0 => {}
            _ if written > 0 => {}
            error => return Err(io::Error::from_raw_os_error(error)),
        }
        items.truncate(usize::try_from(written).unwrap_or_default() / N);
        return Ok(items);
    }
}

/// The pids of all processes, also of those that have exited and were not reaped; without the kernel's, which
/// is zero and means the caller to getsid(2) and kill(2).
pub(super) fn pids() -> Vec<u32> {
    let pids = list::<4>(|at, size| {
        // SAFETY: the kernel writes no more than `size` bytes, which are there.
        unsafe { libc::proc_listpids(ALL, 0, at, size) }
    });
    let pids = pids.unwrap_or_default().into_iter();
    pids.map(u32::from_ne_bytes)
        .filter(|pid| *pid != KERNEL)
        .collect()
}

/// The descriptors of a process.
pub(super) fn descriptors(pid: u32) -> io::Result<Vec<Descriptor>> {
    let all = list(|at, size| {
        // SAFETY: the kernel writes no more than `size` bytes, which are there.
        unsafe { libc::proc_pidinfo(number(pid), libc::PROC_PIDLISTFDS, 0, at, size) }
    })?;
    // `struct proc_fdinfo`: the number, and the kind.
    let descriptor = |[a, b, c, d, kind @ ..]: [u8; 8]| Descriptor {
        number: RawFd::from_ne_bytes([a, b, c, d]),
        kind: match libc::c_int::from_ne_bytes(kind) {
            libc::PROX_FDTYPE_VNODE => Kind::File,
            libc::PROX_FDTYPE_SOCKET => Kind::Socket,
            libc::PROX_FDTYPE_KQUEUE => Kind::Kqueue,
            _ => Kind::Other,
        },
    };
    Ok(all.into_iter().map(descriptor).collect())
}

/// One structure about a process.
///
/// # Safety
///
/// `T` is the structure of this request, and has numbers only.
unsafe fn about<T>(pid: u32, request: libc::c_int, argument: u64) -> Option<T> {
    let mut found = MaybeUninit::<T>::zeroed();
    let size = libc::c_int::try_from(size_of::<T>()).ok()?;
    let at = found.as_mut_ptr().cast();
    // SAFETY: the kernel writes no more than `size` bytes, which are there.
    let written = unsafe { libc::proc_pidinfo(number(pid), request, argument, at, size) };
    // SAFETY: it has written the whole of it, and any bytes are a number.
    (written == size).then(|| unsafe { found.assume_init() })
}

/// The process's state; `None`: it is gone, or another user's.
pub(super) fn process(pid: u32) -> Option<libc::proc_bsdinfo> {
    // SAFETY: the structure is that of the request (`sys/proc_info.h`).
    unsafe { about(pid, libc::PROC_PIDTBSDINFO, ALSO_ZOMBIES) }
}

/// How many threads of a process are running.
pub(super) fn running_threads(pid: u32) -> i32 {
    // SAFETY: the structure is that of the request.
    let task: Option<libc::proc_taskinfo> = unsafe { about(pid, libc::PROC_PIDTASKINFO, 0) };
    task.map_or(0, |task| task.pti_numrunning)
}

/// The working directory of a process.
pub(super) fn dir(pid: u32) -> Option<PathBuf> {
    // SAFETY: the structure is that of the request.
    let paths: Option<libc::proc_vnodepathinfo> =
        unsafe { about(pid, libc::PROC_PIDVNODEPATHINFO, 0) };
    let path: Vec<u8> = paths?
        .pvi_cdir
        .vip_path
        .concat()
        .into_iter()
        .map(byte)
        .collect();
    let end = path.iter().position(|byte| *byte == 0)?;
    (end > 0).then(|| OsStr::from_bytes(&path[..end]).into())
}

/// A `char` of C.
pub(super) fn byte(char: libc::c_char) -> u8 {
    char.to_ne_bytes()[0]
}

/// The path of the file that a process runs.
pub(super) fn executable(pid: u32) -> Option<PathBuf> {
    let size = usize::try_from(libc::PROC_PIDPATHINFO_MAXSIZE).ok()?;
    let mut path = vec![0; size];
    let at = path.as_mut_ptr().cast();
    // SAFETY: the call writes no more than `size` bytes, which are there.
    let length = unsafe { libc::proc_pidpath(number(pid), at, u32::try_from(size).ok()?) };
    path.truncate(usize::try_from(length).ok()?);
    (!path.is_empty()).then(|| OsString::from_vec(path).into())
}

/// What is told of any user's process; `None`: it is gone.
fn short(pid: u32) -> Option<libc::proc_bsdshortinfo> {
    // SAFETY: the structure is that of the request.
    unsafe { about(pid, libc::PROC_PIDT_SHORTBSDINFO, ALSO_ZOMBIES) }
}

/// The process was not reaped yet.
pub(super) fn exists(pid: u32) -> bool {
    short(pid).is_some()
}

/// The process has not exited.
pub(super) fn runs(pid: u32) -> bool {
    short(pid).is_some_and(|process| process.pbsi_status != ZOMBIE)
}

/// All processes, by what says which of them belong together. Also told of those of other users.
pub(super) fn listed() -> Vec<Listed> {
    let listed = |pid| {
        let short = short(pid)?;
        Some(Listed {
            pid,
            parent: short.pbsi_ppid,
            group: short.pbsi_pgid,
            session: session(pid).unwrap_or_default(),
        })
    };
    pids().into_iter().filter_map(listed).collect()
}

/// The session of a process; `None`: it has exited.
pub(super) fn session(pid: u32) -> Option<u32> {
    let session = getsid(Some(pid_of(pid))).ok()?;
    Some(session.as_raw().unsigned_abs())
}

/// The structure of what a process has open under a number, of `length` bytes.
fn about_descriptor(
    pid: u32,
    open: RawFd,
    request: libc::c_int,
    length: usize,
) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let size = libc::c_int::try_from(length).map_err(io::Error::other)?;
    let at = bytes.as_mut_ptr().cast();
    // SAFETY: the kernel writes no more than `size` bytes, which are there.
    let written = unsafe { libc::proc_pidfdinfo(number(pid), open, request, at, size) };
    match written {
        _ if written == size => Ok(bytes),
        1.. => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A socket of a process; an error if it was closed.
pub(super) fn socket(pid: u32, open: RawFd) -> io::Result<SocketInfo> {
    let bytes = about_descriptor(pid, open, SOCKET, sockets::LENGTH)?;
    SocketInfo::read(&bytes).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// The sockets of a process; none if it has exited, or is another user's.
pub(super) fn sockets(pid: u32) -> impl Iterator<Item = SocketInfo> + use<> {
    let open = descriptors(pid).unwrap_or_default().into_iter();
    let open = open.filter(|open| open.kind == Kind::Socket);
    open.filter_map(move |open| socket(pid, open.number).ok())
}

/// A file of a process: its path, and whether it is open for writing. `None`: it is no file, or was closed.
pub(super) fn open_file(pid: u32, open: RawFd) -> Option<(PathBuf, bool)> {
    let bytes = about_descriptor(pid, open, FILE, files::LENGTH).ok()?;
    let file = files::open_file(&bytes)?;
    Some((OsStr::from_bytes(file.path).into(), file.is_written))
}

/// The files of a process.
pub(super) fn open_files(pid: u32) -> impl Iterator<Item = (PathBuf, bool)> + use<> {
    let open = descriptors(pid).unwrap_or_default().into_iter();
    let open = open.filter(|open| open.kind == Kind::File);
    open.filter_map(move |open| open_file(pid, open.number))
}

/// The descriptors that a kqueue of a process watches for something to read; `None`: the kernel does not
/// tell.
pub(super) fn watched(pid: u32, open: RawFd) -> Option<Vec<RawFd>> {
    let mut room = 64;
    loop {
        let mut bytes = vec![0; room * kqueue::LENGTH];
        let size = libc::c_int::try_from(bytes.len()).ok()?;
        let at = bytes.as_mut_ptr().cast();
        // SAFETY: the kernel writes no more than `size` bytes, which are there.
        let count = unsafe { libc::proc_pidfdinfo(number(pid), open, KQUEUE, at, size) };
        // Not how many it has written, but how many there are. None may be an error too.
        let count = usize::try_from(count).ok().filter(|count| *count > 0)?;
        if count > room {
            room = count * 2;
            continue;
        }
        bytes.truncate(count * kqueue::LENGTH);
        return Some(kqueue::watched(&bytes).collect());
    }
}

/// The number by which the kernel knows a socket, in all processes: a hash of its address. Its inode is zero.
pub(in crate::sys) fn socket_id(socket: &impl AsFd) -> io::Result<u64> {
    let open = socket.as_fd().as_raw_fd();
    self::socket(std::process::id(), open).map(|found| found.id)
}
