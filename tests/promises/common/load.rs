//! Clients that connect at a fixed rate, whatever becomes of those before them.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use super::client::{self, Answer, At, Outcome, Wish};
use super::{now, wait_until};

/// The body of every other request of [`Kind::Mixed`].
const UPLOAD: usize = 16 * 1024;

/// What the clients request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `GET /`.
    Get,
    /// `GET` of a page that takes so many milliseconds.
    Slow(u32),
    /// `GET /` and `POST /` in turn.
    Mixed,
    /// Nothing: the server speaks first.
    Nothing,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    /// When its connection was begun.
    pub(crate) opened: Instant,
    /// When it ended.
    pub(crate) ended: Instant,
    /// Its outcome.
    pub(crate) outcome: Outcome,
    /// The client's port, if it was connected by TCP.
    pub(crate) port: Option<u16>,
}

impl Exchange {
    /// The whole answer, if there was one.
    pub(crate) fn answer(&self) -> Option<&Answer> {
        match &self.outcome {
            Outcome::Answer(answer) => Some(answer),
            _ => None,
        }
    }
}

/// The right to load the machine, which one test has at a time: two loads would starve each other, and
/// the tests would measure the machine.
struct Turn;

/// The thread of the test that has the right, and for how many loads.
static TURN: (Mutex<Option<(ThreadId, usize)>>, Condvar) = (Mutex::new(None), Condvar::new());

impl Turn {
    /// Waits for the right, unless this test already has it.
    fn take() -> Self {
        let own = thread::current().id();
        let (turn, given) = &TURN;
        let turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let another =
            |turn: &mut Option<(ThreadId, usize)>| turn.is_some_and(|(owner, _)| owner != own);
        let turn = given.wait_while(turn, another);
        let mut turn = turn.unwrap_or_else(PoisonError::into_inner);
        let loads = turn.map_or(0, |(_, loads)| loads);
        *turn = Some((own, loads + 1));
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (turn, given) = &TURN;
        let mut turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        *turn = turn
            .filter(|(_, loads)| *loads > 1)
            .map(|(owner, loads)| (owner, loads - 1));
        given.notify_all();
    }
}

/// Clients that go on until they are stopped.
pub(crate) struct Load {
    _turn: Turn,
    stop: Arc<AtomicBool>,
    done: Arc<Mutex<Vec<Exchange>>>,
    gate: Option<JoinHandle<()>>,
}

impl Load {
    /// Starts so many new connections per second.
    pub(crate) fn start(at: impl Into<At>, per_second: u32, kind: Kind) -> Self {
        let turn = Turn::take();
        let at = at.into();
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(Mutex::new(Vec::new()));
        let gate = {
            let (stop, done) = (stop.clone(), done.clone());
            thread::spawn(move || send(&at, per_second, kind, &stop, &done))
        };
        Self {
            _turn: turn,
            stop,
            done,
            gate: Some(gate),
        }
    }

    /// How many requests have ended.
    pub(crate) fn count(&self) -> usize {
        self.done.lock().unwrap().len()
    }

    /// Waits until so many more have ended.
    #[track_caller]
    pub(crate) fn wait_more(&self, more: usize) {
        let goal = self.count() + more;
        wait_until("more answers", || (self.count() >= goal).then_some(()));
    }

    /// Waits for requests in flight; returns all requests in the order of their beginning.
    pub(crate) fn stop(mut self) -> Outcomes {
        self.stop.store(true, Ordering::Relaxed);
        self.gate.take().unwrap().join().unwrap();
        let mut exchanges = std::mem::take(&mut *self.done.lock().unwrap());
        exchanges.sort_by_key(|exchange| exchange.opened);
        Outcomes(exchanges)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn send(at: &At, per_second: u32, kind: Kind, stop: &AtomicBool, done: &Arc<Mutex<Vec<Exchange>>>) {
    let start = now();
    let mut clients: Vec<JoinHandle<()>> = Vec::new();
    for number in 0.. {
        let due = start + Duration::from_secs(1) * number / per_second;
        thread::sleep(due.saturating_duration_since(now()));
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (at, done) = (at.clone(), done.clone());
        let upload = kind == Kind::Mixed && number % 2 == 1;
        clients.push(thread::spawn(move || {
            let opened = now();
            let slow;
            let wish = match kind {
                Kind::Nothing => Wish::Greeting,
                Kind::Slow(ms) => {
                    slow = format!("/slow?ms={ms}");
                    Wish::Get(&slow)
                }
                _ if upload => Wish::Post(UPLOAD),
                _ => Wish::Get("/"),
            };
            let (outcome, port) = client::ask(&at, wish);
            let ended = now();
            let outcome = if upload { checked(outcome) } else { outcome };
            done.lock().unwrap().push(Exchange {
                opened,
                ended,
                outcome,
                port,
            });
        }));
        clients.retain(|client| !client.is_finished());
    }
    for client in clients {
        client.join().unwrap();
    }
}

/// An app that did not get the whole body answers with another length.
fn checked(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Answer(answer) if !answer.body.ends_with(&format!(" {UPLOAD}\n")) => {
            Outcome::Other(format!("an answer to half a request: {}", answer.body))
        }
        other => other,
    }
}

/// All outcomes of a load.
pub(crate) struct Outcomes(pub(crate) Vec<Exchange>);

impl Outcomes {
    /// How many ended in each way, for messages.
    pub(crate) fn summary(&self) -> String {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for exchange in &self.0 {
            let name = match &exchange.outcome {
                Outcome::Answer(answer) => format!("g{:03}", answer.generation),
                other => format!("{other:?}"),
            };
            *counts.entry(name).or_default() += 1;
        }
        let slowest = self
            .0
            .iter()
            .map(|exchange| exchange.ended - exchange.opened);
        let slowest = slowest.max().unwrap_or_default();
        format!("{} requests {counts:?}, slowest {slowest:?}", self.0.len())
    }

    /// The figures of a long run, in one line.
    pub(crate) fn figures(&self) -> Figures {
        let took = |exchange: &Exchange| exchange.ended - exchange.opened;
        Figures {
            requests: self.0.len(),
            refused: self.count(|outcome| *outcome == Outcome::Refused),
            timed_out: self.count(|outcome| *outcome == Outcome::TimedOut),
            reset: self.count(|outcome| *outcome == Outcome::Reset),
            other: self.count(|outcome| matches!(outcome, Outcome::Other(_))),
            stale: self.stale(),
            slowest: self.0.iter().map(took).max().unwrap_or_default(),
        }
    }

    /// How many ended like this.
    pub(crate) fn count(&self, is: impl Fn(&Outcome) -> bool) -> usize {
        self.0
            .iter()
            .filter(|exchange| is(&exchange.outcome))
            .count()
    }

    /// How many connections that began after an answer of one generation were answered by an older one.
    pub(crate) fn stale(&self) -> usize {
        self.stale_ones().len()
    }

    /// Those connections, each with the generation that was known when it began.
    pub(crate) fn stale_ones(&self) -> Vec<(&Exchange, u32)> {
        let mut answered: Vec<(Instant, u32)> = self
            .0
            .iter()
            .filter_map(|exchange| Some((exchange.ended, exchange.answer()?.generation)))
            .collect();
        answered.sort_unstable();
        let mut newest = 0;
        let steps: Vec<(Instant, u32)> = answered
            .into_iter()
            .map(|(at, generation)| {
                newest = newest.max(generation);
                (at, newest)
            })
            .collect();
        let known = |at: Instant| match steps.partition_point(|(step, _)| *step < at) {
            0 => 0,
            after => steps[after - 1].1,
        };
        let is_stale = |exchange: &Exchange, known: u32| {
            exchange
                .answer()
                .is_some_and(|answer| answer.generation < known)
        };
        self.0
            .iter()
            .map(|exchange| (exchange, known(exchange.opened)))
            .filter(|(exchange, known)| is_stale(exchange, *known))
            .collect()
    }

    /// Checks that every request got a whole answer.
    #[track_caller]
    pub(crate) fn assert_all_answered(&self) {
        let answered = self.count(|outcome| matches!(outcome, Outcome::Answer(_)));
        assert_eq!(answered, self.0.len(), "{}", self.summary());
    }

    /// Checks that no connection was refused and none waited in vain.
    #[track_caller]
    pub(crate) fn assert_none_refused(&self) {
        let lost = self.count(|outcome| {
            matches!(
                outcome,
                Outcome::Refused | Outcome::TimedOut | Outcome::Other(_)
            )
        });
        assert_eq!(lost, 0, "{}", self.summary());
    }
}

/// What became of many requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) requests: usize,
    pub(crate) refused: usize,
    pub(crate) timed_out: usize,
    pub(crate) reset: usize,
    pub(crate) other: usize,
    pub(crate) stale: usize,
    pub(crate) slowest: Duration,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests: {} refused, {} timed out, {} reset, {} other, {} stale, slowest {:?}",
            self.requests,
            self.refused,
            self.timed_out,
            self.reset,
            self.other,
            self.stale,
            self.slowest
        )
    }
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.refused += other.refused;
        self.timed_out += other.timed_out;
        self.reset += other.reset;
        self.other += other.other;
        self.stale += other.stale;
        self.slowest = self.slowest.max(other.slowest);
    }
}
