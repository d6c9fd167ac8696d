//! Sockets between processes of one user, and the directories that they are in.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use socket2::Socket;
use tokio::net::{UnixListener, UnixStream};

/// A connection between two processes of this user.
pub type LocalStream = UnixStream;

/// Accepts connections from processes of this user.
#[derive(Debug)]
pub struct LocalListener(UnixListener);

impl LocalListener {
    /// Listens at a path that does not exist yet. Must be called inside the runtime.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(Self(listener))
    }

    /// Waits for the next connection of a process of this user; others are closed. Safe to drop while it
    /// waits.
    pub async fn accept(&self) -> io::Result<LocalStream> {
        loop {
            let (stream, _) = self.0.accept().await?;
            if is_own(&stream) {
                return Ok(stream);
            }
        }
    }
}

/// Connects to a process of this user; another user's is refused (EACCES).
pub async fn connect_local(path: &Path) -> io::Result<LocalStream> {
    let stream = UnixStream::connect(path).await?;
    if is_own(&stream) {
        Ok(stream)
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

/// Connects to what listens there.
pub async fn connect_to_any(path: &Path) -> io::Result<LocalStream> {
    UnixStream::connect(path).await
}

/// The stream of a connected socket, which does not block. Must be called inside the runtime.
pub fn local(socket: Socket) -> io::Result<LocalStream> {
    UnixStream::from_std(socket.into())
}

/// The other end is a process of this user, or of root, which may do everything anyway.
fn is_own(stream: &UnixStream) -> bool {
    let peer = stream.peer_cred();
    peer.is_ok_and(|peer| peer.uid() == user() || peer.uid() == 0)
}

/// The id of this user.
pub fn user() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Creates a directory that is closed to all other users, unless it is there.
pub fn create_private_dir(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if is_private_dir(dir) {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it is no directory that only you can write to",
        ))
    }
}

/// This is a directory of this user that is closed to all others, and no link to one.
pub fn is_private_dir(dir: &Path) -> bool {
    let found = fs::symlink_metadata(dir);
    let for_others = 0o077;
    found.is_ok_and(|found| {
        found.is_dir() && found.uid() == user() && found.mode() & for_others == 0
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("own");
        create_private_dir(&own).unwrap();
        create_private_dir(&own).unwrap();
        let link = dir.path().join("link");
        symlink(&own, &link).unwrap();
        create_private_dir(&link).unwrap_err();
        fs::set_permissions(&own, fs::Permissions::from_mode(0o755)).unwrap();
        create_private_dir(&own).unwrap_err();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        create_private_dir(&file).unwrap_err();
    }

    #[tokio::test]
    async fn processes_of_one_user_reach_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = LocalListener::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let (client, server) = tokio::join!(connect_local(&path), listener.accept());
        client.unwrap();
        server.unwrap();
    }
}
