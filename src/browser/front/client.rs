//! One client: its connection goes to the app byte for byte, unless it speaks HTTP/1.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::http;
use super::stream::End;
use super::{Subscription, Way};
use crate::browser::access::is_local;
use crate::browser::page::head::{self, Asks};
use crate::browser::peers::Known;
use crate::defect;

/// The most bytes that are read to see what a client speaks.
const MOST_READ: usize = 64 << 10;

/// So long a client may take for the head of its first request; then its bytes pass as they are.
const SLOW: Duration = Duration::from_millis(500);

/// The first byte of a TLS connection: a handshake (RFC 8446, 5.1).
const TLS: u8 = 22;

/// A connection to the app.
pub(super) struct App {
    pub(super) stream: End,
    /// The client is known as long as the connection is open.
    pub(super) known: Known,
    /// How many switches there had been.
    pub(super) since: u64,
}

impl Way {
    /// Connects to the app, for this client.
    pub(super) async fn connect(&self, client: SocketAddr) -> io::Result<App> {
        let since = self.shared.switches.now();
        let (socket, entered) = self.behind.connect()?;
        let stream = TcpStream::from_std(socket.into())?;
        stream.writable().await?;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        entered.connected();
        stream.set_nodelay(true)?;
        let peers = &self.shared.peers;
        let known = peers.know(stream.local_addr()?, stream.peer_addr()?, client);
        Ok(App {
            stream: End::to_app(stream, entered),
            known,
            since,
        })
    }

    /// Serves a client to its end.
    pub(super) async fn serve(
        self: Arc<Self>,
        mut client: TcpStream,
        peer: SocketAddr,
    ) -> io::Result<()> {
        defect::point("front client");
        client.set_nodelay(true)?;
        // From before the connection is made, so that no switch is missed.
        let mut switches = self.shared.switches.subscribe();
        let mut app = Some(self.connect(peer).await?);
        let mut read = Vec::new();
        // The script is for browsers of this machine alone, and so is the server that it asks.
        let is_read = self.shared.livereload().is_some() && is_local(peer);
        let begins = begin(&mut client, &mut app, &mut read, &mut switches, is_read);
        if begins.await? {
            return http::serve(self, client, peer, read, app, switches).await;
        }
        if read.first() == Some(&TLS) {
            self.shared.tell_unread();
        }
        let mut app = match app {
            Some(app) => app,
            None => self.connect(peer).await?,
        };
        let carried = carry(&mut client, &mut app.stream, &read).await;
        if carried.is_err() {
            // One end has reset the connection, and so the other end has to see that.
            for end in [SockRef::from(&client), app.stream.socket()] {
                end.set_linger(Some(Duration::ZERO)).ok();
            }
        }
        carried
    }
}

/// Waits until either end has said something. Whether the client speaks HTTP/1, if that `is_read`. While
/// neither has, a switch takes the connection from the app: the first request is for the generation of its
/// time, and the one before need not wait for it.
async fn begin(
    client: &mut TcpStream,
    app: &mut Option<App>,
    read: &mut Vec<u8>,
    switches: &mut Subscription,
    is_read: bool,
) -> io::Result<bool> {
    let slow = sleep(SLOW);
    tokio::pin!(slow);
    loop {
        tokio::select! {
            got = client.read_buf(read) => {
                let is_over = got? == 0 || read.len() >= MOST_READ;
                match head::read(read) {
                    _ if !is_read => return Ok(false),
                    None if is_over => return Ok(false),
                    None => {}
                    Some(asks) => return Ok(asks != Asks::Other),
                }
            }
            said = speaks(app.as_ref()) => {
                said?;
                return Ok(false);
            }
            () = switches.next(), if read.is_empty() => *app = None,
            () = &mut slow, if !read.is_empty() => return Ok(false),
        }
    }
}

/// Waits until the app says something, or ends the connection.
async fn speaks(app: Option<&App>) -> io::Result<()> {
    match app {
        Some(app) => app.stream.peek().await.map(drop),
        None => std::future::pending().await,
    }
}

/// Carries all bytes both ways.
async fn carry(client: &mut TcpStream, app: &mut End, read: &[u8]) -> io::Result<()> {
    app.write_all(read).await?;
    copy_bidirectional(client, app).await?;
    Ok(())
}
