//! Held addresses that overlap with those that live listens on, after a change of the code. They are
//! released; while an older generation still has them, their connections are forwarded to live.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::address::Address;
use super::captured::Captured;
use super::held::{Held, HeldSet};
use super::relay::Standby;
use super::twins::Sockets;
use crate::session::slots::Slot;

/// Loopback addresses at which live may be reached if it listens on a wildcard address, unless another
/// held address is there.
const LOOPBACK: [IpAddr; 3] = [
    IpAddr::V6(Ipv6Addr::LOCALHOST),
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)),
];

impl HeldSet {
    /// This slot became live: releases the addresses that overlap with its own, and returns them.
    /// Addresses that don't overlap are kept, since a server with several may bind the rest later.
    ///
    /// As long as an older generation has a socket of the narrower address, the kernel delivers
    /// connections there. Those are steered to that address's active slot, which no generation has, and
    /// forwarded: see [`Self::forwards`].
    pub fn release_overlapping(&mut self, slot: Slot) -> Vec<Address> {
        let is_claimed = |one: &&Captured| one.claims.is_listened_on_by(slot);
        let wide = |one: &Captured| {
            let mut claimed = self.captured.iter().filter(is_claimed);
            let overlaps = |wide: &&Captured| one.held.overlaps_with(&wide.held.address);
            (!one.claims.is_claimed_by(slot))
                .then(|| claimed.find(overlaps))
                .flatten()
        };
        let targets: Vec<(bool, Option<SocketAddr>)> = self
            .captured
            .iter()
            .map(|one| match (wide(one), &one.held.sockets) {
                (Some(wide), Sockets::Twins(_)) => (true, self.forward_to(&one.held, &wide.held)),
                (wide, _) => (wide.is_some(), None),
            })
            .collect();
        for (one, (_, target)) in self.captured.iter_mut().zip(&targets) {
            one.claims.live();
            one.forwards_to = target.or(one.forwards_to);
        }
        let mut targets = targets.into_iter();
        self.release_where(|one| {
            let overlaps = targets.next().is_some_and(|(overlaps, _)| overlaps);
            overlaps && one.forwards_to.is_none()
        })
    }

    /// An address at which a connection reaches the wildcard address and no other held one: a forwarded
    /// connection must not come back to where it was accepted.
    fn forward_to(&self, part: &Held, wide: &Held) -> Option<SocketAddr> {
        let (at, all) = (part.address.tcp()?, wide.address.tcp()?);
        let is_part = all.ip().is_unspecified()
            && (!at.ip().is_unspecified() || at.is_ipv4() != all.is_ipv4());
        let reaches = |target: &SocketAddr| {
            let mut others = self.iter().filter(|held| held.address != wide.address);
            wide.covers(*target) && !others.any(|held| held.covers(*target))
        };
        let mut targets = LOOPBACK
            .map(|ip| SocketAddr::new(ip, all.port()))
            .into_iter();
        is_part.then(|| targets.find(reaches)).flatten()
    }

    /// The sockets of overlapping addresses whose connections are forwarded to live.
    pub fn forwards(&self) -> Vec<Standby> {
        let standby = |one: &Captured| {
            let socket = one.held.sockets.of(self.active);
            Some(Standby {
                socket: socket.clone(),
                live: socket.clone(),
                address: one.held.address.clone(),
                probe_port: None,
                forward: Some(one.forwards_to?),
            })
        };
        self.captured.iter().filter_map(standby).collect()
    }

    /// The held addresses, without those that are forwarded.
    pub fn lasting(&self) -> impl Iterator<Item = &Held> {
        let lasting = self.captured.iter().filter(|one| one.forwards_to.is_none());
        self.given().chain(lasting.map(|one| &one.held))
    }
}

impl Held {
    /// It is an IPv6 address with `IPV6_V6ONLY`.
    pub(super) fn is_only_v6(&self) -> bool {
        self.declared.as_ref().is_some_and(|own| own.only_v6)
    }

    /// A connection to `target` may arrive at this socket.
    fn covers(&self, target: SocketAddr) -> bool {
        let Some(at) = self.address.tcp().filter(|at| at.port() == target.port()) else {
            return false;
        };
        let both = at.is_ipv6() && !self.is_only_v6();
        at.ip() == target.ip()
            || at.ip().is_unspecified() && (both || at.is_ipv4() == target.is_ipv4())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::captured::{Fresh, Written};
    use super::super::remembered::Port;
    use super::super::steering::Steering;
    use socket2::Socket;

    use super::*;
    use crate::sys::ABLE;
    use crate::sys::testing::{emulation_lacks, lacks};

    fn fresh(only_v6: bool, copy: Option<Socket>) -> Fresh {
        Fresh {
            only_v6,
            nonblocking: true,
            copy,
        }
    }

    /// A set whose addresses the first slot listens on.
    fn held(addresses: &[SocketAddr]) -> HeldSet {
        let mut set = HeldSet::default();
        set.adapt(&[], Steering::Kernel).unwrap();
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
    fn a_forwarded_connection_does_not_come_back() {
        if emulation_lacks("choice between two sockets at one address") {
            return;
        }
        if lacks(ABLE.capture, "capture") {
            return;
        }
        for (parts, wide, targets) in [
            (&["127.0.0.1"][..], "0.0.0.0", &["127.0.0.2"][..]),
            (&["127.0.0.2"], "0.0.0.0", &["127.0.0.1"]),
            (&["127.0.0.1"], "::", &["::1"]),
            (&["::1"], "::", &["127.0.0.1"]),
            (&["0.0.0.0"], "::", &["::1"]),
            (&["127.0.0.1", "::1"], "::", &["127.0.0.2", "127.0.0.2"]),
            // No address leads to the wildcard alone, so both are released at once.
            (&["0.0.0.0", "::1"], "::", &[]),
            (&["0.0.0.0"], "127.0.0.1", &[]),
        ] {
            let port = free_port();
            let parts: Vec<SocketAddr> = parts.iter().map(|part| at(part, port)).collect();
            let mut set = held(&parts);
            listen(&mut set, at(wide, port), Slot::Second);
            set.switch(Slot::Second).unwrap();
            let gone = set.release_overlapping(Slot::Second);
            let found: Vec<SocketAddr> = set
                .forwards()
                .into_iter()
                .filter_map(|standby| standby.forward)
                .collect();
            let targets: Vec<SocketAddr> = targets.iter().map(|target| at(target, port)).collect();
            assert_eq!(found, targets, "{parts:?} {wide}");
            assert_eq!(gone.len(), parts.len() - targets.len(), "{parts:?} {wide}");
            // The forwarded address is not remembered for the next run.
            let ports: Vec<SocketAddr> = set.ports().iter().map(|port| port.at).collect();
            assert_eq!(ports, [at(wide, port)]);
        }
    }

    /// A server with several addresses, which takes its time between them.
    #[test]
    fn a_remembered_address_is_kept_until_it_is_clear_that_no_generation_claims_it() {
        if lacks(ABLE.capture, "capture") {
            return;
        }
        let mut set = held(&[]);
        let ports = [free_port(), free_port(), free_port()].map(|port| at("127.0.0.1", port));
        let remembered = |at: SocketAddr| Port { at, only_v6: false };
        assert!(set.remember(&ports.map(remembered)));
        let slot = Slot::First;
        let inode = |set: &HeldSet, at: SocketAddr| set.find(&Address::Tcp(at), false, slot);
        let [listens, binds, neither] = ports.map(|port| inode(&set, port).unwrap());
        assert!(set.claim(listens, slot));
        set.reserve(binds, slot);
        assert_eq!(set.release_overlapping(slot), []);
        // As after the probation.
        assert_eq!(set.release_unclaimed(), [Address::Tcp(ports[2])]);
        assert!(set.holding(neither).is_none());
        let mut given_up = set.claims(slot);
        assert_eq!(given_up.len(), 2);
        given_up.remove(&listens).unwrap();
        set.unclaim(slot, &given_up);
        assert_eq!(set.release_unclaimed(), [Address::Tcp(ports[1])]);
    }

    #[test]
    fn a_released_address_is_held_again_when_a_program_listens_on_its_socket() {
        if lacks(ABLE.capture, "capture") {
            return;
        }
        let port = at("127.0.0.1", free_port());
        let mut set = held(&[port]);
        let inode = set.find(&Address::Tcp(port), false, Slot::Second).unwrap();
        let fresh = fresh(false, None);
        let handed = set.give(inode, Slot::Second, &fresh).unwrap();
        assert_eq!(set.release_where(|_| true), [Address::Tcp(port)]);
        assert!(set.hold_again(inode));
        assert!(set.claim(inode, Slot::Second));
        set.switch(Slot::Second).unwrap();
        let _client = std::net::TcpStream::connect(port).unwrap();
        assert!(handed.accept().is_ok());
        // No process has the socket any more.
        set.release_where(|_| true);
        drop(handed);
        assert!(!set.hold_again(inode));
    }

    /// A session may release as many as it likes.
    #[test]
    fn a_released_address_that_no_process_has_is_forgotten() {
        if lacks(ABLE.capture, "capture") {
            return;
        }
        let ports: Vec<SocketAddr> = (0..3).map(|_| at("127.0.0.1", free_port())).collect();
        let mut set = held(&[]);
        for port in ports {
            listen(&mut set, port, Slot::First);
            set.release_where(|_| true);
            assert!(set.released.len() <= 1, "{}", set.released.len());
        }
    }

    #[test]
    fn a_socket_for_each_family_is_remembered() {
        if lacks(ABLE.capture, "capture") {
            return;
        }
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
