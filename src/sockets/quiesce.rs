//! When an old generation may be asked to end: when everything has reached it that was on its way to
//! it, and nothing is under way at its connections. A server that is asked to end drops a connection
//! that it has accepted and of which it has read nothing, never sees one that is still in its queue,
//! and where it does not handle the signal, cuts every request that it has not answered.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::busy::Activity;
use crate::sock_diag::{self, ESTABLISHED, Entry, LISTENING};

pub use super::busy::Limits;

/// Between two questions to the kernel at first, and later on; one takes a millisecond, since it goes
/// through all its connections.
const LOOK: Duration = Duration::from_millis(4);
const LATER: Duration = Duration::from_millis(20);

/// One slot of the old generation.
#[derive(Clone, Copy, Debug)]
pub struct OldSlot {
    /// The number of its socket in /proc.
    pub inode: u64,
    /// Where it is; `None`: it is a unix socket.
    pub address: Option<SocketAddr>,
}

/// How many of its connections must not be cut, and how many are streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Something is on its way there, or is not answered.
    pub busy: usize,
    /// They never end by themselves.
    pub streams: usize,
}

/// A look at everything at the addresses of a generation.
#[derive(Debug)]
pub struct Quiesce {
    slots: Vec<(OldSlot, Connections)>,
    start: Instant,
    first: Vec<Seen>,
}

/// What the kernel tells of one slot.
#[derive(Debug)]
enum Seen {
    Tcp(Vec<Entry>),
    Unix(u32),
}

impl Quiesce {
    /// To be called right after the switch: the connections that are there are the old ones. An error:
    /// nothing can be known.
    pub async fn begin(slots: Vec<OldSlot>) -> io::Result<Self> {
        let start = Instant::now();
        let first = look(slots.clone()).await?;
        let slots = slots.into_iter().map(|slot| (slot, Connections::default()));
        Ok(Self {
            slots: slots.collect(),
            start,
            first,
        })
    }

    /// Waits until none of them is busy; for how long at the most is the caller's to say. Tells what is
    /// open first, and whenever that changes.
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
            tokio::time::sleep((watched / 16).clamp(LOOK, LATER)).await;
            seen = look(self.slots.iter().map(|(slot, _)| *slot).collect()).await?;
        }
    }

    fn take(&mut self, seen: Vec<Seen>, watched: Duration, limits: Limits) -> Open {
        let mut all = Open::default();
        for ((slot, connections), seen) in self.slots.iter_mut().zip(seen) {
            let open = match seen {
                Seen::Tcp(entries) => connections.take(&entries, slot.inode, watched, limits),
                Seen::Unix(queued) => connections.take_queue(queued),
            };
            all.busy += open.busy;
            all.streams += open.streams;
        }
        all
    }
}

/// Not on the runtime's thread: it would hold up everything else.
async fn look(slots: Vec<OldSlot>) -> io::Result<Vec<Seen>> {
    let look = move || {
        let seen = slots.iter().map(|slot| match slot.address {
            Some(address) => sock_diag::dump(address).map(Seen::Tcp),
            None => sock_diag::queued(slot.inode).map(Seen::Unix),
        });
        seen.collect()
    };
    tokio::task::spawn_blocking(look).await?
}

/// The connections of one slot.
#[derive(Debug, Default)]
struct Connections {
    /// Those that were there at the first look and still matter.
    known: Option<HashSet<u64>>,
    /// Those that nobody had accepted at the last look, while nothing was in the queue of this slot:
    /// they wait for the next generation.
    elsewhere: HashSet<u64>,
}

impl Connections {
    /// Takes in a look at all that there is; the socket of this slot has this number.
    fn take(&mut self, entries: &[Entry], inode: u64, watched: Duration, limits: Limits) -> Open {
        let own = |entry: &&Entry| entry.state == LISTENING && u64::from(entry.inode) == inode;
        let queued = entries.iter().find(own).map_or(0, |own| own.waiting);
        let unaccepted = entries.iter().filter(|entry| is_unaccepted(entry));
        let waits = if queued == 0 {
            unaccepted.map(|entry| entry.cookie).collect()
        } else {
            HashSet::new()
        };
        // Twice: one that is just being accepted is in no queue and nobody's for a moment.
        let before = std::mem::replace(&mut self.elsewhere, waits);
        let mut open = Open::default();
        let mut known = HashSet::new();
        for entry in entries.iter().filter(|entry| entry.state != LISTENING) {
            let cookie = entry.cookie;
            let is_new = |known: &HashSet<u64>| !known.contains(&cookie);
            let waits = before.contains(&cookie) && self.elsewhere.contains(&cookie);
            if waits || self.known.as_ref().is_some_and(is_new) {
                continue;
            }
            let activity = Activity::of(entry, watched, limits);
            open.busy += usize::from(activity == Activity::Busy);
            open.streams += usize::from(activity == Activity::Stream);
            // What it is asked from now on, an app that finishes answers by itself.
            if activity != Activity::Idle || !limits.finishes {
                known.insert(cookie);
            }
        }
        self.known = Some(known);
        open.busy = open.busy.max(usize::try_from(queued).unwrap_or(usize::MAX));
        open
    }

    /// The same for a unix socket, of which only the queue is known: a client that has just left it
    /// is given a moment to be heard.
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

/// It is complete, and waits in a queue.
fn is_unaccepted(entry: &Entry) -> bool {
    entry.state == ESTABLISHED && entry.inode == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sock_diag::{SYN_RECEIVED, Traffic};

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

    /// Looks one after the other, each a millisecond later, and how many are busy.
    fn looks(limits: Limits) -> impl FnMut(&[Entry]) -> usize {
        let mut connections = Connections::default();
        let mut watched = Duration::ZERO;
        move |entries| {
            watched += Duration::from_millis(1);
            connections.take(entries, 1, watched, limits).busy
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
        let mut look = looks(FINISHES);
        let all = [listening(1), of_the_next, handshake, silent, unread, served];
        assert_eq!(look(&all), 3);
        // The handshake is over, and became a connection; the one that was silent has gone.
        let came = connection(3, (1, 0), 7);
        assert_eq!(look(&[listening(1), of_the_next, came, unread, served]), 2);
        let answered = [connection(3, (1, 1), 0), connection(5, (1, 1), 0)];
        let later = connection(7, (1, 0), 1);
        let rest = [answered[0], answered[1], later];
        assert_eq!(look(&[&[listening(1), of_the_next], &rest[..]].concat()), 1);
        assert_eq!(look(&[&[listening(0), of_the_next], &rest[..]].concat()), 0);
        assert_eq!(looks(FINISHES)(&[listening(0), of_the_next, served]), 0);
    }

    /// One that is kept open may be used again, which only an app that finishes answers after the
    /// signal.
    #[test]
    fn what_is_asked_meanwhile_is_waited_for_where_nothing_else_finishes_it() {
        for (limits, meanwhile) in [(DIES, 1), (FINISHES, 0)] {
            let mut look = looks(limits);
            let slow = connection(2, (1, 0), 0);
            assert_eq!(look(&[slow, connection(3, (1, 1), 0)]), 1);
            let again = connection(3, (2, 1), 1);
            assert_eq!(look(&[slow, again]), 1 + meanwhile);
            assert_eq!(look(&[again]), meanwhile);
            assert_eq!(look(&[connection(3, (2, 2), 0)]), 0);
        }
    }

    /// They have come since the switch, or what they came for is about to be told to end.
    #[test]
    fn who_waits_for_the_next_version_is_not_waited_for() {
        let queued = |number| Entry {
            inode: 0,
            ..connection(number, (1, 0), 9)
        };
        let mut look = looks(FINISHES);
        let mut look = |waiting, entries: &[Entry]| {
            look(&[&[entry(LISTENING, 1, waiting)], entries].concat()) == 0
        };
        // As long as something is in the queue, it may be any of them.
        assert!(!look(1, &[queued(2), queued(3)]));
        assert!(!look(1, &[queued(2), queued(3)]));
        assert!(!look(0, &[queued(2), queued(3)]));
        // One of them was just being accepted at that moment.
        assert!(!look(0, &[connection(2, (1, 0), 9), queued(3)]));
        assert!(look(0, &[connection(2, (1, 1), 0), queued(3)]));
    }

    #[test]
    fn a_client_that_has_left_the_queue_of_a_path_is_given_a_moment() {
        let mut connections = Connections::default();
        let mut look = |queued| connections.take_queue(queued).busy;
        assert_eq!([look(0), look(0)], [1, 0]);
        assert_eq!([look(3), look(0), look(0)], [3, 1, 0]);
    }
}
