//! Calls that only Linux has.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};

/// Attaches this program to the `SO_REUSEPORT` group of a socket (`SO_ATTACH_REUSEPORT_CBPF` of
/// socket(7)), in place of the one before; it steers new connections from then on. Needs no privilege.
pub fn steer(socket: &impl AsFd, program: &mut [libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_mut_ptr(),
    };
    setsockopt(socket, sockopt::AttachReusePortCbpf, &program)?;
    Ok(())
}

/// The raw value of a socket option; those used here have at most 16 bytes.
pub fn option(socket: &impl AsFd, (level, name): (i32, i32)) -> io::Result<Vec<u8>> {
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
pub fn set_option(socket: &impl AsFd, (level, name): (i32, i32), value: &[u8]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    let (number, at) = (socket.as_fd().as_raw_fd(), value.as_ptr().cast());
    // SAFETY: the kernel reads `length` bytes, which are those of the slice.
    let written = unsafe { libc::setsockopt(number, level, name, at, length) };
    Errno::result(written)?;
    Ok(())
}
