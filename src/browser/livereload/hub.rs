//! The reloads of this run: how many there were, and the connections that hear of the next one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;
use tokio::time::Instant;

/// A browser that has not taken in so many reloads gets one for the whole page instead.
const MOST: usize = 16;

/// The messages of one reload, in order.
pub(super) type Messages = Arc<[String]>;

/// How many reloads there were, and when the last one was.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Past {
    pub(super) count: u64,
    last: Option<Instant>,
}

impl Past {
    /// How long ago the last one was, in milliseconds.
    pub(super) fn ago(self) -> Option<f64> {
        Some(self.last?.elapsed().as_secs_f64() * 1000.0)
    }
}

#[derive(Debug)]
pub(super) struct Hub {
    browsers: broadcast::Sender<(u64, Messages)>,
    past: Mutex<Past>,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            browsers: broadcast::Sender::new(MOST),
            past: Mutex::default(),
        }
    }
}

impl Hub {
    /// Tells all browsers, and returns how many that are.
    pub(super) fn reload(&self, messages: Vec<String>) -> usize {
        let mut past = self.past();
        past.count += 1;
        past.last = Some(Instant::now());
        self.browsers
            .send((past.count, messages.into()))
            .unwrap_or(0)
    }

    /// All later reloads, and those before: none is in both, and none in neither.
    pub(super) fn subscribe(&self) -> (Past, broadcast::Receiver<(u64, Messages)>) {
        let past = self.past();
        (*past, self.browsers.subscribe())
    }

    /// The reloads so far.
    pub(super) fn so_far(&self) -> Past {
        *self.past()
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
