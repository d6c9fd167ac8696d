//! The only module with `unsafe`: small safe functions over system calls that no safe crate offers. The
//! files of other systems have functions of the same names.

#[cfg(unix)]
mod control;
#[cfg(unix)]
mod key_mode;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub mod seccomp;
#[cfg(unix)]
mod signals;
#[cfg(unix)]
mod terminal;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use control::{
    LocalListener, LocalStream, connect_local, create_private_dir, is_private_dir, user,
};
#[cfg(unix)]
pub use key_mode::{has_keys, is_in_background_of, read_keys, restore_terminal, take_keys};
#[cfg(target_os = "linux")]
pub use linux::{option, set_option, steer};
#[cfg(unix)]
pub use signals::{die_by, note_continuations, since_continued, stop_by};
#[cfg(unix)]
pub use terminal::{set_terminal_size, take_terminal, terminal_size};
#[cfg(unix)]
pub use unix::{
    Descriptors, FIRST_SOCKET, MOST_DESCRIPTORS, Spawned, adopt, close_inherited, readable,
    receive, replace_by, send, spawn_activated,
};
