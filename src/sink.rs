//! The way of all output to the printer: bounded, so that a program that writes faster than is printed
//! is slowed down, and no line is dropped. An app's output comes in chunks; output of cargo and hooks
//! goes through the session, line by line, each of which holds its room until it is printed.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::lines::Stream;
use crate::session::model::Generation;

/// Whole lines that an app wrote.
#[derive(Debug)]
pub struct Chunk {
    /// The generation that wrote them.
    pub generation: Generation,
    /// Its stdout or stderr.
    pub stream: Stream,
    /// The lines, with their newlines.
    pub bytes: Vec<u8>,
    /// Frees the room once the chunk is printed.
    pub room: Option<Room>,
}

/// The right to pass on one chunk.
pub type Room = OwnedSemaphorePermit;

/// How many chunks may wait to be printed; a chunk is at most one read of a pipe.
const CHUNKS: usize = 32;

/// Passes chunks on to the printer.
#[derive(Clone)]
pub struct Sink {
    room: Arc<Semaphore>,
    take: Arc<dyn Fn(Chunk) + Send + Sync>,
}

impl Sink {
    /// A sink that passes chunks on to `take`, which must not wait.
    pub fn new(take: impl Fn(Chunk) + Send + Sync + 'static) -> Self {
        Self {
            room: Arc::new(Semaphore::new(CHUNKS)),
            take: Arc::new(take),
        }
    }

    /// The same sink, whose chunks are seen before they are passed on.
    #[must_use]
    pub fn also(self, see: impl Fn(&Chunk) + Send + Sync + 'static) -> Self {
        let take = self.take;
        Self {
            room: self.room,
            take: Arc::new(move |chunk| {
                see(&chunk);
                take(chunk);
            }),
        }
    }

    /// Waits until there is room for a chunk. Safe to drop while it waits.
    pub async fn room(&self) -> Option<Room> {
        self.room.clone().acquire_owned().await.ok()
    }

    /// Passes a chunk on. Without `room` for output that can't wait: the last of an app.
    pub fn put(&self, chunk: Chunk) {
        (self.take)(chunk);
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("room", &self.room.available_permits())
            .finish_non_exhaustive()
    }
}

/// The most lines of cargo and hooks that may be on their way to the printer.
const LINES: usize = 1000;

/// The room for them: there is one printer.
static LINE_ROOM: Semaphore = Semaphore::const_new(LINES);

/// The right to send one line on its way.
pub type LineRoom = SemaphorePermit<'static>;

/// Waits until there is room for one more line on the way to the printer, so that what writes more is
/// slowed down. Safe to drop while it waits.
pub async fn room_for_line() -> Option<LineRoom> {
    LINE_ROOM.acquire().await.ok()
}
