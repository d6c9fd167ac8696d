//! The user's side: what is printed, and where, and what is typed.
//!
//! Events and the app's output become text, or JSON, on one thread of its own (`printer`), so that a
//! terminal that was paused never holds up a swap. The app's stdout goes to ours and its stderr to ours;
//! what hotrun itself says goes to stderr. With `--format json` everything is one object per line on
//! stdout. At a terminal, `status_line` stays at the bottom, `screen` writes around it, and [`keys`] are
//! read. Deliberately absent: any decision, and any words of events: `report` has them.

mod advice;
pub mod checkup;
pub mod command;
mod errors;
pub mod keys;
mod line_prefix;
pub mod log;
mod printer;
mod screen;
#[cfg(test)]
mod screens;
mod sd_notify;
mod status_line;
pub mod style;
pub mod verdict;
pub mod written;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::config::{Format, Settings};
use crate::defect;
use crate::exit::Failure;
use crate::report::Note;
use crate::session::action::View;
use crate::session::model::Moment;
use crate::session::status::Status;
use crate::sink::{Chunk, Sink};
use keys::Wish;
use log::Log;
use printer::Printer;

/// How long a word may take to get out when hotrun ends: a reader of the pipe may hang.
const FLUSH: Duration = Duration::from_secs(1);

enum Message {
    View(Moment, Box<View>),
    Note(Moment, Note),
    Chunk(Chunk),
    Flush(mpsc::SyncSender<()>),
    Pause(mpsc::SyncSender<()>, mpsc::Receiver<()>),
    ReopenLog,
    Adopt(Arc<Settings>, Option<Log>),
    Base(PathBuf),
    Prepared,
    Status(Box<Status>),
    Wish(Wish),
    Redraw,
}

/// The handle of the printing thread.
#[derive(Clone, Debug)]
pub struct Reporter {
    messages: mpsc::Sender<Message>,
    /// How often something was written.
    written: Arc<AtomicUsize>,
    /// A status was shown.
    shown: Arc<Notify>,
    clock: Clock,
}

impl Reporter {
    /// Starts printing.
    pub fn start(settings: &Settings, clock: Clock) -> Result<Self, Failure> {
        let output = &settings.output;
        let events = output.events.as_deref();
        // With `--format json` stdout has them already.
        let twice = |path: &&Path| output.format == Format::Json && *path == Path::new("-");
        let events = events.filter(|path| !twice(path));
        let events = events.map(open_events).transpose()?;
        let written = Arc::new(AtomicUsize::new(0));
        let mut printer = Printer::new(settings, events, written.clone())?;
        printer.greet();
        let (messages, inbox) = mpsc::channel();
        let step = move |printer: &mut Printer| {
            let message = match printer.patience() {
                Some(time) => inbox.recv_timeout(time),
                None => inbox.recv().map_err(RecvTimeoutError::from),
            };
            let message = match message {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => {
                    printer.show_late();
                    return ControlFlow::Continue(());
                }
                Err(RecvTimeoutError::Disconnected) => return ControlFlow::Break(()),
            };
            printer.take(message);
            ControlFlow::Continue(())
        };
        // A message is lost to a panic, which is told in another way.
        let run = move || defect::repeat("print", printer, step, |_| ());
        let failed = |error| Failure::failed(format!("cannot start a thread: {error}"));
        defect::spawn_thread("print", None, run).map_err(failed)?;
        Ok(Self {
            messages,
            written,
            shown: Arc::default(),
            clock,
        })
    }

    /// Prints a view of the session.
    pub fn view(&self, now: Moment, view: View) {
        self.messages.send(Message::View(now, Box::new(view))).ok();
    }

    /// Prints a note of this time.
    pub fn note(&self, now: Moment, note: Note) {
        self.messages.send(Message::Note(now, note)).ok();
    }

    /// Prints a note of what has happened just now. For tasks, which go on long after the action that has
    /// started them.
    pub fn tell(&self, note: Note) {
        self.note(self.clock.now(), note);
    }

    /// Shows at the bottom of a terminal what hotrun is doing from now on.
    pub fn status(&self, status: &Status) {
        let status = Box::new(status.clone());
        self.messages.send(Message::Status(status)).ok();
        self.shown.notify_one();
    }

    /// Waits until a status was shown. Safe to drop while it waits.
    async fn shown(&self) {
        self.shown.notified().await;
    }

    /// Does what a key asks for.
    fn wish(&self, wish: Wish) {
        self.messages.send(Message::Wish(wish)).ok();
    }

    /// Draws the status line again: the size of the terminal has changed.
    fn redraw(&self) {
        self.messages.send(Message::Redraw).ok();
    }

    /// Where the app's output goes; in order with everything else.
    pub fn sink(&self) -> Sink {
        let messages = self.messages.clone();
        Sink::new(move |chunk| {
            messages.send(Message::Chunk(chunk)).ok();
        })
    }

    /// Goes by these settings from now on, and writes what the app writes to this file, or to none.
    pub fn adopt(&self, settings: Arc<Settings>, log: Option<Log>) {
        self.messages.send(Message::Adopt(settings, log)).ok();
    }

    /// The paths of views start from this directory from now on.
    pub fn paths_from(&self, base: PathBuf) {
        self.messages.send(Message::Base(base)).ok();
    }

    /// Goes on in a log file of the same name: the old one was moved away.
    pub fn reopen_log(&self) {
        self.messages.send(Message::ReopenLog).ok();
    }

    /// Tells the service manager that all is set up: addresses are held and files are watched.
    pub fn prepared(&self) {
        self.messages.send(Message::Prepared).ok();
    }

    /// Waits until everything so far is out and the status line is erased, unless the output is not read;
    /// nothing more is printed until the result is dropped.
    pub fn pause(&self) -> Paused {
        let (done, out) = mpsc::sync_channel(1);
        let (paused, resumed) = mpsc::sync_channel(0);
        self.messages.send(Message::Pause(done, resumed)).ok();
        out.recv_timeout(FLUSH).ok();
        Paused(paused)
    }

    /// Waits until everything so far is out, unless the output is not read.
    pub fn flush(&self) {
        let (done, out) = mpsc::sync_channel(1);
        self.messages.send(Message::Flush(done)).ok();
        let mut before = None;
        while out.recv_timeout(FLUSH) == Err(RecvTimeoutError::Timeout) {
            // It may be much, and the machine busy.
            let now = Some(self.written.load(Ordering::Relaxed));
            if now == before {
                return;
            }
            before = now;
        }
    }
}

/// As long as this exists, nothing is printed.
#[derive(Debug)]
pub struct Paused(#[expect(dead_code, reason = "its end is the message")] mpsc::SyncSender<()>);

fn open_events(path: &Path) -> Result<Box<dyn Write + Send>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdout()));
    }
    match File::create(path) {
        Ok(file) => Ok(Box::new(BufWriter::new(file))),
        Err(error) => Err(Failure::usage(format!(
            "--events: cannot write `{}`: {error}",
            path.display()
        ))
        .hint("name a file in a directory that exists and is writable")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_note_of_a_task_has_the_time_at_which_it_is_told() {
        let (messages, inbox) = mpsc::channel();
        let clock = Clock::start();
        let reporter = Reporter {
            messages,
            written: Arc::default(),
            shown: Arc::default(),
            clock: clock.clone(),
        };
        let task = reporter.clone();
        let unread = move || task.tell(Note::Warning("of a task".into()));
        tokio::time::advance(Duration::from_mins(1)).await;
        // hotrun was stopped.
        clock.skip(Duration::from_secs(50));
        reporter.note(clock.now(), Note::Warning("of an action".into()));
        tokio::time::advance(Duration::from_secs(1)).await;
        unread();
        let times = inbox.try_iter().map(|message| match message {
            Message::Note(now, _) => now,
            _ => Moment::MAX,
        });
        assert_eq!(times.collect::<Vec<_>>(), [10, 11].map(Duration::from_secs));
    }
}
