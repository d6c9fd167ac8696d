//! The sockets of the server: one port of both loopback addresses.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener};

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

use crate::sys::sockets::claim_address;

/// So many ports after the configured one are tried.
const MORE: u16 = 20;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Listens on this port, or on the next one that is free for both addresses.
pub(super) fn on(port: u16) -> io::Result<Vec<TcpListener>> {
    let mut result = Err(ErrorKind::AddrInUse.into());
    for port in port..=port.saturating_add(MORE) {
        result = both(port);
        match &result {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            _ => break,
        }
    }
    result
}

fn both(port: u16) -> io::Result<Vec<TcpListener>> {
    let first = bind((Ipv4Addr::LOCALHOST, port).into())?;
    let second = match bind((Ipv6Addr::LOCALHOST, port).into()) {
        Ok(second) => Some(second),
        Err(error) if error.kind() == ErrorKind::AddrInUse => return Err(error),
        // Not every machine has IPv6.
        Err(_) => None,
    };
    Ok([Some(first), second].into_iter().flatten().collect())
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Connections of the run before may not be over yet.
    claim_address(&socket, Type::STREAM)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(StdListener::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(listeners: &[TcpListener]) -> u16 {
        listeners[0].local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_passed_over() {
        let taken = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let first = taken.local_addr().unwrap().port();
        let listeners = on(first).unwrap();
        assert!(port(&listeners) > first && port(&listeners) <= first + MORE);
        let all_local = |listener: &TcpListener| listener.local_addr().unwrap().ip().is_loopback();
        assert!(listeners.iter().all(all_local));
        let second = listeners.last().unwrap().local_addr().unwrap().port();
        assert_eq!(second, port(&listeners));
    }
}
