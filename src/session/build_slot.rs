//! The one place where builds happen, one at a time: collects changes, waits for quiet, knows
//! what runs and what is requested next.

use std::path::PathBuf;
use std::time::Duration;

use super::loops::Loops;
use super::model::{ArtifactRef, Cause, Change, ChangeSet, Changed, Generation, Moment};
use super::preparation::{Preparation, Stage};
use super::{OnChange, Policy};

/// How often the quiet period is doubled at most.
const LONGER: u32 = 4;

/// A build under way.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) generation: Generation,
    pub(super) started: Moment,
    pub(super) set: ChangeSet,
    /// How long the user's `before_build` took.
    pub(super) prepared: Option<Duration>,
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
    /// What changed since a build last began, whatever became of what was requested for it.
    changed: Changed,
    /// So many builds in a row were cancelled.
    cancelled: u32,
    /// How late a change may be noticed that `before_build` made.
    pub(super) lag: Duration,
    loops: Loops,
    preparation: Preparation,
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
        self.loops.reset();
        self.changed.anything |= cause == Cause::Rescan;
        match &mut self.requested {
            Some(set) => set.merge(now, cause, forced),
            None => self.requested = Some(ChangeSet::new(now, cause, forced)),
        }
        self.outdated(on_change)
    }

    /// The build that runs or is requested, if there is one, is to bring a new start, whatever
    /// becomes of it.
    pub(super) fn restart(&mut self) -> bool {
        let running = self.running.iter_mut().map(|running| &mut running.set);
        let mut sets = running.chain(self.requested.iter_mut());
        let first = sets.next();
        first
            .map(|set| (set.forced, set.restart) = (true, true))
            .is_some()
    }

    /// Adds changed paths. Returns the running build, if that became worthless by them.
    pub(super) fn add(
        &mut self,
        now: Moment,
        changes: Vec<Change>,
        on_change: OnChange,
    ) -> Option<Generation> {
        let paths: Vec<PathBuf> = changes.iter().map(|change| change.path.clone()).collect();
        self.look_for_loops(&paths);
        self.preparation.saw(&changes);
        let empty = || ChangeSet::new(now, Cause::Changed(Vec::new()), false);
        let set = self.requested.get_or_insert_with(empty);
        let own = |change: &Change| self.preparation.writes(&change.path);
        let changes = changes.into_iter().filter(|change| !own(change));
        for change in changes {
            self.changed.add(&change);
            set.add(now, change);
        }
        if set.is_empty() {
            self.requested = None;
            return None;
        }
        self.outdated(on_change)
    }

    fn look_for_loops(&mut self, paths: &[PathBuf]) {
        if self.requested.is_some() {
            self.loops.also(paths);
        } else if self.running.is_some() {
            self.loops.again(paths);
        } else {
            self.loops.reset();
        }
    }

    /// The file that the builds themselves change, at the moment at which that is clear, and how
    /// long is waited now.
    pub(super) fn found_loop(&mut self) -> Option<(PathBuf, Duration)> {
        self.loops.found()
    }

    fn outdated(&mut self, on_change: OnChange) -> Option<Generation> {
        match on_change {
            // What goes round would never get to its end.
            OnChange::Cancel if self.loops.wait().is_none() => self.cancel(),
            OnChange::Cancel | OnChange::Queue => None,
        }
    }

    /// The running build is not wanted any more: its generation, if it was not told before.
    pub(super) fn cancel(&mut self) -> Option<Generation> {
        let running = self.running.as_mut().filter(|running| !running.cancelled)?;
        running.cancelled = true;
        let generation = running.generation;
        self.cancelled += 1;
        Some(generation)
    }

    /// Forgets what was requested, now and later: hotrun ends.
    pub(super) fn close(&mut self) {
        self.give_up();
        self.closed = true;
    }

    /// Forgets what was requested: it can't be built.
    pub(super) fn give_up(&mut self) -> Option<ChangeSet> {
        self.preparation.reset();
        self.requested.take()
    }

    /// When the next build starts, if nothing more comes.
    pub(super) fn due(&self, policy: &Policy) -> Option<Moment> {
        if self.running.is_some() {
            return None;
        }
        let set = self.requested.as_ref()?;
        let quiet = match set.cause {
            Cause::Changed(_) | Cause::Rescan => {
                // Who has written over several builds is about to write more.
                let debounce = policy.debounce * (1 << self.cancelled.min(LONGER));
                set.quiet_at(debounce, policy.max_wait)
            }
            _ => set.first,
        };
        let looped = self.loops.wait().map(|wait| set.first + wait);
        let quiet = quiet.max(looped.unwrap_or_default());
        match self.preparation.stage {
            Stage::Requested => Some(quiet),
            Stage::Running => None,
            Stage::Ran(at) => {
                let last = set.last.max(at) + policy.debounce + self.lag;
                Some(last.min(at + policy.max_wait + self.lag))
            }
        }
    }

    /// Whether the user's command has to run before the requested build; if so, it is begun.
    pub(super) fn begin_preparation(&mut self, now: Moment, policy: &Policy) -> bool {
        let due = self.due(policy).is_some_and(|due| due <= now);
        let wanted = due && policy.hooks.before_build.is_some();
        let begin = match self.preparation.stage {
            Stage::Requested => wanted,
            Stage::Running => false,
            Stage::Ran(_) => wanted && self.preparation.again(),
        };
        if begin {
            self.preparation.begin(now);
        }
        begin
    }

    /// The command has failed: what was requested can't be built before something changes, unless
    /// that happened while it ran.
    /// Returns what is given up.
    pub(super) fn unprepared(&mut self) -> Option<ChangeSet> {
        if self.preparation.failed() {
            return None;
        }
        self.give_up()
    }

    /// The command has ended well.
    pub(super) fn prepared(&mut self, now: Moment) {
        self.preparation.ended(now);
        // What was requested may have vanished meanwhile.
        if self.requested.is_none() {
            self.give_up();
        }
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
        let prepared = self.preparation.took(now);
        let set = self.give_up()?;
        Some(self.running.insert(Running {
            generation: generation(),
            started: now,
            set,
            prepared,
            baseline: None,
            reading: false,
            cancelled: false,
        }))
    }

    /// What changed since a build last began; asked for once, by the one that begins now.
    pub(super) fn changed(&mut self) -> Changed {
        std::mem::take(&mut self.changed)
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
            self.cancelled = 0;
            return Some(running);
        }
        if self.closed {
            return None;
        }
        let mut set = running.set;
        set.made.clear();
        if let Some(newer) = self.requested.take() {
            set.merge(newer.last, newer.cause, newer.forced);
            set.restart |= newer.restart;
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

#[cfg(test)]
mod tests {
    use super::super::model::{ChangeKind, Presence};
    use super::super::scenarios::policy;
    use super::*;

    fn change(path: &str, kind: ChangeKind) -> Change {
        Change {
            path: path.into(),
            kind,
            presence: Presence::There,
        }
    }

    /// Cargo may miss what is older than its last run: it has to hear of all that changed, whatever
    /// was said to be the cause, and though what was requested first could not be built.
    #[test]
    fn the_next_build_hears_of_everything_that_changed() {
        let (policy, now) = (policy(), Moment::ZERO);
        let mut slot = BuildSlot::default();
        let add = |slot: &mut BuildSlot, path: &str, kind| {
            slot.add(now, vec![change(path, kind)], OnChange::Cancel);
        };
        add(&mut slot, "a.rs", ChangeKind::Source);
        slot.request(now, Cause::Asked, true, OnChange::Cancel);
        slot.give_up();
        add(&mut slot, "b.sql", ChangeKind::Named);
        let due = slot.due(&policy).unwrap();
        assert!(slot.start(due, &policy, || Generation(1)).is_some());
        let changed = slot.changed();
        assert_eq!(changed.paths, ["a.rs", "b.sql"].map(PathBuf::from).into());
        assert_eq!(changed.named, ["b.sql"].map(PathBuf::from).into());
        assert!(!changed.anything);
        slot.request(now, Cause::Rescan, true, OnChange::Cancel);
        assert!(slot.changed().anything);
        assert_eq!(slot.changed(), Changed::default());
    }
}
