//! When an old generation may get its stop signal: when everything on its way to it has arrived, and
//! none of its connections has a request in flight. A server that gets the signal drops a connection
//! that it has accepted and not read from, never sees one that is still in the accept queue, and, if it
//! does not catch the signal, cuts every request that it has not answered.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::busy::Activity;
use super::ledger::Ledger;
use crate::defect;
use crate::sys::connections::{self, ESTABLISHED, Entry, LISTENING};

pub use super::busy::Limits;

/// Between two dumps of the kernel's connections, at first and later; a dump takes a millisecond, since
/// the kernel goes through all its connections.
const INTERVAL: Duration = Duration::from_millis(4);
const LATER_INTERVAL: Duration = Duration::from_millis(20);

/// One slot of the old generation.
#[derive(Clone, Debug)]
pub struct OldSlot {
    /// The inode of its socket.
    pub inode: u64,
    /// Its address; `None` for a unix socket.
    pub address: Option<SocketAddr>,
    /// What hotrun knows of the connections that it has made there itself, if no others are: so all are this
    /// slot's, also those that come now.
    pub relayed: Option<Ledger>,
}

impl OldSlot {
    /// Hotrun has closed all connections to it that had no request; so one that is still silent has one
    /// that is about to come, however busy the machine is.
    fn limits(&self, limits: Limits) -> Limits {
        Limits {
            silent: if self.relayed.is_some() {
                limits.answer
            } else {
                limits.silent
            },
            ..limits
        }
    }
}

/// How many connections must not be cut, and how many are streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Something is on its way there, or a request is not answered.
    pub busy: usize,
    /// They don't end by themselves.
    pub streams: usize,
}

/// Watches all connections to the addresses of a generation.
#[derive(Debug)]
pub struct Quiesce {
    slots: Vec<(OldSlot, Connections)>,
    start: Instant,
    first: Vec<Dump>,
}

/// What the kernel reports for one slot.
#[derive(Debug)]
enum Dump {
    Tcp(Vec<Entry>),
    Unix(u32),
}

impl Quiesce {
    /// To be called right after the switch: the connections of that moment are the old ones. An error
    /// means that they can't be known.
    pub async fn begin(slots: Vec<OldSlot>) -> io::Result<Self> {
        let start = Instant::now();
        let first = dump(slots.clone()).await?;
        let slots = slots.into_iter().map(|slot| (slot, Connections::default()));
        Ok(Self {
            slots: slots.collect(),
            start,
            first,
        })
    }

    /// Waits until none of them is busy; the caller sets the time limit. Calls `tell` with what is open
    /// at first, and whenever that changes.
    pub async fn wait(mut self, limits: Limits, mut tell: impl FnMut(Open)) -> io::Result<()> {
        let mut seen = std::mem::take(&mut self.first);
        let mut told = None;
        loop {
            let watched = self.start.elapsed();
            let open = self.take(seen, watched, limits);
            if told != Some(open) {
                told = Some(open);
                tell(open);
            }
            if open.busy == 0 {
                return Ok(());
            }
            tokio::time::sleep((watched / 16).clamp(INTERVAL, LATER_INTERVAL)).await;
            seen = dump(self.slots.iter().map(|(slot, _)| slot.clone()).collect()).await?;
        }
    }

    fn take(&mut self, seen: Vec<Dump>, watched: Duration, limits: Limits) -> Open {
        let mut all = Open::default();
        for ((slot, connections), seen) in self.slots.iter_mut().zip(seen) {
            let limits = slot.limits(limits);
            let open = match seen {
                Dump::Tcp(entries) => connections.take(&entries, slot, watched, limits),
                Dump::Unix(queued) => connections.take_queue(queued),
            };
            all.busy += open.busy;
            all.streams += open.streams;
        }
        all
    }
}

/// On a thread of its own, since the dump would block the runtime.
async fn dump(slots: Vec<OldSlot>) -> io::Result<Vec<Dump>> {
    let dump = move || {
        defect::point("dump of connections");
        let seen = slots.iter().map(|slot| match slot.address {
            Some(address) => connections_to(address, slot.relayed.as_ref()).map(Dump::Tcp),
            None => connections::queued(slot.inode).map(Dump::Unix),
        });
        seen.collect()
    };
    defect::spawn_blocking("dump of connections", dump)
        .done()
        .await?
}

/// All connections to an address: by the kernel, which knows most, else by hotrun, which has made them.
fn connections_to(address: SocketAddr, relayed: Option<&Ledger>) -> io::Result<Vec<Entry>> {
    match (connections::dump(address), relayed) {
        (Err(error), Some(ledger)) if error.kind() == io::ErrorKind::Unsupported => {
            Ok(ledger.entries(address))
        }
        (found, _) => found,
    }
}

/// The connections of one slot.
#[derive(Debug, Default)]
struct Connections {
    /// The cookies of those that were there at first and still matter.
    known: Option<HashSet<u64>>,
    /// Connections that were unaccepted at the last dump while this slot's queue was empty: so they are
    /// in the other slot's queue, for the next generation.
    other_queue: HashSet<u64>,
}

impl Connections {
    /// Takes in a dump of all connections at the address of this slot.
    fn take(
        &mut self,
        entries: &[Entry],
        slot: &OldSlot,
        watched: Duration,
        limits: Limits,
    ) -> Open {
        let own = |entry: &&Entry| entry.state == LISTENING && u64::from(entry.inode) == slot.inode;
        let queued = entries.iter().find(own).map_or(0, |own| own.waiting);
        let unaccepted = entries.iter().filter(|entry| is_unaccepted(entry));
        let waits = if queued == 0 {
            unaccepted.map(|entry| entry.cookie).collect()
        } else {
            HashSet::new()
        };
        // In two dumps in a row: a connection that is being accepted is for a moment in no queue and
        // without a process.
        let before = std::mem::replace(&mut self.other_queue, waits);
        let mut open = Open::default();
        let mut known = HashSet::new();
        for entry in entries.iter().filter(|entry| entry.state != LISTENING) {
            let cookie = entry.cookie;
            let is_new = |known: &HashSet<u64>| !known.contains(&cookie);
            let waits = before.contains(&cookie) && self.other_queue.contains(&cookie);
            let is_other = waits || self.known.as_ref().is_some_and(is_new);
            if is_other && slot.relayed.is_none() {
                continue;
            }
            let activity = Activity::of(entry, watched, limits);
            open.busy += usize::from(activity == Activity::Busy);
            open.streams += usize::from(activity == Activity::Stream);
            // An app that finishes will answer later requests by itself.
            if activity != Activity::Idle || !limits.finishes {
                known.insert(cookie);
            }
        }
        self.known = Some(known);
        open.busy = open.busy.max(usize::try_from(queued).unwrap_or(usize::MAX));
        open
    }

    /// The same for a unix socket, where only the length of the queue is known: a connection that has
    /// just left it gets one more interval, for the app to read from it.
    fn take_queue(&mut self, queued: u32) -> Open {
        let known = match &mut self.known {
            Some(_) if queued > 0 => None,
            Some(_) => Some(HashSet::new()),
            None => Some(HashSet::from([0])),
        };
        let waits = known.as_ref().is_none_or(|known| !known.is_empty());
        self.known = known;
        Open {
            busy: usize::try_from(queued)
                .unwrap_or(usize::MAX)
                .max(waits.into()),
            streams: 0,
        }
    }
}

/// The handshake is complete, and the connection is in an accept queue.
fn is_unaccepted(entry: &Entry) -> bool {
    entry.state == ESTABLISHED && entry.inode == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::connections::{SYN_RECEIVED, Traffic};

    const FINISHES: Limits = Limits {
        finishes: true,
        silent: Duration::from_millis(250),
        answer: Duration::from_secs(5),
    };
    const DIES: Limits = Limits {
        finishes: false,
        ..FINISHES
    };

    fn entry(state: u8, number: u32, waiting: u32) -> Entry {
        Entry {
            state,
            cookie: number.into(),
            inode: number,
            waiting,
            unsent: 0,
            traffic: Traffic::default(),
        }
    }

    fn connection(number: u32, segments: (u32, u32), waiting: u32) -> Entry {
        let mut entry = entry(ESTABLISHED, number, waiting);
        let long = Duration::from_secs(2);
        entry.traffic = Traffic {
            segments_received: segments.0,
            segments_sent: segments.1,
            since_received: long,
            since_sent: long,
            round_trip: Duration::ZERO,
        };
        entry
    }

    /// Takes in one dump after the other, each a millisecond later, and returns how many connections are
    /// busy.
    fn dumps(limits: Limits) -> impl FnMut(&[Entry]) -> usize {
        let mut connections = Connections::default();
        let mut watched = Duration::ZERO;
        let slot = OldSlot {
            inode: 1,
            address: None,
            relayed: None,
        };
        move |entries| {
            watched += Duration::from_millis(1);
            connections.take(entries, &slot, watched, limits).busy
        }
    }

    #[test]
    fn what_was_on_its_way_is_waited_for_and_nothing_else() {
        let listening = |waiting| entry(LISTENING, 1, waiting);
        let of_the_next = entry(LISTENING, 2, 9);
        let handshake = entry(SYN_RECEIVED, 3, 0);
        let silent = connection(4, (0, 0), 0);
        let unread = connection(5, (1, 0), 10);
        let served = connection(6, (1, 1), 0);
        let mut dump = dumps(FINISHES);
        let all = [listening(1), of_the_next, handshake, silent, unread, served];
        assert_eq!(dump(&all), 3);
        // The handshake is complete and became a connection; the silent client has closed.
        let came = connection(3, (1, 0), 7);
        assert_eq!(dump(&[listening(1), of_the_next, came, unread, served]), 2);
        let answered = [connection(3, (1, 1), 0), connection(5, (1, 1), 0)];
        let later = connection(7, (1, 0), 1);
        let rest = [answered[0], answered[1], later];
        assert_eq!(dump(&[&[listening(1), of_the_next], &rest[..]].concat()), 1);
        assert_eq!(dump(&[&[listening(0), of_the_next], &rest[..]].concat()), 0);
        assert_eq!(dumps(FINISHES)(&[listening(0), of_the_next, served]), 0);
    }

    /// A new request on a keep-alive connection is answered after the stop signal only by an app that
    /// finishes.
    #[test]
    fn a_request_meanwhile_is_waited_for_where_the_app_does_not_finish_it() {
        for (limits, meanwhile) in [(DIES, 1), (FINISHES, 0)] {
            let mut dump = dumps(limits);
            let slow = connection(2, (1, 0), 0);
            assert_eq!(dump(&[slow, connection(3, (1, 1), 0)]), 1);
            let again = connection(3, (2, 1), 1);
            assert_eq!(dump(&[slow, again]), 1 + meanwhile);
            assert_eq!(dump(&[again]), meanwhile);
            assert_eq!(dump(&[connection(3, (2, 2), 0)]), 0);
        }
    }

    /// Connections that arrived since the switch are for the next generation.
    #[test]
    fn connections_queued_on_the_other_slot_are_not_waited_for() {
        let queued = |number| Entry {
            inode: 0,
            ..connection(number, (1, 0), 9)
        };
        let mut dump = dumps(FINISHES);
        let mut dump = |waiting, entries: &[Entry]| {
            dump(&[&[entry(LISTENING, 1, waiting)], entries].concat()) == 0
        };
        // While the old slot's queue holds one, it may be either.
        assert!(!dump(1, &[queued(2), queued(3)]));
        assert!(!dump(1, &[queued(2), queued(3)]));
        assert!(!dump(0, &[queued(2), queued(3)]));
        // One of them was being accepted at that moment.
        assert!(!dump(0, &[connection(2, (1, 0), 9), queued(3)]));
        assert!(dump(0, &[connection(2, (1, 1), 0), queued(3)]));
    }

    #[test]
    fn a_client_that_has_left_the_queue_of_a_unix_socket_gets_a_moment() {
        let mut connections = Connections::default();
        let mut dump = |queued| connections.take_queue(queued).busy;
        assert_eq!([dump(0), dump(0)], [1, 0]);
        assert_eq!([dump(3), dump(0), dump(0)], [3, 1, 0]);
    }
}
