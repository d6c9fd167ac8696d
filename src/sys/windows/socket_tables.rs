//! All TCP and UDP sockets of this machine with the pids of their processes, as the system lists them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use windows_sys::Win32::Foundation::{ERROR_INSUFFICIENT_BUFFER, NO_ERROR};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GetExtendedTcpTable, GetExtendedUdpTable, MIB_TCP_STATE_LISTEN, TCP_TABLE_OWNER_PID_LISTENER,
    UDP_TABLE_OWNER_PID,
};
use windows_sys::Win32::Networking::WinSock::{AF_INET, AF_INET6};

use super::processes::Process;

/// A socket, and the id of the user that has made it.
#[derive(Clone, Copy, Debug)]
pub struct Owned {
    /// The pid of its process, which stands for a number of the socket.
    pub inode: u64,
    /// The user's id: not known, so that of this user.
    pub user: u32,
}

/// One entry: where it is bound, and its process.
type Entry = (SocketAddr, u32);

/// A TCP socket that listens on such an address.
pub fn listening(is_it: impl Fn(SocketAddr) -> bool) -> Option<Owned> {
    let all = [false, true].into_iter().flat_map(tcp);
    owned(all, is_it)
}

/// A UDP socket that receives at such an address.
pub fn receiving(is_it: impl Fn(SocketAddr) -> bool) -> Option<Owned> {
    let all = [false, true].into_iter().flat_map(udp);
    owned(all, is_it)
}

fn owned(
    mut all: impl Iterator<Item = Entry>,
    is_it: impl Fn(SocketAddr) -> bool,
) -> Option<Owned> {
    let (_, pid) = all.find(|(at, _)| is_it(*at))?;
    Some(Owned {
        inode: pid.into(),
        user: super::user(),
    })
}

/// Reads a table: the system says how long it is.
fn table(read: impl Fn(*mut core::ffi::c_void, &mut u32) -> u32) -> Vec<u32> {
    let mut size = 0;
    let mut words: Vec<u32> = Vec::new();
    for _ in 0..8 {
        match read(words.as_mut_ptr().cast(), &mut size) {
            NO_ERROR => return words,
            ERROR_INSUFFICIENT_BUFFER => {
                words = vec![0; (size as usize).div_ceil(size_of::<u32>()) + 256];
                size = u32::try_from(words.len() * size_of::<u32>()).unwrap_or(u32::MAX);
            }
            _ => break,
        }
    }
    Vec::new()
}

fn family(v6: bool) -> u32 {
    u32::from(if v6 { AF_INET6 } else { AF_INET })
}

fn tcp(v6: bool) -> Vec<Entry> {
    let words = table(|at, size| {
        // SAFETY: the call writes no more than `size` bytes, which are those of the vector.
        unsafe { GetExtendedTcpTable(at, size, 0, family(v6), TCP_TABLE_OWNER_PID_LISTENER, 0) }
    });
    let listens = |state: u32| state == MIB_TCP_STATE_LISTEN.cast_unsigned();
    if v6 {
        // MIB_TCP6ROW_OWNER_PID: address, scope, port, the other end's three, state, pid.
        rows(
            &words,
            |[a, b, c, d, scope, port, _, _, _, _, _, _, state, pid]| {
                listens(state).then(|| (at_v6([a, b, c, d], scope, port), pid))
            },
        )
    } else {
        // MIB_TCPROW_OWNER_PID: state, address, port, the other end's two, pid.
        rows(&words, |[state, ip, port, _, _, pid]| {
            listens(state).then(|| (at_v4(ip, port), pid))
        })
    }
}

fn udp(v6: bool) -> Vec<Entry> {
    let words = table(|at, size| {
        // SAFETY: the call writes no more than `size` bytes, which are those of the vector.
        unsafe { GetExtendedUdpTable(at, size, 0, family(v6), UDP_TABLE_OWNER_PID, 0) }
    });
    if v6 {
        // MIB_UDP6ROW_OWNER_PID: address, scope, port, pid.
        rows(&words, |[a, b, c, d, scope, port, pid]| {
            Some((at_v6([a, b, c, d], scope, port), pid))
        })
    } else {
        // MIB_UDPROW_OWNER_PID: address, port, pid.
        rows(&words, |[ip, port, pid]| Some((at_v4(ip, port), pid)))
    }
}

/// The entries of a table: their number, and so many rows of numbers.
fn rows<const N: usize>(words: &[u32], entry: impl Fn([u32; N]) -> Option<Entry>) -> Vec<Entry> {
    let Some((count, rows)) = words.split_first() else {
        return Vec::new();
    };
    let (rows, _) = rows.as_chunks::<N>();
    let rows = rows.iter().take(*count as usize);
    rows.filter_map(|row| entry(*row)).collect()
}

/// Addresses and ports are in the order of the network.
fn at_v4(ip: u32, at: u32) -> SocketAddr {
    (Ipv4Addr::from(ip.to_ne_bytes()), port(at)).into()
}

fn at_v6(ip: [u32; 4], scope: u32, at: u32) -> SocketAddr {
    let mut octets = [0; 16];
    for (to, word) in octets.as_chunks_mut::<4>().0.iter_mut().zip(ip) {
        *to = word.to_ne_bytes();
    }
    let ip = Ipv6Addr::from(octets);
    std::net::SocketAddrV6::new(ip, port(at), 0, u32::from_be(scope)).into()
}

fn port(word: u32) -> u16 {
    let [high, low, ..] = word.to_ne_bytes();
    u16::from_be_bytes([high, low])
}

/// `None`: unix sockets are not listed.
pub fn bound(_is_it: impl Fn(&Path) -> bool) -> Option<u64> {
    None
}

/// None, likewise.
pub fn accepted(_is_it: impl Fn(&Path) -> bool) -> impl Iterator<Item = u64> {
    std::iter::empty()
}

/// The process that has made the socket.
pub fn owner(inode: u64) -> Option<Process> {
    Process::of(u32::try_from(inode).ok()?)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn sockets_are_listed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        listening(|found| found == at).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = socket.local_addr().unwrap();
        receiving(|found| found == at).unwrap();
    }

    #[test]
    fn a_row_has_its_numbers_in_the_order_of_the_network() {
        let ip = u32::from_ne_bytes([127, 0, 0, 1]);
        let port = u32::from_ne_bytes([0x1f, 0x90, 0, 0]);
        let entry = |[ip, port]: [u32; 2]| Some((at_v4(ip, port), 7));
        let found = rows(&[1, ip, port, 0, 0], entry);
        assert_eq!(found, [("127.0.0.1:8080".parse().unwrap(), 7)]);
    }
}
