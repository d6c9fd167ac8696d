//! The user's `before_build` and what it writes. What changes while the command runs is built anyway,
//! since cargo starts after it; but whether the user saved something that the command has to see, or the
//! command wrote it itself, can only be learned. So the command runs once more if a file has other
//! content after a run than before, and a file that is written in two runs in a row is the command's own
//! writing. A file written with the same bytes is no change.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::model::{Change, Changes, Content, Moment};

/// The most runs for one build, whatever changes.
const RUNS: u32 = 3;

/// The state of `before_build` for a requested build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// The command has not run for it.
    #[default]
    Requested,
    /// The command runs.
    Running,
    /// The command ended then; its last changes may not be noticed yet.
    Ran(Moment),
}

/// What is known of the command.
#[derive(Clone, Debug, Default)]
pub(super) struct BeforeBuild {
    pub(super) stage: Stage,
    /// When the first run for this build began.
    began: Option<Moment>,
    runs: u32,
    /// Paths whose content differs from when this run began.
    changed: Changes,
    /// Paths written since this run began, with whatever bytes.
    written: BTreeSet<PathBuf>,
    /// Paths written in the run before, for the same build.
    before: BTreeSet<PathBuf>,
    /// The command's own writing.
    own: BTreeSet<PathBuf>,
    /// Settings changed since this run began.
    configured: bool,
}

impl BeforeBuild {
    /// A run begins.
    pub(super) fn begin(&mut self, now: Moment) {
        self.began.get_or_insert(now);
        self.stage = Stage::Running;
        self.runs += 1;
        self.changed = Changes::default();
        self.configured = false;
        self.before = std::mem::take(&mut self.written);
    }

    /// The run has ended.
    pub(super) fn ended(&mut self, now: Moment) {
        self.stage = Stage::Ran(now);
    }

    /// How long the build had to wait for the command.
    pub(super) fn took(&self, now: Moment) -> Option<Duration> {
        self.began.map(|began| now.saturating_sub(began))
    }

    /// The path is the command's own writing, which is no reason to build or to run again.
    pub(super) fn writes(&self, path: &Path) -> bool {
        self.stage != Stage::Requested && self.own.contains(path)
    }

    /// Settings changed: a run that fails now may have failed because of what they were.
    pub(super) fn configured(&mut self) {
        self.configured = true;
    }

    /// Takes in what was written.
    pub(super) fn saw(&mut self, changes: &[Change]) {
        for change in changes {
            if self.stage != Stage::Requested {
                self.changed.add(change);
                if change.now == Content::Missing {
                    // A file that appeared and vanished was a temporary one.
                    self.written.remove(&change.path);
                } else {
                    self.written.insert(change.path.clone());
                }
            } else if !change.is_same() {
                // The command is not running, so the user writes this.
                self.own.remove(&change.path);
            }
        }
    }

    /// Whether the command has to run again before the build.
    pub(super) fn again(&mut self) -> bool {
        let repeated = self.written.intersection(&self.before);
        self.own.extend(repeated.cloned());
        let changed = self.changed.paths();
        self.runs < RUNS && changed.iter().any(|path| !self.own.contains(path))
    }

    /// The command failed. Returns whether something changed meanwhile that may mend it.
    pub(super) fn failed(&mut self) -> bool {
        let again = self.again() || self.configured;
        self.stage = Stage::Requested;
        again
    }

    /// The build starts, or is not wanted any more: forgets all but the command's own writing.
    pub(super) fn reset(&mut self) {
        *self = Self {
            own: std::mem::take(&mut self.own),
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{ChangeKind, Save};
    use super::*;

    /// One run in which these paths get other bytes, or (`=`) the same ones, or appear and vanish (`-`).
    fn run(hook: &mut BeforeBuild, changes: &[&str]) -> bool {
        hook.begin(Moment::ZERO);
        let change = |path: &str, before, now| Change {
            path: path.trim_start_matches(['-', '=']).into(),
            kind: ChangeKind::Source,
            before: Some(before),
            now,
            save: Save::Unknown,
            script: None,
        };
        for path in changes {
            let (one, two) = (Content::Digest(1), Content::Digest(2));
            match path.chars().next() {
                Some('=') => hook.saw(&[change(path, one, one)]),
                Some('-') => {
                    hook.saw(&[change(path, Content::Missing, one)]);
                    hook.saw(&[change(path, one, Content::Missing)]);
                }
                _ => hook.saw(&[change(path, one, two)]),
            }
        }
        hook.ended(Moment::ZERO);
        let again = hook.again();
        if !again {
            hook.reset();
        }
        again
    }

    #[test]
    fn what_it_writes_is_learned_and_what_the_user_saves_is_not() {
        let mut hook = BeforeBuild::default();
        assert!(run(&mut hook, &["generated.rs"]));
        assert!(!run(&mut hook, &["=generated.rs"]));
        assert!(!run(&mut hook, &["generated.rs"]));
        assert!(run(&mut hook, &["generated.rs", "schema.sql"]));
        assert!(!run(&mut hook, &["generated.rs"]));
        assert!(run(&mut hook, &["schema.sql"]));
        assert!(!run(&mut hook, &[]));
        // `sed -i` writes under another name each time.
        assert!(!run(&mut hook, &["-sedAbC", "generated.rs"]));
    }

    #[test]
    fn what_the_user_writes_meanwhile_is_not_its_own_any_more() {
        let mut hook = BeforeBuild::default();
        assert!(run(&mut hook, &["generated.rs"]));
        assert!(!run(&mut hook, &["generated.rs"]));
        let change = |before, now| Change {
            path: "generated.rs".into(),
            kind: ChangeKind::Source,
            before: Some(Content::Digest(before)),
            now: Content::Digest(now),
            save: Save::Unknown,
            script: None,
        };
        hook.saw(&[change(2, 2)]);
        assert!(!run(&mut hook, &["generated.rs"]));
        hook.saw(&[change(2, 3)]);
        assert!(run(&mut hook, &["generated.rs"]));
    }

    #[test]
    fn the_same_bytes_are_no_change() {
        let mut hook = BeforeBuild::default();
        assert!(!run(&mut hook, &["=generated.rs"]));
    }

    #[test]
    fn it_does_not_run_for_ever() {
        let mut hook = BeforeBuild::default();
        assert!(run(&mut hook, &["a"]));
        assert!(run(&mut hook, &["b"]));
        assert!(!run(&mut hook, &["c"]));
    }
}
