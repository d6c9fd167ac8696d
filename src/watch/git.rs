//! Reads git's state: whether it is in the middle of an operation, which is waited for, and which files
//! it tracks, which are never ignored.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::clock;
use crate::sys::files;

/// An older lock was left behind by a git that was killed.
const LEFT_BEHIND: Duration = Duration::from_mins(1);

/// How long its lock is waited for at most.
const PATIENCE: Duration = Duration::from_secs(1);

/// The pause between two checks of that lock.
const LOOK: Duration = Duration::from_millis(2);

/// The git directory of a work tree.
#[derive(Debug)]
pub(super) struct Git {
    dir: PathBuf,
}

impl Git {
    /// The git directory of the work tree around this directory, if there is one.
    pub(super) fn of(dir: &Path) -> Option<Self> {
        let found = dir.ancestors().map(|dir| dir.join(".git"));
        let found = found.into_iter().find(|path| path.exists())?;
        if found.is_dir() {
            return Some(Self { dir: found });
        }
        // A linked work tree, or a submodule, has a file that names the directory.
        let text = fs::read_to_string(&found).ok()?;
        let named = text.strip_prefix("gitdir:")?.trim();
        let dir = found.parent()?.join(named);
        Some(Self { dir })
    }

    /// Waits while git holds its lock, but not for ever; returns whether it held it.
    pub(super) fn wait_until_unlocked(&self) -> bool {
        let mut waited = Duration::ZERO;
        while self.is_locked(clock::wall()) && waited < PATIENCE {
            thread::sleep(LOOK);
            waited += LOOK;
        }
        waited > Duration::ZERO
    }

    /// Git is writing at this moment.
    fn is_locked(&self, now: SystemTime) -> bool {
        self.age("index.lock", now)
            .is_some_and(|age| age < LEFT_BEHIND)
    }

    /// How long ago this was written. Where the clock was set back since, it seems to be in the future: by so
    /// much it is no work of this moment either.
    fn age(&self, name: &str, now: SystemTime) -> Option<Duration> {
        let written = self.dir.join(name).metadata().ok()?.modified().ok()?;
        let age = now.duration_since(written);
        Some(age.unwrap_or_else(|ahead| ahead.duration()))
    }

    /// If git is in the middle of an operation: how long ago its last step was.
    pub(super) fn works(&self, now: SystemTime) -> Option<Duration> {
        if self.is_locked(now) {
            return Some(Duration::ZERO);
        }
        let rebasing = ["rebase-merge", "rebase-apply"];
        if !rebasing.iter().any(|name| self.dir.join(name).exists()) {
            return None;
        }
        let steps = ["HEAD", "index", "rebase-merge/done", "rebase-apply/next"];
        steps
            .into_iter()
            .filter_map(|name| self.age(name, now))
            .min()
    }
}

/// The files that git tracks although its ignore rules match them, for many directories: git is asked
/// once for those of one work tree below `base`.
#[derive(Debug)]
pub(super) struct Tracked {
    base: PathBuf,
    of_base: Option<HashSet<PathBuf>>,
}

impl Tracked {
    pub(super) fn new(base: &Path) -> Self {
        Self {
            base: base.to_owned(),
            of_base: None,
        }
    }

    /// Those below this directory.
    pub(super) fn below(&mut self, dir: &Path) -> HashSet<PathBuf> {
        let Some(around) = work_tree(dir) else {
            return HashSet::new();
        };
        if !dir.starts_with(&self.base) || work_tree(&self.base) != Some(around) {
            return tracked_and_ignored(dir);
        }
        let all = self
            .of_base
            .get_or_insert_with(|| tracked_and_ignored(&self.base));
        let all = all.iter().filter(|path| path.starts_with(dir));
        all.cloned().collect()
    }
}

/// The work tree around this directory.
fn work_tree(dir: &Path) -> Option<&Path> {
    dir.ancestors().find(|dir| dir.join(".git").exists())
}

fn tracked_and_ignored(dir: &Path) -> HashSet<PathBuf> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--ignored",
            "--exclude-standard",
        ])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    // Without git, nothing is tracked.
    let output = output.map(|output| output.stdout).unwrap_or_default();
    let names = output.split(|byte| *byte == 0);
    names
        .filter(|name| !name.is_empty())
        .map(|name| dir.join(files::path(name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_left_behind_after_a_minute_on_either_side() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".git")).unwrap();
        fs::write(dir.path().join(".git/index.lock"), "").unwrap();
        let git = Git::of(dir.path()).unwrap();
        let now = clock::wall();
        assert!(git.is_locked(now));
        assert_eq!(git.works(now), Some(Duration::ZERO));
        assert!(!git.is_locked(now + 2 * LEFT_BEHIND));
        // The clock was set back after git had crashed.
        assert!(!git.is_locked(now - 2 * LEFT_BEHIND));
        assert_eq!(git.works(now - 2 * LEFT_BEHIND), None);
    }
}
