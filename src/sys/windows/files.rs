//! Files: names of any characters, identity, links, and what a file system allows.

use std::ffi::OsString;
use std::fs::{File, FileType, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::os::windows::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::windows::io::{AsHandle, AsRawHandle};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_ATTRIBUTE_READONLY, FILE_BASIC_INFO,
    FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, FileBasicInfo,
    GetFileInformationByHandle, GetFileInformationByHandleEx,
};

use windows_sys::Win32::System::IO::DeviceIoControl;

/// Seconds between 1601, where the time of files begins, and 1970.
const TO_UNIX: i64 = 11_644_473_600;

/// So many units of a file's time are a second.
const UNITS: u64 = 10_000_000;

/// The name or path with these bytes, as the standard library encodes it: UTF-8, with halves of surrogate
/// pairs, which names may have. Everything else is no name here, and replaced.
pub fn os_string(bytes: Vec<u8>) -> OsString {
    match String::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(error) => OsString::from_wide(&units(error.as_bytes())),
    }
}

/// The UTF-16 of these bytes.
fn units(mut bytes: &[u8]) -> Vec<u16> {
    let mut units = Vec::new();
    while let Some(chunk) = bytes.utf8_chunks().next() {
        units.extend(chunk.valid().encode_utf16());
        bytes = &bytes[chunk.valid().len()..];
        match bytes {
            [0xed, high @ 0xa0..=0xbf, low @ 0x80..=0xbf, rest @ ..] => {
                units.push(0xd000 | u16::from(high & 0x3f) << 6 | u16::from(low & 0x3f));
                bytes = rest;
            }
            [_, rest @ ..] => {
                units.push(0xfffd);
                bytes = rest;
            }
            [] => {}
        }
    }
    units
}

/// The path with these bytes, likewise encoded.
pub fn path(bytes: &[u8]) -> PathBuf {
    os_string(bytes.to_vec()).into()
}

/// A file, whatever its path: the same for each of its links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

/// When this file, or the link at its path, was last written or moved there; `None` where the file system
/// does not note that.
pub fn changed(path: &Path) -> Option<SystemTime> {
    let opened = [FILE_FLAG_OPEN_REPARSE_POINT, 0].map(|flags| open(path, flags));
    let opened = opened.into_iter().flatten();
    opened.filter_map(|file| status_changed(&file)).max()
}

fn status_changed(file: &File) -> Option<SystemTime> {
    let mut found = FILE_BASIC_INFO::default();
    let size = u32::try_from(size_of_val(&found)).ok()?;
    let (handle, at) = (file.as_raw_handle(), (&raw mut found).cast());
    // SAFETY: the handle is open through this call, which writes one structure of this size.
    if unsafe { GetFileInformationByHandleEx(handle, FileBasicInfo, at, size) } == 0 {
        return None;
    }
    let units = u64::try_from(found.ChangeTime).ok()?;
    let since = units.checked_sub(TO_UNIX.unsigned_abs() * UNITS)?;
    let nanos = u32::try_from(since % UNITS * 100).ok()?;
    Some(UNIX_EPOCH + Duration::new(since / UNITS, nanos))
}

/// The least difference between two times of files.
pub const TICK: Duration = Duration::from_nanos(100);

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
    let seconds = i64::try_from(units / UNITS).unwrap_or(i64::MAX);
    let nanos = i64::try_from(units % UNITS * 100).unwrap_or_default();
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
    is_free(at.as_ref())?;
    if to.as_ref().is_dir() {
        std::os::windows::fs::symlink_dir(to, &at)?;
    } else {
        std::os::windows::fs::symlink_file(to, &at)?;
    }
    // Wine says that it has made one, and has not.
    at.as_ref().symlink_metadata().map(|_| ())
}

/// An error if something is at this path: not every call says that by its own error.
fn is_free(at: &Path) -> io::Result<()> {
    match at.symlink_metadata() {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => Ok(()),
    }
}

/// A directory that stands for another one: a link if this process may make one, or a junction.
pub fn link_dir(dir: &Path, at: &Path) -> io::Result<()> {
    symlink(dir, at).or_else(|_| junction(dir, at))
}

/// Makes a file or directory appear at another path too: by a link where this process may make one, or else
/// a directory by a junction, and a file by another name (a hard link), whose id is returned. A file of
/// another volume can't have one.
pub fn show(file: &Path, at: &Path) -> io::Result<Option<FileId>> {
    match symlink(file, at) {
        Ok(()) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
        Err(_) => {}
    }
    let kind = file.symlink_metadata()?.file_type();
    let shown = if kind.is_dir() || kind.is_symlink_dir() {
        junction(file, at).map(|()| None)
    } else {
        std::fs::hard_link(file, at).and_then(|()| FileId::of_link(at).map(Some))
    };
    match shown {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        shown => Ok(shown.unwrap_or_default()),
    }
}

/// Makes a program start at another path too, which ends with `.exe`: by a copy. Another name of a program
/// that runs could not be removed, and a link would need a privilege.
pub fn link_program(program: &Path, at: &Path) -> io::Result<()> {
    is_free(at)?;
    std::fs::copy(program, at).map(|_| ())
}

/// `FSCTL_SET_REPARSE_POINT`.
const SET_REPARSE_POINT: u32 = 0x0009_00a4;

/// `IO_REPARSE_TAG_MOUNT_POINT`: a junction.
const JUNCTION: u32 = 0xa000_0003;

/// A junction to a directory of this machine, which needs no privilege.
fn junction(dir: &Path, at: &Path) -> io::Result<()> {
    let description = describe_junction(&std::path::absolute(dir)?)?;
    std::fs::create_dir(at)?;
    let made = set_junction(at, &description);
    if made.is_err() {
        std::fs::remove_dir(at).ok();
    }
    made
}

/// A `REPARSE_DATA_BUFFER`: the tag, the length of what follows eight bytes later, and two names of the
/// directory, each with a zero at its end: one for the system and one to be shown.
fn describe_junction(dir: &Path) -> io::Result<Vec<u8>> {
    let shown: Vec<u16> = dir.as_os_str().encode_wide().collect();
    let of_system: Vec<u16> = r"\??\"
        .encode_utf16()
        .chain(shown.iter().copied())
        .collect();
    let bytes = |units: &[u16]| u16::try_from(units.len() * 2).map_err(io::Error::other);
    let (of_system_length, shown_length) = (bytes(&of_system)?, bytes(&shown)?);
    let shown_at = bytes(&[&of_system[..], &[0]].concat())?;
    let names = [&of_system[..], &[0], &shown, &[0]].concat();
    let length = bytes(&names)?.checked_add(8);
    let length = length.ok_or(io::ErrorKind::InvalidFilename)?;
    let head = [length, 0, 0, of_system_length, shown_at, shown_length];
    let words = head
        .iter()
        .chain(&names)
        .flat_map(|word| word.to_le_bytes());
    Ok(JUNCTION.to_le_bytes().into_iter().chain(words).collect())
}

fn set_junction(at: &Path, description: &[u8]) -> io::Result<()> {
    let dir = OpenOptions::new()
        .write(true)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT)
        .open(at)?;
    let size = u32::try_from(description.len()).map_err(io::Error::other)?;
    let (handle, mut used) = (dir.as_raw_handle(), 0);
    let (input, none) = (description.as_ptr().cast(), std::ptr::null_mut());
    // SAFETY: the call reads `size` bytes, which are there, and writes one number.
    let set = unsafe {
        DeviceIoControl(
            handle,
            SET_REPARSE_POINT,
            input,
            size,
            none,
            0,
            &raw mut used,
            std::ptr::null_mut(),
        )
    };
    if set == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::lacks;

    #[test]
    fn a_file_is_known_by_each_of_its_names() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| dir.path().join(name));
        std::fs::write(&a, "").unwrap();
        std::fs::hard_link(&a, &b).unwrap();
        std::fs::write(&c, "").unwrap();
        let id = |path: &Path| FileId::at(path).unwrap();
        assert!(id(&a) == id(&b) && id(&a) != id(&c) && id(dir.path()) != id(&c));
        let open = |path: &Path| File::open(path).unwrap();
        assert!(is_same(&open(&a), &open(&b)) && !is_same(&open(&a), &open(&c)));
    }

    #[test]
    fn files_and_directories_are_shown_without_a_privilege() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| dir.path().join(name));
        std::fs::write(&a, "text").unwrap();
        let id = show(&a, &b).unwrap();
        assert!(id.is_none_or(|id| id == FileId::at(&a).unwrap()));
        assert_eq!(std::fs::read(&b).unwrap(), b"text");
        let again = show(&a, &b).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        std::fs::create_dir(&c).unwrap();
        std::fs::write(c.join("x"), "inner").unwrap();
        let shown = dir.path().join("d");
        show(&c, &shown).unwrap();
        if lacks(shown.exists(), "links to directories, nor junctions") {
            return;
        }
        assert_eq!(std::fs::read(shown.join("x")).unwrap(), b"inner");
        std::fs::remove_dir(&shown).unwrap();
        assert!(c.join("x").exists());
    }

    /// As `REPARSE_DATA_BUFFER` is described: Wine has none to try it with.
    #[test]
    fn a_junction_has_both_names_of_its_directory() {
        let words = |text: &str| -> Vec<u8> {
            let units = text.encode_utf16();
            units.flat_map(u16::to_le_bytes).collect()
        };
        let expected = [
            &[3, 0, 0, 0xa0, 28, 0, 0, 0][..],
            &[0, 0, 12, 0, 14, 0, 4, 0],
            &words("\\??\\C:\0C:\0"),
        ];
        let found = describe_junction(Path::new("C:")).unwrap();
        assert_eq!(found, expected.concat());
    }

    #[test]
    fn names_may_have_halves_of_surrogate_pairs() {
        let name = OsString::from_wide(&[0x61, 0xd800, 0xe9, 0xdc00]);
        assert_eq!(os_string(name.as_encoded_bytes().to_vec()), name);
        assert_eq!(os_string(b"a\xff".to_vec()), "a\u{fffd}");
    }

    #[test]
    fn the_time_of_a_change_is_not_before_that_of_a_write() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let written = file.path().metadata().unwrap().modified().unwrap();
        assert!(changed(file.path()).unwrap() >= written);
        let hour = Duration::from_hours(1);
        file.as_file().set_modified(written - hour).unwrap();
        assert!(changed(file.path()).unwrap() >= written);
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
