//! Opens one socket: bound, listening where its kind does, and proved to be alone at its address.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};

use super::address::Address;
use super::port_owner;
use super::socket_file::{SocketFile, is_stale};
use crate::exit::{ExitKind, Failure};
use crate::sys::sockets::{BACKLOG, GIVES_BACK_PORTS, PORT_DENIED, claim_address, share_address};
use crate::sys::{self, ABLE, files};

/// The receive buffer of a datagram socket, in bytes.
const LONG_QUEUE: usize = 4 << 20;

/// How to open a socket.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says what the others do not"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct How {
    /// Set `O_NONBLOCK`.
    pub(super) nonblocking: bool,
    /// Set `IPV6_V6ONLY` on `[::]`.
    pub(super) only_v6: bool,
    /// Another socket of hotrun has the address too, and is about to be released.
    pub(super) beside: bool,
    /// The other slot gets a socket at the same address.
    pub(super) paired: bool,
}

/// A new socket, with its file if it is a unix socket.
pub(super) type Opened = (Socket, Option<SocketFile>);

/// Opens the socket.
pub(super) fn open(address: &Address, how: How) -> io::Result<Opened> {
    match address {
        Address::Tcp(at) => internet(*at, Type::STREAM, how),
        Address::Udp(at) => internet(*at, Type::DGRAM, how),
        Address::Unix(path) if ABLE.unix_sockets => unix(path, Type::STREAM, how),
        Address::UnixDatagram(path) if ABLE.unix_sockets => unix(path, Type::DGRAM, how),
        Address::Unix(_) | Address::UnixDatagram(_) | Address::Other(_) => {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
}

fn internet(mut address: SocketAddr, kind: Type, how: How) -> io::Result<Opened> {
    let new = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), kind, None)?;
        claim_address(&socket, kind)?;
        if address.is_ipv6() && address.ip().is_unspecified() {
            socket.set_only_v6(how.only_v6)?;
        }
        share_address(&socket, how.beside)?;
        Ok(socket)
    };
    let socket = new()?;
    // Where a port that the kernel chose at `bind` is given back when an app shuts the listener down, a
    // scout socket finds a free one and keeps it until this socket is bound to it by number.
    let scout = if GIVES_BACK_PORTS && address.port() == 0 && kind == Type::STREAM {
        let scout = new()?;
        scout.bind(&address.into())?;
        let chosen = scout.local_addr()?.as_socket();
        address.set_port(chosen.map_or(0, |chosen| chosen.port()));
        Some(scout)
    } else {
        None
    };
    start(&socket, &address.into(), kind, how)?;
    drop(scout);
    Ok((socket, None))
}

/// Binds a TCP socket that does not listen yet, and lets other sockets of hotrun share its address from
/// then on.
pub(super) fn bind(address: &Address, how: How) -> io::Result<Socket> {
    let at = address.tcp().ok_or(io::ErrorKind::Unsupported)?;
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
    claim_address(&socket, Type::STREAM)?;
    share_address(&socket, how.beside)?;
    if at.is_ipv6() {
        socket.set_only_v6(how.only_v6)?;
    }
    socket.set_nonblocking(how.nonblocking)?;
    socket.bind(&at.into())?;
    share_address(&socket, true)?;
    Ok(socket)
}

/// A program's bind to this address is refused, because another process has it; a bind with
/// `SO_REUSEPORT` (`shares`) is refused only if the other socket is without. Found out by a bind, since
/// nothing else tells.
pub(super) fn is_taken(address: &Address, only_v6: bool, shares: bool) -> bool {
    let Some(at) = address.internet().filter(|_| !address.is_open()) else {
        return false;
    };
    let kind = if address.tcp().is_some() {
        Type::STREAM
    } else {
        Type::DGRAM
    };
    let bound = Socket::new(Domain::for_address(at), kind, None).and_then(|socket| {
        claim_address(&socket, kind)?;
        share_address(&socket, shares)?;
        if at.is_ipv6() {
            socket.set_only_v6(only_v6)?;
        }
        socket.bind(&at.into())
    });
    bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

fn unix(path: &Path, kind: Type, how: How) -> io::Result<Opened> {
    if !how.beside {
        let socket = unix_at(path, kind, how)?;
        return Ok((socket, Some(SocketFile::made(path)?)));
    }
    let aside = path.with_added_extension("new");
    let socket = unix_at(&aside, kind, how)?;
    Ok((socket, Some(SocketFile::made_for(path, &aside)?)))
}

/// A unix socket bound to this path.
pub(super) fn unix_at(path: &Path, kind: Type, how: How) -> io::Result<Socket> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    match start(&socket, &address, kind, how) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
            std::fs::remove_file(path)?;
            start(&socket, &address, kind, how)?;
        }
        started => started?,
    }
    Ok(socket)
}

fn start(socket: &Socket, address: &SockAddr, kind: Type, how: How) -> io::Result<()> {
    socket.set_nonblocking(how.nonblocking)?;
    socket.bind(address)?;
    if address.is_ipv4() || address.is_ipv6() {
        // Not before `bind`, which proves that no other process has the address, even one that would
        // share it. And not after `listen`, since the first socket that listens begins the
        // `SO_REUSEPORT` group.
        share_address(socket, how.paired || how.beside)?;
    }
    if kind == Type::STREAM {
        socket.listen(BACKLOG)?;
    } else {
        // Datagrams wait here while no process reads, and are lost beyond that. The kernel caps it.
        socket.set_recv_buffer_size(LONG_QUEUE).ok();
    }
    if how.beside && !how.paired {
        share_address(socket, false)?;
    }
    Ok(())
}

/// An address that could not be held. As a [`Failure`] it names the process that has the address, which is
/// looked for in every process: so not while the held set is locked.
#[derive(Debug)]
pub struct NotHeld {
    pub(super) address: Address,
    pub(super) error: io::Error,
    /// An address that hotrun holds already, and that is part of it or the other way round.
    pub(super) beside: Option<Address>,
}

impl NotHeld {
    pub(super) fn new(address: &Address, error: io::Error) -> Self {
        Self {
            address: address.clone(),
            error,
            beside: None,
        }
    }
}

impl From<NotHeld> for Failure {
    fn from(refusal: NotHeld) -> Self {
        match refusal {
            NotHeld {
                address,
                error,
                beside: Some(held),
            } if error.kind() == io::ErrorKind::AddrInUse => crossed(&address, &held),
            NotHeld { address, error, .. } => refused(&address, &error),
        }
    }
}

/// Only what hotrun was started with stays beside what is declared.
fn crossed(address: &Address, held: &Address) -> Failure {
    Failure::usage(format!(
        "`{address}` and `{held}` exclude each other, and hotrun was started with a socket at `{held}`"
    ))
    .hint(format!("declare `{held}` or nothing, or start hotrun without that socket"))
}

fn refused(address: &Address, error: &io::Error) -> Failure {
    if address.path().is_some() && !ABLE.unix_sockets {
        return Failure::usage(format!("{address}: hotrun holds no unix sockets here"))
            .hint("declare a TCP address, like `127.0.0.1:3000`");
    }
    let file = address.path().map(|path| refused_file(path, error));
    if let Some(failure) = file.flatten() {
        return failure;
    }
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let by = port_owner::of(address).map(|holder| format!(" by {holder}"));
            Failure {
                kind: ExitKind::InUse,
                message: format!("{address} is in use{}", by.unwrap_or_default()),
                hint: Some(
                    "end that program and start again, or choose another address with --listen"
                        .into(),
                ),
            }
        }
        io::ErrorKind::PermissionDenied => {
            let (why, hint) = PORT_DENIED;
            Failure::usage(format!("{address}: {why}")).hint(hint)
        }
        io::ErrorKind::AddrNotAvailable => Failure::usage(format!(
            "{address}: no interface of this machine has this address"
        ))
        .hint("choose one that `ip address` shows, `127.0.0.1` or `0.0.0.0`"),
        _ if sys::is_unknown_family(error) => {
            Failure::usage(format!("{address}: this machine has no IPv6"))
                .hint("choose an IPv4 address, like `127.0.0.1:3000`")
        }
        _ if sys::is_too_many_open(error) => {
            Failure::failed(format!("{address}: {error}")).hint("raise `ulimit -n`")
        }
        _ => Failure::usage(format!("{address}: {error}"))
            .hint("choose another address with --listen"),
    }
}

/// The same for what only the path of a unix socket can be refused for.
fn refused_file(path: &Path, error: &io::Error) -> Option<Failure> {
    let shown = path.display();
    let parent = path.parent().unwrap_or(path).display();
    let elsewhere = "choose another path for the socket, in a directory that you may write to";
    Some(match error.kind() {
        io::ErrorKind::AddrInUse => {
            let found = std::fs::symlink_metadata(path).ok()?.file_type();
            if files::is_socket(found) {
                return None;
            }
            let what = if found.is_dir() {
                "a directory"
            } else if found.is_symlink() {
                "a link"
            } else {
                "a file and no socket"
            };
            Failure::usage(format!("`{shown}` is {what}, which stays as it is"))
                .hint("choose another path for the socket, or remove it yourself")
        }
        io::ErrorKind::NotFound => Failure::usage(format!("there is no directory `{parent}`"))
            .hint("make it, or choose another path for the socket"),
        io::ErrorKind::NotADirectory => {
            Failure::usage(format!("`{parent}` is no directory")).hint(elsewhere)
        }
        io::ErrorKind::PermissionDenied => {
            Failure::usage(format!("you may not make or replace a socket at `{shown}`"))
                .hint(elsewhere)
        }
        _ => return None,
    })
}
