//! The address of a socket, displayed as users write it. Pure.

use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// The address of a held socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// `127.0.0.1:3000`.
    Tcp(SocketAddr),
    /// `udp:127.0.0.1:5353`.
    Udp(SocketAddr),
    /// `unix:/run/app.sock`: connections.
    Unix(PathBuf),
    /// `unix-dgram:/run/app.sock`: datagrams.
    UnixDatagram(PathBuf),
    /// An address that hotrun never binds itself and can only inherit, such as an abstract unix address;
    /// the text is all that is known of it.
    Other(String),
}

impl Address {
    /// Where a TCP client connects to.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            _ => None,
        }
    }

    /// The interface and port, of TCP or UDP.
    pub fn internet(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) | Self::Udp(address) => Some(*address),
            _ => None,
        }
    }

    /// The file of a unix socket.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) | Self::UnixDatagram(path) => Some(path),
            _ => None,
        }
    }

    /// The port is 0: the kernel chooses one.
    pub fn is_open(&self) -> bool {
        self.internet().is_some_and(|address| address.port() == 0)
    }

    /// The address that is bound: IPv4 for an IPv6 address that an IPv4 one is written in.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let mut bound = self.clone();
        if let Self::Tcp(address) | Self::Udp(address) = &mut bound {
            address.set_ip(address.ip().to_canonical());
        }
        bound
    }

    /// The same address with another port.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        let mut changed = self.clone();
        if let Self::Tcp(address) | Self::Udp(address) = &mut changed {
            address.set_port(port);
        }
        changed
    }

    /// The two addresses can't be bound at once: they are equal, or one is the wildcard address of the
    /// other's family. IPv4 and IPv6 count as apart here; whether `[::]` serves IPv4 too depends on each
    /// socket's `IPV6_V6ONLY`.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(two)) | (Self::Udp(one), Self::Udp(two)) => {
                let any = one.ip().is_unspecified() || two.ip().is_unspecified();
                one.port() == two.port()
                    && one.port() != 0
                    && one.is_ipv4() == two.is_ipv4()
                    && (any || one == two)
            }
            _ => self.path().is_some() && self.path() == other.path(),
        }
    }

    /// This address is `[::]`, and the other one an IPv4 address that conflicts with it unless `[::]` is
    /// `IPV6_V6ONLY`.
    pub fn spans(&self, other: &Self) -> bool {
        let (Some(own), Some(others)) = (self.internet(), other.internet()) else {
            return false;
        };
        let kind = self.tcp().is_some() == other.tcp().is_some();
        let both = own.is_ipv6() && own.ip().is_unspecified() && others.is_ipv4();
        kind && both && own.port() == others.port() && own.port() != 0
    }
}

/// A hidden path beside the path of a unix socket, for a file of this process.
pub(super) fn aside(public: &Path, end: &str) -> PathBuf {
    let mut name = hidden(public);
    name.push(format!("{}.{end}", std::process::id()));
    public.with_file_name(name)
}

/// A temporary path: each slot's socket is bound to it before its file gets a path of its own, and a
/// switch renames a link from it over the public path.
pub(super) fn bound_name(public: &Path) -> PathBuf {
    aside(public, "new")
}

/// A socket with this path in the kernel's lists belongs to one of the slots behind the public path, of
/// this hotrun or of another one.
pub fn is_behind(public: &Path, bound: &Path) -> bool {
    let (hidden, name) = (hidden(public), bound.file_name().unwrap_or_default());
    let is_ours = name
        .as_encoded_bytes()
        .starts_with(hidden.as_encoded_bytes());
    bound == public || (is_ours && bound.parent() == public.parent())
}

/// The prefix that the names of all such hidden files share.
pub(super) fn hidden(public: &Path) -> OsString {
    let mut name = OsString::from(".");
    name.push(public.file_name().unwrap_or_default());
    name.push(".");
    name
}

/// The address to connect to: a socket that listens on the wildcard address is reached on loopback.
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Udp(address) => write!(f, "udp:{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::UnixDatagram(path) => write!(f, "unix-dgram:{}", path.display()),
            Self::Other(words) => f.write_str(words),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(text: &str) -> Address {
        Address::Tcp(text.parse().unwrap())
    }

    fn udp(text: &str) -> Address {
        Address::Udp(text.parse().unwrap())
    }

    #[test]
    fn every_interface_overlaps_with_each_of_its_family() {
        let path = Path::new("/a/b").to_owned();
        let [stream, datagram] = [Address::Unix(path.clone()), Address::UnixDatagram(path)];
        for (one, two, expected) in [
            (tcp("127.0.0.1:80"), tcp("127.0.0.1:80"), true),
            (tcp("0.0.0.0:80"), tcp("127.0.0.1:80"), true),
            (tcp("[::]:80"), tcp("[::1]:80"), true),
            (tcp("[::]:80"), tcp("127.0.0.1:80"), false),
            (tcp("127.0.0.1:80"), tcp("127.0.0.2:80"), false),
            (tcp("127.0.0.1:80"), tcp("127.0.0.1:81"), false),
            (tcp("127.0.0.1:80"), udp("127.0.0.1:80"), false),
            (tcp("127.0.0.1:0"), tcp("127.0.0.1:0"), false),
            (tcp("[fe80::1%1]:80"), tcp("[fe80::1%2]:80"), false),
            (stream.clone(), datagram, true),
            (stream, tcp("127.0.0.1:80"), false),
        ] {
            assert_eq!(one.overlaps(&two), expected, "{one} {two}");
            assert_eq!(two.overlaps(&one), expected, "{two} {one}");
        }
    }

    #[test]
    fn every_interface_of_ipv6_spans_ipv4_of_its_kind_and_port() {
        for (one, two, expected) in [
            (tcp("[::]:80"), tcp("127.0.0.1:80"), true),
            (tcp("[::]:80"), tcp("0.0.0.0:80"), true),
            (tcp("[::]:80"), tcp("0.0.0.0:81"), false),
            (tcp("[::]:0"), tcp("0.0.0.0:0"), false),
            (tcp("[::]:80"), udp("0.0.0.0:80"), false),
            (tcp("[::]:80"), tcp("[::1]:80"), false),
            (tcp("[::1]:80"), tcp("127.0.0.1:80"), false),
        ] {
            assert_eq!(one.spans(&two), expected, "{one} {two}");
        }
    }
}
