//! What hotrun does with connections that it accepts while no generation serves (the session says when):
//! browsers get a page that shows how far the build is or what is wrong, and that loads the app when it is
//! live; all others wait, and are relayed to the app byte for byte.
//!
//! # Theory of operation
//!
//! Each connection has a task of its own (`kept`), which reads the beginning of what the client sends
//! (`head`), and then shows the page (`document`) or waits for an order. Nothing that was read is lost:
//! the app gets it first. Their number, their bytes and the time that they wait are limited; what is over
//! the limit stays queued in the kernel.

mod document;
pub(super) mod head;
mod kept;

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};

use super::peers::Peers;
use super::{Board, Picture};
use crate::config::Browser;
use crate::defect;
use crate::session::page::Page;
#[cfg(any(test, fuzzing))]
pub(crate) use head::hostile_tests;
use kept::Kept;

/// The most connections that are open at once.
const MOST: usize = 512;

/// The page, for all connections.
#[derive(Clone, Debug)]
pub struct HeldPage {
    orders: watch::Sender<Page>,
    settings: watch::Sender<Browser>,
    pictures: watch::Receiver<Arc<Picture>>,
    places: Arc<Semaphore>,
    peers: Peers,
}

impl HeldPage {
    /// A page that shows the newest picture on the board. `peers`: the clients that hotrun passes
    /// on.
    pub fn new(board: &Board, settings: Browser, peers: Peers) -> Self {
        Self {
            orders: watch::Sender::new(Page::Waits),
            settings: watch::Sender::new(settings),
            pictures: board.subscribe(),
            places: Arc::new(Semaphore::new(MOST)),
            peers,
        }
    }

    /// What the session has decided: connections that wait are relayed when the page gives way.
    pub fn order(&self, page: Page) {
        self.orders.send_replace(page);
    }

    /// These settings hold for connections that come from now on.
    pub fn adopt(&self, settings: &Browser) {
        self.settings.send_replace(settings.clone());
    }

    /// One place for each connection that may be open.
    pub fn places(&self) -> &Arc<Semaphore> {
        &self.places
    }

    /// Serves a connection. `place` is dropped when it ends.
    pub fn serve(&self, stream: TcpStream, peer: SocketAddr, place: impl Any + Send) {
        let settings = self.settings.borrow();
        let kept = Kept {
            stream,
            peer,
            peers: self.peers.clone(),
            // Without a page the session has nothing accepted, but this may be the last connection before.
            limit: settings.page.unwrap_or_default(),
            hosts: settings.hosts.clone(),
            orders: self.orders.subscribe(),
            pictures: self.pictures.clone(),
        };
        defect::spawn("page client", async move {
            // The client may leave at any time.
            kept.serve().await.ok();
            drop(place);
        });
    }
}
