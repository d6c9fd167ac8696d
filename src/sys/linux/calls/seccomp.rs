//! Lets another process decide about system calls (`seccomp_unotify(2)`): the filter that a program is
//! started under, and the notification descriptor at which its calls are answered.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl;

/// Puts this thread, and every program that it executes or starts, under a filter, after
/// `PR_SET_NO_NEW_PRIVS`. Returns the notification descriptor.
///
/// Where the kernel can do that (5.19), a call that has been received is not interrupted by signals: a
/// storm of them would restart it for ever.
pub(in crate::sys) fn notify(program: &mut [libc::sock_filter]) -> io::Result<OwnedFd> {
    prctl::set_no_new_privs()?;
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_mut_ptr(),
    };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    match install(
        &program,
        flags | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
    ) {
        Err(Errno::EINVAL) => Ok(install(&program, flags)?),
        installed => Ok(installed?),
    }
}

/// Why the kernel refuses a filter, by the number of its error.
pub fn why_refused(code: i32) -> String {
    match code {
        libc::EBUSY => {
            "another program answers its system calls already, like an outer hotrun".into()
        }
        libc::EPERM | libc::EACCES => "a sandbox forbids it (seccomp)".into(),
        libc::EINVAL | libc::ENOSYS => "that needs Linux 5.9 or later".into(),
        _ => io::Error::from_raw_os_error(code).to_string(),
    }
}

fn install(program: &libc::sock_fprog, flags: libc::c_ulong) -> nix::Result<OwnedFd> {
    let set: libc::c_uint = libc::SECCOMP_SET_MODE_FILTER;
    let program: *const libc::sock_fprog = program;
    // SAFETY: the kernel copies the program, whose pointer and length are those of a slice that lives
    // through this call, and changes nothing of ours.
    let number = unsafe { libc::syscall(libc::SYS_seccomp, set, flags, program) };
    let number = Errno::result(number)?;
    // SAFETY: with this flag the answer is a descriptor, which was made for us.
    Ok(unsafe { OwnedFd::from_raw_fd(RawFd::try_from(number).unwrap_or_default()) })
}

/// A system call that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Notification {
    /// Identifies the call in its answer.
    pub(super) id: u64,
    /// The id of the calling thread, which is that of the process only in its first thread.
    pub(super) thread: i32,
    /// The number of the system call.
    pub(super) call: libc::c_long,
    pub(super) arguments: [u64; 6],
}

impl Notification {
    /// An `int` argument: the lower half of its register.
    pub(super) fn integer(&self, at: usize) -> i32 {
        let register = self.arguments.get(at).copied().unwrap_or_default();
        u32::try_from(register & u64::from(u32::MAX))
            .unwrap_or_default()
            .cast_signed()
    }

    /// An argument that is a pointer into the memory of the process.
    pub(super) fn pointer(&self, at: usize) -> u64 {
        self.arguments.get(at).copied().unwrap_or_default()
    }
}

mod ioctl {
    use nix::libc::{seccomp_notif, seccomp_notif_addfd, seccomp_notif_resp};

    const MAGIC: u8 = b'!';
    nix::ioctl_readwrite!(receive, MAGIC, 0, seccomp_notif);
    nix::ioctl_readwrite!(send, MAGIC, 1, seccomp_notif_resp);
    nix::ioctl_write_ptr!(is_valid, MAGIC, 2, u64);
    nix::ioctl_write_ptr!(add, MAGIC, 3, seccomp_notif_addfd);
}

/// Receives the next call; an error if its thread has gone.
pub(super) fn receive_notification(listener: BorrowedFd<'_>) -> io::Result<Notification> {
    let data = libc::seccomp_data {
        nr: 0,
        arch: 0,
        instruction_pointer: 0,
        args: [0; 6],
    };
    // The kernel requires zeros.
    let mut notification = libc::seccomp_notif {
        id: 0,
        pid: 0,
        flags: 0,
        data,
    };
    // SAFETY: the structure is the kernel's, and lives through this call.
    unsafe { ioctl::receive(listener.as_raw_fd(), &raw mut notification) }?;
    Ok(Notification {
        id: notification.id,
        thread: notification.pid.cast_signed(),
        call: notification.data.nr.into(),
        arguments: notification.data.args,
    })
}

/// The call still waits. If so, what was read from /proc for its thread id before was that thread's.
pub(super) fn still_waits(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: the kernel reads a number that lives through this call.
    unsafe { ioctl::is_valid(listener.as_raw_fd(), &raw const id) }.is_ok()
}

/// Lets the kernel execute the call.
pub(super) fn let_through(listener: BorrowedFd<'_>, id: u64) -> io::Result<()> {
    let flags = u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap_or_default();
    send(listener, id, 0, flags)
}

/// Answers the call, with success or this error.
pub(super) fn answer(
    listener: BorrowedFd<'_>,
    id: u64,
    answer: Result<(), Errno>,
) -> io::Result<()> {
    let error = answer.err().map_or(0, |error| -(error as i32));
    send(listener, id, error, 0)
}

fn send(listener: BorrowedFd<'_>, id: u64, error: i32, flags: u32) -> io::Result<()> {
    let mut response = libc::seccomp_notif_resp {
        id,
        val: 0,
        error,
        flags,
    };
    // SAFETY: the structure is the kernel's, and lives through this call.
    unsafe { ioctl::send(listener.as_raw_fd(), &raw mut response) }?;
    Ok(())
}

/// Puts a duplicate of `descriptor` under this number in the calling process.
pub(super) fn put(
    listener: BorrowedFd<'_>,
    id: u64,
    descriptor: &impl AsFd,
    number: i32,
    close_on_exec: bool,
) -> io::Result<()> {
    let flags = if close_on_exec { libc::O_CLOEXEC } else { 0 };
    let put = libc::seccomp_notif_addfd {
        id,
        flags: u32::try_from(libc::SECCOMP_ADDFD_FLAG_SETFD).unwrap_or_default(),
        srcfd: descriptor.as_fd().as_raw_fd().cast_unsigned(),
        newfd: number.cast_unsigned(),
        newfd_flags: flags.cast_unsigned(),
    };
    // SAFETY: the structure is the kernel's, and lives through this call.
    unsafe { ioctl::add(listener.as_raw_fd(), &raw const put) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read, Write};
    use std::net::TcpListener;

    use nix::sys::socket::{Backlog, listen};
    use nix::sys::wait::waitpid;
    use nix::unistd::{ForkResult, dup2_raw, fork};

    use super::*;
    use crate::sys::descriptors::{receive, send};
    use crate::sys::testing::emulation_lacks;

    /// A filter that notifies of `listen`.
    fn program() -> Vec<libc::sock_filter> {
        let step = |code, jf, k| libc::sock_filter { code, jt: 0, jf, k };
        let number = u32::try_from(libc::SYS_listen).unwrap();
        vec![
            step(0x20, 0, 0),
            step(0x15, 1, number),
            step(0x06, 0, libc::SECCOMP_RET_USER_NOTIF),
            step(0x06, 0, libc::SECCOMP_RET_ALLOW),
        ]
    }

    /// The descriptor under which the child calls `listen`.
    const NUMBER: i32 = 200;

    /// Starts a child that calls `listen` under the filter. Returns its notification descriptor, a pipe
    /// with the call's result and the inode then behind its descriptor, and its pid.
    fn child() -> (OwnedFd, PipeReader, nix::unistd::Pid) {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut program = program();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        // SAFETY: the child does nothing but these calls, and leaves by `_exit`.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => {
                drop((theirs, writer));
                let (_, mut received) = receive(ours.as_fd(), &mut [0; 1]).unwrap();
                (received.pop().unwrap(), reader, child)
            }
            ForkResult::Child => {
                // SAFETY: the child has nothing open under that number.
                let at = unsafe { dup2_raw(&socket, NUMBER) };
                let listener = notify(&mut program);
                if let (Ok(at), Ok(listener)) = (at, listener) {
                    send(theirs.as_fd(), &[0], &[listener.as_fd()]).ok();
                    drop(listener);
                    let result = listen(&at, Backlog::MAXCONN)
                        .err()
                        .map_or(0, |error| error as i32);
                    let inode = nix::sys::stat::fstat(&at).map_or(0, |found| found.st_ino);
                    writer.write_all(&result.to_ne_bytes()).ok();
                    writer.write_all(&inode.to_ne_bytes()).ok();
                }
                // SAFETY: ends the child at once.
                unsafe { libc::_exit(0) }
            }
        }
    }

    /// The call's result and the inode, after the call was answered so.
    fn answered(answer: impl FnOnce(BorrowedFd<'_>, u64)) -> (i32, u64) {
        let (listener, mut reader, child) = child();
        let notification = receive_notification(listener.as_fd()).unwrap();
        assert_eq!(notification.call, libc::SYS_listen);
        assert_eq!(notification.integer(0), NUMBER);
        assert_eq!(notification.thread, child.as_raw());
        assert!(still_waits(listener.as_fd(), notification.id));
        answer(listener.as_fd(), notification.id);
        assert!(!still_waits(listener.as_fd(), notification.id));
        let (mut result, mut inode) = ([0; 4], [0; 8]);
        reader.read_exact(&mut result).unwrap();
        reader.read_exact(&mut inode).unwrap();
        waitpid(child, None).unwrap();
        (i32::from_ne_bytes(result), u64::from_ne_bytes(inode))
    }

    #[test]
    fn a_call_gets_its_answer() {
        if emulation_lacks("seccomp") {
            return;
        }
        let through = answered(|listener, id| let_through(listener, id).unwrap());
        assert_eq!(through.0, 0);
        let refused =
            |listener: BorrowedFd<'_>, id| answer(listener, id, Err(Errno::EDOM)).unwrap();
        assert_eq!(answered(refused).0, libc::EDOM);
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = nix::sys::stat::fstat(&other).unwrap().st_ino;
        let given = answered(|listener, id| {
            put(listener, id, &other, NUMBER, true).unwrap();
            answer(listener, id, Ok(())).unwrap();
        });
        assert_eq!(given, (0, inode));
    }

    #[test]
    fn a_call_fails_when_the_descriptor_is_closed() {
        if emulation_lacks("seccomp") {
            return;
        }
        let (listener, mut reader, child) = child();
        drop(listener);
        let mut result = [0; 4];
        reader.read_exact(&mut result).unwrap();
        assert_eq!(i32::from_ne_bytes(result), libc::ENOSYS);
        waitpid(child, None).unwrap();
    }
}
