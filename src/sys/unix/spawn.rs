//! The child of a keeper: the time between fork and exec.

use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::signal::SigSet;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, setsid};
use rustix::process::ioctl_tiocsctty;

use super::descriptors::{receive, send};

/// The first descriptor of socket activation (`SD_LISTEN_FDS_START` of `sd_listen_fds(3)`).
pub const FIRST_SOCKET: RawFd = 3;

/// The descriptors of a child.
#[derive(Debug)]
pub struct Descriptors {
    /// Its stdin; `None`: /dev/null.
    pub stdin: Option<OwnedFd>,
    /// Its stdout.
    pub stdout: OwnedFd,
    /// Its stderr.
    pub stderr: OwnedFd,
    /// Its descriptors from 3 up, in this order.
    pub sockets: Vec<OwnedFd>,
    /// Its stdout is a terminal that is to become its controlling one.
    pub at_terminal: bool,
}

/// A child that was started.
#[derive(Debug)]
pub struct Spawned {
    /// Its pid.
    pub pid: u32,
    /// The notification descriptor of its filter, or why it runs without one; `None` if no filter was
    /// asked for.
    pub listener: Option<io::Result<OwnedFd>>,
}

/// Puts this process under a filter of its system calls, as the last thing before it executes a program;
/// returns its notification descriptor.
pub(in crate::sys) type PutUnderFilter<'a> = &'a mut dyn FnMut() -> io::Result<OwnedFd>;

/// Starts `command` in a process group of its own (at a terminal in a session of its own), with these
/// descriptors and, where there are sockets, `LISTEN_PID` set to the child's own pid, as
/// `sd_listen_fds(3)` requires. No signal is blocked in it. If the kernel refuses the `filter`, it runs
/// without. Returns once the program has been executed, or the error.
///
/// Not `Command::spawn` with `pre_exec`: std sets a new environment after the hook, so the pid
/// could not be added, and its own error pipe may sit where a socket belongs. The calling process
/// must have one thread, since the child allocates between fork and exec.
pub(in crate::sys) fn spawn_activated(
    mut command: Command,
    descriptors: Descriptors,
    filter: Option<PutUnderFilter<'_>>,
) -> io::Result<Spawned> {
    let Descriptors {
        stdin,
        stdout,
        stderr,
        sockets,
        at_terminal,
    } = descriptors;
    let (mut reader, writer) = io::pipe()?;
    // Moved beyond the numbers of the sockets, so that placing those overwrites nothing.
    let free = FIRST_SOCKET + RawFd::try_from(sockets.len()).map_err(io::Error::other)?;
    let writer = move_from(writer.into(), free)?;
    let (listening, filtered) = UnixStream::pair()?;
    let filtered = move_from(filtered.into(), free)?;
    let stdout = move_from(stdout, free)?;
    let stderr = move_from(stderr, free)?;
    let sockets: Vec<OwnedFd> = sockets
        .into_iter()
        .map(|socket| move_from(socket, free))
        .collect::<io::Result<_>>()?;
    let stdin = stdin.map(|stdin| move_from(stdin, free)).transpose()?;
    let terminal = at_terminal
        .then(|| move_from(stdout.try_clone()?, free))
        .transpose()?;
    let is_filtered = filter.is_some();
    // The leader of a session leads its group already.
    if !at_terminal {
        command.process_group(0);
    }
    command
        .stdin(stdin.map_or_else(Stdio::null, Stdio::from))
        .stdout(stdout)
        .stderr(stderr);
    // SAFETY: the process has a single thread (documented above), so no lock can be held by another one
    // at the fork; the child leaves by exec or `_exit` and runs no destructor.
    match unsafe { fork() }? {
        ForkResult::Parent { child: pid } => {
            drop((writer, filtered));
            let mut code = [0; size_of::<i32>()];
            // The end of the pipe without a code: exec has closed it, so the program runs.
            if reader.read_exact(&mut code).is_err() {
                let listener = is_filtered.then(|| listener(&listening));
                let pid = pid.as_raw().unsigned_abs();
                return Ok(Spawned { pid, listener });
            }
            waitpid(pid, None)?;
            Err(io::Error::from_raw_os_error(i32::from_ne_bytes(code)))
        }
        ForkResult::Child => {
            let filter = filter.map(|filter| (filtered, filter));
            let error = become_activated(command, terminal.as_ref(), &sockets, filter);
            let code = error.raw_os_error().unwrap_or(libc::EINVAL);
            let _ = nix::unistd::write(&writer, &code.to_ne_bytes());
            // SAFETY: ends the child at once, without running what belongs to its parent.
            unsafe { libc::_exit(127) }
        }
    }
}

/// The child's half of [`spawn_activated`]: returns only with an error.
fn become_activated(
    mut command: Command,
    terminal: Option<&OwnedFd>,
    sockets: &[OwnedFd],
    filter: Option<(OwnedFd, PutUnderFilter<'_>)>,
) -> io::Error {
    if let Some(Err(error)) = terminal.map(|terminal| take_terminal(terminal.as_fd())) {
        return error;
    }
    for (target, socket) in (FIRST_SOCKET..).zip(sockets) {
        // SAFETY: every descriptor that this child still needs was moved beyond the targets; dup2 leaves
        // the copy open across exec.
        if unsafe { libc::dup2(socket.as_raw_fd(), target) } < 0 {
            return io::Error::last_os_error();
        }
    }
    // All are blocked in a keeper. Since 1.66, std passes the mask on unchanged.
    if let Err(error) = SigSet::empty().thread_set_mask() {
        return error.into();
    }
    if !sockets.is_empty() {
        command.env("LISTEN_PID", std::process::id().to_string());
    }
    // Last, so that no call of the child before exec needs an answer.
    if let Some((to, filter)) = filter {
        let listener = filter();
        hand_over(&to, listener.as_ref());
    }
    command.exec()
}

/// Sends the notification descriptor of this process's filter to the parent, or the errno.
fn hand_over(to: &OwnedFd, listener: Result<&OwnedFd, &io::Error>) {
    let code = listener.as_ref().err();
    let code = code.map_or(0, |error| error.raw_os_error().unwrap_or(libc::EINVAL));
    let descriptor = listener.ok().map(AsFd::as_fd);
    // Without the descriptor the parent can't answer any call, so the program must not run.
    if send(to.as_fd(), &code.to_ne_bytes(), descriptor.as_slice()).is_err() {
        // SAFETY: ends the child at once, without running what belongs to its parent.
        unsafe { libc::_exit(127) }
    }
}

/// Receives what [`hand_over`] sent.
fn listener(from: &UnixStream) -> io::Result<OwnedFd> {
    let mut code = [0; size_of::<i32>()];
    let (_, descriptors) = receive(from.as_fd(), &mut code)?;
    let code = io::Error::from_raw_os_error(i32::from_ne_bytes(code));
    descriptors.into_iter().next().ok_or(code)
}

/// Makes this process, which leads no group, the leader of a new session with this controlling terminal.
fn take_terminal(terminal: BorrowedFd<'_>) -> io::Result<()> {
    setsid()?;
    // Not to be stolen from another session.
    Ok(ioctl_tiocsctty(terminal)?)
}

/// Moves a descriptor to the lowest free number from `lowest` up, still close-on-exec.
fn move_from(descriptor: OwnedFd, lowest: RawFd) -> io::Result<OwnedFd> {
    let number = fcntl(&descriptor, FcntlArg::F_DUPFD_CLOEXEC(lowest))?;
    // Closed here: a second copy of the error pipe would keep its reader waiting for ever.
    drop(descriptor);
    // SAFETY: F_DUPFD_CLOEXEC has just made it, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{BufRead, BufReader};

    use nix::fcntl::{OFlag, open};
    use nix::pty::{grantpt, posix_openpt, unlockpt};
    use nix::sys::signal::Signal;
    use nix::sys::stat::Mode;
    use nix::sys::wait::WaitStatus;
    use rustix::pty::ptsname;

    use super::*;
    use crate::sys::children::pid_of;
    use crate::sys::signals::while_blocked;
    use crate::sys::terminal::{set_terminal_size, size_at};

    /// Starts a program with these sockets, waits for its end, and returns that with what it has written.
    fn run(command: Command, sockets: Vec<OwnedFd>) -> io::Result<(WaitStatus, String)> {
        let (mut reader, stdout) = io::pipe()?;
        let (_, stderr) = io::pipe()?;
        let descriptors = Descriptors {
            stdin: None,
            stdout: stdout.into(),
            stderr: stderr.into(),
            sockets,
            at_terminal: false,
        };
        let spawned = spawn_activated(command, descriptors, None)?;
        assert!(spawned.listener.is_none());
        let end = waitpid(pid_of(spawned.pid), None)?;
        let mut text = String::new();
        reader.read_to_string(&mut text)?;
        Ok((end, text))
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn sockets_start_at_three_and_the_pid_is_the_childs() {
        let (mut ours, theirs): (Vec<_>, Vec<_>) = [(); 2]
            .map(|()| UnixStream::pair().unwrap())
            .into_iter()
            .unzip();
        let script = shell("echo $LISTEN_PID $$; echo first >&3; echo second >&4");
        let theirs = theirs.into_iter().map(OwnedFd::from).collect();
        let (_, text) = run(script, theirs).unwrap();
        let (said, own) = text.trim_end().split_once(' ').unwrap();
        assert_eq!(said, own);
        let read = |socket: &mut UnixStream| {
            let mut text = String::new();
            socket.read_to_string(&mut text).unwrap();
            text
        };
        let written: Vec<String> = ours.iter_mut().map(read).collect();
        assert_eq!(written, ["first\n", "second\n"]);
    }

    #[test]
    fn no_signal_is_blocked_in_the_child() {
        let script = shell("kill -USR1 $$; echo lives");
        let (end, text) = while_blocked(|| run(script, Vec::new())).unwrap();
        assert_eq!(text, "");
        assert!(matches!(
            end,
            WaitStatus::Signaled(_, Signal::SIGUSR1, false)
        ));
    }

    #[test]
    fn a_missing_program_is_an_error_of_the_parent() {
        let program = Command::new("/no/such");
        let error = run(program, Vec::new()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    }

    #[test]
    fn a_child_has_the_terminal_and_leads_its_session() {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY;
        let ours = posix_openpt(flags).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs = open(name.as_c_str(), flags | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
        assert_eq!(size_at(theirs.as_raw_fd()), None);
        set_terminal_size(ours.as_fd(), (33, 101)).unwrap();
        assert_eq!(size_at(theirs.as_raw_fd()), Some((33, 101)));
        // Fields 5 to 8 of stat(5): group, session, terminal, and the group in its foreground.
        let leads = if cfg!(target_os = "linux") {
            "set -- $(cat /proc/$$/stat); [ \"$5\" = $$ ] && [ \"$6\" = $$ ] && [ \"$8\" = $$ ] && "
        } else {
            ""
        };
        let descriptors = Descriptors {
            stdin: Some(theirs.try_clone().unwrap()),
            stdout: theirs.try_clone().unwrap(),
            stderr: theirs,
            sockets: Vec::new(),
            at_terminal: true,
        };
        let script = shell(&format!("{leads}stty size </dev/tty"));
        let child = spawn_activated(script, descriptors, None).unwrap();
        let mut line = String::new();
        let mut reader = BufReader::new(File::from(OwnedFd::from(ours)));
        reader.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), "33 101");
        waitpid(pid_of(child.pid), None).unwrap();
    }
}
