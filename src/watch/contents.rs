//! The last known content of files.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::clock;
use crate::digest;
use crate::session::model::{Content, Script};
use crate::session::seen::Began;
use crate::sys::files;

/// One reading of a path.
#[derive(Clone, Copy, Debug)]
struct Look {
    content: Content,
    /// When, by the steady clock; `None`: before all that is compared with it.
    at: Option<Duration>,
    /// When it was last found to differ from before, if it was.
    changed: Option<Duration>,
}

/// The last reading of each path.
#[derive(Debug, Default)]
pub(super) struct Contents {
    looks: HashMap<PathBuf, Look>,
}

/// The content now, and at the reading before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) before: Option<Content>,
    pub(super) now: Content,
}

impl Contents {
    /// Reads a path that an event named. `None`: there is nothing to report.
    pub(super) fn look(&mut self, path: &Path) -> Option<Found> {
        let now = digest::of(path)?;
        // A file that existed when its directory began to be watched was read then.
        let known = self.note(path, now);
        let before = Some(known.unwrap_or(Content::Missing));
        // A file that appeared and vanished between two readings counts as never there.
        let nothing = known.is_none() && now == Content::Missing;
        (!nothing).then_some(Found { before, now })
    }

    /// Reads a path that has become a source. It is reported if it may have been written since `since`:
    /// the build that began then may not have seen it. A source that was written before the `first_build` is
    /// read by that one.
    pub(super) fn look_first(
        &mut self,
        path: &Path,
        since: Option<Began>,
        first_build: Option<SystemTime>,
    ) -> Option<Found> {
        let now = digest::of(path)?;
        let known = self.looks.get(path).copied();
        self.note(path, now);
        let since = since?;
        match known {
            Some(known) if known.content != now => Some(Found {
                before: Some(known.content),
                now,
            }),
            Some(known) if known.at < Some(since.clock) => None,
            // A file that is gone has no time stamp any more.
            Some(known) if known.changed >= Some(since.clock) => Some(Found { before: None, now }),
            _ => {
                let at = files::changed(path).filter(|at| *at >= since.stamp)?;
                let is_read = first_build.is_some_and(|first| at < first);
                // Cargo goes by the time of the content: a file may have been moved here with an old one.
                let is_built = is_read && modified(path).is_some_and(|at| at >= since.stamp);
                (!is_built).then_some(Found { before: None, now })
            }
        }
    }

    /// Stores the content now; returns the one before.
    fn note(&mut self, path: &Path, content: Content) -> Option<Content> {
        let at = Some(clock::steady());
        let mut look = Look {
            content,
            at,
            changed: None,
        };
        if let Some(known) = self.looks.get_mut(path) {
            let is_same = known.content == content;
            look.changed = if is_same { known.changed } else { at };
            return Some(std::mem::replace(known, look).content);
        }
        self.looks.insert(path.to_owned(), look);
        None
    }

    /// Stores this as the last known content, read at an unknown time.
    pub(super) fn assume(&mut self, path: &Path, content: Content) {
        let look = Look {
            content,
            at: None,
            changed: None,
        };
        self.looks.insert(path.to_owned(), look);
    }

    /// Every path below this one that existed when it was last read.
    pub(super) fn below(&self, dir: &Path) -> Vec<PathBuf> {
        let looks = self.looks.iter();
        let below = looks.filter(|(path, look)| {
            look.content != Content::Missing && path.starts_with(dir) && *path != dir
        });
        below.map(|(path, _)| path.clone()).collect()
    }

    /// Forgets the paths that `keep` refuses.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Path) -> bool) {
        self.looks.retain(|path, _| keep(path));
    }

    pub(super) fn len(&self) -> usize {
        self.looks.len()
    }
}

/// A file with content of its own: neither a link nor another name of an older file.
pub(super) fn is_written(path: &Path) -> bool {
    let found = path.symlink_metadata();
    found.is_ok_and(|found| found.is_file() && files::has_one_name(&found))
}

/// If its package's build script was running when this file was written: the time since the script
/// began.
pub(super) fn script(path: &Path, scripts: &[Script]) -> Option<Duration> {
    let of_path = scripts
        .iter()
        .filter(|script| path.starts_with(&script.package));
    let script = of_path.max_by_key(|script| script.package.components().count())?;
    let at = path.metadata().ok()?.modified().ok()?;
    let entries = fs::read_dir(&script.records).ok()?.flatten();
    let runs = entries.filter(|entry| {
        let name = entry.file_name();
        let package = name.to_str().and_then(|name| name.rsplit_once('-'));
        package.is_some_and(|(package, _)| package == script.name)
    });
    let run = runs.filter_map(|entry| {
        // Cargo writes the first file when a run begins, and the second when it has ended.
        let began = modified(&entry.path().join("invoked.timestamp"))?;
        let ended = files::changed(&entry.path().join("output")).filter(|ended| *ended > began);
        Some((began, ended))
    });
    let (began, ended) = run.max_by_key(|(began, _)| *began)?;
    let meanwhile = at >= began && ended.is_none_or(|ended| at <= ended);
    meanwhile.then(|| at.duration_since(began).unwrap_or_default())
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_and_went_was_never_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut contents = Contents::default();
        assert_eq!(contents.look(&path), None);
        fs::write(&path, "one").unwrap();
        let first = contents.look(&path).unwrap();
        assert_eq!(first.before, Some(Content::Missing));
        assert_eq!(contents.look(&path).unwrap().before, Some(first.now));
        assert_eq!(contents.below(dir.path()), std::slice::from_ref(&path));
        fs::remove_file(&path).unwrap();
        assert_eq!(contents.look(&path).unwrap().now, Content::Missing);
        assert!(contents.below(dir.path()).is_empty());
    }

    #[test]
    fn a_new_source_is_told_if_it_may_have_been_missed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let hour = Duration::from_hours(1);
        fs::write(&path, "one").unwrap();
        let mut contents = Contents::default();
        let began = |stamp: SystemTime, clock: Duration| Some(Began { stamp, clock });
        let start = clock::steady();
        let later = began(clock::wall() + hour, start);
        assert_eq!(contents.look_first(&path, later, None), None);
        let mut contents = Contents::default();
        let earlier = began(clock::wall() - hour, start);
        let found = contents.look_first(&path, earlier, None).unwrap();
        assert_eq!(found.before, None);
        let now = || began(clock::wall(), clock::steady());
        // It was read before the given time, and not written since.
        assert_eq!(contents.look_first(&path, now(), None), None);
        // Its stamp may be of the same tick.
        let same_tick = Began {
            stamp: files::changed(&path).unwrap(),
            clock: clock::steady(),
        };
        assert_eq!(contents.look_first(&path, Some(same_tick), None), None);
        fs::write(&path, "two").unwrap();
        let two = contents.look_first(&path, now(), None).unwrap();
        assert_eq!(two.before, Some(found.now));
        assert_eq!(contents.look_first(&path, None, None), None);
    }

    /// It was saved while the project was read, just before the first build.
    #[test]
    fn what_the_first_build_reads_is_no_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "one").unwrap();
        let at = files::changed(&path).unwrap();
        let second = Duration::from_secs(1);
        let began = Some(Began {
            stamp: at - second,
            clock: clock::steady(),
        });
        let is_told = |first_build| {
            let found = Contents::default().look_first(&path, began, Some(first_build));
            found.is_some()
        };
        assert!(!is_told(at + second));
        // The build may have begun before that.
        assert!(is_told(at));
        // Cargo can't tell that it was written.
        let file = fs::File::options().append(true).open(&path).unwrap();
        file.set_modified(at - 2 * second).unwrap();
        assert!(is_told(files::changed(&path).unwrap() + second));
    }

    /// A module is removed as soon as the program with it is live, before it is known to be a source.
    #[test]
    fn a_new_source_that_is_gone_already_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "one").unwrap();
        let mut contents = Contents::default();
        contents.look(&path).unwrap();
        let began = Some(Began {
            stamp: clock::wall(),
            clock: clock::steady(),
        });
        fs::remove_file(&path).unwrap();
        contents.look(&path).unwrap();
        let gone = Found {
            before: None,
            now: Content::Missing,
        };
        assert_eq!(contents.look_first(&path, began, None), Some(gone));
        // One that was never there is none that is gone.
        let never = dir.path().join("never");
        assert_eq!(contents.look_first(&never, began, None), None);
        assert_eq!(contents.look_first(&never, began, None), None);
    }

    #[test]
    fn what_a_build_script_writes_is_told_from_its_records() {
        let dir = tempfile::tempdir().unwrap();
        let package = dir.path().join("app");
        let run = dir.path().join("target/build/app-0123");
        fs::create_dir_all(&run).unwrap();
        fs::create_dir_all(&package).unwrap();
        let scripts = [Script {
            package: package.clone(),
            name: "app".into(),
            records: dir.path().join("target/build"),
        }];
        let path = package.join("generated.rs");
        fs::write(&path, "").unwrap();
        assert_eq!(script(&path, &scripts), None);
        fs::write(run.join("invoked.timestamp"), "").unwrap();
        let began = modified(&run.join("invoked.timestamp")).unwrap();
        let later = Duration::from_secs(2);
        let set = |path: &Path, at| {
            let file = fs::File::options().append(true).open(path).unwrap();
            file.set_modified(at).unwrap();
        };
        set(&path, began + later);
        // The script is still running; after it has ended, the file counts as written later.
        assert_eq!(script(&path, &scripts), Some(later));
        std::thread::sleep(Duration::from_millis(20));
        fs::write(run.join("output"), "").unwrap();
        assert_eq!(script(&path, &scripts), None);
        set(&path, began);
        assert_eq!(script(&path, &scripts), Some(Duration::ZERO));
        assert_eq!(script(&dir.path().join("other"), &scripts), None);
    }
}
