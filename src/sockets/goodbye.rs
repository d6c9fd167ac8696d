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
}

impl Rest {
    /// Takes in a look at all that there is; the socket of this version has this number.
    fn take(&mut self, entries: &[Entry], inode: u64) {
        let own = |entry: &&Entry| entry.state == LISTENING && u64::from(entry.inode) == inode;
        self.queued = entries.iter().find(own).map_or(0, |own| own.waiting);
        let unread = entries.iter().filter(|entry| is_unread(entry));
        let unread: HashSet<u64> = unread.map(|entry| entry.cookie).collect();
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
}
