//! The hotrun under load: a child of a keeper, as everything is that must not outlive us, heard by
//! its JSON events and asked by signals, as anybody could.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use crate::keeper::Mode;
use crate::keeper::client::{Keeper, Output, take_rest};
use crate::keeper::protocol::{Launch, News, Order};
use crate::lines::Lines;
use crate::report::Record;
use crate::session::model::Exit;

/// The hidden first argument of a hotrun that is loaded: it does the main job with what was typed
/// after it, and tells it as JSON.
pub const ARGUMENT: &str = "__under-load";

/// It, until it has ended.
#[derive(Debug)]
pub(super) struct Hotrun {
    keeper: Keeper,
    output: Output,
    events: Lines,
    errors: Vec<u8>,
    /// Both pipes may have more to say.
    open: [bool; 2],
    pid: Option<Pid>,
    /// How it ended, and nothing more will come.
    exit: Option<Exit>,
    over: bool,
}

impl Hotrun {
    /// Starts it with these words after its name.
    pub(super) async fn start(
        words: &[OsString],
        env: Vec<(OsString, OsString)>,
        dir: OsString,
        sockets: &[Arc<OwnedFd>],
    ) -> io::Result<Self> {
        let keeper = Keeper::spawn(Mode::Group)?;
        let mut args = vec![OsString::from(ARGUMENT)];
        args.extend(words.iter().cloned());
        let launch = Launch {
            program: "/proc/self/exe".into(),
            argv0: "hotrun".into(),
            args,
            env,
            dir,
            ..Launch::default()
        };
        let output = keeper.launch(launch, sockets).await?;
        Ok(Self {
            keeper,
            output,
            events: Lines::default(),
            errors: Vec::new(),
            open: [true; 2],
            pid: None,
            exit: None,
            over: false,
        })
    }

    /// The next thing that it tells; `None` once it has ended. Safe to drop while it waits.
    pub(super) async fn next(&mut self) -> Option<Record> {
        loop {
            while let Some(line) = self.events.piece() {
                if let Some(record) = Record::read(&line) {
                    return Some(record);
                }
            }
            if self.over {
                return None;
            }
            let Output { stdout, stderr, .. } = &mut self.output;
            let [open, errors_open] = &mut self.open;
            tokio::select! {
                biased;
                read = stdout.read_buf(self.events.buffer()), if *open => {
                    *open = matches!(read, Ok(1..));
                }
                read = stderr.read_buf(&mut self.errors), if *errors_open => {
                    *errors_open = matches!(read, Ok(1..));
                }
                news = self.keeper.next() => self.heard(news),
            }
        }
    }

    fn heard(&mut self, news: Option<News>) {
        match news {
            Some(News::Started(pid)) => self.pid = Some(Pid::from_raw(pid.cast_signed())),
            Some(News::Exited(ended)) => {
                self.pid = None;
                self.exit = Some(ended);
            }
            Some(News::Failed { what, .. }) => self.errors = format!("error: {what}").into_bytes(),
            Some(_) => {}
            None => {
                // The keeper itself was killed, so that its children are ended here.
                self.signal(Signal::SIGKILL);
                drain(&self.output.stdout, self.events.buffer());
                drain(&self.output.stderr, &mut self.errors);
                self.over = true;
            }
        }
    }

    /// Has it build and start again. Not by its keeper, which signals a group: something may be
    /// starting in there.
    pub(super) fn reload(&self) {
        self.signal(Signal::SIGHUP);
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid {
            kill(pid, signal).ok();
        }
    }

    /// Gives its keeper an order.
    pub(super) async fn order(&self, order: &Order) {
        self.keeper.order(order).await;
    }

    /// How it ended, and what it wrote to stderr.
    pub(super) fn last_words(&self) -> (Exit, String) {
        let exit = self.exit.unwrap_or(Exit::Unknown);
        (exit, String::from_utf8_lossy(&self.errors).into_owned())
    }
}

/// Takes what is there; a process that inherited the pipe may keep it open for ever.
fn drain(pipe: &pipe::Receiver, buffer: &mut Vec<u8>) {
    while let Ok(1..) = take_rest(pipe, buffer) {}
}
