//! The only module that names an operating system, and the only one with `unsafe`: small functions and
//! types over what systems offer. Each system has them under the same names.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(unix)]
mod unix;

/// What a system can do, as the only place that says it: a setting that asks for more is off there.
#[derive(Clone, Copy, Debug)]
pub struct Able {
    /// To answer system calls of the app, so that what it listens on by itself is held.
    pub capture: bool,
    /// To have two sockets at one address, and to choose which of them gets new connections.
    pub twins: bool,
}

#[cfg(target_os = "linux")]
pub use linux::*;
#[cfg(unix)]
pub use unix::*;
