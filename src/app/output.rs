//! One output pipe of the app: bytes in, whole lines out, and no more of it in memory than the
//! reader of the other end is willing to take.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::time::{Instant, sleep_until};

use crate::keeper::client::take_rest;
use crate::lines::{Lines, Stream};
use crate::session::model::Generation;
use crate::sink::{Chunk, Room, Sink};

/// The most that is taken from a pipe after its app has ended: what it left behind may go on
/// writing for ever.
const LAST_WORDS: usize = 1024 * 1024;

/// A line that has no end for this long is a question, if there is somebody who may answer.
const QUESTION: Duration = Duration::from_millis(50);

/// A pipe and what was read from it but not handed on.
#[derive(Debug)]
pub(super) struct Pipe {
    stream: Stream,
    receiver: Receiver,
    lines: Lines,
    ready: Vec<u8>,
    open: bool,
    /// What is typed reaches the app.
    is_answered: bool,
    /// Since when a line has no end.
    begun: Option<Instant>,
}

impl Pipe {
    /// A pipe of an app; whether it `is_answered` when it asks something.
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

    /// Which one it is.
    pub(super) fn stream(&self) -> Stream {
        self.stream
    }

    /// Waits until it can go on: hands on what is ready once there is room, or else reads.
    /// Returns new whole lines, and a question. Safe to drop while it waits.
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

    /// Takes what is there now and hands all of it on at once, with a last line that has no end.
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
