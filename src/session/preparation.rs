//! The user's `before_build` and what it writes: what changes while it runs is built anyway, since
//! cargo starts after it; but whether the user saved something that it has to see, or it wrote that
//! itself, can only be learned. So it runs once more for what changed meanwhile, and what changes
//! with every run is its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::model::{Change, Moment, Presence};

/// So often it runs for one build, whatever changes.
const RUNS: u32 = 3;

/// How far a requested build is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing was run for it.
    #[default]
    Requested,
    /// The command runs.
    Running,
    /// It ended then; its last changes may still be on their way.
    Ran(Moment),
}

/// What is known of the command.
#[derive(Clone, Debug, Default)]
pub(super) struct Preparation {
    pub(super) stage: Stage,
    /// When the first run for this build began.
    began: Option<Moment>,
    runs: u32,
    /// What changed since this run began.
    changed: Vec<PathBuf>,
    /// What changed in the run before, for the same build.
    before: Vec<PathBuf>,
    /// What it writes.
    own: Vec<PathBuf>,
}

impl Preparation {
    /// It is started.
    pub(super) fn begin(&mut self, now: Moment) {
        self.began.get_or_insert(now);
        self.stage = Stage::Running;
        self.runs += 1;
        self.before = std::mem::take(&mut self.changed);
    }

    /// It has ended.
    pub(super) fn ended(&mut self, now: Moment) {
        self.stage = Stage::Ran(now);
    }

    /// It writes this itself, as far as one can know: that is no reason for anything.
    pub(super) fn writes(&self, path: &Path) -> bool {
        self.stage != Stage::Requested && self.own.iter().any(|own| own == path)
    }

    /// How long the build had to wait for it.
    pub(super) fn took(&self, now: Moment) -> Option<Duration> {
        self.began.map(|began| now.saturating_sub(began))
    }

    /// These paths changed.
    pub(super) fn saw(&mut self, changes: &[Change]) {
        for Change { path, presence, .. } in changes {
            if self.stage == Stage::Requested {
                // Nothing of ours runs: it is the user who writes this.
                self.own.retain(|own| own != path);
            } else if *presence == Presence::Vanished {
                // What came and went was somebody's temporary file.
                self.changed.retain(|changed| changed != path);
            } else {
                self.changed.push(path.clone());
            }
        }
    }

    /// Whether it has to run again before the build.
    pub(super) fn again(&mut self) -> bool {
        self.learn();
        self.runs < RUNS && self.changed.iter().any(|path| !self.own.contains(path))
    }

    /// It failed. Whether something changed meanwhile that may mend it.
    pub(super) fn failed(&mut self) -> bool {
        let again = self.again();
        self.stage = Stage::Requested;
        again
    }

    /// What changed in two runs in a row is its own.
    fn learn(&mut self) {
        let repeated = self
            .changed
            .iter()
            .filter(|path| self.before.contains(path) && !self.own.contains(path));
        let own: Vec<PathBuf> = repeated.cloned().collect();
        self.own.extend(own);
    }

    /// The build starts, or is not wanted any more.
    pub(super) fn reset(&mut self) {
        *self = Self {
            own: std::mem::take(&mut self.own),
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::ChangeKind;
    use super::*;

    fn run(preparation: &mut Preparation, changes: &[&str]) -> bool {
        preparation.begin(Moment::ZERO);
        let change = |path: &&str| Change {
            path: path.trim_start_matches('-').into(),
            kind: ChangeKind::Source,
            presence: if path.starts_with('-') {
                Presence::Vanished
            } else {
                Presence::There
            },
        };
        let changes: Vec<Change> = changes.iter().map(change).collect();
        preparation.saw(&changes);
        preparation.ended(Moment::ZERO);
        let again = preparation.again();
        if !again {
            preparation.reset();
        }
        again
    }

    #[test]
    fn what_it_writes_is_learned_and_what_the_user_saves_is_not() {
        let mut preparation = Preparation::default();
        assert!(run(&mut preparation, &["generated.rs"]));
        assert!(!run(&mut preparation, &["generated.rs"]));
        assert!(!run(&mut preparation, &["generated.rs"]));
        assert!(run(&mut preparation, &["generated.rs", "schema.sql"]));
        assert!(!run(&mut preparation, &["generated.rs"]));
        assert!(run(&mut preparation, &["schema.sql"]));
        assert!(!run(&mut preparation, &[]));
        // `sed -i` writes under another name each time.
        assert!(!run(
            &mut preparation,
            &["sedAbC", "generated.rs", "-sedAbC"]
        ));
    }

    #[test]
    fn it_does_not_run_for_ever() {
        let mut preparation = Preparation::default();
        assert!(run(&mut preparation, &["a"]));
        assert!(run(&mut preparation, &["b"]));
        assert!(!run(&mut preparation, &["c"]));
    }
}
