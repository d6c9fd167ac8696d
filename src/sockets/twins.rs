//! The two slots' sockets behind one address. Both are bound and listening for as long as the address is
//! held, and a BPF program on their `SO_REUSEPORT` group steers new connections to one of them
//! (`reuseport_bpf`). Live has one slot and the next generation gets the other, so that a switch is one
//! system call, and a connection stays in the queue it is in.
//!
//! The kernel's rules: the program returns the index of a socket, in order of `listen`; for an index out
//! of range the kernel spreads connections over all; when a socket leaves the group, the last one moves
//! into its place. So the program is always attached before a second socket listens.

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
    /// All generations share one. With the reason, if two were wanted.
    Shared(Arc<OwnedFd>, Option<String>),
    /// Each slot has its own TCP socket.
    Twins(Twins),
    /// Each slot has its own unix socket.
    Paths(Paths),
}

/// Two TCP sockets in one `SO_REUSEPORT` group.
#[derive(Debug)]
pub(super) struct Twins {
    sockets: [Arc<OwnedFd>; 2],
    /// The slot whose socket has index 0 in the group.
    leads: Slot,
}

impl Sockets {
    /// Opens the other slot's socket beside a listening one, which becomes this `slot`'s; on failure all
    /// generations share it.
    pub(super) fn pair(socket: Arc<OwnedFd>, slot: Slot) -> Self {
        match Twins::of(&socket, slot) {
            Ok(twins) => Self::Twins(twins),
            Err(error) => {
                SockRef::from(&*socket).set_reuse_port(false).ok();
                Self::Shared(socket, Some(error.to_string()))
            }
        }
    }

    /// The socket of this slot.
    pub(super) fn of(&self, slot: Slot) -> &Arc<OwnedFd> {
        match self {
            Self::Shared(socket, _) => socket,
            Self::Twins(twins) => twins.at(slot),
            Self::Paths(paths) => paths.at(slot),
        }
    }

    /// Each slot has its own socket.
    pub(super) fn are_apart(&self) -> bool {
        !matches!(self, Self::Shared(..))
    }

    /// New connections go to this slot from now on.
    pub(super) fn steer(&self, slot: Slot) -> io::Result<()> {
        match self {
            Self::Shared(..) => Ok(()),
            Self::Twins(twins) => twins.steer(slot),
            Self::Paths(paths) => paths.steer(slot),
        }
    }

    /// Undoes what apps do to the sockets; the caller steers new connections again.
    pub(super) fn repair(&mut self) -> io::Result<()> {
        if let Self::Twins(twins) = self {
            return twins.repair();
        }
        for socket in self.each() {
            let socket = SockRef::from(&**socket);
            // Datagram sockets have no accept queue.
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

    /// The inodes of both slots' sockets.
    pub(super) fn inodes(&self) -> io::Result<[u64; 2]> {
        let inode = |slot| fstat(self.of(slot).as_fd()).map(|found| found.st_ino);
        Ok([inode(Slot::First)?, inode(Slot::Second)?])
    }
}

impl Twins {
    /// Opens the other slot's socket beside a listening one.
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
        // A socket that listened before it had `SO_REUSEPORT` is in no group yet, so that attaching
        // fails; then a connection of this very moment may reach the other slot.
        let late = twins.steer(slot).is_err();
        twins.socket(slot.other()).listen(BACKLOG)?;
        if late {
            twins.steer(slot)?;
        }
        Ok(twins)
    }

    /// Two sockets that are in one group already.
    pub(super) fn again(sockets: [Arc<OwnedFd>; 2], leads: Slot) -> Self {
        Self { sockets, leads }
    }

    pub(super) fn leads(&self) -> Slot {
        self.leads
    }

    /// The socket of this slot.
    pub(super) fn at(&self, slot: Slot) -> &Arc<OwnedFd> {
        slot.of(&self.sockets)
    }

    fn socket(&self, slot: Slot) -> SockRef<'_> {
        SockRef::from(&**self.at(slot))
    }

    /// The index of a slot's socket in the group.
    fn place(&self, slot: Slot) -> u32 {
        u32::from(slot != self.leads)
    }

    /// New connections go to this slot from now on.
    pub(super) fn steer(&self, slot: Slot) -> io::Result<()> {
        self.attach(reuseport_bpf::all_to(self.place(slot)))
    }

    /// New connections from this port go to the slot `probed`, all others to the slot `others`.
    pub(super) fn probe(&self, port: u16, probed: Slot, others: Slot) -> io::Result<()> {
        let [probed, others] = [probed, others].map(|slot| self.place(slot));
        self.attach(reuseport_bpf::from_port(port, probed, others))
    }

    fn attach(&self, mut program: Vec<Instruction>) -> io::Result<()> {
        sys::steer(self.at(self.leads), &mut program)
    }

    /// Makes both sockets listen with the longest backlog, whatever apps have done to them: an app's
    /// `listen` shortens the backlog, and its `shutdown` ends the listening.
    fn repair(&mut self) -> io::Result<()> {
        let listens = |slot| self.socket(slot).is_listener().unwrap_or(true);
        let listen = Slot::BOTH.map(listens);
        if listen != [true, true] {
            // The socket that still listens has moved to index 0.
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

/// A socket of the same kind, bound to the same address.
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
