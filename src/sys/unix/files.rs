//! Files: names of any bytes, identity, links, and what a file system allows.

use std::ffi::{OsStr, OsString};
use std::fs::{File, FileType, Metadata, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::stat::fstat;
use nix::unistd::{AccessFlags, access};
use serde::{Deserialize, Serialize};

pub use std::os::unix::fs::symlink;

/// The name or path with these bytes.
pub fn os_string(bytes: Vec<u8>) -> OsString {
    OsString::from_vec(bytes)
}

/// The path with these bytes.
pub fn path(bytes: &[u8]) -> PathBuf {
    OsStr::from_bytes(bytes).into()
}

/// A file, whatever its path: the same for each of its links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// This open file.
    pub fn of(file: &File) -> io::Result<Self> {
        Ok(Self::of_metadata(&file.metadata()?))
    }

    /// The file, or link, at this path itself.
    pub fn of_link(path: &Path) -> io::Result<Self> {
        Ok(Self::of_metadata(&path.symlink_metadata()?))
    }

    /// The file at this path.
    pub fn at(path: &Path) -> io::Result<Self> {
        Ok(Self::of_metadata(&path.metadata()?))
    }

    pub(in crate::sys) fn of_metadata(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// A number that a file system gives no second file at the same time.
pub fn number(metadata: &Metadata) -> u64 {
    metadata.ino()
}

/// The file has one name only.
pub fn has_one_name(metadata: &Metadata) -> bool {
    metadata.nlink() == 1
}

/// The id of the user whose file it is.
pub fn owner(metadata: &Metadata) -> u32 {
    metadata.uid()
}

/// When this file, or the link at its path, was last written or moved there, which no program can set.
pub fn changed(path: &Path) -> Option<SystemTime> {
    let found = [path.symlink_metadata().ok(), path.metadata().ok()];
    let found = found.into_iter().flatten();
    found.filter_map(|found| status_changed(&found)).max()
}

fn status_changed(metadata: &Metadata) -> Option<SystemTime> {
    let seconds = u64::try_from(metadata.ctime()).ok()?;
    let nanos = u32::try_from(metadata.ctime_nsec()).ok()?;
    Some(UNIX_EPOCH + Duration::new(seconds, nanos))
}

/// The least difference between two times of files.
pub const TICK: Duration = Duration::from_nanos(1);

/// It is the file of a unix socket.
pub fn is_socket(kind: FileType) -> bool {
    kind.is_socket()
}

/// Gives a file the permissions and the owner of another one, as far as this process may.
pub fn take_rights(path: &Path, of: &Metadata) {
    std::fs::set_permissions(path, of.permissions()).ok();
    chown(path, Some(of.uid()), Some(of.gid())).ok();
}

/// When the content of the file was last written, as a program may have set it: seconds and nanoseconds.
pub fn modified(metadata: &Metadata) -> (i64, i64) {
    (metadata.mtime(), metadata.mtime_nsec())
}

/// What other files get that a program creates: read and write for all, less what the user's mask denies.
pub fn usual_permissions() -> Option<Permissions> {
    Some(Permissions::from_mode(0o666))
}

/// This process may create files in this directory.
pub fn may_write(dir: &Path) -> bool {
    access(dir, AccessFlags::W_OK).is_ok()
}

/// Both are the same file, pipe or terminal.
pub fn is_same(a: &File, b: &File) -> bool {
    let place = |file: &File| fstat(file).map(|stat| (stat.st_dev, stat.st_ino));
    matches!((place(a), place(b)), (Ok(a), Ok(b)) if a == b)
}

/// A link to a directory.
pub fn link_dir(dir: &Path, at: &Path) -> io::Result<()> {
    symlink(dir, at)
}

/// Makes a file or directory appear at another path too, by a link. Where that would need a privilege, a
/// file gets another name, and its id is returned.
pub fn show(file: &Path, at: &Path) -> io::Result<Option<FileId>> {
    symlink(file, at).map(|()| None)
}

/// Makes a program start at another path too.
pub fn link_program(program: &Path, at: &Path) -> io::Result<()> {
    symlink(program, at)
}

/// A copy of this process's stdin, stdout or stderr, which is not closed with it.
pub fn copy(stdio: &impl AsFd) -> io::Result<File> {
    Ok(stdio.as_fd().try_clone_to_owned()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_each_of_its_names() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| dir.path().join(name));
        std::fs::write(&a, "").unwrap();
        assert!(has_one_name(&a.metadata().unwrap()));
        std::fs::hard_link(&a, &b).unwrap();
        std::fs::write(&c, "").unwrap();
        let id = |path: &Path| FileId::at(path).unwrap();
        assert!(id(&a) == id(&b) && id(&a) != id(&c));
        assert!(!has_one_name(&a.metadata().unwrap()));
        let open = |path: &Path| File::open(path).unwrap();
        assert!(is_same(&open(&a), &open(&b)) && !is_same(&open(&a), &open(&c)));
    }

    #[test]
    fn names_may_have_any_bytes() {
        let bytes = b"caf\xe9";
        assert_eq!(path(bytes).as_os_str(), os_string(bytes.to_vec()));
        assert_eq!(path(bytes).as_os_str().as_encoded_bytes(), bytes);
    }
}
