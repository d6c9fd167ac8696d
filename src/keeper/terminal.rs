//! A terminal of its own for what is kept: hotrun's side of a pty, as large as hotrun's own.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl, open as open_file};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::stat::Mode;
use nix::sys::termios::{LocalFlags, OutputFlags, SetArg, tcgetattr, tcsetattr};

use crate::sys;

/// The size where hotrun has no terminal: rows and columns.
const SIZE: (u16, u16) = (24, 80);

/// Hotrun's side. When the last copy is closed, the terminal hangs up.
#[derive(Debug)]
pub struct Terminal(OwnedFd);

impl Terminal {
    /// Makes it as large as hotrun's own; the child hears of it by SIGWINCH.
    pub fn resize(&self) {
        let size = sys::terminal_size().unwrap_or(SIZE);
        sys::set_terminal_size(self.0.as_fd(), size).ok();
    }

    pub(super) fn copy(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }
}

/// A new terminal: our side, and that of the child. It echoes nothing, since who types sees it
/// already, and leaves line ends as they are.
pub(super) fn open() -> io::Result<(Terminal, OwnedFd)> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let ours = posix_openpt(flags)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let theirs = open_file(ptsname_r(&ours)?.as_str(), flags, Mode::empty())?;
    let ours = Terminal(ours.into());
    fcntl(
        &ours.0,
        FcntlArg::F_SETFL(OFlag::O_NONBLOCK | OFlag::O_RDWR),
    )?;
    let mut settings = tcgetattr(&theirs)?;
    settings.local_flags.remove(LocalFlags::ECHO);
    settings.output_flags.remove(OutputFlags::ONLCR);
    tcsetattr(&theirs, SetArg::TCSANOW, &settings)?;
    ours.resize();
    Ok((ours, theirs))
}
