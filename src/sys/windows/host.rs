//! This machine and its limits, and this program on it.

use std::ffi::OsStr;
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use windows_sys::Wdk::System::SystemServices::RtlGetVersion;
use windows_sys::Win32::Storage::FileSystem::{GetDiskFreeSpaceExW, GetDriveTypeW};
use windows_sys::Win32::System::SystemInformation::OSVERSIONINFOW;

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

/// A path by which any process of this user can start this program.
pub fn own_program() -> String {
    let path = std::env::current_exe();
    path.map_or_else(|_| "hotrun".into(), |path| path.display().to_string())
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

    #[test]
    fn this_machine_can_be_asked() {
        assert!(name().starts_with("Windows "));
        let dir = std::env::temp_dir();
        assert!(room(&dir).unwrap().bytes > 0);
        assert_eq!(silent_file_system(&dir), None);
    }
}
