//! A terminal of the app's own: hotrun's side of a pty, with the size of hotrun's terminal.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl, open as open_file};
use nix::pty::{grantpt, posix_openpt, unlockpt};
use nix::sys::stat::Mode;
use nix::sys::termios::{LocalFlags, OutputFlags, SetArg, tcgetattr, tcsetattr};
use rustix::pty::ptsname;

use crate::sys::pipes::{Receiver, Sender};
use crate::sys::terminal::set_terminal_size;
use crate::sys::{PTY, close_on_exec, terminal_size};

/// The size if hotrun has no terminal: rows and columns.
const SIZE: (u16, u16) = (24, 80);

/// The controlling side. When its last copy is closed, the terminal hangs up.
#[derive(Debug)]
pub struct Terminal(OwnedFd);

impl Terminal {
    /// Gives it the size of hotrun's terminal; the child gets SIGWINCH.
    pub fn resize(&self) {
        let size = terminal_size().unwrap_or(SIZE);
        set_terminal_size(self.0.as_fd(), size).ok();
    }

    /// What is written at its other side.
    pub fn output(&self) -> io::Result<Receiver> {
        Receiver::from_owned_fd_unchecked(self.0.try_clone()?)
    }

    /// What is typed at it.
    pub fn input(&self) -> io::Result<Sender> {
        Sender::from_owned_fd_unchecked(self.0.try_clone()?)
    }
}

/// Opens a terminal: hotrun's side, and the child's. It does not echo, since hotrun's own terminal has
/// echoed what is typed, and leaves newlines as they are.
pub fn open_terminal() -> io::Result<(Terminal, OwnedFd)> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY;
    let ours = posix_openpt(flags | PTY)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let ours = Terminal(close_on_exec(ours.into())?);
    let name = ptsname(&ours.0, Vec::new())?;
    let theirs = open_file(name.as_c_str(), flags | OFlag::O_CLOEXEC, Mode::empty())?;
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
