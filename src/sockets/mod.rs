//! The sockets that hotrun holds for the app: those that listen, and those that take datagrams.

pub mod activation;
mod adapt;
pub mod address;
mod busy;
pub mod captured;
pub mod holder;
pub mod inherited;
pub mod memory;
mod open;
mod options;
mod paths;
pub mod quiesce;
pub mod relay;
pub mod set;
mod socket_file;
pub mod spec;
mod steer;
pub mod twins;
mod way;
