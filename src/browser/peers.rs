//! The clients whose connections hotrun passes on to the app (`--inject`): what is behind sees
//! hotrun as the peer of all of them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A connection from hotrun to an address behind. The kernel uses a port again for another address.
type Ends = (SocketAddr, SocketAddr);

/// The clients by the connection by which hotrun passes on what they send; clones are the same ones.
#[derive(Clone, Debug, Default)]
pub struct Peers(Arc<Mutex<HashMap<Ends, SocketAddr>>>);

/// Keeps a client known until it is dropped.
#[derive(Debug)]
pub struct Known {
    peers: Peers,
    ends: Ends,
}

impl Peers {
    /// Hotrun passes on what this client sends, from the one address to the other. To be called before
    /// anything is.
    pub fn know(&self, from: SocketAddr, to: SocketAddr, client: SocketAddr) -> Known {
        let ends = (from, to);
        self.lock().insert(ends, client);
        let peers = self.clone();
        Known { peers, ends }
    }

    /// The client of a connection that comes from the one address to the other.
    pub fn client(&self, from: SocketAddr, to: SocketAddr) -> SocketAddr {
        self.lock().get(&(from, to)).copied().unwrap_or(from)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Ends, SocketAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        self.peers.lock().remove(&self.ends);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_known_while_its_connection_is_open() {
        let peers = Peers::default();
        let [from, to, other, client] =
            ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "192.168.1.2:3"]
                .map(|text| text.parse().unwrap());
        let known = peers.know(from, to, client);
        assert_eq!(peers.client(from, to), client);
        // From the same port to another one it may be anybody.
        drop(peers.know(from, other, from));
        assert_eq!(peers.client(from, to), client);
        drop(known);
        assert_eq!(peers.client(from, to), from);
    }
}
