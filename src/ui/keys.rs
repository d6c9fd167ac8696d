//! Keys: single ones, read from hotrun's own terminal while it has nothing else to do with stdin.
//!
//! # Theory of operation
//!
//! A task waits until something was typed; nothing polls. It reads only while hotrun is in the foreground
//! of the terminal and has it in the mode for keys (`sys::take_keys`), which leaves Ctrl-C, Ctrl-\ and
//! Ctrl-Z to the system: a raw mode would not. In the background the terminal is the shell's. What was
//! taken is taken again when hotrun is continued (`fg`), and whenever something is shown, because a shell
//! does not tell a process that was running when it brings it to the foreground.
//!
//! A key that the session has to know becomes the command that `hotrun ctl` sends; the others are for the
//! printer.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::UnboundedSender;

use super::Reporter;
use crate::config::Format;
use crate::config::Settings;
use crate::defect;
use crate::exit::Failure;
use crate::session::command::Command;
use crate::session::event::Event;
use crate::sys::signals::{self, Signals};
use crate::sys::{self, Readable, files};

/// What a key asks the printer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// An empty line.
    Blank,
    /// An empty screen.
    Clear,
    /// The last errors again.
    Errors,
    /// What was left out of a list.
    Unfold,
    /// Which keys there are.
    Help,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Command(Command),
    Wish(Wish),
}

/// The other keys and what they do: with the status line they fit a terminal of ten rows.
pub(super) const HELP: [(&str, &str); 9] = [
    ("r", "rebuild and start again"),
    ("s", "restart without a build"),
    ("p", "pause, resume with one build"),
    ("o", "open the app in a browser"),
    ("e", "show the last errors again"),
    ("u", "unfold the list of errors"),
    ("c", "clear the screen"),
    ("Enter", "an empty line"),
    ("q", "quit"),
];

/// What is longer was pasted, and is meant for something else.
const TYPED: usize = 16;

const ESCAPE: u8 = 0x1b;

/// The keys in what was read at once.
fn keys(bytes: &[u8]) -> Vec<Key> {
    if bytes.len() > TYPED {
        return Vec::new();
    }
    let mut bytes = bytes.iter().copied();
    let mut keys = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == ESCAPE {
            skip_sequence(&mut bytes);
        } else {
            keys.extend(key(byte));
        }
    }
    keys
}

/// Skips the rest of what a key with a name sends, such as an arrow or F1; or one with Alt.
fn skip_sequence(bytes: &mut impl Iterator<Item = u8>) {
    match bytes.next() {
        Some(b'[') => _ = bytes.find(|byte| (0x40..=0x7e).contains(byte)),
        Some(b'O') => _ = bytes.next(),
        _ => {}
    }
}

fn key(byte: u8) -> Option<Key> {
    Some(match byte {
        b'r' => Key::Command(Command::Rebuild),
        b's' => Key::Command(Command::Restart),
        b'q' => Key::Command(Command::Stop),
        b'p' => Key::Command(Command::PauseOrResume),
        b'o' => Key::Command(Command::Open),
        b'c' => Key::Wish(Wish::Clear),
        b'e' => Key::Wish(Wish::Errors),
        b'u' => Key::Wish(Wish::Unfold),
        b'h' | b'?' => Key::Wish(Wish::Help),
        b'\n' | b'\r' => Key::Wish(Wish::Blank),
        _ => return None,
    })
}

/// As long as this exists, the terminal may have another mode; after that it is as it was.
#[derive(Debug)]
#[must_use]
pub struct Attention(());

impl Drop for Attention {
    fn drop(&mut self) {
        sys::restore_terminal();
    }
}

/// A person is asked for a line.
static ASKS: AtomicBool = AtomicBool::new(false);

/// As long as this exists, the terminal hands over lines, which can be edited and are shown, and no key is
/// taken.
#[derive(Debug)]
#[must_use]
pub struct Asking {
    had_keys: bool,
}

impl Asking {
    /// From now on.
    pub fn begin() -> Self {
        ASKS.store(true, Ordering::Relaxed);
        let had_keys = sys::restore_terminal();
        Self { had_keys }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        ASKS.store(false, Ordering::Relaxed);
        if self.had_keys {
            sys::take_keys();
        }
    }
}

/// Attends to the terminal from now on: its keys, its size, and whether hotrun has it. Must be called
/// inside the runtime.
pub fn attend(
    settings: &Settings,
    reporter: &Reporter,
    urgent: &UnboundedSender<Event>,
) -> Result<Attention, Failure> {
    let attention = Attention(());
    if settings.output.format == Format::Terminal {
        let reads = settings.output.keys;
        let attended = Attended::new(reads, reporter.clone(), urgent.clone());
        let mut attended = attended.map_err(|error| {
            Failure::failed(format!("cannot read keys: {error}"))
                .hint("have hotrun read from elsewhere: `</dev/null`")
        })?;
        attended.take_keys();
        let run = async move || attended.run().await;
        defect::spawn("keys", defect::again("keys", run));
    }
    Ok(attention)
}

fn stdin() -> io::Result<Readable<File>> {
    let stdin = files::copy(&io::stdin())?;
    sys::readable(Arc::new(stdin))
}

struct Attended {
    /// The source of keys; `None`: there are none, or it has hung up.
    stdin: Option<Readable<File>>,
    resized: Signals,
    continued: Signals,
    reporter: Reporter,
    urgent: UnboundedSender<Event>,
}

impl Attended {
    fn new(reads: bool, reporter: Reporter, urgent: UnboundedSender<Event>) -> io::Result<Self> {
        Ok(Self {
            stdin: reads.then(stdin).transpose()?,
            resized: signals::listen(signals::RESIZED)?,
            continued: signals::listen(signals::CONTINUE)?,
            reporter,
            urgent,
        })
    }

    async fn run(&mut self) {
        loop {
            let stdin = self.stdin.as_ref();
            let reads = sys::has_keys();
            tokio::select! {
                Some(()) = self.resized.recv() => self.reporter.redraw(),
                Some(()) = self.continued.recv() => {
                    self.take_keys();
                    self.reporter.redraw();
                }
                () = self.reporter.shown() => {
                    if stdin.is_some() && !reads && self.take_keys() {
                        self.reporter.redraw();
                    }
                }
                typed = typed(stdin), if reads => {
                    defect::point("keys");
                    match typed {
                        Some(bytes) => self.pressed(&bytes),
                        None => self.stdin = None,
                    }
                }
            }
        }
    }

    fn take_keys(&self) -> bool {
        self.stdin.is_some() && !ASKS.load(Ordering::Relaxed) && sys::take_keys()
    }

    fn pressed(&self, bytes: &[u8]) {
        for key in keys(bytes) {
            let command = match key {
                Key::Wish(wish) => {
                    self.reporter.wish(wish);
                    continue;
                }
                Key::Command(command) => command,
            };
            self.urgent.send(Event::Command(command, None)).ok();
        }
    }
}

/// What was typed, once something was; `None` if nothing can be typed any more. Safe to drop while it waits.
async fn typed(stdin: Option<&Readable<File>>) -> Option<Vec<u8>> {
    let Some(stdin) = stdin else {
        return std::future::pending().await;
    };
    let mut typed = Vec::new();
    loop {
        let mut ready = stdin.readable().await.ok()?;
        if !sys::has_keys() {
            // A line is asked for by now, or the terminal is another program's.
            return Some(typed);
        }
        let mut buffer = [0; 256];
        match sys::read_keys(&mut buffer) {
            Ok(0) | Err(_) if !stdin.get_ref().is_terminal() => return None,
            Ok(0) | Err(_) if typed.is_empty() => ready.clear_ready(),
            // All that is there: what was pasted is known by its length.
            Ok(0) | Err(_) => return Some(typed),
            Ok(count) => typed.extend(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_byte_and_everything_else_means_nothing() {
        let of = |text: &str| keys(text.as_bytes());
        assert_eq!(of("r"), [Key::Command(Command::Rebuild)]);
        let both = [Command::Restart, Command::PauseOrResume].map(Key::Command);
        assert_eq!(of("sp"), both);
        assert_eq!(of("?"), [Key::Wish(Wish::Help)]);
        for nothing in [
            "", "x", "R", "é", "\u{1b}[A", "\u{1b}OQ", "\u{1b}q", "\u{4}",
        ] {
            assert_eq!(of(nothing), [], "{nothing:?}");
        }
        assert_eq!(
            of("\u{1b}[15~\u{1b}[1;5Ds"),
            [Key::Command(Command::Restart)]
        );
        assert_eq!(of("please quit and restart"), []);
    }

    #[test]
    fn the_help_names_keys_that_there_are() {
        for (name, _) in HELP {
            let byte = if name == "Enter" {
                b'\n'
            } else {
                name.as_bytes()[0]
            };
            assert!(key(byte).is_some(), "{name}");
        }
    }
}
