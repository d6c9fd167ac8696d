//! Sockets for a program by the protocol of `listenfd` and `systemfd`: the program connects to
//! `SYSTEMFD_SOCKET_SERVER`, sends `SYSTEMFD_SOCKET_SECRET`, a bar and its pid, and closes its sending
//! side; the answer is one `WSAPROTOCOL_INFOW` for each socket, made for that process.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::windows::io::{AsRawSocket, FromRawSocket, OwnedSocket};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use socket2::Socket;
use windows_sys::Win32::Networking::WinSock::{
    FROM_PROTOCOL_INFO, INVALID_SOCKET, WSA_FLAG_NO_HANDLE_INHERIT, WSA_FLAG_OVERLAPPED, WSADATA,
    WSADuplicateSocketW, WSAPROTOCOL_INFOW, WSASocketW, WSAStartup,
};

use super::event::Event;
use super::handles::Handle;
use super::job;

const SERVER: &str = "SYSTEMFD_SOCKET_SERVER";
const SECRET: &str = "SYSTEMFD_SOCKET_SECRET";

/// The bytes of a `WSAPROTOCOL_INFOW`.
pub(super) const INFO: usize = size_of::<WSAPROTOCOL_INFOW>();

/// How long a program may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest request: a secret, a bar and a number.
const LONGEST: u64 = 64;

/// Offers these sockets to the program of this command and to processes below it: to those in the job of
/// this process, which is a keeper. The offer stands until the keeper ends; `fetched` is set each time that
/// one has them.
pub(super) fn make(
    command: &mut Command,
    sockets: Vec<Handle>,
    fetched: &Arc<Event>,
) -> io::Result<()> {
    if sockets.is_empty() {
        return Ok(());
    }
    let sockets: Vec<OwnedSocket> = sockets
        .into_iter()
        .map(|handle| match handle {
            Handle::Socket(socket) => Ok(socket),
            Handle::Object(_) => Err(io::ErrorKind::InvalidInput.into()),
        })
        .collect::<io::Result<_>>()?;
    let secret = secret()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    command.env(SERVER, listener.local_addr()?.to_string());
    command.env(SECRET, &secret);
    let fetched = fetched.clone();
    let may_ask = |pid| job::own().is_some_and(|job| job.has(pid));
    std::thread::Builder::new()
        .name("offer".into())
        .spawn(move || {
            for client in listener.incoming().flatten() {
                // One that asks wrongly, or has gone, gets nothing.
                if answer(client, &secret, &sockets, may_ask).is_ok() {
                    fetched.set();
                }
            }
        })?;
    Ok(())
}

/// A random UUID, as `listenfd` requires.
fn secret() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let mut number = u128::from_ne_bytes(bytes);
    // Version 4, variant 1.
    number = number & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let digits = format!("{number:032x}");
    let (a, rest) = digits.split_at(8);
    let (b, rest) = rest.split_at(4);
    let (c, rest) = rest.split_at(4);
    let (d, e) = rest.split_at(4);
    Ok(format!("{a}-{b}-{c}-{d}-{e}"))
}

fn answer(
    mut client: TcpStream,
    secret: &str,
    sockets: &[OwnedSocket],
    may_ask: impl Fn(u32) -> bool,
) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut request = String::new();
    (&mut client).take(LONGEST).read_to_string(&mut request)?;
    let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
    let (given, pid) = request.split_once('|').ok_or_else(denied)?;
    let pid: u32 = pid.trim().parse().map_err(io::Error::other)?;
    if given != secret || !may_ask(pid) {
        return Err(denied());
    }
    for socket in sockets {
        client.write_all(&duplicate(socket, pid)?)?;
    }
    client.shutdown(Shutdown::Write)
}

/// The `WSAPROTOCOL_INFOW` by which this process gets a duplicate of the socket, once.
pub(super) fn duplicate(socket: &impl AsRawSocket, pid: u32) -> io::Result<[u8; INFO]> {
    let mut bytes = [0; INFO];
    let mut info = WSAPROTOCOL_INFOW::default();
    let number = usize::try_from(socket.as_raw_socket()).map_err(io::Error::other)?;
    // SAFETY: the call writes one structure; a process that is gone is an error.
    if unsafe { WSADuplicateSocketW(number, pid, &raw mut info) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both have INFO bytes; the structure has numbers only, in fields without gaps between them
    // that matter to its reader.
    unsafe { std::ptr::copy_nonoverlapping((&raw const info).cast(), bytes.as_mut_ptr(), INFO) };
    Ok(bytes)
}

/// The socket that a `WSAPROTOCOL_INFOW` was made of for this process; no child's.
pub(super) fn adopt(bytes: &[u8; INFO]) -> io::Result<OwnedSocket> {
    // SAFETY: the structure has numbers only, of which any bytes are some; the read needs no alignment.
    let info: WSAPROTOCOL_INFOW = unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) };
    start_winsock()?;
    let any = FROM_PROTOCOL_INFO;
    let flags = WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT;
    // SAFETY: the call reads one structure, and refuses one that it did not make itself.
    let number = unsafe { WSASocketW(any, any, any, &raw const info, 0, flags) };
    if number == INVALID_SOCKET {
        return Err(io::Error::last_os_error());
    }
    let number = u64::try_from(number).map_err(io::Error::other)?;
    // SAFETY: the call has just made it, so nothing else owns it.
    Ok(unsafe { OwnedSocket::from_raw_socket(number) })
}

/// Starts Winsock, as the standard library does before the first socket that it makes itself.
fn start_winsock() -> io::Result<()> {
    static STARTED: OnceLock<i32> = OnceLock::new();
    let code = *STARTED.get_or_init(|| {
        let mut data = WSADATA::default();
        // SAFETY: the call writes one structure. It is never cleaned up: the process has sockets until its
        // end.
        unsafe { WSAStartup(0x0202, &raw mut data) }
    });
    if code != 0 {
        return Err(io::Error::from_raw_os_error(code));
    }
    Ok(())
}

/// The sockets that this process is offered; `None`: nothing offers any.
pub(super) fn offered() -> Option<io::Result<Vec<Socket>>> {
    let server = std::env::var(SERVER).ok()?.parse().ok()?;
    let secret = std::env::var(SECRET).ok()?;
    Some(ask(server, &secret))
}

fn ask(server: SocketAddr, secret: &str) -> io::Result<Vec<Socket>> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "{secret}|{}", std::process::id())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let (infos, rest) = answer.as_chunks::<INFO>();
    if infos.is_empty() || !rest.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    infos.iter().map(|info| Ok(adopt(info)?.into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks a server with one socket, which allows this pid.
    fn asked(with: &str, allowed: u32) -> io::Result<Vec<Socket>> {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = held.local_addr().unwrap();
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = server.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let (client, _) = server.accept().unwrap();
            answer(client, "s", &[held.into()], |pid| pid == allowed).ok();
        });
        let found = ask(address, with);
        thread.join().unwrap();
        let found = found?;
        let accepted = std::thread::spawn(move || found[0].accept().map(|_| found).unwrap());
        TcpStream::connect(at).unwrap();
        Ok(accepted.join().unwrap())
    }

    #[test]
    fn only_a_process_of_the_generation_gets_the_sockets() {
        let own = std::process::id();
        assert_eq!(asked("s", own).unwrap().len(), 1);
        asked("s", own + 1).unwrap_err();
        asked("t", own).unwrap_err();
    }

    #[test]
    fn a_secret_is_a_uuid() {
        let secret = secret().unwrap();
        let parts: Vec<usize> = secret.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert!(secret.as_bytes()[14] == b'4' && b"89ab".contains(&secret.as_bytes()[19]));
    }
}
