//! How long a build waits for more changes.
//!
//! A finished save of a source is built at once. Whatever follows closely belongs to the same burst (a
//! second write by a formatter, "save all", a checkout): it cancels that build, which has cost next to
//! nothing by then, and the next one waits for a quiet period, longer each time. The quiet period also
//! stands for what no event tells: that the writer of a file is done.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Policy;
use super::model::{Change, Changed, Changes, Content, Moment, Save};

/// How often the quiet period is doubled at most.
const LONGER: u32 = 4;

/// The changes that follow each other closely.
#[derive(Clone, Debug, Default)]
pub(super) struct Burst {
    /// When the last one came.
    last: Moment,
    /// How many builds they have cancelled.
    cancelled: u32,
    /// Changed files whose saves are not known to be finished.
    unfinished: BTreeMap<PathBuf, Save>,
}

impl Burst {
    /// The longest quiet period: what comes later belongs to another burst.
    pub(super) fn longest(policy: &Policy) -> Duration {
        (policy.debounce * (1 << LONGER)).min(policy.max_wait)
    }

    /// Something is a reason to build now.
    pub(super) fn goes_on(&mut self, now: Moment, policy: &Policy) {
        if now.saturating_sub(self.last) > Self::longest(policy) {
            self.cancelled = 0;
        }
        self.last = now;
    }

    /// This file has changed.
    pub(super) fn saw(&mut self, change: &Change) {
        if matches!(change.save, Save::Finished | Save::ByGit) {
            self.saved(&change.path);
        } else {
            self.unfinished.insert(change.path.clone(), change.save);
        }
    }

    /// The writer of this file is done.
    pub(super) fn saved(&mut self, path: &Path) {
        self.unfinished.remove(path);
    }

    /// It has cancelled a build that began at this moment.
    pub(super) fn cancelled(&mut self, began: Moment, policy: &Policy) {
        // What has run for longer was begun for an earlier burst.
        if self.last.saturating_sub(began) <= Self::longest(policy) {
            self.cancelled += 1;
        }
    }

    /// A build has begun with all of these changes.
    pub(super) fn built(&mut self, changes: &Changes) {
        for changed in changes.iter() {
            self.unfinished.remove(&changed.path);
        }
    }

    /// It has cancelled builds, so more changes are likely to come.
    pub(super) fn is_long(&self) -> bool {
        self.cancelled > 0
    }

    /// It is over: a build has finished, or there is nothing to build.
    pub(super) fn end(&mut self) {
        self.cancelled = 0;
    }

    /// One of these changes is a finished save of a source, and none is the middle of one.
    pub(super) fn is_finished(&self, changes: &Changes) -> bool {
        let is_finished = |source: &Changed| {
            !source.now.is_transitional() && !self.unfinished.contains_key(&source.path)
        };
        let is_source = |changed: &&Changed| changed.kind.is_source();
        let sources: Vec<&Changed> = changes.iter().filter(is_source).collect();
        !sources.is_empty() && sources.into_iter().all(is_finished)
    }

    /// How long these changes wait for more.
    pub(super) fn quiet(&self, changes: &Changes, policy: &Policy) -> Duration {
        // Editors leave a file empty for a moment: its content follows at once. So does the rest where the
        // file is still open.
        let goes_on = |changed: &Changed| {
            let save = self.unfinished.get(&changed.path);
            changed.now == Content::Empty || save == Some(&Save::Open)
        };
        if changes.iter().any(goes_on) {
            return policy.max_wait;
        }
        policy.debounce * (1 << self.cancelled.saturating_sub(1).min(LONGER))
    }
}

#[cfg(test)]
mod tests {
    use super::super::scenarios::policy;
    use super::*;

    #[test]
    fn what_comes_later_than_the_longest_quiet_period_is_another_burst() {
        let policy = policy();
        let longest = Burst::longest(&policy);
        assert_eq!(longest, Duration::from_millis(128));
        let is_long = |pause| {
            let mut burst = Burst::default();
            burst.goes_on(Moment::ZERO, &policy);
            burst.cancelled(Moment::ZERO, &policy);
            burst.goes_on(pause, &policy);
            burst.is_long()
        };
        assert!(is_long(longest));
        assert!(!is_long(longest + Duration::from_nanos(1)));
        // So is what comes after a build that has run for longer.
        let cancels = |began: Duration| {
            let mut burst = Burst::default();
            burst.goes_on(began + longest, &policy);
            burst.cancelled(began, &policy);
            burst.is_long()
        };
        assert!(cancels(Duration::from_secs(1)));
    }
}
