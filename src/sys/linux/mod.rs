//! What only Linux has.

pub mod accept_probe;
pub mod calls;
pub mod connections;
pub mod host;
pub mod keeper;
mod open_files;
mod passing;
pub mod processes;
mod socket_id;
mod socket_options;
pub mod socket_tables;
mod steering;

pub use open_files::{raise_open_files, restore_open_files};
pub use passing::close_inherited;
pub(in crate::sys) use passing::{PTY, RECEIVE, SEND, close_on_exec};
pub(in crate::sys) use socket_id::id as socket_id;
pub use socket_options::{carry_options, is_bound_to_device};
pub use steering::{steer_port, steer_to};

use std::process::Command;

/// What Linux can do.
pub const ABLE: super::Able = super::Able {
    capture: true,
    twins: true,
    unix_sockets: true,
    sight: true,
    inherit: true,
    overwrite_running: true,
    tells_of_closes: true,
    linkers: &["wild", "mold", "ld.lld"],
};

/// The command that starts this program once more, even after its file was replaced.
pub fn own_command() -> Command {
    super::command("/proc/self/exe".as_ref(), "hotrun".as_ref())
}
