//! Stores artifacts, so that no later build can touch a running program.
//!
//! A session has a key, `<package>.<target>.<profile>`. Below `<target-dir>/hotrun/` it has a lock file,
//! so that one target has one hotrun, and files for the next session. What its generations run is pinned
//! in directories beside the one that cargo builds into, `<target-dir>/hotrun.<key>.g7` beside
//! `<target-dir>/debug`: a program that looks for files relative to its own executable finds them as
//! under `cargo run`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::beside::{Leaves, bring_home};
use super::cargo_config::CargoConfig;
use super::project::{Project, Target, TargetKind};
use super::recorder::Recorder;
use crate::config::Build;
use crate::exit::{ExitKind, Failure};
use crate::session::model::Generation;
use crate::sys::files::FileId;

/// The ending of the files of remembered addresses.
const MEMORY: &str = "addresses";

/// The store of one session, locked for as long as the session lasts.
#[derive(Debug)]
pub struct ArtifactStore {
    target_dir: PathBuf,
    key: String,
    /// Under the fast profile, where the calls of the compiler are recorded.
    recorder: Option<Recorder>,
    lock: Mutex<File>,
}

impl ArtifactStore {
    /// Locks this project's target for this session and removes what an earlier session left.
    pub fn open(project: &Project, build: &Build) -> Result<Self, Failure> {
        let mut store = Self::open_at(project.target_dir.clone(), key(&project.target, build))?;
        if build.fast && !CargoConfig::read(build).has_workspace_wrapper() {
            // Without it every build is cargo's.
            store.recorder = Recorder::create(&store.file("")).ok();
        }
        Ok(store)
    }

    fn open_at(target_dir: PathBuf, key: String) -> Result<Self, Failure> {
        let lock = locked(&target_dir, &key)?.into();
        let store = Self {
            target_dir,
            key,
            recorder: None,
            lock,
        };
        store.clear();
        Ok(store)
    }

    /// Locks the target again if the lock file was removed, with the whole target directory perhaps: another
    /// hotrun would start beside this one.
    pub(super) fn lock_again(&self) -> Result<(), Failure> {
        if !self.is_locked() {
            *self.lock() = locked(&self.target_dir, &self.key)?;
        }
        Ok(())
    }

    /// The lock file is still the one that was locked.
    fn is_locked(&self) -> bool {
        let path = lock_file(&self.target_dir, &self.key);
        is_at(&self.lock(), &path).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, File> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file in which this session's addresses are remembered for the next one.
    pub fn memory(&self) -> PathBuf {
        self.file(MEMORY)
    }

    /// The newest of these files of all sessions of a program, whatever profile it was built with.
    pub(super) fn last_memory(project: &Project) -> Option<PathBuf> {
        let Target {
            package,
            name,
            kind,
            ..
        } = &project.target;
        let start = format!("{}.{}.", part(package), named(name, *kind));
        let files = fs::read_dir(project.target_dir.join("hotrun")).into_iter();
        let files = files.flatten().flatten().map(|entry| entry.path());
        let is_one = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            let rest = name.and_then(|name| name.strip_prefix(&start)?.strip_suffix(MEMORY));
            rest.is_some()
        };
        files
            .filter(is_one)
            .max_by_key(|path| path.metadata().and_then(|found| found.modified()).ok())
    }

    /// Where the calls of the compiler are recorded, if they are.
    pub(super) fn recorder(&self) -> Option<&Recorder> {
        self.recorder.as_ref()
    }

    /// The arguments that make cargo record the calls of the compiler.
    pub(super) fn recording(&self) -> Option<[OsString; 2]> {
        let recorder = self.recorder()?;
        recorder.restore().ok()?;
        recorder.arguments()
    }

    /// The file system's time now: no file that is written from now on has an older stamp.
    pub fn now(&self) -> io::Result<SystemTime> {
        let path = self.file("now");
        fs::write(&path, "now")?;
        let now = path.metadata()?.modified();
        fs::remove_file(&path).ok();
        now
    }

    /// The binaries that the program was seen to start, in this session or an earlier one.
    pub(super) fn siblings(&self) -> BTreeSet<String> {
        let text = fs::read_to_string(self.file("siblings")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Remembers the siblings for the next session. If that fails, it will see by itself what the
    /// program starts.
    pub(super) fn remember_siblings(&self, names: &BTreeSet<String>) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        fs::write(self.file("siblings"), names.join("\n")).ok();
    }

    /// Whether this directory is the one that cargo builds into, or a pinned one of this session.
    pub(super) fn is_beside(&self, dir: &Path, profile_dir: &Path) -> bool {
        let real = dunce::canonicalize(profile_dir);
        let profile_dir = real.as_deref().unwrap_or(profile_dir);
        dir == profile_dir || dir.parent() == profile_dir.parent() && is_pinned(dir, &self.prefix())
    }

    /// The store belongs to this project's target.
    pub fn is_of(&self, project: &Project, build: &Build) -> bool {
        self.target_dir == project.target_dir && self.key == key(&project.target, build)
    }

    /// The directory in which a generation's files are pinned, beside the one that cargo builds into.
    pub(super) fn place(&self, profile_dir: &Path, generation: Generation) -> PathBuf {
        profile_dir.with_file_name(format!("{}{generation}", self.prefix()))
    }

    fn prefix(&self) -> String {
        format!("hotrun.{}.", self.key)
    }

    fn file(&self, ending: &str) -> PathBuf {
        let name = format!("{}.{ending}", self.key);
        self.target_dir.join("hotrun").join(name)
    }

    /// Removes all pinned directories: with `--target`, cargo builds one directory further down.
    fn clear(&self) {
        let prefix = self.prefix();
        for entry in directories(&self.target_dir) {
            for inner in directories(&entry) {
                remove_pinned(&inner, &prefix);
            }
            remove_pinned(&entry, &prefix);
        }
    }
}

impl Drop for ArtifactStore {
    fn drop(&mut self) {
        // What is left is not ours if the lock file was removed and another hotrun has one now.
        let is_ours = self.is_locked() || self.target_dir.exists() && self.lock_again().is_ok();
        if !is_ours {
            return;
        }
        self.clear();
        if let Some(recorder) = &self.recorder {
            recorder.remove();
        }
        // While the lock is still held: later, another hotrun may have its lock file under this name.
        fs::remove_file(lock_file(&self.target_dir, &self.key)).ok();
    }
}

fn lock_file(target_dir: &Path, key: &str) -> PathBuf {
    target_dir.join("hotrun").join(format!("{key}.lock"))
}

/// The result of an attempt to lock a file.
#[derive(Debug, PartialEq, Eq)]
enum Lock {
    /// The lock is ours.
    Taken,
    /// Another process has the lock.
    Held,
    /// The file was removed or replaced after it was opened, so its lock excludes no other process.
    Removed,
}

/// Makes and locks the lock file of this target.
fn locked(target_dir: &Path, key: &str) -> Result<File, Failure> {
    let dir = target_dir.join("hotrun");
    let shown = dir.display().to_string();
    let denied = |error: io::Error| {
        Failure::failed(format!("cannot write to `{shown}`: {error}"))
            .hint("make it writable, or choose another place with --target-dir")
    };
    fs::create_dir_all(&dir).map_err(denied)?;
    let path = lock_file(target_dir, key);
    let mut lock = loop {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(denied)?;
        match lock(&file, &path).map_err(denied)? {
            Lock::Taken => break file,
            Lock::Removed => {}
            Lock::Held => {
                let mut pid = String::new();
                file.read_to_string(&mut pid).ok();
                return Err(in_use(pid.trim()));
            }
        }
    };
    lock.set_len(0).map_err(denied)?;
    write!(lock, "{}", std::process::id()).map_err(denied)?;
    Ok(lock)
}

fn lock(file: &File, path: &Path) -> io::Result<Lock> {
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Lock::Held),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    Ok(if is_at(file, path)? {
        Lock::Taken
    } else {
        Lock::Removed
    })
}

/// This open file is the one at this path.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let of_file = FileId::of(file)?;
    Ok(FileId::at(path).is_ok_and(|of_path| of_path == of_file))
}

fn in_use(pid: &str) -> Failure {
    Failure {
        kind: ExitKind::InUse,
        message: format!("a hotrun already serves this target (pid {pid})"),
        hint: Some("end it, or choose another package, target or profile".into()),
    }
}

fn directories(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    dirs.map(|entry| entry.path())
}

/// Removes a directory if it is named like a pinned one.
fn remove_pinned(dir: &Path, prefix: &str) {
    if is_pinned(dir, prefix) {
        discard(dir);
    }
}

fn is_pinned(dir: &Path, prefix: &str) -> bool {
    let name = dir.file_name().and_then(|name| name.to_str());
    let number = name
        .and_then(|name| name.strip_prefix(prefix))
        .and_then(|number| number.strip_prefix('g'));
    number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Removes the pinned directory of an artifact; files that the program has written there are moved out.
pub fn discard(dir: &Path) {
    bring_home(dir, Leaves::Nothing);
    fs::remove_dir_all(dir).ok();
}

/// The key that tells this target from all others that are built into the same directory.
fn key(target: &Target, build: &Build) -> String {
    let profile = part(&build.profile());
    let name = named(&target.name, target.kind);
    let mut parts = vec![part(&target.package), name, profile];
    parts.extend(build.target.as_deref().map(part));
    parts.join(".")
}

/// The name of a target, in a key.
fn named(name: &str, kind: TargetKind) -> String {
    let mut named = part(name);
    if kind == TargetKind::Example {
        named.push_str("+example");
    }
    named
}

/// A name with the separators of keys and paths escaped.
fn part(name: &str) -> String {
    name.chars().fold(String::new(), |mut part, c| {
        if c.is_alphanumeric() || c == '-' || c == '_' {
            part.push(c);
        } else {
            write!(part, "%{:x}", u32::from(c)).ok();
        }
        part
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::{is_wine, lacks};

    fn keep(dir: &Path) -> Result<ArtifactStore, Failure> {
        ArtifactStore::open_at(dir.to_owned(), "app.app.dev".into())
    }

    fn key_of(package: &str, kind: TargetKind, name: &str, build: &Build) -> String {
        let target = Target {
            package: package.into(),
            of_many: false,
            kind,
            name: name.into(),
            source: PathBuf::new(),
            fast: None,
        };
        key(&target, build)
    }

    #[test]
    fn a_key_belongs_to_one_target() {
        use TargetKind::{Bin, Example};
        let plain = Build::default();
        let triple = |triple: &str| Build {
            target: Some(triple.into()),
            ..Build::default()
        };
        let profile = |profile: &str| Build {
            profile: Some(profile.into()),
            ..Build::default()
        };
        let keys = [
            key_of("a-b", Bin, "c", &plain),
            key_of("a", Bin, "b-c", &plain),
            key_of("a", Bin, "b", &profile("c-dev")),
            key_of("a", Bin, "b", &plain),
            key_of("a", Example, "b", &plain),
            key_of("a", Bin, "b.dev", &triple("x")),
            key_of("a", Bin, "b", &triple("dev.x")),
            key_of("a", Bin, "b", &triple("specs/x.json")),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[at + 1..].contains(key), "{key} twice in {keys:?}");
            assert!(!key.contains('/'), "{key}");
        }
        assert_eq!(keys[0], "a-b.c.dev");
    }

    /// Two other hotruns have opened the lock file of a session that ends and removes it: neither may
    /// count it as the lock, or both would use one directory.
    #[test]
    fn a_lock_that_was_removed_is_none() {
        if lacks(!is_wine(), "removal of a file that is open") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = lock_file(dir.path(), "app.app.dev");
        let first = keep(dir.path()).unwrap();
        assert_eq!(keep(dir.path()).unwrap_err().kind, ExitKind::InUse);
        let [one, other] = [(); 2].map(|()| File::open(&path).unwrap());
        assert_eq!(lock(&one, &path).unwrap(), Lock::Held);
        drop(first);
        assert!(!path.exists());
        assert_eq!(lock(&one, &path).unwrap(), Lock::Removed);
        drop(one);
        let _second = keep(dir.path()).unwrap();
        assert_eq!(lock(&other, &path).unwrap(), Lock::Removed);
        assert_eq!(keep(dir.path()).unwrap_err().kind, ExitKind::InUse);
    }

    #[test]
    fn what_a_killed_session_left_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let left = ["hotrun.app.app.dev.g7", "x86_64/hotrun.app.app.dev.g12"];
        let others = [
            "hotrun.app.app.dev.x86_64.g1",
            "debug/deps",
            "hotrun.app.app.dev.gone",
        ];
        for name in left.iter().chain(&others) {
            fs::create_dir_all(path(name)).unwrap();
        }
        let store = keep(dir.path()).unwrap();
        assert!(left.iter().all(|name| !path(name).exists()));
        assert!(others.iter().all(|name| path(name).exists()));
        let pinned = store.place(&path("debug"), Generation(3));
        assert_eq!(pinned, path("hotrun.app.app.dev.g3"));
        fs::create_dir_all(&pinned).unwrap();
        for (dir, expected) in [
            (path("debug"), true),
            (pinned.clone(), true),
            (path("debug/deps"), false),
            (path("release"), false),
            (path("hotrun.app.app.dev.gone"), false),
        ] {
            assert_eq!(store.is_beside(&dir, &path("debug")), expected, "{dir:?}");
        }
        drop(store);
        assert!(!pinned.exists());
    }
}
