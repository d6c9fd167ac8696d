//! The files of unix sockets: stale ones are replaced, all others stay, and hotrun's own are removed
//! when it ends.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::sys::files::{FileId, is_socket};
use crate::sys::sockets::is_refused;

/// A socket file that hotrun has made; removed on drop, unless another file has replaced it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    id: FileId,
    /// The public path that it is to be renamed to.
    goes_to: Option<PathBuf>,
}

impl SocketFile {
    /// Takes charge of the file that a bind has just made.
    pub(super) fn made(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            id: FileId::of_link(path)?,
            goes_to: None,
        })
    }

    /// The same for a file that [`Self::publish`] will rename to `place`.
    pub(super) fn made_for(place: &Path, path: &Path) -> io::Result<Self> {
        let mut file = Self::made(path)?;
        file.goes_to = Some(place.to_owned());
        Ok(file)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file at this path is this very one.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        FileId::of_link(path).is_ok_and(|found| found == self.id)
    }

    /// Renames the file to the public path, which so leads to a socket at any time.
    pub(super) fn publish(&mut self) -> io::Result<()> {
        if let Some(place) = self.goes_to.take() {
            fs::rename(&self.path, &place)?;
            self.path = place;
        }
        Ok(())
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_at(&self.path) {
            fs::remove_file(&self.path).ok();
        }
    }
}

/// The path is a socket whose program has ended without removing it.
pub(super) fn is_stale(path: &Path) -> bool {
    let found = fs::symlink_metadata(path);
    found.is_ok_and(|found| is_socket(found.file_type())) && is_refused(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::ABLE;
    use crate::sys::sockets::{listen_unix, receive_unix};
    use crate::sys::testing::lacks;

    #[test]
    fn only_a_socket_without_its_program_is_stale() {
        if lacks(ABLE.unix_sockets, "unix sockets") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        assert!(!is_stale(&path), "nothing is there");
        let listener = listen_unix(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        assert!(!is_stale(&path), "a program listens");
        let unheard = listener.accept().unwrap_err();
        assert_eq!(unheard.kind(), io::ErrorKind::WouldBlock);
        drop(listener);
        assert!(is_stale(&path), "no program listens any more");
        fs::remove_file(&path).unwrap();
        let datagram = receive_unix(&path).unwrap();
        assert!(!is_stale(&path), "a program takes datagrams");
        drop(datagram);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(!is_stale(&path), "it is a file");
    }

    #[test]
    fn only_our_own_file_is_removed() {
        if lacks(ABLE.unix_sockets, "unix sockets") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let first = listen_unix(&path).unwrap();
        let ours = SocketFile::made(&path).unwrap();
        // Moved, so that the second file can't get the inode of the first.
        fs::rename(&path, dir.path().join("moved")).unwrap();
        let _second = listen_unix(&path).unwrap();
        drop(ours);
        assert!(path.exists(), "a file of another program is gone");
        let theirs = SocketFile::made(&path).unwrap();
        drop(theirs);
        assert!(!path.exists());
        drop(first);
    }
}
