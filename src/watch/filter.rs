//! Which paths are inputs. Pure but for ignore files, which are read on first use.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use globset::GlobSet;
use ignore::{IncrementalIgnore, Walk, WalkBuilder};

use super::classify::is_dropping;
use crate::config::{self, Rule};
use crate::session::model::{Change, ChangeKind, Presence, Reaction, Scope};

/// Decides about paths for one scope and the user's settings.
#[derive(Debug)]
pub struct Filter {
    base: PathBuf,
    roots: Vec<(PathBuf, IncrementalIgnore)>,
    without: Vec<PathBuf>,
    files: HashSet<PathBuf>,
    /// What the user added: a directory with everything below it, a file as it is.
    named: Vec<PathBuf>,
    config: HashSet<PathBuf>,
    ignore: GlobSet,
    rules: Vec<Rule>,
}

/// How directories are walked and paths matched: hidden files, `.gitignore`, `.ignore` and git's
/// own excludes are left out, in a repository or not.
fn rules(root: &Path) -> WalkBuilder {
    let mut builder = WalkBuilder::new(root);
    builder.require_git(false).follow_links(true);
    builder
}

impl Filter {
    /// A filter for `scope` and what the user wants besides.
    pub fn new(scope: &Scope, settings: &config::Watch) -> Self {
        let matcher = |root: &PathBuf| {
            rules(root)
                .build_matchers()
                .into_iter()
                .next()
                .map(|matcher| (root.clone(), matcher))
        };
        // What is a directory may be away when it is asked for, and come later.
        let (dirs, files): (Vec<&PathBuf>, Vec<&PathBuf>) = scope
            .files
            .iter()
            .chain(&settings.paths)
            .partition(|path| path.is_dir());
        let mut filter = Self {
            base: scope.base.clone(),
            roots: scope.roots.iter().chain(dirs).filter_map(matcher).collect(),
            without: scope.without.clone(),
            files: files.into_iter().cloned().collect(),
            named: settings.paths.clone(),
            config: settings.config.iter().cloned().collect(),
            ignore: settings.ignore.clone(),
            rules: settings.rules.clone(),
        };
        // What is an input where it is need not be known by its name; a lock file does.
        let mut files = std::mem::take(&mut filter.files);
        files.retain(|file| file.ends_with("Cargo.lock") || !filter.includes(file, false));
        filter.files = files;
        filter
    }

    /// The directories whose files can be inputs, with everything below them.
    pub fn roots(&self) -> Vec<PathBuf> {
        self.roots.iter().map(|(root, _)| root.clone()).collect()
    }

    /// Single files that matter wherever they are, there or not.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.files.iter().chain(&self.config)
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
        if self.config.contains(path) {
            return Some(ChangeKind::Config);
        }
        let name = path.file_name()?.to_str().unwrap_or_default();
        let is_noise = is_dropping(name) || self.ignore.is_match(path);
        if is_noise && !self.files.contains(path) {
            return None;
        }
        // The first rule that matches decides, even about what git ignores.
        let rule = self.rules.iter().position(|rule| rule.paths.is_match(path));
        if let Some(number) = rule {
            return match self.rules[number].reactions.as_slice() {
                [] => None,
                [Reaction::Rebuild] => Some(ChangeKind::Named),
                _ => Some(ChangeKind::Rule(number)),
            };
        }
        let kind = match name {
            "Cargo.lock" => ChangeKind::Lock,
            "Cargo.toml" | "rust-toolchain" | "rust-toolchain.toml" => ChangeKind::Manifest,
            "config" | "config.toml" if path.parent()?.ends_with(".cargo") => ChangeKind::Manifest,
            _ if self.named.iter().any(|named| path.starts_with(named)) => ChangeKind::Named,
            _ => ChangeKind::Source,
        };
        if self.files.contains(path) {
            // What the user ignores is no source, even where cargo says so.
            let ignored = kind == ChangeKind::Source && self.ignore.is_match(path);
            return (!ignored).then_some(kind);
        }
        // A lock file that is not the workspace's is nobody's input.
        let inside = kind != ChangeKind::Lock && self.includes(path, false);
        inside.then_some(kind)
    }

    /// Everything from `root` down that can be an input, directories included.
    pub fn walk(&self, root: &Path) -> Walk {
        let root = root.to_owned();
        let (without, ignore) = (self.without.clone(), self.ignore.clone());
        let mut builder = rules(&root);
        builder.filter_entry(move |entry| {
            let path = entry.path();
            let out = without.iter().any(|out| out == path) || ignore.is_match(path);
            path == root || !out
        });
        builder.build()
    }

    /// Everything that the user's rules can match, ignored or not, and how deep that can be.
    pub fn walk_rules(&self) -> Vec<(Walk, Option<usize>)> {
        let reaches = self.rules.iter().flat_map(|rule| &rule.reaches);
        let walk = |reach: &config::Reach| {
            let mut builder = WalkBuilder::new(&reach.root);
            builder.standard_filters(false).max_depth(reach.depth);
            let without = self.without.clone();
            builder.filter_entry(move |entry| {
                let path = entry.path();
                !path.ends_with(".git") && !without.iter().any(|out| out == path)
            });
            (builder.build(), reach.depth)
        };
        reaches.map(walk).collect()
    }

    /// Files in this directory can be matched by one of the user's rules.
    pub fn reaches(&self, dir: &Path) -> bool {
        let mut reaches = self.rules.iter().flat_map(|rule| &rule.reaches);
        reaches.any(|reach| {
            let below = dir.strip_prefix(&reach.root);
            let deep = |below: &Path| {
                reach
                    .depth
                    .is_none_or(|max| below.components().count() < max)
            };
            below.is_ok_and(deep)
        })
    }

    /// The directories that the user's rules are about.
    pub fn reach_roots(&self) -> impl Iterator<Item = &PathBuf> {
        let reaches = self.rules.iter().flat_map(|rule| &rule.reaches);
        reaches.map(|reach| &reach.root)
    }

    /// Something that is wanted by its path is this directory, or is below it.
    pub fn leads(&self, dir: &Path) -> bool {
        let roots = self.roots.iter().map(|(root, _)| root);
        let mut wanted = roots.chain(self.reach_roots()).chain(self.files());
        wanted.any(|path| path.starts_with(dir))
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
        if is_dropping(name) || self.ignore.is_match(path) {
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
            files: [
                "Cargo.lock",
                ".cargo/config.toml",
                "app/.hidden/named",
                "app/named.log",
            ]
            .map(|name| base.join(name))
            .to_vec(),
            seen: None,
        };
        let set = |glob: String| {
            let glob = Glob::new(&glob).unwrap();
            GlobSetBuilder::new().add(glob).build().unwrap()
        };
        let rule = |path: &str, reactions: &[Reaction]| Rule {
            paths: set(format!("{}/{path}", base.display())),
            reaches: vec![],
            reactions: reactions.to_vec(),
        };
        let settings = config::Watch {
            ignore: set("**/*.log".into()),
            rules: vec![
                rule("app/src/*.ignored", &[]),
                rule("app/assets/*.sql", &[Reaction::Rebuild]),
                rule("app/assets/**", &[Reaction::Restart]),
            ],
            config: vec![base.join(".reload.toml")],
            ..config::Watch::default()
        };
        let mut filter = Filter::new(&scope, &settings);
        for (path, expected) in [
            ("app/src/main.rs", Some(ChangeKind::Source)),
            ("app/templates/new.html", Some(ChangeKind::Source)),
            ("app/Cargo.toml", Some(ChangeKind::Manifest)),
            ("Cargo.lock", Some(ChangeKind::Lock)),
            (".cargo/config.toml", Some(ChangeKind::Manifest)),
            ("app/Cargo.lock", None),
            ("app/generated.rs", None),
            ("app/assets/x.css", Some(ChangeKind::Rule(2))),
            ("app/assets/x.sql", Some(ChangeKind::Named)),
            ("app/assets/.x.css.swp", None),
            ("app/assets/x.log", None),
            ("app/src/x.ignored", None),
            (".reload.toml", Some(ChangeKind::Config)),
            ("app/target/debug/app.d", None),
            ("app/inner/src/lib.rs", None),
            ("app/src/main.rs~", None),
            ("app/src/.main.rs.swp", None),
            ("app/debug.log", None),
            ("app/.hidden/named", Some(ChangeKind::Source)),
            ("app/.hidden/other", None),
            ("app/named.log", None),
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
