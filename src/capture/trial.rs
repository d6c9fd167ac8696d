//! Whether capture works here, tried with a program that listens: what it is told to do goes the whole way,
//! from its call to a client that it accepts.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// What this program is started with to be the one that listens.
pub const ARGUMENT: &str = "__listens";

/// How long a client waits to be connected.
const PATIENCE: Duration = Duration::from_secs(2);

/// This process is to be the program that listens: it does, takes one client, and ends.
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

/// Connects to it.
pub fn connect(address: SocketAddr) -> io::Result<()> {
    TcpStream::connect_timeout(&address, PATIENCE).map(drop)
}
