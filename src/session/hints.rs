//! When to show a hint for a file that looks like an input and that nothing depends on: when nothing
//! that is built was saved with it, once for each directory, and not where an app stores many files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::model::{Change, ChangeKind, Content, Cure, Moment};

/// Files that the user saves together are written within this time.
const TOGETHER: Duration = Duration::from_secs(1);
/// More new files than this at once, in one directory, were not saved by the user.
const MANY: usize = 3;

/// One file that may deserve a hint.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    path: PathBuf,
    cure: Cure,
    is_new: bool,
}

/// The files saved lately, and the directories that had their hint.
#[derive(Clone, Debug, Default)]
pub(super) struct Hints {
    seen: Vec<Seen>,
    /// The paths of all of them.
    known: BTreeSet<PathBuf>,
    at: Option<Moment>,
    told: BTreeSet<PathBuf>,
}

impl Hints {
    /// Takes in what was written; `busy`: a build runs or is requested.
    pub(super) fn saw(&mut self, now: Moment, rest: &[Change], busy: bool) {
        if busy {
            *self = Self {
                told: std::mem::take(&mut self.told),
                ..Self::default()
            };
            return;
        }
        for change in rest {
            let ChangeKind::Rest(cure) = change.kind else {
                continue;
            };
            let gone = change.now == Content::Missing;
            if gone || change.is_same() || self.told.contains(directory(&change.path)) {
                continue;
            }
            self.at = Some(now + TOGETHER);
            if !self.known.insert(change.path.clone()) {
                continue;
            }
            self.seen.push(Seen {
                path: change.path.clone(),
                cure,
                is_new: matches!(change.before, None | Some(Content::Missing)),
            });
        }
    }

    /// When a hint may be due.
    pub(super) fn next(&self) -> Option<Moment> {
        self.at
    }

    /// The file that a hint is due for, and its cure.
    pub(super) fn due(&mut self, now: Moment, busy: bool) -> Option<(PathBuf, Cure)> {
        let due = self.at.is_some_and(|at| at <= now);
        if !due && !busy {
            return None;
        }
        self.at = None;
        let seen = std::mem::take(&mut self.seen);
        self.known.clear();
        if busy {
            return None;
        }
        let mut new: BTreeMap<&Path, usize> = BTreeMap::new();
        for one in seen.iter().filter(|one| one.is_new) {
            *new.entry(directory(&one.path)).or_default() += 1;
        }
        let is_filed = |one: &&Seen| new.get(directory(&one.path)) > Some(&MANY);
        let one = seen.iter().find(|one| !is_filed(one))?;
        self.told.insert(directory(&one.path).to_owned());
        Some((one.path.clone(), one.cure))
    }
}

fn directory(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}
