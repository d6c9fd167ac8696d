//! Tries whether capture works here: starts this program as one that listens, and connects a client to
//! the captured address.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// The argument with which this program is the one that listens.
pub const ARGUMENT: &str = "__listens";

/// How long a client tries to connect.
const PATIENCE: Duration = Duration::from_secs(2);

/// If this process is the one that listens: listens, accepts one client, and returns.
pub fn requested() -> Option<Result<String, String>> {
    let is_it = std::env::args_os()
        .nth(1)
        .is_some_and(|word| word == ARGUMENT);
    is_it.then(|| {
        let accepted = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|own| own.accept());
        accepted
            .map(|(_, client)| client.to_string())
            .map_err(|error| error.to_string())
    })
}

/// Connects to the captured address.
pub fn connect(address: SocketAddr) -> io::Result<()> {
    TcpStream::connect_timeout(&address, PATIENCE).map(drop)
}
