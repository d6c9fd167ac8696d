//! When a version that clients are not sent to any more may be told to end: when it has everything
//! that was on its way to it. A server that is told to end drops a connection that it has accepted
//! and of which it has read nothing, and never sees one that is still in its queue.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::diag::{self, ESTABLISHED, Entry, LISTENING};

/// Between two questions to the kernel; one takes a millisecond, since it goes through all its
/// connections.
const LOOK: Duration = Duration::from_millis(4);

/// One socket of the version, and its address.
#[derive(Clone, Copy, Debug)]
pub struct Leaving {
    /// Its number in /proc.
    pub inode: u64,
    /// Where it is; `None`: it is a unix socket.
    pub address: Option<SocketAddr>,
}

/// Waits until it has everything; for how long at the most is the caller's to say. To be called right
/// after the switch: what is there then is what was on its way. An error: nothing can be known.
pub async fn has_everything(sockets: Vec<Leaving>) -> io::Result<()> {
    let mut left: Vec<(Leaving, Rest)> = sockets
        .into_iter()
        .map(|socket| (socket, Rest::default()))
        .collect();
    loop {
        // Not on the runtime's thread: it would hold up everything else.
        let look = move || -> io::Result<Vec<(Leaving, Rest)>> {
            for (socket, rest) in &mut left {
                match socket.address {
                    Some(address) => rest.take(&diag::dump(address)?, socket.inode),
                    None => rest.take_queue(diag::queued(socket.inode)?),
                }
            }
            left.retain(|(_, rest)| !rest.is_nothing());
            Ok(left)
        };
        left = tokio::task::spawn_blocking(look).await??;
        if left.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What is still on its way to one socket.
#[derive(Debug, Default)]
struct Rest {
    /// Connections that were there at the first look.
    connections: Option<HashSet<u64>>,
    /// Nobody has accepted them yet.
    queued: u32,
    /// Those that nobody had accepted at the last look, while nothing was in the queue of this socket:
    /// they wait for the next version.
    elsewhere: HashSet<u64>,
}

impl Rest {
    /// Takes in a look at all that there is; the socket of this version has this number.
    fn take(&mut self, entries: &[Entry], inode: u64) {
        let own = |entry: &&Entry| entry.state == LISTENING && u64::from(entry.inode) == inode;
        self.queued = entries.iter().find(own).map_or(0, |own| own.waiting);
        let cookies = |is_it: fn(&Entry) -> bool| -> HashSet<u64> {
            let found = entries.iter().filter(|entry| is_it(entry));
            found.map(|entry| entry.cookie).collect()
        };
        let mut unread = cookies(is_unread);
        let waits = if self.queued == 0 {
            cookies(is_unaccepted)
        } else {
            HashSet::new()
        };
        // Twice: one that is just being accepted is in no queue and nobody's for a moment.
        let elsewhere = std::mem::replace(&mut self.elsewhere, waits);
        unread.retain(|cookie| !(elsewhere.contains(cookie) && self.elsewhere.contains(cookie)));
        match &mut self.connections {
            Some(connections) => connections.retain(|cookie| unread.contains(cookie)),
            None => self.connections = Some(unread),
        }
    }

    /// The same for a unix socket, of which only the queue is known: a client that has just left it
    /// is given a moment to be heard.
    fn take_queue(&mut self, queued: u32) {
        self.queued = queued;
        match &mut self.connections {
            Some(_) if queued > 0 => self.connections = None,
            Some(connections) => connections.clear(),
            None => self.connections = Some(HashSet::from([0])),
        }
    }

    fn is_nothing(&self) -> bool {
        self.queued == 0 && self.connections.as_ref().is_some_and(HashSet::is_empty)
    }
}

/// It has begun, and nobody has read all that came, if anything came.
fn is_unread(entry: &Entry) -> bool {
    let open = entry.state == ESTABLISHED;
    entry.state != LISTENING && (!open || entry.received == 0 || entry.waiting > 0)
}

/// It is complete, and waits in a queue.
fn is_unaccepted(entry: &Entry) -> bool {
    entry.state == ESTABLISHED && entry.inode == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::SYN_RECEIVED;

    fn entry(state: u8, number: u32, waiting: u32, received: u64) -> Entry {
        Entry {
            state,
            cookie: number.into(),
            inode: number,
            waiting,
            received,
        }
    }

    #[test]
    fn what_was_on_its_way_is_waited_for_and_nothing_else() {
        let listening = |waiting| entry(LISTENING, 1, waiting, 0);
        let of_the_next = entry(LISTENING, 2, 9, 0);
        let handshake = entry(SYN_RECEIVED, 3, 0, 0);
        let silent = entry(ESTABLISHED, 4, 0, 0);
        let unread = entry(ESTABLISHED, 5, 10, 10);
        let served = entry(ESTABLISHED, 6, 0, 10);
        let mut rest = Rest::default();
        assert!(!rest.is_nothing());
        let mut look = |entries: &[Entry]| {
            rest.take(entries, 1);
            rest.is_nothing()
        };
        assert!(!look(&[
            listening(1),
            of_the_next,
            handshake,
            silent,
            unread,
            served
        ]));
        // The handshake is over, and became a connection; the one that was silent has gone.
        let came = entry(ESTABLISHED, 3, 7, 7);
        assert!(!look(&[listening(1), of_the_next, came, unread, served]));
        let read = [entry(ESTABLISHED, 3, 0, 7), entry(ESTABLISHED, 5, 0, 10)];
        let later = entry(ESTABLISHED, 7, 0, 0);
        assert!(!look(&[listening(1), of_the_next, read[0], read[1], later]));
        assert!(look(&[listening(0), of_the_next, read[0], read[1], later]));
        let mut nothing = Rest::default();
        nothing.take(&[listening(0), of_the_next, served], 1);
        assert!(nothing.is_nothing());
    }

    /// They have come since the switch, or what they came for is about to be told to end.
    #[test]
    fn who_waits_for_the_next_version_is_not_waited_for() {
        let queued = |number| Entry {
            inode: 0,
            ..entry(ESTABLISHED, number, 9, 9)
        };
        let mut rest = Rest::default();
        let mut look = |waiting, entries: &[Entry]| {
            let listening = entry(LISTENING, 1, waiting, 0);
            rest.take(&[&[listening], entries].concat(), 1);
            rest.is_nothing()
        };
        // As long as something is in the queue, it may be any of them.
        assert!(!look(1, &[queued(2), queued(3)]));
        assert!(!look(1, &[queued(2), queued(3)]));
        assert!(!look(0, &[queued(2), queued(3)]));
        // One of them was just being accepted at that moment.
        let accepted = entry(ESTABLISHED, 2, 9, 9);
        assert!(!look(0, &[accepted, queued(3)]));
        let read = entry(ESTABLISHED, 2, 0, 9);
        assert!(look(0, &[read, queued(3)]));
    }
}
