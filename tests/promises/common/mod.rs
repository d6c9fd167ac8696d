//! What every promise test needs: a project in a directory of its own, a hotrun in it, clients of its
//! app, and the list of processes.
//!
//! No test sleeps and hopes. A test waits for a fact: an event of hotrun, an answer, a process that is
//! gone. If the fact does not come true within [`LIMIT`], the test fails, and all events and all of
//! hotrun's output are printed.

pub(crate) mod chromium;
pub(crate) mod client;
pub(crate) mod datagrams;
pub(crate) mod hotrun;
pub(crate) mod load;
pub(crate) mod processes;
pub(crate) mod project;
pub(crate) mod row;
pub(crate) mod terminal;
mod warm;
pub(crate) mod wine;

use std::env;
use std::fmt::Debug;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use client::{Outcome, get};
pub(crate) use datagrams::Datagrams;
pub(crate) use hotrun::{Hotrun, Run};
pub(crate) use load::Load;
pub(crate) use project::Project;

/// How long a fact may take to come true, on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// The pause between two checks.
const LOOK: Duration = Duration::from_millis(4);

/// The address option of most tests: the port is chosen by the system, and named in the `held` event.
pub(crate) const ANY: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// An address that is free: every test gets its own loopback address, and the port is not in the range
/// that the system gives to clients.
pub(crate) fn own_address() -> SocketAddr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id() * 61 + COUNT.fetch_add(1, Ordering::Relaxed);
    let [_, _, high, low] = number.to_be_bytes();
    (Ipv4Addr::new(127, 1 + high % 250, low, 9), 4711).into()
}

/// A port that is free on all interfaces, below the range that the system gives to clients.
pub(crate) fn own_port() -> u16 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let free = |number: u32| {
        let port = u16::try_from(10_000 + number % 20_000).unwrap();
        TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
            .ok()
            .map(|_| port)
    };
    let first = std::process::id() * 61;
    let mut ports = std::iter::repeat_with(|| COUNT.fetch_add(1, Ordering::Relaxed) + first);
    ports.find_map(free).unwrap()
}

/// The time.
#[expect(
    clippy::disallowed_methods,
    reason = "tests measure hotrun from outside"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Checks until there is a result; `what` names it if it does not come in time.
#[track_caller]
pub(crate) fn wait_until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_within(LIMIT, what, look)
}

/// Checks until there is a result, for a promise with a time limit.
#[track_caller]
pub(crate) fn wait_within<T>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> Option<T>,
) -> T {
    let start = now();
    loop {
        // The clock is read first: a check that succeeds late is late.
        let late = start.elapsed() > limit;
        if let Some(seen) = look() {
            return seen;
        }
        assert!(!late, "waited {limit:?} in vain for: {what}");
        thread::sleep(LOOK);
    }
}

/// Numbers that look random and are the same in every run (xorshift, G. Marsaglia 2003).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    /// The next one, from 0 on.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// How large a test is to be: the value of this variable, or what is enough to see that it still works.
pub(crate) fn size_of_test<T: FromStr<Err: Debug>>(variable: &str, small: T) -> T {
    env::var(variable).map_or(small, |text| text.parse().unwrap())
}

/// The most memory that a process has had so far, in KiB.
pub(crate) fn most_memory(pid: i32) -> u64 {
    let status = procfs::process::Process::new(pid).unwrap().status();
    status.unwrap().vmhwm.unwrap()
}

/// Numbers for the log of a test that passes, seen with `--nocapture`.
#[expect(clippy::print_stdout, reason = "the output of a test")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}
