//! A terminal with a shell in it that has job control, as a user has it, and what is seen there.

use std::fs::File;
use std::io::{PipeWriter, Read, Write, pipe};
use std::num::NonZero;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::stat::Mode;
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};

use super::wait_until;

/// Runs its arguments as a job in the foreground, says how that came back, and does what it is asked for.
/// Without the trap it would end with a job that Ctrl-C has ended.
const SHELL: &str =
    r#"set -m; trap : INT QUIT; "$0" "$@"; while echo "back $?"; read words; do $words; done"#;

struct Seen {
    bytes: Vec<u8>,
    screen: vt100::Parser,
}

fn size(number: u16) -> NonZero<u16> {
    NonZero::new(number).unwrap()
}

/// A terminal.
pub(crate) struct Terminal {
    keys: File,
    side: OwnedFd,
    name: String,
    seen: Arc<Mutex<Seen>>,
    /// Reads until the other end of this is closed.
    reader: JoinHandle<()>,
    open: PipeWriter,
}

impl Terminal {
    /// With so many rows and columns.
    pub(crate) fn open(rows: u16, columns: u16) -> Self {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let keys = posix_openpt(flags).unwrap();
        grantpt(&keys).unwrap();
        unlockpt(&keys).unwrap();
        let name = ptsname_r(&keys).unwrap();
        let side = open(name.as_str(), flags, Mode::empty()).unwrap();
        let keys = File::from(OwnedFd::from(keys));
        let seen = Arc::new(Mutex::new(Seen {
            bytes: Vec::new(),
            screen: vt100::Parser::new(size(rows), size(columns), 0),
        }));
        let (closed, open) = pipe().unwrap();
        let (mut output, read) = (keys.try_clone().unwrap(), seen.clone());
        let reader = thread::spawn(move || {
            let mut buffer = [0; 8 * 1024];
            loop {
                let ends = [output.as_fd(), closed.as_fd()];
                let mut ends = ends.map(|end| PollFd::new(end, PollFlags::POLLIN));
                poll(&mut ends, PollTimeout::NONE).unwrap();
                if ends[1].any().unwrap() {
                    return;
                }
                let Ok(count) = output.read(&mut buffer) else {
                    return;
                };
                let mut seen = read.lock().unwrap();
                seen.bytes.extend(&buffer[..count]);
                seen.screen.process(&buffer[..count]);
            }
        });
        let terminal = Self {
            keys,
            side,
            name,
            seen,
            reader,
            open,
        };
        terminal.resize(rows, columns);
        terminal
    }

    /// Closes the window: whoever has the terminal hears of it, and can neither read nor write any more.
    pub(crate) fn close(self) {
        drop(self.open);
        self.reader.join().unwrap();
    }

    /// The words before a command that has it run in the shell.
    pub(crate) fn shell() -> [&'static str; 5] {
        ["setsid", "--ctty", "/bin/sh", "-c", SHELL]
    }

    /// The side of the programs in it.
    pub(crate) fn side(&self) -> OwnedFd {
        self.side.try_clone().unwrap()
    }

    /// Gives it another size.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        let (high, wide) = (rows.to_string(), columns.to_string());
        let words = ["-F", &self.name, "rows", &high, "cols", &wide];
        // What is drawn for the new size must not be seen at the old one.
        let mut seen = self.seen();
        assert!(Command::new("stty").args(words).status().unwrap().success());
        let (rows, columns) = (size(rows), size(columns));
        seen.screen.screen_mut().set_size(rows, columns);
    }

    /// Types something.
    pub(crate) fn press(&self, keys: &str) {
        (&self.keys).write_all(keys.as_bytes()).unwrap();
    }

    /// Its settings (`stty`).
    pub(crate) fn settings(&self) -> Termios {
        tcgetattr(&self.side).unwrap()
    }

    /// Waits until single keys are read, or lines.
    #[track_caller]
    pub(crate) fn wait_keys(&self, single: bool) {
        wait_until("the mode of the terminal", || {
            let is_single = !self.settings().local_flags.contains(LocalFlags::ICANON);
            (is_single == single).then_some(())
        });
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that was written to it.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen().bytes).into_owned()
    }

    /// What is on its screen, without the empty rows below.
    pub(crate) fn screen(&self) -> String {
        self.seen().screen.screen().contents()
    }

    /// Waits until this is on the screen.
    #[track_caller]
    pub(crate) fn wait_screen(&self, what: &str, is: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until(what, || {
                last = self.screen();
                is(&last).then_some(())
            });
        }));
        assert!(
            seen.is_ok(),
            "not on the screen: {what}\n{last}\n{}",
            self.text().escape_debug()
        );
        last
    }

    /// All lines that were written above the status line.
    pub(crate) fn lines(&self) -> Vec<String> {
        let text = self.text();
        let pieces = text.split("\u{1b}[1G\u{1b}[J");
        // What stands before it is erased, from the beginning of the line on.
        let kept = pieces.map(|piece| &piece[..piece.rfind('\n').map_or(0, |at| at + 1)]);
        let whole = kept.collect::<String>().replace('\r', "");
        whole.lines().map(str::to_owned).collect()
    }
}
