//! Consoles.

use std::convert::Infallible;
use std::io;
use std::os::windows::io::RawHandle;

use windows_sys::Win32::System::Console::{CONSOLE_SCREEN_BUFFER_INFO, GetConsoleScreenBufferInfo};

use super::handles::{Handle, own_stdio};
use super::pipes::{Receiver, Sender};

/// This process has a console.
pub fn has_terminal() -> bool {
    std::fs::File::open("CONIN$").is_ok()
}

/// Rows and columns of the console that is this process's stdout or stderr.
pub fn terminal_size() -> Option<(u16, u16)> {
    own_stdio().into_iter().find_map(size_at)
}

fn size_at(output: RawHandle) -> Option<(u16, u16)> {
    let mut info = CONSOLE_SCREEN_BUFFER_INFO::default();
    // SAFETY: what is no console is an error; the call writes one structure.
    if unsafe { GetConsoleScreenBufferInfo(output, &raw mut info) } == 0 {
        return None;
    }
    let window = info.srWindow;
    let length = |from: i16, to: i16| {
        u16::try_from(to - from + 1)
            .ok()
            .filter(|length| *length > 0)
    };
    Some((
        length(window.Top, window.Bottom)?,
        length(window.Left, window.Right)?,
    ))
}

/// A terminal of the app's own: there is none, see [`open_terminal`].
#[derive(Debug)]
pub struct Terminal(Infallible);

impl Terminal {
    /// Gives it the size of hotrun's console.
    pub fn resize(&self) {
        match self.0 {}
    }

    /// What is written at its other side.
    pub fn output(&self) -> io::Result<Receiver> {
        match self.0 {}
    }

    /// What is typed at it.
    pub fn input(&self) -> io::Result<Sender> {
        match self.0 {}
    }
}

/// An error: pseudo consoles are not supported yet.
pub fn open_terminal() -> io::Result<(Terminal, Handle)> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "a terminal of the app's own is not supported on Windows",
    ))
}
