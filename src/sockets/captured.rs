//! Addresses that the app has bound by itself, and that are held since it listens there. A later
//! version that binds one of them is given the socket of its slot.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use socket2::SockRef;

use super::address::Address;
use super::claims::Claims;
use super::declared::beside;
use super::held::{Declared, Held, HeldSet, Released};
use super::open::{How, bind, is_taken, open};
use super::options::carry;
use super::remembered::Port;
use super::twins::Sockets;
use super::unix_twins::Paths;
use crate::session::slots::Slot;

/// An address as the program has written it, and how often it had written it before where the port is
/// left to the system: so the same one of them gets the same port again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// With port 0 where that is left to the system.
    pub address: Address,
    /// Which one, counted from 0.
    pub number: u32,
}

/// A socket that the program has made, which a held one takes the place of.
#[derive(Debug)]
pub struct Fresh {
    /// IPv4 is left to another one.
    pub only_v6: bool,
    /// Accepting and receiving return at once.
    pub nonblocking: bool,
    /// A copy of it, where one can be had: for its options, and to know where exactly it is bound.
    pub copy: Option<OwnedFd>,
}

/// One address that is held since the app listens there.
#[derive(Debug)]
pub(super) struct Captured {
    pub(super) held: Held,
    number: u32,
    /// Which generations want it.
    pub(super) claims: Claims,
    /// It is in the way of what live listens on, which clients that come here are to be carried to by
    /// this way; until nobody has it any more.
    pub(super) forwards_to: Option<SocketAddr>,
}

/// How many there are at the most.
pub const MOST: usize = 64;

impl Captured {
    fn new(held: Held, number: u32) -> Self {
        Self {
            held,
            number,
            claims: Claims::captured(),
            forwards_to: None,
        }
    }
}

impl HeldSet {
    /// The held socket that this slot has at an address, by its number in /proc: one that a program
    /// can ask for by that address. Of what is left to the system, none.
    pub fn find(&self, address: &Address, only_v6: bool, slot: Slot) -> Option<u64> {
        let given = self.given().find(|held| held.address == *address);
        let mut captured = self.captured.iter().map(|captured| &captured.held);
        let is_it = |held: &&Held| {
            let same = |own: &Declared| own.only_v6 == only_v6 || !is_every_v6(address);
            held.address == *address && held.declared.as_ref().is_some_and(same)
        };
        let found = given.or_else(|| captured.find(is_it));
        found
            .filter(|_| !address.is_open())
            .map(|held| held.inode(slot))
    }

    /// The same for one of which the system had chosen the port.
    pub fn find_numbered(&self, written: &Written, only_v6: bool, slot: Slot) -> Option<u64> {
        let same = |own: &Declared| own.address == written.address && own.only_v6 == only_v6;
        let is_it = |one: &&Captured| {
            one.number == written.number && one.held.declared.as_ref().is_some_and(same)
        };
        let found = self.captured.iter().find(is_it);
        found
            .filter(|_| written.address.is_open())
            .map(|one| one.held.inode(slot))
    }

    /// The address of a held socket, whichever slot's.
    pub fn address_of(&self, inode: u64) -> Option<&Address> {
        self.iter()
            .find(|held| held.has(inode))
            .map(|held| &held.address)
    }

    /// A program listens on a held socket, if it is one: whether it is. What has ended its listening
    /// before begins anew.
    pub fn listens_again(&mut self, inode: u64) -> bool {
        let Some(held) = self.iter().find(|held| held.has(inode)) else {
            return false;
        };
        if !SockRef::from(&**held.socket(inode))
            .is_listener()
            .unwrap_or(true)
        {
            self.repair().ok();
        }
        true
    }

    /// A copy of a held socket for a program, made what its own was.
    pub fn give(&self, inode: u64, fresh: &Fresh) -> Option<Arc<OwnedFd>> {
        let held = self.iter().find(|held| held.has(inode))?;
        let socket = held.socket(inode);
        if let Some(copy) = &fresh.copy {
            carry(copy, &**socket);
        }
        SockRef::from(&**socket)
            .set_nonblocking(fresh.nonblocking)
            .ok();
        Some(socket.clone())
    }

    /// The paths of unix sockets for connections that are held.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.iter().filter_map(|held| match &held.address {
            Address::Unix(path) => Some(&**path),
            _ => None,
        })
    }

    /// Has every path lead to where it is to, whatever programs have done to it.
    pub fn show_paths(&self) {
        let is_path = |held: &&Held| held.address.path().is_some();
        for held in self.iter().filter(is_path) {
            held.sockets.steer(self.active).ok();
        }
    }

    /// This slot wants clients to come to this socket; whether that is new.
    pub fn claim(&mut self, inode: u64, slot: Slot) -> bool {
        let mut captured = self.captured.iter_mut();
        let Some(captured) = captured.find(|one| one.held.has(inode)) else {
            return false;
        };
        captured.forwards_to = None;
        captured.claims.listen(slot)
    }

    /// This slot has bound this socket, and may be about to listen on it: nobody takes it away until
    /// then.
    pub fn reserve(&mut self, inode: u64, slot: Slot) {
        let mut captured = self.captured.iter_mut();
        if let Some(captured) = captured.find(|one| one.held.has(inode)) {
            captured.claims.bind(slot);
        }
    }

    /// What this slot has bound or listens on, by the numbers in /proc of its sockets.
    pub fn claims(&self, slot: Slot) -> HashSet<u64> {
        let claimed = self
            .captured
            .iter()
            .filter(|one| one.claims.is_claimed_by(slot));
        claimed.map(|one| one.held.inode(slot)).collect()
    }

    /// A program listens on a socket that was held when it was given to it, and has been let go of
    /// since: it is held again, if it is one of those.
    pub fn hold_again(&mut self, inode: u64) -> bool {
        let held = self.released.iter().find_map(|released| {
            let held = released.held()?;
            held.has(inode).then_some(held)
        });
        let Some(held) = held.filter(|_| self.may_capture()) else {
            return false;
        };
        self.captured.push(Captured::new(held, 0));
        // If it can't be, that is said at the next switch.
        self.repair().ok();
        true
    }

    /// It does not want these any more.
    pub fn unclaim(&mut self, slot: Slot, given_up: &HashSet<u64>) {
        for captured in &mut self.captured {
            if given_up.contains(&captured.held.inode(slot)) {
                captured.claims.give_up(slot);
            }
        }
    }

    /// This slot gets another generation, or has none any more; `serving` is the slot of the generation that
    /// serves, or served last.
    pub fn forget_claims(&mut self, slot: Slot, serving: Slot) {
        for captured in &mut self.captured {
            captured.claims.forget(slot, serving);
        }
    }

    /// The addresses that the next generation is to listen on before it is ready.
    pub fn awaited(&self, serving: Slot) -> Vec<Address> {
        let captured = self.captured.iter();
        let awaited = captured.filter(|one| one.claims.is_awaited(serving));
        awaited.map(|one| one.held.address.clone()).collect()
    }

    /// There is an address that a program of this run listens on, or is given.
    pub fn serves(&self) -> bool {
        !self.sockets.is_empty() || self.captured.iter().any(|one| !one.claims.is_remembered())
    }

    /// Holds nothing any more that programs bind by themselves, and nothing more from now on; or begins
    /// to. Returns what is let go of.
    pub fn capture_from_now_on(&mut self, captures: bool) -> Vec<Address> {
        self.captures_nothing = !captures;
        if captures {
            return Vec::new();
        }
        self.release_where(|_| true)
    }

    /// No more addresses than these are held for programs: each takes two descriptors of ours, and one
    /// that listens on more looks for a free port, or is a scanner.
    pub fn may_capture(&self) -> bool {
        !self.captures_nothing && self.captured.len() < MOST
    }

    /// There is no place for one more.
    pub fn is_full(&self) -> bool {
        self.captured.len() >= MOST
    }

    /// Holds the address at which a program begins to listen. It gets two sockets of its own, which
    /// stand where the program's was, or beside that as long as there is a copy of it.
    pub fn capture(&mut self, written: &Written, fresh: &Fresh) -> io::Result<()> {
        let declared = Declared {
            address: written.address.clone(),
            only_v6: fresh.only_v6,
            nonblocking: fresh.nonblocking,
        };
        let held = self.pair_at(written, declared, fresh)?;
        self.captured.push(Captured::new(held, written.number));
        // If it can't be, that is said at the next switch.
        self.steer().ok();
        Ok(())
    }

    fn pair_at(&self, written: &Written, declared: Declared, fresh: &Fresh) -> io::Result<Held> {
        let how = How {
            nonblocking: declared.nonblocking,
            only_v6: declared.only_v6,
            beside: fresh.copy.is_some(),
            paired: self.twins && written.address.tcp().is_some(),
        };
        if let Address::Unix(path) = &written.address {
            // It takes the place of the program's own at the path.
            let how = How {
                beside: true,
                ..how
            };
            let address = written.address.clone();
            let (sockets, file) = if self.twins {
                (Sockets::Paths(Paths::open(path, how, self.active)?), None)
            } else {
                let (socket, file) = open(&address, how)?;
                (Sockets::Shared(Arc::new(socket.into()), None), file)
            };
            let mut held = Held::new(None, address, Some(declared), sockets, file)?;
            held.publish(self.active)?;
            return Ok(held);
        }
        let mut address = written.address.clone();
        if let Some(copy) = &fresh.copy {
            let copy = SockRef::from(copy);
            copy.set_reuse_port(true)?;
            if let Some(at) = copy.local_addr()?.as_socket() {
                address = address.with_port(at.port());
            }
        }
        let (socket, _) = open(&address, how)?;
        if let Some(at) = socket.local_addr()?.as_socket() {
            address = address.with_port(at.port());
        }
        if let Some(copy) = &fresh.copy {
            carry(copy, &socket);
        }
        let socket = Arc::new(socket.into());
        let sockets = if how.paired {
            Sockets::pair(socket, self.active)
        } else {
            Sockets::Shared(socket, None)
        };
        Held::new(None, address, Some(declared), sockets, None)
    }

    /// The ports that programs have asked for by their number, and will ask for again.
    pub fn ports(&self) -> Vec<Port> {
        let port = |one: &Captured| {
            let own = one.held.declared.as_ref()?;
            let at = one.held.address.tcp().filter(|_| !own.address.is_open())?;
            Some(Port {
                at,
                only_v6: own.only_v6,
            })
        };
        let lasting = self.captured.iter().filter(|one| one.forwards_to.is_none());
        lasting.filter_map(port).collect()
    }

    /// Holds the addresses of an earlier run, as far as nobody has them; whether there is one.
    pub fn remember(&mut self, ports: &[Port]) -> bool {
        for port in ports {
            let written = Written {
                address: Address::Tcp(port.at),
                number: 0,
            };
            let fresh = Fresh {
                only_v6: port.only_v6,
                nonblocking: true,
                copy: None,
            };
            let at = &written.address;
            // A family each.
            let is_apart = |held: &Held| {
                let apart = held.is_only_v6() && held.address.spans(at);
                apart || port.only_v6 && at.spans(&held.address)
            };
            let is_taken = |held: &Held| held.overlaps_with(at) && !is_apart(held);
            let is_free = !self.iter().any(is_taken);
            if is_free
                && self.capture(&written, &fresh).is_ok()
                && let Some(captured) = self.captured.last_mut()
            {
                captured.claims = Claims::remembered();
            }
        }
        !self.captured.is_empty()
    }

    /// Holds an address at which a program takes datagrams, at the moment at which it binds.
    pub fn capture_datagrams(&mut self, address: &Address, fresh: &Fresh) -> io::Result<()> {
        let crossed = self.crossed_by(address);
        let how = How {
            nonblocking: fresh.nonblocking,
            only_v6: fresh.only_v6,
            beside: !crossed.is_empty(),
            paired: false,
        };
        let (socket, _) = beside(&crossed, || open(address, how))?;
        let declared = Declared {
            address: address.clone(),
            only_v6: fresh.only_v6,
            nonblocking: fresh.nonblocking,
        };
        let sockets = Sockets::Shared(Arc::new(socket.into()), None);
        let held = Held::new(None, address.clone(), Some(declared), sockets, None)?;
        self.captured.push(Captured::new(held, 0));
        Ok(())
    }

    /// A held address is a part of this one, or the whole: the kernel would refuse the program
    /// because of us. What was declared is the user's own word, and stays in the way.
    pub fn is_crossed_by(&self, address: &Address) -> bool {
        !self.crossed_by(address).is_empty()
    }

    fn crossed_by(&self, address: &Address) -> Vec<&Held> {
        if self.given().any(|held| held.overlaps_with(address)) {
            return Vec::new();
        }
        let captured = self.captured.iter().map(|captured| &captured.held);
        // One of the very same address is of another kind: IPv6 alone, or both.
        captured
            .filter(|held| held.overlaps_with(address))
            .collect()
    }

    /// Binds a socket in the place of one that a program binds and may listen on: beside those that
    /// are in the way.
    pub fn bind(&self, address: &Address, fresh: &Fresh) -> io::Result<OwnedFd> {
        let crossed = self.crossed_by(address);
        let how = How {
            nonblocking: fresh.nonblocking,
            only_v6: fresh.only_v6,
            beside: !crossed.is_empty(),
            paired: true,
        };
        let bound = beside(&crossed, || bind(address, how))?;
        if let Some(copy) = &fresh.copy {
            carry(copy, &bound);
        }
        Ok(bound)
    }

    /// Lets go of what neither slot has asked for. Returns what that was.
    pub fn release_unclaimed(&mut self) -> Vec<Address> {
        self.release_where(|one| one.claims.may_be_released())
    }

    /// Lets go of what was held for a program that does not run: nobody has asked for it now.
    pub fn release_unbound(&mut self) -> Vec<Address> {
        self.release_where(|one| !one.claims.is_claimed())
    }

    pub(super) fn release_where(
        &mut self,
        mut goes: impl FnMut(&Captured) -> bool,
    ) -> Vec<Address> {
        let goes = |one: &mut Captured| goes(one);
        let gone: Vec<Held> = self
            .captured
            .extract_if(.., goes)
            .map(|one| one.held)
            .collect();
        let addresses = gone.iter().map(|held| held.address.clone()).collect();
        // Nobody asks again for one that no process has any more.
        self.released.retain(Released::is_left);
        self.released
            .extend(gone.into_iter().filter_map(Held::release));
        addresses
    }
}

impl Fresh {
    /// A program that binds it to this address is refused, since somebody else has that.
    pub fn is_refused(&self, address: &Address) -> bool {
        let shares = self.copy.as_ref().is_some_and(|copy| {
            let copy = SockRef::from(copy);
            copy.reuse_port().unwrap_or(false)
        });
        is_taken(address, self.only_v6, shares)
    }
}

/// `[::]`, of which there are two kinds.
fn is_every_v6(address: &Address) -> bool {
    let at = address.internet();
    at.is_some_and(|at| at.is_ipv6() && at.ip().is_unspecified())
}

impl Held {
    /// It is the socket of one of both slots.
    fn has(&self, inode: u64) -> bool {
        [Slot::First, Slot::Second]
            .iter()
            .any(|slot| self.inode(*slot) == inode)
    }

    fn socket(&self, inode: u64) -> &Arc<OwnedFd> {
        let first = self.inode(Slot::First) == inode;
        self.sockets
            .of(if first { Slot::First } else { Slot::Second })
    }
}
