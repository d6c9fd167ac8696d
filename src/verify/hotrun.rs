//! The hotrun under load: a child of a keeper, as everything is that must not outlive us, heard by
//! its JSON events and asked by signals, as anybody could.

use std::ffi::OsString;
use std::io;
use std::sync::Arc;

use socket2::Socket;

use crate::helper::{CommandEvent, Running};
use crate::keeper::protocol::{Launch, Order};
use crate::lines::Stream;
use crate::report::Record;
use crate::session::model::Exit;
use crate::sys::{host, signals};

/// The hidden first argument of a hotrun that is loaded: it does the main job with what was typed
/// after it, and tells it as JSON.
pub const ARGUMENT: &str = "__under-load";

/// It, until it has ended.
#[derive(Debug)]
pub(super) struct Hotrun {
    command: Running,
    errors: Vec<u8>,
    exit: Exit,
}

impl Hotrun {
    /// Starts it with these words after its name.
    pub(super) async fn start(
        words: &[OsString],
        env: Vec<(OsString, OsString)>,
        dir: OsString,
        sockets: &[Arc<Socket>],
    ) -> io::Result<Self> {
        let mut args = vec![OsString::from(ARGUMENT)];
        args.extend(words.iter().cloned());
        let launch = Launch {
            program: host::own_program().into(),
            argv0: "hotrun".into(),
            args,
            env,
            dir,
            ..Launch::default()
        };
        Ok(Self {
            command: Running::start(None, launch, sockets).await?,
            errors: Vec::new(),
            exit: Exit::Unknown,
        })
    }

    /// The next thing that it tells; `None` once it has ended. Safe to drop while it waits.
    pub(super) async fn next(&mut self) -> Option<Record> {
        loop {
            match self.command.next().await? {
                CommandEvent::Output(Stream::Stdout, line, _) => {
                    if let Some(record) = Record::read(&line) {
                        return Some(record);
                    }
                }
                CommandEvent::Output(Stream::Stderr, text, _) => self.errors.extend(text),
                CommandEvent::Exited(exit) => self.exit = exit,
                CommandEvent::CannotStart { what, .. } => {
                    self.errors = format!("error: {what}").into_bytes();
                }
                CommandEvent::NoDirectory(dir) => {
                    self.errors = format!("error: the directory `{dir}` is gone").into_bytes();
                }
            }
        }
    }

    /// Has it build and start again. Not by its keeper, which signals a group: something may be
    /// starting in there.
    pub(super) fn reload(&self) {
        self.command.signal(signals::HANGUP);
    }

    /// Gives its keeper an order.
    pub(super) async fn order(&self, order: &Order) {
        self.command.order(order).await;
    }

    /// How it ended, and what it wrote to stderr.
    pub(super) fn last_words(&self) -> (Exit, String) {
        let errors = String::from_utf8_lossy(&self.errors).into_owned();
        (self.exit, errors)
    }
}
