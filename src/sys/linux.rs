//! What only Linux has.

use std::io;
use std::os::fd::AsFd;

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
