//! Values of the kernel, see sysctl(3).

use std::ffi::CStr;
use std::io;

use nix::errno::Errno;
use nix::libc;

/// The value under this name.
fn named(name: &CStr) -> io::Result<Vec<u8>> {
    read(|value, length| {
        // SAFETY: the name ends with a zero, nothing is set, and the kernel writes no more than `length`
        // bytes, which are those of the buffer; with a null buffer it only says how many there are.
        unsafe { libc::sysctlbyname(name.as_ptr(), value, length, std::ptr::null_mut(), 0) }
    })
}

/// The value under these numbers.
pub(super) fn numbered(mut names: [libc::c_int; 4], count: u32) -> io::Result<Vec<u8>> {
    let count = count.min(4);
    read(|value, length| {
        let (names, none) = (names.as_mut_ptr(), std::ptr::null_mut());
        // SAFETY: there are at least `count` numbers; for the rest see `named`.
        unsafe { libc::sysctl(names, count, value, length, none, 0) }
    })
}

/// Asks for the length, then for so many bytes and some more, since the value may grow in between.
fn read(
    mut ask: impl FnMut(*mut libc::c_void, *mut libc::size_t) -> libc::c_int,
) -> io::Result<Vec<u8>> {
    let mut length = 0;
    Errno::result(ask(std::ptr::null_mut(), &raw mut length))?;
    length += length / 8;
    let mut value = vec![0; length];
    Errno::result(ask(value.as_mut_ptr().cast(), &raw mut length))?;
    value.truncate(length);
    Ok(value)
}

/// A number of 32 or 64 bits.
pub(super) fn number(name: &CStr) -> Option<u64> {
    let value = named(name).ok()?;
    if let Ok(bytes) = <[u8; 4]>::try_from(&value[..]) {
        return Some(u32::from_ne_bytes(bytes).into());
    }
    <[u8; 8]>::try_from(&value[..]).ok().map(u64::from_ne_bytes)
}

/// A text, which ends with a zero.
pub(super) fn text(name: &CStr) -> Option<String> {
    let value = named(name).ok()?;
    let text = CStr::from_bytes_until_nul(&value).ok()?;
    Some(text.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_what_they_are() {
        assert_eq!(text(c"kern.ostype").as_deref(), Some("Darwin"));
        assert!(number(c"kern.maxfilesperproc").unwrap() > 0);
        assert_eq!(number(c"kern.ostype"), None);
        named(c"no.such").unwrap_err();
    }
}
