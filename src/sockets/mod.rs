//! The listening sockets that hotrun holds for the app.

pub mod activation;
pub mod holder;
pub mod set;
pub mod spec;
