//! The clients: a few for each address, each on a thread of its own, one request after the other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{io, mem};

use nix::sys::signal::SigSet;
use tokio::time::Instant;

use super::account::{Answer, Request};
use super::facts::{CLIENTS, EVERY, Loss};
use super::talk::Talk;
use super::target::Target;
use super::witness::Witness;
use crate::defect;

/// Enough for a client.
const STACK: usize = 256 * 1024;

/// Where clients report, and see whether they are to go on.
#[derive(Debug)]
struct ClientPool {
    /// When all clocks begin.
    start: Instant,
    witness: Arc<Witness>,
    closed: AtomicBool,
    requests: Mutex<Vec<Request>>,
}

impl ClientPool {
    fn requests(&self) -> MutexGuard<'_, Vec<Request>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
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
            requests: Mutex::new(Vec::new()),
        });
        let mut load = Self {
            pool,
            clients: Vec::new(),
        };
        for target in targets {
            for number in 0..CLIENTS {
                let (pool, target) = (load.pool.clone(), target.clone());
                let begin = Instant::now() + EVERY * number / CLIENTS;
                let client = move || ask_again_and_again(&pool, &target, begin);
                let client = defect::spawn_thread("client", Some(STACK), client)?;
                load.clients.push(client);
            }
        }
        Ok(load)
    }

    /// How many requests there were so far, and how many of them were lost.
    pub(super) fn count(&self) -> (usize, usize) {
        let requests = self.pool.requests();
        let lost = requests.iter().filter(|request| request.outcome.is_err());
        (requests.len(), lost.count())
    }

    /// Waits for the requests that are under way; every one that was made. Blocking. An error is the
    /// panic of a client, whose requests are not all known.
    pub(super) fn finish(mut self) -> Result<Vec<Request>, String> {
        self.pool.closed.store(true, Ordering::Relaxed);
        for client in mem::take(&mut self.clients) {
            client.join().unwrap_or_else(|_| Err("no message".into()))?;
        }
        Ok(mem::take(&mut *self.pool.requests()))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.pool.closed.store(true, Ordering::Relaxed);
    }
}

fn ask_again_and_again(pool: &ClientPool, target: &Target, mut due: Instant) {
    // Signals are for the main thread, and must not interrupt a connection.
    SigSet::all().thread_block().ok();
    loop {
        defect::point("client");
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if pool.closed.load(Ordering::Relaxed) {
            return;
        }
        due = Instant::now() + EVERY;
        let request = ask(pool, target);
        pool.requests().push(request);
    }
}

fn ask(pool: &ClientPool, target: &Target) -> Request {
    let begun = pool.start.elapsed();
    let mut looking = Duration::ZERO;
    let mut seen = None;
    let mut talk = || -> Result<Answer, Loss> {
        let mut talk = Talk::begin(&target.at)?;
        let (connected, ends) = (pool.start.elapsed(), talk.ends());
        seen = pool.witness.whose(ends);
        // A client that was not accepted meanwhile has waited for that, not for the look.
        if seen.is_some() {
            looking = pool.start.elapsed().saturating_sub(connected);
        }
        talk.finish(target.how, &target.request, || {
            seen = seen.or_else(|| pool.witness.glance(ends?));
            seen.is_none()
        })
    };
    let outcome = talk();
    let ended = pool.start.elapsed();
    Request {
        begun,
        ended,
        took: ended.saturating_sub(begun + looking),
        outcome,
        seen,
    }
}
