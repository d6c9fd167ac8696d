//! Pinning executables, so that no later build can touch a running program, and finding
//! out whether a build changed anything.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::project::Project;
use crate::config::Build;
use crate::exit::{ExitKind, Failure};
use crate::session::model::Generation;

/// The directory of one session: `<target-dir>/hotrun/<package>-<target>-<profile>`. Locked for
/// as long as the session lasts, so one target has one hotrun; removed at its end.
#[derive(Debug)]
pub struct ArtifactStore {
    dir: PathBuf,
    _lock: File,
}

impl ArtifactStore {
    /// Where the executables of this project's target belong.
    pub fn place(project: &Project, build: &Build) -> PathBuf {
        let profile = match (&build.profile, build.release) {
            (Some(profile), _) => profile,
            (None, true) => "release",
            (None, false) => "dev",
        };
        let target = &project.target;
        let name = match &build.target {
            Some(triple) => format!("{}-{}-{profile}-{triple}", target.package, target.name),
            None => format!("{}-{}-{profile}", target.package, target.name),
        };
        project.target_dir.join("hotrun").join(name)
    }

    /// Takes the directory for this session and removes what an earlier one left there.
    pub fn open(dir: PathBuf) -> Result<Self, Failure> {
        let shown = dir.display().to_string();
        let denied = |error: io::Error| {
            Failure::failed(format!("cannot write to `{shown}`: {error}"))
                .hint("make it writable, or choose another place with --target-dir")
        };
        fs::create_dir_all(&dir).map_err(denied)?;
        let path = dir.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(denied)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                (&lock).read_to_string(&mut pid).ok();
                return Err(Failure {
                    kind: ExitKind::InUse,
                    message: format!("a hotrun already serves this target (pid {})", pid.trim()),
                    hint: Some("end it, or choose another package, target or profile".into()),
                });
            }
            Err(TryLockError::Error(error)) => return Err(denied(error)),
        }
        let store = Self { dir, _lock: lock };
        for entry in fs::read_dir(&store.dir).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                fs::remove_dir_all(entry.path()).ok();
            }
        }
        let own = std::process::id().to_string();
        fs::write(store.dir.join("lock"), own).map_err(denied)?;
        Ok(store)
    }

    /// The file beside it that outlasts this session: where the next one finds the addresses of this one.
    pub fn memory(&self) -> PathBuf {
        self.dir.with_added_extension("addresses")
    }

    /// It is in this place.
    pub fn is_at(&self, place: &Path) -> bool {
        self.dir == place
    }

    /// Keeps `executable` for this generation and returns where.
    pub fn pin(&self, executable: &Path, generation: Generation) -> io::Result<PathBuf> {
        let dir = self.of(generation);
        fs::create_dir_all(&dir)?;
        let name = executable.file_name().unwrap_or(executable.as_os_str());
        let path = dir.join(name);
        fs::remove_file(&path).ok();
        if fs::hard_link(executable, &path).is_err() {
            // Another file system, or one without links: `copy` shares the blocks where it can.
            fs::copy(executable, &path)?;
        }
        Ok(path)
    }

    /// Removes what was pinned for a build that came to nothing.
    pub fn discard(&self, generation: Generation) {
        fs::remove_dir_all(self.of(generation)).ok();
    }

    fn of(&self, generation: Generation) -> PathBuf {
        self.dir.join(generation.to_string())
    }
}

impl Drop for ArtifactStore {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.dir).ok();
    }
}

/// Removes a pinned executable.
pub fn discard(path: &Path) {
    if let Some(dir) = path.parent() {
        fs::remove_dir_all(dir).ok();
    }
}

/// Two executables are the same program.
pub fn same(a: &Path, b: &Path) -> io::Result<bool> {
    let (a, b) = (File::open(a)?, File::open(b)?);
    let (of_a, of_b) = (a.metadata()?, b.metadata()?);
    if (of_a.dev(), of_a.ino()) == (of_b.dev(), of_b.ino()) {
        return Ok(true);
    }
    if of_a.len() != of_b.len() {
        return Ok(false);
    }
    same_bytes(a, b)
}

fn same_bytes(mut a: File, mut b: File) -> io::Result<bool> {
    const BLOCK: u64 = 256 * 1024;
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    loop {
        of_a.clear();
        of_b.clear();
        (&mut a).take(BLOCK).read_to_end(&mut of_a)?;
        (&mut b).take(BLOCK).read_to_end(&mut of_b)?;
        if of_a != of_b {
            return Ok(false);
        }
        if of_a.is_empty() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_compared_by_content() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let long = vec![7; 600 * 1024];
        let (a, b) = (file("a", &long), file("b", &long));
        let mut changed = long.clone();
        *changed.last_mut().unwrap() = 8;
        let c = file("c", &changed);
        let link = dir.path().join("link");
        fs::hard_link(&a, &link).unwrap();
        assert!(same(&a, &b).unwrap() && same(&a, &link).unwrap());
        assert!(!same(&a, &c).unwrap() && !same(&a, &file("d", b"x")).unwrap());
        assert!(same(&a, &dir.path().join("none")).is_err());
    }
}
