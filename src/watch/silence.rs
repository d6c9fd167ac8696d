//! Where native events don't suffice: limits of inotify, and file systems to which other hosts write.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::ErrorKind;

use crate::session::reason::Reason;
use crate::sys;
use crate::sys::host;

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
            ErrorKind::Io(error) if sys::is_too_many_open(error) => Some(Self::Instances),
            _ => None,
        }
    }

    /// The file system of this directory, if it has no events. One that can't be read counts as one with
    /// events.
    pub(super) fn of_dir(dir: &Path) -> Option<Self> {
        let name = host::silent_file_system(dir)?;
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
                    "`--poll=300ms` looks more often",
                );
            }
            Self::Instances => ("instances", 1),
            Self::Watches => ("watches", wanted),
        };
        let limits = host::watch_limits(what);
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

/// The lower limit; of two equal ones the first, which is better known.
fn lowest(limits: &[(String, Option<u64>)]) -> Option<(&str, u64)> {
    let known = limits
        .iter()
        .filter_map(|(key, value)| Some((key.as_str(), (*value)?)));
    known.min_by_key(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_file_system_is_named_with_its_place() {
        let silence = Silence::FileSystem("NFS", "/net/app".into());
        assert_eq!(
            silence.explain(3, Duration::from_secs(1)),
            Reason::new(
                "`/net/app` is on NFS, where edits made elsewhere are not told: looking for changes \
                 every 1s",
                "`--poll=300ms` looks more often"
            )
        );
    }

    #[test]
    fn limits_are_told_from_other_errors() {
        let io = notify::Error::io;
        for (error, silence) in [
            (
                notify::Error::new(ErrorKind::MaxFilesWatch),
                Some(Silence::Watches),
            ),
            (io(sys::too_many_open()), Some(Silence::Instances)),
            (io(io::ErrorKind::PermissionDenied.into()), None),
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
