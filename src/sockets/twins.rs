//! Two sockets behind one address. Both are bound and listen for as long as the address is held, and
//! a program on their `SO_REUSEPORT` group says which one new connections go to (`reuseport_bpf`). Live has
//! one of them and the next version gets the other, so that a switch is one system call, and what
//! waits in either queue stays with who is to answer it.
//!
//! The kernel's rules: the program speaks of members by their place in order of `listen`; a place
//! that does not exist makes it spread connections over all; when a member goes, the last one takes
//! its place. So the program is always put on before a socket begins to listen beside the other.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use nix::sys::stat::fstat;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::open::BACKLOG;
use super::options::carry;
use super::reuseport_bpf::{self, Instruction};
use super::unix_twins::Paths;
use crate::session::slots::Slot;
use crate::sys;

/// The sockets behind one address.
#[derive(Debug)]
pub(super) enum Sockets {
    /// All versions share one. With the reason, if two were wanted.
    Shared(Arc<OwnedFd>, Option<String>),
    /// Each slot has its own.
    Twins(Twins),
    /// The same for a unix socket.
    Paths(Paths),
}

/// A pair.
#[derive(Debug)]
pub(super) struct Twins {
    sockets: [Arc<OwnedFd>; 2],
    /// The one that comes first in the group; nobody else has a place in it.
    leads: Slot,
}

impl Sockets {
    /// Makes a pair of a socket that listens, which becomes this `slot` of it; if that can't be, it
    /// is shared.
    pub(super) fn pair(socket: Arc<OwnedFd>, slot: Slot) -> Self {
        match Twins::of(&socket, slot) {
            Ok(twins) => Self::Twins(twins),
            Err(error) => {
                SockRef::from(&*socket).set_reuse_port(false).ok();
                Self::Shared(socket, Some(error.to_string()))
            }
        }
    }

    /// The one of this slot.
    pub(super) fn of(&self, slot: Slot) -> &Arc<OwnedFd> {
        match self {
            Self::Shared(socket, _) => socket,
            Self::Twins(twins) => twins.at(slot),
            Self::Paths(paths) => paths.at(slot),
        }
    }

    /// Each slot has its own.
    pub(super) fn are_apart(&self) -> bool {
        !matches!(self, Self::Shared(..))
    }

    /// New clients find this slot from now on.
    pub(super) fn steer(&self, slot: Slot) -> io::Result<()> {
        match self {
            Self::Shared(..) => Ok(()),
            Self::Twins(twins) => twins.steer(slot),
            Self::Paths(paths) => paths.steer(slot),
        }
    }

    /// Puts right what apps have done to them; where new clients go is to be said anew.
    pub(super) fn repair(&mut self) -> io::Result<()> {
        if let Self::Twins(twins) = self {
            return twins.repair();
        }
        for socket in self.each() {
            let socket = SockRef::from(&**socket);
            // What takes datagrams has no queue of connections.
            if !matches!(socket.r#type(), Ok(Type::DGRAM)) {
                socket.listen(BACKLOG).ok();
            }
        }
        Ok(())
    }

    /// Each socket once.
    pub(super) fn each(&self) -> impl Iterator<Item = &Arc<OwnedFd>> {
        let both = Slot::BOTH.map(|slot| self.of(slot));
        both.into_iter().take(1 + usize::from(self.are_apart()))
    }

    /// The numbers of both slots in /proc.
    pub(super) fn inodes(&self) -> io::Result<[u64; 2]> {
        let inode = |slot| fstat(self.of(slot).as_fd()).map(|found| found.st_ino);
        Ok([inode(Slot::First)?, inode(Slot::Second)?])
    }
}

impl Twins {
    /// Makes the other one of a socket that listens and has no other yet.
    fn of(socket: &Arc<OwnedFd>, slot: Slot) -> io::Result<Self> {
        let own = SockRef::from(&**socket);
        let address = own.local_addr()?;
        own.set_reuse_port(true)?;
        let other = like(&own, &address)?;
        let mut sockets = [socket.clone(), Arc::new(other.into())];
        if slot == Slot::Second {
            sockets.swap(0, 1);
        }
        let twins = Self {
            sockets,
            leads: slot,
        };
        // A socket that has listened before it could be shared is in no group yet; then whatever comes
        // at this very moment may go to the other one.
        let late = twins.steer(slot).is_err();
        twins.socket(slot.other()).listen(BACKLOG)?;
        if late {
            twins.steer(slot)?;
        }
        Ok(twins)
    }

    /// Two that are a pair already.
    pub(super) fn again(sockets: [Arc<OwnedFd>; 2], leads: Slot) -> Self {
        Self { sockets, leads }
    }

    pub(super) fn leads(&self) -> Slot {
        self.leads
    }

    /// The one of this slot.
    pub(super) fn at(&self, slot: Slot) -> &Arc<OwnedFd> {
        slot.of(&self.sockets)
    }

    fn socket(&self, slot: Slot) -> SockRef<'_> {
        SockRef::from(&**self.at(slot))
    }

    /// The place of a slot in the group.
    fn place(&self, slot: Slot) -> u32 {
        u32::from(slot != self.leads)
    }

    /// New connections go to this slot from now on.
    pub(super) fn steer(&self, slot: Slot) -> io::Result<()> {
        self.attach(reuseport_bpf::all_to(self.place(slot)))
    }

    /// New connections from this port go to the slot that is `probed`, those of `others` to theirs.
    pub(super) fn probe(&self, port: u16, probed: Slot, others: Slot) -> io::Result<()> {
        let [probed, others] = [probed, others].map(|slot| self.place(slot));
        self.attach(reuseport_bpf::from_port(port, probed, others))
    }

    fn attach(&self, mut program: Vec<Instruction>) -> io::Result<()> {
        sys::steer(self.at(self.leads), &mut program)
    }

    /// Has both listen with the longest queue again, whatever apps have done to them: `listen` of
    /// an app shortens the queue, and `shutdown` ends the listening.
    fn repair(&mut self) -> io::Result<()> {
        let listens = |slot| self.socket(slot).is_listener().unwrap_or(true);
        let listen = Slot::BOTH.map(listens);
        if listen != [true, true] {
            // Who is left has taken the first place.
            self.leads = match listen {
                [false, true] => Slot::Second,
                _ => Slot::First,
            };
            self.socket(self.leads).listen(BACKLOG)?;
            self.steer(self.leads)?;
        }
        for slot in Slot::BOTH {
            self.socket(slot).listen(BACKLOG)?;
        }
        Ok(())
    }
}

/// A socket of the same kind on the same address.
fn like(own: &SockRef<'_>, address: &SockAddr) -> io::Result<Socket> {
    let domain = Domain::from(i32::from(address.family()));
    let other = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    other.set_reuse_address(true)?;
    other.set_reuse_port(true)?;
    if domain == Domain::IPV6 {
        other.set_only_v6(own.only_v6()?)?;
    }
    other.set_nonblocking(own.nonblocking()?)?;
    carry(&**own, &other);
    other.bind(address)?;
    Ok(other)
}
