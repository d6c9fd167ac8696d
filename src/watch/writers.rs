//! Which files are being written, from inotify(7)'s events: a file that was closed after writing, or
//! renamed into place, is finished. Pure.
//!
//! Where the system does not tell when a file is closed, nothing is known to be finished.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind};

/// The files that are being written, and those that the last events finished.
#[derive(Debug, Default)]
pub(super) struct Writers {
    writing: HashSet<PathBuf>,
    done: HashSet<PathBuf>,
}

impl Writers {
    /// Takes in events, in order. Returns the files whose writers are done, as far as it was known that
    /// they were writing.
    pub(super) fn take(&mut self, events: &[Event]) -> Vec<PathBuf> {
        self.done.clear();
        let mut closed = Vec::new();
        for event in events {
            for path in &event.paths {
                match event.kind {
                    EventKind::Access(AccessKind::Close(AccessMode::Write))
                        if self.writing.remove(path) =>
                    {
                        self.done.insert(path.clone());
                        closed.push(path.clone());
                    }
                    EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
                        self.writing.remove(path);
                        self.done.insert(path.clone());
                    }
                    EventKind::Create(_) | EventKind::Modify(ModifyKind::Data(_)) => {
                        self.writing.insert(path.clone());
                        self.done.remove(path);
                    }
                    EventKind::Remove(_)
                    | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
                        self.writing.remove(path);
                        self.done.remove(path);
                    }
                    _ => {}
                }
            }
        }
        closed
    }

    /// The last events have said that this file is finished.
    pub(super) fn are_done(&self, path: &Path) -> bool {
        self.done.contains(path)
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, RemoveKind};

    use super::*;

    const CREATE: EventKind = EventKind::Create(CreateKind::File);
    const WRITE: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const CLOSE: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));
    const READ: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Read));
    const FROM: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::From));
    const TO: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::To));
    const REMOVE: EventKind = EventKind::Remove(RemoveKind::File);

    #[test]
    fn a_file_is_finished_when_it_was_closed_or_renamed_into_place() {
        for (groups, done, closed) in [
            (&[&[WRITE, CLOSE][..]][..], true, 1),
            (&[&[CREATE, WRITE, CLOSE]], true, 1),
            (&[&[TO]], true, 0),
            (&[&[WRITE]], false, 0),
            (&[&[CREATE]], false, 0),
            (&[&[WRITE, CLOSE, WRITE]], false, 1),
            (&[&[WRITE], &[CLOSE]], true, 1),
            (&[&[WRITE], &[READ]], false, 0),
            // Opened for writing, and nothing was written.
            (&[&[CLOSE]], false, 0),
            (&[&[WRITE, CLOSE], &[READ]], false, 0),
            (&[&[TO, FROM]], false, 0),
            (&[&[WRITE, CLOSE, REMOVE]], false, 1),
            (&[&[FROM, CREATE], &[WRITE, CLOSE]], true, 1),
        ] {
            let path = PathBuf::from("/src/main.rs");
            let mut writers = Writers::default();
            let mut last = 0;
            for kinds in groups {
                let events = kinds
                    .iter()
                    .map(|kind| Event::new(*kind).add_path(path.clone()));
                last = writers.take(&events.collect::<Vec<_>>()).len();
            }
            assert_eq!(
                (writers.are_done(&path), last),
                (done, closed),
                "{groups:?}"
            );
        }
    }
}
