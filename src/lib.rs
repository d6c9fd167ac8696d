//! hotrun: a dev-loop reloader for Rust servers that holds their listening sockets.
//!
//! # The code, in reading order
//!
//! - [`session`]: the core. Pure: events in, actions out. Every decision is here, as data in
//!   `session/scenarios/*.txt` and as rules in `session/mod.rs`.
//! - [`driver`]: the main loop around it, and [`effects`], which carries actions out.
//! - [`watch`] reports what changed, [`build`] runs cargo and pins its artifacts, [`sockets`] holds
//!   addresses, [`capture`] catches the app's `bind` and `listen`, [`app`] runs one generation under a
//!   [`keeper`], [`hooks`] runs the user's own commands, [`signals`] and [`ui`] are the user's side.
//!   [`report`] is one type of everything that is told, for text and JSON alike.
//! - [`verify`] loads a hotrun with clients and reports what they saw, [`doctor`] checks what works
//!   here, [`init`] writes the first files.
//! - [`browser`]: what browsers get from hotrun, while no generation answers and when a new one is live.
//! - [`control`]: the socket over which `hotrun ctl` asks a running hotrun, both of its ends.
//! - `run`: what `main` calls. Chooses the job by the command line, and puts the modules together for it.
//! - [`cli`], [`config`]: command line and files become [`config::Settings`]. [`exit`]: the only list of
//!   exit codes.
//! - [`sys`]: the only module that names an operating system, and the only `unsafe`. `clock`, `defect`, `tls`,
//!   [`digest`], `helper`, [`lines`], [`sink`]: small things that several modules need.
//!
//! Modules that carry out actions never import each other; what one learns reaches another as a value in
//! an action. Only `ui` and `run` print, and only `sys` names a system. `tests/promises/tidy.rs` checks all of
//! that.

// In tests, what goes wrong is seen; the program is checked without them too.
#![cfg_attr(test, allow(clippy::unwrap_used))]
// What only unit tests use.
#![cfg_attr(fuzzing, allow(dead_code))]

pub mod app;
pub mod browser;
pub mod build;
pub mod capture;
pub mod cli;
mod clock;
pub mod config;
pub mod control;
mod defect;
pub mod digest;
pub mod doctor;
pub mod driver;
pub mod effects;
pub mod exit;
mod helper;
pub mod hooks;
#[cfg(any(test, fuzzing))]
pub mod hostile;
pub mod init;
pub mod keeper;
pub mod lines;
pub mod report;
mod run;
pub mod session;
pub mod signals;
pub mod sink;
pub mod sockets;
pub mod sys;
mod tls;
pub mod ui;
pub mod verify;
pub mod watch;

pub use run::run;
