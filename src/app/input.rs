//! What is typed, or piped, into hotrun, handed on to the newest generation.
//!
//! # Theory of operation
//!
//! A thread reads hotrun's stdin, one piece at a time, and waits until it is taken; a task hands
//! each piece on to the newest generation that has a stdin: the candidate, else live. Nothing waits
//! for a program that does not read. What a process was given and did not take is lost with it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read};
use std::os::fd::AsFd;
use std::thread;

use tokio::net::unix::pipe::Sender;
use tokio::sync::mpsc;

use crate::defect;
use crate::session::model::Generation;

/// What Ctrl-D is at a terminal: the line as it is, or, on an empty one, the end of the input.
const END: u8 = 4;

/// Room for one read.
const PIECE: usize = 4096;

enum Message {
    Attach(Generation, Reader),
    Detach(Generation),
}

/// Who reads what is handed on.
#[derive(Debug)]
struct Reader {
    stdin: Sender,
    terminal: bool,
}

/// The handle of what is typed.
#[derive(Clone, Debug)]
pub struct Input {
    messages: mpsc::UnboundedSender<Message>,
}

/// Keeps a generation's stdin open; when it is dropped, the generation gets nothing more.
#[derive(Debug)]
pub(super) struct Attached {
    generation: Generation,
    messages: mpsc::UnboundedSender<Message>,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.messages.send(Message::Detach(self.generation)).ok();
    }
}

impl Input {
    /// Reads hotrun's stdin from now on. Must be called inside the runtime; ends with hotrun.
    pub fn start() -> io::Result<Self> {
        let stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let typed = stdin.is_terminal();
        let (pieces, inbox) = mpsc::channel(1);
        thread::Builder::new().name("input".into()).spawn(move || {
            // What it was about to read is read by the next turn.
            while defect::caught(|| read(&stdin, typed, &pieces)).is_err() {}
        })?;
        let (messages, orders) = mpsc::unbounded_channel();
        tokio::spawn(hand_on(inbox, orders));
        Ok(Self { messages })
    }

    /// Hands on to this generation until the result is dropped, or a newer one is there.
    pub(super) fn attach(&self, generation: Generation, stdin: Sender, terminal: bool) -> Attached {
        let reader = Reader { stdin, terminal };
        self.messages.send(Message::Attach(generation, reader)).ok();
        Attached {
            generation,
            messages: self.messages.clone(),
        }
    }
}

/// Reads until the end. `typed`: at a terminal, where the end is a key like others.
fn read(mut stdin: &File, typed: bool, pieces: &mpsc::Sender<Vec<u8>>) {
    let mut buffer = [0; PIECE];
    defect::point("input");
    loop {
        let mut piece = match stdin.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // A terminal that hung up ends again and again, and is none any more.
            Ok(0) if !typed || !stdin.is_terminal() => return,
            Err(_) => return,
            Ok(count) => buffer[..count].to_vec(),
        };
        // The terminal hands over lines; one without an end was ended by Ctrl-D.
        if typed && !piece.ends_with(b"\n") {
            piece.push(END);
        }
        if pieces.blocking_send(piece).is_err() {
            return;
        }
    }
}

/// The task's side.
#[derive(Debug, Default)]
struct HandOn {
    readers: BTreeMap<Generation, Reader>,
    /// What was read and not taken.
    rest: Vec<u8>,
    /// A part of that piece was taken.
    begun: bool,
    /// The last byte that was taken did not end a line.
    line_open: bool,
    /// Nothing more comes.
    ended: bool,
}

async fn hand_on(
    mut pieces: mpsc::Receiver<Vec<u8>>,
    mut orders: mpsc::UnboundedReceiver<Message>,
) {
    let mut state = HandOn::default();
    loop {
        let newest = state.readers.last_key_value().map(|(_, reader)| reader);
        let idle = state.rest.is_empty();
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(order) => state.take(order),
                None => return,
            },
            piece = pieces.recv(), if newest.is_some() && idle && !state.ended => match piece {
                Some(piece) => state.rest = piece,
                None => state.end(),
            },
            count = write(newest, &state.rest), if !idle => state.taken(count),
        }
    }
}

impl HandOn {
    fn take(&mut self, order: Message) {
        let newest = self.newest();
        match order {
            Message::Attach(generation, reader) => {
                self.readers.insert(generation, reader);
            }
            Message::Detach(generation) => _ = self.readers.remove(&generation),
        }
        if self.newest() != newest {
            // Half a piece makes no sense to another one.
            if std::mem::take(&mut self.begun) {
                self.rest.clear();
            }
            self.line_open = false;
            if self.ended {
                self.end();
            }
        }
    }

    fn newest(&self) -> Option<Generation> {
        let newest = self.readers.last_key_value();
        newest.map(|(generation, _)| *generation)
    }

    /// Nothing more comes: a pipe is closed, at a terminal somebody has to say so.
    fn end(&mut self) {
        self.ended = true;
        self.readers.retain(|_, reader| reader.terminal);
        if !self.readers.is_empty() {
            // One hands over what stands on the line, one ends that line, one ends the input.
            self.rest = vec![END; if self.line_open { 3 } else { 1 }];
        }
    }

    /// The newest took so much of the piece; nothing, if it reads no more.
    fn taken(&mut self, count: usize) {
        if count == 0 {
            self.readers.pop_last();
            self.rest.clear();
        } else {
            self.line_open = self.rest[count - 1] != b'\n';
            self.rest.drain(..count);
        }
        self.begun = !self.rest.is_empty();
    }
}

/// Writes to a reader as soon as it takes something: how much; nothing, if it never will. Safe to
/// drop while it waits.
async fn write(reader: Option<&Reader>, rest: &[u8]) -> usize {
    let Some(Reader { stdin, .. }) = reader else {
        return std::future::pending().await;
    };
    while stdin.writable().await.is_ok() {
        match stdin.try_write(rest) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            written => return written.unwrap_or_default(),
        }
    }
    0
}
