//! The sockets that hotrun holds for the app: listening ones, and those of datagrams.

pub mod acceptor;
pub mod activation;
pub mod address;
mod busy;
pub mod captured;
mod declared;
#[cfg(test)]
mod declared_paths;
pub mod front;
pub mod held;
pub mod inherited;
mod ledger;
mod open;
mod overlap;
pub mod port_owner;
pub mod quiesce;
#[cfg(test)]
mod random_orders;
pub mod relay;
pub mod remembered;
mod socket_file;
pub mod spec;
pub mod steering;
pub mod twins;
mod unix_twins;
