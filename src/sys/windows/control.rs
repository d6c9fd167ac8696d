//! Connections between processes of one user: named pipes, whose random name is in a file that only this
//! user can read, at the path that the connection is known by.

use std::fs;
use std::io;
use std::os::windows::fs::MetadataExt;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::Socket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::windows::named_pipe::{
    ClientOptions, NamedPipeClient, NamedPipeServer, ServerOptions,
};
use windows_sys::Win32::Storage::FileSystem::FILE_ATTRIBUTE_REPARSE_POINT;

use super::owner::{is_own, own_number};
use super::pipes::name;
use super::unsupported;

/// A connection between two processes of this user.
#[derive(Debug)]
pub enum LocalStream {
    /// The end of the process that has accepted it.
    Server(NamedPipeServer),
    /// The end of the process that has connected.
    Client(NamedPipeClient),
}

impl LocalStream {
    /// Both directions.
    pub fn into_split(self) -> (ReadHalf<Self>, WriteHalf<Self>) {
        tokio::io::split(self)
    }
}

impl AsyncRead for LocalStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = match self.get_mut() {
            Self::Server(pipe) => Pin::new(pipe).poll_read(context, buffer),
            Self::Client(pipe) => Pin::new(pipe).poll_read(context, buffer),
        };
        match read {
            // The other end is closed, which is no error of a stream.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                Poll::Ready(Ok(()))
            }
            read => read,
        }
    }
}

impl AsyncWrite for LocalStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Server(pipe) => Pin::new(pipe).poll_write(context, bytes),
            Self::Client(pipe) => Pin::new(pipe).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Server(pipe) => Pin::new(pipe).poll_flush(context),
            Self::Client(pipe) => Pin::new(pipe).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Server(pipe) => Pin::new(pipe).poll_shutdown(context),
            Self::Client(pipe) => Pin::new(pipe).poll_shutdown(context),
        }
    }
}

/// Accepts connections from processes of this user.
#[derive(Debug)]
pub struct LocalListener {
    name: String,
    /// The pipe that the next client gets.
    next: tokio::sync::Mutex<NamedPipeServer>,
}

impl LocalListener {
    /// Listens at a path that does not exist yet. Must be called inside the runtime.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let name = name()?;
        let next = instance(&name, true)?;
        let mut file = fs::File::create_new(path)?;
        io::Write::write_all(&mut file, name.as_bytes())?;
        Ok(Self {
            name,
            next: tokio::sync::Mutex::new(next),
        })
    }

    /// Waits for the next connection. Safe to drop while it waits.
    pub async fn accept(&self) -> io::Result<LocalStream> {
        let mut next = self.next.lock().await;
        next.connect().await?;
        // Before this one is handed over: a client that finds no pipe would think that no hotrun listens.
        let after = instance(&self.name, false)?;
        Ok(LocalStream::Server(std::mem::replace(&mut *next, after)))
    }
}

/// One pipe of this name. By default only its user may write to it.
fn instance(name: &str, first: bool) -> io::Result<NamedPipeServer> {
    ServerOptions::new()
        .first_pipe_instance(first)
        .reject_remote_clients(true)
        .create(name)
}

/// Connects to a process of this user: to the one that has written the file.
#[expect(clippy::unused_async, reason = "other systems wait here")]
pub async fn connect_local(path: &Path) -> io::Result<LocalStream> {
    let name = fs::read_to_string(path)?;
    if !name.starts_with(r"\\.\pipe\hotrun-") {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(LocalStream::Client(ClientOptions::new().open(name)?))
}

/// An error: no unix socket is carried here.
#[expect(clippy::unused_async, reason = "other systems wait here")]
pub async fn connect_to_any(_path: &Path) -> io::Result<LocalStream> {
    unsupported()
}

/// An error: no unix socket is carried here.
pub fn local(_socket: Socket) -> io::Result<LocalStream> {
    unsupported()
}

/// The id of this user: the last part of its SID, which tells users of one machine apart; zero if that
/// can't be read.
pub fn user() -> u32 {
    own_number().unwrap_or_default()
}

/// Creates a directory below one of this user's own, from which it inherits that others may not read it,
/// unless it is there.
pub fn create_private_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if is_private_dir(dir) {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it is no directory in your own profile",
        ))
    }
}

/// This is a directory in this user's profile, its own, that nobody else may change, and no link to one. Who
/// may read it is left to the profile's access list: the name of a pipe alone lets nobody write to it.
pub fn is_private_dir(dir: &Path) -> bool {
    let found = fs::symlink_metadata(dir);
    let is_dir = found.is_ok_and(|found| {
        found.is_dir() && found.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT == 0
    });
    // Both by their real paths: short names and the case of letters differ.
    let real = dunce::canonicalize(dir);
    let profile = std::env::home_dir().and_then(|home| dunce::canonicalize(home).ok());
    let is_inside = real.is_ok_and(|real| profile.is_some_and(|profile| real.starts_with(profile)));
    is_dir && is_inside && is_own(dir).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn processes_of_one_user_reach_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = LocalListener::bind(&path).unwrap();
        for _ in 0..2 {
            let (client, server) = tokio::join!(connect_local(&path), listener.accept());
            let (mut client, server) = (client.unwrap(), server.unwrap());
            let (mut read, mut write) = server.into_split();
            client.write_all(b"question\n").await.unwrap();
            let mut buffer = [0; 9];
            read.read_exact(&mut buffer).await.unwrap();
            write.write_all(b"answer").await.unwrap();
            let mut buffer = [0; 6];
            client.read_exact(&mut buffer).await.unwrap();
            assert_eq!(&buffer, b"answer");
            drop(client);
            assert_eq!(read.read(&mut buffer).await.unwrap(), 0);
        }
        drop(listener);
        connect_local(&path).await.unwrap_err();
    }

    #[test]
    fn this_user_has_an_id() {
        assert_ne!(user(), 0);
    }
}
