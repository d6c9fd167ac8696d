//! A directory in which files count that are not named one by one: those that git ignores, hidden ones,
//! editors' droppings and cargo's output are left out, as are links and other file systems.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use globset::GlobSet;
use ignore::{DirEntry, IncrementalIgnore, Walk, WalkBuilder};

use super::classify::is_dropping;
use super::git::Tracked;

/// One such directory, with its rules.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    matcher: Option<IncrementalIgnore>,
    /// Files that git tracks, which are never ignored.
    tracked: HashSet<PathBuf>,
    without: Vec<PathBuf>,
    ignore: GlobSet,
}

/// Git's ignore rules as git reads them: none from above the repository, and none without one.
fn rules(root: &Path) -> WalkBuilder {
    let mut builder = WalkBuilder::new(root);
    builder
        .ignore(false)
        .require_git(true)
        .follow_links(false)
        .same_file_system(true);
    builder
}

impl Tree {
    /// The directory `root` except for the directories `without` and what the user ignores.
    pub(super) fn new(
        root: &Path,
        without: &[PathBuf],
        ignore: &GlobSet,
        tracked: &mut Tracked,
    ) -> Self {
        Self {
            tracked: tracked.below(root),
            ..Self::by_rules(root, without, ignore)
        }
    }

    /// The same without asking git which files it tracks.
    pub(super) fn by_rules(root: &Path, without: &[PathBuf], ignore: &GlobSet) -> Self {
        Self {
            root: root.to_owned(),
            matcher: rules(root).build_matchers().into_iter().next(),
            tracked: HashSet::new(),
            without: without
                .iter()
                .filter(|out| out.starts_with(root) && *out != root)
                .cloned()
                .collect(),
            ignore: ignore.clone(),
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// This path counts.
    pub(super) fn includes(&mut self, path: &Path, is_dir: bool) -> bool {
        let Ok(relative) = path.strip_prefix(&self.root) else {
            return false;
        };
        let name = path.file_name().and_then(|name| name.to_str());
        if is_dropping(name.unwrap_or_default()) || self.ignore.is_match(path) {
            return false;
        }
        if self.without.iter().any(|out| path.starts_with(out)) {
            return false;
        }
        if self.tracked.contains(path) {
            return true;
        }
        let ignored = self
            .matcher
            .as_mut()
            .is_some_and(|matcher| matcher.matched(relative, is_dir).is_ignore());
        !ignored
    }

    /// Walks everything below `from` that counts, including directories.
    pub(super) fn walk(&self, from: &Path) -> Walk {
        let from = from.to_owned();
        let (without, ignore) = (self.without.clone(), self.ignore.clone());
        let mut builder = rules(&from);
        let top = from.clone();
        builder.filter_entry(move |entry| {
            let path = entry.path();
            let out = without.iter().any(|out| out == path) || ignore.is_match(path);
            path == top || !(out || is_cache(entry))
        });
        builder.build()
    }

    /// The files here that git tracks although its ignore rules match them.
    pub(super) fn tracked(&self) -> impl Iterator<Item = &PathBuf> {
        self.tracked.iter()
    }
}

/// A cache directory, such as cargo's target directory.
fn is_cache(entry: &DirEntry) -> bool {
    let is_dir = entry.file_type().is_some_and(|kind| kind.is_dir());
    is_dir && is_cache_dir(entry.path())
}

/// The directory is tagged as a cache (<https://bford.info/cachedir/>), or is a target directory of
/// cargo's.
pub(super) fn is_cache_dir(dir: &Path) -> bool {
    dir.join("CACHEDIR.TAG").exists() || dir.join(".rustc_info.json").exists()
}
