//! Makes one socket: bound, listening where its kind does, and nobody else's.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::libc;
use socket2::{Domain, SockAddr, Socket, Type};

use super::address::Address;
use super::port_owner;
use super::socket_file::{SocketFile, is_stale};
use crate::exit::{ExitKind, Failure};

/// The kernel caps it at its own maximum (`somaxconn`); less would make clients wait for a
/// retried handshake while nobody accepts.
pub(super) const BACKLOG: i32 = i32::MAX;

/// Bytes of datagrams that may wait.
const LONG_QUEUE: usize = 4 << 20;

/// How a socket is to be made.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says what the others do not"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct How {
    /// Whether accepting and receiving return at once.
    pub(super) nonblocking: bool,
    /// `[::]` leaves IPv4 to another socket.
    pub(super) only_v6: bool,
    /// Another socket of ours, which is about to be released, has the address as well.
    pub(super) beside: bool,
    /// It is to have a twin.
    pub(super) paired: bool,
}

/// A new socket, with the file that it has if it is a unix socket.
pub(super) type Opened = (Socket, Option<SocketFile>);

/// Makes the socket.
pub(super) fn open(address: &Address, how: How) -> io::Result<Opened> {
    match address {
        Address::Tcp(at) => internet(*at, Type::STREAM, how),
        Address::Udp(at) => internet(*at, Type::DGRAM, how),
        Address::Unix(path) => unix(path, Type::STREAM, how),
        Address::UnixDatagram(path) => unix(path, Type::DGRAM, how),
        Address::Other(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn internet(mut address: SocketAddr, kind: Type, how: How) -> io::Result<Opened> {
    let new = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), kind, None)?;
        // Connections of an earlier run in TIME_WAIT must not be in the way; another listener is. With
        // UDP it would let two programs have one address without either knowing.
        socket.set_reuse_address(kind == Type::STREAM)?;
        if address.is_ipv6() && address.ip().is_unspecified() {
            socket.set_only_v6(how.only_v6)?;
        }
        socket.set_reuse_port(how.beside)?;
        Ok(socket)
    };
    let socket = new()?;
    // A port that was left to the system goes back to it when an app ends the listening. So another
    // socket finds out which one is free, and has it until ours has it by its number.
    let scout = if address.port() == 0 && kind == Type::STREAM {
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

/// A socket for connections that is bound and does not listen yet, and whose address others of ours can
/// have as well from then on.
pub(super) fn bind(address: &Address, how: How) -> io::Result<OwnedFd> {
    let at = address.tcp().ok_or(io::ErrorKind::Unsupported)?;
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(how.beside)?;
    if at.is_ipv6() {
        socket.set_only_v6(how.only_v6)?;
    }
    socket.set_nonblocking(how.nonblocking)?;
    socket.bind(&at.into())?;
    socket.set_reuse_port(true)?;
    Ok(socket.into())
}

/// Somebody has the address, so that a program that binds it is refused: one that `shares` it is only if
/// the other one does not. It is tried out, since the kernel tells its answer to nobody else.
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
        socket.set_reuse_address(kind == Type::STREAM)?;
        socket.set_reuse_port(shares)?;
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

/// A unix socket at this very path.
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
        // Not before: nobody else may have the address, not even somebody who would share it. And not
        // later: the group of twins begins with the first one that listens.
        socket.set_reuse_port(how.paired || how.beside)?;
    }
    if kind == Type::STREAM {
        socket.listen(BACKLOG)?;
    } else {
        // What comes while nobody takes it waits here, or is lost. The kernel has its own maximum.
        socket.set_recv_buffer_size(LONG_QUEUE).ok();
    }
    if how.beside && !how.paired {
        socket.set_reuse_port(false)?;
    }
    Ok(())
}

/// Why an address can't be held, and by whom.
pub(super) fn refused(address: &Address, error: &io::Error) -> Failure {
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
                hint: Some("end that program, or choose another address with --listen".into()),
            }
        }
        io::ErrorKind::PermissionDenied => Failure::usage(format!(
            "{address}: ports below 1024 need a privilege you don't have"
        ))
        .hint("choose a port from 1024 up, like `:3000`"),
        io::ErrorKind::AddrNotAvailable => Failure::usage(format!(
            "{address}: no interface of this machine has this address"
        ))
        .hint("choose one that `ip address` shows, `127.0.0.1` or `0.0.0.0`"),
        _ if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
            Failure::usage(format!("{address}: this machine has no IPv6"))
                .hint("choose an IPv4 address, like `127.0.0.1:3000`")
        }
        _ if error.raw_os_error() == Some(libc::EMFILE) => {
            Failure::failed(format!("{address}: {error}")).hint("raise `ulimit -n`")
        }
        _ => Failure::usage(format!("{address}: {error}"))
            .hint("choose another address with --listen"),
    }
}

/// What only the file of a unix socket can be refused for.
fn refused_file(path: &Path, error: &io::Error) -> Option<Failure> {
    use std::os::unix::fs::FileTypeExt;
    let shown = path.display();
    let parent = path.parent().unwrap_or(path).display();
    let elsewhere = "choose another path for the socket, in a directory that you may write to";
    Some(match error.kind() {
        io::ErrorKind::AddrInUse => {
            let found = std::fs::symlink_metadata(path).ok()?.file_type();
            if found.is_socket() {
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
