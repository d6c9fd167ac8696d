//! What browsers get from hotrun: a page while no generation can answer, and a server that has them
//! reload when a new one is live and shows why the newest sources are not served.
//!
//! # Theory of operation
//!
//! `Effects` publishes one value, the [`Picture`], on the [`Board`] whenever what hotrun does has changed;
//! the page and the error overlay are drawn from it, and a slow connection gets the newest one only. What a
//! stranger must not see is decided in `access`, for both servers. Deliberately absent: any decision about
//! when a page is shown, or when browsers reload. The session makes those.

pub mod access;
pub mod address;
pub mod ansi;
mod board;
pub mod front;
mod links;
pub mod livereload;
pub mod page;
pub mod peers;
pub mod picture;

pub use board::Board;
pub use livereload::LiveReload;
pub use picture::Picture;

use std::io;

/// A secret of this run, which nobody can guess.
fn token() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
