//! A `LiveReload` server: browsers reload when a new generation is live, and show why the newest sources
//! are not served.
//!
//! # Theory of operation
//!
//! It listens on the loopback addresses alone (`listen`). `serve` answers requests over HTTP/1: `route`
//! decides which request gets what, `script` is what a page includes, and `socket` is a WebSocket from its opening
//! to its end. There are two kinds of those. `/livereload` speaks `LiveReload`'s protocol 7 (`messages`)
//! with any client that does, browser extensions among them, and says that something changed and where. `/overlay`
//! says that too, and what is wrong, to our own script alone, which has the token of this run; so a tab
//! needs one connection. `hub` counts the reloads: a page that was away for some (asleep, or kept by the
//! browser for its back button) sees that it missed them.
//!
//! A connection that is read too slowly is closed; of what is wrong it gets the newest only. Deliberately absent:
//! any decision about when browsers reload, files, and anything that runs or stops something.

mod hub;
mod listen;
mod messages;
mod route;
mod script;
mod serve;
mod socket;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use super::Board;
use crate::defect;
use hub::Hub;
#[cfg(any(test, fuzzing))]
pub(crate) use messages::hostile_tests::any_message_of_a_client_greets_or_does_not;
#[cfg(any(test, fuzzing))]
pub(crate) use route::hostile_tests::no_request_of_another_page_is_answered;
use serve::Server;

/// The server; it ends when this is dropped.
#[derive(Debug)]
pub struct LiveReload {
    port: u16,
    hub: Arc<Hub>,
    hosts: watch::Sender<Vec<String>>,
}

impl LiveReload {
    /// Listens on this port, or the next one that is free. Pages of these hosts may see what is wrong.
    pub fn start(port: u16, hosts: Vec<String>, board: Board) -> io::Result<Self> {
        let listeners = listen::on(port)?;
        let port = listeners[0].local_addr()?.port();
        let hub = Arc::new(Hub::default());
        let hosts = watch::Sender::new(hosts);
        let server = Server::new(port, super::token()?, hub.clone(), hosts.subscribe(), board);
        for listener in listeners {
            let server = server.clone();
            let accept = async move || server.accept(&listener).await;
            defect::spawn("livereload", defect::again("livereload", accept));
        }
        Ok(Self { port, hub, hosts })
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Pages of these hosts may see what is wrong from now on.
    pub fn allow(&self, hosts: &[String]) {
        self.hosts.send_replace(hosts.to_vec());
    }

    /// Has all browsers load these files anew, or whole pages if there is none. Returns how many browsers
    /// were told.
    pub fn reload(&self, paths: &[PathBuf]) -> usize {
        self.hub.reload(messages::reloads(paths))
    }
}
