//! The set of watched directories, each without the directories below it, and the backend that watches
//! them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::backend::Backend;
use super::silence::Silence;
use crate::session::reason::Reason;

/// What a project has in its own directory.
const MANIFEST: &str = "Cargo.toml";

/// This is the path of the manifest in the project's own directory.
pub(super) fn is_manifest(path: &Path, base: &Path) -> bool {
    path.file_name().is_some_and(|name| name == MANIFEST) && path.parent() == Some(base)
}

/// The watched directories.
#[derive(Debug)]
pub(super) struct Places {
    backend: Backend,
    watched: HashSet<PathBuf>,
    /// The directories watched before, while the set is computed anew.
    before: HashSet<PathBuf>,
    /// Why native events don't suffice, once that has turned out.
    silence: Option<Silence>,
    /// The directories that could not be watched, since this was last taken.
    problems: Vec<Reason>,
}

impl Places {
    /// Watches nothing yet.
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

    /// This directory was watched before [`Self::begin`].
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

    /// Begins to compute the set anew, until [`Self::settle`].
    pub(super) fn begin(&mut self) {
        self.before = std::mem::take(&mut self.watched);
    }

    /// Unwatches the directories that were not asked for since [`Self::begin`].
    pub(super) fn settle(&mut self) {
        for gone in std::mem::take(&mut self.before) {
            if !self.watched.contains(&gone) {
                self.backend.unwatch(&gone);
            }
        }
    }

    /// Unwatches everything: any directory may have been replaced.
    pub(super) fn clear(&mut self) {
        for dir in std::mem::take(&mut self.watched) {
            self.backend.unwatch(&dir);
        }
    }

    /// Uses another backend from here on, which watches nothing yet.
    pub(super) fn replace(&mut self, backend: Backend) {
        self.backend = backend;
        self.watched.clear();
    }

    /// Why native events don't suffice, if that has turned out, and how many directories were to be
    /// watched.
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

    /// Watches the directory above `dir`, which alone tells when `dir` appears or comes back. `is_base`:
    /// the project's own directory; as long as it has its manifest, the one above is not needed.
    pub(super) fn watch_above(&mut self, dir: &Path, is_base: bool) {
        let is_enough = if self.backend.is_polled() {
            // A poll notices by itself when `dir` appears, and would read everything beside it.
            dir.is_dir()
        } else {
            is_base && dir.join(MANIFEST).exists()
        };
        if is_enough {
            return;
        }
        if let Some(parent) = dir.parent() {
            self.watch_near(parent);
        }
    }

    /// Watches this directory, or if it does not exist, the nearest one above it.
    pub(super) fn watch_near(&mut self, dir: &Path) {
        if self.watched.contains(dir) {
            return;
        }
        let nearest = || dir.ancestors().find(|dir| dir.is_dir());
        let mut last = None;
        // A directory that appeared before the watch began causes no event: so look again.
        while let Some(found) = nearest()
            && last != Some(found)
        {
            self.watch(found);
            last = Some(found);
        }
    }

    /// Watches the directory in which this file is or may appear, and those above it up to `base`: any of
    /// them may be moved away.
    pub(super) fn watch_file(&mut self, file: &Path, base: &Path) {
        let Some(dir) = file.parent() else {
            return;
        };
        self.watch_near(dir);
        if dir.is_dir() {
            for above in dir.ancestors().take_while(|above| above.starts_with(base)) {
                self.watch(above);
            }
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
        // From then on, directories are only counted.
        if self.silence.is_some() {
            return;
        }
        if let Err(error) = self.backend.watch(dir) {
            self.silence = Silence::of_error(&error).filter(|_| !self.backend.is_polled());
            if self.silence.is_some() {
                return;
            }
            self.watched.remove(dir);
            // A directory that vanished just before the watch is no problem.
            if dir.is_dir() {
                let problem = format!("cannot watch `{}`: {error}", dir.display());
                self.problems.push(problem.into());
            }
        }
    }

    /// Watches a directory of hotrun's own beside the others, until [`Self::unwatch_own`] or
    /// [`Self::replace`].
    pub(super) fn watch_own(&mut self, dir: &Path) -> notify::Result<()> {
        self.backend.watch(dir)
    }

    pub(super) fn unwatch_own(&mut self, dir: &Path) {
        self.backend.unwatch(dir);
    }

    /// This directory vanished or was moved: unwatches everything at or below it.
    pub(super) fn forget(&mut self, dir: &Path) {
        let below = self.watched.extract_if(|watched| watched.starts_with(dir));
        for gone in below.collect::<Vec<_>>() {
            self.backend.unwatch(&gone);
        }
    }
}
