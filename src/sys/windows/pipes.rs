//! The pipes of a child's stdio: named ones, since only those can be waited for.

use std::cell::UnsafeCell;
use std::fs::OpenOptions;
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::windows::named_pipe::{NamedPipeServer, ServerOptions};
use windows_sys::Win32::Foundation::{
    ERROR_BROKEN_PIPE, ERROR_HANDLE_EOF, ERROR_IO_INCOMPLETE, ERROR_IO_PENDING,
    INVALID_HANDLE_VALUE,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, PIPE_ACCESS_INBOUND, ReadFile,
};
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Pipes::{
    CreateNamedPipeW, PIPE_REJECT_REMOTE_CLIENTS, PIPE_TYPE_BYTE,
};

use super::event::Event;
use super::handles::Handle;
use super::wait::Wait;

/// How many bytes a pipe holds, and one read takes.
const ROOM: usize = 64 * 1024;

/// Our end of a pipe that a child reads.
pub type Sender = NamedPipeServer;

/// A pipe that a child reads: our end, and its own. Must be called inside the runtime.
pub fn to_child() -> io::Result<(Sender, Handle)> {
    let name = name()?;
    let ours = ServerOptions::new()
        .access_inbound(false)
        .first_pipe_instance(true)
        .max_instances(1)
        .create(&name)?;
    let theirs = OpenOptions::new().read(true).share_mode(0).open(&name)?;
    Ok((ours, Handle::Object(theirs.into())))
}

/// A pipe that a child writes to: our end, and its own.
pub fn from_child() -> io::Result<(Receiver, Handle)> {
    let name = name()?;
    let wide: Vec<u16> = name.encode_utf16().chain([0]).collect();
    // SAFETY: the name ends with a zero; null security is allowed.
    let ours = unsafe {
        CreateNamedPipeW(
            wide.as_ptr(),
            PIPE_ACCESS_INBOUND | FILE_FLAG_OVERLAPPED | FILE_FLAG_FIRST_PIPE_INSTANCE,
            PIPE_TYPE_BYTE | PIPE_REJECT_REMOTE_CLIENTS,
            1,
            0,
            64 * 1024,
            0,
            std::ptr::null(),
        )
    };
    if ours == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made it, so nothing else owns it.
    let ours = unsafe { OwnedHandle::from_raw_handle(ours) };
    let theirs = OpenOptions::new().write(true).share_mode(0).open(&name)?;
    Ok((Receiver::new(ours)?, Handle::Object(theirs.into())))
}

/// A name that no other process guesses.
pub(super) fn name() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let number = u128::from_ne_bytes(bytes);
    Ok(format!(r"\\.\pipe\hotrun-{number:032x}"))
}

/// Our end of a pipe that a child writes to.
///
/// Not tokio's: that hands over what it has read only once the runtime has heard of it, which may come
/// after the news of the exit. Here a read is answered at once where the pipe has something.
#[derive(Debug)]
pub struct Receiver {
    reading: Mutex<Reading>,
    /// For the event of the read under way.
    wait: Wait,
}

/// The read of a pipe that is under way, if one is.
#[derive(Debug)]
struct Reading {
    pipe: OwnedHandle,
    event: Event,
    under_way: bool,
    /// What the system writes to while a read is under way, at addresses that stay.
    target: Box<Target>,
    /// What was read and not taken yet.
    taken: usize,
    count: usize,
    ended: bool,
}

struct Target {
    overlapped: UnsafeCell<OVERLAPPED>,
    buffer: UnsafeCell<[u8; ROOM]>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Target")
    }
}

// SAFETY: the pointers of an OVERLAPPED are the system's, and no part of it belongs to a thread; what
// has the `Reading` has all of it.
unsafe impl Send for Target {}

impl Reading {
    /// Takes what was read; nothing at the end; `WouldBlock` if there is nothing yet, and then the event is
    /// set once there is.
    fn take(&mut self, most: usize) -> io::Result<&[u8]> {
        if self.taken == self.count && !self.ended {
            self.fill()?;
        }
        let from = self.taken;
        self.taken = self.count.min(from + most);
        // SAFETY: no read is under way while something is left to take, so nothing else has the buffer.
        let buffer = unsafe { &*self.target.buffer.get() };
        Ok(&buffer[from..self.taken])
    }

    fn fill(&mut self) -> io::Result<()> {
        if !self.under_way {
            self.event.reset();
            let overlapped = self.target.overlapped.get();
            // SAFETY: no read is under way, so nothing else has it.
            unsafe {
                *overlapped = OVERLAPPED {
                    hEvent: self.event.as_handle().as_raw_handle(),
                    ..OVERLAPPED::default()
                };
            }
            let size = u32::try_from(ROOM).map_err(io::Error::other)?;
            // SAFETY: the buffer has that size; it and the structure stay where they are until the read is
            // over: `drop` waits for that.
            let read = unsafe {
                ReadFile(
                    self.pipe.as_raw_handle(),
                    self.target.buffer.get().cast(),
                    size,
                    std::ptr::null_mut(),
                    overlapped,
                )
            };
            if read == 0 && !is_last_error(ERROR_IO_PENDING) {
                return self.failed(io::Error::last_os_error());
            }
            self.under_way = true;
        }
        match self.result(false) {
            Ok(count) => {
                (self.under_way, self.taken, self.count) = (false, 0, count);
                // A write of no bytes is no end.
                if count == 0 { self.fill() } else { Ok(()) }
            }
            Err(error) if is(&error, ERROR_IO_INCOMPLETE) => Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => {
                self.under_way = false;
                self.failed(error)
            }
        }
    }

    fn failed(&mut self, error: io::Error) -> io::Result<()> {
        if is(&error, ERROR_BROKEN_PIPE) || is(&error, ERROR_HANDLE_EOF) {
            self.ended = true;
            return Ok(());
        }
        Err(error)
    }

    /// The result of the read under way.
    fn result(&self, wait: bool) -> io::Result<usize> {
        let mut count = 0;
        let (pipe, overlapped) = (self.pipe.as_raw_handle(), self.target.overlapped.get());
        // SAFETY: both are those of the read, and the call writes one number.
        let done =
            unsafe { GetOverlappedResult(pipe, overlapped, &raw mut count, i32::from(wait)) };
        if done == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(count as usize)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if self.under_way {
            // SAFETY: the structure is that of a read of this pipe.
            unsafe { CancelIoEx(self.pipe.as_raw_handle(), self.target.overlapped.get()) };
            // The system has the buffer until then.
            self.result(true).ok();
        }
    }
}

fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error() == Some(code.cast_signed())
}

fn is_last_error(code: u32) -> bool {
    is(&io::Error::last_os_error(), code)
}

impl Receiver {
    fn new(pipe: OwnedHandle) -> io::Result<Self> {
        let event = Event::new()?;
        let wait = Wait::new(event.as_handle().try_clone_to_owned()?);
        let reading = Reading {
            pipe,
            event,
            under_way: false,
            target: Box::new(Target {
                overlapped: UnsafeCell::default(),
                buffer: UnsafeCell::new([0; ROOM]),
            }),
            taken: 0,
            count: 0,
            ended: false,
        };
        Ok(Self {
            reading: Mutex::new(reading),
            wait,
        })
    }
}

impl AsyncRead for Receiver {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match reading.take(buffer.remaining()) {
                Ok(bytes) => {
                    buffer.put_slice(bytes);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Ready: it was read meanwhile.
                    std::task::ready!(self.wait.poll(context))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// Reads a part of what is left in a pipe after its writer has exited. Returns the number of bytes;
/// `WouldBlock` if it is empty and another process still has the writing end open.
pub fn take_rest(pipe: &Receiver, to: &mut Vec<u8>) -> io::Result<usize> {
    let mut reading = pipe.reading.lock().unwrap_or_else(PoisonError::into_inner);
    let bytes = reading.take(ROOM)?;
    to.extend_from_slice(bytes);
    Ok(bytes.len())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn file(handle: Handle) -> File {
        match handle {
            Handle::Object(handle) => handle.into(),
            Handle::Socket(_) => unreachable!("a pipe is no socket"),
        }
    }

    #[tokio::test]
    async fn what_a_child_writes_arrives_and_ends_with_it() {
        let (mut ours, theirs) = from_child().unwrap();
        let mut theirs = file(theirs);
        let writer = std::thread::spawn(move || {
            theirs.write_all(&[b'a'; 200_000]).unwrap();
        });
        let mut read = Vec::new();
        ours.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, [b'a'; 200_000]);
        writer.join().unwrap();
    }

    #[tokio::test]
    async fn the_rest_is_there_at_once() {
        let (ours, theirs) = from_child().unwrap();
        let mut theirs = file(theirs);
        let mut rest = Vec::new();
        let empty = take_rest(&ours, &mut rest).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        theirs.write_all(b"last words").unwrap();
        assert_eq!(take_rest(&ours, &mut rest).unwrap(), 10);
        drop(theirs);
        assert_eq!(take_rest(&ours, &mut rest).unwrap(), 0);
    }

    #[tokio::test]
    async fn a_child_reads_what_is_sent() {
        let (mut ours, theirs) = to_child().unwrap();
        let mut theirs = file(theirs);
        let reader = std::thread::spawn(move || {
            let mut read = String::new();
            theirs.read_to_string(&mut read).map(|_| read)
        });
        ours.write_all(b"to the child").await.unwrap();
        ours.flush().await.unwrap();
        drop(ours);
        // The end of the pipe is closed once the runtime has heard that all was sent.
        let read = tokio::task::spawn_blocking(|| reader.join().unwrap());
        assert_eq!(read.await.unwrap().unwrap(), "to the child");
    }
}
