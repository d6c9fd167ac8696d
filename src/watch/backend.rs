//! Where events come from: the system, or a look every so often.

use std::path::Path;
use std::time::Duration;

use notify::{Event, PollWatcher, RecommendedWatcher, RecursiveMode, Result, Watcher};
use notify_debouncer_full::{DebounceEventResult, Debouncer, NoCache, new_debouncer_opt};

/// How long what one look finds is collected, so that it is handed on as one; and how often the
/// debouncer wakes for that. It would be once in 2 ms with the quiet period of a save.
const COLLECT: Duration = Duration::from_millis(40);
const WAKE: Duration = Duration::from_millis(20);

/// One of the two.
#[derive(Debug)]
pub(super) enum Backend {
    Native(RecommendedWatcher),
    Polled(Debouncer<PollWatcher, NoCache>, Duration),
}

impl Backend {
    /// The system tells.
    pub(super) fn native(found: impl FnMut(Result<Event>) + Send + 'static) -> Result<Self> {
        notify::recommended_watcher(found).map(Self::Native)
    }

    /// It is looked for.
    pub(super) fn polled(
        interval: Duration,
        mut found: impl FnMut(Result<Event>) + Send + 'static,
    ) -> Result<Self> {
        let found = move |result: DebounceEventResult| match result {
            Ok(events) => events.into_iter().for_each(|event| found(Ok(event.event))),
            Err(errors) => errors.into_iter().for_each(|error| found(Err(error))),
        };
        // Time stamps are compared by the second; two saves within one are told apart by content
        // only. To read a file is also what makes a network file system ask its server.
        let config = notify::Config::default()
            .with_poll_interval(interval)
            .with_compare_contents(true);
        new_debouncer_opt(COLLECT, Some(WAKE), found, NoCache, config)
            .map(|watcher| Self::Polled(watcher, interval))
    }

    pub(super) fn is_polled(&self) -> bool {
        matches!(self, Self::Polled(..))
    }

    /// How late a change may be noticed.
    pub(super) fn lag(&self) -> Duration {
        match self {
            Self::Native(_) => Duration::ZERO,
            Self::Polled(_, interval) => *interval + COLLECT,
        }
    }

    /// Watches a directory, and nothing below it.
    pub(super) fn watch(&mut self, dir: &Path) -> Result<()> {
        let mode = RecursiveMode::NonRecursive;
        match self {
            Self::Native(watcher) => watcher.watch(dir, mode),
            Self::Polled(debouncer, _) => debouncer.watch(dir, mode),
        }
    }

    pub(super) fn unwatch(&mut self, dir: &Path) {
        // The system drops the watch of a directory that is gone by itself.
        match self {
            Self::Native(watcher) => watcher.unwatch(dir).ok(),
            Self::Polled(debouncer, _) => debouncer.unwatch(dir).ok(),
        };
    }
}
