//! The only module that names an operating system, and the only one with `unsafe`: small functions and
//! types over what systems offer. Each system has them under the same names.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(unix)]
mod unix;

#[cfg(target_os = "linux")]
pub use linux::*;
#[cfg(unix)]
pub use unix::*;
