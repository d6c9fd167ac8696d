//! Who the clients are whose connections hotrun passes on to the app (`--inject`): what is behind sees
//! hotrun as the peer of all of them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The clients by the address from which hotrun passes their connection on; clones are the same ones.
#[derive(Clone, Debug, Default)]
pub struct Peers(Arc<Mutex<HashMap<SocketAddr, SocketAddr>>>);

/// Keeps a client known until it is dropped.
#[derive(Debug)]
pub struct Known {
    peers: Peers,
    from: SocketAddr,
}

impl Peers {
    /// Hotrun passes on what this client sends, from this address. To be called before anything is.
    pub fn know(&self, from: SocketAddr, client: SocketAddr) -> Known {
        self.lock().insert(from, client);
        let peers = self.clone();
        Known { peers, from }
    }

    /// The client of a connection that comes from this address.
    pub fn client(&self, from: SocketAddr) -> SocketAddr {
        self.lock().get(&from).copied().unwrap_or(from)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, SocketAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        self.peers.lock().remove(&self.from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_known_while_its_connection_is_open() {
        let peers = Peers::default();
        let [from, client] = ["127.0.0.1:1", "192.168.1.2:3"].map(|text| text.parse().unwrap());
        let known = peers.know(from, client);
        assert_eq!(peers.client(from), client);
        drop(known);
        assert_eq!(peers.client(from), from);
    }
}
