//! Where native events don't suffice: limits of inotify, and file systems to which other hosts write.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::statfs::statfs;
use notify::ErrorKind;

use crate::session::reason::Reason;

/// Why files have to be polled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// This user has no more inotify instances.
    Instances,
    /// This user has no more inotify watches.
    Watches,
    /// This directory is on a file system of this name.
    FileSystem(&'static str, PathBuf),
}

impl Silence {
    /// The limit that an error of the watcher is about, if it is one.
    pub(super) fn of_error(error: &notify::Error) -> Option<Self> {
        match &error.kind {
            ErrorKind::MaxFilesWatch => Some(Self::Watches),
            ErrorKind::Io(error) if error.raw_os_error() == Some(Errno::EMFILE as i32) => {
                Some(Self::Instances)
            }
            _ => None,
        }
    }

    /// The file system of this directory, if it has no events. One that can't be read counts as one with
    /// events.
    pub(super) fn of_dir(dir: &Path) -> Option<Self> {
        let magic = i128::from(statfs(dir).ok()?.filesystem_type().0);
        // The type has 32 bits, and is sign-extended on some architectures.
        let name = silent(u32::try_from(magic & 0xffff_ffff).ok()?)?;
        Some(Self::FileSystem(name, dir.to_owned()))
    }

    /// One line for the user: why, with numbers, and the next step. `wanted` directories are polled
    /// every `interval`.
    pub(super) fn explain(&self, wanted: usize, interval: Duration) -> Reason {
        let every = humantime::format_duration(interval);
        let (what, wanted) = match self {
            Self::FileSystem(name, dir) => {
                return Reason::new(
                    format!(
                        "`{}` is on {name}, where edits made elsewhere are not told: looking for \
                         changes every {every}",
                        dir.display()
                    ),
                    "`--poll=TIME` sets the time",
                );
            }
            Self::Instances => ("instances", 1),
            Self::Watches => ("watches", wanted),
        };
        let limits = limits(what);
        let Some((key, value)) = lowest(&limits) else {
            let text = format!(
                "the limit of inotify {what} is reached (hotrun needs {wanted}): looking for \
                 changes every {every}"
            );
            return text.into();
        };
        let more = value.saturating_mul(2).max(match self {
            Self::Instances => 1024,
            _ => 524_288,
        });
        Reason::new(
            format!(
                "the limit of {value} inotify {what} is reached (hotrun needs {wanted}): looking for \
                 changes every {every}"
            ),
            format!("raise it with `sudo sysctl {key}={more}`"),
        )
    }
}

/// The limits on `what`: that of the system, and that of the user namespace.
fn limits(what: &str) -> [(String, Option<u64>); 2] {
    [
        format!("fs.inotify.max_user_{what}"),
        format!("user.max_inotify_{what}"),
    ]
    .map(|key| {
        let path = Path::new("/proc/sys").join(key.replace('.', "/"));
        let value = fs::read_to_string(path).ok();
        let value = value.and_then(|value| value.trim().parse().ok());
        (key, value)
    })
}

/// The lower limit; of two equal ones the first, which is better known.
fn lowest(limits: &[(String, Option<u64>)]) -> Option<(&str, u64)> {
    let known = limits
        .iter()
        .filter_map(|(key, value)| Some((key.as_str(), (*value)?)));
    known.min_by_key(|(_, value)| *value)
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
    use std::io;

    use super::*;

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

    #[test]
    fn a_file_system_is_named_with_its_place() {
        let silence = Silence::FileSystem("NFS", "/net/app".into());
        assert_eq!(
            silence.explain(3, Duration::from_secs(1)),
            Reason::new(
                "`/net/app` is on NFS, where edits made elsewhere are not told: looking for changes \
                 every 1s",
                "`--poll=TIME` sets the time"
            )
        );
    }

    #[test]
    fn limits_are_told_from_other_errors() {
        let io = |errno: Errno| notify::Error::io(io::Error::from(errno));
        for (error, silence) in [
            (
                notify::Error::new(ErrorKind::MaxFilesWatch),
                Some(Silence::Watches),
            ),
            (io(Errno::EMFILE), Some(Silence::Instances)),
            (io(Errno::EACCES), None),
            (notify::Error::path_not_found(), None),
        ] {
            assert_eq!(Silence::of_error(&error), silence, "{error:?}");
        }
    }

    #[test]
    fn the_lowest_limit_is_the_one_to_raise() {
        let lowest = |fs, user| {
            let limits = [("fs".to_owned(), fs), ("user".to_owned(), user)];
            super::lowest(&limits).map(|(key, value)| (key.to_owned(), value))
        };
        assert_eq!(lowest(Some(8), Some(9)), Some(("fs".into(), 8)));
        assert_eq!(lowest(Some(8), Some(8)), Some(("fs".into(), 8)));
        assert_eq!(lowest(Some(8), Some(0)), Some(("user".into(), 0)));
        assert_eq!(lowest(None, Some(8)), Some(("user".into(), 8)));
        assert_eq!(lowest(None, None), None);
    }
}
