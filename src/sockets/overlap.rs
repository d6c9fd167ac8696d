//! Addresses that are in the way of those that live listens on, since the code has changed. They are
//! let go of; where somebody still has them, their clients are carried to live meanwhile.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::address::Address;
use super::captured::Captured;
use super::held::{Held, HeldSet};
use super::relay::Standby;
use super::twins::Sockets;
use crate::session::slots::Slot;

/// Where live may be reached that listens on every interface: not where something else is held.
const WAYS: [IpAddr; 3] = [
    IpAddr::V6(Ipv6Addr::LOCALHOST),
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)),
];

impl HeldSet {
    /// Lets go of what is in the way of what this slot listens on. Returns what that was. The rest may
    /// still be bound: servers have several addresses, and take their time between them.
    ///
    /// As long as an old version has a socket of a part of an address, that is where clients of this
    /// part come to. They are sent to the other one of both, where nobody is: see [`Self::forwards`].
    pub fn make_way(&mut self, slot: Slot) -> Vec<Address> {
        let is_claimed = |one: &&Captured| one.claims.is_listened_on_by(slot);
        let wide = |one: &Captured| {
            let mut claimed = self.captured.iter().filter(is_claimed);
            let is_blocked = |wide: &&Captured| one.held.overlaps_with(&wide.held.address);
            (!one.claims.is_claimed_by(slot))
                .then(|| claimed.find(is_blocked))
                .flatten()
        };
        let ways: Vec<(bool, Option<SocketAddr>)> = self
            .captured
            .iter()
            .map(|one| match (wide(one), &one.held.sockets) {
                (Some(wide), Sockets::Twins(_)) => (true, self.forward_to(&one.held, &wide.held)),
                (wide, _) => (wide.is_some(), None),
            })
            .collect();
        for (one, (_, way)) in self.captured.iter_mut().zip(&ways) {
            one.claims.live();
            one.forwards_to = way.or(one.forwards_to);
        }
        let mut ways = ways.into_iter();
        self.release_where(|one| {
            let in_the_way = ways.next().is_some_and(|(in_the_way, _)| in_the_way);
            in_the_way && one.forwards_to.is_none()
        })
    }

    /// An address that leads to what listens on all of them, and to nothing else that is held: a
    /// client that is carried must not come to where he is carried from.
    fn forward_to(&self, part: &Held, wide: &Held) -> Option<SocketAddr> {
        let (at, all) = (part.address.tcp()?, wide.address.tcp()?);
        let is_part = all.ip().is_unspecified()
            && (!at.ip().is_unspecified() || at.is_ipv4() != all.is_ipv4());
        let leads = |way: &SocketAddr| {
            let mut others = self.iter().filter(|held| held.address != wide.address);
            wide.covers(*way) && !others.any(|held| held.covers(*way))
        };
        let mut ways = WAYS.map(|ip| SocketAddr::new(ip, all.port())).into_iter();
        is_part.then(|| ways.find(leads)).flatten()
    }

    /// What comes to addresses that give way, and how it is carried to live.
    pub fn forwards(&self) -> Vec<Standby> {
        let way = |one: &Captured| {
            let socket = one.held.sockets.of(self.active);
            Some(Standby {
                socket: socket.clone(),
                live: socket.clone(),
                address: one.held.address.clone(),
                probe_port: None,
                forward: Some(one.forwards_to?),
            })
        };
        self.captured.iter().filter_map(way).collect()
    }

    /// What is held, but for what gives way.
    pub fn lasting(&self) -> impl Iterator<Item = &Held> {
        let lasting = self.captured.iter().filter(|one| one.forwards_to.is_none());
        self.given().chain(lasting.map(|one| &one.held))
    }
}

impl Held {
    /// It leaves IPv4 to another one.
    pub(super) fn is_only_v6(&self) -> bool {
        self.declared.as_ref().is_some_and(|own| own.only_v6)
    }

    /// Who connects there may come here.
    fn covers(&self, way: SocketAddr) -> bool {
        let Some(at) = self.address.tcp().filter(|at| at.port() == way.port()) else {
            return false;
        };
        let both = at.is_ipv6() && !self.is_only_v6();
        at.ip() == way.ip() || at.ip().is_unspecified() && (both || at.is_ipv4() == way.is_ipv4())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::captured::{Fresh, Written};
    use super::super::remembered::Port;
    use super::*;

    fn fresh(only_v6: bool, copy: Option<std::os::fd::OwnedFd>) -> Fresh {
        Fresh {
            only_v6,
            nonblocking: true,
            copy,
        }
    }

    /// What the first slot listens on.
    fn held(addresses: &[SocketAddr]) -> HeldSet {
        let mut set = HeldSet::default();
        set.adapt(&[], true).unwrap();
        for address in addresses {
            listen(&mut set, *address, Slot::First);
        }
        set
    }

    fn listen(set: &mut HeldSet, address: SocketAddr, slot: Slot) {
        let only_v6 = false;
        let address = Address::Tcp(address);
        let own = set.bind(&address, &fresh(only_v6, None)).unwrap();
        let written = Written {
            address: address.clone(),
            number: 0,
        };
        set.capture(&written, &fresh(only_v6, Some(own))).unwrap();
        let inode = set.find(&address, only_v6, slot).unwrap();
        assert!(set.claim(inode, slot));
    }

    fn free_port() -> u16 {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    }

    fn at(host: &str, port: u16) -> SocketAddr {
        SocketAddr::new(host.parse().unwrap(), port)
    }

    #[test]
    fn who_is_carried_does_not_come_back() {
        for (parts, wide, ways) in [
            (&["127.0.0.1"][..], "0.0.0.0", &["127.0.0.2"][..]),
            (&["127.0.0.2"], "0.0.0.0", &["127.0.0.1"]),
            (&["127.0.0.1"], "::", &["::1"]),
            (&["::1"], "::", &["127.0.0.1"]),
            (&["0.0.0.0"], "::", &["::1"]),
            (&["127.0.0.1", "::1"], "::", &["127.0.0.2", "127.0.0.2"]),
            // There is none, so both are let go of at once.
            (&["0.0.0.0", "::1"], "::", &[]),
            (&["0.0.0.0"], "127.0.0.1", &[]),
        ] {
            let port = free_port();
            let parts: Vec<SocketAddr> = parts.iter().map(|part| at(part, port)).collect();
            let mut set = held(&parts);
            listen(&mut set, at(wide, port), Slot::Second);
            set.switch(Slot::Second).unwrap();
            let gone = set.make_way(Slot::Second);
            let found: Vec<SocketAddr> = set
                .forwards()
                .into_iter()
                .filter_map(|standby| standby.forward)
                .collect();
            let ways: Vec<SocketAddr> = ways.iter().map(|way| at(way, port)).collect();
            assert_eq!(found, ways, "{parts:?} {wide}");
            assert_eq!(gone.len(), parts.len() - ways.len(), "{parts:?} {wide}");
            // The next run holds what lasts.
            let ports: Vec<SocketAddr> = set.ports().iter().map(|port| port.at).collect();
            assert_eq!(ports, [at(wide, port)]);
        }
    }

    /// A server that has several, and takes its time between them.
    #[test]
    fn what_an_earlier_run_had_is_kept_until_it_is_known_that_nobody_wants_it() {
        let mut set = held(&[]);
        let ports = [free_port(), free_port(), free_port()].map(|port| at("127.0.0.1", port));
        let remembered = |at: SocketAddr| Port { at, only_v6: false };
        assert!(set.remember(&ports.map(remembered)));
        let slot = Slot::First;
        let inode = |set: &HeldSet, at: SocketAddr| set.find(&Address::Tcp(at), false, slot);
        let [listens, binds, neither] = ports.map(|port| inode(&set, port).unwrap());
        assert!(set.claim(listens, slot));
        set.reserve(binds, slot);
        assert_eq!(set.make_way(slot), []);
        // It has had the time to.
        assert_eq!(set.release_unclaimed(), [Address::Tcp(ports[2])]);
        assert_eq!(set.address_of(neither), None);
        assert_eq!(set.claims(slot), [listens, binds].into());
        set.unclaim(slot, &[binds].into());
        assert_eq!(set.release_unclaimed(), [Address::Tcp(ports[1])]);
    }

    #[test]
    fn what_a_program_listens_on_that_has_it_is_held_again() {
        let port = at("127.0.0.1", free_port());
        let mut set = held(&[port]);
        let inode = set.find(&Address::Tcp(port), false, Slot::Second).unwrap();
        let fresh = fresh(false, None);
        let handed = set.give(inode, &fresh).unwrap();
        assert_eq!(set.release_where(|_| true), [Address::Tcp(port)]);
        assert!(set.hold_again(inode));
        assert!(set.claim(inode, Slot::Second));
        set.switch(Slot::Second).unwrap();
        let _client = std::net::TcpStream::connect(port).unwrap();
        assert!(socket2::SockRef::from(&handed).accept().is_ok());
        // Nobody has it any more.
        set.release_where(|_| true);
        drop(handed);
        assert!(!set.hold_again(inode));
    }

    #[test]
    fn a_socket_for_each_family_is_remembered() {
        let port = free_port();
        let only = |host: &str, only_v6: bool| Port {
            at: at(host, port),
            only_v6,
        };
        for ports in [
            [only("::", true), only("0.0.0.0", false)],
            [only("0.0.0.0", false), only("::", true)],
        ] {
            let mut set = held(&[]);
            set.remember(&ports);
            assert_eq!(set.iter().count(), 2);
        }
        let mut set = held(&[]);
        set.remember(&[only("::", false), only("0.0.0.0", false)]);
        assert_eq!(set.iter().count(), 1);
    }
}
