//! The only room with `unsafe`: small safe functions over what the system offers and no safe
//! crate does. Files of other systems carry the same names for the same act.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::{FIRST_SOCKET, close_inherited, die_by, receive, send, spawn_activated, stop_by};
