//! This machine and its limits, and this program on it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

#[cfg(target_env = "gnu")]
use nix::libc;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statfs::statfs;
use nix::sys::statvfs::{FsFlags, statvfs};

/// The system, with its version.
pub fn name() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("Linux {}", release.trim())
}

/// A path by which any process of this user can start this program, even after its file was replaced.
pub fn own_program() -> String {
    format!("/proc/{}/exe", std::process::id())
}

/// Where this process's stdout and stderr lead to.
pub fn output_paths() -> impl Iterator<Item = PathBuf> {
    let own = ["/proc/self/fd/1", "/proc/self/fd/2"];
    own.into_iter().filter_map(|link| fs::read_link(link).ok())
}

/// Has all threads of this process share one heap: what each had needed once would be kept for it alone.
/// To be called before there are threads. Only glibc has a heap for each.
pub fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes two numbers (mallopt(3)), and this is the only thread.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1)
    };
}

/// Gives memory that was freed back to the system, where the C library keeps it for later. Takes less than
/// a millisecond, in which no thread gets or frees memory.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a number, and locks the heap itself (malloc_trim(3): MT-Safe).
    unsafe {
        libc::malloc_trim(0)
    };
}

/// The variable with the search path of shared objects.
pub const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";

/// How many files a process may have open: now, and after it has asked for more.
pub fn open_files() -> Option<(u64, u64)> {
    getrlimit(Resource::RLIMIT_NOFILE).ok()
}

/// How many clients may wait to be accepted at one socket.
pub fn longest_queue() -> Option<u64> {
    number(Path::new("/proc/sys/net/core/somaxconn"))
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The name of a directory's file system, if files in it can be written without an event. One that can't
/// be read counts as one with events.
pub fn silent_file_system(dir: &Path) -> Option<&'static str> {
    let magic = i128::from(statfs(dir).ok()?.filesystem_type().0);
    // The type has 32 bits, and is sign-extended on some architectures.
    silent(u32::try_from(magic & 0xffff_ffff).ok()?)
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
    let found = statvfs(dir)?;
    let blocks = found.blocks_available();
    Ok(Room {
        bytes: blocks.saturating_mul(found.fragment_size()),
        is_noexec: found.flags().contains(FsFlags::ST_NOEXEC),
    })
}

/// The limits on inotify's `instances` or `watches`: that of the system, and that of the user namespace.
pub fn watch_limits(what: &str) -> [(String, Option<u64>); 2] {
    [
        format!("fs.inotify.max_user_{what}"),
        format!("user.max_inotify_{what}"),
    ]
    .map(|key| {
        let path = Path::new("/proc/sys").join(key.replace('.', "/"));
        (key, number(&path))
    })
}

/// The name of the file system with this number (`f_type` of statfs(2)), if files in it can be written
/// without inotify events: by a server, another host, or the host of this machine.
///
/// Overlayfs is not listed: writes through it have events, and in a container those are nearly all. For
/// edits of its lower directory from outside there is `--poll`.
fn silent(magic: u32) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "NFS",
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => "SMB",
        // Shared folders of virtual machines; also Windows' disks under WSL.
        0x0102_1997 => "9p",
        // sshfs, virtiofs and most shared folders of containers on other systems.
        0x6573_5546 => "FUSE",
        0x786f_4256 => "vboxsf",
        0xbacb_acbc => "vmhgfs",
        0x7c7c_6673 => "prl_fs",
        0x00c3_6400 => "Ceph",
        0x5346_414f | 0x6b41_4653 => "AFS",
        0x7375_7245 => "Coda",
        0x0bd0_0bd0 => "Lustre",
        0x4750_4653 => "GPFS",
        0x0116_1970 => "GFS2",
        0x7461_636f => "OCFS2",
        0x1983_0326 => "BeeGFS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_env = "gnu")]
    #[test]
    fn memory_is_given_back() {
        let resident = || {
            let all = fs::read_to_string("/proc/self/statm").unwrap();
            let pages = all.split(' ').nth(1).unwrap();
            pages.parse::<usize>().unwrap() * 4096
        };
        share_one_heap();
        let mut blocks: Vec<_> = (0..8192).map(|_| Box::new([1_u8; 4096])).collect();
        // The heap can't just end earlier: this is its last block.
        let last = blocks.pop();
        drop(blocks);
        let before = resident();
        give_memory_back();
        let after = resident();
        assert!(after + (16 << 20) < before, "{before} {after}");
        drop(last);
    }

    #[test]
    fn file_systems_with_other_writers_are_silent() {
        for (magic, name) in [
            (0x6969, Some("NFS")),
            (0x517b, Some("SMB")),
            (0xff53_4d42, Some("SMB")),
            (0xfe53_4d42, Some("SMB")),
            (0x0102_1997, Some("9p")),
            (0x6573_5546, Some("FUSE")),
            (0x786f_4256, Some("vboxsf")),
            (0x00c3_6400, Some("Ceph")),
            (0x5346_414f, Some("AFS")),
            (0x6b41_4653, Some("AFS")),
            // ext, btrfs, xfs, tmpfs, f2fs, zfs, overlay, ecryptfs, bcachefs.
            (0xef53, None),
            (0x9123_683e, None),
            (0x5846_5342, None),
            (0x0102_1994, None),
            (0xf2f5_2010, None),
            (0x2fc1_2fc1, None),
            (0x794c_7630, None),
            (0xf15f, None),
            (0xca45_1a4e, None),
        ] {
            assert_eq!(silent(magic), name, "{magic:#x}");
        }
    }
}
