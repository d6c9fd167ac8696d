//! A socket of a process, from `struct socket_fdinfo` (`PROC_PIDFDSOCKETINFO`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::{bytes_at, text, u8_at, u16_at, u32_at, u64_at};

/// The length of the structure: a `struct proc_fileinfo`, and a `struct socket_info` with one of several
/// protocols' at its end.
pub(in crate::sys) const LENGTH: usize = 792;

/// Offsets in it: `soi_so`, `soi_family`, `soi_options`, `soi_qlen`, `soi_kind` and `soi_proto`.
const ID: usize = 160;
const FAMILY: usize = 184;
const OPTIONS: usize = 188;
const QUEUED: usize = 194;
const KIND: usize = 256;
const PROTOCOL: usize = 264;
/// Kinds (`SOCKINFO_…`).
const INTERNET: u32 = 1;
const TCP: u32 = 2;
const UNIX: u32 = 3;
/// Offsets in `struct in_sockinfo`: the ports, `insi_vflag`, and the addresses, of which an IPv4 one is at
/// the end of its 16 bytes.
const FOREIGN_PORT: usize = 0;
const LOCAL_PORT: usize = 4;
const VERSION: usize = 24;
const FOREIGN: usize = 32;
const LOCAL: usize = 48;
const V4: usize = 12;
/// `tcpsi_state`, behind that structure, and the state of a socket that listens (`TSI_S_LISTEN`).
const STATE: usize = 80;
const LISTENS: u32 = 1;
/// `INI_IPV6`, `AF_INET6` and `SO_ACCEPTCONN`.
const IS_V6: u8 = 2;
const FAMILY_V6: u32 = 30;
const ACCEPTS: u16 = 2;
/// Offsets in `struct un_sockinfo`: `unsi_conn_so`, the length in `unsi_addr`, and the path in it.
const PEER: usize = 0;
const LENGTH_OF_ADDRESS: usize = 16;
const PATH: usize = 18;
/// The longest path, as `sun_path` has room for it.
const LONGEST_PATH: usize = 104;

/// A socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sys) struct SocketInfo {
    /// A number that it has in all processes, from its creation to its end.
    pub(in crate::sys) id: u64,
    /// The length of its accept queue.
    pub(in crate::sys) queued: u32,
    /// It listens.
    pub(in crate::sys) listens: bool,
    /// What it is bound and connected to.
    pub(in crate::sys) ends: Ends,
}

/// What a socket is bound and connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sys) enum Ends {
    /// Internet addresses, over TCP or another protocol.
    Internet {
        /// It is a TCP socket.
        is_tcp: bool,
        /// Its own.
        own: SocketAddr,
        /// Its peer's; its port is zero without one.
        peer: SocketAddr,
    },
    /// A unix socket.
    Unix {
        /// The path that it is bound to, also one that was accepted there; empty: none.
        path: Vec<u8>,
        /// The number of its peer.
        peer: Option<u64>,
    },
    /// Something else.
    Other,
}

impl SocketInfo {
    /// Reads the structure; `None` if it is cut off.
    pub(in crate::sys) fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < LENGTH {
            return None;
        }
        let kind = u32_at(bytes, KIND)?;
        let protocol = bytes.get(PROTOCOL..LENGTH)?;
        let accepts = u16_at(bytes, OPTIONS)? & ACCEPTS != 0;
        let family = u32_at(bytes, FAMILY)?;
        Some(Self {
            id: u64_at(bytes, ID)?,
            queued: u16_at(bytes, QUEUED)?.into(),
            listens: match kind {
                TCP => u32_at(protocol, STATE)? == LISTENS,
                _ => accepts,
            },
            ends: match kind {
                INTERNET | TCP => internet(protocol, family, kind == TCP)?,
                UNIX => unix(protocol)?,
                _ => Ends::Other,
            },
        })
    }
}

/// `struct in_sockinfo`.
fn internet(bytes: &[u8], family: u32, is_tcp: bool) -> Option<Ends> {
    // A connection over IPv4 to a socket for both is one of IPv4.
    let is_v6 = family == FAMILY_V6 && u8_at(bytes, VERSION)? & IS_V6 != 0;
    let at = |address, port| {
        // The port is in the order of the network, in the lower half of a number.
        let port = u16::from_be_bytes(bytes_at(bytes, port)?);
        Some(if is_v6 {
            v6(bytes_at(bytes, address)?, port)
        } else {
            let ip: [u8; 4] = bytes_at(bytes, address + V4)?;
            (IpAddr::from(Ipv4Addr::from(ip)), port).into()
        })
    };
    Some(Ends::Internet {
        is_tcp,
        own: at(LOCAL, LOCAL_PORT)?,
        peer: at(FOREIGN, FOREIGN_PORT)?,
    })
}

/// The kernel keeps the interface of a link-local address in its second group.
fn v6(octets: [u8; 16], port: u16) -> SocketAddr {
    let ip = Ipv6Addr::from(octets);
    if !ip.is_unicast_link_local() {
        return (ip, port).into();
    }
    let [a, b, high, low, rest @ ..] = octets;
    let mut octets = [0; 16];
    octets[..2].copy_from_slice(&[a, b]);
    octets[4..].copy_from_slice(&rest);
    let interface = u16::from_be_bytes([high, low]).into();
    SocketAddrV6::new(octets.into(), port, 0, interface).into()
}

/// `struct un_sockinfo`.
fn unix(bytes: &[u8]) -> Option<Ends> {
    let end = LENGTH_OF_ADDRESS + usize::from(u8_at(bytes, LENGTH_OF_ADDRESS)?);
    let path = bytes.get(PATH..end.clamp(PATH, PATH + LONGEST_PATH))?;
    Some(Ends::Unix {
        path: text(path).to_vec(),
        peer: Some(u64_at(bytes, PEER)?).filter(|peer| *peer != 0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A structure with these bytes at these offsets.
    fn structure(parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; LENGTH];
        for (at, part) in parts {
            bytes[*at..][..part.len()].copy_from_slice(part);
        }
        bytes
    }

    fn number(number: u32) -> [u8; 4] {
        number.to_ne_bytes()
    }

    #[track_caller]
    fn addresses(parts: &[(usize, &[u8])]) -> (String, String) {
        match SocketInfo::read(&structure(parts)).unwrap().ends {
            Ends::Internet { own, peer, .. } => (own.to_string(), peer.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_listening_socket_has_an_address_and_a_queue() {
        let bytes = structure(&[
            (ID, &77_u64.to_ne_bytes()),
            (FAMILY, &number(2)),
            (QUEUED, &3_u16.to_ne_bytes()),
            (KIND, &number(TCP)),
            (PROTOCOL + LOCAL_PORT, &[0x1f, 0x90]),
            (PROTOCOL + VERSION, &[1]),
            (PROTOCOL + LOCAL + V4, &[127, 0, 0, 1]),
            (PROTOCOL + STATE, &number(LISTENS)),
        ]);
        let expected = SocketInfo {
            id: 77,
            queued: 3,
            listens: true,
            ends: Ends::Internet {
                is_tcp: true,
                own: ([127, 0, 0, 1], 8080).into(),
                peer: ([0, 0, 0, 0], 0).into(),
            },
        };
        assert_eq!(SocketInfo::read(&bytes), Some(expected));
        for length in 0..LENGTH {
            assert_eq!(SocketInfo::read(&bytes[..length]), None);
        }
    }

    #[test]
    fn both_ends_are_read_in_both_families() {
        let tcp = number(TCP);
        let (v6, v4) = (number(FAMILY_V6), number(2));
        let ports: [(usize, &[u8]); 3] = [
            (KIND, &tcp),
            (PROTOCOL + LOCAL_PORT, &[0, 80]),
            (PROTOCOL + FOREIGN_PORT, &[0xff, 0xff]),
        ];
        let with = |more: &[(usize, &[u8])]| addresses(&[&ports[..], more].concat());
        let v4_ends: [(usize, &[u8]); 2] = [
            (PROTOCOL + LOCAL + V4, &[10, 0, 0, 1]),
            (PROTOCOL + FOREIGN + V4, &[10, 0, 0, 2]),
        ];
        let expected = ("10.0.0.1:80".to_owned(), "10.0.0.2:65535".to_owned());
        for (family, version) in [(&v4, 1_u8), (&v6, 1)] {
            let more: [(usize, &[u8]); 2] = [(FAMILY, family), (PROTOCOL + VERSION, &[version])];
            assert_eq!(with(&[&more[..], &v4_ends].concat()), expected);
        }
        let local = Ipv6Addr::LOCALHOST.octets();
        let scoped = [0xfe, 0x80, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
        let found = with(&[
            (FAMILY, &v6),
            (PROTOCOL + VERSION, &[IS_V6]),
            (PROTOCOL + LOCAL, &local),
            (PROTOCOL + FOREIGN, &scoped),
        ]);
        assert_eq!(found, ("[::1]:80".into(), "[fe80::9%4]:65535".into()));
        // One that listens for both.
        let found = with(&[(FAMILY, &v6), (PROTOCOL + VERSION, &[3])]);
        assert_eq!(found.0, "[::]:80");
    }

    #[test]
    fn a_unix_socket_has_a_path_and_a_peer() {
        let read = |parts: &[(usize, &[u8])]| {
            let kind: (usize, &[u8]) = (KIND, &number(UNIX));
            let parts = [&[kind], parts].concat();
            SocketInfo::read(&structure(&parts)).unwrap()
        };
        // With its length, without a zero behind the path.
        let found = read(&[
            (OPTIONS, &ACCEPTS.to_ne_bytes()),
            (PROTOCOL + LENGTH_OF_ADDRESS, &[8, 1]),
            (PROTOCOL + PATH, b"/tmp/sJUNK"),
        ]);
        let path = b"/tmp/s".to_vec();
        assert!(found.listens);
        assert_eq!(found.ends, Ends::Unix { path, peer: None });
        let found = read(&[(PROTOCOL, &5_u64.to_ne_bytes())]);
        let (path, peer) = (Vec::new(), Some(5));
        assert_eq!(found.ends, Ends::Unix { path, peer });
        let found = read(&[(PROTOCOL + LENGTH_OF_ADDRESS, &[255, 1])]);
        assert!(!found.listens);
    }

    #[test]
    fn other_sockets_are_only_counted() {
        let found = SocketInfo::read(&structure(&[(KIND, &number(6))])).unwrap();
        assert_eq!((found.ends, found.listens), (Ends::Other, false));
        let found = SocketInfo::read(&structure(&[(KIND, &number(INTERNET))])).unwrap();
        assert!(matches!(found.ends, Ends::Internet { is_tcp: false, .. }));
    }
}
