//! What Windows has.

pub mod accept_probe;
mod channel;
pub mod connections;
mod control;
mod errors;
mod event;
pub mod files;
mod handles;
pub mod host;
mod job;
pub mod keeper;
mod keys;
mod offer;
mod owner;
pub mod pipes;
pub mod processes;
mod sd_notify;
pub mod signals;
pub mod socket_tables;
pub mod sockets;
mod spawn;
mod steering;
mod terminal;
mod wait;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::windows::process::CommandExt;
use std::path::Path;
use std::process::Command;

pub use super::no_calls as calls;
pub use channel::{Channel, Stdin};
pub use control::{
    LocalListener, LocalStream, connect_local, connect_to_any, create_private_dir, is_private_dir,
    local, user,
};
#[cfg(test)]
pub use errors::too_many_open;
pub use errors::{
    is_foreign_program, is_in_progress, is_not_listening, is_reaped, is_too_many_open,
    is_unknown_family,
};
pub use files::FileId;
pub use handles::{Handle, MOST_DESCRIPTORS, handed_over};
pub use keys::{has_keys, is_in_background_of, read_keys, restore_terminal, take_keys};
pub use sd_notify::{Notified, NotifySocket};
pub use signals::{die_by, note_continuations, since_continued, suspend};
pub use spawn::{Descriptors, FIRST_SOCKET, Spawned, close_inherited};
pub use steering::{carry_options, is_bound_to_device, steer_port, steer_to};
pub use terminal::{Terminal, has_terminal, open_terminal, terminal_size};
pub use wait::{Readable, readable};

/// What Windows can do.
pub const ABLE: super::Able = super::Able {
    capture: false,
    twins: false,
    unix_sockets: false,
    sight: false,
    inherit: false,
    overwrite_running: false,
    tells_of_closes: false,
    linkers: &[],
};

/// What a command line is given to, to be run.
pub const SHELL: [&str; 2] = ["cmd", "/C"];

/// Gives a command these arguments. Programs split their command line themselves, most of them as the
/// standard library quotes it, but the shell takes what is typed as it is.
pub fn add_args(command: &mut Command, args: &[OsString]) {
    let program = Path::new(command.get_program()).file_stem();
    let is_shell = program.is_some_and(|name| name.eq_ignore_ascii_case(SHELL[0]));
    match args {
        [option, line] if is_shell && option.eq_ignore_ascii_case(SHELL[1]) => {
            let mut quoted = OsString::from("\"");
            quoted.push(line);
            quoted.push("\"");
            // `/S`: only the quotes around the line are removed; `/D`: no commands of the registry.
            command.raw_arg("/D /S /C").raw_arg(quoted);
        }
        _ => _ = command.args(args),
    }
}

/// A command. Windows has no name of a program's own beside its path, so `name` is not used.
pub fn command(program: &OsStr, _name: &OsStr) -> Command {
    Command::new(program)
}

/// Runs a program in place of this process, which ends with the program's status. Returns only if that
/// can't be started.
pub fn replace_by(program: &mut Command) -> io::Error {
    match program.status() {
        Ok(status) => signals::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    }
}

/// The command that starts this program once more. Its file can't be replaced while it runs.
pub fn own_command() -> Command {
    Command::new(std::env::current_exe().unwrap_or_else(|_| "hotrun".into()))
}

/// Lets this process have as many files open as it may. Windows has no limit of that kind.
pub fn raise_open_files() -> io::Result<()> {
    Ok(())
}

/// Gives a child of this process the limit that this process was started with: there is none.
pub fn restore_open_files(_child: u32) -> io::Result<()> {
    Ok(())
}

/// The error for what Windows has nothing for.
fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}
