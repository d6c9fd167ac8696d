//! Addresses at which hotrun itself answers clients (`--inject`): it keeps the socket that they connect
//! to, and the slots' sockets are behind it, at a loopback address that nobody else is told of. Switches,
//! probes and the rest work on those as everywhere. The kernel chooses the port behind, so that connections
//! of clients are never taken for those between hotrun and the app.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use socket2::Socket;

use super::address::Address;
use super::held::{Held, HeldSet};
use super::open::{How, open};
use super::twins::Sockets;
use crate::session::slots::Slot;
use crate::sys::carry_options;
use crate::sys::sockets::is_nonblocking;

/// Where clients connect, and where the app is.
#[derive(Clone, Debug)]
pub struct Front {
    /// The socket that clients connect to. No generation has it.
    pub public: Arc<Socket>,
    /// The address of the slots' sockets.
    pub behind: SocketAddr,
}

impl Front {
    /// Opens the first of the slots' sockets behind this one.
    pub(super) fn before(public: Arc<Socket>, how: How) -> io::Result<(Self, Arc<Socket>)> {
        let own = public.local_addr()?.as_socket();
        // Of the same family, since the app knows what family it has asked for.
        let loopback: SocketAddr = match own.ok_or(io::ErrorKind::Unsupported)? {
            SocketAddr::V4(_) => (Ipv4Addr::LOCALHOST, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::LOCALHOST, 0).into(),
        };
        let how = How {
            beside: false,
            only_v6: true,
            ..how
        };
        let (socket, _) = open(&Address::Tcp(loopback), how)?;
        carry_options(&public, &socket);
        let behind = socket.local_addr()?.as_socket();
        let behind = behind.ok_or(io::ErrorKind::Unsupported)?;
        Ok((Self { public, behind }, Arc::new(socket)))
    }
}

impl Held {
    /// Hotrun answers there, and is not to, or the other way round.
    pub(super) fn differs_from(&self, fronts: bool) -> bool {
        self.address.tcp().is_some() && self.front.is_some() != fronts
    }

    /// Answers at the socket that hotrun was started with.
    fn answer(&mut self, socket: Arc<Socket>, pair: Option<Slot>) -> io::Result<()> {
        let how = How {
            nonblocking: is_nonblocking(&socket)?,
            only_v6: false,
            beside: false,
            paired: pair.is_some(),
        };
        let (front, behind) = Front::before(socket, how)?;
        self.adopt(match pair {
            Some(slot) => Sockets::pair(behind, slot),
            None => Sockets::Shared(behind, None),
        })?;
        self.front = Some(front);
        Ok(())
    }
}

impl HeldSet {
    /// Hotrun answers at TCP addresses that are held from now on; [`Self::adapt`] brings in those that are
    /// held already.
    pub fn answer_by_itself(&mut self, fronts: bool) {
        self.fronts = fronts;
    }

    /// What hotrun answers with at this address, and the first of the slots' sockets, given the one that
    /// clients connect to.
    pub(super) fn front(
        &self,
        socket: Arc<Socket>,
        address: &Address,
        how: How,
    ) -> io::Result<(Option<Front>, Arc<Socket>)> {
        if !self.fronts || address.tcp().is_none() {
            return Ok((None, socket));
        }
        let (front, behind) = Front::before(socket, how)?;
        Ok((Some(front), behind))
    }

    /// Brings in hotrun as the one that answers at held addresses, or takes it out, beside the sockets that
    /// the app still has. Declared addresses are opened anew by [`Self::adapt`].
    pub(super) fn change_fronts(&mut self) {
        for held in &mut self.sockets {
            let inherited = held.declared.is_none() && held.front.is_none();
            if let Sockets::Shared(socket, _) = &held.sockets
                && inherited
                && held.differs_from(self.fronts)
            {
                let socket = socket.clone();
                held.answer(socket, self.twins.then_some(self.active)).ok();
            }
        }
        for at in 0..self.captured.len() {
            // An error leaves it as it is.
            if self.captured[at].held.differs_from(self.fronts) {
                self.capture_anew(at).ok();
            }
        }
    }

    /// The addresses at which hotrun answers.
    pub fn fronts(&self) -> Vec<Front> {
        self.iter().filter_map(|held| held.front.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::path::Path;

    use super::super::captured::{Fresh, Written};
    use super::super::spec;
    use super::*;

    fn answering(addresses: &[&str], fronts: bool, set: &mut HeldSet) {
        let specs = addresses
            .iter()
            .map(|text| spec::parse(text, Path::new("/")));
        let specs: Vec<_> = specs.map(Result::unwrap).collect();
        set.answer_by_itself(fronts);
        set.adapt(&specs, true).unwrap();
    }

    fn accepts(socket: &Socket) -> bool {
        socket.set_nonblocking(true).unwrap();
        socket.accept().is_ok()
    }

    /// Clients reach hotrun, and hotrun reaches the active slot.
    #[track_caller]
    fn is_in_front(set: &HeldSet) {
        let held = set.iter().next().unwrap();
        let (address, front) = (held.address.tcp().unwrap(), held.front.as_ref().unwrap());
        assert_eq!(held.behind(), Address::Tcp(front.behind));
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"a").unwrap();
        assert!(accepts(&front.public));
        let _app = TcpStream::connect(front.behind).unwrap();
        for slot in [Slot::First, Slot::Second] {
            let is_active = slot == set.active();
            assert_eq!(accepts(held.sockets.of(slot)), is_active, "{slot:?}");
        }
    }

    #[test]
    fn clients_reach_hotrun_and_hotrun_the_active_slot() {
        for address in ["127.0.0.1:0", "[::1]:0", "[::]:0", "0.0.0.0:0"] {
            let mut set = HeldSet::default();
            answering(&[address], true, &mut set);
            is_in_front(&set);
            set.switch(Slot::Second).unwrap();
            is_in_front(&set);
        }
    }

    #[test]
    fn a_captured_address_is_answered_at() {
        let own = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(own.local_addr().unwrap());
        let mut set = HeldSet::default();
        answering(&[], true, &mut set);
        let copy = set.bind(&address.with_port(0), &fresh(None)).unwrap();
        drop(own);
        let at = copy.local_addr().unwrap().as_socket();
        let written = Written {
            address: Address::Tcp(at.unwrap()),
            number: 0,
        };
        set.capture(&written, &fresh(Some(copy))).unwrap();
        is_in_front(&set);
        let inode = set.find(&written.address, false, Slot::First);
        assert_eq!(inode, set.iter().next().map(|held| held.inode(Slot::First)));
    }

    fn fresh(copy: Option<Socket>) -> Fresh {
        Fresh {
            only_v6: false,
            nonblocking: true,
            copy,
        }
    }

    /// The setting may change while addresses are held, and the app has their sockets.
    #[test]
    fn an_address_changes_hands_and_stays() {
        let mut set = HeldSet::default();
        answering(&["127.0.0.1:0"], false, &mut set);
        let port = set.iter().next().unwrap().address.tcp().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        for fronts in [true, false, true] {
            let _of_app = set.share(Slot::First);
            answering(&[&address], fronts, &mut set);
            assert_eq!(set.fronts().len(), usize::from(fronts));
            assert_eq!(set.iter().next().unwrap().address.to_string(), address);
        }
        is_in_front(&set);
    }

    #[test]
    fn captured_addresses_change_hands_too() {
        let mut set = HeldSet::default();
        answering(&[], false, &mut set);
        let port = {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap()
        };
        let written = Written {
            address: Address::Tcp(port),
            number: 0,
        };
        set.capture(&written, &fresh(None)).unwrap();
        answering(&[], true, &mut set);
        is_in_front(&set);
        assert_eq!(set.iter().next().unwrap().address.tcp(), Some(port));
    }
}
