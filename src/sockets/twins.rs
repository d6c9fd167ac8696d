//! The two slots' sockets behind one address. Both are bound and listening for as long as the address is
//! held, and a BPF program on their `SO_REUSEPORT` group steers new connections to one of them
//! (`sys::steer_to`). Live has one slot and the next generation gets the other, so that a switch is one
//! system call, and a connection stays in the queue it is in.
//!
//! The kernel's rules: the program returns the index of a socket, in order of `listen`; for an index out
//! of range the kernel spreads connections over all; when a socket leaves the group, the last one moves
//! into its place. So the program is always attached before a second socket listens.

use std::io;
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};

use super::front::Apart;
use super::unix_twins::Paths;
use crate::session::slots::Slot;
use crate::sys::sockets::{self, BACKLOG, id, is_nonblocking, share_address};
use crate::sys::{self, carry_options};

/// The sockets behind one address.
#[derive(Debug)]
pub(super) enum Sockets {
    /// All generations share one. With the reason, if two were wanted.
    Shared(Arc<Socket>, Option<String>),
    /// Each slot has its own TCP socket.
    Twins(Twins),
    /// Each slot has its own unix socket.
    Paths(Paths),
    /// Each slot has its own TCP socket, at an address of its own behind hotrun's.
    Apart(Apart),
}

/// Two TCP sockets in one `SO_REUSEPORT` group.
#[derive(Debug)]
pub(super) struct Twins {
    sockets: [Arc<Socket>; 2],
    /// The slot whose socket has index 0 in the group.
    leads: Slot,
}

impl Sockets {
    /// Opens the other slot's socket beside a listening one, which becomes this `slot`'s; on failure all
    /// generations share it.
    pub(super) fn pair(socket: Arc<Socket>, slot: Slot) -> Self {
        match Twins::of(&socket, slot) {
            Ok(twins) => Self::Twins(twins),
            Err(error) => {
                share_address(&socket, false).ok();
                Self::Shared(socket, Some(error.to_string()))
            }
        }
    }

    /// The socket of this slot.
    pub(super) fn of(&self, slot: Slot) -> &Arc<Socket> {
        match self {
            Self::Shared(socket, _) => socket,
            Self::Twins(twins) => twins.at(slot),
            Self::Paths(paths) => paths.at(slot),
            Self::Apart(apart) => apart.at(slot),
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
            Self::Apart(apart) => {
                apart.steer(slot);
                Ok(())
            }
        }
    }

    /// Undoes what apps do to the sockets; the caller steers new connections again.
    pub(super) fn repair(&mut self) -> io::Result<()> {
        if let Self::Twins(twins) = self {
            return twins.repair();
        }
        for socket in self.each() {
            // Datagram sockets have no accept queue.
            if !matches!(socket.r#type(), Ok(Type::DGRAM)) {
                socket.listen(BACKLOG).ok();
            }
        }
        Ok(())
    }

    /// Each socket once.
    pub(super) fn each(&self) -> impl Iterator<Item = &Arc<Socket>> {
        let both = Slot::BOTH.map(|slot| self.of(slot));
        both.into_iter().take(1 + usize::from(self.are_apart()))
    }

    /// The inodes of both slots' sockets.
    pub(super) fn inodes(&self) -> io::Result<[u64; 2]> {
        Ok([id(self.of(Slot::First))?, id(self.of(Slot::Second))?])
    }
}

impl Twins {
    /// Opens the other slot's socket beside a listening one.
    fn of(socket: &Arc<Socket>, slot: Slot) -> io::Result<Self> {
        share_address(socket, true)?;
        let other = like(socket)?;
        let mut sockets = [socket.clone(), Arc::new(other)];
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
        twins.at(slot.other()).listen(BACKLOG)?;
        if late {
            twins.steer(slot)?;
        }
        Ok(twins)
    }

    /// Two sockets that are in one group already.
    pub(super) fn again(sockets: [Arc<Socket>; 2], leads: Slot) -> Self {
        Self { sockets, leads }
    }

    pub(super) fn leads(&self) -> Slot {
        self.leads
    }

    /// The socket of this slot.
    pub(super) fn at(&self, slot: Slot) -> &Arc<Socket> {
        slot.of(&self.sockets)
    }

    /// The index of a slot's socket in the group.
    fn place(&self, slot: Slot) -> u32 {
        u32::from(slot != self.leads)
    }

    /// New connections go to this slot from now on.
    pub(super) fn steer(&self, slot: Slot) -> io::Result<()> {
        sys::steer_to(self.at(self.leads), self.place(slot))
    }

    /// New connections from this port go to the slot `probed`, all others to the slot `others`.
    pub(super) fn probe(&self, port: u16, probed: Slot, others: Slot) -> io::Result<()> {
        let [probed, others] = [probed, others].map(|slot| self.place(slot));
        sys::steer_port(self.at(self.leads), port, probed, others)
    }

    /// Makes both sockets listen with the longest backlog, whatever apps have done to them: an app's
    /// `listen` shortens the backlog, and its `shutdown` ends the listening.
    fn repair(&mut self) -> io::Result<()> {
        let listens = |slot| sockets::listens(self.at(slot)).unwrap_or(true);
        let listen = Slot::BOTH.map(listens);
        if listen != [true, true] {
            // The socket that still listens has moved to index 0.
            self.leads = match listen {
                [false, true] => Slot::Second,
                _ => Slot::First,
            };
            self.at(self.leads).listen(BACKLOG)?;
            self.steer(self.leads)?;
        }
        for slot in Slot::BOTH {
            self.at(slot).listen(BACKLOG)?;
        }
        Ok(())
    }
}

/// A socket of the same kind, bound to the same address.
fn like(own: &Socket) -> io::Result<Socket> {
    let address = own.local_addr()?;
    let domain = Domain::from(i32::from(address.family()));
    let other = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    other.set_reuse_address(true)?;
    share_address(&other, true)?;
    if domain == Domain::IPV6 {
        other.set_only_v6(own.only_v6()?)?;
    }
    other.set_nonblocking(is_nonblocking(own)?)?;
    carry_options(own, &other);
    other.bind(&address)?;
    Ok(other)
}
