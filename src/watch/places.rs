//! Which directories are watched, and by what: each without what is below it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::backend::Backend;
use super::silence::Silence;
use crate::session::reason::Reason;

/// The watched directories.
#[derive(Debug)]
pub(super) struct Places {
    backend: Backend,
    watched: HashSet<PathBuf>,
    /// Those that were watched before, while it is found out anew what is to be watched.
    before: HashSet<PathBuf>,
    /// The system does not tell of everything: what has to be polled from here on.
    silence: Option<Silence>,
    /// What could not be watched since that was last asked for.
    problems: Vec<Reason>,
}

impl Places {
    /// None yet.
    pub(super) fn new(backend: Backend, problems: Vec<Reason>) -> Self {
        Self {
            backend,
            watched: HashSet::new(),
            before: HashSet::new(),
            silence: None,
            problems,
        }
    }

    pub(super) fn is_polled(&self) -> bool {
        self.backend.is_polled()
    }

    /// How late a change may be noticed.
    pub(super) fn lag(&self) -> Duration {
        self.backend.lag()
    }

    /// This directory is watched.
    pub(super) fn has(&self, dir: &Path) -> bool {
        self.watched.contains(dir)
    }

    /// This directory was watched before it began to be found out anew.
    pub(super) fn had(&self, dir: &Path) -> bool {
        self.before.contains(dir)
    }

    /// A directory at or below this one is watched.
    pub(super) fn has_below(&self, dir: &Path) -> bool {
        self.watched.iter().any(|watched| watched.starts_with(dir))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    /// From now on only what is asked for is watched, until [`Self::settle`].
    pub(super) fn begin(&mut self) {
        self.before = std::mem::take(&mut self.watched);
    }

    /// What was not asked for since [`Self::begin`] is not watched any more.
    pub(super) fn settle(&mut self) {
        for gone in std::mem::take(&mut self.before) {
            if !self.watched.contains(&gone) {
                self.backend.unwatch(&gone);
            }
        }
    }

    /// Nothing is watched any more: every directory may be another one than it was.
    pub(super) fn clear(&mut self) {
        for dir in std::mem::take(&mut self.watched) {
            self.backend.unwatch(&dir);
        }
    }

    /// Another backend from here on, which watches nothing yet.
    pub(super) fn replace(&mut self, backend: Backend) {
        self.backend = backend;
        self.watched.clear();
    }

    /// Why the system does not tell of everything, if that has turned out, and how many directories
    /// were to be watched.
    pub(super) fn take_silence(&mut self) -> Option<(Silence, usize)> {
        let silence = self.silence.take()?;
        Some((silence, std::mem::take(&mut self.watched).len()))
    }

    pub(super) fn add_problem(&mut self, problem: Reason) {
        self.problems.push(problem);
    }

    pub(super) fn take_problems(&mut self) -> Vec<Reason> {
        std::mem::take(&mut self.problems)
    }

    /// Watches where `dir` comes, or comes back: nothing but the directory above it tells of that.
    /// `is_base`: as long as the project itself is there, what is above it does not matter.
    pub(super) fn watch_above(&mut self, dir: &Path, is_base: bool) {
        // A poll finds what was away by itself, and reads whatever lies beside it.
        let is_enough = self.backend.is_polled() || is_base;
        if is_enough && dir.is_dir() {
            return;
        }
        if let Some(parent) = dir.parent() {
            self.watch_near(parent);
        }
    }

    /// Watches this directory, or else the nearest one above it.
    pub(super) fn watch_near(&mut self, dir: &Path) {
        if self.watched.contains(dir) {
            return;
        }
        let nearest = || dir.ancestors().find(|dir| dir.is_dir());
        let mut last = None;
        // What came while it was looked for is not told any more.
        while let Some(found) = nearest()
            && last != Some(found)
        {
            self.watch(found);
            last = Some(found);
        }
    }

    /// Watches the directories from this one up to `base`, of which one may be moved away.
    pub(super) fn watch_up_to(&mut self, dir: &Path, base: &Path) {
        for above in dir.ancestors() {
            if !above.starts_with(base) {
                break;
            }
            self.watch(above);
        }
    }

    /// Watches this directory.
    pub(super) fn watch(&mut self, dir: &Path) {
        if !self.watched.insert(dir.to_owned()) || self.before.contains(dir) {
            return;
        }
        if !self.backend.is_polled() {
            self.silence = self.silence.take().or_else(|| Silence::of_dir(dir));
        }
        // Then the rest is only counted.
        if self.silence.is_some() {
            return;
        }
        if let Err(error) = self.backend.watch(dir) {
            self.silence = Silence::of_error(&error).filter(|_| !self.backend.is_polled());
            if self.silence.is_some() {
                return;
            }
            self.watched.remove(dir);
            // A directory that went away between the look and the watch is no problem.
            if dir.is_dir() {
                let problem = format!("cannot watch `{}`: {error}", dir.display());
                self.problems.push(problem.into());
            }
        }
    }

    /// This directory went, or was moved: what is watched at or below it is not there any more.
    pub(super) fn forget(&mut self, dir: &Path) {
        let below = self.watched.extract_if(|watched| watched.starts_with(dir));
        for gone in below.collect::<Vec<_>>() {
            self.backend.unwatch(&gone);
        }
    }
}
