//! ioctls on terminals for which no safe crate has a function.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::libc;
use nix::unistd::setsid;

/// This process has a controlling terminal.
pub fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}

/// Rows and columns of the terminal that is this process's stdin, stdout or stderr.
pub fn terminal_size() -> Option<(u16, u16)> {
    (0..3).find_map(size_of)
}

fn size_of(descriptor: RawFd) -> Option<(u16, u16)> {
    let mut size = winsize(0, 0);
    // SAFETY: the request writes one winsize, which lives through the call; a number that is no
    // terminal, or not open, is an error.
    let done = unsafe { libc::ioctl(descriptor, libc::TIOCGWINSZ, &raw mut size) } == 0;
    // A terminal whose size was never set reports zeros.
    (done && size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

fn winsize(rows: u16, columns: u16) -> libc::winsize {
    libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// Sets the size of a terminal: rows and columns.
pub(super) fn set_terminal_size(
    terminal: BorrowedFd<'_>,
    (rows, columns): (u16, u16),
) -> io::Result<()> {
    let size = winsize(rows, columns);
    // SAFETY: the request reads one winsize, which lives through the call.
    if unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Makes this process, which leads no group, the leader of a new session with this controlling terminal.
pub(in crate::sys) fn take_terminal(terminal: BorrowedFd<'_>) -> io::Result<()> {
    setsid()?;
    // SAFETY: the request takes a number; zero means not to steal the terminal from another session.
    if unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{BufRead, BufReader};
    use std::os::fd::{AsFd, OwnedFd};
    use std::process::Command;

    use nix::fcntl::{OFlag, open};
    use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
    use nix::sys::signal::SigSet;
    use nix::sys::stat::Mode;
    use nix::sys::wait::waitpid;

    use super::*;
    use crate::sys::linux::spawn::{Descriptors, spawn_activated};

    #[test]
    fn a_child_has_the_terminal_and_leads_its_session() {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let ours = posix_openpt(flags).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let theirs = open(ptsname_r(&ours).unwrap().as_str(), flags, Mode::empty()).unwrap();
        assert_eq!(size_of(theirs.as_raw_fd()), None);
        set_terminal_size(ours.as_fd(), (33, 101)).unwrap();
        assert_eq!(size_of(theirs.as_raw_fd()), Some((33, 101)));
        let mut command = Command::new("/bin/sh");
        // Fields 5 to 8 of stat(5): group, session, terminal, and the group in its foreground.
        let script = "set -- $(cat /proc/$$/stat); [ \"$5\" = $$ ] && [ \"$6\" = $$ ] && \
                      [ \"$8\" = $$ ] && stty size </dev/tty";
        command.args(["-c", script]);
        let descriptors = Descriptors {
            stdin: Some(theirs.try_clone().unwrap()),
            stdout: theirs.try_clone().unwrap(),
            stderr: theirs,
            sockets: Vec::new(),
            at_terminal: true,
        };
        let child = spawn_activated(command, descriptors, &SigSet::empty(), &mut []).unwrap();
        let mut line = String::new();
        let mut reader = BufReader::new(File::from(OwnedFd::from(ours)));
        reader.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), "33 101");
        waitpid(nix::unistd::Pid::from_raw(child.pid.cast_signed()), None).unwrap();
    }
}
