//! Which events of the file system matter. Pure.

use std::path::Path;

use notify::EventKind;
use notify::event::{ModifyKind, RenameMode};

use super::cures;

/// The content of the event's paths may have changed. `polled`: events come from comparing time stamps,
/// so an edit shows as a new time stamp.
pub fn matters(kind: EventKind, polled: bool) -> bool {
    match kind {
        EventKind::Modify(ModifyKind::Metadata(_)) => polled,
        // `Both` comes after `From` and `To` of the same rename, and says nothing more.
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => false,
        _ => true,
    }
}

/// The event's paths were removed or moved away.
pub(super) fn leaves(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From))
    )
}

/// The name is one that editors create beside the file they save.
pub fn is_dropping(name: &str) -> bool {
    // vim and emacs backups, emacs auto-saves, vim's test for a writable directory, JetBrains'
    // safe write, swap files of vim that were told to be visible, emacs' locks.
    name.ends_with('~')
        || name.starts_with(".#")
        || (name.len() > 2 && name.starts_with('#') && name.ends_with('#'))
        || name == "4913"
        || name.contains("___jb_")
        || [".swp", ".swo", ".swx", ".tmp"]
            .iter()
            .any(|end| name.ends_with(end))
}

/// A link that may lead to a file of the program. Those of Emacs say who edits a file, and lead nowhere.
pub(super) fn is_link(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    path.is_symlink() && !name.is_some_and(is_dropping)
}

/// The content of this file decides which other files count.
pub(super) fn decides_about_others(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name == ".gitignore" || name == "CACHEDIR.TAG")
}

/// A program may be made of files like this one.
pub(super) fn is_code(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| ending == "rs" || cures::is_read(ending))
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
            let changed = |polled| matters(kind, polled);
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
            ".#main.rs",
        ] {
            assert!(is_dropping(name), "{name}");
        }
        for name in ["main.rs", "#", "index.html", "swp"] {
            assert!(!is_dropping(name), "{name}");
        }
    }
}
