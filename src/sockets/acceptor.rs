//! Accepts connections for hotrun itself, on sockets that no process has: what browsers get a page by.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::Socket;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::defect;
use crate::sys;
use crate::sys::sockets::has_input;

/// Pause after a failure that may pass, as when hotrun can't open another descriptor.
const WAIT: Duration = Duration::from_millis(50);

/// A connection that was accepted, and its place among those that are open at once.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: TcpStream,
    /// The client's address.
    pub peer: SocketAddr,
    /// Given back when the connection is closed.
    pub place: OwnedSemaphorePermit,
}

/// Accepts until it is dropped. Hotrun has one thread, so that nothing is accepted after that. Without a
/// free place connections stay queued.
#[derive(Debug)]
pub struct Acceptor {
    tasks: Vec<JoinHandle<Result<(), String>>>,
}

impl Acceptor {
    /// Starts to accept on these listening sockets, and gives each connection to `serve`.
    pub fn start(
        sockets: Vec<Arc<Socket>>,
        places: &Arc<Semaphore>,
        serve: impl Fn(Accepted) + Clone + Send + Sync + 'static,
    ) -> Self {
        let start = |socket: Arc<Socket>| {
            let (places, serve) = (places.clone(), serve.clone());
            let run = async move || accept_all(socket.clone(), &places, &serve).await;
            defect::spawn("page", defect::again("page", run))
        };
        Self {
            tasks: sockets.into_iter().map(start).collect(),
        }
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Runs until the socket does not listen any more.
async fn accept_all(socket: Arc<Socket>, places: &Arc<Semaphore>, serve: &impl Fn(Accepted)) {
    defect::point("page");
    let Ok(socket) = sys::readable(socket) else {
        return;
    };
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match socket.async_io(Interest::READABLE, accept).await {
            Ok((stream, peer)) => serve(Accepted {
                stream,
                peer,
                place,
            }),
            Err(error) if sys::is_not_listening(&error) => return,
            Err(_) => tokio::time::sleep(WAIT).await,
        }
    }
}

/// The next queued connection. The socket may be a blocking one, so it is looked at first: no process
/// accepts on it.
fn accept(socket: &Arc<Socket>) -> io::Result<(TcpStream, SocketAddr)> {
    if !has_input(socket, Duration::ZERO)? {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    let (stream, peer) = socket.accept()?;
    let peer = peer.as_socket().ok_or(io::ErrorKind::Unsupported)?;
    stream.set_nonblocking(true)?;
    Ok((TcpStream::from_std(stream.into())?, peer))
}
