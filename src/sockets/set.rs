//! The held set: sockets that are bound and listening from before the first build until hotrun
//! ends, so that a connect succeeds whatever happens to the app.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};

use socket2::{SockRef, Type};

use super::address::Address;
use super::open::BACKLOG;
use super::socket_file::SocketFile;

/// One socket that is held.
#[derive(Debug)]
pub struct Held {
    /// Its name in `LISTEN_FDNAMES`.
    pub name: Option<String>,
    /// Where it is, with the port that was chosen.
    pub address: Address,
    /// Its number in /proc: the same in every process that has it.
    pub inode: u64,
    /// How it was declared; one that was inherited was not.
    pub(super) declared: Option<Declared>,
    pub(super) socket: Arc<OwnedFd>,
    /// Removed with it.
    pub(super) file: Option<SocketFile>,
}

/// A socket that was let go of. The generations that were started with it have it still, and so its
/// address: should that be wanted again meanwhile, nothing but this very socket will do.
#[derive(Debug)]
pub(super) struct Released {
    address: Address,
    inode: u64,
    declared: Option<Declared>,
    socket: Weak<OwnedFd>,
}

/// What a socket was opened for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Declared {
    /// As it was written: a port that is left to the system is 0 here.
    pub(super) address: Address,
    /// IPv4 is left to another socket.
    pub(super) only_v6: bool,
    /// Accepting and receiving return at once.
    pub(super) nonblocking: bool,
}

impl Held {
    /// Holds a socket.
    pub(super) fn new(
        name: Option<String>,
        address: Address,
        declared: Option<Declared>,
        socket: OwnedFd,
        file: Option<SocketFile>,
    ) -> io::Result<Self> {
        Ok(Self {
            name,
            address,
            inode: nix::sys::stat::fstat(socket.as_fd())?.st_ino,
            declared,
            socket: Arc::new(socket),
            file,
        })
    }

    /// Takes the place of another one, if it was made for that.
    pub(super) fn publish(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), SocketFile::publish)
    }

    /// Lets go of it, but for what can come back: the file of a unix socket can't.
    pub(super) fn release(self) -> Option<Released> {
        self.address.internet()?;
        Some(Released {
            address: self.address,
            inode: self.inode,
            declared: self.declared,
            socket: Arc::downgrade(&self.socket),
        })
    }

    /// It is the socket that is wanted, whatever it is called and whether or not it blocks.
    pub(super) fn serves(&self, wanted: &Declared) -> bool {
        self.declared.as_ref().is_some_and(|own| {
            let address = own.address == wanted.address || self.address == wanted.address;
            address && own.only_v6 == wanted.only_v6
        })
    }

    /// It has something of this address, so that only one of both could be bound.
    pub(super) fn is_in_the_way_of(&self, address: &Address) -> bool {
        let own = &self.address;
        own.overlaps(address) || own.spans(address) || address.spans(own)
    }
}

impl Released {
    /// The socket again, if there is still somebody who has it.
    pub(super) fn held(&self) -> Option<Held> {
        Some(Held {
            name: None,
            address: self.address.clone(),
            inode: self.inode,
            declared: self.declared.clone(),
            socket: self.socket.upgrade()?,
            file: None,
        })
    }
}

/// All held sockets, in the order of their descriptors.
#[derive(Debug, Default)]
pub struct HeldSet {
    pub(super) sockets: Vec<Held>,
    /// Those that are not any more.
    pub(super) released: Vec<Released>,
}

impl HeldSet {
    /// Holds what hotrun was started with.
    pub(super) fn inherited(sockets: Vec<Held>) -> Self {
        let set = Self {
            sockets,
            released: Vec::new(),
        };
        // Whoever made them may have been content with a queue of one.
        set.raise_backlog();
        set
    }

    /// Every socket.
    pub fn iter(&self) -> impl Iterator<Item = &Held> {
        self.sockets.iter()
    }

    /// Nothing is held.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// One of them can be asked by a TCP client.
    pub fn has_tcp(&self) -> bool {
        self.iter().any(|held| held.address.tcp().is_some())
    }

    /// The descriptors, for a generation that keeps them until nothing of it is left.
    pub fn share(&self) -> Vec<Arc<OwnedFd>> {
        let sockets = self.sockets.iter();
        sockets.map(|held| held.socket.clone()).collect()
    }

    /// An app's own `listen` sets the backlog of the socket that all share; this sets it back.
    pub fn raise_backlog(&self) {
        for held in &self.sockets {
            let socket = SockRef::from(&*held.socket);
            // What takes datagrams has no queue of connections.
            if !matches!(socket.r#type(), Ok(Type::DGRAM)) {
                socket.listen(BACKLOG).ok();
            }
        }
    }
}
