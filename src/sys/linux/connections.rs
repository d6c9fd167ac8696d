//! What the kernel reports about the sockets of an address, and about the other end of a connection:
//! `sock_diag(7)`, which needs no privilege.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
    sockopt::ReceiveTimeout,
};
use nix::sys::time::TimeVal;

pub use crate::sys::facts::{Entry, Traffic};

// States of a connection (`net/tcp_states.h`).
/// It is open at both ends.
pub const ESTABLISHED: u8 = 1;
/// A handshake under way.
pub const SYN_RECEIVED: u8 = 3;
/// The client has closed its end.
pub const CLOSE_WAIT: u8 = 8;
/// No connection: a socket that listens.
pub const LISTENING: u8 = 10;
/// States of a connection at the end that closed it first: the other end has not acknowledged that yet,
/// has yet to close, or has closed too.
const FIN_WAIT_1: u8 = 4;
const FIN_WAIT_2: u8 = 5;
const TIME_WAIT: u8 = 6;
const CLOSED_FIRST: [u8; 3] = [FIN_WAIT_1, FIN_WAIT_2, TIME_WAIT];
/// How long the kernel remembers a connection in TIME-WAIT (`TCP_TIMEWAIT_LEN`), and one in FIN-WAIT-2 if
/// `tcp_fin_timeout` can't be read (tcp(7)).
const REMEMBERED: Duration = Duration::from_mins(1);
/// A handshake under way, as newer kernels report it.
pub const NEW_SYN_RECEIVED: u8 = 12;

// From linux/sock_diag.h, linux/inet_diag.h and linux/netlink.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const INFO: u16 = 2;
const REQUEST: u16 = 0x1;
const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// From `linux/unix_diag.h`: the attributes of the peer and of the queue, the flags that request them,
/// and the length of an answer before its attributes.
const UNIX_PEER: u16 = 2;
const UNIX_SHOW_PEER: u32 = 0x4;
const UNIX_QUEUE: u16 = 4;
const UNIX_SHOW_QUEUE: u32 = 0x10;
const UNIX_ATTRIBUTES: usize = 16;
/// `AF_UNIX`, `AF_INET`, `AF_INET6` and `IPPROTO_TCP`.
const UNIX: u8 = 1;
const V4: u8 = 2;
const V6: u8 = 10;
const TCP: u8 = 6;
/// The lengths of a message's header, and of an answer before its attributes.
const HEADER: usize = 16;
const ATTRIBUTES: usize = 72;
/// Offsets of fields in `struct tcp_info` (linux/tcp.h).
mod info {
    pub(super) const LAST_DATA_SENT: usize = 44;
    pub(super) const LAST_DATA_RECEIVED: usize = 52;
    pub(super) const ROUND_TRIP: usize = 68;
    pub(super) const SEGMENTS_RECEIVED: usize = 152;
    pub(super) const SEGMENTS_SENT: usize = 156;
}
/// By how much a time that the kernel counts in ticks of its clock can differ from another clock's.
const TICKS: Duration = Duration::from_millis(20);
/// The sequence number of every request: each has a socket of its own.
const SEQUENCE: u32 = 1;
/// Seconds to wait for an answer, which normally comes at once.
const TIMEOUT: i64 = 2;

/// Every socket that listens on this address, and every connection to it.
pub fn dump(address: SocketAddr) -> io::Result<Vec<Entry>> {
    let states = [
        ESTABLISHED,
        SYN_RECEIVED,
        CLOSE_WAIT,
        LISTENING,
        NEW_SYN_RECEIVED,
    ];
    let family = if address.is_ipv4() { V4 } else { V6 };
    let request = request(family, &states, address.port(), 0, 1 << (INFO - 1));
    let mut entries = Vec::new();
    exchange(&request, |bytes| {
        messages(bytes, |message| entries.extend(entry(message, address)))
    })?;
    Ok(entries)
}

/// Where clients on this machine have connected to this port within the last `within`, and closed the
/// connection: at the server's addresses. Takes some milliseconds, since the kernel walks its whole table.
pub fn closed_by_clients(port: u16, within: Duration) -> io::Result<Vec<SocketAddr>> {
    let half_closed = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_fin_timeout");
    let half_closed = half_closed.ok().and_then(|text| text.trim().parse().ok());
    let half_closed = half_closed.map_or(REMEMBERED, Duration::from_secs);
    let mut found = Vec::new();
    for family in [V4, V6] {
        let request = request(family, &CLOSED_FIRST, 0, port, 0);
        exchange(&request, |bytes| {
            messages(bytes, |message| {
                // With an inode a process still has it open: it was shut down, not closed.
                let is_closed = u32_at(message, 68) == Some(0);
                // The time until the kernel forgets it.
                let left = Duration::from_millis(u32_at(message, 52).unwrap_or_default().into());
                let ago = match message.get(1) {
                    Some(&TIME_WAIT) => REMEMBERED.saturating_sub(left),
                    Some(&FIN_WAIT_2) => half_closed.saturating_sub(left),
                    // The acknowledgement takes milliseconds.
                    _ => Duration::ZERO,
                };
                if is_closed && ago <= within + TICKS {
                    found.extend(ends(message).map(|(_, server)| server));
                }
            })
        })?;
    }
    Ok(found)
}

/// The length of a unix socket's accept queue.
pub fn queued(inode: u64) -> io::Result<u32> {
    of_unix(inode, UNIX_SHOW_QUEUE, UNIX_QUEUE)
}

/// The inode of the server's end of a connection; `None` if it is not accepted yet. An error if the
/// connection is gone.
pub fn accepted(server: SocketAddr, client: SocketAddr) -> io::Result<Option<u64>> {
    let entry = receive_one(&single_request(server, client), |message| {
        entry(message, server).filter(|entry| entry.state != LISTENING)
    })?;
    Ok(Some(u64::from(entry.inode)).filter(|inode| *inode != 0))
}

/// The same for a unix socket, by the inode of the client's end.
pub fn accepted_unix(client: u64) -> io::Result<Option<u64>> {
    let server = of_unix(client, UNIX_SHOW_PEER, UNIX_PEER)?;
    Ok(Some(u64::from(server)).filter(|inode| *inode != 0))
}

/// An attribute of a unix socket, a number.
fn of_unix(inode: u64, show: u32, wanted: u16) -> io::Result<u32> {
    let inode = u32::try_from(inode).map_err(io::Error::other)?;
    receive_one(&unix_request(inode, show), |message| {
        let attributes = message.get(UNIX_ATTRIBUTES..).unwrap_or_default();
        attribute(attributes, wanted).and_then(|number| u32_at(number, 0))
    })
}

/// Requests one socket: one message, without an end.
fn receive_one<T>(request: &[u8], read: impl Fn(&[u8]) -> Option<T>) -> io::Result<T> {
    let mut found = None;
    exchange(request, |bytes| {
        let mut answered = false;
        messages(bytes, |message| {
            answered = true;
            found = read(message);
        })
        .or(answered.then_some(Ok(())))
    })?;
    found.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Sends a request, and passes the answers to `take` until it returns the end.
fn exchange(
    request: &[u8],
    mut take: impl FnMut(&[u8]) -> Option<io::Result<()>>,
) -> io::Result<()> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    setsockopt(&socket, ReceiveTimeout, &TimeVal::new(TIMEOUT, 0))?;
    send(socket.as_raw_fd(), request, MsgFlags::empty())?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_TRUNC) {
            Err(Errno::EINTR) => continue,
            length => length?,
        };
        // MSG_TRUNC reports the whole length; an answer that was cut would lack connections.
        let bytes = buffer.get(..length);
        let bytes = bytes.ok_or_else(|| io::Error::other("an answer that is too long"))?;
        match take(bytes) {
            Some(result) => return result,
            None if length == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            None => {}
        }
    }
}

/// `struct nlmsghdr` and `struct unix_diag_req`.
fn unix_request(inode: u32, show: u32) -> Vec<u8> {
    let mut bytes = header(24, REQUEST);
    bytes.extend([UNIX, 0, 0, 0]);
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(inode.to_ne_bytes());
    bytes.extend(show.to_ne_bytes());
    // With any cookie.
    bytes.extend([0xff; 8]);
    bytes
}

/// `struct nlmsghdr` of a request with this length.
fn header(length: usize, flags: u16) -> Vec<u8> {
    let length = u32::try_from(HEADER + length).unwrap_or_default();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(SEQUENCE.to_ne_bytes());
    // The sender's port id: assigned by the kernel.
    bytes.extend([0; 4]);
    bytes
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`: all sockets in these states, with these ports at
/// their own and at the other end (0: any).
fn request(family: u8, states: &[u8], own: u16, other: u16, extension: u8) -> Vec<u8> {
    let states = states.iter().fold(0_u32, |all, state| all | 1 << state);
    let mut bytes = header(56, REQUEST | DUMP);
    bytes.extend([family, TCP, extension, 0]);
    bytes.extend(states.to_ne_bytes());
    bytes.extend(own.to_be_bytes());
    bytes.extend(other.to_be_bytes());
    bytes.resize(HEADER + 56, 0);
    bytes
}

/// The same for the server's end of one connection.
fn single_request(server: SocketAddr, client: SocketAddr) -> Vec<u8> {
    let mut bytes = header(56, REQUEST);
    let family = if server.is_ipv4() { V4 } else { V6 };
    bytes.extend([family, TCP, 0, 0]);
    // In any state.
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(server.port().to_be_bytes());
    bytes.extend(client.port().to_be_bytes());
    for address in [server.ip(), client.ip()] {
        let mut octets = match address {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        octets.resize(16, 0);
        bytes.extend(octets);
    }
    // On any interface, with any cookie.
    bytes.extend([0; 4]);
    bytes.extend([0xff; 8]);
    bytes
}

/// Passes each message of one datagram to `take`; `Some` at the end.
fn messages(bytes: &[u8], mut take: impl FnMut(&[u8])) -> Option<io::Result<()>> {
    let mut rest = bytes;
    while let (Some(length), Some(kind)) = (u32_at(rest, 0), u16_at(rest, 4)) {
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length >= HEADER)?;
        let message = rest.get(HEADER..length)?;
        let is_ours = u32_at(rest, 8) == Some(SEQUENCE);
        match kind {
            _ if !is_ours => {}
            DONE => return Some(Ok(())),
            ERROR => {
                let code = u32_at(message, 0).unwrap_or_default().cast_signed();
                let code = code.wrapping_neg();
                return Some(Err(io::Error::from_raw_os_error(code)));
            }
            SOCK_DIAG_BY_FAMILY => take(message),
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    None
}

/// `struct inet_diag_msg`, with `struct tcp_info` among its attributes.
fn entry(bytes: &[u8], of: SocketAddr) -> Option<Entry> {
    let (own, _) = ends(bytes)?;
    // A dual-stack socket reports its IPv4 clients with mapped addresses.
    let ours = of.ip().is_unspecified() || of.ip().to_canonical() == own.ip().to_canonical();
    if own.port() != of.port() || !ours {
        return None;
    }
    let [low, high] = [u32_at(bytes, 44)?, u32_at(bytes, 48)?].map(u64::from);
    Some(Entry {
        state: *bytes.get(1)?,
        cookie: high << 32 | low,
        inode: u32_at(bytes, 68)?,
        waiting: u32_at(bytes, 56)?,
        unsent: u32_at(bytes, 60)?,
        traffic: attribute(bytes.get(ATTRIBUTES..)?, INFO)
            .and_then(traffic)
            .unwrap_or_default(),
    })
}

/// Both addresses of a `struct inet_diag_msg`: the socket's own, and its peer's.
fn ends(bytes: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let is_v4 = *bytes.first()? == V4;
    let port = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let ip = |at: usize| -> Option<IpAddr> {
        let all: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
        let [a, b, c, d, ..] = all;
        Some(if is_v4 {
            [a, b, c, d].into()
        } else {
            Ipv6Addr::from(all).into()
        })
    };
    Some(((ip(8)?, port(4)?).into(), (ip(24)?, port(6)?).into()))
}

/// `struct tcp_info`.
fn traffic(info: &[u8]) -> Option<Traffic> {
    let ms = |at| u32_at(info, at).map(|ms| Duration::from_millis(ms.into()));
    Some(Traffic {
        segments_received: u32_at(info, info::SEGMENTS_RECEIVED)?,
        segments_sent: u32_at(info, info::SEGMENTS_SENT)?,
        since_received: ms(info::LAST_DATA_RECEIVED)?,
        since_sent: ms(info::LAST_DATA_SENT)?,
        round_trip: Duration::from_micros(u32_at(info, info::ROUND_TRIP)?.into()),
    })
}

/// The content of an attribute (`struct rtattr`).
fn attribute(mut rest: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(rest, 0)?);
        if u16_at(rest, 2)? == wanted {
            return rest.get(4..length);
        }
        rest = rest.get(length.max(4).next_multiple_of(4)..)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(any(test, fuzzing))]
pub(crate) mod hostile_tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::hostile::Target;

    /// Answers as the kernel sends them.
    fn recorded() -> Vec<Vec<u8>> {
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (server, own) = (client.peer_addr().unwrap(), client.local_addr().unwrap());
        let states = [ESTABLISHED, LISTENING];
        let mut all = Vec::new();
        for request in [
            request(V6, &states, port, 0, 1 << (INFO - 1)),
            request(V4, &states, 0, port, 0),
            single_request(server, own),
            unix_request(1, UNIX_SHOW_QUEUE),
        ] {
            // The last one is answered by an error.
            exchange(&request, |bytes| {
                all.push(bytes.to_vec());
                Some(Ok(()))
            })
            .unwrap();
        }
        all
    }

    pub(crate) fn any_answer_of_the_kernel_is_read() -> Target {
        let recorded = recorded();
        let corpus: Vec<&[u8]> = recorded.iter().map(Vec::as_slice).collect();
        Target::bytes(&corpus, 2, |bytes| {
            let mut seen = 0;
            messages(bytes, |message| {
                seen += message.len();
                if let Some((own, _)) = ends(message)
                    && let Some(entry) = entry(message, own)
                {
                    assert_eq!(Some(&entry.state), message.get(1));
                }
                let attributes = message.get(UNIX_ATTRIBUTES..).unwrap_or_default();
                for wanted in [UNIX_QUEUE, UNIX_PEER, INFO, 0] {
                    let found = attribute(attributes, wanted);
                    assert!(found.is_none_or(|found| found.len() + 4 <= attributes.len()));
                }
            });
            assert!(seen <= bytes.len());
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::fs::MetadataExt;

    use tokio::time::Instant;

    use super::*;
    use crate::sys::testing::emulation_lacks;

    /// The inode of a socket of this process.
    fn inode(socket: &impl AsRawFd) -> u32 {
        let path = format!("/proc/self/fd/{}", socket.as_raw_fd());
        u32::try_from(std::fs::metadata(path).unwrap().ino()).unwrap()
    }

    #[test]
    fn queues_connections_and_what_came_over_them_are_seen() {
        if emulation_lacks("`sock_diag`") {
            return;
        }
        for at in ["127.0.0.1:0", "[::]:0"] {
            let listener = TcpListener::bind(at).unwrap();
            let address = listener.local_addr().unwrap();
            let find = |is: &dyn Fn(&Entry) -> bool| -> Vec<Entry> {
                let entries = dump(address).unwrap();
                entries.into_iter().filter(|entry| is(entry)).collect()
            };
            let listening = |entry: &Entry| entry.state == LISTENING;
            let open = |entry: &Entry| entry.state == ESTABLISHED;
            let [empty] = find(&listening)[..] else {
                panic!("{:?}", dump(address))
            };
            assert_eq!((empty.inode, empty.waiting), (inode(&listener), 0));
            let mut client = TcpStream::connect(("127.0.0.1", address.port())).unwrap();
            assert_eq!(find(&listening)[0].waiting, 1);
            let silent = find(&open)[0];
            let segments = |entry: &Entry| {
                let traffic = entry.traffic;
                (traffic.segments_received, traffic.segments_sent)
            };
            assert_eq!((silent.inode, segments(&silent)), (0, (0, 0)));
            let ends = (client.peer_addr().unwrap(), client.local_addr().unwrap());
            assert_eq!(accepted(ends.0, ends.1).unwrap(), None);
            let (mut server, _) = listener.accept().unwrap();
            client.write_all(b"four").unwrap();
            let spoke = find(&open)[0];
            assert_eq!(spoke.cookie, silent.cookie);
            assert_eq!(spoke.inode, inode(&server));
            assert_eq!((spoke.waiting, segments(&spoke)), (4, (1, 0)));
            let number = Some(u64::from(inode(&server)));
            assert_eq!(accepted(ends.0, ends.1).unwrap(), number);
            server.read_exact(&mut [0; 4]).unwrap();
            let read = find(&open)[0];
            assert_eq!((read.waiting, segments(&read)), (0, (1, 0)));
            server.write_all(b"answer").unwrap();
            client.read_exact(&mut [0; 6]).unwrap();
            let answered = find(&open)[0];
            assert_eq!((answered.unsent, segments(&answered)), (0, (1, 1)));
            assert!(answered.traffic.since_sent <= answered.traffic.since_received);
            drop(client);
            let ended = |entry: &Entry| entry.state == CLOSE_WAIT;
            assert_eq!(find(&ended)[0].waiting, 1);
            drop(server);
            assert!(find(&ended).is_empty());
            assert!(find(&open).is_empty());
            accepted(ends.0, ends.1).unwrap_err();
        }
    }

    #[test]
    fn a_connection_that_its_client_has_closed_is_seen() {
        if emulation_lacks("`sock_diag`") {
            return;
        }
        for at in ["127.0.0.1:0", "[::]:0"] {
            let listener = TcpListener::bind(at).unwrap();
            let port = listener.local_addr().unwrap().port();
            let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
            let server = client.peer_addr().unwrap();
            let before = Instant::now();
            let found = || {
                let found = closed_by_clients(port, before.elapsed()).unwrap();
                found.into_iter().map(canonical).collect::<Vec<_>>()
            };
            // On a busy machine the kernel takes a moment, in which the connection is in no list.
            let is_found = || {
                while found() != [server] {
                    assert!(before.elapsed() < Duration::from_secs(30), "{:?}", found());
                }
            };
            assert_eq!(found(), []);
            client.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(found(), []);
            drop(client);
            is_found();
            // The server closes too, and the state remains at the client's end.
            drop(listener.accept().unwrap());
            is_found();
            let since = Instant::now();
            while since.elapsed() < 3 * TICKS {
                std::thread::yield_now();
            }
            assert_eq!(closed_by_clients(port, Duration::ZERO).unwrap(), []);
            is_found();
        }
    }

    #[test]
    fn the_queue_of_a_unix_socket_is_seen() {
        if emulation_lacks("`sock_diag`") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let number = u64::from(inode(&listener));
        assert_eq!(queued(number).unwrap(), 0);
        let clients = [(); 3].map(|()| std::os::unix::net::UnixStream::connect(&path).unwrap());
        assert_eq!(queued(number).unwrap(), 3);
        let (first, second) = (inode(&clients[0]), inode(&clients[1]));
        assert_eq!(accepted_unix(first.into()).unwrap(), None);
        let (server, _) = listener.accept().unwrap();
        assert_eq!(queued(number).unwrap(), 2);
        let server = u64::from(inode(&server));
        assert_eq!(accepted_unix(first.into()).unwrap(), Some(server));
        assert_eq!(accepted_unix(second.into()).unwrap(), None);
        drop(listener);
        assert!(queued(number).is_err());
    }

    #[test]
    fn errors_and_garbage_are_no_answers() {
        let address = "127.0.0.1:1".parse().unwrap();
        let message = |kind: u16, content: &[u8]| {
            let length = u32::try_from(HEADER + content.len()).unwrap();
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 2]);
            bytes.extend(SEQUENCE.to_ne_bytes());
            bytes.resize(HEADER, 0);
            bytes.extend(content);
            bytes
        };
        let take = |bytes: &[u8]| {
            let mut entries = Vec::new();
            let end = messages(bytes, |message| entries.extend(entry(message, address)));
            assert!(entries.is_empty());
            end
        };
        assert!(take(&message(DONE, &[])).unwrap().is_ok());
        // The answer to another request.
        let mut other = message(DONE, &[]);
        other[8] ^= 0xff;
        assert!(take(&other).is_none());
        let refused = take(&message(ERROR, &(-nix::libc::EPERM).to_ne_bytes()));
        let refused = refused.unwrap().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        // No kernel says this, but it would have no positive number.
        let least = take(&message(ERROR, &i32::MIN.to_ne_bytes()));
        least.unwrap().unwrap_err();
        for length in 0..80 {
            let mut bytes = message(SOCK_DIAG_BY_FAMILY, &vec![0xff; length]);
            assert!(take(&bytes).is_none());
            bytes.truncate(length);
            assert!(take(&bytes).is_none());
        }
    }
}
