//! One connection that hotrun has accepted while no generation serves.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::super::access::{is_local, is_own_host};
use super::super::peers::Peers;
use super::super::picture::Picture;
use super::document;
use super::head::{self, Asks};
use crate::defect;
use crate::session::page::Page;

/// The most bytes that are read of what a client sends, before the app reads the rest. Longer heads get no
/// page.
const MOST_READ: usize = 16 << 10;

/// The longest time in which a browser has to take what is sent to it.
const SLOW: Duration = Duration::from_secs(10);

pub(super) struct Kept {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) peers: Peers,
    /// How long it waits at the most.
    pub(super) limit: Duration,
    /// Listed names of hosts.
    pub(super) hosts: Vec<String>,
    pub(super) orders: watch::Receiver<Page>,
    pub(super) pictures: watch::Receiver<Arc<Picture>>,
}

impl Kept {
    /// Serves it to its end.
    pub(super) async fn serve(mut self) -> io::Result<()> {
        defect::point("page client");
        let limit = sleep(self.limit);
        tokio::pin!(limit);
        let mut read = Vec::with_capacity(1024);
        let asks = tokio::select! {
            known = self.until_known_or_live(&mut read) => known?,
            () = &mut limit => return Ok(()),
        };
        match asks {
            Some(Asks::Page { host }) => return self.show(&host).await,
            Some(Asks::Anybody) => return self.refuse().await,
            Some(Asks::Http | Asks::Other) | None => {}
        }
        tokio::select! {
            biased;
            () = gives_way(&mut self.orders) => self.relay(&read).await,
            () = &mut limit => match asks {
                Some(Asks::Http) => self.refuse().await,
                _ => Ok(()),
            },
        }
    }

    /// Reads until it is clear what is asked for; `None`: the page gave way before that.
    async fn until_known_or_live(&mut self, read: &mut Vec<u8>) -> io::Result<Option<Asks>> {
        loop {
            tokio::select! {
                biased;
                () = gives_way(&mut self.orders) => return Ok(None),
                got = self.stream.read_buf(read) => {
                    let is_over = got? == 0 || read.len() >= MOST_READ;
                    match head::read(read) {
                        None if is_over && read.is_empty() => {
                            return Err(io::ErrorKind::UnexpectedEof.into());
                        }
                        None if is_over => return Ok(Some(Asks::Other)),
                        None => {}
                        known => return Ok(known),
                    }
                }
            }
        }
    }

    /// Carries everything between the client and the app, which it reaches at the address that the client
    /// came to.
    async fn relay(mut self, read: &[u8]) -> io::Result<()> {
        let mut app = TcpStream::connect(self.stream.local_addr()?).await?;
        self.stream.set_nodelay(true)?;
        app.set_nodelay(true)?;
        app.write_all(read).await?;
        copy_bidirectional(&mut self.stream, &mut app).await?;
        Ok(())
    }

    async fn refuse(mut self) -> io::Result<()> {
        send(&mut self.stream, &document::bare()).await?;
        self.close().await
    }

    /// Shows the page until a generation serves or the browser leaves.
    async fn show(mut self, host: &str) -> io::Result<()> {
        // Known by now, since it has sent something.
        let client = self.peers.client(self.peer, self.stream.local_addr()?);
        if !is_local(client) || !is_own_host(host, &self.hosts) {
            return self.refuse().await;
        }
        let nonce = nonce()?;
        let picture = self.pictures.borrow_and_update().clone();
        let begin = document::begin(&nonce) + &document::update(&nonce, &picture);
        send(&mut self.stream, &begin).await?;
        let mut more = [0; 512];
        loop {
            tokio::select! {
                biased;
                () = gives_way(&mut self.orders) => {
                    send(&mut self.stream, &document::end(&nonce)).await?;
                    return self.close().await;
                }
                changed = self.pictures.changed() => {
                    if changed.is_err() {
                        return self.close().await;
                    }
                    let picture = self.pictures.borrow_and_update().clone();
                    send(&mut self.stream, &document::update(&nonce, &picture)).await?;
                }
                // Whatever a browser sends after its request, there is nothing more to answer.
                read = self.stream.read(&mut more) => {
                    if read? == 0 {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Ends the answer. With bytes of the client unread, the kernel would reset the connection, and the
    /// client might lose the answer: so they are read first, for a moment.
    async fn close(mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        let mut rest = [0; 4096];
        let drain = async { while matches!(self.stream.read(&mut rest).await, Ok(1..)) {} };
        timeout(Duration::from_secs(1), drain).await.ok();
        Ok(())
    }
}

/// Waits until a generation serves; for ever when hotrun ends.
async fn gives_way(orders: &mut watch::Receiver<Page>) {
    if orders
        .wait_for(|page| *page == Page::GivesWay)
        .await
        .is_err()
    {
        std::future::pending::<()>().await;
    }
}

async fn send(stream: &mut TcpStream, text: &str) -> io::Result<()> {
    let sent = timeout(SLOW, stream.write_all(text.as_bytes())).await;
    sent.map_err(|_| io::ErrorKind::TimedOut)?
}

/// What marks the scripts of one answer as its own.
fn nonce() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(u128::from_ne_bytes(bytes).to_string())
}
