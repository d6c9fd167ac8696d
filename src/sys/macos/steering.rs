//! What can't be done to a socket here: to choose which of two gets new connections, and to carry over
//! what a captured one has, since none is captured.

use std::io;
use std::os::fd::AsFd;

use socket2::Socket;

/// An error: there are no two sockets at one address.
pub fn steer_to(_socket: &impl AsFd, _index: u32) -> io::Result<()> {
    super::unsupported()
}

/// An error.
pub fn steer_port(_socket: &impl AsFd, _port: u16, _probed: u32, _others: u32) -> io::Result<()> {
    super::unsupported()
}

/// Carries options of an app's own socket over to a held one. No such socket is ever seen: `ABLE.capture`.
pub fn carry_options(_from: &impl AsFd, _to: &impl AsFd) {}

/// `false`: no captured socket is ever seen that could be.
pub fn is_bound_to_device(_socket: &Socket) -> bool {
    false
}
