//! Waiting in the runtime: for objects of the system, and until a socket is readable.

use std::fs::File;
use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, OwnedHandle};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use socket2::Socket;
use tokio::io::Interest;
use tokio::net::TcpStream;
use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Threading::{
    INFINITE, RegisterWaitForSingleObject, UnregisterWaitEx, WT_EXECUTEINWAITTHREAD,
    WT_EXECUTEONLYONCE,
};

use super::event::is_set;
use super::handles::Handle;
use super::unsupported;

/// An object of the system that a task waits for.
#[derive(Debug)]
pub(super) struct Wait {
    object: OwnedHandle,
    registered: Mutex<Option<Registered>>,
    waker: Box<Mutex<Option<Waker>>>,
}

/// A wait of the system's thread pool, as a number: it is a handle that any thread may use.
#[derive(Debug)]
struct Registered(usize);

impl Wait {
    /// For this object. One that is always signalled, such as a file, is always ready.
    pub(super) fn new(object: OwnedHandle) -> Self {
        Self {
            object,
            registered: Mutex::default(),
            waker: Box::default(),
        }
    }

    /// Ready once the object is signalled, for as long as it is.
    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut registered = lock(&self.registered);
        if is_set(self.object.as_handle()) {
            return Poll::Ready(Ok(()));
        }
        // One that has ended its wait without this task having seen the object signalled is of no use.
        drop(registered.take());
        *lock(&self.waker) = Some(context.waker().clone());
        *registered = Some(Registered::new(self.object.as_handle(), &self.waker)?);
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        // Before the waker goes that it has a pointer to.
        drop(lock(&self.registered).take());
    }
}

impl Registered {
    fn new(object: BorrowedHandle<'_>, waker: &Mutex<Option<Waker>>) -> io::Result<Self> {
        let mut registered: HANDLE = std::ptr::null_mut();
        // SAFETY: the object is open until `Wait` is dropped, and the waker, boxed there, at the same
        // address; both go after this registration, whose own drop waits for a running callback.
        let done = unsafe {
            RegisterWaitForSingleObject(
                &raw mut registered,
                object.as_raw_handle(),
                Some(wake),
                std::ptr::from_ref(waker).cast(),
                INFINITE,
                WT_EXECUTEONLYONCE | WT_EXECUTEINWAITTHREAD,
            )
        };
        if done == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(registered.expose_provenance()))
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let registered = std::ptr::with_exposed_provenance_mut(self.0);
        // SAFETY: it was registered and not unregistered yet. The last argument makes the call wait until
        // no callback runs, which takes no lock that this thread holds.
        unsafe { UnregisterWaitEx(registered, INVALID_HANDLE_VALUE) };
    }
}

extern "system" fn wake(waker: *mut core::ffi::c_void, _: bool) {
    // SAFETY: the pointer that was registered, to a mutex that lives until this callback has ended.
    let waker = unsafe { &*waker.cast::<Mutex<Option<Waker>>>().cast_const() };
    let waker = lock(waker).take();
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something open, of which the runtime says when it is readable.
#[derive(Debug)]
pub struct Readable<T> {
    what: Arc<T>,
    source: Source,
}

/// How the runtime learns that something is readable.
#[derive(Debug)]
pub enum Source {
    /// A duplicate of the socket, whatever it does; a listening one is readable when it has a connection.
    Socket(TcpStream),
    /// An object.
    Object(ObjectWait),
}

/// A wait for an object.
#[derive(Debug)]
pub struct ObjectWait(Wait);

/// What can be waited for.
pub trait Waitable {
    /// How.
    fn source(&self) -> io::Result<Source>;
}

impl Waitable for Socket {
    fn source(&self) -> io::Result<Source> {
        let stream = TcpStream::from_std(self.try_clone()?.into())?;
        Ok(Source::Socket(stream))
    }
}

/// The console's input. A pipe can't be waited for.
impl Waitable for File {
    fn source(&self) -> io::Result<Source> {
        if !std::io::IsTerminal::is_terminal(self) {
            return unsupported();
        }
        Ok(object(self.as_handle().try_clone_to_owned()?))
    }
}

impl Waitable for Handle {
    fn source(&self) -> io::Result<Source> {
        match self {
            Self::Object(handle) => Ok(object(handle.try_clone()?)),
            Self::Socket(_) => unsupported(),
        }
    }
}

fn object(handle: OwnedHandle) -> Source {
    Source::Object(ObjectWait(Wait::new(handle)))
}

/// Registers something open with the runtime, to wait until it is readable.
pub fn readable<T: Waitable>(what: Arc<T>) -> io::Result<Readable<T>> {
    let source = what.source()?;
    Ok(Readable { what, source })
}

/// Says that something is readable until that is cleared.
#[derive(Debug)]
pub struct Ready<'a>(&'a Source);

impl Ready<'_> {
    /// Nothing is left to read.
    pub fn clear_ready(&mut self) {
        if let Source::Socket(socket) = self.0 {
            let none: io::Result<()> =
                socket.try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
            drop(none);
        }
    }
}

impl<T> Readable<T> {
    /// Waits until it is readable. Safe to drop while it waits.
    pub async fn readable(&self) -> io::Result<Ready<'_>> {
        match &self.source {
            Source::Socket(socket) => socket.readable().await?,
            Source::Object(wait) => std::future::poll_fn(|context| wait.0.poll(context)).await?,
        }
        Ok(Ready(&self.source))
    }

    /// The same for a task that polls.
    pub fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready<'_>>> {
        let ready = match &self.source {
            Source::Socket(socket) => socket.poll_read_ready(context),
            Source::Object(wait) => wait.0.poll(context),
        };
        ready.map_ok(|()| Ready(&self.source))
    }

    /// Waits until it is readable and `work` does not answer `WouldBlock`. Safe to drop while it waits.
    pub async fn async_io<R>(
        &self,
        interest: Interest,
        mut work: impl FnMut(&Arc<T>) -> io::Result<R>,
    ) -> io::Result<R> {
        match &self.source {
            Source::Socket(socket) => socket.async_io(interest, || work(&self.what)).await,
            Source::Object(_) => loop {
                self.readable().await?;
                match work(&self.what) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        tokio::task::yield_now().await;
                    }
                    done => return done,
                }
            },
        }
    }

    /// What it is.
    pub fn get_ref(&self) -> &Arc<T> {
        &self.what
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::event::Event;
    use super::*;

    #[tokio::test]
    async fn a_task_waits_for_an_object_of_the_system() {
        let event = Arc::new(Event::new().unwrap());
        let wait = Wait::new(event.as_handle().try_clone_to_owned().unwrap());
        for _ in 0..3 {
            event.reset();
            let setter = event.clone();
            let thread = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(5));
                setter.set();
            });
            let ready = std::future::poll_fn(|context| wait.poll(context)).await;
            ready.unwrap();
            thread.join().unwrap();
        }
        // Dropped while it waits.
        event.reset();
        let waits = std::future::poll_fn(|context| wait.poll(context));
        tokio::time::timeout(Duration::from_millis(1), waits)
            .await
            .unwrap_err();
    }

    #[tokio::test]
    async fn a_listening_socket_is_readable_with_a_connection() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let socket = readable(Arc::new(Socket::from(listener))).unwrap();
        let accept = |socket: &Arc<Socket>| {
            let within = Duration::ZERO;
            if !crate::sys::sockets::has_input(socket, within)? {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            socket.accept()
        };
        for _ in 0..3 {
            let (accepted, client) = tokio::join!(
                socket.async_io(Interest::READABLE, accept),
                TcpStream::connect(address)
            );
            accepted.unwrap();
            client.unwrap();
        }
    }
}
