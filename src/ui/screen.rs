//! Where text goes: the bytes of one piece in one write, with the status line erased before them and drawn
//! below them, so that it neither flickers nor is torn. Knows no words.
//!
//! The cursor stays in the first column of the status line. What that line has become when the window was
//! made narrower, in terminals that wrap it then, is below the cursor and is erased with it.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::QueueableCommand;
use crossterm::cursor::{MoveTo, MoveToColumn};
use crossterm::terminal::{Clear, ClearType};

use crate::lines::Stream;
use crate::sys;
use crate::sys::files;

/// A status line is drawn, for what is written in spite of it: a panic.
static DRAWN: AtomicBool = AtomicBool::new(false);

/// Where stdout is, as seen from stderr, which has the status line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stdout {
    /// At the same place.
    Same,
    /// At a terminal, which may be the same in another way.
    Terminal,
    /// Elsewhere.
    Apart,
}

/// The terminal as it is now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Keys are read.
    pub(super) keys: bool,
}

impl Window {
    /// hotrun's own.
    pub(super) fn own() -> Self {
        let (rows, columns) = sys::terminal_size().unwrap_or((24, 80));
        Self {
            rows: rows.into(),
            columns: columns.into(),
            keys: sys::has_keys(),
        }
    }
}

/// hotrun's stdout and stderr.
#[derive(Debug)]
pub(super) struct Screen {
    out: File,
    err: File,
    stdout: Stdout,
    err_is_terminal: bool,
}

impl Screen {
    /// The one that hotrun was started at.
    pub(super) fn open() -> io::Result<Self> {
        let out = files::copy(&io::stdout())?;
        let err = files::copy(&io::stderr())?;
        let err_is_terminal = err.is_terminal();
        Ok(Self::of(out, err, err_is_terminal))
    }

    /// One of these.
    pub(super) fn of(out: File, err: File, err_is_terminal: bool) -> Self {
        let stdout = if files::is_same(&out, &err) {
            Stdout::Same
        } else if out.is_terminal() {
            Stdout::Terminal
        } else {
            Stdout::Apart
        };
        Self {
            out,
            err,
            stdout,
            err_is_terminal,
        }
    }

    /// A person reads this stream at a terminal.
    pub(super) fn is_terminal(&self, stream: Stream) -> bool {
        match (stream, self.stdout) {
            (Stream::Stderr, _) | (Stream::Stdout, Stdout::Same) => self.err_is_terminal,
            (Stream::Stdout, Stdout::Terminal) => true,
            (Stream::Stdout, Stdout::Apart) => false,
        }
    }

    /// What is written to this stream may be seen where the status line is.
    pub(super) fn shows(&self, stream: Stream) -> bool {
        stream == Stream::Stderr || self.stdout != Stdout::Apart
    }

    /// Another process group has the terminal: its prompt is no place for a status line.
    pub(super) fn is_in_background(&self) -> bool {
        sys::is_in_background_of(&self.err)
    }

    /// Writes bytes above the status line, which is then this one.
    pub(super) fn write(&mut self, stream: Stream, bytes: &[u8], status: Option<&str>) {
        let mut whole = Vec::with_capacity(bytes.len() + 512);
        let is_apart = match (stream, self.stdout) {
            (Stream::Stderr, _) | (Stream::Stdout, Stdout::Same) => false,
            (Stream::Stdout, Stdout::Apart) => {
                self.out.write_all(bytes).ok();
                return;
            }
            (Stream::Stdout, Stdout::Terminal) => true,
        };
        erase(&mut whole);
        if is_apart {
            self.err.write_all(&whole).ok();
            self.out.write_all(bytes).ok();
            whole.clear();
        } else {
            whole.extend(bytes);
        }
        draw(&mut whole, status);
        let target = match stream {
            Stream::Stdout if !is_apart => &mut self.out,
            _ => &mut self.err,
        };
        if !whole.is_empty() {
            target.write_all(&whole).ok();
        }
    }

    /// Draws this status line, or none.
    pub(super) fn redraw(&mut self, status: Option<&str>) {
        self.write(Stream::Stderr, b"", status);
    }

    /// Clears what is visible, and nothing else.
    pub(super) fn clear(&mut self, status: Option<&str>) {
        let mut clear = Vec::new();
        clear
            .queue(Clear(ClearType::All))
            .and_then(|to| to.queue(MoveTo(0, 0)))
            .ok();
        self.write(Stream::Stderr, &clear, status);
    }
}

fn erase(to: &mut Vec<u8>) {
    if DRAWN.swap(false, Ordering::Relaxed) {
        to.extend(erasure());
    }
}

fn erasure() -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes
        .queue(MoveToColumn(0))
        .and_then(|to| to.queue(Clear(ClearType::FromCursorDown)))
        .ok();
    bytes
}

fn draw(to: &mut Vec<u8>, status: Option<&str>) {
    if let Some(status) = status {
        to.extend(status.as_bytes());
        to.queue(MoveToColumn(0)).ok();
        DRAWN.store(true, Ordering::Relaxed);
    }
}

/// What has to be written before something that does not come through a [`Screen`].
pub(super) fn make_room() -> Vec<u8> {
    let mut bytes = Vec::new();
    erase(&mut bytes);
    bytes
}
