//! What only Linux has.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};

/// Puts this program on the `SO_REUSEPORT` group of a socket (`SO_ATTACH_REUSEPORT_CBPF` of
/// socket(7)), in place of the one before; new connections go by it from then on. Needs no privilege.
pub fn steer(socket: &impl AsFd, program: &mut [libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_mut_ptr(),
    };
    setsockopt(socket, sockopt::AttachReusePortCbpf, &program)?;
    Ok(())
}

/// The value of a socket option, whatever it is made of; those here have 16 bytes at most.
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

/// Gives a socket option the value that [`option`] has read of another socket.
pub fn set_option(socket: &impl AsFd, (level, name): (i32, i32), value: &[u8]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    let (number, at) = (socket.as_fd().as_raw_fd(), value.as_ptr().cast());
    // SAFETY: the kernel reads `length` bytes, which are those of the slice.
    let written = unsafe { libc::setsockopt(number, level, name, at, length) };
    Errno::result(written)?;
    Ok(())
}
