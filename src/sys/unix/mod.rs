//! What Linux and macOS have in common.

pub(in crate::sys) mod channel;
pub(in crate::sys) mod children;
mod control;
pub(in crate::sys) mod descriptors;
mod errors;
pub mod files;
mod key_mode;
pub mod pipes;
mod pty;
pub(in crate::sys) mod sd_notify;
pub mod signals;
pub mod sockets;
pub(in crate::sys) mod spawn;
pub(in crate::sys) mod terminal;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

pub use channel::{Channel, Stdin};
pub use control::{
    LocalListener, LocalStream, connect_local, connect_to_any, create_private_dir, is_private_dir,
    local, user,
};
pub use descriptors::{Handle, MOST_DESCRIPTORS, Readable, handed_over, readable};
#[cfg(test)]
pub use errors::too_many_open;
pub use errors::{
    is_foreign_program, is_in_progress, is_not_listening, is_reaped, is_too_many_open,
    is_unknown_family,
};
pub use files::FileId;
pub use key_mode::{has_keys, is_in_background_of, read_keys, restore_terminal, take_keys};
pub use pty::{Terminal, open_terminal};
pub use sd_notify::{Notified, NotifySocket};
pub use signals::{die_by, note_continuations, since_continued, suspend};
pub use spawn::{Descriptors, FIRST_SOCKET, Spawned};
pub use terminal::{has_terminal, terminal_size};

/// What a command line is given to, to be run.
pub const SHELL: [&str; 2] = ["sh", "-c"];

/// Gives a command these arguments.
pub fn add_args(command: &mut Command, args: &[OsString]) {
    command.args(args);
}

/// A command that is told this name of its own.
pub fn command(program: &OsStr, name: &OsStr) -> Command {
    let mut command = Command::new(program);
    command.arg0(name);
    command
}

/// Replaces this process by a program. Returns only if that can't be started.
pub fn replace_by(program: &mut Command) -> io::Error {
    program.exec()
}
