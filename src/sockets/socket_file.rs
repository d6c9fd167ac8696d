//! The files of unix sockets: stale ones are replaced, all others stay, and hotrun's own are removed
//! when it ends.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// A socket file that hotrun has made; removed on drop, unless another file has replaced it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
    /// The public path that it is to be renamed to.
    goes_to: Option<PathBuf>,
}

impl SocketFile {
    /// Takes charge of the file that a bind has just made.
    pub(super) fn made(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            id: id(&fs::symlink_metadata(path)?),
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
        fs::symlink_metadata(path).is_ok_and(|found| id(&found) == self.id)
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

fn id(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// The path is a socket whose program has ended without removing it.
///
/// Found out by connecting a datagram socket: a stale file refuses, a datagram socket accepts without
/// receiving anything, and for a stream socket the kernel reports a wrong type without its program
/// noticing.
pub(super) fn is_stale(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let refuses = || {
        let asked = UnixDatagram::unbound().and_then(|socket| socket.connect(path));
        asked.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    };
    is_socket && refuses()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_a_socket_without_its_program_is_stale() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        assert!(!is_stale(&path), "nothing is there");
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        assert!(!is_stale(&path), "a program listens");
        let unheard = listener.accept().unwrap_err();
        assert_eq!(unheard.kind(), io::ErrorKind::WouldBlock);
        drop(listener);
        assert!(is_stale(&path), "no program listens any more");
        fs::remove_file(&path).unwrap();
        let datagram = UnixDatagram::bind(&path).unwrap();
        assert!(!is_stale(&path), "a program takes datagrams");
        drop(datagram);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(!is_stale(&path), "it is a file");
    }

    #[test]
    fn only_our_own_file_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let first = UnixListener::bind(&path).unwrap();
        let ours = SocketFile::made(&path).unwrap();
        // Moved, so that the second file can't get the inode of the first.
        fs::rename(&path, dir.path().join("moved")).unwrap();
        let _second = UnixListener::bind(&path).unwrap();
        drop(ours);
        assert!(path.exists(), "a file of another program is gone");
        let theirs = SocketFile::made(&path).unwrap();
        drop(theirs);
        assert!(!path.exists());
        drop(first);
    }
}
