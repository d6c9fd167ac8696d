//! The sockets that hotrun itself was started with (`sd_listen_fds(3)`): by a service manager or a
//! socket holder such as `systemfd`.
//!
//! `listenfd` reads the variables: descriptors from `LISTEN_FDS_FIRST_FD` or 3 up, unless `LISTEN_PID`
//! is another process's; it may be missing. `listenfd` takes `LISTEN_FDS` and `LISTEN_PID` out of the
//! environment, knows no names, and leaves a descriptor that it returns as a number open across exec.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use listenfd::ListenFd;
use socket2::{SockAddr, SockRef, Type};

use super::activation::UNNAMED;
use super::address::Address;
use super::held::{Held, HeldSet};
use super::twins::Sockets;
use crate::exit::Failure;
use crate::sys;

/// More descriptors don't fit into one message to the keeper, together with the app's stdout and stderr.
const MOST: usize = sys::MOST_DESCRIPTORS - 3;

/// The variables that are needed beside `listenfd`.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `LISTEN_FDS`.
    pub count: Option<String>,
    /// `LISTEN_FDNAMES`.
    pub names: Option<String>,
}

/// Takes the inherited sockets over. To be called once, before this process opens a descriptor that
/// could get one of their numbers.
pub fn take(environment: &Environment) -> Result<HeldSet, Failure> {
    // Before `listenfd` makes a list of them all.
    let count = environment
        .count
        .as_ref()
        .and_then(|count| count.parse().ok());
    if let Some(count) = count.filter(|count: &usize| *count > MOST) {
        return Err(wrong(&format!(
            "LISTEN_FDS: {count} sockets are more than the {MOST} that an app can be given"
        )));
    }
    let mut given = ListenFd::from_env();
    let mut names = environment.names.iter().flat_map(|names| names.split(':'));
    let mut sockets = Vec::new();
    for at in 0..given.len() {
        let name = names
            .next()
            .filter(|name| !name.is_empty() && *name != UNNAMED);
        let taken = given.take_raw_fd(at).ok().flatten();
        sockets.extend(taken.map(|number| held(number, name)).transpose()?);
    }
    Ok(HeldSet::inherited(sockets))
}

fn held(number: i32, name: Option<&str>) -> Result<Held, Failure> {
    let refused = |what: &str| wrong(&format!("LISTEN_FDS: descriptor {number} {what}"));
    let socket = sys::adopt(number).map_err(|_| refused("is not open"))?;
    let address = address(&socket).map_err(refused)?;
    let ready = SockRef::from(&socket).set_nonblocking(true).and_then(|()| {
        let sockets = Sockets::Shared(Arc::new(socket), None);
        Held::new(name.map(str::to_owned), address, None, sockets, None)
    });
    ready.map_err(|error| refused(&error.to_string()))
}

fn wrong(message: &str) -> Failure {
    Failure::usage(message)
        .hint("start hotrun by something that hands listening sockets over, or without LISTEN_FDS")
}

/// The address of a socket, if clients can connect or send to it.
fn address(socket: &OwnedFd) -> Result<Address, &'static str> {
    let socket = SockRef::from(socket);
    let kind = socket.r#type().map_err(|_| "is no socket")?;
    let address = socket.local_addr().map_err(|_| "has no address")?;
    let is_datagram = kind == Type::DGRAM;
    if !is_datagram && !socket.is_listener().unwrap_or(false) {
        return Err("is no listening socket");
    }
    let is_bound = match address.as_socket() {
        Some(address) => address.port() != 0,
        None => !address.is_unnamed(),
    };
    // A connected datagram socket receives from its peer alone.
    if is_datagram && (!is_bound || socket.peer_addr().is_ok()) {
        return Err("is no socket that clients can send to");
    }
    Ok(named(&address, kind))
}

fn named(address: &SockAddr, kind: Type) -> Address {
    if let Some(at) = address.as_socket() {
        return match kind {
            Type::STREAM => Address::Tcp(at),
            Type::DGRAM => Address::Udp(at),
            _ => Address::Other(format!("seqpacket:{at}")),
        };
    }
    if let Some(path) = address.as_pathname() {
        let path = path.to_owned();
        return match kind {
            Type::STREAM => Address::Unix(path),
            Type::DGRAM => Address::UnixDatagram(path),
            _ => Address::Other(format!("unix-seqpacket:{}", path.display())),
        };
    }
    Address::Other(if let Some(name) = address.as_abstract_namespace() {
        let kind = match kind {
            Type::STREAM => "unix",
            Type::DGRAM => "unix-dgram",
            _ => "unix-seqpacket",
        };
        format!("{kind}:@{}", name.escape_ascii())
    } else if let Some((cid, port)) = address.as_vsock_address() {
        format!("vsock:{cid}:{port}")
    } else {
        format!("family-{}", address.family())
    })
}
