//! Hotrun in front of the app (`--inject`): it answers at the app's addresses, passes everything on to the
//! app, and puts the script that has browsers reload into pages.
//!
//! # Theory of operation
//!
//! The app's sockets are at another address, *behind* (`sockets::front`), where switches, draining and the
//! page work as without it. A thread of its own accepts clients, so that a load on the app does not delay
//! what hotrun does. `client` connects each to the app and carries its bytes, unless it speaks HTTP/1 from
//! this machine; then `http` passes its requests on. `answer` says what is changed: policies (`policy`),
//! validators (`validators`), and pages (`html`) in their content coding (`coding`). Requests below
//! `/__hotrun/` go to the LiveReload server, so that pages need nothing of another origin.
//!
//! A client's connection outlives the generations: after a switch, its next request opens a connection to
//! the new one. Deliberately absent: any decision about which generation serves, and any other change to what is passed
//! on.

mod answer;
mod client;
mod coding;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile_tests;
mod html;
mod http;
mod policy;
mod stream;
mod validators;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::{SockRef, Socket};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};

#[cfg(any(test, fuzzing))]
pub(crate) use coding::hostile_tests::of_any_codings_those_are_left_that_can_be_read;
#[cfg(any(test, fuzzing))]
pub(crate) use policy::hostile_tests::any_policy_is_extended_once_and_loses_nothing;
#[cfg(any(test, fuzzing))]
pub(crate) use validators::hostile_tests::any_tag_comes_back_as_the_app_has_sent_it;

use super::peers::Peers;
use crate::defect;
use crate::sockets::front::{self as held, Behind};
use crate::sys;

/// Pause after a failure that may pass, as when hotrun can't open another descriptor.
const WAIT: Duration = Duration::from_millis(50);

/// Hotrun at all addresses at which it answers; it ends when this is dropped.
#[derive(Debug)]
pub struct Front {
    runtime: Handle,
    shared: Arc<Shared>,
    open: Vec<Open>,
    _end: oneshot::Sender<()>,
}

/// One address.
#[derive(Debug)]
struct Open {
    public: Arc<Socket>,
    /// Dropped, no more clients are accepted than those that have connected.
    _accept: oneshot::Sender<()>,
}

/// What all clients share.
#[derive(Debug)]
struct Shared {
    peers: Peers,
    switches: Switches,
    /// The port of the `LiveReload` server; 0: there is none.
    livereload: AtomicU16,
    /// Marks our script where a page's policy wants that.
    nonce: String,
    unread: Unread,
}

/// What tells of a client whose pages can't be read; `None`: it has told.
struct Unread(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl fmt::Debug for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unread")
    }
}

/// How many switches there have been.
#[derive(Debug)]
struct Switches(watch::Sender<u64>);

/// Waits for the next switch.
struct Subscription(watch::Receiver<u64>);

/// The way from an address to the app.
#[derive(Debug)]
struct Way {
    shared: Arc<Shared>,
    behind: Arc<Behind>,
}

impl Front {
    /// Starts without an address. The clients are put down in `peers`; `unread` is called once, for the first
    /// client that speaks TLS, whose pages can't be read.
    pub fn start(peers: Peers, unread: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        // Two for each client. If that fails, there are fewer clients.
        sys::raise_open_files().ok();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        defect::spawn_thread("front", None, move || runtime.block_on(ended).ok())?;
        Ok(Self {
            runtime: handle,
            shared: Arc::new(Shared {
                peers,
                switches: Switches(watch::Sender::new(0)),
                livereload: AtomicU16::new(0),
                nonce: super::token()?,
                unread: Unread(Mutex::new(Some(Box::new(unread)))),
            }),
            open: Vec::new(),
            _end: end,
        })
    }

    /// Answers at these addresses from now on and at no others. Clients that have connected are served to
    /// their end.
    pub fn adopt(&mut self, fronts: &[held::Front]) -> io::Result<()> {
        let is_it = |open: &Open, front: &held::Front| Arc::ptr_eq(&front.public, &open.public);
        self.open
            .retain(|open| fronts.iter().any(|front| is_it(open, front)));
        let mut first = Ok(());
        for front in fronts {
            if !self.open.iter().any(|open| is_it(open, front)) {
                first = first.and(self.open(front));
            }
        }
        first
    }

    fn open(&mut self, held::Front { public, behind }: &held::Front) -> io::Result<()> {
        let listener = StdListener::from(public.try_clone()?);
        listener.set_nonblocking(true)?;
        let _runtime = self.runtime.enter();
        let listener = TcpListener::from_std(listener)?;
        let (accept, mut end) = oneshot::channel::<()>();
        let way = Arc::new(Way {
            shared: self.shared.clone(),
            behind: behind.clone(),
        });
        let accept_all = defect::again("front", async move || {
            accept_all(&listener, &way, &mut end).await;
        });
        defect::spawn("front", accept_all);
        self.open.push(Open {
            public: public.clone(),
            _accept: accept,
        });
        Ok(())
    }

    /// The app has other sockets from now on.
    pub fn switched(&self) {
        self.shared.switches.0.send_modify(|count| *count += 1);
    }

    /// The port of the server that the script asks. `None`: nothing is put into pages.
    pub fn livereload(&self, port: Option<u16>) {
        let port = port.unwrap_or_default();
        self.shared.livereload.store(port, Ordering::Relaxed);
    }
}

impl Shared {
    fn tell_unread(&self) {
        let mut unread = self.unread.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tell) = unread.take() {
            tell();
        }
    }

    fn livereload(&self) -> Option<u16> {
        let port = self.livereload.load(Ordering::Relaxed);
        (port != 0).then_some(port)
    }
}

impl Switches {
    fn now(&self) -> u64 {
        *self.0.borrow()
    }

    fn subscribe(&self) -> Subscription {
        Subscription(self.0.subscribe())
    }
}

impl Subscription {
    async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Accepts until the address is given up, and then those clients that have connected by then.
async fn accept_all(listener: &TcpListener, way: &Arc<Way>, end: &mut oneshot::Receiver<()>) {
    defect::point("front");
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut *end => break,
        };
        match accepted {
            Ok((client, peer)) => serve(way, client, peer),
            Err(_) => tokio::time::sleep(WAIT).await,
        }
    }
    // By the socket itself: the runtime may not have seen the newest ones yet.
    while let Ok((client, peer)) = SockRef::from(listener).accept() {
        let client = client
            .set_nonblocking(true)
            .and_then(|()| TcpStream::from_std(client.into()));
        if let (Ok(client), Some(peer)) = (client, peer.as_socket()) {
            serve(way, client, peer);
        }
    }
}

fn serve(way: &Arc<Way>, client: TcpStream, peer: SocketAddr) {
    // What goes wrong concerns the client alone.
    defect::spawn("front client", way.clone().serve(client, peer));
}

#[cfg(test)]
mod tests;
