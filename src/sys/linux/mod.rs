//! What only Linux has.

pub mod accept_probe;
pub mod calls;
pub mod connections;
pub(in crate::sys) mod descriptors;
pub mod host;
pub mod keeper;
mod open_files;
pub mod processes;
mod pty;
mod socket_options;
pub mod socket_tables;
pub(in crate::sys) mod spawn;
mod steering;

pub use descriptors::{Handle, MOST_DESCRIPTORS, Readable, handed_over, readable};
pub use open_files::{raise_open_files, restore_open_files};
pub use pty::{Terminal, open_terminal};
pub use socket_options::{carry_options, is_bound_to_device};
pub use spawn::{Descriptors, FIRST_SOCKET, Spawned, close_inherited};
pub use steering::{steer_port, steer_to};

use std::process::Command;

/// What Linux can do.
pub const ABLE: super::Able = super::Able {
    capture: true,
    twins: true,
    inherit: true,
    overwrite_running: true,
};

/// The command that starts this program once more, even after its file was replaced.
pub fn own_command() -> Command {
    super::command("/proc/self/exe".as_ref(), "hotrun".as_ref())
}
