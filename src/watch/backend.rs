//! Where events come from: the system, or a look every so often.

use std::path::Path;
use std::time::Duration;

use notify::{Event, PollWatcher, RecommendedWatcher, RecursiveMode, Result, Watcher};

/// One of the two.
#[derive(Debug)]
pub(super) enum Backend {
    Native(RecommendedWatcher),
    Polled(PollWatcher),
}

impl Backend {
    /// The system tells.
    pub(super) fn native(found: impl FnMut(Result<Event>) + Send + 'static) -> Result<Self> {
        notify::recommended_watcher(found).map(Self::Native)
    }

    /// It is looked for.
    pub(super) fn polled(
        interval: Duration,
        found: impl FnMut(Result<Event>) + Send + 'static,
    ) -> Result<Self> {
        // Time stamps are compared by the second; two saves within one are told apart by content
        // only. To read a file is also what makes a network file system ask its server.
        let config = notify::Config::default()
            .with_poll_interval(interval)
            .with_compare_contents(true);
        PollWatcher::new(found, config).map(Self::Polled)
    }

    pub(super) fn is_polled(&self) -> bool {
        matches!(self, Self::Polled(_))
    }

    /// Watches a directory, and nothing below it.
    pub(super) fn watch(&mut self, dir: &Path) -> Result<()> {
        let mode = RecursiveMode::NonRecursive;
        match self {
            Self::Native(watcher) => watcher.watch(dir, mode),
            Self::Polled(watcher) => watcher.watch(dir, mode),
        }
    }

    pub(super) fn unwatch(&mut self, dir: &Path) {
        // The system drops the watch of a directory that is gone by itself.
        match self {
            Self::Native(watcher) => watcher.unwatch(dir).ok(),
            Self::Polled(watcher) => watcher.unwatch(dir).ok(),
        };
    }
}
