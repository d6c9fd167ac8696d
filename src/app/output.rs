//! One output pipe of the app: reads bytes, passes whole lines on, and buffers no more than the sink has
//! room for.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep_until};

use crate::lines::{Lines, Stream};
use crate::session::model::Generation;
use crate::sink::{Chunk, Room, Sink};
use crate::sys::pipes::{Receiver, take_rest};

/// The most bytes that are read from a pipe after the app has exited: processes that it left behind may
/// write on without end.
const LAST_WORDS: usize = 1024 * 1024;

/// A line without a newline for this long is a prompt, if the app's stdin can be answered.
const QUESTION: Duration = Duration::from_millis(50);

/// A pipe, and what was read from it but not passed on.
#[derive(Debug)]
pub(super) struct Pipe {
    stream: Stream,
    receiver: Receiver,
    lines: Lines,
    ready: Vec<u8>,
    open: bool,
    /// The user can answer a prompt, since the app gets hotrun's stdin.
    is_answered: bool,
    /// Since when the last line has no newline.
    begun: Option<Instant>,
}

impl Pipe {
    pub(super) fn new(stream: Stream, receiver: Receiver, is_answered: bool) -> Self {
        Self {
            stream,
            receiver,
            lines: Lines::default(),
            ready: Vec::new(),
            open: true,
            is_answered,
            begun: None,
        }
    }

    pub(super) fn stream(&self) -> Stream {
        self.stream
    }

    /// Waits until there is room for the lines that are ready, and passes them on; without such lines,
    /// reads. Returns new whole lines, and prompts. Safe to drop while it waits.
    pub(super) async fn go_on(&mut self, generation: Generation, sink: &Sink) -> Vec<u8> {
        if !self.ready.is_empty() {
            let room = sink.room().await;
            self.put(generation, sink, room);
            return Vec::new();
        }
        if !self.open {
            return std::future::pending().await;
        }
        let question = self.begun.map(|begun| begun + QUESTION);
        tokio::select! {
            biased;
            read = self.receiver.read_buf(self.lines.buffer()) => {
                self.open = matches!(read, Ok(1..));
            }
            () = sleep_until(question.unwrap_or_else(Instant::now)), if question.is_some() => {
                self.begun = None;
                return self.take_rest();
            }
        }
        let new = self.take_lines();
        let asks = self.is_answered && self.open && self.lines.is_within_a_line();
        self.begun = asks.then(Instant::now);
        new
    }

    /// Reads what is in the pipe and passes all of it on at once, with a last line without newline.
    /// Returns what is new.
    pub(super) fn finish(&mut self, generation: Generation, sink: &Sink) -> Vec<u8> {
        let mut taken = 0;
        while taken < LAST_WORDS
            && let Ok(count @ 1..) = take_rest(&self.receiver, self.lines.buffer())
        {
            taken += count;
        }
        let mut new = self.take_lines();
        new.extend(self.take_rest());
        self.put(generation, sink, None);
        new
    }

    fn take_lines(&mut self) -> Vec<u8> {
        let whole = self.lines.whole();
        self.ready.extend_from_slice(&whole);
        whole
    }

    fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.lines.rest();
        self.ready.extend_from_slice(&rest);
        rest
    }

    fn put(&mut self, generation: Generation, sink: &Sink, room: Option<Room>) {
        let bytes = std::mem::take(&mut self.ready);
        if !bytes.is_empty() {
            sink.put(Chunk {
                generation,
                stream: self.stream,
                bytes,
                room,
            });
        }
    }
}
