//! The held set: sockets that are bound and listening from before the first build until hotrun
//! ends, so that a connect succeeds whatever happens to the app.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::holder;
use super::spec::Spec;
use crate::exit::{ExitKind, Failure};

/// The kernel caps it at its own maximum (`somaxconn`); less would make clients wait for a
/// retried handshake while nobody accepts.
const BACKLOG: i32 = i32::MAX;

/// How often a port is chosen anew when the one that was free for IPv4 is not for IPv6.
const TRIES: usize = 16;

/// One socket that is held.
#[derive(Debug)]
pub struct Held {
    /// Its name in `LISTEN_FDNAMES`.
    pub name: Option<String>,
    /// Where it listens, with the port that was chosen.
    pub address: SocketAddr,
    /// Its number in /proc: the same in every process that has it.
    pub inode: u64,
    socket: OwnedFd,
}

/// All held sockets, in the order of their descriptors.
#[derive(Debug, Default)]
pub struct HeldSet {
    sockets: Vec<Held>,
}

impl HeldSet {
    /// Binds and listens on every address; fails as a whole, naming who is in the way.
    pub fn open(specs: &[Spec]) -> Result<Self, Failure> {
        let mut sockets = Vec::new();
        for spec in specs {
            let opened = open(spec).map_err(|(address, error)| refused(address, &error))?;
            for socket in opened {
                let broken = |error: io::Error| Failure::failed(format!("socket: {error}"));
                sockets.push(Held {
                    name: spec.name.clone(),
                    address: socket
                        .local_addr()
                        .and_then(|address| to_std(&address))
                        .map_err(broken)?,
                    inode: inode(&socket).map_err(broken)?,
                    socket: socket.into(),
                });
            }
        }
        Ok(Self { sockets })
    }

    /// Every socket.
    pub fn iter(&self) -> impl Iterator<Item = &Held> {
        self.sockets.iter()
    }

    /// Nothing is held.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
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
            SockRef::from(&held.socket).listen(BACKLOG).ok();
        }
    }
}

type Refused = (SocketAddr, io::Error);

/// The sockets of one spec; where several share a port that is to be chosen, the same for all.
fn open(spec: &Spec) -> Result<Vec<Socket>, Refused> {
    let mut result = try_open(spec);
    for _ in 0..TRIES {
        match &result {
            Err((address, error))
                if address.port() == 0 && error.kind() == io::ErrorKind::AddrInUse =>
            {
                result = try_open(spec);
            }
            _ => break,
        }
    }
    result
}

fn try_open(spec: &Spec) -> Result<Vec<Socket>, Refused> {
    let mut sockets: Vec<Socket> = Vec::new();
    for declared in &spec.addresses {
        let mut address = *declared;
        if address.port() == 0
            && let Some(first) = sockets.first()
            && let Ok(chosen) = first.local_addr().and_then(|address| to_std(&address))
        {
            address.set_port(chosen.port());
        }
        match listen_on(address, spec.nonblocking) {
            Ok(socket) => sockets.push(socket),
            // A machine without IPv6: the first address is all there is.
            Err(error)
                if !sockets.is_empty() && error.kind() == io::ErrorKind::AddrNotAvailable => {}
            Err(error)
                if !sockets.is_empty() && error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT) => {
            }
            Err(error) => return Err((*declared, error)),
        }
    }
    Ok(sockets)
}

fn listen_on(address: SocketAddr, nonblocking: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Connections of an earlier run in TIME_WAIT must not be in the way; another listener is.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(nonblocking)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn to_std(address: &socket2::SockAddr) -> io::Result<SocketAddr> {
    address
        .as_socket()
        .ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
}

fn inode(socket: &Socket) -> io::Result<u64> {
    let stat = nix::sys::stat::fstat(socket.as_fd()).map_err(|error| {
        let number = socket.as_raw_fd();
        io::Error::other(format!("descriptor {number}: {error}"))
    })?;
    Ok(stat.st_ino)
}

/// Why an address can't be held, and by whom.
fn refused(address: SocketAddr, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let by = holder::of(address).map(|holder| format!(" by {holder}"));
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
        _ => Failure::usage(format!("{address}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;
    use crate::sockets::spec;

    #[test]
    fn both_families_get_the_same_port_and_answer_at_once() {
        let set = HeldSet::open(&[spec::parse("web=:0").unwrap()]).unwrap();
        let ports: Vec<u16> = set.iter().map(|held| held.address.port()).collect();
        assert!(
            ports.iter().all(|port| *port == ports[0] && *port != 0),
            "{ports:?}"
        );
        for held in set.iter() {
            assert_eq!(held.name.as_deref(), Some("web"));
            TcpStream::connect(held.address).unwrap();
        }
        assert_eq!(set.copies().unwrap().len(), ports.len());
    }

    #[test]
    fn who_holds_an_address_is_named() {
        let first = HeldSet::open(&[spec::parse("127.0.0.1:0").unwrap()]).unwrap();
        let address = first.iter().next().unwrap().address;
        let failure = HeldSet::open(&[spec::parse(&address.to_string()).unwrap()]).unwrap_err();
        assert_eq!(failure.kind, ExitKind::InUse);
        let own = format!("{address} is in use by pid {} (", std::process::id());
        assert!(failure.message.starts_with(&own), "{}", failure.message);
    }
}
