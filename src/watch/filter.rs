//! Which paths are inputs. Pure but for ignore files, which are read on first use.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use globset::GlobSet;
use ignore::{IncrementalIgnore, Walk, WalkBuilder};

use super::classify::is_dropping;
use crate::session::model::{Change, ChangeKind, Presence, Scope};

/// Decides about paths for one scope.
#[derive(Debug)]
pub struct Filter {
    base: PathBuf,
    roots: Vec<(PathBuf, IncrementalIgnore)>,
    without: Vec<PathBuf>,
    files: HashSet<PathBuf>,
    ignore: GlobSet,
}

/// How directories are walked and paths matched: hidden files, `.gitignore`, `.ignore` and git's
/// own excludes are left out, in a repository or not.
fn rules(root: &Path) -> WalkBuilder {
    let mut builder = WalkBuilder::new(root);
    builder.require_git(false).follow_links(true);
    builder
}

impl Filter {
    /// A filter for `scope`; `ignore` is what the user wants left out.
    pub fn new(scope: &Scope, ignore: GlobSet) -> Self {
        let matcher = |root: &PathBuf| {
            rules(root)
                .build_matchers()
                .into_iter()
                .next()
                .map(|matcher| (root.clone(), matcher))
        };
        Self {
            base: scope.base.clone(),
            roots: scope.roots.iter().filter_map(matcher).collect(),
            without: scope.without.clone(),
            files: scope.files.iter().cloned().collect(),
            ignore,
        }
    }

    /// A file that is an input wherever it is.
    pub fn add_file(&mut self, path: PathBuf) {
        self.files.insert(path);
    }

    /// The change that an event on this path means, if any.
    pub fn change(&mut self, path: &Path, presence: Presence) -> Option<Change> {
        let kind = self.kind(path)?;
        let shown = path.strip_prefix(&self.base).unwrap_or(path);
        Some(Change {
            path: shown.to_owned(),
            kind,
            presence,
        })
    }

    /// A file at this path is an input.
    pub fn is_input(&mut self, path: &Path) -> bool {
        self.kind(path).is_some()
    }

    fn kind(&mut self, path: &Path) -> Option<ChangeKind> {
        let name = path.file_name()?.to_str().unwrap_or_default();
        let kind = match name {
            "Cargo.lock" => ChangeKind::Lock,
            "Cargo.toml" | "rust-toolchain" | "rust-toolchain.toml" => ChangeKind::Manifest,
            "config" | "config.toml" if path.parent()?.ends_with(".cargo") => ChangeKind::Manifest,
            _ => ChangeKind::Source,
        };
        if self.files.contains(path) {
            return Some(kind);
        }
        // A lock file that is not the workspace's is nobody's input.
        let inside = kind != ChangeKind::Lock && self.includes(path, false);
        inside.then_some(kind)
    }

    /// Everything from `root` down that can be an input, directories included.
    pub fn walk(&self, root: &Path) -> Walk {
        let (root, base) = (root.to_owned(), self.base.clone());
        let (without, ignore) = (self.without.clone(), self.ignore.clone());
        let mut builder = rules(&root);
        builder.filter_entry(move |entry| {
            let path = entry.path();
            let relative = path.strip_prefix(&base).unwrap_or(path);
            let out = without.iter().any(|out| out == path) || ignore.is_match(relative);
            path == root || !out
        });
        builder.build()
    }

    /// Files in this directory can be inputs.
    pub fn enters(&mut self, dir: &Path) -> bool {
        self.includes(dir, true)
    }

    fn includes(&mut self, path: &Path, is_dir: bool) -> bool {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if is_dropping(name) || self.ignored(path) {
            return false;
        }
        let depth = |dir: &Path| dir.components().count();
        let holding = self
            .roots
            .iter_mut()
            .filter(|(root, _)| path.starts_with(root));
        let Some((root, matcher)) = holding.max_by_key(|(root, _)| depth(root)) else {
            return false;
        };
        let deeper = |out: &PathBuf| path.starts_with(out) && depth(out) > depth(root);
        if self.without.iter().any(deeper) {
            return false;
        }
        let Ok(relative) = path.strip_prefix(root) else {
            return false;
        };
        !matcher.matched(relative, is_dir).is_ignore()
    }

    fn ignored(&self, path: &Path) -> bool {
        let relative = path.strip_prefix(&self.base).unwrap_or(path);
        self.ignore.is_match(relative) || self.ignore.is_match(path)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use globset::{Glob, GlobSetBuilder};

    use super::*;

    #[test]
    fn inputs_are_what_nobody_ignores() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        for dir in [
            "app/src",
            "app/inner/src",
            "app/target/debug",
            "app/assets",
            "other",
        ] {
            fs::create_dir_all(base.join(dir)).unwrap();
        }
        fs::write(base.join("app/.gitignore"), "/generated.rs\nassets/\n").unwrap();
        let scope = Scope {
            base: base.to_owned(),
            roots: vec![base.join("app")],
            without: vec![base.join("app/target"), base.join("app/inner")],
            files: vec![base.join("Cargo.lock"), base.join(".cargo/config.toml")],
            read_at: None,
        };
        let ignore = GlobSetBuilder::new()
            .add(Glob::new("**/*.log").unwrap())
            .build()
            .unwrap();
        let mut filter = Filter::new(&scope, ignore);
        for (path, expected) in [
            ("app/src/main.rs", Some(ChangeKind::Source)),
            ("app/templates/new.html", Some(ChangeKind::Source)),
            ("app/Cargo.toml", Some(ChangeKind::Manifest)),
            ("Cargo.lock", Some(ChangeKind::Lock)),
            (".cargo/config.toml", Some(ChangeKind::Manifest)),
            ("app/Cargo.lock", None),
            ("app/generated.rs", None),
            ("app/assets/x.css", None),
            ("app/target/debug/app.d", None),
            ("app/inner/src/lib.rs", None),
            ("app/src/main.rs~", None),
            ("app/src/.main.rs.swp", None),
            ("app/debug.log", None),
            ("other/main.rs", None),
        ] {
            let kind = filter
                .change(&base.join(path), Presence::There)
                .map(|change| change.kind);
            assert_eq!(kind, expected, "{path}");
        }
        assert!(filter.enters(&base.join("app/src")) && !filter.enters(&base.join("app/target")));
        let change = filter
            .change(&base.join("app/src/main.rs"), Presence::There)
            .unwrap();
        assert_eq!(change.path, Path::new("app/src/main.rs"));
    }
}
