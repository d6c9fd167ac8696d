//! Reads cargo's own configuration, as far as hotrun has to know it: its files, the target that is built
//! for, and the runner. Starts no process.
//!
//! Cargo has no stable command that prints these, and the runner is what hotrun replaces to ask cargo
//! for the rest (`surroundings`). So they are read here as cargo's reference says: `--config`, then the
//! environment, then the files from the working directory upwards, each before what it includes, then
//! the one in cargo's home.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use cargo_metadata::cargo_platform::{Cfg, Platform};
use toml::{Table, Value};

use crate::config::Build;
use crate::digest;
use crate::session::reason::Reason;

/// The word in `build.target` that stands for the compiler's host target.
const HOST: &str = "host-tuple";

/// Every configuration file that cargo reads in `dir`, with all that they include; an included file that
/// is missing is listed too, since it may be created.
pub fn files(dir: &Path, cargo_home: Option<&Path>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for file in roots(dir, cargo_home) {
        visit(&file, &mut files, &mut |_, _| {});
    }
    files
}

/// Cargo's home directory.
pub(super) fn home(build: &Build) -> Option<PathBuf> {
    let of = |name: &str| variable(build, name).filter(|value| !value.is_empty());
    match of("CARGO_HOME") {
        Some(home) => Some(build.dir.join(home)),
        None => Some(PathBuf::from(of("HOME")?).join(".cargo")),
    }
}

/// The configuration files given by `--config`, with what they include.
pub(super) fn named(build: &Build) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for file in build.config.iter().map(|named| build.dir.join(named)) {
        if file.is_file() {
            visit(&file, &mut files, &mut |_, _| {});
        }
    }
    files
}

/// The digest of all configuration files: it changes when one is edited, created or removed.
pub(super) fn digest(build: &Build) -> u64 {
    let mut hasher = DefaultHasher::new();
    let files = files(&build.dir, home(build).as_deref());
    for file in files.into_iter().chain(named(build)) {
        digest::of(&file).hash(&mut hasher);
        file.hash(&mut hasher);
    }
    hasher.finish()
}

/// The files that cargo finds by their directories, in order of precedence.
fn roots(dir: &Path, cargo_home: Option<&Path>) -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = Vec::new();
    let dirs = dir.ancestors().map(|dir| dir.join(".cargo"));
    for dir in dirs.chain(cargo_home.map(Path::to_owned)) {
        // Of the two names, cargo reads only one file.
        let found = ["config", "config.toml"].map(|name| dir.join(name));
        let found = found.into_iter().find(|path| path.is_file());
        roots.extend(found.filter(|path| !roots.contains(path)));
    }
    roots
}

/// Goes through a file and what it includes, in order of precedence.
fn visit(path: &Path, seen: &mut Vec<PathBuf>, each: &mut impl FnMut(&Path, Table)) {
    if seen.iter().any(|known| known == path) {
        return;
    }
    seen.push(path.to_owned());
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // Cargo itself will complain of a broken file.
    let table: Table = text.parse().unwrap_or_default();
    let includes = included(&table);
    each(path, table);
    let dir = path.parent().unwrap_or(path);
    for include in includes.iter().rev() {
        visit(&dir.join(include), seen, each);
    }
}

/// `include = "path"`, `["path", …]`, and `{ path = "path", optional = true }` for each of them.
fn included(table: &Table) -> Vec<String> {
    let path = |value: &Value| match value {
        Value::String(path) => Some(path.clone()),
        Value::Table(table) => Some(table.get("path")?.as_str()?.to_owned()),
        _ => None,
    };
    match table.get("include") {
        Some(Value::Array(values)) => values.iter().filter_map(path).collect(),
        Some(value) => path(value).into_iter().collect(),
        None => Vec::new(),
    }
}

fn variable(build: &Build, name: &str) -> Option<OsString> {
    let found = build.env.iter().rev().find(|(key, _)| key == name);
    found.map(|(_, value)| value.clone())
}

/// The configuration of one source.
#[derive(Debug)]
struct Layer {
    table: Table,
    /// The directory to which its paths are relative.
    base: PathBuf,
}

/// The configuration of all sources.
#[derive(Debug, Default)]
pub(super) struct CargoConfig {
    /// From `--config`, the last first.
    typed: Vec<Layer>,
    /// The environment.
    env: Vec<(OsString, OsString)>,
    dir: PathBuf,
    /// From the files, in order of precedence.
    written: Vec<Layer>,
}

impl CargoConfig {
    /// Reads it as cargo would with these settings.
    pub(super) fn read(build: &Build) -> Self {
        let mut typed = Vec::new();
        for named in build.config.iter().rev() {
            let file = build.dir.join(named);
            if file.is_file() {
                visit(&file, &mut Vec::new(), &mut add(&mut typed));
            } else if let Ok(table) = named.parse() {
                let base = build.dir.clone();
                typed.push(Layer { table, base });
            }
        }
        let mut written = Vec::new();
        let mut seen = Vec::new();
        for file in roots(&build.dir, home(build).as_deref()) {
            visit(&file, &mut seen, &mut add(&mut written));
        }
        Self {
            typed,
            env: build.env.clone(),
            dir: build.dir.clone(),
            written,
        }
    }

    /// The compiler.
    pub(super) fn rustc(&self) -> OsString {
        let program = |layer: &Layer| {
            let name = layer.table.get("build")?.get("rustc")?.as_str()?;
            Some(program(name, &layer.base))
        };
        // Unlike other variables, `RUSTC` comes before everything.
        let found = self.variable("RUSTC");
        found
            .or_else(|| self.first(|| self.variable("CARGO_BUILD_RUSTC"), program))
            .unwrap_or_else(|| "rustc".into())
    }

    /// The user has a wrapper for the compiler of the workspace's crates.
    pub(super) fn has_workspace_wrapper(&self) -> bool {
        let of = |layer: &Layer| {
            let build = layer.table.get("build")?;
            build.get("rustc-workspace-wrapper").map(drop)
        };
        let variable = || {
            let own = self.variable("RUSTC_WORKSPACE_WRAPPER");
            own.or_else(|| self.variable("CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER"))
                .map(drop)
        };
        self.first(variable, of).is_some()
    }

    /// The setting `key` of this profile.
    pub(super) fn of_profile(&self, profile: &str, key: &str) -> Option<Value> {
        let name = format!("CARGO_PROFILE_{profile}_{key}");
        let name = name.to_uppercase().replace('-', "_");
        let variable = || Some(Value::from(self.variable(&name)?.into_string().ok()?));
        let written = |layer: &Layer| {
            let profiles = layer.table.get("profile")?;
            profiles.get(profile)?.get(key).cloned()
        };
        self.first(variable, written)
    }

    /// The target that the program is built for, as cargo determines it; `chosen`: by `--target`, which
    /// comes first.
    pub(super) fn target(&self, chosen: Option<&str>, host: &str) -> String {
        let written = |layer: &Layer| {
            let target = match layer.table.get("build")?.get("target")? {
                Value::Array(several) => several.first()?.as_str()?,
                one => one.as_str()?,
            };
            let file = is_file(target).then(|| layer.base.join(target).to_str().map(str::to_owned));
            file.unwrap_or_else(|| Some(target.to_owned()))
        };
        let variable = || self.variable("CARGO_BUILD_TARGET")?.into_string().ok();
        let target = chosen.map(str::to_owned);
        match target.or_else(|| self.first(variable, written)) {
            Some(target) if !target.is_empty() && target != HOST => target,
            _ => host.to_owned(),
        }
    }

    /// The runner for this target; empty if there is none. `cfg` is that of the target; it is only used
    /// if there are `conditions`.
    pub(super) fn runner(&self, triple: &str, cfg: &[Cfg]) -> Result<Vec<OsString>, Reason> {
        let of = |layer: &Layer, target: &str| {
            let runner = layer.table.get("target")?.get(target)?.get("runner")?;
            words(runner, &layer.base)
        };
        let variable = || {
            let text = self
                .variable(&runner_variable(triple))?
                .into_string()
                .ok()?;
            words(&Value::String(text), &self.dir)
        };
        if let Some(runner) = self.first(variable, |layer| of(layer, triple)) {
            return Ok(runner);
        }
        let holds = |condition: &&str| {
            let platform: Result<Platform, _> = condition.parse();
            platform.is_ok_and(|platform| platform.matches(triple, cfg))
        };
        let holding: Vec<&str> = self.conditions().into_iter().filter(holds).collect();
        match holding.as_slice() {
            [] => Ok(Vec::new()),
            [one] => Ok(self
                .first(|| None, |layer| of(layer, one))
                .unwrap_or_default()),
            several => Err(Reason::new(
                format!(
                    "several runners of cargo's configuration hold for {triple}: `{}`",
                    several.join("`, `")
                ),
                "leave one",
            )),
        }
    }

    /// A value for `--config` that sets this runner for this target, before any other configuration. It
    /// has the form of the one it overrides: cargo does not merge a list with a string. Where it overrides
    /// none, it is a list if it needs to be.
    pub(super) fn runner_override(
        &self,
        triple: &str,
        runner: [&str; 2],
    ) -> Result<String, serde_json::Error> {
        let said = |layer: &Layer| {
            let target = layer.table.get("target")?.get(triple)?;
            Some(target.get("runner")?.is_array())
        };
        let needs_list = runner[0].contains(char::is_whitespace);
        // JSON's strings and lists of strings are valid TOML.
        let runner = if self.first(|| None, said).unwrap_or(needs_list) {
            serde_json::to_string(&runner)?
        } else {
            serde_json::to_string(&runner.join(" "))?
        };
        let triple = serde_json::to_string(triple)?;
        Ok(format!("target.{triple}.runner={runner}"))
    }

    /// The `cfg(…)` conditions that have a runner.
    pub(super) fn conditions(&self) -> BTreeSet<&str> {
        let layers = self.typed.iter().chain(&self.written);
        let targets = layers.filter_map(|layer| layer.table.get("target")?.as_table());
        let with_runner = targets
            .flatten()
            .filter(|(name, target)| name.starts_with("cfg(") && target.get("runner").is_some());
        with_runner.map(|(name, _)| name.as_str()).collect()
    }

    fn variable(&self, name: &str) -> Option<OsString> {
        let found = self.env.iter().rev().find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.clone())
            .filter(|value| !value.is_empty())
    }

    /// The value of the first source that has one.
    fn first<T>(
        &self,
        variable: impl FnOnce() -> Option<T>,
        of: impl Fn(&Layer) -> Option<T>,
    ) -> Option<T> {
        let typed = self.typed.iter().find_map(&of);
        typed
            .or_else(variable)
            .or_else(|| self.written.iter().find_map(of))
    }
}

/// Collects the files that `visit` goes through.
fn add(layers: &mut Vec<Layer>) -> impl FnMut(&Path, Table) {
    |path, table| {
        let base = path.parent().and_then(Path::parent).unwrap_or(path);
        layers.push(Layer {
            table,
            base: base.to_owned(),
        });
    }
}

/// The environment variable that sets the runner for this target.
pub(super) fn runner_variable(triple: &str) -> String {
    let name = triple.replace(['-', '.'], "_").to_uppercase();
    format!("CARGO_TARGET_{name}_RUNNER")
}

/// The target is described by a JSON file.
fn is_file(target: &str) -> bool {
    Path::new(target)
        .extension()
        .is_some_and(|end| end == "json")
}

/// The name of a target in keys and variables: for a JSON file, its stem.
pub(super) fn triple(target: &str) -> &str {
    is_file(target)
        .then(|| Path::new(target).file_stem()?.to_str())
        .flatten()
        .unwrap_or(target)
}

/// The probable host target of the compiler: only the compiler knows.
pub(super) fn probable_host() -> String {
    // That of this program itself.
    let is_gnu = cfg!(target_env = "gnu");
    let system = match env::consts::OS {
        "linux" if Path::new("/etc/alpine-release").exists() => "unknown-linux-musl",
        "linux" => "unknown-linux-gnu",
        "macos" => "apple-darwin",
        "windows" if is_gnu => "pc-windows-gnu",
        "windows" => "pc-windows-msvc",
        other => return format!("{}-unknown-{other}", env::consts::ARCH),
    };
    format!("{}-{system}", env::consts::ARCH)
}

/// A command, written as one string or a list.
fn words(value: &Value, base: &Path) -> Option<Vec<OsString>> {
    let words: Vec<&str> = match value {
        Value::String(text) => text.split_whitespace().collect(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let (first, rest) = words.split_first()?;
    let rest = rest.iter().map(OsString::from);
    Some(std::iter::once(program(first, base)).chain(rest).collect())
}

/// A program: a bare name is looked up in `PATH`, anything else is a path.
fn program(name: &str, base: &Path) -> OsString {
    if name.contains(std::path::is_separator) {
        base.join(name).into_os_string()
    } else {
        name.into()
    }
}

/// The `cfg` of a target, from what the compiler prints.
pub(super) fn cfg_of(printed: &str) -> Vec<Cfg> {
    printed
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect()
}

/// Whether cargo gets a `--config`, which comes before variables.
pub(super) fn is_typed(build: &Build) -> bool {
    !build.config.is_empty() || build.args.iter().any(|arg| arg.starts_with("--config"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        let root = dunce::canonicalize(temp.path()).unwrap();
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        (temp, root)
    }

    fn build(dir: PathBuf, env: &[(&str, &str)], config: &[&str]) -> Build {
        Build {
            dir,
            env: env
                .iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
            config: config.iter().map(ToString::to_string).collect(),
            ..Build::default()
        }
    }

    #[track_caller]
    fn lists(files: &[(&str, &str)], dir: &str, home: Option<&str>, expected: &[&str]) {
        let (_temp, root) = tree(files);
        let home = home.map(|home| root.join(home));
        let found = super::files(&root.join(dir), home.as_deref());
        // Configuration above the temporary directory is not part of the test.
        let found = found.iter().map(|path| path.strip_prefix(&root));
        let found: Vec<&Path> = found.flatten().collect();
        assert_eq!(found, expected.iter().map(Path::new).collect::<Vec<_>>());
    }

    #[test]
    fn every_file_is_found_from_the_directory_up() {
        let files = [
            ("a/b/.cargo/config.toml", ""),
            ("a/.cargo/config", ""),
            ("a/.cargo/config.toml", ""),
            ("home/config.toml", ""),
        ];
        let expected = [
            "a/b/.cargo/config.toml",
            "a/.cargo/config",
            "home/config.toml",
        ];
        lists(&files, "a/b", Some("home"), &expected);
        lists(&files, "a", None, &expected[1..2]);
        // Home is often above the project.
        lists(&files[..2], "a/b", Some("a/.cargo"), &expected[..2]);
    }

    #[test]
    fn includes_are_followed_in_every_form() {
        let config = "a/.cargo/config.toml";
        for (include, expected) in [
            ("'x.toml'", vec!["x.toml"]),
            ("['x.toml', 'sub/y.toml']", vec!["sub/y.toml", "x.toml"]),
            (
                "[{ path = 'x.toml', optional = true }, { path = 'y.toml' }]",
                vec!["y.toml", "x.toml"],
            ),
            (
                "{ path = 'missing.toml', optional = true }",
                vec!["missing.toml"],
            ),
            ("7", vec![]),
            ("[7, {}]", vec![]),
        ] {
            let text = format!("include = {include}");
            let expected: Vec<String> = std::iter::once(config.to_owned())
                .chain(expected.into_iter().map(|name| format!("a/.cargo/{name}")))
                .collect();
            let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
            lists(
                &[(config, &text), ("a/.cargo/x.toml", "")],
                "a",
                None,
                &expected,
            );
        }
    }

    #[test]
    fn a_circle_of_includes_ends() {
        let config = "a/.cargo/config.toml";
        let files = [
            (config, "include = ['x.toml']"),
            ("a/.cargo/x.toml", "include = ['y.toml', 'config.toml']"),
            ("a/.cargo/y.toml", "include = 'x.toml'"),
        ];
        lists(
            &files,
            "a",
            None,
            &[config, "a/.cargo/x.toml", "a/.cargo/y.toml"],
        );
    }

    #[track_caller]
    fn runs_by(files: &[(&str, &str)], env: &[(&str, &str)], config: &[&str], expected: &[&str]) {
        let (_temp, root) = tree(files);
        let read = CargoConfig::read(&build(root.join("a"), env, config));
        let cfg = cfg_of("unix\ntarget_os=\"linux\"\n");
        let runner = read.runner("x-y", &cfg).unwrap();
        let runner: Vec<&Path> = runner.iter().map(Path::new).collect();
        let expected: Vec<PathBuf> = expected
            .iter()
            .map(|word| word.replace("{root}", root.to_str().unwrap()).into())
            .collect();
        assert_eq!(runner, expected);
    }

    #[test]
    fn the_runner_is_the_most_important_ones() {
        let files = [
            ("a/.cargo/config.toml", "include = ['one.toml', 'two.toml']"),
            ("a/.cargo/one.toml", "[target.x-y]\nrunner = 'one'"),
            (
                "a/.cargo/two.toml",
                "[target.x-y]\nrunner = ['tools/two', 'a b']",
            ),
            ("home/config.toml", "[target.x-y]\nrunner = 'home'"),
        ];
        let name = runner_variable("x-y");
        runs_by(&files, &[], &[], &["{root}/a/tools/two", "a b"]);
        runs_by(
            &files,
            &[(&name, "./run it")],
            &[],
            &["{root}/a/./run", "it"],
        );
        let typed = ["target.x-y.runner='first'", "target.x-y.runner='last'"];
        runs_by(&files, &[(&name, "run")], &typed, &["last"]);
        runs_by(&files, &[], &[".cargo/one.toml"], &["one"]);
        let own = (
            "a/.cargo/config.toml",
            "include = 'one.toml'\n[target.x-y]\nrunner = 'own'",
        );
        runs_by(&[own, files[1]], &[], &[], &["own"]);
        runs_by(&[], &[], &[], &[]);
    }

    #[test]
    fn a_condition_counts_where_nothing_is_said_of_the_target() {
        let own = "[target.'cfg(unix)']\nrunner = 'unix'\n[target.'cfg(windows)']\nrunner = 'w'";
        let config = ("a/.cargo/config.toml", own);
        runs_by(&[config], &[], &[], &["unix"]);
        runs_by(&[config], &[], &["target.x-y.runner='x'"], &["x"]);
        let (_temp, root) = tree(&[config]);
        let two = ["target.'cfg(target_os = \"linux\")'.runner='linux'"];
        let read = CargoConfig::read(&build(root.join("a"), &[], &two));
        let failure = read.runner("x-y", &cfg_of("unix\ntarget_os=\"linux\"\n"));
        assert!(failure.unwrap_err().text.contains("cfg(unix)"));
    }

    #[test]
    fn the_target_is_chosen_typed_set_or_written() {
        let config = (
            "a/.cargo/config.toml",
            "[build]\ntarget = ['written', 'other']",
        );
        let (_temp, root) = tree(&[config]);
        let dir = root.join("a");
        let read = |env: &[(&str, &str)], config: &[&str]| {
            CargoConfig::read(&build(dir.clone(), env, config))
        };
        let env = [("CARGO_BUILD_TARGET", "set")];
        let typed = ["build.target='typed'"];
        assert_eq!(read(&env, &typed).target(Some("flag"), "host"), "flag");
        assert_eq!(read(&env, &typed).target(None, "host"), "typed");
        assert_eq!(read(&env, &[]).target(None, "host"), "set");
        assert_eq!(read(&[], &[]).target(None, "host"), "written");
        assert_eq!(read(&[], &[]).target(Some("host-tuple"), "host"), "host");
        let file = ["build.target='t/own.json'"];
        let target = read(&[], &file).target(None, "host");
        assert_eq!(target, dir.join("t/own.json").to_str().unwrap());
        assert_eq!(triple(&target), "own");
    }

    #[test]
    fn the_compiler_is_the_one_that_cargo_would_call() {
        let config = ("a/.cargo/config.toml", "[build]\nrustc = 'tools/rustc'");
        let (_temp, root) = tree(&[config]);
        let read =
            |env: &[(&str, &str)]| CargoConfig::read(&build(root.join("a"), env, &[])).rustc();
        assert_eq!(read(&[]), root.join("a/tools/rustc"));
        assert_eq!(read(&[("RUSTC", "other")]), "other");
    }

    #[test]
    fn an_override_is_written_like_what_it_is_laid_over() {
        let own = ("a/.cargo/config.toml", "[target.'a.b-c']\nrunner = ['x']\n");
        let (_temp, root) = tree(&[own]);
        let read = CargoConfig::read(&build(root.join("a"), &[], &[]));
        let text = |triple, program| read.runner_override(triple, [program, "y"]).unwrap();
        assert_eq!(text("a.b-c", "/x"), r#"target."a.b-c".runner=["/x","y"]"#);
        assert_eq!(text("x-y", "/x"), r#"target."x-y".runner="/x y""#);
        assert_eq!(text("x-y", "/a b"), r#"target."x-y".runner=["/a b","y"]"#);
    }
}
