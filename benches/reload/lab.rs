//! Two warm copies of the example project: one for hotrun, one for a bare cargo.

use std::cell::Cell;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;
use crate::guard::Guard;

/// One copy of the project.
#[derive(Debug)]
pub(crate) struct Project {
    /// The workspace.
    pub(crate) root: PathBuf,
    /// The package of the server.
    pub(crate) package: PathBuf,
}

impl Project {
    fn at(root: PathBuf) -> Self {
        let package = root.join("hello");
        Self { root, package }
    }

    /// A source file of the server.
    pub(crate) fn source(&self, name: &str) -> PathBuf {
        self.package.join("src").join(name)
    }

    /// The executable that cargo builds.
    pub(crate) fn executable(&self) -> PathBuf {
        self.root.join("target/debug/hello")
    }

    /// Saves a version, as an editor that writes in place would.
    pub(crate) fn save(&self, version: u32) -> Result<()> {
        fs::write(self.source("version.rs"), version_text(version))?;
        Ok(())
    }
}

/// The text of `version.rs` for this version.
pub(crate) fn version_text(version: u32) -> String {
    format!("pub const VERSION: &str = \"{version}\";\n")
}

/// The directories in which everything is measured.
#[derive(Debug)]
pub(crate) struct Lab {
    /// Ends processes that are left, and removes `dir`.
    pub(crate) guard: Guard,
    /// The directory of all files.
    pub(crate) dir: PathBuf,
    /// The copy for hotrun.
    pub(crate) hot: Project,
    /// The copy for a bare cargo.
    pub(crate) bare: Project,
    /// Few rounds.
    quick: bool,
    /// The last version given out; all have four digits, so that programs differ in content only.
    version: Cell<u32>,
    /// The server's `main.rs` as it was.
    main: String,
}

impl Lab {
    /// Copies the project and builds both copies once.
    pub(crate) fn prepare(quick: bool) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("hotrun-bench-")
            .tempdir()?
            .keep()
            .canonicalize()?;
        let guard = Guard::start(&dir)?;
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let hot = Project::at(dir.join("hot"));
        fs::create_dir(&hot.root)?;
        copy(&fixtures.join("hello"), &hot.package)?;
        // A build there would be copied along.
        fs::remove_dir_all(hot.package.join("target")).ok();
        make_member(&hot)?;
        // The address comes from the command line, so that a free one can be chosen.
        fs::remove_file(hot.package.join(".reload.toml")).ok();
        fs::write(hot.root.join(".gitignore"), "target/\nnode_modules/\n")?;
        // Enough for programs that check whether this is a repository.
        fs::create_dir(hot.root.join(".git"))?;
        fs::write(hot.package.join("README.md"), "# hello\n")?;
        let main = fs::read_to_string(hot.source("main.rs"))?;
        let lab = Self {
            guard,
            bare: Project::at(dir.join("bare")),
            hot,
            dir,
            quick,
            version: Cell::new(1000),
            main,
        };
        lab.cargo_build(&lab.hot)?;
        // With time stamps, or everything would be built again.
        copy(&lab.hot.root, &lab.bare.root)?;
        lab.cargo_build(&lab.bare)?;
        Ok(lab)
    }

    /// The number of rounds.
    pub(crate) fn rounds(&self, normal: usize, quick: usize) -> usize {
        if self.quick { quick } else { normal }
    }

    /// A span of time.
    pub(crate) fn span(&self, normal: Duration, quick: Duration) -> Duration {
        if self.quick { quick } else { normal }
    }

    /// A version that was never there before.
    pub(crate) fn next_version(&self) -> u32 {
        self.version.set(self.version.get() + 1);
        self.version.get()
    }

    /// Undoes what a row did to the sources of hotrun's copy.
    pub(crate) fn reset(&self) -> Result<()> {
        if fs::read_to_string(self.hot.source("main.rs"))? != self.main {
            fs::write(self.hot.source("main.rs"), &self.main)?;
        }
        self.hot.save(self.next_version())
    }

    /// Keeps a copy of everything in a project but what cargo has built.
    pub(crate) fn keep(&self, project: &Project) -> Result<()> {
        let kept = self.kept(project);
        fs::create_dir_all(&kept)?;
        for path in without_target(&project.root)? {
            copy(&path, &kept)?;
        }
        Ok(())
    }

    /// Makes a project what it was when it was kept.
    pub(crate) fn restore(&self, project: &Project) -> Result<()> {
        for path in without_target(&project.root)? {
            if path.is_dir() {
                fs::remove_dir_all(path)?;
            } else {
                fs::remove_file(path)?;
            }
        }
        for path in without_target(&self.kept(project))? {
            copy(&path, &project.root)?;
        }
        fs::remove_dir_all(project.root.join("target/debug/many")).ok();
        // Cargo looks at times, and these files are old.
        for name in ["main.rs", "version.rs"] {
            let source = project.source(name);
            fs::write(&source, fs::read(&source)?)?;
        }
        self.cargo_build(project)?;
        Ok(())
    }

    fn kept(&self, project: &Project) -> PathBuf {
        let name = project.root.file_name().unwrap_or_default();
        self.dir.join("kept").join(name)
    }

    /// The server's `main.rs` with `insertion` after the only occurrence of `mark`.
    pub(crate) fn main_with(&self, mark: &str, insertion: &str) -> Result<String> {
        let mut parts = self.main.split(mark);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(before), Some(after), None) => {
                Ok(format!("{before}{mark}\n{insertion}\n{after}"))
            }
            _ => Err(format!("the server's main.rs has not one `{mark}`").into()),
        }
    }

    /// The server's `main.rs` as it was.
    pub(crate) fn main(&self) -> &str {
        &self.main
    }

    /// Runs what a user types after a save, in the package; returns how long it took.
    pub(crate) fn cargo_build(&self, project: &Project) -> Result<Duration> {
        self.cargo(project, &["build"])
    }

    /// Runs cargo in the package; returns how long it took.
    pub(crate) fn cargo(&self, project: &Project, args: &[&str]) -> Result<Duration> {
        let start = Instant::now();
        let mut child = command(cargo())
            .args(args)
            .current_dir(&project.package)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        self.guard.keep(&child)?;
        let mut said = String::new();
        if let Some(stderr) = &mut child.stderr {
            stderr.read_to_string(&mut said)?;
        }
        let status = child.wait()?;
        let took = start.elapsed();
        self.guard.forget(&child)?;
        if status.success() {
            return Ok(took);
        }
        let last = said.lines().rev().take(20).collect::<Vec<_>>();
        let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
        Err(format!("cargo {}: {status}\n{last}", args.join(" ")).into())
    }
}

fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// A command without the variables of the cargo that runs this benchmark, and without others that would
/// lead to another project's directories or profiles.
pub(crate) fn command(program: impl Into<OsString>) -> Command {
    let mut command = Command::new(program.into());
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy();
        let ours = name.starts_with("CARGO_") && name != "CARGO_HOME";
        if ours || name.starts_with("HOTRUN_") || name == "RUSTFLAGS" {
            command.env_remove(&key);
        }
    }
    command.env("CARGO_NET_OFFLINE", "true");
    command
}

/// Makes the package, which is a workspace of its own, the member of one above it.
fn make_member(project: &Project) -> Result<()> {
    let own = project.package.join("Cargo.toml");
    let text = fs::read_to_string(&own)?;
    let (package, profiles) = text.split_once("[profile.dev]").ok_or("no profile")?;
    let root = "[workspace]\nresolver = \"3\"\nmembers = [\"hello\"]\n\n[profile.dev]";
    fs::write(project.root.join("Cargo.toml"), format!("{root}{profiles}"))?;
    fs::write(&own, package.replace("[workspace]\n", ""))?;
    let lock = project.package.join("Cargo.lock");
    Ok(fs::rename(lock, project.root.join("Cargo.lock"))?)
}

/// What is in a workspace beside its target directory.
fn without_target(root: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name != "target") {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// Copies a directory with everything in it, time stamps included.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg("-a").args([from, to]).status()?;
    if status.success() {
        return Ok(());
    }
    Err(format!("cannot copy {}: {status}", from.display()).into())
}
