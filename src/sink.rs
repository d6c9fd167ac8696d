//! Where output goes: bounded, so that a program that writes faster than anybody reads is slowed down
//! rather than cut. What an app writes comes in chunks; what cargo and hooks write goes through the
//! session, line by line, and is counted.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::lines::Stream;
use crate::session::model::Generation;

/// Whole lines that an app wrote.
#[derive(Debug)]
pub struct Chunk {
    /// Who wrote them.
    pub generation: Generation,
    /// Where.
    pub stream: Stream,
    /// With their line ends.
    pub bytes: Vec<u8>,
    /// Gives the room back when the chunk has been written.
    pub room: Option<Room>,
}

/// The right to hand on one chunk.
pub type Room = OwnedSemaphorePermit;

/// How many chunks may wait to be written; one is at most what one read of a pipe gives.
const CHUNKS: usize = 32;

/// Hands chunks on to whoever writes them.
#[derive(Clone)]
pub struct Sink {
    room: Arc<Semaphore>,
    take: Arc<dyn Fn(Chunk) + Send + Sync>,
}

impl Sink {
    /// A sink that hands on to `take`, which must not wait.
    pub fn new(take: impl Fn(Chunk) + Send + Sync + 'static) -> Self {
        Self {
            room: Arc::new(Semaphore::new(CHUNKS)),
            take: Arc::new(take),
        }
    }

    /// Waits until there is room for a chunk. Safe to drop while it waits.
    pub async fn room(&self) -> Option<Room> {
        self.room.clone().acquire_owned().await.ok()
    }

    /// Hands on a chunk. Without `room` it is one that can't wait: the last words of an app.
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

/// So many lines may wait to be printed before those who write more of them are made to wait.
const LINES: usize = 1000;

/// What waits to be printed: there is one printer.
static BACKLOG: Backlog = Backlog {
    waiting: AtomicUsize::new(0),
    less: Notify::const_new(),
};

/// The lines that wait to be printed, of whatever they are.
#[derive(Debug)]
pub struct Backlog {
    waiting: AtomicUsize,
    less: Notify,
}

impl Backlog {
    /// That of this process.
    pub fn own() -> &'static Self {
        &BACKLOG
    }

    /// One more waits.
    pub fn add(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// One was printed.
    pub fn printed(&self) {
        if self.waiting.fetch_sub(1, Ordering::Relaxed) == LINES {
            self.less.notify_waiters();
        }
    }

    /// Waits until there is room for more. Safe to drop while it waits.
    pub async fn room(&self) {
        // What was read before is counted when the session has seen it.
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
    async fn who_writes_waits_until_there_is_room() {
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
