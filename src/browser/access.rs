//! Who may see the state of the build: error messages name files and quote sources. Pure.
//!
//! A web page of somebody else, open in a browser of this machine, can send requests to servers at
//! loopback addresses. It can't read the answers, unless its own name is made to resolve to such an
//! address (DNS rebinding): then the browser takes the answer for the page's own. So the name that a
//! request was made to counts as well.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The peer is a program of this machine.
pub fn is_local(peer: SocketAddr) -> bool {
    peer.ip().to_canonical().is_loopback()
}

/// A name that nobody else can own: `localhost` and names below it (RFC 6761), IP addresses, which are no
/// names and can't be rebound, and those that the user has listed (in lower case). `host` is what a `Host`
/// header has, or the part of an origin after the scheme.
pub fn is_own_host(host: &str, listed: &[String]) -> bool {
    let name = without_port(host).to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    let is_address = match name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
    {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_ipv4()),
    };
    is_address
        || name == "localhost"
        || name.ends_with(".localhost")
        || listed.iter().any(|own| own == name)
}

/// An `Origin` whose scripts may see the state of the build: `http` or `https` of an own host.
pub fn is_own_origin(origin: &str, listed: &[String]) -> bool {
    let host = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    host.is_some_and(|host| !host.contains('/') && is_own_host(host, listed))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_of_this_machine_are_local() {
        for (peer, expected) in [
            ("127.0.0.1:1", true),
            ("127.8.0.1:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("192.168.1.2:1", false),
            ("[::ffff:192.168.1.2]:1", false),
            ("[fe80::1]:1", false),
        ] {
            assert_eq!(is_local(peer.parse().unwrap()), expected, "{peer}");
        }
    }

    #[test]
    fn names_that_others_can_own_are_refused() {
        let listed = ["app.test".to_owned()];
        for own in [
            "localhost",
            "LOCALHOST:3000",
            "localhost.",
            "a.b.localhost:1",
            "127.0.0.1:3000",
            "192.168.1.2",
            "[::1]:3000",
            "[::1]",
            "App.test:3000",
        ] {
            assert!(is_own_host(own, &listed), "{own}");
        }
        for other in [
            "",
            "evil.example:3000",
            "localhost.evil.example",
            "evillocalhost",
            "127.0.0.1.nip.io",
            "sub.app.test",
            "[localhost]",
            "::1",
            "localhost:80@evil.example",
            "localhost:x",
        ] {
            assert!(!is_own_host(other, &listed), "{other}");
        }
    }

    #[test]
    fn origins_of_others_are_refused() {
        for (origin, expected) in [
            ("http://localhost:3000", true),
            ("https://127.0.0.1", true),
            ("null", false),
            ("file://", false),
            ("http://evil.example", false),
            ("http://localhost@evil.example", false),
            ("chrome-extension://localhost", false),
            ("http://localhost/evil", false),
        ] {
            assert_eq!(is_own_origin(origin, &[]), expected, "{origin}");
        }
    }
}
