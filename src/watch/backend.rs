//! The source of events: the system, or polling.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use notify::{Event, PollWatcher, RecommendedWatcher, RecursiveMode, Result, Watcher};
use notify_debouncer_full::{DebounceEventResult, Debouncer, NoCache, new_debouncer_opt};

use super::Message;
use super::silence::Silence;
use crate::config;
use crate::defect;
use crate::session::reason::Reason;

/// How long the changes that one poll finds are collected, so that they are passed on together; and how
/// often the debouncer wakes for that. With the quiet period of a save it would be every 2 ms.
const COLLECT: Duration = Duration::from_millis(40);
const WAKE: Duration = Duration::from_millis(20);

/// Native events, or polling at an interval.
#[derive(Debug)]
pub(super) enum Backend {
    Native(RecommendedWatcher),
    Polled(Debouncer<PollWatcher, NoCache>, Duration),
}

/// What gives events to the watching thread.
pub(super) fn sender(messages: &mpsc::Sender<Message>) -> impl Fn(Result<Event>) + use<> {
    let messages = messages.clone();
    move |event| {
        // In a thread of `notify`, which would not start again.
        let hand_on = || {
            defect::point("file events");
            messages.send(Message::Found(event)).ok();
        };
        if defect::caught("file events", hand_on).is_err() {
            messages.send(Message::Lost).ok();
        }
    }
}

impl Backend {
    /// Native events, unless the user wants polling or there are none, which is a problem then.
    pub(super) fn chosen<F: FnMut(Result<Event>) + Send + 'static>(
        settings: &config::Watch,
        problems: &mut Vec<Reason>,
        found: impl Fn() -> F,
    ) -> Result<Self> {
        if let Some(interval) = settings.poll {
            return Self::polled(interval, found());
        }
        let error = match Self::native(found()) {
            Ok(backend) => return Ok(backend),
            Err(error) => error,
        };
        let Some(silence) = Silence::of_error(&error) else {
            return Err(error);
        };
        problems.push(silence.explain(1, settings.poll_by_itself));
        Self::polled(settings.poll_by_itself, found())
    }

    /// Uses the system's events.
    pub(super) fn native(found: impl FnMut(Result<Event>) + Send + 'static) -> Result<Self> {
        notify::recommended_watcher(found).map(Self::Native)
    }

    /// Polls.
    pub(super) fn polled(
        interval: Duration,
        mut found: impl FnMut(Result<Event>) + Send + 'static,
    ) -> Result<Self> {
        let found = move |result: DebounceEventResult| match result {
            Ok(events) => events.into_iter().for_each(|event| found(Ok(event.event))),
            Err(errors) => errors.into_iter().for_each(|error| found(Err(error))),
        };
        // The poller compares time stamps by the second, so two saves within one second only differ by
        // content. Reading a file also makes a network file system ask its server.
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
        // Errors don't matter: the system itself drops the watch of a directory that is gone.
        match self {
            Self::Native(watcher) => watcher.unwatch(dir).ok(),
            Self::Polled(debouncer, _) => debouncer.unwatch(dir).ok(),
        };
    }
}
