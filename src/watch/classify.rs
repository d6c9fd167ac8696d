//! What the file system said, made one of the few things that matter. Pure.

use notify::EventKind;
use notify::event::{ModifyKind, RenameMode};

use crate::session::model::Presence;

/// What an event of this kind says about the paths it names; `None`: nothing that matters, they
/// were read or their metadata changed. `polled`: it was found by comparing time
/// stamps, so a new time stamp is all there is to see of an edit.
pub fn classify(kind: EventKind, polled: bool) -> Option<Presence> {
    match kind {
        EventKind::Modify(ModifyKind::Metadata(_)) if !polled => None,
        // `Both` comes after `From` and `To` of the same rename, and says nothing more.
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => None,
        EventKind::Create(_) => Some(Presence::Appeared),
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
            Some(Presence::Vanished)
        }
        _ => Some(Presence::There),
    }
}

/// Names that editors make beside the file they save, and what they are made by.
pub fn is_dropping(name: &str) -> bool {
    // vim and emacs backups, emacs auto-saves, vim's test for a writable directory, JetBrains'
    // safe write, swap files of vim that were told to be visible.
    name.ends_with('~')
        || (name.len() > 2 && name.starts_with('#') && name.ends_with('#'))
        || name == "4913"
        || name.contains("___jb_")
        || [".swp", ".swo", ".swx", ".tmp"]
            .iter()
            .any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use notify::event::{AccessKind, AccessMode, CreateKind, DataChange, MetadataKind, RemoveKind};

    use super::*;

    #[test]
    fn reading_is_no_change_and_writing_is() {
        let write_time = EventKind::Modify(ModifyKind::Metadata(MetadataKind::WriteTime));
        for (kind, native, polled) in [
            (
                EventKind::Access(AccessKind::Open(AccessMode::Any)),
                false,
                false,
            ),
            (
                EventKind::Access(AccessKind::Close(AccessMode::Write)),
                false,
                false,
            ),
            (write_time, false, true),
            (
                EventKind::Modify(ModifyKind::Data(DataChange::Any)),
                true,
                true,
            ),
            (
                EventKind::Modify(ModifyKind::Name(RenameMode::Both)),
                false,
                false,
            ),
            (EventKind::Create(CreateKind::File), true, true),
            (EventKind::Remove(RemoveKind::Any), true, true),
            (EventKind::Any, true, true),
        ] {
            let changed = |polled| classify(kind, polled).is_some();
            assert_eq!(
                (changed(false), changed(true)),
                (native, polled),
                "{kind:?}"
            );
        }
    }

    #[test]
    fn what_editors_leave_is_known() {
        for name in [
            "main.rs~",
            "#main.rs#",
            "4913",
            "main.rs___jb_tmp___",
            "main.rs.swp",
        ] {
            assert!(is_dropping(name), "{name}");
        }
        for name in ["main.rs", "#", "index.html", "swp"] {
            assert!(!is_dropping(name), "{name}");
        }
    }
}
