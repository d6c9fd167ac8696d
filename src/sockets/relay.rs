//! Connections that reach a twin when its process has gone, or has been told to go: a handshake that
//! was begun before the switch ends there whenever its client comes to it. They are carried over to
//! live, byte for byte, so that nobody waits for ever or is reset.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{SockAddr, SockRef, Socket};
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;

use super::address::{Address, reachable};
use crate::sys;

/// Takes what comes to a side that nobody serves, and costs nothing while nothing comes. Dropped, it
/// takes no more; what it has taken goes on.
#[derive(Debug)]
pub struct Relay {
    tasks: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Takes what comes to these sockets, and carries it to the address of each, where clients are
    /// sent to another side by now.
    pub fn start(sockets: Vec<(Arc<OwnedFd>, Address)>) -> Self {
        let start = |(socket, to)| tokio::spawn(take(socket, to));
        Self {
            tasks: sockets.into_iter().map(start).collect(),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Until the socket can't be asked any more: an app has ended its listening.
async fn take(socket: Arc<OwnedFd>, to: Address) {
    let Ok(socket) = sys::readable(socket) else {
        return;
    };
    loop {
        match socket.async_io(Interest::READABLE, accept).await {
            Ok((client, _)) => {
                tokio::spawn(carry(client, to.clone()));
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => return,
        }
    }
}

/// Where the app wants the socket to block, accepting would wait; who is in its queue stays there.
fn accept(socket: &Arc<OwnedFd>) -> io::Result<(Socket, SockAddr)> {
    let mut asked = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    if poll(&mut asked, PollTimeout::ZERO)? == 0 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    SockRef::from(socket).accept()
}

/// Until both have said all; whoever breaks off ends it.
async fn carry(client: Socket, to: Address) -> io::Result<()> {
    client.set_nonblocking(true)?;
    if let Some(path) = to.path() {
        let client = UnixStream::from_std(client.into())?;
        return join(client, UnixStream::connect(path).await?).await;
    }
    let Some(address) = to.tcp() else {
        return Ok(());
    };
    let client = TcpStream::from_std(client.into())?;
    join(client, TcpStream::connect(reachable(address)).await?).await
}

async fn join<S: AsyncRead + AsyncWrite + Unpin>(mut client: S, mut live: S) -> io::Result<()> {
    tokio::io::copy_bidirectional(&mut client, &mut live).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::OwnedFd;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_comes_to_one_socket_is_carried_to_another() {
        for blocking in [false, true] {
            let live = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let idle = TcpListener::bind("127.0.0.1:0").unwrap();
            idle.set_nonblocking(!blocking).unwrap();
            let at = idle.local_addr().unwrap();
            let idle: Arc<OwnedFd> = Arc::new(idle.into());
            let relay = Relay::start(vec![(
                idle.clone(),
                Address::Tcp(live.local_addr().unwrap()),
            )]);
            let mut client = TcpStream::connect(at).await.unwrap();
            client.write_all(b"question").await.unwrap();
            client.shutdown().await.unwrap();
            let (mut server, _) = live.accept().await.unwrap();
            // Nobody takes what comes now, and what was taken goes on.
            drop(relay);
            let mut said = String::new();
            server.read_to_string(&mut said).await.unwrap();
            assert_eq!(said, "question");
            server.write_all(b"answer").await.unwrap();
            drop(server);
            said.clear();
            client.read_to_string(&mut said).await.unwrap();
            assert_eq!(said, "answer");
            let _waits = TcpStream::connect(at).await.unwrap();
            let taken = tokio::time::timeout(std::time::Duration::from_millis(50), live.accept());
            assert!(taken.await.is_err(), "somebody took it");
        }
    }
}
