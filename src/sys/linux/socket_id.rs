//! The number of a socket, which it has in all processes.

use std::io;
use std::os::fd::AsFd;

use nix::sys::stat::fstat;

/// The number by which the system knows a socket, its inode.
pub(in crate::sys) fn id(socket: &impl AsFd) -> io::Result<u64> {
    Ok(fstat(socket)?.st_ino)
}
