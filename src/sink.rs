//! The way of all output to the printer: bounded, so that a program that writes faster than is printed
//! is slowed down, and no line is dropped. An app's output comes in chunks; output of cargo and hooks
//! goes through the session, line by line, and is counted.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

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

/// The most lines that may wait to be printed before cargo and hooks are slowed down.
const LINES: usize = 1000;

/// The backlog of the printer, of which there is one.
static BACKLOG: Backlog = Backlog {
    waiting: AtomicUsize::new(0),
    less: Notify::const_new(),
};

/// The number of lines that wait to be printed.
#[derive(Debug)]
pub struct Backlog {
    waiting: AtomicUsize,
    less: Notify,
}

impl Backlog {
    /// The backlog of this process.
    pub fn own() -> &'static Self {
        &BACKLOG
    }

    /// Counts a line that waits.
    pub fn add(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a line that was printed.
    pub fn printed(&self) {
        if self.waiting.fetch_sub(1, Ordering::Relaxed) == LINES {
            self.less.notify_waiters();
        }
    }

    /// Waits until there is room for more. Safe to drop while it waits.
    pub async fn room(&self) {
        // Lines read before are counted once the session has handled them.
        tokio::task::yield_now().await;
        loop {
            let less = self.less.notified();
            if self.waiting.load(Ordering::Relaxed) < LINES {
                return;
            }
            less.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_writer_waits_until_there_is_room() {
        static OWN: Backlog = Backlog {
            waiting: AtomicUsize::new(0),
            less: Notify::const_new(),
        };
        OWN.room().await;
        (0..LINES).for_each(|_| OWN.add());
        let waiting = tokio::spawn(OWN.room());
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        OWN.printed();
        waiting.await.unwrap();
    }
}
