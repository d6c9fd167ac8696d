//! Sockets: what they are known by, and what waits in them.

use std::io;
use std::net::SocketAddr;
use std::os::windows::io::{AsRawSocket, AsSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use windows_sys::Win32::Networking::WinSock::{
    POLLRDNORM, SO_ACCEPTCONN, SO_EXCLUSIVEADDRUSE, SOCKET, SOL_SOCKET, WSAPOLLFD, WSAPoll,
    getsockopt, setsockopt,
};

/// `SOMAXCONN_HINT(65535)`: as long a queue as there is. A plain number is cut to some 200, and a full queue
/// refuses clients here.
pub const BACKLOG: i32 = -65_535;

/// A port that the system chose at `bind` stays with the socket.
pub const GIVES_BACK_PORTS: bool = false;

/// Why a program may not bind a port, and what to do.
pub const PORT_DENIED: (&str, &str) = (
    "another program has the port for itself, or Windows keeps it",
    "choose another port: `netsh interface ipv4 show excludedportrange tcp` shows those that Windows keeps",
);

/// Before `bind`: makes it fail if another program has the address, and keeps others from taking it
/// (`SO_EXCLUSIVEADDRUSE`). Connections of an earlier run in `TIME_WAIT` are no obstacle here, and
/// `SO_REUSEADDR` would let any program take the address.
pub fn claim_address(socket: &Socket, _kind: Type) -> io::Result<()> {
    let on: i32 = 1;
    let length = i32::try_from(size_of_val(&on)).map_err(io::Error::other)?;
    let at = (&raw const on).cast();
    // SAFETY: the call reads `length` bytes, which are those of the number.
    let set = unsafe { setsockopt(raw(socket), SOL_SOCKET, SO_EXCLUSIVEADDRUSE, at, length) };
    if set != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn raw(socket: &impl AsSocket) -> SOCKET {
    let number = socket.as_socket().as_raw_socket();
    SOCKET::try_from(number).unwrap_or(SOCKET::MAX)
}

/// The number by which this process knows a socket.
pub fn id(socket: &impl AsSocket) -> io::Result<u64> {
    Ok(socket.as_socket().as_raw_socket())
}

/// There is something to accept or to read, or comes within this time, or never will.
pub fn has_input(socket: &impl AsSocket, within: Duration) -> io::Result<bool> {
    let mut asked = WSAPOLLFD {
        fd: raw(socket),
        events: POLLRDNORM,
        revents: 0,
    };
    let within = i32::try_from(within.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the array has one entry, whose socket is borrowed and so open through this call.
    match unsafe { WSAPoll(&raw mut asked, 1, within) } {
        ..0 => Err(io::Error::last_os_error()),
        count => Ok(count > 0),
    }
}

/// The socket listens.
pub fn listens(socket: &Socket) -> io::Result<bool> {
    let mut value = 0_i32;
    let mut length = i32::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    let at = (&raw mut value).cast();
    // SAFETY: the call writes no more than `length` bytes, which are those of the number.
    let read = unsafe { getsockopt(raw(socket), SOL_SOCKET, SO_ACCEPTCONN, at, &raw mut length) };
    if read != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(value != 0)
}

/// `false`: that can't be asked for, and each process that gets a duplicate decides for itself.
pub fn is_nonblocking(_socket: &Socket) -> io::Result<bool> {
    Ok(false)
}

/// An error if other sockets are to be bound to the same address: one of them would get connections at
/// random.
pub fn share_address(_socket: &Socket, allow: bool) -> io::Result<()> {
    if allow { super::unsupported() } else { Ok(()) }
}

/// `false`: see [`share_address`].
pub fn shares_address(_socket: &Socket) -> io::Result<bool> {
    Ok(false)
}

/// What a socket is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// An internet address.
    Internet(SocketAddr),
    /// A path.
    Path(PathBuf),
    /// An abstract name, escaped.
    Abstract(String),
    /// Nothing.
    Unnamed,
    /// Something else, as text.
    Other(String),
}

/// What a socket with this address is bound to.
pub fn name(address: &SockAddr) -> Name {
    if let Some(at) = address.as_socket() {
        Name::Internet(at)
    } else if address.is_unix() {
        Name::Other("unix".into())
    } else {
        Name::Other(format!("family-{}", address.family()))
    }
}

/// The program that has bound a socket to this path has ended.
pub fn is_refused(path: &Path) -> bool {
    let connect = || Socket::new(Domain::UNIX, Type::STREAM, None)?.connect(&SockAddr::unix(path)?);
    connect().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Receives datagrams at this path: an error, there are no such unix sockets.
#[cfg(test)]
pub fn receive_unix(_path: &Path) -> io::Result<Socket> {
    super::unsupported()
}

/// Sends a datagram to this path: an error.
#[cfg(test)]
pub fn send_unix(_path: &Path, _bytes: &[u8]) -> io::Result<usize> {
    super::unsupported()
}

/// Listens at this path.
#[cfg(test)]
pub fn listen_unix(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(128)?;
    Ok(socket)
}

/// Connects to the socket that listens at this path.
#[cfg(test)]
pub fn connect_unix(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;

    #[test]
    fn a_claimed_address_is_nobody_elses() {
        let claimed = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            claim_address(&socket, Type::STREAM).unwrap();
            socket
        };
        let socket = claimed();
        let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        socket.bind(&any.into()).unwrap();
        let address = socket.local_addr().unwrap();
        let refused = claimed().bind(&address).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        assert!(!listens(&socket).unwrap());
        socket.listen(BACKLOG).unwrap();
        assert!(listens(&socket).unwrap());
        assert!(!has_input(&socket, Duration::ZERO).unwrap());
        let client = TcpStream::connect(address.as_socket().unwrap()).unwrap();
        assert!(has_input(&socket, Duration::from_secs(60)).unwrap());
        assert_ne!(id(&socket).unwrap(), id(&client).unwrap());
    }
}
