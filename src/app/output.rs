//! One output pipe of the app: bytes in, whole lines out, and no more of it in memory than the
//! reader of the other end is willing to take.

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use crate::keeper::client::take_rest;
use crate::lines::{Lines, Stream};
use crate::session::model::Generation;
use crate::sink::{Chunk, Room, Sink};

/// The most that is taken from a pipe after its app has ended: what it left behind may go on
/// writing for ever.
const LAST_WORDS: usize = 1024 * 1024;

/// A pipe and what was read from it but not handed on.
#[derive(Debug)]
pub(super) struct Pipe {
    stream: Stream,
    receiver: Receiver,
    lines: Lines,
    ready: Vec<u8>,
    open: bool,
}

impl Pipe {
    pub(super) fn new(stream: Stream, receiver: Receiver) -> Self {
        Self {
            stream,
            receiver,
            lines: Lines::default(),
            ready: Vec::new(),
            open: true,
        }
    }

    /// Which one it is.
    pub(super) fn stream(&self) -> Stream {
        self.stream
    }

    /// Waits until it can go on: hands on what is ready once there is room, or else reads.
    /// Returns new whole lines. Safe to drop while it waits.
    pub(super) async fn go_on(&mut self, generation: Generation, sink: &Sink) -> Vec<u8> {
        if !self.ready.is_empty() {
            let room = sink.room().await;
            self.put(generation, sink, room);
            return Vec::new();
        }
        if !self.open {
            return std::future::pending().await;
        }
        let read = self.receiver.read_buf(self.lines.buffer()).await;
        self.open = matches!(read, Ok(1..));
        self.take_lines()
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
        let rest = self.lines.rest();
        self.ready.extend_from_slice(&rest);
        new.extend_from_slice(&rest);
        self.put(generation, sink, None);
        new
    }

    fn take_lines(&mut self) -> Vec<u8> {
        let whole = self.lines.whole();
        self.ready.extend_from_slice(&whole);
        whole
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
