//! This machine and its limits, and this program on it.

use std::ffi::OsStr;
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use windows_sys::Wdk::System::SystemServices::RtlGetVersion;
use windows_sys::Win32::Storage::FileSystem::{
    GetDiskFreeSpaceExW, GetDriveTypeW, GetShortPathNameW,
};
use windows_sys::Win32::System::SystemInformation::OSVERSIONINFOW;

/// The longest path, in UTF-16.
const LONGEST_PATH: usize = 32_768;

/// A network drive, as `GetDriveTypeW` says it.
const REMOTE: u32 = 4;

/// The system, with its version.
pub fn name() -> String {
    let mut version = OSVERSIONINFOW {
        dwOSVersionInfoSize: u32::try_from(size_of::<OSVERSIONINFOW>()).unwrap_or_default(),
        ..OSVERSIONINFOW::default()
    };
    // What `GetVersionExW` says depends on what the program says that it was made for.
    // SAFETY: the structure says how long it is.
    if unsafe { RtlGetVersion(&raw mut version) } != 0 {
        return "Windows".into();
    }
    let (major, minor) = (version.dwMajorVersion, version.dwMinorVersion);
    format!("Windows {major}.{minor}.{}", version.dwBuildNumber)
}

/// Nothing is to be done: they do.
pub fn share_one_heap() {}

/// Nothing is to be done: the system's allocator does that by itself.
pub fn give_memory_back() {}

/// A path by which any process of this user can start this program; without spaces, if it has such a name.
pub fn own_program() -> String {
    let path = std::env::current_exe();
    let path = path.map_or_else(|_| "hotrun".into(), |path| path.display().to_string());
    if path.contains(char::is_whitespace) {
        short(Path::new(&path)).unwrap_or(path)
    } else {
        path
    }
}

/// The short name (`PROGRA~1`) of something that exists; `None` where the volume gives none.
fn short(path: &Path) -> Option<String> {
    let path = wide(path.as_os_str());
    let mut name = vec![0_u16; LONGEST_PATH];
    let size = u32::try_from(name.len()).ok()?;
    // SAFETY: the path ends with a zero, and the call writes no more than `size` units, which are there.
    let length = unsafe { GetShortPathNameW(path.as_ptr(), name.as_mut_ptr(), size) };
    let name = name.get(..length as usize)?;
    let name = String::from_utf16(name).ok()?;
    (!name.is_empty() && !name.contains(char::is_whitespace)).then_some(name)
}

/// None: where the output of this process leads to is not shown as a path.
pub fn output_paths() -> impl Iterator<Item = PathBuf> {
    std::iter::empty()
}

/// The variable with the search path of shared objects, which is also that of programs.
pub const LIBRARY_PATH: &str = "PATH";

/// `None`: there is no such limit.
pub fn open_files() -> Option<(u64, u64)> {
    None
}

/// `None`: it can't be asked for.
pub fn longest_queue() -> Option<u64> {
    None
}

/// The name of a directory's file system, if files in it can be written without an event.
pub fn silent_file_system(dir: &Path) -> Option<&'static str> {
    let root = dir.ancestors().last()?;
    let root = wide(root.as_os_str());
    // SAFETY: the path ends with a zero.
    let kind = unsafe { GetDriveTypeW(root.as_ptr()) };
    (kind == REMOTE).then_some("a network drive")
}

/// What the file system of a directory has room for.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Free bytes.
    pub bytes: u64,
    /// No program can be started from there.
    pub is_noexec: bool,
}

/// The room in the file system of this directory.
pub fn room(dir: &Path) -> io::Result<Room> {
    let (dir, mut bytes) = (wide(dir.as_os_str()), 0);
    let none = std::ptr::null_mut();
    // SAFETY: the path ends with a zero; the call writes one number.
    if unsafe { GetDiskFreeSpaceExW(dir.as_ptr(), &raw mut bytes, none, none) } == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Room {
        bytes,
        is_noexec: false,
    })
}

/// None: watching has no limits but memory.
pub fn watch_limits(_what: &str) -> [(String, Option<u64>); 0] {
    []
}

fn wide(text: &OsStr) -> Vec<u16> {
    text.encode_wide().chain([0]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::lacks;

    #[test]
    fn a_short_name_has_no_spaces() {
        let dir = tempfile::Builder::new().prefix("a b c").tempdir();
        let dir = dir.unwrap();
        let file = dir.path().join("d e.txt");
        std::fs::write(&file, "x").unwrap();
        let found = short(&file);
        if lacks(found.is_some(), "short names on this volume") {
            return;
        }
        let found = found.unwrap();
        assert!(!found.contains(' '), "{found}");
        assert_eq!(std::fs::read(found).unwrap(), b"x");
        assert_eq!(short(Path::new(r"C:\no such file")), None);
    }

    #[test]
    fn this_machine_can_be_asked() {
        assert!(name().starts_with("Windows "));
        let dir = std::env::temp_dir();
        assert!(room(&dir).unwrap().bytes > 0);
        assert_eq!(silent_file_system(&dir), None);
    }
}
