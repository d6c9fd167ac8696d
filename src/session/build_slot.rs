//! The one place where builds happen, one at a time: collects changes, waits for quiet, knows
//! what runs and what is requested next.

use super::model::{ArtifactRef, Cause, Change, ChangeSet, Generation, Moment};
use super::{OnChange, Policy};

/// A build under way.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) generation: Generation,
    pub(super) started: Moment,
    pub(super) set: ChangeSet,
    /// What its result is compared with; kept until it is over.
    pub(super) baseline: Option<ArtifactRef>,
    /// Cargo reads the project: a write to `Cargo.lock` is its own.
    pub(super) reading: bool,
    /// It was told to end; its result is worthless.
    cancelled: bool,
}

/// At most one build runs, at most one is requested, and both know why.
#[derive(Clone, Debug, Default)]
pub(super) struct BuildSlot {
    requested: Option<ChangeSet>,
    running: Option<Running>,
    closed: bool,
}

impl BuildSlot {
    /// Asks for a build. Returns the running one, if that became worthless by it.
    pub(super) fn request(
        &mut self,
        now: Moment,
        cause: Cause,
        forced: bool,
        on_change: OnChange,
    ) -> Option<Generation> {
        match &mut self.requested {
            Some(set) => set.merge(now, cause, forced),
            None => self.requested = Some(ChangeSet::new(now, cause, forced)),
        }
        self.outdated(on_change)
    }

    /// Adds changed paths. Returns the running build, if that became worthless by them.
    pub(super) fn add(
        &mut self,
        now: Moment,
        changes: Vec<Change>,
        on_change: OnChange,
    ) -> Option<Generation> {
        let empty = || ChangeSet::new(now, Cause::Changed(Vec::new()), false);
        let set = self.requested.get_or_insert_with(empty);
        for change in changes {
            set.add(now, change);
        }
        if set.is_empty() {
            self.requested = None;
            return None;
        }
        self.outdated(on_change)
    }

    fn outdated(&mut self, on_change: OnChange) -> Option<Generation> {
        match on_change {
            OnChange::Cancel => self.cancel(),
            OnChange::Queue => None,
        }
    }

    /// The running build is not wanted any more: its generation, if it was not told before.
    pub(super) fn cancel(&mut self) -> Option<Generation> {
        let running = self.running.as_mut().filter(|running| !running.cancelled)?;
        running.cancelled = true;
        Some(running.generation)
    }

    /// Forgets what was requested, now and later: hotrun ends.
    pub(super) fn close(&mut self) {
        self.requested = None;
        self.closed = true;
    }

    /// When the next build starts, if nothing more comes.
    pub(super) fn due(&self, policy: &Policy) -> Option<Moment> {
        if self.running.is_some() {
            return None;
        }
        let set = self.requested.as_ref()?;
        Some(match set.cause {
            Cause::Changed(_) | Cause::Rescan => {
                (set.last + policy.debounce).min(set.first + policy.max_wait)
            }
            _ => set.first,
        })
    }

    /// Starts the requested build if it is due.
    pub(super) fn start(
        &mut self,
        now: Moment,
        policy: &Policy,
        generation: impl FnOnce() -> Generation,
    ) -> Option<&mut Running> {
        if self.due(policy)? > now {
            return None;
        }
        let set = self.requested.take()?;
        Some(self.running.insert(Running {
            generation: generation(),
            started: now,
            set,
            baseline: None,
            reading: false,
            cancelled: false,
        }))
    }

    /// The running build, if it is this one and its news are still wanted.
    pub(super) fn current(&mut self, generation: Generation) -> Option<&mut Running> {
        self.running
            .as_mut()
            .filter(|running| running.generation == generation && !running.cancelled)
    }

    /// What the running build's result is compared with.
    pub(super) fn baseline(&self) -> Option<&ArtifactRef> {
        self.running.as_ref()?.baseline.as_ref()
    }

    /// Cargo reads the project just now.
    pub(super) fn reading(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.reading)
    }

    /// The build is over. What a cancelled one was to build is requested again, with the newer
    /// changes, and `None` is returned: its result must not be used.
    pub(super) fn done(&mut self, generation: Generation) -> Option<Running> {
        let running = self
            .running
            .take_if(|running| running.generation == generation)?;
        if !running.cancelled {
            return Some(running);
        }
        if self.closed {
            return None;
        }
        let mut set = running.set;
        set.made.clear();
        if let Some(newer) = self.requested.take() {
            set.merge(newer.last, newer.cause, newer.forced);
            // The quiet period is that of the newer changes: the older ones have had theirs.
            set.first = newer.first;
            set.made = newer.made;
        }
        self.requested = Some(set);
        None
    }

    /// A build runs or is requested.
    pub(super) fn busy(&self) -> bool {
        self.running.is_some() || self.requested.is_some()
    }

    /// A build runs.
    pub(super) fn running(&self) -> bool {
        self.running.is_some()
    }
}
