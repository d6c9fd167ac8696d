//! The file that the app begins in: a newer time stamp has cargo compile it. Its content is never
//! touched, and its own time stamp comes back in the end, unless it was saved meanwhile. Where
//! this process is killed it stays: cargo compiles the file once more, and that is all.

use std::fs::{File, FileTimes};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::clock;
use crate::exit::Failure;

/// The file, until its time stamp is put back.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    own: SystemTime,
    /// What it was given, as the file system keeps it.
    given: Option<SystemTime>,
}

impl Source {
    /// Remembers the time stamp.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let own = written(path).map_err(|error| cannot("read", path, &error))?;
        Ok(Self {
            path: path.to_owned(),
            own,
            given: None,
        })
    }

    /// Makes it newer than everything that was built from it.
    pub(super) fn touch(&mut self) -> Result<(), Failure> {
        let mut touch = || {
            let before = written(&self.path)?;
            if self.given.is_some_and(|given| given != before) {
                // Saved meanwhile: that is its own time stamp now.
                self.own = before;
            }
            set_written(&self.path, clock::wall())?;
            self.given = Some(written(&self.path)?);
            Ok(())
        };
        touch().map_err(|error| cannot("set", &self.path, &error))
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // Of a file that was saved since then, cargo has to see it.
        let is_ours = |now: SystemTime| self.given == Some(now);
        if written(&self.path).is_ok_and(is_ours) {
            set_written(&self.path, self.own).ok();
        }
    }
}

fn written(path: &Path) -> io::Result<SystemTime> {
    path.metadata()?.modified()
}

/// Sets when it was written. When it was read is set as well, to what it is: of the first alone
/// inotify tells as of other content, and a watch would build for it.
fn set_written(path: &Path, time: SystemTime) -> io::Result<()> {
    let file = File::open(path)?;
    let read = file.metadata()?.accessed()?;
    file.set_times(FileTimes::new().set_accessed(read).set_modified(time))
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    Failure::failed(format!("cannot {what} the time stamp of `{path}`: {error}"))
        .hint("a reload is verified by having cargo compile this file: run hotrun as its owner")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_time_stamp_comes_back_unless_somebody_saved_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("main.rs");
        fs::write(&path, "fn main() {}").unwrap();
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let set = |time| File::open(&path).unwrap().set_modified(time).unwrap();
        set(old);
        let mut source = Source::open(&path).unwrap();
        source.touch().unwrap();
        source.touch().unwrap();
        assert!(written(&path).unwrap() > old);
        drop(source);
        assert_eq!(written(&path).unwrap(), old);
        // Saved between two reloads, and after the last one.
        let saved = old + Duration::from_secs(5);
        let mut source = Source::open(&path).unwrap();
        source.touch().unwrap();
        set(saved);
        source.touch().unwrap();
        drop(source);
        assert_eq!(written(&path).unwrap(), saved);
        let mut source = Source::open(&path).unwrap();
        source.touch().unwrap();
        set(old);
        drop(source);
        assert_eq!(written(&path).unwrap(), old);
        // Nothing was done to it.
        drop(Source::open(&path).unwrap());
        assert_eq!(written(&path).unwrap(), old);
        assert!(Source::open(&dir.path().join("none.rs")).is_err());
    }
}
