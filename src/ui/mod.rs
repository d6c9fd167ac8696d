//! What is printed, and where: events and the app's output become text, or JSON, on one thread of
//! its own, so that a terminal that was paused never holds up a swap.
//!
//! The app's stdout goes to ours and its stderr to ours; what hotrun itself says goes to stderr.
//! With `--format json` everything is one object per line on stdout. Deliberately absent: any
//! decision, and any words: `report` has them.

mod advice;
pub mod checkup;
pub mod command;
pub mod log;
mod sd_notify;
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
use std::time::{Duration, Instant};

use crossterm::QueueableCommand;
use crossterm::cursor::MoveToColumn;
use crossterm::terminal::{Clear, ClearType};

use crate::config::{Format, Settings, Verbosity};
use crate::defect::{self, point};
use crate::exit::Failure;
use crate::lines::Stream;
use crate::report::Note;
use crate::report::Record;
use crate::report::context::Context;
use crate::report::event::Event;
use crate::report::late::Late;
use crate::report::markers::Markers;
use crate::report::text::{self, Level, Text};
use crate::report::values::Severity;
use crate::session::action::View;
use crate::session::model::{Generation, Moment};
use crate::sink::{Backlog, Chunk, Sink};
use log::Log;
use sd_notify::ServiceManager;
use style::Style;

/// How long a word may take to get out when hotrun ends: a reader of the pipe may hang.
const FLUSH: Duration = Duration::from_secs(1);

/// So much is written at once.
const PIECE: usize = 16 * 1024;

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
}

/// The handle of the printing thread.
#[derive(Clone, Debug)]
pub struct Reporter {
    messages: mpsc::Sender<Message>,
    /// How often something was written.
    written: Arc<AtomicUsize>,
}

impl Reporter {
    /// Starts printing.
    pub fn start(settings: &Settings) -> Result<Self, Failure> {
        let output = &settings.output;
        let events = output.events.as_deref();
        // With `--format json` stdout has them already.
        let twice = |path: &&Path| output.format == Format::Json && *path == Path::new("-");
        let events = events.filter(|path| !twice(path));
        let events = events.map(open_events).transpose()?;
        let written = Arc::new(AtomicUsize::new(0));
        let mut context = Context {
            once: settings.once,
            pid: std::process::id(),
            ..Context::default()
        };
        context.adopt(settings);
        let mut printer = Printer {
            written: written.clone(),
            format: output.format,
            verbosity: output.verbosity,
            style: Style {
                color: output.color,
            },
            context,
            events,
            errors: Vec::new(),
            late: Late::default(),
            heard: None,
            markers: Markers::default(),
            live: false,
            unfinished: None,
            status: None,
            drawn: false,
            now: Moment::ZERO,
            log: output.log.as_deref().map(Log::open).transpose()?,
            manager: output.supervisor.as_deref().and_then(ServiceManager::at),
        };
        if printer.format == Format::Terminal {
            // A large project takes a moment, in which a person would see nothing.
            let text = concat!(env!("CARGO_PKG_VERSION"), ", reading the project");
            printer.say(Level::Info, text);
        }
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
            let is_counted = matches!(message, Message::View(..) | Message::Note(..));
            let _counted = is_counted.then(Printed::default);
            printer.take(message);
            ControlFlow::Continue(())
        };
        // A message is lost to a panic, which is told in another way.
        let run = move || defect::repeat("print", printer, step, |_| ());
        let failed = |error| Failure::failed(format!("cannot start a thread: {error}"));
        defect::spawn_thread("print", None, run).map_err(failed)?;
        Ok(Self { messages, written })
    }

    /// Prints a view of the session.
    pub fn view(&self, now: Moment, view: View) {
        Backlog::own().add();
        self.messages.send(Message::View(now, Box::new(view))).ok();
    }

    /// Prints a note.
    pub fn note(&self, now: Moment, note: Note) {
        Backlog::own().add();
        self.messages.send(Message::Note(now, note)).ok();
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

/// Counts a line as printed when it is dropped, after a panic too.
#[derive(Default)]
struct Printed;

impl Drop for Printed {
    fn drop(&mut self) {
        Backlog::own().printed();
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

#[expect(
    clippy::disallowed_methods,
    reason = "says when a line is due, not what happens"
)]
fn moment() -> Instant {
    Instant::now()
}

struct Printer {
    written: Arc<AtomicUsize>,
    format: Format,
    verbosity: Verbosity,
    style: Style,
    context: Context,
    events: Option<Box<dyn Write + Send>>,
    /// Errors of the running build, printed last so that they are in view.
    errors: Vec<String>,
    late: Late,
    /// When the last event was taken in, whose time is `now`.
    heard: Option<Instant>,
    markers: Markers,
    /// The app serves, and that is all that is wanted (`--once`).
    live: bool,
    /// The generation and stream whose last line has no end yet.
    unfinished: Option<(Generation, Stream)>,
    /// The line at the bottom of a terminal.
    status: Option<String>,
    /// It is there now.
    drawn: bool,
    log: Option<Log>,
    manager: Option<ServiceManager>,
    /// The time of the last view.
    now: Moment,
}

impl Printer {
    fn take(&mut self, message: Message) {
        self.written.fetch_add(1, Ordering::Relaxed);
        point("print");
        match message {
            Message::View(now, view) => {
                let is_elsewhere = self.format != Format::Json && self.context.is_elsewhere();
                let from_here = is_elsewhere.then(|| view.clone());
                let from_here = from_here.and_then(|view| self.context.of_view_from_here(*view));
                if let Some(event) = self.context.of_view(*view) {
                    self.tell(now, event, from_here.as_ref());
                }
            }
            Message::Note(now, note) => {
                let event = self.context.of_note(note);
                self.tell(now, event, None);
            }
            Message::Chunk(chunk) => {
                self.log(|log| log.lines(&chunk.bytes));
                self.output(&chunk);
            }
            Message::ReopenLog => self.log(Log::reopen),
            Message::Adopt(settings, log) => {
                self.context.adopt(&settings);
                self.log = log;
            }
            Message::Base(base) => self.context.base = base,
            Message::Prepared => {
                if let Some(manager) = &self.manager {
                    manager.ready();
                }
            }
            Message::Pause(done, resumed) => {
                self.erase_status();
                self.finish_line();
                done.send(()).ok();
                resumed.recv().ok();
                self.draw_status();
            }
            Message::Flush(done) => {
                if let Some(event) = self.late.rest() {
                    self.say_of(&event);
                }
                self.erase_status();
                self.finish_line();
                done.send(()).ok();
            }
        }
    }

    /// How long to wait for the next message, if a line is due by the time.
    fn patience(&self) -> Option<Duration> {
        let due = self.late.next()?.saturating_sub(self.now);
        let passed = self.heard.map(|heard| heard.elapsed());
        Some(due.saturating_sub(passed.unwrap_or_default()))
    }

    /// Says what is due by the time.
    fn show_late(&mut self) {
        let passed = self.heard.map(|heard| heard.elapsed());
        for event in self.late.due(self.now + passed.unwrap_or_default()) {
            self.say_of(&event);
        }
    }

    /// Tells an event everywhere where it is to be heard; `from_here`: as the user is to read it.
    fn tell(&mut self, now: Moment, event: Event, from_here: Option<&Event>) {
        self.now = now;
        self.heard = Some(moment());
        let record = Record::at(now, event);
        self.record(&record);
        let event = &record.event;
        self.log(|log| log.mark(event));
        if let Some(manager) = &mut self.manager {
            manager.tell(event);
        }
        if self.format != Format::Json {
            self.show(from_here.unwrap_or(event));
        }
    }

    /// Writes an event where `--events` says and, with `--format json`, to stdout.
    fn record(&mut self, record: &Record) {
        let Ok(line) = record.line() else {
            return;
        };
        if let Some(events) = &mut self.events {
            writeln!(events, "{line}")
                .and_then(|()| events.flush())
                .ok();
        }
        if self.format == Format::Json {
            writeln!(io::stdout().lock(), "{line}").ok();
        }
    }

    /// Does something to the log file; what is wrong with that is said.
    fn log(&mut self, act: impl FnOnce(&mut Log) -> Option<String>) {
        if let Some(problem) = self.log.as_mut().and_then(act) {
            let now = self.now;
            self.take(Message::Note(now, Note::Warning(problem)));
        }
    }

    fn output(&mut self, chunk: &Chunk) {
        if self.format == Format::Json {
            for line in Record::output(chunk).filter_map(|record| record.line().ok()) {
                writeln!(io::stdout().lock(), "{line}").ok();
                self.written.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        self.above_status(|printer| {
            if printer.unfinished != Some((chunk.generation, chunk.stream)) {
                printer.finish_line();
            }
            for bytes in chunk.bytes.chunks(PIECE) {
                match chunk.stream {
                    Stream::Stdout => {
                        let mut out = io::stdout().lock();
                        out.write_all(bytes).and_then(|()| out.flush()).ok();
                    }
                    Stream::Stderr => {
                        io::stderr().lock().write_all(bytes).ok();
                    }
                }
                printer.written.fetch_add(1, Ordering::Relaxed);
            }
            let ends = chunk.bytes.ends_with(b"\n");
            printer.unfinished = (!ends).then_some((chunk.generation, chunk.stream));
        });
    }

    /// A line of ours must not continue a line of the app.
    fn finish_line(&mut self) {
        if self.unfinished.take().is_some() {
            writeln!(io::stderr().lock()).ok();
        }
    }

    fn show(&mut self, event: &Event) {
        self.update_status(event);
        self.pass_on(event);
        if let Some(marker) = self.markers.of(event)
            && self.format == Format::Plain
        {
            self.raw(&marker);
        }
        for event in self.late.take(self.now, event) {
            self.say_of(&event);
        }
        let is_live = matches!(event, Event::Live { .. }) && self.context.once;
        self.live |= is_live;
        // With `held` it was taken for a program that listens on nothing.
        if self.live && (is_live || matches!(event, Event::Held { .. })) {
            self.print_addresses();
        }
    }

    /// The line for an event, if it has one.
    fn say_of(&mut self, event: &Event) {
        if let Some(Text { level, text }) = text::of(event) {
            self.say(level, &text);
        }
    }

    /// What `--once` is asked for.
    fn print_addresses(&mut self) {
        self.finish_line();
        for address in &self.context.addresses {
            writeln!(io::stdout().lock(), "{address}").ok();
        }
    }

    /// What cargo and the compiler say is printed as it is, the errors last.
    fn pass_on(&mut self, event: &Event) {
        match event {
            Event::Command { .. } | Event::Cancelled { .. } => self.errors.clear(),
            Event::Cargo {
                generation: None,
                line,
            } => self.raw(line),
            Event::Cargo { line, .. } => {
                let plain = style::strip(line);
                let wanted = self.format == Format::Plain || self.verbosity == Verbosity::Verbose;
                if wanted || !text::is_cargo_status(&plain) {
                    // What cargo says at last sums up the errors.
                    if plain.starts_with("error") {
                        self.flush_errors();
                    }
                    self.raw(line);
                }
            }
            Event::Diagnostic {
                level: Severity::Error,
                rendered,
                ..
            } => self.errors.push(rendered.clone()),
            Event::Diagnostic { rendered, .. } => self.raw(rendered),
            // A bell rings, and is no line.
            Event::JobOutput { line } if text::is_bell(line) => {
                write!(io::stderr().lock(), "{line}").ok();
            }
            Event::BuildEnded { .. } | Event::BuildFailed { .. } | Event::Quitting { .. } => {
                self.flush_errors();
            }
            _ => {}
        }
    }

    fn flush_errors(&mut self) {
        for error in std::mem::take(&mut self.errors) {
            self.raw(&error);
        }
    }

    /// A line of hotrun's own.
    fn say(&mut self, level: Level, text: &str) {
        let least = match level {
            Level::Detail => Verbosity::Verbose,
            Level::Info => Verbosity::Normal,
            Level::Good | Level::Warn | Level::Bad => Verbosity::Quiet,
        };
        if self.verbosity >= least {
            let name = self.style.paint(level, "hotrun:");
            self.raw(&format!("{name} {text}"));
        }
    }

    /// Text as it is, with a line end if it has none.
    fn raw(&mut self, text: &str) {
        self.above_status(|printer| {
            printer.finish_line();
            let mut stderr = io::stderr().lock();
            let end = if text.ends_with('\n') { "" } else { "\n" };
            write!(stderr, "{text}{end}").ok();
        });
    }

    // ---- the line at the bottom of a terminal

    fn update_status(&mut self, event: &Event) {
        if self.format != Format::Terminal {
            return;
        }
        let status = match event {
            Event::Building { generation, .. } => Some(format!("building {generation}")),
            Event::Progress {
                generation,
                done,
                total,
            } => Some(format!("building {generation}: {done}/{total}")),
            Event::Blocked { on: Some(_), .. } => Some("waiting for another cargo".into()),
            Event::Starting { generation, .. } => Some(format!("starting {generation}")),
            Event::Job { occasion, .. } if occasion.is_waited_for() => {
                Some(format!("{occasion} runs"))
            }
            // What is told meanwhile.
            Event::Blocked {
                generation: Some(_),
                ..
            }
            | Event::Session { .. }
            | Event::Held { .. }
            | Event::Warning { .. }
            | Event::Cargo { .. }
            | Event::Command { .. }
            | Event::Diagnostic { .. }
            | Event::BuildEnded { .. }
            | Event::JobOutput { .. }
            | Event::Started { .. }
            | Event::Draining { .. } => return,
            _ => None,
        };
        self.erase_status();
        self.status = status;
        self.draw_status();
    }

    fn above_status(&mut self, write: impl FnOnce(&mut Self)) {
        self.erase_status();
        write(self);
        self.draw_status();
    }

    fn erase_status(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let mut stderr = io::stderr().lock();
            stderr
                .queue(MoveToColumn(0))
                .and_then(|stderr| stderr.queue(Clear(ClearType::CurrentLine)))
                .and_then(std::io::Write::flush)
                .ok();
        }
    }

    fn draw_status(&mut self) {
        // The app may be asking there, and the user about to type.
        let wanted = self.status.as_ref().filter(|_| self.unfinished.is_none());
        self.drawn = wanted.is_some();
        if let Some(status) = wanted {
            // One that wraps could not be erased.
            let width = crossterm::terminal::size().map_or(80, |(width, _)| usize::from(width));
            let text: String = format!("hotrun: {status}…")
                .chars()
                .take(width.saturating_sub(1))
                .collect();
            let mut stderr = io::stderr().lock();
            write!(stderr, "{}", self.style.dim(&text))
                .and_then(|()| stderr.flush())
                .ok();
        }
    }
}
