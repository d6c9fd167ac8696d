//! A fixture in a directory of its own, and the edits that a user makes to it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::warm::{self, Packages};

/// The directory of the fixtures.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// A build script that fails if it finds held sockets or variables about them.
pub(crate) const REFUSES_SOCKETS: &str = "fn main() {
    for (key, _) in std::env::vars() {
        let of_ours = [\"LISTEN\", \"NOTIFY\", \"HOTRUN_SESSION\", \"HOTRUN_GEN\"];
        if of_ours.iter().any(|start| key.starts_with(start)) {
            println!(\"cargo::error=variable {key}\");
        }
    }
    for entry in std::fs::read_dir(\"/proc/self/fd\").unwrap() {
        let link = std::fs::read_link(entry.unwrap().path()).unwrap_or_default();
        if link.to_string_lossy().starts_with(\"socket\") {
            println!(\"cargo::error=descriptor {}\", link.display());
        }
    }
}";

/// A project that a test may change as it likes; removed with its last handle.
#[derive(Clone)]
pub(crate) struct Project {
    temp: Arc<TempDir>,
    dir: PathBuf,
}

impl Project {
    /// A copy of the fixture of this name, which has no dependencies.
    pub(crate) fn new(fixture: &str) -> Self {
        let project = Self::empty();
        copy(&fixtures().join(fixture), &project.dir);
        warm::copy_answers(&project.path("target"));
        project
    }

    /// A copy of `hello`, a real server whose dependencies are already built.
    pub(crate) fn hello() -> Self {
        let project = Self::new("hello");
        // Nobody steps through it here, and builds are faster without.
        project.edit(
            "Cargo.toml",
            "debug = \"line-tables-only\"",
            "debug = false",
        );
        warm::copy_target(Packages::Few, &project.path("target"));
        project
    }

    /// A copy of `readers`, three programs that use activation, with their dependencies built.
    pub(crate) fn readers() -> Self {
        Self::member("readers")
    }

    /// A copy of `frameworks`, servers as their own first pages write them.
    pub(crate) fn frameworks() -> Self {
        Self::member("frameworks")
    }

    /// A copy of `tls`, a server over TLS and of WebSockets.
    pub(crate) fn tls() -> Self {
        Self::member("tls")
    }

    fn member(name: &str) -> Self {
        let Self { temp, dir } = Self::empty();
        for file in ["Cargo.toml", "Cargo.lock"] {
            fs::copy(fixtures().join(file), dir.join(file)).unwrap();
        }
        for member in ["frameworks", "readers", "tls"] {
            copy(&fixtures().join(member), &dir.join(member));
        }
        let packages = match name {
            "frameworks" => Packages::Frameworks,
            "tls" => Packages::Tls,
            _ => Packages::Few,
        };
        warm::copy_target(packages, &dir.join("target"));
        let dir = dir.join(name);
        Self { temp, dir }
    }

    /// A project of these files.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let project = Self::empty();
        for (path, content) in files {
            project.add(path, content);
        }
        project
    }

    /// A project without any file.
    pub(crate) fn empty() -> Self {
        let temp = tempfile::Builder::new()
            .prefix("promise-")
            .tempdir()
            .unwrap();
        // The temporary directory may be a link; paths in events are real.
        let root = temp.path().canonicalize().unwrap();
        let dir = root.join("app");
        for name in [&dir, &root.join("home"), &root.join("run")] {
            fs::DirBuilder::new().mode(0o700).create(name).unwrap();
        }
        Self {
            temp: Arc::new(temp),
            dir,
        }
    }

    /// The directory of the package, in which hotrun is started.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory that holds everything of this test.
    pub(crate) fn root(&self) -> PathBuf {
        self.temp.path().canonicalize().unwrap()
    }

    /// The directory for this user's sockets (`XDG_RUNTIME_DIR`) of this test's hotrun.
    pub(crate) fn runtime_dir(&self) -> PathBuf {
        self.root().join("run")
    }

    /// A path in the package.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    /// Saves a file as most editors do: writes a file beside it and renames that over it.
    pub(crate) fn save(&self, path: &str, content: &str) {
        static SAVES: AtomicU32 = AtomicU32::new(0);
        let save = SAVES.fetch_add(1, Ordering::Relaxed);
        let path = self.path(path);
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let beside = path.with_file_name(format!(".{name}.{save}"));
        fs::write(&beside, content).unwrap();
        fs::rename(beside, path).unwrap();
    }

    /// Saves a file in place, as other editors do.
    pub(crate) fn save_in_place(&self, path: &str, content: &str) {
        fs::write(self.path(path), content).unwrap();
    }

    /// Adds a file, with its directories.
    pub(crate) fn add(&self, path: &str, content: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        self.save_in_place(path, content);
    }

    /// Changes the version with which the app answers.
    pub(crate) fn set_version(&self, version: &str) {
        self.save("src/version.rs", &version_file(version));
    }

    /// The same, saved in place.
    pub(crate) fn set_version_in_place(&self, version: &str) {
        self.save_in_place("src/version.rs", &version_file(version));
    }

    /// Waits until the last write is a moment ago. A file that was saved while hotrun read the project
    /// may have been missed, and time stamps are coarse; so hotrun builds such a file once more, which
    /// is right but would be one generation too many for a test.
    pub(crate) fn wait_until_old(&self) {
        const OLD: Duration = Duration::from_millis(60);
        while let Some(rest) = youngest(&self.dir).and_then(|age| OLD.checked_sub(age)) {
            thread::sleep(rest);
        }
    }

    /// Replaces a part of a file, which must be there.
    #[track_caller]
    pub(crate) fn edit(&self, path: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(path)).unwrap();
        assert!(text.contains(from), "there is no `{from}` in {path}");
        self.save(path, &text.replacen(from, to, 1));
    }

    /// Writes `.reload.toml`.
    pub(crate) fn configure(&self, text: &str) {
        fs::write(self.path(".reload.toml"), text).unwrap();
    }

    /// Runs this in the package, as a person with a shell and git would.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) {
        let author = ["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"].map(|key| (key, "user"));
        let mail = ["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"].map(|key| (key, "user@localhost"));
        let mut shell = self.command("sh");
        let shell = shell.args(["-ec", script]).envs(author).envs(mail);
        let output = shell.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {said}");
    }

    /// A command with nothing of the outer environment but what it needs to find cargo and a
    /// compiler. It can't reach the network.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .env_clear()
            .envs(warm::toolchain())
            .env("HOME", self.root().join("home"))
            .env("XDG_RUNTIME_DIR", self.runtime_dir());
        command
    }
}

/// How long ago the last file was written, except in the target directory.
#[expect(
    clippy::disallowed_methods,
    reason = "compared with the time stamps of files"
)]
fn youngest(dir: &Path) -> Option<Duration> {
    let ages = fs::read_dir(dir).unwrap().filter_map(|entry| {
        let entry = entry.unwrap();
        if entry.file_name() == "target" {
            None
        } else if entry.file_type().unwrap().is_dir() {
            youngest(&entry.path())
        } else {
            let written = entry.metadata().unwrap().modified().unwrap();
            Some(
                SystemTime::now()
                    .duration_since(written)
                    .unwrap_or_default(),
            )
        }
    });
    ages.min()
}

fn version_file(version: &str) -> String {
    format!("pub const VERSION: &str = \"{version}\";\n")
}

/// Copies a directory with its hidden files, without the target directory.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() {
            if entry.file_name() != "target" {
                copy(&path, &to);
            }
        } else {
            fs::copy(&path, &to).unwrap();
            // A read-only checkout must not make read-only projects.
            let mut permissions = path.metadata().unwrap().permissions();
            let mode = path.metadata().unwrap().mode() | 0o600;
            std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, mode);
            fs::set_permissions(&to, permissions).unwrap();
        }
    }
}
