//! What reading or building a project has seen of its files.

use std::time::{Duration, SystemTime};

use super::model::Content;

/// When reading or building a project began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Began {
    /// No file that was written later has an older time stamp. One written a moment before may have the
    /// same: stamps are as coarse as the kernel's tick.
    pub stamp: SystemTime,
    /// The same by a clock that is never set, for what was read and not only written before.
    pub clock: Duration,
}

/// The state of a project when it was read or built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Files written from then on may not have been seen.
    pub began: Began,
    /// The content of `Cargo.lock` afterwards: cargo itself may have written it.
    pub lock: Option<Content>,
    /// The first build begins after that: no source with an older time stamp was written later than the build
    /// reads it.
    pub first_build: Option<SystemTime>,
}
