//! The sockets that hotrun itself was started with (`sd_listen_fds(3)`): by a service manager or a
//! socket holder such as `systemfd`.
//!
//! `listenfd` reads the variables: descriptors from `LISTEN_FDS_FIRST_FD` or 3 up, unless `LISTEN_PID`
//! is another process's; it may be missing. `listenfd` takes `LISTEN_FDS` and `LISTEN_PID` out of the
//! environment, knows no names, and leaves a descriptor that it returns as a number open across exec.

use std::io;
use std::sync::Arc;

use socket2::{Socket, Type};

use super::activation::UNNAMED;
use super::address::Address;
use super::held::{Held, HeldSet};
use super::twins::Sockets;
use crate::exit::Failure;
use crate::sys;
use crate::sys::sockets::{self, Name};

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
    let mut names = environment.names.iter().flat_map(|names| names.split(':'));
    let mut sockets = Vec::new();
    for (number, socket) in sys::handed_over() {
        let name = names
            .next()
            .filter(|name| !name.is_empty() && *name != UNNAMED);
        sockets.push(held(number, socket, name)?);
    }
    Ok(HeldSet::inherited(sockets))
}

fn held(number: i32, socket: io::Result<Socket>, name: Option<&str>) -> Result<Held, Failure> {
    let refused = |what: &str| wrong(&format!("LISTEN_FDS: descriptor {number} {what}"));
    let socket = socket.map_err(|_| refused("is not open"))?;
    let address = address(&socket).map_err(refused)?;
    let ready = socket.set_nonblocking(true).and_then(|()| {
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
fn address(socket: &Socket) -> Result<Address, &'static str> {
    let kind = socket.r#type().map_err(|_| "is no socket")?;
    let address = socket.local_addr().map_err(|_| "has no address")?;
    let is_datagram = kind == Type::DGRAM;
    if !is_datagram && !sockets::listens(socket).unwrap_or(false) {
        return Err("is no listening socket");
    }
    let name = sockets::name(&address);
    let is_bound = match name {
        Name::Internet(at) => at.port() != 0,
        Name::Unnamed => false,
        _ => true,
    };
    // A connected datagram socket receives from its peer alone.
    if is_datagram && (!is_bound || socket.peer_addr().is_ok()) {
        return Err("is no socket that clients can send to");
    }
    Ok(named(name, kind))
}

fn named(name: Name, kind: Type) -> Address {
    match (name, kind) {
        (Name::Internet(at), Type::STREAM) => Address::Tcp(at),
        (Name::Internet(at), Type::DGRAM) => Address::Udp(at),
        (Name::Internet(at), _) => Address::Other(format!("seqpacket:{at}")),
        (Name::Path(path), Type::STREAM) => Address::Unix(path),
        (Name::Path(path), Type::DGRAM) => Address::UnixDatagram(path),
        (Name::Path(path), _) => Address::Other(format!("unix-seqpacket:{}", path.display())),
        (Name::Abstract(name), Type::STREAM) => Address::Other(format!("unix:@{name}")),
        (Name::Abstract(name), Type::DGRAM) => Address::Other(format!("unix-dgram:@{name}")),
        (Name::Abstract(name), _) => Address::Other(format!("unix-seqpacket:@{name}")),
        (Name::Other(text), _) => Address::Other(text),
        (Name::Unnamed, _) => Address::Other("unnamed".into()),
    }
}
