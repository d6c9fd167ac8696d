//! ioctls on terminals for which no safe crate has a function.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::libc;

/// This process has a controlling terminal.
pub fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}

/// Rows and columns of the terminal that is this process's stdin, stdout or stderr.
pub fn terminal_size() -> Option<(u16, u16)> {
    (0..3).find_map(size_at)
}

pub(in crate::sys) fn size_at(descriptor: RawFd) -> Option<(u16, u16)> {
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
pub(in crate::sys) fn set_terminal_size(
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
