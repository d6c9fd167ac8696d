//! What only Linux has.

pub mod accept_probe;
pub mod connections;
pub mod host;
pub mod keeper;
pub mod processes;
pub mod seccomp;
mod socket_options;
pub mod socket_tables;
pub(in crate::sys) mod spawn;

pub use socket_options::{option, set_option, steer};
pub use spawn::{Descriptors, FIRST_SOCKET, Spawned, close_inherited};

use std::process::Command;

/// The command that starts this program once more, even after its file was replaced.
pub fn own_command() -> Command {
    super::command("/proc/self/exe".as_ref(), "hotrun".as_ref())
}
