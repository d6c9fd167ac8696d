//! The address that a program binds: the bytes of a `sockaddr`, and the protocol of the socket.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;

use nix::libc;

pub use crate::sys::facts::{Bound, Protocol};

impl Protocol {
    /// Reads the kernel's name. MPTCP counts as TCP: the held socket is plain TCP.
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        let name = name.strip_suffix(b"\0").unwrap_or(name);
        Some(match name {
            b"TCP" | b"MPTCP" => Self::Tcp4,
            b"TCPv6" | b"MPTCPv6" => Self::Tcp6,
            b"UDP" => Self::Udp4,
            b"UDPv6" => Self::Udp6,
            b"UNIX-STREAM" => Self::Unix,
            _ => return None,
        })
    }

    /// It is a unix socket of any type, which kernels before 5.15 don't tell.
    pub(super) fn is_some_unix(name: &[u8]) -> bool {
        name.strip_suffix(b"\0").unwrap_or(name) == b"UNIX"
    }
}

/// The longest `sockaddr` that is read, in bytes.
pub(super) const LONGEST: usize = size_of::<libc::sockaddr_un>();

/// Reads an address. `None`: the kernel refuses it (too short, another family than the socket's), or it
/// is unnamed.
pub fn read(protocol: Protocol, bytes: &[u8]) -> Option<Bound> {
    let family = i32::from(u16::from_ne_bytes(*bytes.first_chunk()?));
    match protocol {
        Protocol::Tcp4 | Protocol::Udp4 => {
            let is_whole = bytes.len() >= size_of::<libc::sockaddr_in>();
            let at = v4(bytes).filter(|_| is_whole && family == libc::AF_INET)?;
            Some(Bound::Internet(at.into()))
        }
        Protocol::Tcp6 | Protocol::Udp6 => {
            let is_whole = bytes.len() >= size_of::<libc::sockaddr_in6>();
            let at = v6(bytes).filter(|_| is_whole && family == libc::AF_INET6)?;
            Some(Bound::Internet(at.into()))
        }
        Protocol::Unix => {
            let path = bytes.get(2..)?;
            if let Some(name) = path.strip_prefix(b"\0").filter(|name| !name.is_empty()) {
                return Some(Bound::Abstract(name.escape_ascii().to_string()));
            }
            let end = path.iter().position(|byte| *byte == 0);
            let path = &path[..end.unwrap_or(path.len())];
            if family != libc::AF_UNIX || path.is_empty() {
                return None;
            }
            Some(Bound::Path(OsStr::from_bytes(path).into()))
        }
    }
}

/// `sockaddr_in`: family, port, address.
fn v4(bytes: &[u8]) -> Option<SocketAddrV4> {
    let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
    let ip: [u8; 4] = *bytes.get(4..)?.first_chunk()?;
    Some(SocketAddrV4::new(Ipv4Addr::from(ip), port))
}

/// `sockaddr_in6`: family, port, flow, address, scope.
fn v6(bytes: &[u8]) -> Option<SocketAddrV6> {
    let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
    let ip: [u8; 16] = *bytes.get(8..)?.first_chunk()?;
    let scope = u32::from_ne_bytes(*bytes.get(24..)?.first_chunk()?);
    Some(SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, scope))
}

#[cfg(any(test, fuzzing))]
pub(crate) mod hostile_tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::hostile::Target;

    const PROTOCOLS: [Protocol; 5] = [
        Protocol::Tcp4,
        Protocol::Tcp6,
        Protocol::Udp4,
        Protocol::Udp6,
        Protocol::Unix,
    ];

    pub(in super::super) fn bytes(family: i32, rest: &[u8]) -> Vec<u8> {
        let family = u16::try_from(family).unwrap().to_ne_bytes();
        family.iter().chain(rest).copied().collect()
    }

    /// The bytes that the address is read from.
    fn written(bound: &Bound) -> Vec<u8> {
        match bound {
            Bound::Internet(SocketAddr::V4(at)) => {
                let rest = [&at.port().to_be_bytes()[..], &at.ip().octets(), &[0; 8]].concat();
                bytes(libc::AF_INET, &rest)
            }
            Bound::Internet(SocketAddr::V6(at)) => {
                let (port, scope) = (at.port().to_be_bytes(), at.scope_id().to_ne_bytes());
                let rest = [&port[..], &[0; 4], &at.ip().octets(), &scope].concat();
                bytes(libc::AF_INET6, &rest)
            }
            Bound::Path(path) => bytes(libc::AF_UNIX, path.as_os_str().as_bytes()),
            Bound::Abstract(name) => bytes(libc::AF_UNIX, name.as_bytes()),
        }
    }

    pub(crate) fn any_bytes_are_an_address_or_none() -> Target {
        let v4 = bytes(libc::AF_INET, b"\x0b\xb8\x7f\0\0\x01\0\0\0\0\0\0\0\0");
        let mut v6 = bytes(libc::AF_INET6, b"\x0b\xb8\0\0\0\0");
        v6.extend(Ipv6Addr::LOCALHOST.octets());
        v6.extend(7_u32.to_ne_bytes());
        let path = bytes(libc::AF_UNIX, b"/tmp/a.sock\0rest");
        let name = bytes(libc::AF_UNIX, b"\0a\xff\\\0");
        Target::bytes(&[&v4, &v6, &path, &name], 1, |input| {
            for protocol in PROTOCOLS {
                match read(protocol, input) {
                    None => {}
                    // It is shown, and never read again.
                    Some(Bound::Abstract(name)) => assert!(name.len() <= 4 * input.len()),
                    Some(bound) => assert_eq!(read(protocol, &written(&bound)), Some(bound)),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::hostile_tests::bytes;
    use super::*;

    #[track_caller]
    fn case(protocol: Protocol, bytes: &[u8], expected: Option<&str>) {
        let read = read(protocol, bytes).map(|bound| match bound {
            Bound::Internet(at) => at.to_string(),
            Bound::Path(path) => path.display().to_string(),
            Bound::Abstract(name) => format!("@{name}"),
        });
        assert_eq!(read.as_deref(), expected);
    }

    #[test]
    fn what_the_kernel_would_take_is_read() {
        let v4 = bytes(libc::AF_INET, b"\x0b\xb8\x7f\0\0\x01\0\0\0\0\0\0\0\0");
        case(Protocol::Tcp4, &v4, Some("127.0.0.1:3000"));
        case(Protocol::Udp4, &v4, Some("127.0.0.1:3000"));
        case(Protocol::Tcp4, &v4[..15], None);
        case(Protocol::Tcp6, &v4, None);
        case(Protocol::Unix, &v4, None);
        let mut v6 = bytes(libc::AF_INET6, b"\x0b\xb8\0\0\0\0");
        v6.extend(Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets());
        v6.extend(7_u32.to_ne_bytes());
        case(Protocol::Tcp6, &v6, Some("[::ffff:127.0.0.1%7]:3000"));
        case(Protocol::Tcp6, &v6[..27], None);
        case(Protocol::Tcp4, &v6, None);
        for (path, expected) in [
            (&b"/tmp/a.sock\0rest"[..], Some("/tmp/a.sock")),
            (b"a.sock", Some("a.sock")),
            (b"../tmp/./a.sock\0", Some("../tmp/./a.sock")),
            (b"\0a\xff", Some("@a\\xff")),
            // An unnamed address, for which the kernel chooses an abstract one.
            (b"", None),
            (b"\0", None),
        ] {
            case(Protocol::Unix, &bytes(libc::AF_UNIX, path), expected);
        }
        case(Protocol::Unix, b"", None);
    }

    #[test]
    fn protocols_have_the_names_of_the_kernel() {
        for (name, expected) in [
            (&b"TCP\0"[..], Some(Protocol::Tcp4)),
            (b"MPTCPv6", Some(Protocol::Tcp6)),
            (b"UDPv6\0", Some(Protocol::Udp6)),
            (b"UNIX-STREAM\0", Some(Protocol::Unix)),
            (b"UNIX\0", None),
            (b"NETLINK\0", None),
        ] {
            assert_eq!(Protocol::named(name), expected);
            assert_eq!(Protocol::is_some_unix(name), name == b"UNIX\0");
        }
    }
}
