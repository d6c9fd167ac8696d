//! Event objects: a flag that threads and the system can wait for.

use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::time::Duration;

use windows_sys::Win32::Foundation::{HANDLE, WAIT_OBJECT_0, WAIT_TIMEOUT};
use windows_sys::Win32::System::Threading::{
    CreateEventW, EVENT_MODIFY_STATE, INFINITE, OpenEventW, ResetEvent, SetEvent,
    WaitForMultipleObjects,
};

/// The most objects that one wait can have (`MAXIMUM_WAIT_OBJECTS`).
pub(super) const MOST_OBJECTS: usize = 64;

/// An event that stays set until it is reset.
#[derive(Debug)]
pub(super) struct Event(OwnedHandle);

impl Event {
    /// One that is not set.
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: null for security and for the name are allowed, and no memory is passed.
        Self::of(unsafe { CreateEventW(std::ptr::null(), 1, 0, std::ptr::null()) })
    }

    /// The one with this name, which is not set if this is the first.
    pub(super) fn named(name: &str) -> io::Result<Self> {
        let name = wide(name);
        // SAFETY: null for security is allowed, and the name ends with a zero.
        Self::of(unsafe { CreateEventW(std::ptr::null(), 1, 0, name.as_ptr()) })
    }

    /// The one that another process has made with this name, to set it.
    pub(super) fn open(name: &str) -> io::Result<Self> {
        let name = wide(name);
        // SAFETY: the name ends with a zero.
        Self::of(unsafe { OpenEventW(EVENT_MODIFY_STATE, 0, name.as_ptr()) })
    }

    fn of(handle: HANDLE) -> io::Result<Self> {
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has just opened it, so nothing else owns it.
        Ok(Self(unsafe { OwnedHandle::from_raw_handle(handle) }))
    }

    /// Sets it.
    pub(super) fn set(&self) {
        // SAFETY: the handle is open as long as `self`.
        unsafe { SetEvent(self.0.as_raw_handle()) };
    }

    /// Resets it.
    pub(super) fn reset(&self) {
        // SAFETY: the handle is open as long as `self`.
        unsafe { ResetEvent(self.0.as_raw_handle()) };
    }
}

impl AsHandle for Event {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}

fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

/// Waits until one of these objects is signalled: the first that is; `None` if the time is over. Objects
/// beyond [`MOST_OBJECTS`] are not waited for.
pub(super) fn wait_for(
    objects: &[BorrowedHandle<'_>],
    within: Option<Duration>,
) -> io::Result<Option<usize>> {
    let raw: Vec<_> = objects
        .iter()
        .take(MOST_OBJECTS)
        .map(AsRawHandle::as_raw_handle)
        .collect();
    let within = within.map_or(INFINITE, |within| {
        u32::try_from(within.as_millis()).unwrap_or(INFINITE - 1)
    });
    let count = u32::try_from(raw.len()).map_err(io::Error::other)?;
    // SAFETY: the array has `count` handles, which are borrowed and so open through this call.
    let found = unsafe { WaitForMultipleObjects(count, raw.as_ptr(), 0, within) };
    match found.checked_sub(WAIT_OBJECT_0) {
        Some(at) if at < count => Ok(Some(at as usize)),
        _ if found == WAIT_TIMEOUT => Ok(None),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether this object is signalled.
pub(super) fn is_set(object: BorrowedHandle<'_>) -> bool {
    matches!(wait_for(&[object], Some(Duration::ZERO)), Ok(Some(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_set_ends_a_wait() {
        let (a, b) = (Event::new().unwrap(), Event::new().unwrap());
        let both = [a.as_handle(), b.as_handle()];
        assert_eq!(wait_for(&both, Some(Duration::ZERO)).unwrap(), None);
        b.set();
        assert_eq!(wait_for(&both, None).unwrap(), Some(1));
        a.set();
        assert_eq!(wait_for(&both, None).unwrap(), Some(0));
        a.reset();
        assert!(!is_set(a.as_handle()) && is_set(b.as_handle()));
    }
}
