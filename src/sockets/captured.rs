//! Addresses that the app bound by itself and that hotrun has held since the app listened there. A later
//! generation that binds one of them gets the socket of its slot.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use socket2::Socket;

use super::address::Address;
use super::declared::beside;
use super::held::{Declared, Held, HeldSet, Released};
use super::open::{How, bind, is_taken, open};
use super::remembered::Port;
use super::steering::Steering;
use super::twins::Sockets;
use super::unix_twins::Paths;
use crate::session::claims::{Claims, Mark};
use crate::session::slots::Slot;
use crate::sys::carry_options;
use crate::sys::sockets::{listens, share_address, shares_address};

/// An address as the program passed it to `bind`. For port 0, it carries how many such binds came
/// before, so that the same bind gets the same port in each generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// With port 0 where the kernel chooses the port.
    pub address: Address,
    /// The bind's number among those with this address and port 0, from 0.
    pub number: u32,
}

/// The program's own socket, which a held one replaces.
#[derive(Debug)]
pub struct Fresh {
    /// `IPV6_V6ONLY` is set.
    pub only_v6: bool,
    /// `O_NONBLOCK` is set.
    pub nonblocking: bool,
    /// A duplicate of the program's socket, where it can be had: for its options, and for the address it
    /// is bound to.
    pub copy: Option<Socket>,
}

/// One captured address.
#[derive(Debug)]
pub(super) struct Captured {
    pub(super) held: Held,
    number: u32,
    /// The generations that claim the address.
    pub(super) claims: Claims,
    /// The address overlaps with one that live listens on: connections that arrive here are forwarded to
    /// that, until no process has a socket of this address.
    pub(super) forwards_to: Option<SocketAddr>,
}

/// The most addresses that are captured.
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
    /// The inode of the slot's held socket at this address. `None` for port 0: see
    /// [`Self::find_numbered`].
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

    /// The same for port 0: the held socket with the number of the bind.
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

    /// What is held by a socket of either slot.
    pub fn holding(&self, inode: u64) -> Option<&Held> {
        self.iter().find(|held| held.has(inode))
    }

    /// Whether this is a held socket, on which a program now listens. If an app has shut it down, it
    /// listens again.
    pub fn listens_again(&mut self, inode: u64) -> bool {
        let Some(held) = self.holding(inode) else {
            return false;
        };
        if !listens(held.socket(inode)).unwrap_or(true) {
            self.repair().ok();
        }
        true
    }

    /// A held socket for the slot's generation, with the options and the blocking mode of the program's
    /// own. The address is claimed until [`Self::claim`], [`Self::reserve`] or [`Self::not_given`].
    pub fn give(&mut self, inode: u64, slot: Slot, fresh: &Fresh) -> Option<Arc<Socket>> {
        if let Some(captured) = self.captured_with(inode) {
            captured.claims.give(slot);
        }
        let held = self.holding(inode)?;
        let socket = held.socket(inode);
        if let Some(copy) = &fresh.copy {
            carry_options(copy, socket);
        }
        socket.set_nonblocking(fresh.nonblocking).ok();
        Some(socket.clone())
    }

    /// The paths of the held unix stream sockets.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.iter().filter_map(|held| match &held.address {
            Address::Unix(path) => Some(&**path),
            _ => None,
        })
    }

    /// Makes every public path lead to the active slot again, whatever programs have done to it.
    pub fn restore_paths(&self) {
        let is_path = |held: &&Held| held.address.path().is_some();
        for held in self.iter().filter(is_path) {
            held.sockets.steer(self.active).ok();
        }
    }

    /// The slot's generation listens on this socket; whether that is a new claim.
    pub fn claim(&mut self, inode: u64, slot: Slot) -> bool {
        let Some(captured) = self.captured_with(inode) else {
            return false;
        };
        captured.forwards_to = None;
        captured.claims.listen(slot)
    }

    /// The slot's generation has bound this socket and may be about to listen on it, so the address is
    /// not released in between.
    pub fn reserve(&mut self, inode: u64, slot: Slot) {
        if let Some(captured) = self.captured_with(inode) {
            captured.claims.bind(slot);
        }
    }

    /// This socket could not be put into the slot's generation.
    pub fn not_given(&mut self, inode: u64, slot: Slot) {
        if let Some(captured) = self.captured_with(inode) {
            captured.claims.not_given(slot);
        }
    }

    fn captured_with(&mut self, inode: u64) -> Option<&mut Captured> {
        self.captured.iter_mut().find(|one| one.held.has(inode))
    }

    /// What the slot's generation claims now, by the inodes of the sockets.
    pub fn claims(&self, slot: Slot) -> HashMap<u64, Mark> {
        let captured = self.captured.iter();
        let claimed =
            captured.filter_map(|one| Some((one.held.inode(slot), one.claims.mark(slot)?)));
        claimed.collect()
    }

    /// A program listens on a socket that was released after the program got it: the address is held
    /// again. Whether this is such a socket.
    pub fn hold_again(&mut self, inode: u64) -> bool {
        let held = self.released.iter().find_map(|released| {
            let held = released.held()?;
            held.has(inode).then_some(held)
        });
        let Some(held) = held.filter(|_| self.may_capture()) else {
            return false;
        };
        self.captured.push(Captured::new(held, 0));
        // A failure is reported at the next switch.
        self.repair().ok();
        true
    }

    /// The slot's generation has given up these of its [`Self::claims`], unless it has renewed them
    /// since.
    pub fn unclaim(&mut self, slot: Slot, given_up: &HashMap<u64, Mark>) {
        for captured in &mut self.captured {
            if let Some(mark) = given_up.get(&captured.held.inode(slot)) {
                captured.claims.give_up(slot, *mark);
            }
        }
    }

    /// The slot gets another generation, or has none any more; `serving` is the slot of the generation
    /// that serves, or served last.
    pub fn forget_claims(&mut self, slot: Slot, serving: Slot) {
        for captured in &mut self.captured {
            captured.claims.forget(slot, serving);
        }
    }

    /// The addresses that the next generation must listen on before it is ready.
    pub fn awaited(&self, serving: Slot) -> Vec<Address> {
        let captured = self.captured.iter();
        let awaited = captured.filter(|one| one.claims.is_awaited(serving));
        awaited.map(|one| one.held.address.clone()).collect()
    }

    /// There is a declared or inherited address, or one that a program of this run has listened on.
    pub fn serves(&self) -> bool {
        !self.sockets.is_empty() || self.captured.iter().any(|one| !one.claims.is_remembered())
    }

    /// Starts capturing, or releases every captured address and captures no more. Returns what it
    /// released.
    pub fn capture_from_now_on(&mut self, captures: bool) -> Vec<Address> {
        self.captures_nothing = !captures;
        if captures {
            return Vec::new();
        }
        self.release_where(|_| true)
    }

    /// Another address may be captured. Their number is limited: each takes two descriptors of hotrun,
    /// and a program that listens on more is looking for a free port or scanning.
    pub fn may_capture(&self) -> bool {
        !self.captures_nothing && self.captured.len() < MOST
    }

    /// The limit is reached.
    pub fn is_full(&self) -> bool {
        self.captured.len() >= MOST
    }

    /// Captures the address at which a program begins to listen: opens both slots' sockets, beside the
    /// program's own where hotrun has a duplicate of that, else in its place.
    pub fn capture(&mut self, written: &Written, fresh: &Fresh) -> io::Result<()> {
        let declared = Declared {
            address: written.address.clone(),
            only_v6: fresh.only_v6,
            nonblocking: fresh.nonblocking,
        };
        let held = self.pair_at(written, declared, fresh, fresh.copy.is_some())?;
        self.captured.push(Captured::new(held, written.number));
        // A failure is reported at the next switch.
        self.steer().ok();
        Ok(())
    }

    /// Opens other sockets for a captured address, beside those that the app still has.
    pub(super) fn capture_anew(&mut self, at: usize) -> io::Result<()> {
        let before = &self.captured[at];
        let Some(declared) = before.held.declared.clone() else {
            return Ok(());
        };
        let written = Written {
            address: before.held.address.clone(),
            number: before.number,
        };
        let fresh = Fresh {
            only_v6: declared.only_v6,
            nonblocking: declared.nonblocking,
            copy: None,
        };
        let held = self.pair_at(&written, declared, &fresh, true)?;
        let mut anew = Captured::new(held, written.number);
        anew.claims = Claims::remembered();
        let before = std::mem::replace(&mut self.captured[at], anew);
        self.released.extend(before.held.release());
        self.steer()
    }

    fn pair_at(
        &self,
        written: &Written,
        declared: Declared,
        fresh: &Fresh,
        beside: bool,
    ) -> io::Result<Held> {
        let how = How {
            nonblocking: declared.nonblocking,
            only_v6: declared.only_v6,
            beside,
            paired: self.steering == Steering::Kernel && written.address.tcp().is_some(),
        };
        if let Address::Unix(path) = &written.address {
            // It replaces the program's own file at the path.
            let how = How {
                beside: true,
                ..how
            };
            let address = written.address.clone();
            let (sockets, file) = if self.steering == Steering::None {
                let (socket, file) = open(&address, how)?;
                (Sockets::Shared(Arc::new(socket), None), file)
            } else {
                (Sockets::Paths(Paths::open(path, how, self.active)?), None)
            };
            let mut held = Held::new(None, address, Some(declared), sockets, file)?;
            held.publish(self.active)?;
            return Ok(held);
        }
        let mut address = written.address.clone();
        if let Some(copy) = &fresh.copy {
            share_address(copy, true)?;
            if let Some(at) = copy.local_addr()?.as_socket() {
                address = address.with_port(at.port());
            }
        }
        let (socket, _) = open(&address, how)?;
        if let Some(at) = socket.local_addr()?.as_socket() {
            address = address.with_port(at.port());
        }
        if let Some(copy) = &fresh.copy {
            carry_options(copy, &socket);
        }
        let (front, sockets) = self.behind(Arc::new(socket), &address, how, None, self.steering)?;
        let held = Held::new(None, address, Some(declared), sockets, None)?;
        Ok(held.with_front(front))
    }

    /// The captured ports that programs bound by number, and so will bind again.
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

    /// Holds the addresses of an earlier run that are free; whether any address is captured now.
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
            // One serves IPv6 alone, so they don't conflict.
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

    /// Captures an address of datagrams, at the moment at which a program binds it.
    pub fn capture_datagrams(&mut self, address: &Address, fresh: &Fresh) -> io::Result<()> {
        let overlapping = self.overlapping(address);
        let how = How {
            nonblocking: fresh.nonblocking,
            only_v6: fresh.only_v6,
            beside: !overlapping.is_empty(),
            paired: false,
        };
        let (socket, _) = beside(&overlapping, || open(address, how))?;
        let declared = Declared {
            address: address.clone(),
            only_v6: fresh.only_v6,
            nonblocking: fresh.nonblocking,
        };
        let sockets = Sockets::Shared(Arc::new(socket), None);
        let held = Held::new(None, address.clone(), Some(declared), sockets, None)?;
        self.captured.push(Captured::new(held, 0));
        Ok(())
    }

    /// A captured address overlaps with this one, so the kernel would refuse the program's bind because
    /// of hotrun. Declared addresses are the user's own choice: there the bind fails.
    pub fn has_overlap_with(&self, address: &Address) -> bool {
        !self.overlapping(address).is_empty()
    }

    fn overlapping(&self, address: &Address) -> Vec<&Held> {
        if self.given().any(|held| held.overlaps_with(address)) {
            return Vec::new();
        }
        let captured = self.captured.iter().map(|captured| &captured.held);
        // An equal address among them differs in `IPV6_V6ONLY`.
        captured
            .filter(|held| held.overlaps_with(address))
            .collect()
    }

    /// Binds a socket to replace one that a program binds and may listen on, beside the captured sockets
    /// that overlap with it.
    pub fn bind(&self, address: &Address, fresh: &Fresh) -> io::Result<Socket> {
        let overlapping = self.overlapping(address);
        let how = How {
            nonblocking: fresh.nonblocking,
            only_v6: fresh.only_v6,
            beside: !overlapping.is_empty(),
            paired: true,
        };
        let bound = beside(&overlapping, || bind(address, how))?;
        if let Some(copy) = &fresh.copy {
            carry_options(copy, &bound);
        }
        Ok(bound)
    }

    /// Releases the captured addresses that no generation claims or may still claim. Returns them.
    pub fn release_unclaimed(&mut self) -> Vec<Address> {
        self.release_where(|one| one.claims.may_be_released())
    }

    /// Releases the captured addresses that no generation claims. Returns them.
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
        // A released address that no process has a socket of is forgotten.
        self.released.retain(Released::is_left);
        self.released
            .extend(gone.into_iter().filter_map(Held::release));
        addresses
    }
}

impl Fresh {
    /// The program's bind to this address is refused, because another process has it.
    pub fn is_refused(&self, address: &Address) -> bool {
        let shares = self.copy.as_ref().map(shares_address);
        is_taken(address, self.only_v6, matches!(shares, Some(Ok(true))))
    }
}

/// `[::]`, which exists with and without `IPV6_V6ONLY`.
fn is_every_v6(address: &Address) -> bool {
    let at = address.internet();
    at.is_some_and(|at| at.is_ipv6() && at.ip().is_unspecified())
}

impl Held {
    /// This is the socket of one of its slots.
    fn has(&self, inode: u64) -> bool {
        [Slot::First, Slot::Second]
            .iter()
            .any(|slot| self.inode(*slot) == inode)
    }

    fn socket(&self, inode: u64) -> &Arc<Socket> {
        let first = self.inode(Slot::First) == inode;
        self.sockets
            .of(if first { Slot::First } else { Slot::Second })
    }
}
