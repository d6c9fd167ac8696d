//! The connection between hotrun and a keeper: two pipes, which are the keeper's stdin and stdout. A
//! message from hotrun has the keeper's numbers of handles that were duplicated into it, and the
//! descriptions of sockets that were made for it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::windows::io::{
    AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle, RawHandle,
};
use std::os::windows::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use socket2::Socket;
use tokio::io::AsyncReadExt;
use windows_sys::Win32::Foundation::{DUPLICATE_SAME_ACCESS, DuplicateHandle};
use windows_sys::Win32::System::Threading::{CREATE_NO_WINDOW, GetCurrentProcess};

use super::event::Event;
use super::handles::{Handle, own_stdio};
use super::offer::{INFO, adopt, duplicate};
use super::pipes::{self, Receiver, Sender};

/// The length of a message's head: how many bytes, handles and sockets follow.
const HEAD: usize = 8;

/// The bytes of a handle's number.
const NUMBER: usize = size_of::<u64>();

/// hotrun's end.
#[derive(Debug)]
pub struct Channel {
    orders: Sender,
    news: tokio::sync::Mutex<Receiver>,
    keeper: OwnedHandle,
    pid: u32,
}

impl Channel {
    /// Starts a keeper at the other end of a new channel, with a hidden console of its own; also returns
    /// its pid. Must be called inside the runtime.
    pub fn start(keeper: &mut Command) -> io::Result<(Self, u32)> {
        let (orders, their_stdin) = pipes::to_child()?;
        let (news, their_stdout) = pipes::from_child()?;
        let child = keeper
            .stdin(their_stdin.stdio()?)
            .stdout(their_stdout.stdio()?)
            .stderr(Stdio::null())
            .creation_flags(CREATE_NO_WINDOW)
            .spawn()?;
        // The command keeps the keeper's ends, without which the end of its pipe would not be seen.
        keeper.stdin(Stdio::null()).stdout(Stdio::null());
        let pid = child.id();
        let channel = Self {
            orders,
            news: tokio::sync::Mutex::new(news),
            keeper: child.into(),
            pid,
        };
        Ok((channel, pid))
    }

    /// Sends bytes and, with them, duplicates of these handles and sockets. Returns how many bytes were
    /// sent.
    pub async fn send(
        &self,
        bytes: &[u8],
        handles: &[Handle],
        sockets: &[Arc<Socket>],
    ) -> io::Result<usize> {
        let message = self.message(bytes, handles, sockets)?;
        let mut rest = &message[..];
        while !rest.is_empty() {
            self.orders.writable().await?;
            match self.orders.try_write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(bytes.len())
    }

    fn message(
        &self,
        bytes: &[u8],
        handles: &[Handle],
        sockets: &[Arc<Socket>],
    ) -> io::Result<Vec<u8>> {
        let mut message = Vec::new();
        let count = |count: usize| u16::try_from(count).map_err(io::Error::other);
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        message.extend(length.to_le_bytes());
        message.extend(count(handles.len())?.to_le_bytes());
        message.extend(count(sockets.len())?.to_le_bytes());
        for handle in handles {
            let Handle::Object(handle) = handle else {
                return super::unsupported();
            };
            message.extend(self.give(handle.as_handle())?.to_le_bytes());
        }
        for socket in sockets {
            message.extend(duplicate(&**socket, self.pid)?);
        }
        message.extend(bytes);
        Ok(message)
    }

    /// Duplicates a handle into the keeper: its number there.
    fn give(&self, handle: BorrowedHandle<'_>) -> io::Result<u64> {
        let mut given: RawHandle = std::ptr::null_mut();
        // SAFETY: all handles are open through this call, which writes one handle.
        let done = unsafe {
            DuplicateHandle(
                GetCurrentProcess(),
                handle.as_raw_handle(),
                self.keeper.as_raw_handle(),
                &raw mut given,
                0,
                0,
                DUPLICATE_SAME_ACCESS,
            )
        };
        if done == 0 {
            return Err(io::Error::last_os_error());
        }
        u64::try_from(given.addr()).map_err(io::Error::other)
    }

    /// Receives bytes; no handles come from a keeper. No bytes: the other end is closed. Safe to drop while
    /// it waits.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<Handle>)> {
        let count = self.news.lock().await.read(buffer).await?;
        Ok((count, Vec::new()))
    }
}

/// The keeper's end: its stdin, which a thread reads, and its stdout.
#[derive(Debug)]
pub struct Stdin {
    shared: Arc<Shared>,
    news: File,
}

/// What has arrived.
#[derive(Debug)]
struct Shared {
    messages: Mutex<Arrived>,
    /// Set while there is something to receive, or the end.
    event: Event,
}

#[derive(Debug, Default)]
struct Arrived {
    messages: VecDeque<(Vec<u8>, Vec<Handle>)>,
    ended: bool,
}

impl Shared {
    fn arrived(&self) -> MutexGuard<'_, Arrived> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stdin {
    /// That of this process.
    pub fn own() -> io::Result<Self> {
        let orders = File::from(io::stdin().as_handle().try_clone_to_owned()?);
        let [_, stdout, _] = own_stdio();
        // SAFETY: a keeper is started with a pipe there, which stays open; only duplicated here.
        let stdout = unsafe { BorrowedHandle::borrow_raw(stdout) };
        let news = File::from(stdout.try_clone_to_owned()?);
        Self::of(orders, news)
    }

    fn of(mut orders: File, news: File) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            messages: Mutex::default(),
            event: Event::new()?,
        });
        let ours = shared.clone();
        std::thread::Builder::new()
            .name("orders".into())
            .spawn(move || {
                // An error is the end, and a message that is cut off is lost with it.
                while let Ok(message) = read(&mut orders) {
                    ours.arrived().messages.push_back(message);
                    ours.event.set();
                }
                ours.arrived().ended = true;
                ours.event.set();
            })?;
        Ok(Self { shared, news })
    }

    /// What is signalled while there is something to receive.
    pub(super) fn arrived(&self) -> BorrowedHandle<'_> {
        self.shared.event.as_handle()
    }

    /// Sends bytes; a handle can't be sent. Returns how many bytes were sent.
    pub fn send(&self, bytes: &[u8], handle: Option<&Handle>) -> io::Result<usize> {
        if handle.is_some() {
            return super::unsupported();
        }
        (&self.news).write(bytes)
    }

    /// Receives bytes and the handles that came with them. No bytes: the other end is closed.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<Handle>)> {
        let mut arrived = self.shared.arrived();
        let Some((bytes, handles)) = arrived.messages.front_mut() else {
            return if arrived.ended {
                Ok((0, Vec::new()))
            } else {
                Err(io::ErrorKind::Interrupted.into())
            };
        };
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        bytes.drain(..count);
        let (handles, is_empty) = (std::mem::take(handles), bytes.is_empty());
        if is_empty {
            arrived.messages.pop_front();
        }
        if arrived.messages.is_empty() && !arrived.ended {
            self.shared.event.reset();
        }
        Ok((count, handles))
    }
}

/// The next message.
fn read(from: &mut impl Read) -> io::Result<(Vec<u8>, Vec<Handle>)> {
    let mut head = [0; HEAD];
    from.read_exact(&mut head)?;
    let [a, b, c, d, handles @ .., e, f] = head;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    let (handles, sockets) = (u16::from_le_bytes(handles), u16::from_le_bytes([e, f]));
    let mut given = Vec::new();
    for _ in 0..handles {
        let mut number = [0; NUMBER];
        from.read_exact(&mut number)?;
        let number = usize::try_from(u64::from_le_bytes(number)).map_err(io::Error::other)?;
        let handle = std::ptr::with_exposed_provenance_mut(number);
        // SAFETY: hotrun has duplicated it into this process, for this message only.
        let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
        given.push(Handle::Object(handle));
    }
    for _ in 0..sockets {
        let mut info = [0; INFO];
        from.read_exact(&mut info)?;
        given.push(Handle::Socket(adopt(&info)?));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok((bytes, given))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::event::is_set;
    use super::*;

    /// The runtime runs on meanwhile, since it does the sending.
    async fn arrival(at: &Stdin) {
        while !is_set(at.arrived()) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn handles_and_sockets_arrive_with_their_bytes() {
        let (orders, stdin) = pipes::to_child().unwrap();
        let (news, stdout) = pipes::from_child().unwrap();
        // SAFETY: stands for this process, and needs no closing; the duplicate is a real handle.
        let own = unsafe { BorrowedHandle::borrow_raw(GetCurrentProcess()) };
        let channel = Channel {
            orders,
            news: tokio::sync::Mutex::new(news),
            keeper: own.try_clone_to_owned().unwrap(),
            pid: std::process::id(),
        };
        let (Handle::Object(stdin), Handle::Object(stdout)) = (stdin, stdout) else {
            unreachable!("pipes are no sockets")
        };
        let keeper = Stdin::of(stdin.into(), stdout.into()).unwrap();
        let (mut reader, writer) = pipes::from_child().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sockets = [Arc::new(Socket::from(listener))];
        channel.send(b"order", &[writer], &sockets).await.unwrap();
        arrival(&keeper).await;
        let mut buffer = [0; 3];
        let (count, handles) = keeper.receive(&mut buffer).unwrap();
        assert_eq!((count, &buffer), (3, b"ord"));
        let [Handle::Object(writer), Handle::Socket(socket)] =
            <[Handle; 2]>::try_from(handles).unwrap()
        else {
            unreachable!("in this order")
        };
        File::from(writer).write_all(b"written").unwrap();
        let mut written = String::new();
        reader.read_to_string(&mut written).await.unwrap();
        assert_eq!(written, "written");
        let socket = Socket::from(socket);
        assert_eq!(socket.local_addr().unwrap().as_socket(), Some(address));
        let (count, handles) = keeper.receive(&mut buffer).unwrap();
        assert!(count == 2 && handles.is_empty());
        keeper.send(b"news", None).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(channel.receive(&mut buffer).await.unwrap().0, 4);
        drop(channel);
        arrival(&keeper).await;
        assert_eq!(keeper.receive(&mut buffer).unwrap().0, 0);
    }
}
