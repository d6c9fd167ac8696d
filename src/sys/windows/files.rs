//! Files: names of any characters, identity, links, and what a file system allows.

use std::ffi::OsString;
use std::fs::{File, FileType, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::windows::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::windows::io::{AsHandle, AsRawHandle};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_ATTRIBUTE_READONLY, FILE_FLAG_BACKUP_SEMANTICS,
    FILE_FLAG_OPEN_REPARSE_POINT, GetFileInformationByHandle,
};

/// Seconds between 1601, where the time of files begins, and 1970.
const TO_UNIX: i64 = 11_644_473_600;

/// The name or path with these bytes; those that are no UTF-8, and so no name here, are replaced.
pub fn os_string(bytes: Vec<u8>) -> OsString {
    match String::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(error) => String::from_utf8_lossy(error.as_bytes())
            .into_owned()
            .into(),
    }
}

/// The path with these bytes, likewise.
pub fn path(bytes: &[u8]) -> PathBuf {
    os_string(bytes.to_vec()).into()
}

/// A file, whatever its path: the same for each of its links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    volume: u32,
    index: u64,
}

impl FileId {
    /// This open file.
    pub fn of(file: &File) -> io::Result<Self> {
        let found = information(file)?;
        Ok(Self {
            volume: found.dwVolumeSerialNumber,
            index: u64::from(found.nFileIndexHigh) << 32 | u64::from(found.nFileIndexLow),
        })
    }

    /// The file, or link, at this path itself.
    pub fn of_link(path: &Path) -> io::Result<Self> {
        Self::of(&open(path, FILE_FLAG_OPEN_REPARSE_POINT)?)
    }

    /// The file at this path.
    pub fn at(path: &Path) -> io::Result<Self> {
        Self::of(&open(path, 0)?)
    }
}

/// Opens a file or a directory to ask about it.
fn open(path: &Path, flags: u32) -> io::Result<File> {
    OpenOptions::new()
        .access_mode(0)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS | flags)
        .open(path)
}

fn information(file: &File) -> io::Result<BY_HANDLE_FILE_INFORMATION> {
    let mut found = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open through this call, which writes one structure.
    if unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut found) } == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(found)
}

/// A number by which a file differs from the one that it has replaced: when it was made.
pub fn number(metadata: &Metadata) -> u64 {
    metadata.creation_time()
}

/// The file has one name only. Not known from this, and links are rare: assumed.
pub fn has_one_name(_metadata: &Metadata) -> bool {
    true
}

/// The id of the user whose file it is: not known from this, so that of this user.
pub fn owner(_metadata: &Metadata) -> u32 {
    super::user()
}

/// `None`: every time of a file can be set.
pub fn changed(_metadata: &Metadata) -> Option<SystemTime> {
    None
}

/// `false`: the file of a unix socket is not told apart here.
pub fn is_socket(_kind: FileType) -> bool {
    false
}

/// Gives a file the permissions of another one, as far as this process may.
pub fn take_rights(path: &Path, of: &Metadata) {
    std::fs::set_permissions(path, of.permissions()).ok();
}

/// When the content of the file was last written, as a program may have set it: seconds and nanoseconds.
pub fn modified(metadata: &Metadata) -> (i64, i64) {
    let units = metadata.last_write_time();
    let seconds = i64::try_from(units / 10_000_000).unwrap_or(i64::MAX);
    let nanos = i64::try_from(units % 10_000_000 * 100).unwrap_or_default();
    (seconds - TO_UNIX, nanos)
}

/// What other files get that a program creates; `None`: they inherit that from their directory.
pub fn usual_permissions() -> Option<Permissions> {
    None
}

/// This process may create files in this directory, by its attributes.
pub fn may_write(dir: &Path) -> bool {
    let found = dir.metadata();
    found.is_ok_and(|found| found.file_attributes() & FILE_ATTRIBUTE_READONLY == 0)
}

/// Both are the same file. What is no file, such as a console or a pipe, is taken for the same if the
/// handle is.
pub fn is_same(a: &File, b: &File) -> bool {
    if a.as_raw_handle() == b.as_raw_handle() {
        return true;
    }
    matches!((FileId::of(a), FileId::of(b)), (Ok(a), Ok(b)) if a == b)
}

/// A copy of this process's stdin, stdout or stderr, which is not closed with it.
pub fn copy(stdio: &impl AsHandle) -> io::Result<File> {
    Ok(stdio.as_handle().try_clone_to_owned()?.into())
}

/// A link to a file or a directory, which needs a privilege or the developer mode.
pub fn symlink<P: AsRef<Path>, Q: AsRef<Path>>(to: P, at: Q) -> io::Result<()> {
    if to.as_ref().is_dir() {
        std::os::windows::fs::symlink_dir(to, at)
    } else {
        std::os::windows::fs::symlink_file(to, at)
    }
}

/// Makes a file appear at another path too, without a privilege: by a hard link. A directory, or a file of
/// another volume, can't; `false` then.
pub fn show(file: &Path, at: &Path) -> io::Result<bool> {
    let kind = file.symlink_metadata()?.file_type();
    if kind.is_dir() || kind.is_symlink_dir() {
        return Ok(false);
    }
    match std::fs::hard_link(file, at) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        linked => Ok(linked.is_ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_each_of_its_names() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| dir.path().join(name));
        std::fs::write(&a, "").unwrap();
        assert!(show(&a, &b).unwrap());
        assert!(!show(dir.path(), &dir.path().join("d")).unwrap());
        std::fs::write(&c, "").unwrap();
        let id = |path: &Path| FileId::at(path).unwrap();
        assert!(id(&a) == id(&b) && id(&a) != id(&c) && id(dir.path()) != id(&c));
        let open = |path: &Path| File::open(path).unwrap();
        assert!(is_same(&open(&a), &open(&b)) && !is_same(&open(&a), &open(&c)));
    }

    #[test]
    fn the_time_of_a_file_is_that_of_the_standard_library() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let found = file.path().metadata().unwrap();
        let since = found
            .modified()
            .unwrap()
            .duration_since(SystemTime::UNIX_EPOCH);
        let since = since.unwrap();
        let (seconds, nanos) = modified(&found);
        assert_eq!(u64::try_from(seconds).unwrap(), since.as_secs());
        assert_eq!(u32::try_from(nanos).unwrap(), since.subsec_nanos());
    }
}
