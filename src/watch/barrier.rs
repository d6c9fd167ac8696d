//! Finds out when everything that was written before some moment has been reported: a file of our own is
//! created where the same watcher looks, and once its event has come, all earlier ones have.
//!
//! Native events come in the order in which things happened (inotify(7): "events form an ordered
//! queue"). A poll reads one directory after the other: the first file is found by one that may have
//! begun before, the second by a later one, and the third only once that one has read everything.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use tempfile::TempDir;
use tokio::sync::oneshot;

use super::places::Places;
use crate::session::reason::Reason;

/// So many files are created one after the other: where the system sends events, and where it is polled.
const NATIVE: u8 = 1;
const POLLED: u8 = 3;

/// `Err`: why it can't be found out.
pub(super) type Done = oneshot::Sender<Result<(), Reason>>;

/// The callers that wait.
#[derive(Debug, Default)]
pub(super) struct Barrier {
    dir: Option<TempDir>,
    numbered: u64,
    open: Vec<Sentinel>,
}

/// A file whose event is waited for.
#[derive(Debug)]
struct Sentinel {
    file: PathBuf,
    /// So many files are still to be found, this one included.
    left: u8,
    done: Done,
}

impl Barrier {
    /// A caller waits from now on.
    pub(super) fn begin(&mut self, places: &mut Places, done: Done) {
        let left = if places.is_polled() { POLLED } else { NATIVE };
        let created = self.create(places).or_else(|_| {
            // What cleans up directories for temporary files may have removed this one.
            self.dir = None;
            self.create(places)
        });
        match created {
            Ok(file) => self.open.push(Sentinel { file, left, done }),
            Err(error) => {
                let text = format!("cannot find out whether all changes were noticed: {error}");
                done.send(Err(text.into())).ok();
            }
        }
    }

    /// Creates the next file, in a directory that is watched.
    fn create(&mut self, places: &mut Places) -> io::Result<PathBuf> {
        let dir = match &self.dir {
            Some(dir) => dir,
            None => self.dir.insert(tempfile::tempdir()?),
        };
        if self.open.is_empty() {
            places.watch_own(dir.path()).map_err(io::Error::other)?;
        }
        self.numbered += 1;
        let file = dir.path().join(self.numbered.to_string());
        File::create(&file)?;
        Ok(file)
    }

    /// Takes those events out that are about its own files. Returns the files that were found.
    pub(super) fn take(&self, events: &mut Vec<notify::Result<notify::Event>>) -> Vec<PathBuf> {
        let Some(dir) = &self.dir else {
            return Vec::new();
        };
        let is_own = |event: &mut notify::Result<notify::Event>| match event {
            Ok(event) => event.paths.iter().any(|path| path.starts_with(dir)),
            Err(_) => false,
        };
        let own = events.extract_if(.., is_own).flatten();
        own.flat_map(|event| event.paths).collect()
    }

    /// These files were found, and everything that was reported with them has been passed on.
    pub(super) fn passed(&mut self, places: &mut Places, found: &[PathBuf]) {
        if found.is_empty() {
            return;
        }
        let passed = |open: &mut Sentinel| found.contains(&open.file);
        for mut open in self.open.extract_if(.., passed).collect::<Vec<_>>() {
            std::fs::remove_file(&open.file).ok();
            open.left -= 1;
            if open.left == 0 {
                open.done.send(Ok(())).ok();
                continue;
            }
            match self.create(places) {
                Ok(file) => self.open.push(Sentinel { file, ..open }),
                Err(error) => {
                    open.done.send(Err(error.to_string().into())).ok();
                }
            }
        }
        self.unwatch_unused(places);
    }

    /// Everything was looked at anew, so all that was written before has been reported.
    pub(super) fn looked_at_all(&mut self, places: &mut Places) {
        for open in std::mem::take(&mut self.open) {
            std::fs::remove_file(&open.file).ok();
            open.done.send(Ok(())).ok();
        }
        self.unwatch_unused(places);
    }

    fn unwatch_unused(&self, places: &mut Places) {
        if let Some(dir) = self.dir.as_ref().filter(|_| self.open.is_empty()) {
            places.unwatch_own(dir.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::backend::Backend;
    use super::*;

    #[test]
    fn its_directory_may_be_removed() {
        let backend = Backend::polled(Duration::from_hours(1), |_| ()).unwrap();
        let mut places = Places::new(backend, Vec::new());
        let mut barrier = Barrier::default();
        let (done, _reported) = oneshot::channel();
        barrier.begin(&mut places, done);
        barrier.looked_at_all(&mut places);
        std::fs::remove_dir_all(barrier.dir.as_ref().unwrap()).unwrap();
        let (done, mut reported) = oneshot::channel();
        barrier.begin(&mut places, done);
        assert_eq!(barrier.open.len(), 1, "{:?}", reported.try_recv());
    }
}
