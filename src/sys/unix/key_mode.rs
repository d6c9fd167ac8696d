//! The mode of hotrun's own terminal in which single keys can be read: no line editing (ICANON) and no
//! echo (ECHO), but with the keys that are signals (ISIG), so that Ctrl-C, Ctrl-\ and Ctrl-Z mean what
//! they always mean. The raw mode of terminal libraries would turn those off.
//!
//! The settings as they were are kept in one place, so that every way out can restore them. A process in
//! the background neither sets nor reads: the terminal belongs to the shell then.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::termios::{
    LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr,
};
use nix::unistd::{getpgrp, read, tcgetpgrp};

struct KeyMode {
    /// The settings before the mode was entered.
    before: Option<Termios>,
    active: bool,
}

static MODE: Mutex<KeyMode> = Mutex::new(KeyMode {
    before: None,
    active: false,
});

fn mode() -> MutexGuard<'static, KeyMode> {
    MODE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Enters the mode if stdin is the terminal that this process controls and is in the foreground of.
/// Returns whether it is in the mode now.
pub fn take_keys() -> bool {
    let mut mode = mode();
    mode.active = in_foreground() && enter(&mut mode.before).is_ok();
    mode.active
}

fn enter(before: &mut Option<Termios>) -> io::Result<()> {
    let stdin = io::stdin();
    let now = tcgetattr(&stdin)?;
    let mut keys = now.clone();
    keys.local_flags
        .remove(LocalFlags::ICANON | LocalFlags::ECHO);
    // A read never waits.
    keys.control_chars[SpecialCharacterIndices::VMIN as usize] = 0;
    keys.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
    // What is still to be written is not waited for: output may be paused (Ctrl-S).
    tcsetattr(&stdin, SetArg::TCSANOW, &keys)?;
    before.get_or_insert(now);
    Ok(())
}

/// Leaves the mode: the terminal's settings are as they were. Returns whether it was in the mode.
pub fn restore_terminal() -> bool {
    let mut mode = mode();
    let was_active = std::mem::take(&mut mode.active);
    if let Some(before) = mode.before.take()
        && in_foreground()
    {
        tcsetattr(io::stdin(), SetArg::TCSANOW, &before).ok();
    }
    was_active
}

/// This process is in the mode.
pub fn has_keys() -> bool {
    mode().active
}

/// Reads what was typed, without waiting: nothing is 0.
pub fn read_keys(buffer: &mut [u8]) -> io::Result<usize> {
    let stdin = io::stdin();
    let mut asked = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    if !in_foreground() || poll(&mut asked, PollTimeout::ZERO)? == 0 {
        return Ok(0);
    }
    // If it is in the background by now, the read is an error and does not stop the process.
    let stops = SigSet::from_iter([Signal::SIGTTIN]);
    stops.thread_block()?;
    let count = read(&stdin, buffer);
    stops.thread_unblock()?;
    Ok(count?)
}

fn in_foreground() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp())
}

/// Another process group has this terminal, such as the shell's.
pub fn is_in_background_of(terminal: &impl AsFd) -> bool {
    tcgetpgrp(terminal).is_ok_and(|group| group != getpgrp())
}
