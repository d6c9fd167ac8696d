//! Clients of several kinds, and the outcomes of their requests.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use crate::Result;
use crate::http::{self, Answer, Loss};
use crate::stats::ms;

/// The stack of a client's thread.
const STACK: usize = 128 * 1024;
/// A client gives up after this time.
pub(crate) const LIMIT: Duration = Duration::from_secs(5);

/// One request.
#[derive(Clone, Copy, Debug)]
struct Record {
    /// When it was to be sent: a late client must not hide a slow server.
    due: Instant,
    opened: Instant,
    ended: Instant,
    result: Result<Answer, Loss>,
    /// It was sent over a connection that had carried a request before.
    reused: bool,
}

/// The outcomes of all requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    records: Vec<Record>,
}

impl Tally {
    /// How many requests there were.
    pub(crate) fn asked(&self) -> usize {
        self.records.len()
    }

    /// How many were not answered for this reason.
    pub(crate) fn of(&self, loss: Loss) -> usize {
        self.count(|record| record.result == Err(loss))
    }

    /// How many were not answered.
    pub(crate) fn lost(&self) -> usize {
        self.count(|record| record.result.is_err())
    }

    /// How many were not answered over a connection that had carried one before.
    pub(crate) fn lost_reused(&self) -> usize {
        self.count(|record| record.reused && record.result.is_err())
    }

    /// How many were answered in time, in percent.
    #[expect(clippy::cast_precision_loss, reason = "a few thousand requests")]
    pub(crate) fn answered(&self) -> f64 {
        100.0 * (self.asked() - self.lost()) as f64 / self.asked() as f64
    }

    fn count(&self, which: impl Fn(&Record) -> bool) -> usize {
        self.records.iter().filter(|record| which(record)).count()
    }

    /// The slowest answer in milliseconds, counted from when the request was to be sent.
    pub(crate) fn slowest(&self) -> f64 {
        let answered = self.records.iter().filter(|record| record.result.is_ok());
        let times = answered.map(|record| ms(record.ended - record.due));
        times.fold(0.0, f64::max)
    }

    /// Answers of an older generation over connections that were opened after an answer of a
    /// newer one had been received.
    pub(crate) fn stale(&self) -> usize {
        let generation = |record: &Record| record.result.ok().map(|answer| answer.generation);
        let mut received: Vec<(Instant, u32)> = self
            .records
            .iter()
            .filter_map(|record| Some((record.ended, generation(record)?)))
            .collect();
        received.sort_unstable();
        let mut newest = 0;
        for (_, generation) in &mut received {
            newest = newest.max(*generation);
            *generation = newest;
        }
        let known = |at: Instant| {
            let before = received.partition_point(|(ended, _)| *ended < at);
            before.checked_sub(1).map_or(0, |last| received[last].1)
        };
        self.count(|record| {
            !record.reused && generation(record).is_some_and(|own| own < known(record.opened))
        })
    }
}

/// The shared state of clients: their results, and whether they may go on.
#[derive(Debug, Default)]
struct ClientPool {
    closed: AtomicBool,
    records: Mutex<Vec<Record>>,
}

impl ClientPool {
    fn open(&self) -> bool {
        !self.closed.load(Ordering::Relaxed)
    }

    fn take(&self, record: Record) {
        if let Ok(mut records) = self.records.lock() {
            records.push(record);
        }
    }

    fn tally(self) -> Result<Tally> {
        let records = self.records.into_inner();
        let records = records.map_err(|_| "a client broke down")?;
        Ok(Tally { records })
    }
}

/// Closes the pool on every way out, or clients would go on for ever.
struct Closing<'a>(&'a ClientPool);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Relaxed);
    }
}

fn spawn<'s>(scope: &'s Scope<'s, '_>, run: impl FnOnce() + Send + 's) -> Result<()> {
    thread::Builder::new()
        .stack_size(STACK)
        .spawn_scoped(scope, run)?;
    Ok(())
}

fn sleep_until(due: Instant) {
    thread::sleep(due.saturating_duration_since(Instant::now()));
}

/// One request over a connection of its own.
fn fresh(address: SocketAddr, request: &[u8], due: Instant, limit: Duration) -> Record {
    let opened = Instant::now();
    let result = http::ask(address, request, limit);
    Record {
        due,
        opened,
        ended: Instant::now(),
        result,
        reused: false,
    }
}

/// `rate` new connections per second while `work` runs, every second one an upload. Each is a client of
/// its own, so that none waits for another.
pub(crate) fn connections<T>(
    address: SocketAddr,
    rate: u32,
    limit: Duration,
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, Tally)> {
    let pool = ClientPool::default();
    let requests = [http::get_of("/", true), http::post()];
    let (clients, requests) = (&pool, &requests);
    let done = thread::scope(|scope| {
        let _closing = Closing(clients);
        spawn(scope, move || {
            let start = Instant::now();
            for (number, request) in (0..).zip(requests.iter().cycle()) {
                let due = start + Duration::from_secs(1) * number / rate;
                sleep_until(due);
                if !clients.open() {
                    break;
                }
                let client = move || clients.take(fresh(address, request, due, limit));
                if spawn(scope, client).is_err() {
                    break;
                }
            }
        })?;
        work()
    })?;
    Ok((done, pool.tally()?))
}

/// `count` clients that request `path` again and again while `work` runs, each time over a new
/// connection.
pub(crate) fn in_flight<T>(
    address: SocketAddr,
    count: usize,
    path: &str,
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, Tally)> {
    let pool = ClientPool::default();
    let request = http::get_of(path, true);
    let (clients, request) = (&pool, &request);
    let done = thread::scope(|scope| {
        let _closing = Closing(clients);
        for _ in 0..count {
            spawn(scope, move || {
                while clients.open() {
                    let record = fresh(address, request, Instant::now(), LIMIT);
                    if record.result.is_err() {
                        // While connections are refused, don't retry at once.
                        thread::sleep(Duration::from_millis(20));
                    }
                    clients.take(record);
                }
            })?;
        }
        work()
    })?;
    Ok((done, pool.tally()?))
}

/// `rate` requests per second while `work` runs, over `count` connections that are kept for as long as
/// the server keeps them.
pub(crate) fn keep_alive<T>(
    address: SocketAddr,
    count: u32,
    rate: u32,
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, Tally)> {
    let pool = ClientPool::default();
    let request = http::get_of("/", false);
    let (clients, request) = (&pool, &request);
    let start = Instant::now();
    let done = thread::scope(|scope| {
        let _closing = Closing(clients);
        for first in 0..count {
            spawn(scope, move || {
                let mut kept = None;
                for round in 0.. {
                    let due = start + Duration::from_secs(1) * (round * count + first) / rate;
                    sleep_until(due);
                    if !clients.open() {
                        break;
                    }
                    clients.take(over_kept(address, &mut kept, request, due));
                }
            })?;
        }
        work()
    })?;
    Ok((done, pool.tally()?))
}

/// How many requests per second are answered to `count` clients that each ask again at once, over one
/// connection, for as long as `window`.
#[expect(
    clippy::cast_precision_loss,
    reason = "a few hundred thousand requests"
)]
pub(crate) fn saturate(
    address: SocketAddr,
    request: &[u8],
    count: usize,
    window: Duration,
) -> Result<f64> {
    let start = Instant::now();
    let client = || -> Result<usize> {
        let failed = |loss| format!("a client got no answer: {loss:?}");
        let mut stream = http::connect(address, LIMIT).map_err(failed)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut answers = 0;
        while start.elapsed() < window {
            http::exchange_any(&mut stream, request)?;
            answers += 1;
        }
        Ok(answers)
    };
    let answers = thread::scope(|scope| {
        let clients: Vec<_> = (0..count).map(|_| scope.spawn(client)).collect();
        let ended = clients.into_iter().map(thread::ScopedJoinHandle::join);
        let answers = ended.map(|ended| ended.map_err(|_| "a client broke down")?);
        answers.sum::<Result<usize>>()
    })?;
    Ok(answers as f64 / start.elapsed().as_secs_f64())
}

/// One request over the connection that is kept, or over a new one where it was closed.
fn over_kept(
    address: SocketAddr,
    kept: &mut Option<TcpStream>,
    request: &[u8],
    due: Instant,
) -> Record {
    let opened = Instant::now();
    let usable = kept.take().filter(still_open);
    let reused = usable.is_some();
    let ask = || {
        let mut stream = match usable {
            Some(stream) => stream,
            None => http::connect(address, LIMIT)?,
        };
        let answer = http::exchange(&mut stream, request, opened + LIMIT)?;
        Ok((answer, stream))
    };
    let result = match ask() {
        Ok((answer, stream)) => {
            *kept = (!answer.last).then_some(stream);
            Ok(answer)
        }
        Err(loss) => Err(loss),
    };
    Record {
        due,
        opened,
        ended: Instant::now(),
        result,
        reused,
    }
}

/// The server has not closed the connection, which every client checks before it uses one again.
fn still_open(stream: &TcpStream) -> bool {
    let peek = || {
        stream.set_nonblocking(true)?;
        let peeked = stream.peek(&mut [0]);
        stream.set_nonblocking(false)?;
        peeked
    };
    matches!(peek(), Err(error) if error.kind() == ErrorKind::WouldBlock)
}
