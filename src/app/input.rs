//! Passes hotrun's stdin on to the newest generation.
//!
//! # Theory of operation
//!
//! A thread reads hotrun's stdin in chunks, one at a time; a task writes each to the newest generation
//! that has a stdin: the candidate, else live. Nothing waits for a program that does not read. Input
//! that was written to a process and not read by it is lost with it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read};
use std::ops::ControlFlow;

use tokio::sync::mpsc;

use crate::defect;
use crate::session::model::Generation;
use crate::sys::files;
use crate::sys::pipes::Sender;

/// Ctrl-D, which ends the input at the beginning of a terminal's line, and hands over the line
/// elsewhere.
const END: u8 = 4;

/// The most bytes of one chunk.
const PIECE: usize = 4096;

enum Message {
    Attach(Generation, Reader),
    Detach(Generation),
}

/// The stdin of one generation.
#[derive(Debug)]
struct Reader {
    stdin: Sender,
    terminal: bool,
}

/// The handle of the task.
#[derive(Clone, Debug)]
pub struct Input {
    messages: mpsc::UnboundedSender<Message>,
}

/// Keeps a generation's stdin open; dropped, the generation gets no more input.
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
    /// Starts to read hotrun's stdin. Must be called inside the runtime; ends with hotrun.
    pub fn start() -> io::Result<Self> {
        let stdin = files::copy(&io::stdin())?;
        let typed = stdin.is_terminal();
        let (pieces, inbox) = mpsc::channel(1);
        let step = move |stdin: &mut File| {
            read(stdin, typed, &pieces);
            ControlFlow::Break(())
        };
        let run = move || defect::repeat("input", stdin, step, |_| ());
        defect::spawn_thread("input", None, run)?;
        let (messages, mut orders) = mpsc::unbounded_channel();
        let (mut inbox, mut state) = (inbox, HandOn::default());
        let hand_on = async move || hand_on(&mut state, &mut inbox, &mut orders).await;
        defect::spawn("stdin", defect::again("stdin", hand_on));
        Ok(Self { messages })
    }

    /// Passes input on to this generation until the result is dropped, or a newer one is attached.
    pub(super) fn attach(&self, generation: Generation, stdin: Sender, terminal: bool) -> Attached {
        let reader = Reader { stdin, terminal };
        self.messages.send(Message::Attach(generation, reader)).ok();
        Attached {
            generation,
            messages: self.messages.clone(),
        }
    }
}

/// Reads to the end of the input. `typed`: from a terminal, where the end is a key (Ctrl-D).
fn read(mut stdin: &File, typed: bool, pieces: &mpsc::Sender<Vec<u8>>) {
    let mut buffer = [0; PIECE];
    defect::point("input");
    loop {
        let mut piece = match stdin.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // A terminal that has hung up reports the end again and again, and is no terminal any more.
            Ok(0) if !typed || !stdin.is_terminal() => return,
            Err(_) => return,
            Ok(count) => buffer[..count].to_vec(),
        };
        // A terminal hands over whole lines; one without a newline was handed over by Ctrl-D.
        if typed && !piece.ends_with(b"\n") {
            piece.push(END);
        }
        if pieces.blocking_send(piece).is_err() {
            return;
        }
    }
}

/// The state of the task.
#[derive(Debug, Default)]
struct HandOn {
    readers: BTreeMap<Generation, Reader>,
    /// The rest of the chunk, which is not written yet.
    rest: Vec<u8>,
    /// A part of the chunk is written.
    begun: bool,
    /// The last byte written was not a newline.
    line_open: bool,
    /// The input has ended.
    ended: bool,
}

async fn hand_on(
    state: &mut HandOn,
    pieces: &mut mpsc::Receiver<Vec<u8>>,
    orders: &mut mpsc::UnboundedReceiver<Message>,
) {
    defect::point("stdin");
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
            // The rest of a chunk makes no sense to another generation.
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

    /// The input has ended: closes pipes, and ends the input of terminals with Ctrl-D.
    fn end(&mut self) {
        self.ended = true;
        self.readers.retain(|_, reader| reader.terminal);
        if !self.readers.is_empty() {
            // The first hands over the open line, the second ends it, and the third ends the input.
            self.rest = vec![END; if self.line_open { 3 } else { 1 }];
        }
    }

    /// The newest generation took `count` bytes of the chunk; none if it does not read any more.
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

/// Writes to a reader as soon as it has room; returns how many bytes it took, 0 if it has closed its
/// stdin. Safe to drop while it waits.
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
