//! The held set: sockets that are bound and listening from before the first build until hotrun
//! ends, so that a connect succeeds whatever happens to the app.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

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
    pub(super) socket: OwnedFd,
    /// Removed with it.
    _file: Option<SocketFile>,
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
            socket,
            _file: file,
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

/// All held sockets, in the order of their descriptors.
#[derive(Debug, Default)]
pub struct HeldSet {
    pub(super) sockets: Vec<Held>,
}

impl HeldSet {
    /// Holds what hotrun was started with.
    pub(super) fn inherited(sockets: Vec<Held>) -> Self {
        let set = Self { sockets };
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

    /// Copies of the descriptors, for an app.
    pub fn copies(&self) -> io::Result<Vec<OwnedFd>> {
        self.sockets
            .iter()
            .map(|held| held.socket.try_clone())
            .collect()
    }

    /// An app's own `listen` sets the backlog of the socket that all share; this sets it back.
    pub fn raise_backlog(&self) {
        for held in &self.sockets {
            let socket = SockRef::from(&held.socket);
            // What takes datagrams has no queue of connections.
            if !matches!(socket.r#type(), Ok(Type::DGRAM)) {
                socket.listen(BACKLOG).ok();
            }
        }
    }
}
