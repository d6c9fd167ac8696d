//! What is printed, and where: views and the app's output become text, or JSON, on one thread of
//! its own, so that a terminal that was paused never holds up a swap.
//!
//! The app's stdout goes to ours and its stderr to ours; what hotrun itself says goes to stderr.
//! With `--format json` everything is one object per line on stdout. Deliberately absent: any
//! decision.

pub mod checkup;
pub mod command;
mod hints;
pub mod json;
pub mod log;
pub mod style;
mod supervisor;
pub mod text;
pub mod verdict;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crossterm::QueueableCommand;
use crossterm::cursor::MoveToColumn;
use crossterm::terminal::{Clear, ClearType};
use serde_json::Value;

use crate::config::{Format, Settings, Verbosity};
use crate::defect::{caught, point};
use crate::exit::Failure;
use crate::lines::Stream;
use crate::session::action::View;
use crate::session::event::BuildNews;
use crate::session::model::{Exit, Generation, Moment};
use crate::sink::{Backlog, Chunk, Sink};
use log::Log;
use style::Style;
use supervisor::Supervisor;
use text::{Context, Level, Text};

/// How long a word may take to get out when hotrun ends: nobody may read it.
const FLUSH: Duration = Duration::from_secs(1);

/// So much is written at once.
const PIECE: usize = 16 * 1024;

/// Something about the whole run, before or beside the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// What is run: the target and the workspace.
    Session {
        /// The package.
        package: String,
        /// The binary or example.
        target: String,
        /// The root of the workspace.
        workspace: String,
        /// The file that the binary or example begins in.
        source: String,
    },
    /// What is held.
    Held(Vec<HeldAddress>),
    /// A line of cargo outside a build.
    Cargo(String),
    /// Something that is not as it should be, with the next step.
    Warning(String),
}

/// A held address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldAddress {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// As one declares it.
    pub address: String,
    /// Old and new version have a socket each.
    pub twins: bool,
}

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
            running: false,
            live: false,
            unfinished: None,
            status: None,
            drawn: false,
            now: Moment::ZERO,
            log: output.log.as_deref().map(Log::open).transpose()?,
            supervisor: output.supervisor.as_deref().and_then(Supervisor::at),
        };
        let (messages, inbox) = mpsc::channel();
        let run = move || {
            for message in inbox {
                // What is said of it is not said by the same way.
                let is_counted = matches!(message, Message::View(..) | Message::Note(..));
                caught(|| printer.take(message)).ok();
                if is_counted {
                    Backlog::own().printed();
                }
            }
        };
        let failed = |error| Failure::failed(format!("cannot start a thread: {error}"));
        thread::Builder::new()
            .name("print".into())
            .spawn(run)
            .map_err(failed)?;
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

    /// Goes on in a log file of the same name: somebody moved the old one away.
    pub fn reopen_log(&self) {
        self.messages.send(Message::ReopenLog).ok();
    }

    /// Tells the service manager that all is set up: addresses are held and files are watched.
    pub fn prepared(&self) {
        self.messages.send(Message::Prepared).ok();
    }

    /// Waits until everything so far is out and the status line is erased, unless nobody takes it;
    /// nothing more is printed until the result is dropped.
    pub fn pause(&self) -> Paused {
        let (done, out) = mpsc::sync_channel(1);
        let (paused, resumed) = mpsc::sync_channel(0);
        self.messages.send(Message::Pause(done, resumed)).ok();
        out.recv_timeout(FLUSH).ok();
        Paused(paused)
    }

    /// Waits until everything so far is out, unless nobody takes it.
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

struct Printer {
    written: Arc<AtomicUsize>,
    format: Format,
    verbosity: Verbosity,
    style: Style,
    context: Context,
    events: Option<Box<dyn Write + Send>>,
    /// Errors of the running build, printed last so that they are in view.
    errors: Vec<String>,
    /// A build is announced and its end is not.
    running: bool,
    /// The app serves, and that is all that is wanted (`--once`).
    live: bool,
    /// Who has begun a line that has no end yet.
    unfinished: Option<(Generation, Stream)>,
    /// The line at the bottom of a terminal.
    status: Option<String>,
    /// It is there now.
    drawn: bool,
    log: Option<Log>,
    supervisor: Option<Supervisor>,
    /// The time of the last view.
    now: Moment,
}

impl Printer {
    fn take(&mut self, message: Message) {
        self.written.fetch_add(1, Ordering::Relaxed);
        point("print");
        match message {
            Message::View(now, view) => {
                self.now = now;
                self.record(&json::view(now, &view));
                self.log(|log| log.mark(&view));
                if let Some(supervisor) = &mut self.supervisor {
                    supervisor.tell(&view, &self.context);
                }
                if self.format != Format::Json {
                    self.show(*view);
                }
            }
            Message::Note(now, note) => {
                self.record(&json::note(now, &note));
                if self.format != Format::Json {
                    self.note(note);
                }
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
                if let Some(supervisor) = &self.supervisor {
                    supervisor.ready();
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
                self.erase_status();
                self.finish_line();
                done.send(()).ok();
            }
        }
    }

    /// Writes an event where `--events` says and, with `--format json`, to stdout.
    fn record(&mut self, event: &Value) {
        if let Some(events) = &mut self.events {
            writeln!(events, "{event}")
                .and_then(|()| events.flush())
                .ok();
        }
        if self.format == Format::Json {
            writeln!(io::stdout().lock(), "{event}").ok();
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
            for event in json::output(chunk) {
                writeln!(io::stdout().lock(), "{event}").ok();
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

    /// A line of ours must not continue somebody else's last one.
    fn finish_line(&mut self) {
        if self.unfinished.take().is_some() {
            writeln!(io::stderr().lock()).ok();
        }
    }

    fn note(&mut self, note: Note) {
        match note {
            Note::Session {
                package,
                target,
                workspace,
                ..
            } => {
                let name = if package == target {
                    package
                } else {
                    format!("{package}/{target}")
                };
                self.say(Level::Info, &format!("{name} in {workspace}"));
            }
            Note::Held(held) => {
                let shown: Vec<String> = held
                    .iter()
                    .map(|held| match &held.name {
                        Some(name) => format!("{} ({name})", held.address),
                        None => held.address.clone(),
                    })
                    .collect();
                self.context.addresses = held.into_iter().map(|held| held.address).collect();
                let shown = match shown.as_slice() {
                    [] => "no address is held any more".to_owned(),
                    _ => format!("holding {}", shown.join(", ")),
                };
                self.say(Level::Info, &shown);
                // It was taken for a program that listens on nothing.
                if self.live {
                    self.print_addresses();
                }
            }
            Note::Cargo(line) => self.raw(&line),
            Note::Warning(text) => self.say(Level::Warn, &text),
        }
    }

    fn show(&mut self, view: View) {
        self.update_status(&view);
        if let View::Build(_, news) = view {
            self.build(news);
            return;
        }
        match view {
            View::BuildCancelled { .. } => {
                self.errors.clear();
                self.finished("cancelled");
            }
            View::Starting { .. } => self.context.starts(),
            View::BuildFailed { .. } | View::Quitting { .. } => {
                self.flush_errors();
                self.finished("unknown");
            }
            _ => {}
        }
        if let Some(Text { level, text }) = text::of(&view, &self.context) {
            self.say(level, &text);
        }
        if let (View::Live { .. }, true) = (&view, self.context.once) {
            self.live = true;
            self.print_addresses();
        }
    }

    /// What `--once` is asked for.
    fn print_addresses(&mut self) {
        self.finish_line();
        for address in &self.context.addresses {
            writeln!(io::stdout().lock(), "{address}").ok();
        }
    }

    fn build(&mut self, news: BuildNews) {
        match news {
            BuildNews::Command(command) => {
                self.errors.clear();
                self.marker(&format!("[Running '{command}']"));
                self.running = true;
            }
            BuildNews::Line(line) => {
                let plain = style::strip(&line);
                let wanted = self.format == Format::Plain || self.verbosity == Verbosity::Verbose;
                if wanted || !text::is_cargo_status(&plain) {
                    // What cargo says at last sums up the errors.
                    if plain.starts_with("error") {
                        self.flush_errors();
                    }
                    self.raw(&line);
                }
            }
            BuildNews::Diagnostic {
                error: true,
                rendered,
            } => self.errors.push(rendered),
            BuildNews::Diagnostic {
                error: false,
                rendered,
            } => self.raw(&rendered),
            BuildNews::Ended(exit) => {
                self.flush_errors();
                match exit {
                    Exit::Status(code) => self.finished(&code.to_string()),
                    other => self.finished(&other.to_string()),
                }
            }
            BuildNews::Blocked(Some(what)) => {
                self.say(Level::Warn, &format!("waiting for another cargo: {what}"));
            }
            BuildNews::Blocked(None)
            | BuildNews::Progress { .. }
            | BuildNews::Loaded(_)
            | BuildNews::Inputs(_)
            | BuildNews::Done(_) => {}
        }
    }

    fn flush_errors(&mut self) {
        for error in std::mem::take(&mut self.errors) {
            self.raw(&error);
        }
    }

    /// Closes what `[Running …]` opened, once.
    fn finished(&mut self, status: &str) {
        if std::mem::take(&mut self.running) {
            self.marker(&format!("[Finished running. Exit status: {status}]"));
        }
    }

    /// A line that editors look for.
    fn marker(&mut self, text: &str) {
        if self.format == Format::Plain {
            self.raw(text);
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

    fn update_status(&mut self, view: &View) {
        if self.format != Format::Terminal {
            return;
        }
        let status = match view {
            View::Building { generation, .. } => Some(format!("building {generation}")),
            View::Build(generation, BuildNews::Progress { done, total }) => {
                Some(format!("building {generation}: {done}/{total}"))
            }
            View::Build(generation, BuildNews::Blocked(Some(_))) => {
                Some(format!("{generation} waits for another cargo"))
            }
            View::Starting { generation, .. } => Some(format!("starting {generation}")),
            View::JobStarted(job) if job.occasion.is_waited_for() => {
                Some(format!("{} runs", job.occasion))
            }
            View::JobLine(_) | View::Build(..) | View::Started { .. } | View::Draining { .. } => {
                return;
            }
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
        // Somebody may be about to type where it would stand.
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
