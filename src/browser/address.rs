//! Where a browser reaches the app. Pure.

use std::net::SocketAddr;

/// The URL of the app at this address. On this machine it is reached by `localhost`, for which browsers
/// allow what they allow secure pages only.
pub fn url(address: SocketAddr, is_tls: bool) -> String {
    let scheme = if is_tls { "https" } else { "http" };
    let ip = address.ip().to_canonical();
    if ip.is_loopback() || ip.is_unspecified() {
        format!("{scheme}://localhost:{}/", address.port())
    } else {
        format!("{scheme}://{address}/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_localhost() {
        for (address, is_tls, expected) in [
            ("127.0.0.1:3000", false, "http://localhost:3000/"),
            ("[::1]:3000", true, "https://localhost:3000/"),
            ("0.0.0.0:80", false, "http://localhost:80/"),
            ("[::]:80", false, "http://localhost:80/"),
            ("192.168.1.2:80", false, "http://192.168.1.2:80/"),
            ("[fd00::1]:80", false, "http://[fd00::1]:80/"),
        ] {
            assert_eq!(url(address.parse().unwrap(), is_tls), expected);
        }
    }
}
