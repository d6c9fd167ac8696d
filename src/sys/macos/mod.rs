//! What only macOS has.

pub mod accept_probe;
pub mod connections;
pub mod host;
pub mod keeper;
mod open_files;
mod passing;
mod proc_info;
pub mod processes;
pub mod socket_tables;
mod steering;
mod sysctl;

use std::io;
use std::process::Command;

pub use super::no_calls as calls;
pub use open_files::{raise_open_files, restore_open_files};
pub use passing::close_inherited;
pub(in crate::sys) use passing::{PTY, RECEIVE, SEND, close_on_exec};
pub(in crate::sys) use proc_info::socket_id;
pub use steering::{carry_options, is_bound_to_device, steer_port, steer_to};

/// What macOS can do. Two sockets at one address would need an order in which the kernel chooses between
/// them, which it does not promise.
pub const ABLE: super::Able = super::Able {
    capture: false,
    twins: false,
    unix_sockets: true,
    sight: true,
    inherit: true,
    overwrite_running: true,
    tells_of_closes: false,
    linkers: &[],
};

/// The command that starts this program once more.
pub fn own_command() -> Command {
    let own = std::env::current_exe();
    let own = own.unwrap_or_else(|_| "hotrun".into());
    super::command(own.as_os_str(), "hotrun".as_ref())
}

/// The error for what macOS has nothing for.
fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}
