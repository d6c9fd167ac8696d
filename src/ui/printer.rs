//! The printing thread's work: what each message means for each reader.

use std::io::{self, Write};
use std::mem;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Message;
use super::errors::{Errors, Room, Told};
use super::keys::{HELP, Wish};
use super::line_prefix;
use super::log::Log;
use super::screen::{Screen, Window};
use super::sd_notify::ServiceManager;
use super::status_line::{self, Facts};
use super::style::Style;
use crate::clock;
use crate::config::{self, Format, Output, Settings, Verbosity};
use crate::defect::point;
use crate::exit::Failure;
use crate::lines::{Stream, strip};
use crate::report::Note;
use crate::report::Record;
use crate::report::context::Context;
use crate::report::event::Event;
use crate::report::late::Late;
use crate::report::markers::Markers;
use crate::report::text::{self, Level, Text};
use crate::report::values::Severity;
use crate::session::model::{Exit, Generation, Moment};
use crate::session::status::Status;
use crate::sink::Chunk;

/// So much is written at once.
const PIECE: usize = 16 * 1024;

/// The rows below a list of errors: how many were left out, cargo's summary, hotrun's line with its cause,
/// the status line.
const BELOW_ERRORS: usize = 5;

pub(super) struct Printer {
    written: Arc<AtomicUsize>,
    format: Format,
    verbosity: Verbosity,
    style: Style,
    /// What the terminal can show.
    shows: config::Screen,
    /// It is cleared before each build.
    clear: bool,
    context: Context,
    events: Option<Box<dyn Write + Send>>,
    errors: Errors,
    late: Late,
    /// When the last event was taken in, whose time is `now`.
    heard: Option<Duration>,
    markers: Markers,
    /// What is good to know at the beginning was said.
    introduced: bool,
    /// The app serves, and that is all that is wanted (`--once`).
    live: bool,
    /// The generation and stream whose last line has no end yet.
    unfinished: Option<(Generation, Stream)>,
    screen: Screen,
    /// Looks at the terminal.
    window: Box<dyn Fn() -> Window + Send>,
    status: Option<Box<Status>>,
    /// The configuration file in use, for the first lines.
    file: Option<String>,
    log: Option<Log>,
    manager: Option<ServiceManager>,
    /// The time of the last view.
    now: Moment,
}

impl Printer {
    pub(super) fn new(
        settings: &Settings,
        events: Option<Box<dyn Write + Send>>,
        written: Arc<AtomicUsize>,
    ) -> Result<Self, Failure> {
        let mut context = Context {
            once: settings.once,
            colored: settings.output.color,
            pid: std::process::id(),
            ..Context::default()
        };
        context.adopt(settings);
        let failed = |error| Failure::failed(format!("cannot write to stdout and stderr: {error}"));
        let screen = Screen::open().map_err(failed)?;
        let output = &settings.output;
        let name = settings.file.file_name().map(Path::new);
        let file = name.filter(|_| settings.watch.configured);
        Ok(Self {
            written,
            events,
            file: file.map(|name| name.display().to_string()),
            log: output.log.as_deref().map(Log::open).transpose()?,
            manager: output.supervisor.as_deref().and_then(ServiceManager::at),
            ..Self::at(screen, Box::new(Window::own), output, context)
        })
    }

    /// One that writes to this screen, and nowhere else.
    pub(super) fn at(
        screen: Screen,
        window: Box<dyn Fn() -> Window + Send>,
        output: &Output,
        context: Context,
    ) -> Self {
        Self {
            written: Arc::default(),
            format: output.format,
            verbosity: output.verbosity,
            style: Style {
                color: output.color,
            },
            shows: output.screen,
            clear: output.clear,
            context,
            events: None,
            errors: Errors::default(),
            late: Late::default(),
            heard: None,
            markers: Markers::default(),
            introduced: false,
            live: false,
            unfinished: None,
            screen,
            window,
            status: None,
            file: None,
            now: Moment::ZERO,
            log: None,
            manager: None,
        }
    }

    pub(super) fn take(&mut self, message: Message) {
        self.count();
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
                self.clear = settings.output.clear;
                self.log = log;
            }
            Message::Base(base) => self.context.base = base,
            Message::Prepared => {
                if let Some(manager) = &self.manager {
                    manager.ready();
                }
            }
            Message::Pause(done, resumed) => {
                self.finish_line();
                self.screen.redraw(None);
                done.send(()).ok();
                resumed.recv().ok();
                self.redraw();
            }
            Message::Flush(done) => {
                if let Some(event) = self.late.rest() {
                    self.say_of(&event);
                }
                self.finish_line();
                self.screen.redraw(None);
                done.send(()).ok();
            }
            Message::Status(status) => {
                self.status = Some(status);
                self.redraw();
            }
            Message::Wish(wish) => self.grant(wish),
            Message::Redraw => self.redraw(),
        }
    }

    /// Something was written.
    fn count(&self) {
        self.written.fetch_add(1, Ordering::Relaxed);
    }

    /// A large project takes a moment, in which a person would see nothing.
    pub(super) fn greet(&mut self) {
        if self.format == Format::Terminal {
            let text = concat!(env!("CARGO_PKG_VERSION"), ", reading the project");
            self.say(Level::Info, text);
        }
    }

    /// How long to wait for the next message, if a line is due by the time.
    pub(super) fn patience(&self) -> Option<Duration> {
        let due = self.late.next()?.saturating_sub(self.now);
        let passed = self
            .heard
            .map(|heard| clock::steady().saturating_sub(heard));
        Some(due.saturating_sub(passed.unwrap_or_default()))
    }

    /// Says what is due by the time.
    pub(super) fn show_late(&mut self) {
        let passed = self
            .heard
            .map(|heard| clock::steady().saturating_sub(heard));
        for event in self.late.due(self.now + passed.unwrap_or_default()) {
            self.say_of(&event);
        }
    }

    /// Tells an event everywhere where it is to be heard; `from_here`: as the user is to read it.
    fn tell(&mut self, now: Moment, event: Event, from_here: Option<&Event>) {
        // A task may tell something while an action is carried out that began before.
        let now = now.max(self.now);
        self.now = now;
        self.heard = Some(clock::steady());
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
                self.count();
            }
            return;
        }
        let from = (chunk.generation, chunk.stream);
        let begins = self.unfinished != Some(from);
        if begins {
            self.finish_line();
        }
        // A program that reads the app's output gets it as it is.
        let needs_prefix = self.screen.is_terminal(chunk.stream)
            && self.status.as_deref().is_some_and(line_prefix::is_needed);
        let prefixed = needs_prefix.then(|| {
            let unicode = self.shows.unicode;
            line_prefix::with_prefix(&chunk.bytes, chunk.generation, begins, unicode)
        });
        let bytes = prefixed.as_deref().unwrap_or(&chunk.bytes);
        let ends = bytes.ends_with(b"\n");
        // While a line has no end, the app may be asking there, and the user about to type.
        self.unfinished = (!ends).then_some(from);
        let status = self.status_line();
        let mut pieces = bytes.chunks(PIECE).peekable();
        while let Some(piece) = pieces.next() {
            // The line is drawn once, after the last piece.
            let status = status.as_deref().filter(|_| pieces.peek().is_none());
            self.screen.write(chunk.stream, piece, status);
            self.count();
        }
    }

    /// A line of ours must not continue a line of the app.
    fn finish_line(&mut self) {
        if let Some((_, stream)) = self.unfinished.take()
            && self.screen.shows(stream)
        {
            self.screen.write(Stream::Stderr, b"\n", None);
        }
    }

    fn show(&mut self, event: &Event) {
        if self.clear && self.shows.status_line && matches!(event, Event::Building { .. }) {
            self.wipe();
        }
        self.pass_on(event);
        if let Some(marker) = self.markers.of(event)
            && self.format == Format::Plain
        {
            self.raw(&marker);
        }
        for event in self.late.take(self.now, event) {
            self.say_of(&event);
        }
        let begins = matches!(event, Event::Session { .. });
        if begins && self.format == Format::Terminal && !mem::replace(&mut self.introduced, true) {
            self.introduce();
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

    /// What is good to know at the beginning, at a terminal.
    fn introduce(&mut self) {
        let file = self
            .file
            .as_ref()
            .map(|name| format!("settings from `{name}`"));
        let keys = (self.window)().keys.then(|| "press h for help".to_owned());
        let known: Vec<String> = file.into_iter().chain(keys).collect();
        if !known.is_empty() {
            self.say(Level::Info, &known.join("; "));
        }
    }

    /// What `--once` is asked for.
    fn print_addresses(&mut self) {
        self.finish_line();
        let mut text = self.context.addresses.join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        let status = self.status_line();
        self.screen
            .write(Stream::Stdout, text.as_bytes(), status.as_deref());
    }

    /// What cargo and the compiler say is printed as it is, the errors last.
    fn pass_on(&mut self, event: &Event) {
        match event {
            Event::Command { .. } | Event::Cancelled { .. } => self.errors.begin(),
            Event::Cargo {
                generation: None,
                line,
            } => self.raw(line),
            Event::Cargo { line, .. } => {
                let plain = strip(line);
                let wanted = self.format == Format::Plain || self.verbosity == Verbosity::Verbose;
                if wanted || !text::is_cargo_status(&plain) {
                    // What cargo says at last sums up the errors.
                    if plain.starts_with("error") {
                        self.tell_errors();
                    }
                    self.raw(line);
                }
            }
            Event::Diagnostic {
                level: Severity::Error,
                rendered,
                ..
            } => self.errors.add(rendered.clone()),
            Event::Diagnostic { rendered, .. } => self.raw(rendered),
            // A bell rings, and is no line.
            Event::JobOutput { line } if text::is_bell(line) => {
                self.screen.write(Stream::Stderr, line.as_bytes(), None);
                self.redraw();
            }
            Event::BuildEnded { exit, .. } => {
                self.tell_errors();
                if *exit == Exit::Status(0) {
                    self.errors.are_mended();
                }
            }
            Event::BuildFailed { .. } | Event::Quitting { .. } => self.tell_errors(),
            _ => {}
        }
    }

    fn tell_errors(&mut self) {
        let room = self.room_for_errors();
        let told = self.errors.tell(room);
        self.list(told);
    }

    /// The room for a list of errors; `None` if what is left out could not be asked for.
    fn room_for_errors(&self) -> Option<Room> {
        let Window {
            rows,
            columns,
            keys,
        } = (self.window)();
        let can_unfold = self.format == Format::Terminal && keys;
        can_unfold.then(|| Room {
            rows: rows.saturating_sub(BELOW_ERRORS),
            columns,
        })
    }

    fn list(&mut self, told: Told) {
        for error in told.errors {
            self.raw(&error);
        }
        let dots = if self.shows.unicode { "…" } else { "..." };
        match told.folded {
            0 => {}
            1 => self.raw(&format!("{dots} and 1 more error (press u)")),
            more => self.raw(&format!("{dots} and {more} more errors (press u)")),
        }
    }

    /// Does what a key asks for.
    fn grant(&mut self, wish: Wish) {
        match wish {
            Wish::Blank => self.raw("\n"),
            Wish::Clear => self.wipe(),
            Wish::Errors => {
                let room = self.room_for_errors();
                match self.errors.again(room) {
                    none if none == Told::default() => self.raw("hotrun: there are no errors"),
                    told => self.list(told),
                }
            }
            Wish::Unfold => {
                let told = self.errors.unfold();
                self.list(told);
            }
            Wish::Help => {
                let lines = HELP.map(|(key, what)| format!("{key:>6}  {what}\n"));
                self.raw(&lines.concat());
            }
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
        self.finish_line();
        let end = if text.ends_with('\n') { "" } else { "\n" };
        let status = self.status_line();
        let text = format!("{text}{end}");
        self.screen
            .write(Stream::Stderr, text.as_bytes(), status.as_deref());
    }

    // ---- the bottom of a terminal

    /// The status line, where there is to be one now.
    fn status_line(&self) -> Option<String> {
        let status = self.status.as_deref()?;
        let is_asked = self
            .unfinished
            .is_some_and(|(_, stream)| self.screen.shows(stream));
        if !self.shows.status_line || is_asked || self.screen.is_in_background() {
            return None;
        }
        let Window { columns, keys, .. } = (self.window)();
        let facts = Facts {
            addresses: &self.context.addresses,
            keys,
        };
        let line = status_line::line(status, &facts, columns, self.shows, self.style);
        Some(line)
    }

    fn redraw(&mut self) {
        let status = self.status_line();
        self.screen.redraw(status.as_deref());
    }

    /// Clears what is visible.
    fn wipe(&mut self) {
        let status = self.status_line();
        self.screen.clear(status.as_deref());
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use super::*;

    #[test]
    fn time_does_not_go_backwards() {
        let file = || tempfile::tempfile().unwrap();
        let window = Window {
            rows: 24,
            columns: 80,
            keys: false,
        };
        let mut events = file();
        let mut printer = Printer {
            events: Some(Box::new(events.try_clone().unwrap())),
            ..Printer::at(
                Screen::of(file(), file(), true),
                Box::new(move || window),
                &Output::default(),
                Context::default(),
            )
        };
        for seconds in [1, 3, 2, 4] {
            let note = Note::Warning("something".into());
            printer.take(Message::Note(Moment::from_secs(seconds), note));
        }
        let mut written = String::new();
        events.rewind().unwrap();
        events.read_to_string(&mut written).unwrap();
        let records = written.lines().map(|line| Record::read(line.as_bytes()));
        let times = records.map(|record| record.unwrap().ms.unwrap().0);
        assert_eq!(
            times.collect::<Vec<_>>(),
            [1, 3, 3, 4].map(Moment::from_secs)
        );
    }
}
