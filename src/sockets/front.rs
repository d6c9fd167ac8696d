//! Addresses at which hotrun itself answers (`steering = "relay"`): it keeps the socket that clients connect
//! to, and passes everything on to one of the slots, whose sockets are behind it: at loopback addresses that
//! only hotrun knows, each at its own. So a switch needs nothing of the kernel. The kernel chooses the
//! ports behind, so that connections of clients are never taken for those between hotrun and the app.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use socket2::{Domain, Socket, Type};

use super::address::Address;
use super::held::{Held, HeldSet};
pub use super::ledger::Entered;
use super::ledger::Ledger;
use super::open::{How, open};
use super::steering::Steering;
use super::twins::Sockets;
use crate::session::slots::Slot;
use crate::sys::sockets::is_nonblocking;
use crate::sys::{carry_options, is_in_progress};

/// Where clients connect, and where the app is.
#[derive(Clone, Debug)]
pub struct Front {
    /// The socket that clients connect to. No generation has it.
    pub public: Arc<Socket>,
    /// Where the slots are.
    pub behind: Arc<Behind>,
}

/// The slots' addresses behind a front.
#[derive(Debug)]
pub struct Behind {
    slots: [SocketAddr; 2],
    active: Mutex<Slot>,
    ledger: Ledger,
}

/// The slots' sockets behind a front.
#[derive(Debug)]
pub(super) struct Apart {
    sockets: [Arc<Socket>; 2],
    behind: Arc<Behind>,
}

impl Behind {
    /// Both slots at one address.
    #[cfg(test)]
    pub(crate) fn only(at: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            slots: [at; 2],
            active: Mutex::default(),
            ledger: Ledger::default(),
        })
    }

    /// Begins to connect to the active slot, by a socket that does not block. Once a switch has been made,
    /// no connection begins to the slot before: so that what is on its way there is known from then on.
    pub fn connect(&self) -> io::Result<(Socket, Entered)> {
        let active = self.active();
        let to = self.of(*active);
        let entered = self.ledger.enter(to);
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&to.into()) {
            Err(error) if !is_in_progress(&error) => Err(error),
            _ => Ok((socket, entered)),
        }
    }

    fn active(&self) -> MutexGuard<'_, Slot> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connections that were made.
    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The address of this slot.
    pub(super) fn of(&self, slot: Slot) -> SocketAddr {
        *slot.of(&self.slots)
    }
}

impl Apart {
    /// The socket of this slot.
    pub(super) fn at(&self, slot: Slot) -> &Arc<Socket> {
        slot.of(&self.sockets)
    }

    /// New clients are passed on to this slot from now on.
    pub(super) fn steer(&self, slot: Slot) {
        *self.behind.active() = slot;
    }
}

impl Front {
    /// Opens the slots' sockets behind this one, but for those that are `left`.
    pub(super) fn before(
        public: Arc<Socket>,
        how: How,
        left: [Option<Arc<Socket>>; 2],
    ) -> io::Result<(Self, Sockets)> {
        let own = public.local_addr()?.as_socket();
        // Of the same family, since the app knows what family it has asked for.
        let loopback: SocketAddr = match own.ok_or(io::ErrorKind::Unsupported)? {
            SocketAddr::V4(_) => (Ipv4Addr::LOCALHOST, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::LOCALHOST, 0).into(),
        };
        let how = How {
            beside: false,
            only_v6: true,
            paired: false,
            ..how
        };
        let one = |left: Option<Arc<Socket>>| -> io::Result<(Arc<Socket>, SocketAddr)> {
            let opened = || -> io::Result<Arc<Socket>> {
                let (socket, _) = open(&Address::Tcp(loopback), how)?;
                carry_options(&public, &socket);
                Ok(Arc::new(socket))
            };
            let socket = left.map_or_else(opened, Ok)?;
            let at = socket.local_addr()?.as_socket();
            Ok((socket, at.ok_or(io::ErrorKind::Unsupported)?))
        };
        let [first, second] = left.map(one);
        let [(first, at_first), (second, at_second)] = [first?, second?];
        let behind = Arc::new(Behind {
            slots: [at_first, at_second],
            active: Mutex::default(),
            ledger: Ledger::default(),
        });
        let apart = Apart {
            sockets: [first, second],
            behind: behind.clone(),
        };
        Ok((Self { public, behind }, Sockets::Apart(apart)))
    }
}

impl Held {
    /// Where this slot's socket is: at the address itself, unless hotrun answers there.
    pub fn behind(&self, slot: Slot) -> Address {
        let front = self.front.as_ref();
        front.map_or_else(
            || self.address.clone(),
            |front| Address::Tcp(front.behind.of(slot)),
        )
    }

    /// Hotrun answers there, and is not to, or the other way round.
    pub(super) fn differs_from(&self, steering: Steering) -> bool {
        let is_relayed = steering == Steering::Relay;
        self.address.tcp().is_some() && self.front.is_some() != is_relayed
    }

    /// Answers at the socket that hotrun was started with.
    fn answer(&mut self, socket: Arc<Socket>) -> io::Result<()> {
        let how = How {
            nonblocking: is_nonblocking(&socket)?,
            only_v6: false,
            beside: false,
            paired: false,
        };
        let (front, sockets) = Front::before(socket, how, [None, None])?;
        self.adopt(sockets)?;
        self.front = Some(front);
        Ok(())
    }
}

impl HeldSet {
    /// What is behind a socket that was opened at an address. `reason`: why there is one for both slots.
    pub(super) fn behind(
        &self,
        socket: Arc<Socket>,
        address: &Address,
        how: How,
        reason: Option<String>,
        steering: Steering,
    ) -> io::Result<(Option<Front>, Sockets)> {
        match (address, steering) {
            (Address::Tcp(_), Steering::Relay) => {
                let (front, sockets) = Front::before(socket, how, [None, None])?;
                Ok((Some(front), sockets))
            }
            (Address::Tcp(_), Steering::Kernel) => Ok((None, Sockets::pair(socket, self.active))),
            _ => Ok((None, Sockets::Shared(socket, reason))),
        }
    }

    /// Brings in hotrun as the one that answers at held addresses, or takes it out, beside the sockets that
    /// the app still has. Declared addresses are opened anew by [`Self::adapt`].
    pub(super) fn change_fronts(&mut self) {
        let steering = self.steering;
        for held in &mut self.sockets {
            if let Sockets::Shared(socket, _) = &held.sockets
                && held.declared.is_none()
                && held.front.is_none()
                && held.differs_from(steering)
            {
                // An error leaves it as it is.
                held.answer(socket.clone()).ok();
            }
        }
        for at in 0..self.captured.len() {
            // The same.
            if self.captured[at].held.differs_from(steering) {
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
    use crate::sys::ABLE;
    use crate::sys::testing::lacks;

    fn answering(addresses: &[&str], is_relayed: bool, set: &mut HeldSet) {
        let steering = if is_relayed {
            Steering::Relay
        } else {
            Steering::best()
        };
        let specs = addresses
            .iter()
            .map(|text| spec::parse(text, Path::new("/")));
        let specs: Vec<_> = specs.map(Result::unwrap).collect();
        set.adapt(&specs, steering).unwrap();
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
        assert_eq!(
            held.behind(set.active()),
            Address::Tcp(front.behind.of(set.active()))
        );
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"a").unwrap();
        assert!(accepts(&front.public));
        let _app = front.behind.connect().unwrap();
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
        if lacks(ABLE.capture, "capture") {
            return;
        }
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
        if lacks(ABLE.twins, "two sockets at one address") {
            return;
        }
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
        if lacks(ABLE.capture, "capture") {
            return;
        }
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

    /// A captured address stays as it is if a declared one can't be held, and clients reach the app.
    #[test]
    fn a_refused_change_changes_nothing() {
        if lacks(ABLE.capture, "capture") {
            return;
        }
        let mut set = HeldSet::default();
        answering(&[], false, &mut set);
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let written = Written {
            address: Address::Tcp(free.local_addr().unwrap()),
            number: 0,
        };
        drop(free);
        set.capture(&written, &fresh(None)).unwrap();
        let inodes = |set: &HeldSet| -> Vec<u64> {
            let both = [Slot::First, Slot::Second].into_iter();
            both.flat_map(|slot| set.iter().map(move |held| held.inode(slot)))
                .collect()
        };
        let before = inodes(&set);
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = other.local_addr().unwrap().to_string();
        let specs = ["127.0.0.1:0", &taken].map(|text| spec::parse(text, Path::new("/")).unwrap());
        set.adapt(&specs, Steering::Relay).unwrap_err();
        assert_eq!(inodes(&set), before);
        assert!(set.fronts().is_empty());
        assert_eq!(set.steering, Steering::best());
    }
}
