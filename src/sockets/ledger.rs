//! What hotrun knows by itself of the connections that it makes to the app (`steering = "relay"`), in the terms
//! of the kernel's own report, for systems whose kernel reports nothing of the kind.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::sys::connections::{CLOSE_WAIT, ESTABLISHED, Entry, SYN_RECEIVED, Traffic};

/// The open connections; clones are the same ledger.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    next: u64,
    open: BTreeMap<u64, Line>,
}

/// What is written down of one connection.
#[derive(Debug)]
struct Line {
    to: SocketAddr,
    state: u8,
    from_client: Way,
    to_client: Way,
}

/// What has gone one way, from the client or to it.
#[derive(Debug)]
struct Way {
    segments: u32,
    /// The last one; when the connection was made if there is none.
    last: Instant,
}

/// A connection to the app, as long as it is open. What it carries is reported by the task that carries it.
#[derive(Debug)]
pub struct Entered {
    ledger: Ledger,
    number: u64,
}

impl Ledger {
    /// A connection to this address is being made.
    pub(super) fn enter(&self, to: SocketAddr) -> Entered {
        let mut lines = self.lock();
        let number = lines.next;
        lines.next += 1;
        let now = || Way {
            segments: 0,
            last: Instant::now(),
        };
        let line = Line {
            to,
            state: SYN_RECEIVED,
            from_client: now(),
            to_client: now(),
        };
        lines.open.insert(number, line);
        Entered {
            ledger: self.clone(),
            number,
        }
    }

    /// The connections to this address.
    pub(super) fn entries(&self, to: SocketAddr) -> Vec<Entry> {
        let lines = self.lock();
        let open = lines.open.iter().filter(|(_, line)| line.to == to);
        let entry = |(number, line): (&u64, &Line)| Entry {
            state: line.state,
            cookie: *number,
            // Whether the app has accepted it is not known.
            inode: 0,
            // What the app has not read is a request without an answer, which is seen.
            waiting: 0,
            unsent: 0,
            traffic: Traffic {
                segments_received: line.from_client.segments,
                segments_sent: line.to_client.segments,
                since_received: line.from_client.last.elapsed(),
                since_sent: line.to_client.last.elapsed(),
                round_trip: Duration::ZERO,
            },
        };
        open.map(entry).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Way {
    fn goes_on(&mut self) {
        self.segments = self.segments.saturating_add(1);
        self.last = Instant::now();
    }
}

impl Entered {
    /// It is made.
    pub fn connected(&self) {
        self.change(|line| line.state = ESTABLISHED);
    }

    /// Something of the client's was passed on.
    pub fn asked(&self) {
        self.change(|line| line.from_client.goes_on());
    }

    /// The app has sent something.
    pub fn answered(&self) {
        self.change(|line| line.to_client.goes_on());
    }

    /// The app was told that the client sends no more.
    pub fn ended(&self) {
        self.change(|line| line.state = CLOSE_WAIT);
    }

    fn change(&self, change: impl FnOnce(&mut Line)) {
        if let Some(line) = self.ledger.lock().open.get_mut(&self.number) {
            change(line);
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.ledger.lock().open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::busy::{Activity, Limits};
    use super::*;

    /// What each connection is doing, by the rules for what the kernel reports.
    #[tokio::test(start_paused = true)]
    async fn a_connection_is_busy_while_a_request_is_not_answered() {
        let limits = Limits {
            finishes: false,
            silent: Duration::from_millis(250),
            answer: Duration::from_secs(5),
        };
        let ledger = Ledger::default();
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let activity = || {
            let entries = ledger.entries(to);
            assert_eq!(entries.len(), 1);
            Activity::of(&entries[0], Duration::ZERO, limits)
        };
        let pass = |ms| tokio::time::advance(Duration::from_millis(ms));
        let line = ledger.enter(to);
        assert_eq!(activity(), Activity::Busy);
        line.connected();
        assert_eq!(activity(), Activity::Busy);
        // Nothing comes.
        pass(300).await;
        assert_eq!(activity(), Activity::Idle);
        line.asked();
        pass(1500).await;
        assert_eq!(activity(), Activity::Busy);
        line.answered();
        pass(200).await;
        assert_eq!(activity(), Activity::Idle);
        // The next request.
        line.asked();
        pass(1).await;
        assert_eq!(activity(), Activity::Busy);
        for _ in 0..5 {
            pass(500).await;
            line.answered();
        }
        pass(10).await;
        assert_eq!(activity(), Activity::Stream);
        line.ended();
        assert_eq!(ledger.entries(to)[0].state, CLOSE_WAIT);
        assert!(ledger.entries((Ipv4Addr::LOCALHOST, 2).into()).is_empty());
        drop(line);
        assert!(ledger.entries(to).is_empty());
    }
}
