//! The clients: a few for each address, each on a thread of its own, one request after the other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{io, mem};

use tokio::time::Instant;

use super::account::{Answer, Lifetime, Request, Seen, statuses};
use super::facts::{CLIENTS, EVERY, How, Loss, Statuses};
use super::talk::Talk;
use super::target::Target;
use super::websocket::WebSocket;
use super::witness::Witness;
use crate::defect;
use crate::sys::signals;

/// Enough for a client.
const STACK: usize = 256 * 1024;

/// Where clients report, and see whether they are to go on.
#[derive(Debug)]
struct ClientPool {
    /// When all clocks begin.
    start: Instant,
    witness: Arc<Witness>,
    closed: AtomicBool,
    /// For each target, by its number: hotrun has let go of it.
    released: Vec<AtomicBool>,
    seen: Mutex<Seen>,
}

impl ClientPool {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Clients of this target are to end.
    fn is_closed(&self, target: usize) -> bool {
        self.closed.load(Ordering::Relaxed) || self.is_released(target)
    }

    fn is_released(&self, target: usize) -> bool {
        let released = self.released.get(target);
        released.is_some_and(|released| released.load(Ordering::Relaxed))
    }
}

/// Clients at work. When this is dropped they ask no more.
#[derive(Debug)]
pub(super) struct Load {
    pool: Arc<ClientPool>,
    clients: Vec<JoinHandle<Result<(), String>>>,
}

impl Load {
    /// Has clients ask these targets from now on.
    pub(super) fn start(
        targets: &[Target],
        witness: Arc<Witness>,
        start: Instant,
    ) -> io::Result<Self> {
        let pool = Arc::new(ClientPool {
            start,
            witness,
            closed: AtomicBool::new(false),
            released: targets.iter().map(|_| AtomicBool::new(false)).collect(),
            seen: Mutex::default(),
        });
        let mut load = Self {
            pool,
            clients: Vec::new(),
        };
        for target in targets {
            for number in 0..CLIENTS {
                let (pool, target) = (load.pool.clone(), target.clone());
                let begin = Instant::now() + EVERY * number / CLIENTS;
                let client = load.clients.len();
                let client = move || match target.way.how {
                    How::Open => stay_connected(&pool, &target, client, begin),
                    How::Ask | How::Connect => ask_again_and_again(&pool, &target, begin),
                };
                let client = defect::spawn_thread("client", Some(STACK), client)?;
                load.clients.push(client);
            }
        }
        Ok(load)
    }

    /// Ends the clients of an address that hotrun has let go of.
    pub(super) fn release(&self, target: usize) {
        if let Some(released) = self.pool.released.get(target) {
            released.store(true, Ordering::Relaxed);
        }
    }

    /// What was answered over HTTP so far.
    pub(super) fn statuses(&self) -> Statuses {
        statuses(self.requests(&self.pool.seen()))
    }

    /// The requests that count so far.
    fn requests<'a>(&self, seen: &'a Seen) -> impl Iterator<Item = &'a Request> + Clone {
        let pool = &self.pool;
        let counts = move |request: &&Request| !pool.is_released(request.target);
        seen.requests.iter().filter(counts)
    }

    /// How many requests there were so far, and how many of them were lost.
    pub(super) fn count(&self) -> (usize, usize) {
        let seen = self.pool.seen();
        let requests = self.requests(&seen);
        let lost = requests.clone().filter(|request| request.outcome.is_err());
        (requests.count(), lost.count())
    }

    /// Waits for the requests that are under way; everything that clients saw. Blocking. An error is the
    /// panic of a client, whose requests are not all known.
    pub(super) fn finish(mut self) -> Result<Seen, String> {
        self.pool.closed.store(true, Ordering::Relaxed);
        for client in mem::take(&mut self.clients) {
            client.join().unwrap_or_else(|_| Err("no message".into()))?;
        }
        Ok(mem::take(&mut *self.pool.seen()))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.pool.closed.store(true, Ordering::Relaxed);
    }
}

fn ask_again_and_again(pool: &ClientPool, target: &Target, mut due: Instant) {
    // Signals are for the main thread, and must not interrupt a connection.
    signals::leave_to_other_threads();
    loop {
        defect::point("client");
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if pool.is_closed(target.number) {
            return;
        }
        due = Instant::now() + EVERY;
        let request = ask(pool, target);
        pool.seen().requests.push(request);
    }
}

fn ask(pool: &ClientPool, target: &Target) -> Request {
    let begun = pool.start.elapsed();
    let mut looking = Duration::ZERO;
    let mut seen = None;
    let mut talk = || -> Result<Answer, Loss> {
        let mut talk = Talk::begin(&target.at, target.way.tls.as_ref())?;
        let (connected, ends) = (pool.start.elapsed(), talk.ends());
        seen = pool.witness.whose(ends);
        // A client that was not accepted meanwhile has waited for that, not for the look.
        if seen.is_some() {
            looking = pool.start.elapsed().saturating_sub(connected);
        }
        talk.finish(target.way.how, &target.request, || {
            seen = seen.or_else(|| pool.witness.glance(ends?));
            seen.is_none()
        })
    };
    let outcome = talk();
    let ended = pool.start.elapsed();
    Request {
        target: target.number,
        begun,
        ended,
        took: ended.saturating_sub(begun + looking),
        outcome,
        seen,
    }
}

/// Keeps a WebSocket open, and opens another one whenever it ends.
fn stay_connected(pool: &ClientPool, target: &Target, client: usize, mut due: Instant) {
    signals::leave_to_other_threads();
    let mut ended = false;
    loop {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let was_closed = pool.is_closed(target.number);
        // One that has just ended is opened again first, as that counts.
        if was_closed && !ended {
            return;
        }
        due = Instant::now() + EVERY;
        let (request, socket) = open(pool, target);
        pool.seen().requests.push(request);
        let Some(mut socket) = socket else {
            if was_closed {
                return;
            }
            continue;
        };
        let end = loop {
            if pool.is_closed(target.number) {
                socket.close();
                break None;
            }
            if let Some(end) = socket.end_within(EVERY) {
                break Some(end);
            }
        };
        let seen = request.seen;
        pool.seen().lifetimes.push(Lifetime {
            target: target.number,
            client,
            seen,
            end,
        });
        ended = end.is_some();
    }
}

fn open(pool: &ClientPool, target: &Target) -> (Request, Option<WebSocket>) {
    let begun = pool.start.elapsed();
    let mut ends = None;
    let talk = Talk::begin(&target.at, target.way.tls.as_ref());
    let opened = talk.and_then(|talk| {
        ends = talk.ends();
        talk.open(&target.url)
    });
    let ended = pool.start.elapsed();
    let request = Request {
        target: target.number,
        begun,
        ended,
        took: ended.saturating_sub(begun),
        outcome: opened
            .as_ref()
            .map(|_| Answer::Opened)
            .map_err(|loss| *loss),
        // It was accepted, and stays open.
        seen: ends.and_then(|ends| pool.witness.glance(ends)),
    };
    (request, opened.ok())
}
