//! What is on the screen in every state, at several sizes: a day is played to the real session, and the
//! real printer writes it to a terminal. `screens/*.txt` is what is seen there, with the color of text in
//! front of it, as in `<bold red>`, and `</>` behind it. With `BLESS=1` in the environment the files are
//! written anew; look at them before you believe them.
//!
//! Only the sixteen colors that themes define are used, and no background: so the same screens are read
//! on a dark and on a light one.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Seek};
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use super::Message;
use super::keys::Wish;
use super::printer::Printer;
use super::screen::{Screen, Window};
use crate::config::{self, Format, Output};
use crate::lines::Stream;
use crate::lines::strip;
use crate::report::Note;
use crate::report::context::Context;
use crate::report::values::HeldAddress;
use crate::session::Session;
use crate::session::action::Action;
use crate::session::event::{AppNews, BuildNews, Event};
use crate::session::model::{Exit, Generation, Moment};
use crate::session::scenarios::{self, Files};
use crate::session::status::Status;
use crate::sink::Chunk;

/// What a terminal is like.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    rows: u16,
    columns: u16,
    color: bool,
    unicode: bool,
}

const KINDS: [Kind; 5] = [
    Kind {
        name: "120x30",
        rows: 30,
        columns: 120,
        color: true,
        unicode: true,
    },
    MIDDLE,
    Kind {
        name: "40x10",
        rows: 10,
        columns: 40,
        color: true,
        unicode: true,
    },
    Kind {
        name: "80x24-without-color",
        color: false,
        ..MIDDLE
    },
    Kind {
        name: "80x24-without-color-and-unicode",
        color: false,
        unicode: false,
        ..MIDDLE
    },
];

const MIDDLE: Kind = Kind {
    name: "80x24",
    rows: 24,
    columns: 80,
    color: true,
    unicode: true,
};

/// A terminal, and the hotrun that it shows.
struct Day {
    kind: Kind,
    session: Session,
    files: Files,
    now: Moment,
    printer: Printer,
    /// What was written.
    written: File,
    /// The pictures so far.
    told: String,
}

impl Day {
    fn new(kind: Kind) -> Self {
        let written = tempfile::tempfile().unwrap();
        let copy = || written.try_clone().unwrap();
        let window = Window {
            rows: kind.rows.into(),
            columns: kind.columns.into(),
            keys: true,
        };
        let output = Output {
            format: Format::Terminal,
            color: kind.color,
            screen: config::Screen {
                status_line: true,
                unicode: kind.unicode,
                links: true,
            },
            ..Output::default()
        };
        let context = Context {
            base: "/home/ann/shop".into(),
            dir: "/home/ann/shop".into(),
            ..Context::default()
        };
        let screen = Screen::of(copy(), copy(), true);
        let mut policy = scenarios::policy();
        policy.hooks.before_build = Some(vec!["make".into(), "assets".into()]);
        let mut printer = Printer::at(screen, Box::new(move || window), &output, context);
        printer.greet();
        Self {
            kind,
            session: Session::new(policy, true),
            files: Files::default(),
            now: Moment::ZERO,
            printer,
            written,
            told: String::new(),
        }
    }

    fn note(&mut self, note: Note) {
        self.printer.take(Message::Note(self.now, note));
    }

    /// An event as a line of a story has it, so many milliseconds after the last one.
    fn then(&mut self, ms: u64, event: &str) {
        let event = scenarios::event(event, &mut self.files);
        let now = self.now + Duration::from_millis(ms);
        while let Some(due) = self.session.due().filter(|due| *due <= now) {
            self.now = due;
            self.handle(Event::Tick);
        }
        self.now = now;
        self.handle(event);
    }

    fn handle(&mut self, event: Event) {
        let mut looks = Vec::new();
        for action in self.session.handle(self.now, event) {
            match action {
                Action::Show(view) => self.printer.take(Message::View(self.now, Box::new(view))),
                Action::Look(generation) => looks.push(generation),
                _ => {}
            }
        }
        for generation in looks {
            self.handle(Event::App(generation, AppNews::Traced(None)));
        }
        self.status(self.session.status());
    }

    fn status(&mut self, status: Status) {
        self.printer.take(Message::Status(Box::new(status)));
    }

    fn build(&mut self, generation: u32, news: BuildNews) {
        self.handle(Event::Build(Generation(generation), news));
    }

    fn diagnostic(&mut self, generation: u32, error: bool, rendered: &str) {
        let rendered = if self.kind.color {
            rendered.to_owned()
        } else {
            strip(rendered)
        };
        let news = BuildNews::Diagnostic {
            error,
            counts: true,
            detail: None,
            rendered: rendered.into(),
        };
        self.build(generation, news);
    }

    fn line(&mut self, generation: u32, text: &str) {
        let text = if self.kind.color {
            text.to_owned()
        } else {
            strip(text)
        };
        self.build(generation, BuildNews::Line(text.into()));
    }

    fn writes(&mut self, generation: u32, stream: Stream, text: &str) {
        self.printer.take(Message::Chunk(Chunk {
            generation: Generation(generation),
            stream,
            bytes: text.into(),
            room: None,
        }));
    }

    fn press(&mut self, wish: Wish) {
        self.printer.take(Message::Wish(wish));
    }

    /// Keeps what is on the screen.
    fn look(&mut self, title: &str) {
        let mut bytes = Vec::new();
        self.written.rewind().unwrap();
        self.written.read_to_end(&mut bytes).unwrap();
        let size = |number| NonZero::new(number).unwrap();
        let (rows, columns) = (self.kind.rows, self.kind.columns);
        let mut terminal = vt100::Parser::new(size(rows), size(columns), 0);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = line.strip_suffix(b"\n");
            terminal.process(text.unwrap_or(line));
            // A new line begins at its left end, as the terminal's driver has it.
            terminal.process(if text.is_some() { b"\r\n" } else { b"" });
        }
        let screen = terminal.screen();
        let lines: Vec<String> = (0..rows).map(|row| marked(screen, row, columns)).collect();
        let end = lines.iter().rposition(|line| !line.is_empty());
        let lines = &lines[..end.map_or(0, |end| end + 1)];
        assert!(screen.cursor_position().1 == 0, "{title}: the cursor");
        writeln!(self.told, "==== {title}\n{}", lines.join("\n")).unwrap();
    }
}

/// A row of the screen, with its colors.
fn marked(screen: &vt100::Screen, row: u16, columns: u16) -> String {
    let mut text = String::new();
    let mut before = String::new();
    for cell in (0..columns).filter_map(|column| screen.cell(row, column)) {
        assert!(cell.bgcolor() == vt100::Color::Default && !cell.inverse());
        let color = match cell.fgcolor() {
            vt100::Color::Default => "",
            vt100::Color::Idx(1 | 9) => "red",
            vt100::Color::Idx(2 | 10) => "green",
            vt100::Color::Idx(3 | 11) => "yellow",
            vt100::Color::Idx(4 | 12) => "blue",
            vt100::Color::Idx(6 | 14) => "cyan",
            other => panic!("{other:?} is not readable in every theme"),
        };
        let words = [
            if cell.bold() { "bold" } else { "" },
            if cell.dim() { "dim" } else { "" },
            color,
        ];
        let words = words.into_iter().filter(|word| !word.is_empty());
        let style = words.collect::<Vec<_>>().join(" ");
        if style != before {
            text += if before.is_empty() { "" } else { "</>" };
            if !style.is_empty() {
                write!(text, "<{style}>").unwrap();
            }
            before = style;
        }
        text += if cell.has_contents() {
            cell.contents()
        } else {
            " "
        };
    }
    text += if before.is_empty() { "" } else { "</>" };
    text.trim_end().to_owned()
}

/// An error as rustc renders it.
fn error(number: u32) -> String {
    let (red, blue, bold, end) = (
        "\u{1b}[1m\u{1b}[91m",
        "\u{1b}[1m\u{1b}[94m",
        "\u{1b}[1m",
        "\u{1b}[0m",
    );
    let wide = number.to_string().len();
    let gap = " ".repeat(wide);
    format!(
        "{red}error[E0308]{end}{bold}: mismatched types{end}\n\
         {gap}{blue}-->{end} src/cart.rs:{number}:21\n\
         {gap} {blue}|{end}\n\
         {blue}{number}{end} {blue}|{end} const PRICE_{number}: u32 = \"x\";\n\
         {gap} {blue}|{end}                      {red}^^^{end} {red}expected `u32`, found `&str`{end}\n\n"
    )
}

const WARNING: &str = "\u{1b}[1m\u{1b}[33mwarning\u{1b}[0m\u{1b}[1m: unused variable: `total`\u{1b}[0m\n \
                       \u{1b}[1m\u{1b}[94m-->\u{1b}[0m src/cart.rs:7:9\n\n";

const SUMMARY: &str = "\u{1b}[1m\u{1b}[91merror\u{1b}[0m: could not compile `shop` (bin \"shop\") due to 30 \
                       previous errors";

/// A program that panics with a long backtrace.
fn backtrace() -> String {
    let head = "thread 'main' panicked at src/main.rs:31:10:\ncalled `Result::unwrap()` on an `Err` value: \
                Connection refused (os error 111)\nstack backtrace:\n";
    let frame = |number: u32| {
        format!(
            "  {number:>2}: shop::layer_{number}::call\n             at ./src/layers.rs:{number}:5\n"
        )
    };
    let frames: String = (0..40).map(frame).collect();
    format!("{head}{frames}")
}

/// What is seen of a day, from the start to the end.
fn seen(kind: Kind) -> String {
    let mut day = Day::new(kind);
    day.status(Status::preparing());
    day.look("the project is read");
    let shop = || PathBuf::from("/home/ann/shop");
    day.note(Note::Session {
        package: "shop".into(),
        target: "shop".into(),
        workspace: shop(),
        source: shop().join("src/main.rs"),
    });
    day.then(0, "begin");
    day.look("a hook runs");
    day.then(120, "job 1 ended");
    // What the hook wrote last is noticed by then.
    day.then(20, "tick");
    day.build(1, BuildNews::Command("cargo build".into()));
    day.build(
        1,
        BuildNews::Progress {
            done: 12,
            total: 57,
        },
    );
    day.look("the first build");
    day.diagnostic(1, false, WARNING);
    day.then(2900, "built g1");
    day.then(3, "started g1");
    day.writes(1, Stream::Stdout, "listening on 127.0.0.1:3000\n");
    let held = |address: &str| HeldAddress {
        name: None,
        address: address.into(),
        twins: true,
    };
    day.note(Note::Held(vec![held("127.0.0.1:3000"), held("[::1]:3000")]));
    day.then(9, "ready g1");
    day.then(6000, "tick");
    day.look("live");
    day.press(Wish::Help);
    day.look("help");
    day.then(1000, "saved src/cart.rs");
    day.then(60, "job 2 ended");
    day.then(20, "tick");
    for number in 1..=30 {
        day.diagnostic(2, true, &error(number));
    }
    day.line(2, SUMMARY);
    day.build(2, BuildNews::Ended(Exit::Status(101)));
    day.then(300, "failed g2 \"30 errors\"");
    day.look("30 errors");
    day.press(Wish::Unfold);
    day.look("all of them");
    day.then(5000, "saved src/cart.rs");
    day.then(60, "job 3 ended");
    day.then(20, "tick");
    day.then(400, "built g3");
    day.then(3, "started g3");
    day.writes(3, Stream::Stderr, &backtrace());
    day.then(20, "exited g3 status 101");
    day.then(1, "gone g3");
    day.look("a crash");
    day.then(5000, "saved src/main.rs");
    day.then(60, "job 4 ended");
    day.then(20, "tick");
    day.then(400, "built g4");
    day.then(3, "started g4");
    for number in 1..=3 {
        day.writes(1, Stream::Stdout, &format!("GET /cart/{number} 200\n"));
        day.writes(
            4,
            Stream::Stdout,
            &format!("migration {number} of 3\nconnected\n"),
        );
    }
    day.look("two generations write");
    day.then(700, "ready g4");
    day.then(50, "gone g1");
    day.then(6000, "pause");
    day.then(100, "saved src/a.rs src/b.rs src/c.rs");
    day.look("paused");
    day.press(Wish::Clear);
    day.look("cleared");
    day.then(100, "quit");
    day.look("it ends");
    day.then(20, "gone g4");
    let (done, _ended) = std::sync::mpsc::sync_channel(1);
    day.printer.take(Message::Flush(done));
    day.look("the end");
    day.told
}

#[test]
fn every_screen_is_as_it_is_kept() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/ui/screens");
    let mut wrong = String::new();
    for kind in KINDS {
        let path = dir.join(kind.name).with_extension("txt");
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        let seen = seen(kind);
        assert!(kind.unicode || seen.is_ascii(), "{seen}");
        assert!(kind.color || !seen.contains("</>"), "{seen}");
        if kept != seen {
            writeln!(wrong, "{}: kept\n{kept}\nseen\n{seen}", kind.name).unwrap();
            if std::env::var_os("BLESS").is_some() {
                std::fs::write(&path, seen).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "run the test once with BLESS=1\n{wrong}");
}
