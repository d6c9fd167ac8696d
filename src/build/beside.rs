//! What a pinned directory has besides what is pinned there: what it shows of cargo's directory, and what the
//! program writes, which is moved to cargo's directory, where it would be under `cargo run`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::sys::files::{self, FileId, symlink};

/// The name of the note in each pinned directory, which is needed to move the program's files out of it.
pub(super) const NOTE: &str = ".hotrun";

/// The content of the note.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Note {
    /// The directory that cargo built into.
    profile_dir: PathBuf,
    /// The pinned files.
    files: BTreeSet<PathBuf>,
    /// The files of cargo's directory that have another name here, where no links can be made.
    #[serde(default)]
    named: BTreeMap<PathBuf, FileId>,
}

impl Note {
    pub(super) fn of(profile_dir: PathBuf, files: BTreeSet<PathBuf>) -> Self {
        Self {
            profile_dir,
            files,
            named: BTreeMap::new(),
        }
    }

    /// Writes the note of this pinned directory.
    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        // A path that JSON can't hold gets no note, and files written there are not moved.
        match serde_json::to_string(self) {
            Ok(text) => fs::write(dir.join(NOTE), text),
            Err(_) => Ok(()),
        }
    }

    /// Shows directories of cargo's in directories within this one, and writes the note again if it needs to
    /// say more for that.
    pub(super) fn show(&mut self, dir: &Path, shown: &[(PathBuf, PathBuf)]) -> io::Result<()> {
        for (from, to) in shown {
            let inner = to.strip_prefix(dir).unwrap_or(to);
            self.show_one(dir, from, inner)?;
        }
        if self.named.is_empty() {
            return Ok(());
        }
        self.write(dir)
    }

    /// Links everything of `from` that is not in the directory `inner`, except for cargo's dep-info.
    fn show_one(&mut self, dir: &Path, from: &Path, inner: &Path) -> io::Result<()> {
        for entry in fs::read_dir(from)? {
            let path = entry?.path();
            let Some(name) = path.file_name() else {
                continue;
            };
            if path.extension().is_some_and(|ending| ending == "d") {
                continue;
            }
            let name = inner.join(name);
            match files::show(&path, &dir.join(&name)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Ok(Some(id)) => _ = self.named.insert(name, id),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The pinned directories of other generations of the same session: their names differ only in the
/// number.
pub(super) fn others(dir: &Path) -> Vec<PathBuf> {
    let without_number = |dir: &Path| {
        let name = dir.file_name()?.to_str()?;
        Some(
            name.trim_end_matches(|c: char| c.is_ascii_digit())
                .to_owned(),
        )
    };
    let own = without_number(dir);
    let entries = dir.parent().and_then(|parent| fs::read_dir(parent).ok());
    let paths = entries.into_iter().flatten().flatten();
    let paths = paths.map(|entry| entry.path());
    paths
        .filter(|path| path != dir && own.is_some() && without_number(path) == own)
        .collect()
}

/// What is left in place of what is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaves {
    /// Links to it: the program may still run.
    Links,
    /// Nothing.
    Nothing,
}

/// Moves what a program has written beside its executable to cargo's directory. What can't be moved stays.
pub(super) fn bring_home(dir: &Path, leaves: Leaves) {
    let text = fs::read_to_string(dir.join(NOTE)).unwrap_or_default();
    let Ok(Note {
        profile_dir,
        files,
        named,
    }) = serde_json::from_str(&text)
    else {
        return;
    };
    let dirs: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
    for entry in dirs.iter().flat_map(|inner| entries(dir, inner)) {
        let name = entry.strip_prefix(dir).unwrap_or(&entry);
        // What was built meanwhile is not replaced by the same file of an earlier build.
        let is_cargos = || {
            let known = named.get(name);
            known.is_some_and(|known| FileId::of_link(&entry).is_ok_and(|found| found == *known))
        };
        let is_ours = name == Path::new(NOTE)
            || files.iter().any(|file| file.starts_with(name))
            || is_cargos();
        let kind = entry
            .symlink_metadata()
            .map(|metadata| metadata.file_type());
        let home = profile_dir.join(name);
        match kind {
            Ok(_) if is_ours => None,
            Ok(kind) if kind.is_dir() || kind.is_file() && leaves == Leaves::Nothing => {
                bring(&entry, &home, leaves).ok()
            }
            Ok(kind) if kind.is_file() => bring_file(&entry, &home).ok(),
            _ => None,
        };
    }
}

fn entries(dir: &Path, inner: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join(inner)).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).collect()
}

/// Moves a file such that it exists at both paths at every moment.
fn bring_file(file: &Path, home: &Path) -> io::Result<()> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let beside = format!("{NOTE}.{}.{name}", std::process::id());
    let new = home.with_file_name(&beside);
    if fs::hard_link(file, &new).is_err() {
        return bring(file, home, Leaves::Links);
    }
    let link = file.with_file_name(&beside);
    let brought = fs::rename(&new, home)
        .and_then(|()| symlink(home, &link))
        .and_then(|()| fs::rename(&link, file));
    fs::remove_file(&new).ok();
    brought
}

fn bring(path: &Path, home: &Path, leaves: Leaves) -> io::Result<()> {
    fs::rename(path, home)?;
    if leaves == Leaves::Nothing {
        return Ok(());
    }
    let linked = if home.is_dir() {
        files::link_dir(home, path)
    } else {
        symlink(home, path)
    };
    if linked.is_err() {
        // The program goes on with it.
        fs::rename(home, path)?;
    }
    linked
}
