//! Which files are being written, from inotify(7)'s events: a file that was closed after writing, or
//! renamed into place, is finished. Pure.
//!
//! Where the system does not tell when a file is closed, nothing is known to be finished.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind};

use crate::session::model::Save;

/// The files that are being written, and those that the last events finished.
#[derive(Debug, Default)]
pub(super) struct Writers {
    writing: HashSet<PathBuf>,
    done: HashSet<PathBuf>,
}

impl Writers {
    /// Takes in events, in order. Returns the files whose writers are done, as far as it was known that
    /// they were writing. `closes`: an event tells when a file is closed. `is_written`: a new file at this
    /// path has content of its own, so the process that made it has it open.
    pub(super) fn take(
        &mut self,
        events: &[Event],
        closes: bool,
        is_written: impl Fn(&Path) -> bool,
    ) -> Vec<PathBuf> {
        self.done.clear();
        if !closes {
            self.writing.clear();
        }
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
                    EventKind::Create(_) if closes && is_written(path) => {
                        self.writing.insert(path.clone());
                        self.done.remove(path);
                    }
                    EventKind::Modify(ModifyKind::Data(_)) if closes => {
                        self.writing.insert(path.clone());
                        self.done.remove(path);
                    }
                    EventKind::Create(_)
                    | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Name(RenameMode::From))
                    | EventKind::Remove(_) => {
                        self.writing.remove(path);
                        self.done.remove(path);
                    }
                    _ => {}
                }
            }
        }
        closed
    }

    /// How far the save of this file is, by the last events.
    pub(super) fn save(&self, path: &Path) -> Save {
        if self.done.contains(path) {
            Save::Finished
        } else if self.writing.contains(path) {
            Save::Open
        } else {
            Save::Unknown
        }
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
            (&[&[WRITE, CLOSE][..]][..], Save::Finished, 1),
            (&[&[CREATE, WRITE, CLOSE]], Save::Finished, 1),
            (&[&[TO]], Save::Finished, 0),
            (&[&[WRITE]], Save::Open, 0),
            (&[&[CREATE]], Save::Open, 0),
            (&[&[CREATE, CLOSE]], Save::Finished, 1),
            (&[&[WRITE, CLOSE, WRITE]], Save::Open, 1),
            (&[&[WRITE], &[CLOSE]], Save::Finished, 1),
            (&[&[WRITE], &[READ]], Save::Open, 0),
            // Opened for writing, and nothing was written.
            (&[&[CLOSE]], Save::Unknown, 0),
            (&[&[WRITE, CLOSE], &[READ]], Save::Unknown, 0),
            (&[&[TO, FROM]], Save::Unknown, 0),
            (&[&[WRITE, CLOSE, REMOVE]], Save::Unknown, 1),
            (&[&[FROM, CREATE], &[WRITE, CLOSE]], Save::Finished, 1),
        ] {
            let path = PathBuf::from("/src/main.rs");
            let mut writers = Writers::default();
            let mut last = 0;
            for kinds in groups {
                let events = kinds
                    .iter()
                    .map(|kind| Event::new(*kind).add_path(path.clone()));
                last = writers
                    .take(&events.collect::<Vec<_>>(), true, |_| true)
                    .len();
            }
            assert_eq!((writers.save(&path), last), (done, closed), "{groups:?}");
        }
    }

    /// Files are polled for, or this is another system.
    #[test]
    fn nothing_is_being_written_where_no_close_is_told() {
        let path = PathBuf::from("/src/main.rs");
        let mut writers = Writers::default();
        let event = |kind: EventKind| [Event::new(kind).add_path(path.clone())];
        // Since then hotrun has begun to poll.
        writers.take(&event(WRITE), true, |_| true);
        for (kind, save) in [
            (READ, Save::Unknown),
            (CREATE, Save::Unknown),
            (WRITE, Save::Unknown),
            (TO, Save::Finished),
            (WRITE, Save::Unknown),
        ] {
            writers.take(&event(kind), false, |_| true);
            assert_eq!(writers.save(&path), save, "{kind:?}");
        }
    }

    #[test]
    fn a_link_is_not_closed() {
        let path = PathBuf::from("/src/main.rs");
        let mut writers = Writers::default();
        writers.take(&[Event::new(CREATE).add_path(path.clone())], true, |_| {
            false
        });
        assert_eq!(writers.save(&path), Save::Unknown);
    }
}
