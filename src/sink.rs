//! Where the app's output goes: bounded, so that an app that writes faster than anybody reads is
//! slowed down rather than cut.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
