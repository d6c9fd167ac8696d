//! This machine and its limits, and this program on it.

use std::io;
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statfs::statfs;

use super::{open_files, proc_info, sysctl};

/// The flag of a file system from which no program is started (statfs(2)).
const NOEXEC: u32 = libc::MNT_NOEXEC.unsigned_abs();

/// The system, with its version.
pub fn name() -> String {
    match sysctl::text(c"kern.osproductversion") {
        Some(version) => format!("macOS {version}"),
        None => "macOS".into(),
    }
}

/// A path by which any process of this user can start this program.
pub fn own_program() -> String {
    let path = std::env::current_exe();
    path.map_or_else(|_| "hotrun".into(), |path| path.display().to_string())
}

/// Nothing is to be done: they do.
pub fn share_one_heap() {}

/// Nothing is to be done: the system's allocator does that by itself.
pub fn give_memory_back() {}

/// Where this process's stdout and stderr lead to.
pub fn output_paths() -> impl Iterator<Item = PathBuf> {
    let own = |number| Some(proc_info::open_file(std::process::id(), number)?.0);
    [1, 2].into_iter().filter_map(own)
}

/// The variable with the search path of shared objects that cargo sets.
pub const LIBRARY_PATH: &str = "DYLD_FALLBACK_LIBRARY_PATH";

/// How many files a process may have open: now, and after it has asked for more.
pub fn open_files() -> Option<(u64, u64)> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    Some((soft, open_files::most(hard)))
}

/// How many clients may wait to be accepted at one socket.
pub fn longest_queue() -> Option<u64> {
    sysctl::number(c"kern.ipc.somaxconn")
}

/// The name of a directory's file system, if files in it can be written without an event: by a server, or
/// another host. One that can't be read counts as one with events.
pub fn silent_file_system(dir: &Path) -> Option<&'static str> {
    let found = statfs(dir).ok()?;
    Some(match found.filesystem_type_name() {
        "nfs" => "NFS",
        "smbfs" => "SMB",
        "afpfs" => "AFP",
        "webdav" => "WebDAV",
        "osxfuse" | "macfuse" | "fusefs" => "FUSE",
        "vmhgfs" => "vmhgfs",
        "prl_fs" => "prl_fs",
        _ => return None,
    })
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
    let found = rustix::fs::statfs(dir)?;
    Ok(Room {
        bytes: found.f_bavail.saturating_mul(found.f_bsize.into()),
        is_noexec: found.f_flags & NOEXEC != 0,
    })
}

/// None: `FSEvents` has no limits of that kind.
pub fn watch_limits(_what: &str) -> [(String, Option<u64>); 0] {
    []
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_asked() {
        assert!(name().starts_with("macOS "));
        let dir = std::env::temp_dir();
        let room = room(&dir).unwrap();
        assert!(room.bytes > 0 && !room.is_noexec);
        assert_eq!(silent_file_system(&dir), None);
    }
}
