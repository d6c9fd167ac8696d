//! Options of sockets that no crate has, and the list of those that a held socket takes over from the app's
//! own: they can be read from and set on a listening socket.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc;
use socket2::Socket;

/// Level and number of an option.
type Name = (i32, i32);

/// The kernel doubles the value that is set (socket(7)).
const DOUBLED: [Name; 2] = [
    (libc::SOL_SOCKET, libc::SO_RCVBUF),
    (libc::SOL_SOCKET, libc::SO_SNDBUF),
];

/// Options that neither move the socket nor change which sockets may share its address.
const CARRIED: &[Name] = &[
    (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
    (libc::SOL_SOCKET, libc::SO_BROADCAST),
    (libc::SOL_SOCKET, libc::SO_OOBINLINE),
    (libc::SOL_SOCKET, libc::SO_RCVTIMEO),
    (libc::SOL_SOCKET, libc::SO_SNDTIMEO),
    (libc::SOL_SOCKET, libc::SO_RCVLOWAT),
    (libc::SOL_SOCKET, libc::SO_MARK),
    (libc::SOL_SOCKET, libc::SO_TIMESTAMP),
    (libc::SOL_SOCKET, libc::SO_ZEROCOPY),
    (libc::SOL_SOCKET, libc::SO_BUSY_POLL),
    (libc::SOL_SOCKET, libc::SO_LINGER),
    (libc::SOL_SOCKET, libc::SO_PRIORITY),
    (libc::IPPROTO_TCP, libc::TCP_NODELAY),
    (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
    (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
    (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
    (libc::IPPROTO_TCP, libc::TCP_SYNCNT),
    (libc::IPPROTO_TCP, libc::TCP_LINGER2),
    (libc::IPPROTO_TCP, libc::TCP_CONGESTION),
    (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
    (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT),
    (libc::IPPROTO_TCP, libc::TCP_SAVE_SYN),
    (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT),
    (libc::IPPROTO_TCP, libc::TCP_FASTOPEN),
    (libc::IPPROTO_IP, libc::IP_TOS),
    (libc::IPPROTO_IP, libc::IP_TTL),
    (libc::IPPROTO_IP, libc::IP_PKTINFO),
    (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
    (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
    (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS),
    (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
];

/// Gives `to` the options of `from`. Equal ones are not set, since setting some of them has an effect by
/// itself. An option that one of the sockets does not have, or does not allow to be set, stays.
pub fn carry_options(from: &impl AsFd, to: &impl AsFd) {
    for name in DOUBLED.iter().chain(CARRIED) {
        let (Ok(mut value), Ok(other)) = (option(from, *name), option(to, *name)) else {
            continue;
        };
        if value == other {
            continue;
        }
        if DOUBLED.contains(name)
            && let (Some(bytes), Some(there)) = (value.first_chunk(), other.first_chunk())
        {
            let (bytes, there) = (i32::from_ne_bytes(*bytes), i32::from_ne_bytes(*there));
            // A longer buffer does no harm, and may hold data.
            if bytes < there {
                continue;
            }
            value = (bytes / 2).to_ne_bytes().into();
        }
        set_option(to, *name, &value).ok();
    }
}

/// The socket is bound to a device (`SO_BINDTODEVICE`).
pub fn is_bound_to_device(socket: &Socket) -> bool {
    matches!(socket.device(), Ok(Some(_)))
}

/// The raw value of a socket option; those used here have at most 16 bytes.
fn option(socket: &impl AsFd, (level, name): Name) -> io::Result<Vec<u8>> {
    let mut value = vec![0_u8; 16];
    let mut length = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    let number = socket.as_fd().as_raw_fd();
    let at = value.as_mut_ptr().cast();
    // SAFETY: the kernel writes no more than `length` bytes, which are there, and says how many.
    let read = unsafe { libc::getsockopt(number, level, name, at, &raw mut length) };
    Errno::result(read)?;
    value.truncate(length as usize);
    Ok(value)
}

/// Sets a socket option to a value that [`option`] has read.
fn set_option(socket: &impl AsFd, (level, name): Name, value: &[u8]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    let (number, at) = (socket.as_fd().as_raw_fd(), value.as_ptr().cast());
    // SAFETY: the kernel reads `length` bytes, which are those of the slice.
    let written = unsafe { libc::setsockopt(number, level, name, at, length) };
    Errno::result(written)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use socket2::SockRef;

    use super::*;

    #[test]
    fn options_are_set_and_reset() {
        let [from, to, plain] = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let own = SockRef::from(&from);
        own.set_keepalive(true).unwrap();
        own.set_tcp_nodelay(true).unwrap();
        own.set_recv_buffer_size(200_000).unwrap();
        own.set_linger(Some(Duration::from_secs(3))).unwrap();
        own.set_tos_v4(16).unwrap();
        carry_options(&from, &to);
        let known = |socket: &TcpListener| -> Vec<_> {
            let all = DOUBLED.iter().chain(CARRIED);
            all.map(|name| option(socket, *name).ok()).collect()
        };
        assert_eq!(known(&to), known(&from));
        assert_ne!(known(&to), known(&plain));
        // The next generation has set nothing. The seconds of a linger that is off stay.
        carry_options(&plain, &to);
        let all = CARRIED.iter();
        for name in all.filter(|name| name.1 != libc::SO_LINGER) {
            assert_eq!(
                option(&to, *name).ok(),
                option(&plain, *name).ok(),
                "{name:?}"
            );
        }
        assert_eq!(SockRef::from(&to).linger().unwrap(), None);
    }
}
