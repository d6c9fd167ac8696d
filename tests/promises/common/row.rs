//! A row of a table of things that people and programs do to a project: how many builds and restarts it
//! may cost.
//!
//! "Nothing more happens" can't be waited for. So each row is followed by a plain save, the fence: it has
//! to be built and served, so a watcher that lost track does not pass, and whatever the row still had to
//! say comes before it in the stream.

use std::ops::RangeInclusive;

use super::hotrun::Place;
use super::{Hotrun, Project, say};

/// None at all.
pub(crate) const NONE: RangeInclusive<usize> = 0..=0;
/// Exactly one.
pub(crate) const ONE: RangeInclusive<usize> = 1..=1;

/// What was done, and what it may have cost.
pub(crate) struct Row<'a> {
    pub(crate) name: &'a str,
    /// Its place in the table.
    pub(crate) number: usize,
    pub(crate) builds: &'a RangeInclusive<usize>,
    pub(crate) restarts: &'a RangeInclusive<usize>,
}

impl Row<'_> {
    /// Waits for what it has to cost since `start`, and for the fence; what was more or less than it may
    /// be.
    #[track_caller]
    pub(crate) fn check(&self, project: &Project, hotrun: &Hotrun, start: Place) -> Option<String> {
        if *self.restarts.start() > 0 {
            hotrun.wait_next_live(start);
        } else if *self.builds.start() > 0 {
            hotrun.wait_after(start, "unchanged", |_| true);
        }
        let fence = format!("fence-{}", self.number);
        project.set_version(&fence);
        hotrun.wait_version(&fence);
        let events = hotrun.events_after(start);
        let named = |name: &'static str| events.iter().filter(move |event| event["event"] == name);
        // The last one of each is the fence's.
        let (built, restarted) = (named("building").count() - 1, named("live").count() - 1);
        let cost = format!("{}: {built} builds, {restarted} restarts", self.name);
        say(&cost);
        let right = self.builds.contains(&built) && self.restarts.contains(&restarted);
        (!right).then(|| {
            let causes = named("building").map(|event| event["cause"].to_string());
            format!("{cost}, of {:?}", causes.collect::<Vec<_>>())
        })
    }
}
