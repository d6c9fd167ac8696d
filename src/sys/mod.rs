//! The only module that names an operating system, and the only one with `unsafe`: small functions and
//! types over what systems offer. Each system has them under the same names.

mod facts;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(not(target_os = "linux"))]
pub mod no_calls;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;
#[cfg(any(test, target_os = "macos"))]
mod xnu;

/// What a system can do, as the only place that says it: a setting that asks for more is off there.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says what the others do not"
)]
pub struct Able {
    /// To answer system calls of the app, so that what it listens on by itself is held.
    pub capture: bool,
    /// To have two sockets at one address, and to choose which of them gets new connections.
    pub twins: bool,
    /// To start a program with open sockets at known numbers (`sd_listen_fds(3)`).
    pub inherit: bool,
    /// To write to or replace the file of a program, by any of its names, while that runs.
    pub overwrite_running: bool,
}

#[cfg(target_os = "linux")]
pub use linux::*;
#[cfg(target_os = "macos")]
pub use macos::*;
#[cfg(unix)]
pub use unix::*;
#[cfg(windows)]
pub use windows::*;
