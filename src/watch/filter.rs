//! Decides what a path is to the program: a source, a guess, a path of one of the user's rules, or
//! nothing. Pure, except that git's ignore rules are read on first use.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use globset::GlobSet;
use ignore::{Walk, WalkBuilder};

use super::classify::is_dropping;
use super::cures;
use super::git::Tracked;
use super::tree::Tree;
use crate::config::{self, Rule};
use crate::session::model::{ChangeKind, Reaction, Scope};

/// The filter for one scope and the user's settings.
#[derive(Debug)]
pub struct Filter {
    base: PathBuf,
    /// Single files that are sources, whether they exist or not.
    files: HashSet<PathBuf>,
    /// Directories with everything below them.
    dirs: Vec<PathBuf>,
    /// Packages in which every Rust file and manifest counts.
    open: Vec<Tree>,
    /// Packages in which every file may count.
    guesses: Vec<Tree>,
    /// Packages in which files may look like inputs.
    packages: Vec<Tree>,
    without: Vec<PathBuf>,
    env: HashSet<PathBuf>,
    crates: Arc<BTreeSet<String>>,
    /// The paths that the user added: directories with everything below them, and single files.
    named: Vec<PathBuf>,
    config: HashSet<PathBuf>,
    ignore: GlobSet,
    rules: Vec<Rule>,
    /// For a source that is a link, or is in a linked directory: the sources by their real path.
    links: HashMap<PathBuf, Vec<PathBuf>>,
}

impl Filter {
    /// A filter for `scope` and the user's settings.
    pub fn new(scope: &Scope, settings: &config::Watch) -> Self {
        // A directory may not exist yet when cargo names it, and may be created later.
        let (dirs, files): (Vec<&PathBuf>, Vec<&PathBuf>) = scope
            .files
            .iter()
            .chain(&scope.dirs)
            .chain(&settings.paths)
            .partition(|path| path.is_dir());
        let mut tracked = Tracked::new(&scope.base);
        let mut trees = |roots: &[PathBuf]| -> Vec<Tree> {
            let tree =
                |root: &PathBuf| Tree::new(root, &scope.without, &settings.ignore, &mut tracked);
            roots.iter().map(tree).collect()
        };
        let by_rules = |root: &PathBuf| Tree::by_rules(root, &scope.without, &settings.ignore);
        let open = if scope.open { &scope.packages[..] } else { &[] };
        let mut filter = Self {
            base: scope.base.clone(),
            files: files.into_iter().cloned().collect(),
            dirs: dirs.into_iter().cloned().collect(),
            open: trees(open),
            guesses: trees(&scope.guesses),
            packages: scope.packages.iter().map(by_rules).collect(),
            without: scope.without.clone(),
            env: scope.env.iter().cloned().collect(),
            crates: scope.crates.clone(),
            named: settings.paths.clone(),
            config: settings.config.iter().cloned().collect(),
            ignore: settings.ignore.clone(),
            rules: settings.rules.clone(),
            links: HashMap::new(),
        };
        filter.links = filter.find_links();
        filter
    }

    /// Events name the real path of a linked file, not the link.
    fn find_links(&self) -> HashMap<PathBuf, Vec<PathBuf>> {
        let mut real_dirs: HashMap<&Path, Option<PathBuf>> = HashMap::new();
        let mut links: HashMap<PathBuf, Vec<PathBuf>> = HashMap::new();
        for file in &self.files {
            let (Some(dir), Some(name)) = (file.parent(), file.file_name()) else {
                continue;
            };
            let real = real_dirs
                .entry(dir)
                .or_insert_with(|| dunce::canonicalize(dir).ok());
            let moved = real.as_ref().is_some_and(|real| real != dir);
            let target = if file.is_symlink() {
                dunce::canonicalize(file).ok()
            } else {
                real.as_ref().filter(|_| moved).map(|real| real.join(name))
            };
            if let Some(target) = target.filter(|target| target != file) {
                links.entry(target).or_default().push(file.clone());
            }
        }
        links
    }

    /// Single files that matter wherever they are, whether they exist or not.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let files = self.files.iter().chain(&self.config).chain(&self.env);
        files.chain(self.links.keys())
    }

    /// Directories that matter with everything below them, whether they exist or not.
    pub fn dirs(&self) -> impl Iterator<Item = &PathBuf> {
        self.dirs.iter()
    }

    /// The sources that are links to this file.
    pub fn linked(&self, path: &Path) -> Vec<PathBuf> {
        self.links.get(path).cloned().unwrap_or_default()
    }

    /// How this path is shown.
    pub fn shown(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.base).unwrap_or(path).to_owned()
    }

    /// What this path is to the program; `None`: nothing.
    pub fn kind(&mut self, path: &Path) -> Option<ChangeKind> {
        if self.config.contains(path) {
            return Some(ChangeKind::Config);
        }
        let name = path.file_name()?.to_string_lossy().into_owned();
        let is_noise = is_dropping(&name) || self.ignore.is_match(path);
        let is_file = self.files.contains(path);
        if is_noise && !is_file {
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
        let kind = match name.as_str() {
            "Cargo.lock" => ChangeKind::Lock,
            "Cargo.toml" | "rust-toolchain" | "rust-toolchain.toml" => ChangeKind::Manifest,
            // A package gets or loses its build script.
            "build.rs" if self.is_package(path.parent()?) => ChangeKind::Manifest,
            "config" | "config.toml" if path.parent()?.ends_with(".cargo") => ChangeKind::Manifest,
            _ if self.named.iter().any(|named| path.starts_with(named)) => ChangeKind::Named,
            _ => ChangeKind::Source,
        };
        if is_file {
            // A file that the user ignores is no source, even if cargo names it.
            let ignored = kind == ChangeKind::Source && self.ignore.is_match(path);
            return (!ignored).then_some(kind);
        }
        let below = |dir: &PathBuf| path.starts_with(dir);
        if self.dirs.iter().any(below) {
            return Some(match kind {
                ChangeKind::Named => kind,
                _ => ChangeKind::Source,
            });
        }
        if self.env.contains(path) {
            return Some(ChangeKind::Env);
        }
        let counts = path.extension().is_some_and(|ending| ending == "rs") || name == "Cargo.toml";
        if counts && includes(&mut self.open, path, false) {
            return Some(kind);
        }
        if includes(&mut self.guesses, path, false) {
            return Some(ChangeKind::Guess);
        }
        self.rest(path)
    }

    fn is_package(&self, dir: &Path) -> bool {
        self.packages.iter().any(|package| package.root() == dir)
    }

    /// The file looks like an input, and nothing depends on it.
    fn rest(&mut self, path: &Path) -> Option<ChangeKind> {
        let package = innermost(&mut self.packages, path)?;
        let relative = path.strip_prefix(package.root()).ok()?;
        let cure = cures::cure(relative, &self.crates)?;
        package
            .includes(path, false)
            .then_some(ChangeKind::Rest(cure))
    }

    /// The directories to walk: those in which every Rust file counts, and those in which every file
    /// may. A directory that is both is walked once.
    pub fn walks(&self) -> Vec<(Walk, Counts)> {
        let guesses: Vec<&Path> = self.guesses.iter().map(Tree::root).collect();
        let open = self.open.iter();
        let open = open.filter(|tree| !guesses.contains(&tree.root()));
        let all = |tree: &Tree| (tree.walk(tree.root()), Counts::All);
        open.map(|tree| (tree.walk(tree.root()), Counts::Rust))
            .chain(self.guesses.iter().map(all))
            .collect()
    }

    /// The same from this directory down, if it is in one of them and counts there.
    pub fn walks_from(&mut self, dir: &Path) -> Vec<Walk> {
        let mut walks = Vec::new();
        for tree in self.open.iter_mut().chain(&mut self.guesses) {
            if tree.includes(dir, true) && !super::tree::is_cache_dir(dir) {
                walks.push(tree.walk(dir));
            }
        }
        walks
    }

    /// The files in these that git tracks although its ignore rules match them.
    pub fn tracked(&self) -> Vec<PathBuf> {
        let trees = self.open.iter().chain(&self.guesses);
        trees.flat_map(Tree::tracked).cloned().collect()
    }

    /// Directories with files that look like inputs: those with a typical name, at the root of a
    /// package.
    pub fn places(&self) -> Vec<PathBuf> {
        let roots = self.packages.iter().map(Tree::root);
        let entries = roots.flat_map(std::fs::read_dir).flatten();
        let dirs = entries.flatten().filter(|entry| {
            let name = entry.file_name();
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            is_dir && name.to_str().is_some_and(cures::is_place)
        });
        dirs.map(|entry| entry.path())
            .filter(|dir| !self.without.contains(dir))
            .collect()
    }

    /// The directories to walk for the user's rules, ignored or not, and how deep.
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

    /// One of the user's rules can match files in this directory.
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

    /// The directories from which the user's rules start.
    pub fn reach_roots(&self) -> impl Iterator<Item = &PathBuf> {
        let reaches = self.rules.iter().flat_map(|rule| &rule.reaches);
        reaches.map(|reach| &reach.root)
    }

    /// A wanted path is this directory, or is below it.
    pub fn leads(&self, dir: &Path) -> bool {
        let packages = self.packages.iter().map(Tree::root);
        let dirs = self.dirs.iter().chain(self.reach_roots());
        let mut wanted = packages.chain(dirs.chain(self.files()).map(PathBuf::as_path));
        wanted.any(|path| path.starts_with(dir))
    }

    /// This directory is, or is below, one in which everything counts.
    pub fn is_whole(&self, dir: &Path) -> bool {
        self.dirs.iter().any(|whole| dir.starts_with(whole))
    }

    /// This directory itself has sources.
    pub fn has_sources(&self, dir: &Path) -> bool {
        let of_rust = |file: &&PathBuf| file.extension().is_some_and(|ending| ending == "rs");
        let mut files = self.files.iter().filter(of_rust);
        files.any(|file| file.parent() == Some(dir))
    }

    /// The project's own directory.
    pub fn base(&self) -> &Path {
        &self.base
    }
}

/// Which files of a walk count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// Rust files and manifests.
    Rust,
    /// All of them.
    All,
}

fn includes(trees: &mut [Tree], path: &Path, is_dir: bool) -> bool {
    innermost(trees, path).is_some_and(|tree| tree.includes(path, is_dir))
}

fn innermost<'a>(trees: &'a mut [Tree], path: &Path) -> Option<&'a mut Tree> {
    let holding = trees
        .iter_mut()
        .filter(|tree| path.starts_with(tree.root()));
    holding.max_by_key(|tree| tree.root().components().count())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use globset::{Glob, GlobSetBuilder};

    use super::*;
    use crate::session::model::Cure;

    struct Place {
        dir: tempfile::TempDir,
    }

    impl Place {
        /// A repository with a package `app`.
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            for inner in [
                ".git",
                "app/src",
                "app/inner/src",
                "app/target/debug",
                "app/assets",
                "app/templates",
                "app/schema",
                "app/named",
                "other",
            ] {
                fs::create_dir_all(dir.path().join(inner)).unwrap();
            }
            fs::write(
                dir.path().join("app/.gitignore"),
                "/generated.rs\nassets/\n",
            )
            .unwrap();
            Self { dir }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn scope(&self) -> Scope {
            Scope {
                base: self.path(""),
                files: [
                    "Cargo.lock",
                    ".cargo/config.toml",
                    "app/Cargo.toml",
                    "app/.hidden/named",
                    "app/named.log",
                    "app/generated.rs",
                    "app/src/main.rs",
                ]
                .map(|name| self.path(name))
                .to_vec(),
                dirs: vec![self.path("app/schema")],
                packages: vec![self.path("app")],
                without: vec![self.path("app/target"), self.path("app/inner")],
                env: vec![self.path("app/.env"), self.path(".env")],
                ..Scope::default()
            }
        }

        #[track_caller]
        fn case(&self, filter: &mut Filter, path: &str, expected: Option<ChangeKind>) {
            assert_eq!(filter.kind(&self.path(path)), expected, "{path}");
        }
    }

    const SOURCE: Option<ChangeKind> = Some(ChangeKind::Source);
    const MANIFEST: Option<ChangeKind> = Some(ChangeKind::Manifest);

    /// Once cargo has named the sources, ignore files don't matter.
    #[test]
    fn sources_are_what_cargo_names() {
        let place = Place::new();
        let mut filter = Filter::new(&place.scope(), &config::Watch::default());
        for (path, expected) in [
            ("app/src/main.rs", SOURCE),
            ("app/generated.rs", SOURCE),
            ("app/.hidden/named", SOURCE),
            ("app/named.log", SOURCE),
            ("app/schema/deep/a.sql", SOURCE),
            ("app/schema/.hidden", SOURCE),
            ("app/schema/a.sql~", None),
            ("app/Cargo.toml", MANIFEST),
            ("Cargo.lock", Some(ChangeKind::Lock)),
            (".cargo/config.toml", MANIFEST),
            (".env", Some(ChangeKind::Env)),
            ("app/.env", Some(ChangeKind::Env)),
            (
                "app/templates/a.html",
                Some(ChangeKind::Rest(Cure::Restart)),
            ),
            ("app/target/templates/a.html", None),
            ("app/src/new.rs", None),
            ("app/data.db", None),
            ("app/Cargo.lock", None),
            ("app/inner/src/lib.rs", None),
            ("app/.hidden/other", None),
            ("other/main.rs", None),
        ] {
            place.case(&mut filter, path, expected);
        }
        assert_eq!(
            filter.shown(&place.path("app/src/main.rs")),
            Path::new("app/src/main.rs")
        );
    }

    /// Without dep-info, or after a failed build, Rust files count, by git's ignore rules.
    #[test]
    fn rust_files_count_until_cargo_has_said() {
        let place = Place::new();
        let scope = Scope {
            open: true,
            files: vec![place.path("app/Cargo.toml")],
            ..place.scope()
        };
        let mut filter = Filter::new(&scope, &config::Watch::default());
        for (path, expected) in [
            ("app/src/new.rs", SOURCE),
            ("app/member/Cargo.toml", MANIFEST),
            ("app/generated.rs", None),
            ("app/src/.hidden.rs", None),
            ("app/src/main.rs~", None),
            ("app/target/debug/out.rs", None),
            ("app/inner/src/lib.rs", None),
            ("app/data.db", None),
        ] {
            place.case(&mut filter, path, expected);
        }
    }

    /// The build script declares nothing, so cargo looks at every file.
    #[test]
    fn every_file_is_a_guess_where_cargo_looks_at_all() {
        let place = Place::new();
        let scope = Scope {
            guesses: vec![place.path("app")],
            ..place.scope()
        };
        let mut filter = Filter::new(&scope, &config::Watch::default());
        for (path, expected) in [
            ("app/src/main.rs", SOURCE),
            ("app/data.db", Some(ChangeKind::Guess)),
            ("app/templates/a.html", Some(ChangeKind::Guess)),
            ("app/assets/a.css", None),
            ("app/.hidden/other", None),
            ("app/target/x", None),
            ("other/x", None),
        ] {
            place.case(&mut filter, path, expected);
        }
    }

    #[test]
    fn the_user_has_the_last_word() {
        let place = Place::new();
        let set = |glob: String| {
            let glob = Glob::new(&glob).unwrap();
            GlobSetBuilder::new().add(glob).build().unwrap()
        };
        let rule = |path: &str, reactions: &[Reaction]| Rule {
            paths: set(place.path(path).display().to_string()),
            reaches: vec![],
            reactions: reactions.to_vec(),
        };
        let settings = config::Watch {
            ignore: set("**/*.log".into()),
            paths: vec![place.path("app/named")],
            rules: vec![
                rule("app/src/*.ignored", &[]),
                rule("app/assets/*.sql", &[Reaction::Rebuild]),
                rule("app/assets/**", &[Reaction::Restart]),
            ],
            config: vec![place.path(".reload.toml")],
            ..config::Watch::default()
        };
        let mut filter = Filter::new(&place.scope(), &settings);
        for (path, expected) in [
            ("app/named/deep/x", Some(ChangeKind::Named)),
            ("app/named.log", None),
            ("app/assets/x.css", Some(ChangeKind::Rule(2))),
            ("app/assets/x.sql", Some(ChangeKind::Named)),
            ("app/assets/.x.css.swp", None),
            ("app/assets/x.log", None),
            ("app/src/x.ignored", None),
            (".reload.toml", Some(ChangeKind::Config)),
        ] {
            place.case(&mut filter, path, expected);
        }
    }
}
