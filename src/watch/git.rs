//! Reads git's state: whether it is in the middle of an operation, which is waited for, and which files
//! it tracks, which are never ignored.

use crate::sys::files;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

/// An older lock was left behind by a git that was killed.
const LEFT_BEHIND: Duration = Duration::from_mins(1);

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

    /// Git is writing at this moment.
    pub(super) fn is_locked(&self, now: SystemTime) -> bool {
        self.age("index.lock", now)
            .is_some_and(|age| age < LEFT_BEHIND)
    }

    fn age(&self, name: &str, now: SystemTime) -> Option<Duration> {
        let written = self.dir.join(name).metadata().ok()?.modified().ok()?;
        Some(now.duration_since(written).unwrap_or_default())
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
