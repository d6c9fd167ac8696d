//! The held set: sockets that are bound and listening from before the first build until hotrun
//! ends, so that a connect succeeds whatever happens to the app.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use socket2::{Domain, Socket, Type};

use super::address::Address;
use super::captured::Captured;
use super::front::Front;
use super::open::{How, open};
use super::quiesce::OldSlot;
use super::relay::Standby;
use super::socket_file::SocketFile;
use super::steering::Steering;
use super::twins::{Sockets, Twins};
use crate::session::slots::Slot;

/// One address that is held.
#[derive(Debug)]
pub struct Held {
    /// Its name in `LISTEN_FDNAMES`.
    pub name: Option<String>,
    /// The address, with the port that was chosen.
    pub address: Address,
    /// How it was declared; `None` if hotrun inherited it.
    pub(super) declared: Option<Declared>,
    pub(super) sockets: Sockets,
    inodes: [u64; 2],
    /// New connections go to the active slot.
    is_steered: bool,
    /// The file of a unix socket, removed when this is dropped.
    pub(super) file: Option<SocketFile>,
    /// Hotrun itself answers at the address.
    pub(super) front: Option<Front>,
}

/// An address that was released. The generations that have a socket of it keep that, and so the address:
/// if it is declared or bound again meanwhile, it can only be held by this very socket.
#[derive(Debug)]
pub(super) struct Released {
    address: Address,
    declared: Option<Declared>,
    /// Each slot's socket, and the slot whose socket listened first.
    sockets: [Weak<Socket>; 2],
    leads: Option<Slot>,
    /// Hotrun has answered at the address.
    had_front: bool,
}

/// What a socket was opened for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Declared {
    /// As it was written, so with port 0 where the kernel chooses the port.
    pub(super) address: Address,
    /// `IPV6_V6ONLY` is set.
    pub(super) only_v6: bool,
    /// `O_NONBLOCK` is set.
    pub(super) nonblocking: bool,
}

impl Held {
    pub(super) fn new(
        name: Option<String>,
        address: Address,
        declared: Option<Declared>,
        sockets: Sockets,
        file: Option<SocketFile>,
    ) -> io::Result<Self> {
        Ok(Self {
            name,
            address,
            declared,
            inodes: sockets.inodes()?,
            is_steered: true,
            sockets,
            file,
            front: None,
        })
    }

    /// The same, with hotrun in front of it.
    pub(super) fn with_front(self, front: Option<Front>) -> Self {
        Self { front, ..self }
    }

    /// The inode of the slot's socket: the same in every process that has it.
    pub fn inode(&self, slot: Slot) -> u64 {
        *slot.of(&self.inodes)
    }

    /// It gets other sockets.
    pub(super) fn adopt(&mut self, sockets: Sockets) -> io::Result<()> {
        self.inodes = sockets.inodes()?;
        self.sockets = sockets;
        Ok(())
    }

    /// Each slot has a socket of its own.
    pub fn has_twins(&self) -> bool {
        self.sockets.are_apart()
    }

    /// Why both slots share one socket, where the kind of address would allow two.
    pub fn shared(&self) -> Option<&str> {
        match &self.sockets {
            Sockets::Shared(_, reason) => reason.as_deref(),
            Sockets::Twins(_) | Sockets::Paths(_) | Sockets::Apart(_) => None,
        }
    }

    /// Makes a unix socket appear at its public path, and steers new connections to this slot.
    pub(super) fn publish(&mut self, slot: Slot) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), SocketFile::publish)?;
        self.sockets.steer(slot)
    }

    /// Releases the address, and returns what is needed to hold it again; a unix socket's file is
    /// removed, so it can't be held again.
    pub(super) fn release(self) -> Option<Released> {
        self.address.internet()?;
        let weak = |slot| Arc::downgrade(self.sockets.of(slot));
        Some(Released {
            sockets: [weak(Slot::First), weak(Slot::Second)],
            leads: match &self.sockets {
                Sockets::Twins(twins) => Some(twins.leads()),
                Sockets::Shared(..) | Sockets::Paths(_) | Sockets::Apart(_) => None,
            },
            address: self.address,
            declared: self.declared,
            had_front: self.front.is_some(),
        })
    }

    /// It is what is declared, except perhaps for name and blocking mode.
    pub(super) fn serves(&self, wanted: &Declared) -> bool {
        self.declared.as_ref().is_some_and(|own| {
            let address = own.address == wanted.address || self.address == wanted.address;
            address && own.only_v6 == wanted.only_v6
        })
    }

    /// It conflicts with this address, so that only one of them could be bound.
    pub(super) fn overlaps_with(&self, address: &Address) -> bool {
        let own = &self.address;
        own.overlaps(address) || own.spans(address) || address.spans(own)
    }
}

impl Released {
    /// A process may still have one of the sockets.
    pub(super) fn is_left(&self) -> bool {
        self.sockets.iter().any(|socket| socket.strong_count() > 0)
    }

    /// Holds the address again, if a process still has one of its sockets.
    pub(super) fn held(&self) -> Option<Held> {
        let [first, second] = self.sockets.each_ref().map(Weak::upgrade);
        if self.had_front {
            return self.behind_again([first, second]).ok();
        }
        let sockets = match (first, second, self.leads) {
            (Some(first), Some(second), Some(leads)) => {
                Sockets::Twins(Twins::again([first, second], leads))
            }
            (Some(first), _, Some(_)) => Sockets::pair(first, Slot::First),
            (_, Some(second), Some(_)) => Sockets::pair(second, Slot::Second),
            (shared, ..) => Sockets::Shared(shared?, None),
        };
        let (address, declared) = (self.address.clone(), self.declared.clone());
        Held::new(None, address, declared, sockets, None).ok()
    }

    /// Answers at the address again, in front of the sockets that are left.
    fn behind_again(&self, left: [Option<Arc<Socket>>; 2]) -> io::Result<Held> {
        let declared = self.declared.clone();
        let how = How {
            nonblocking: declared.as_ref().is_none_or(|own| own.nonblocking),
            only_v6: declared.as_ref().is_some_and(|own| own.only_v6),
            beside: false,
            paired: false,
        };
        if left.iter().all(Option::is_none) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let (public, _) = open(&self.address, how)?;
        let (front, sockets) = Front::before(Arc::new(public), how, left)?;
        let held = Held::new(None, self.address.clone(), declared, sockets, None)?;
        Ok(held.with_front(Some(front)))
    }
}

/// All held sockets.
#[derive(Debug, Default)]
pub struct HeldSet {
    /// Declared and inherited addresses, in the order of the app's descriptors.
    pub(super) sockets: Vec<Held>,
    /// Captured addresses.
    pub(super) captured: Vec<Captured>,
    /// Addresses that were released.
    pub(super) released: Vec<Released>,
    /// The slot that new connections go to.
    pub(super) active: Slot,
    /// How clients are sent to one slot alone.
    pub(super) steering: Steering,
    /// Addresses that programs bind are not captured.
    pub(super) captures_nothing: bool,
    /// The readiness probe that is under way.
    probe: Option<Probe>,
}

/// The held set, shared by the thread of the main loop and those that answer the `bind` and `listen` of an
/// app each. The lock is held for a few system calls only.
#[derive(Clone, Debug, Default)]
pub struct SharedSet(Arc<Mutex<HeldSet>>);

impl SharedSet {
    /// Locks the set, for a few system calls.
    pub fn lock(&self) -> MutexGuard<'_, HeldSet> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<HeldSet> for SharedSet {
    fn from(set: HeldSet) -> Self {
        Self(Arc::new(Mutex::new(set)))
    }
}

/// A readiness probe of one slot, at every TCP address.
#[derive(Debug)]
struct Probe {
    to: Slot,
    from: u16,
    /// Reserves the source port.
    _port: Socket,
}

impl HeldSet {
    /// Holds the sockets that hotrun was started with.
    pub(super) fn inherited(sockets: Vec<Held>) -> Self {
        let mut set = Self {
            sockets,
            ..Self::default()
        };
        // Their creator may have set a backlog of 1.
        set.repair().ok();
        set
    }

    /// Releases every address.
    pub fn release_all(&mut self) {
        *self = Self::default();
    }

    /// Every held address.
    pub fn iter(&self) -> impl Iterator<Item = &Held> {
        let captured = self.captured.iter().map(|captured| &captured.held);
        self.sockets.iter().chain(captured)
    }

    /// A held address that can't be bound beside this one.
    pub fn in_the_way_of(&self, address: &Address) -> Option<&Address> {
        let mut all = self.iter();
        let found = all.find(|held| held.overlaps_with(address));
        found.map(|held| &held.address)
    }

    fn each_mut(&mut self) -> impl Iterator<Item = &mut Held> {
        let captured = self.captured.iter_mut();
        let captured = captured.map(|captured| &mut captured.held);
        self.sockets.iter_mut().chain(captured)
    }

    /// The sockets that the app inherits, in the order of their descriptors.
    pub fn given(&self) -> impl Iterator<Item = &Held> {
        self.sockets.iter()
    }

    /// No address is held.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// A TCP address is held.
    pub fn has_tcp(&self) -> bool {
        self.iter().any(|held| held.address.tcp().is_some())
    }

    /// At one address at least, each slot has a socket of its own.
    pub fn has_twins(&self) -> bool {
        self.iter().any(Held::has_twins)
    }

    /// The standby slot can be probed: the first TCP address has a socket for each slot.
    pub fn can_probe(&self) -> bool {
        let first = self.iter().find(|held| held.address.tcp().is_some());
        first.is_some_and(|held| matches!(held.sockets, Sockets::Twins(_) | Sockets::Apart(_)))
    }

    /// The slots have addresses of their own, at which each can be probed.
    pub fn is_relayed(&self) -> bool {
        let first = self.iter().find(|held| held.address.tcp().is_some());
        first.is_some_and(|held| held.front.is_some())
    }

    /// The slot that new connections go to.
    pub fn active(&self) -> Slot {
        self.active
    }

    /// The descriptors of a slot's sockets, for a generation that inherits them; it keeps them until its
    /// last process has ended.
    pub fn share(&self, slot: Slot) -> Vec<Arc<Socket>> {
        let sockets = self.sockets.iter();
        sockets.map(|held| held.sockets.of(slot).clone()).collect()
    }

    /// Steers connections from the source port that this returns to this slot, at every TCP address,
    /// also at addresses held later. Ends with [`Self::end_probe`], or when the slot becomes active.
    pub fn begin_probe(&mut self, to: Slot) -> io::Result<u16> {
        let first = self.iter().find_map(|held| held.address.tcp());
        let address = first.ok_or(io::ErrorKind::AddrNotAvailable)?;
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        socket.bind(&any.into())?;
        let own = socket.local_addr()?.as_socket();
        let from = own
            .map(|own| own.port())
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        self.probe = Some(Probe {
            to,
            from,
            _port: socket,
        });
        self.steer()?;
        Ok(from)
    }

    /// Ends the probe of this slot.
    pub fn end_probe(&mut self, slot: Slot) -> io::Result<()> {
        self.probe.take_if(|probe| probe.to == slot);
        self.steer()
    }

    /// This slot's sockets as standby sockets, for the relay.
    pub fn standby(&self, slot: Slot) -> Vec<Standby> {
        let apart = self
            .iter()
            .filter(|held| held.sockets.are_apart() && held.is_steered);
        let probe = self.probe.as_ref().filter(|probe| probe.to == slot);
        let standby = apart.map(|held| Standby {
            socket: held.sockets.of(slot).clone(),
            live: held.sockets.of(slot.other()).clone(),
            address: held.address.clone(),
            probe_port: probe.map(|probe| probe.from),
            forward: held
                .front
                .as_ref()
                .map(|front| front.behind.of(slot.other())),
        });
        standby.collect()
    }

    /// This slot's TCP sockets, for hotrun to accept on.
    pub fn tcp_sockets(&self, slot: Slot) -> Vec<Arc<Socket>> {
        let tcp = self.iter().filter(|held| held.address.tcp().is_some());
        tcp.map(|held| held.sockets.of(slot).clone()).collect()
    }

    /// This slot's sockets, for `quiesce`.
    pub fn old_slots(&self, slot: Slot) -> Vec<OldSlot> {
        let apart = self.iter().filter(|held| held.sockets.are_apart());
        let slots = apart.map(|held| OldSlot {
            inode: held.inode(slot),
            address: held.behind(slot).tcp(),
            relayed: held
                .front
                .as_ref()
                .map(|front| front.behind.ledger().clone()),
        });
        slots.collect()
    }

    /// Makes this slot active: new connections go there.
    pub fn switch(&mut self, slot: Slot) -> io::Result<()> {
        self.active = slot;
        self.probe.take_if(|probe| probe.to == slot);
        let steered = self.steer();
        self.repair().and(steered)
    }

    /// Undoes what apps do to the shared sockets: an app's `listen` sets the backlog, and its `shutdown`
    /// ends the listening.
    pub fn repair(&mut self) -> io::Result<()> {
        let repaired = all(self.each_mut().map(|held| held.sockets.repair()));
        self.steer().and(repaired)
    }

    /// Steers every address to the active slot, and the probe to its own; returns the first error.
    pub(super) fn steer(&mut self) -> io::Result<()> {
        let slot = self.active;
        let probe = self.probe.as_ref();
        let asked = probe.map(|probe| (probe.from, probe.to));
        all(self.each_mut().map(|held| {
            let steered = match (&held.sockets, asked) {
                (Sockets::Twins(twins), Some((from, to))) => twins.probe(from, to, slot),
                (sockets, _) => sockets.steer(slot),
            };
            held.is_steered = steered.is_ok();
            steered
        }))
    }
}

/// Consumes every result, and returns the first error.
fn all(results: impl Iterator<Item = io::Result<()>>) -> io::Result<()> {
    let mut first = Ok(());
    for result in results {
        first = first.and(result);
    }
    first
}

#[cfg(test)]
mod tests {
    use std::net::{Shutdown, TcpStream};
    use std::path::Path;

    use super::super::address::reachable;
    use super::super::spec;
    use super::*;
    use crate::sys::ABLE;
    use crate::sys::testing::{emulation_lacks, lacks};

    fn held(address: &str) -> HeldSet {
        let mut set = HeldSet::default();
        let spec = spec::parse(address, Path::new("/")).unwrap();
        set.adapt(&[spec], Steering::Kernel).unwrap();
        assert!(set.has_twins(), "{:?}", set.sockets[0].shared());
        set
    }

    /// The addresses at which clients reach it, one of each family.
    fn ways(set: &HeldSet) -> Vec<SocketAddr> {
        let address = set.sockets[0].address.tcp().unwrap();
        let v4 = (Ipv4Addr::LOCALHOST, address.port()).into();
        let dual = address.is_ipv6() && address.ip().is_unspecified();
        let more = dual.then_some(v4);
        std::iter::once(reachable(address)).chain(more).collect()
    }

    /// Accepts all connections queued on a slot, and counts them.
    fn taken(set: &HeldSet, slot: Slot) -> usize {
        let socket = set.share(slot).remove(0);
        let socket = socket;
        std::iter::from_fn(|| socket.accept().ok()).count()
    }

    const MANY: usize = 20;

    #[track_caller]
    fn goes_to(set: &HeldSet, slot: Slot) {
        for way in ways(set) {
            let _clients: Vec<TcpStream> = (0..MANY)
                .map(|_| TcpStream::connect(way).unwrap())
                .collect();
            assert_eq!(taken(set, slot.other()), 0, "{way}");
            assert_eq!(taken(set, slot), MANY, "{way}");
        }
    }

    #[test]
    fn new_connections_go_to_the_active_slot_alone() {
        if emulation_lacks("choice between two sockets at one address") {
            return;
        }
        if lacks(ABLE.twins, "two sockets at one address") {
            return;
        }
        for address in ["127.0.0.1:0", "[::1]:0", "[::]:0", "0.0.0.0:0"] {
            let mut set = held(address);
            goes_to(&set, Slot::First);
            for slot in [Slot::Second, Slot::First, Slot::Second] {
                set.switch(slot).unwrap();
                goes_to(&set, slot);
            }
            // An address that is added now is steered to the active slot.
            let specs = [address, "127.0.0.1:0"].map(|text| spec::parse(text, Path::new("/")));
            set.adapt(&specs.map(Result::unwrap), Steering::Kernel)
                .unwrap();
            set.sockets.swap(0, 1);
            goes_to(&set, Slot::Second);
        }
    }

    #[test]
    fn a_probe_reaches_the_standby_slot_and_nothing_else_does() {
        if emulation_lacks("choice between two sockets at one address") {
            return;
        }
        if lacks(ABLE.twins, "two sockets at one address") {
            return;
        }
        for address in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let mut set = held(address);
            for slot in [Slot::First, Slot::Second] {
                set.switch(slot).unwrap();
                let port = set.begin_probe(slot.other()).unwrap();
                let to = ways(&set)[0];
                for _ in 0..3 {
                    set.repair().unwrap();
                    let probe_port =
                        Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
                    probe_port.set_reuse_address(true).unwrap();
                    let own: SocketAddr = match to {
                        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, port).into(),
                        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, port).into(),
                    };
                    probe_port.bind(&own.into()).unwrap();
                    probe_port
                        .set_linger(Some(std::time::Duration::ZERO))
                        .unwrap();
                    probe_port.connect(&to.into()).unwrap();
                    assert_eq!(taken(&set, slot.other()), 1, "{to}");
                    assert_eq!(taken(&set, slot), 0, "{to}");
                }
                goes_to(&set, slot);
                set.end_probe(slot.other()).unwrap();
                goes_to(&set, slot);
            }
        }
    }

    /// An app's `shutdown` of its listener ends the listening in every process that has the socket.
    #[test]
    fn what_apps_do_to_their_sockets_is_repaired() {
        if emulation_lacks("choice between two sockets at one address") {
            return;
        }
        if lacks(ABLE.twins, "two sockets at one address") {
            return;
        }
        let slots = [Slot::First, Slot::Second];
        for live in slots {
            for broken in [&slots[..1], &slots[1..], &slots] {
                let mut set = held("127.0.0.1:0");
                set.switch(live).unwrap();
                for slot in broken {
                    let socket = set.share(*slot).remove(0);
                    socket.shutdown(Shutdown::Both).unwrap();
                }
                set.repair().unwrap();
                goes_to(&set, live);
                set.switch(live.other()).unwrap();
                goes_to(&set, live.other());
                set.switch(live).unwrap();
                goes_to(&set, live);
            }
        }
    }
}
