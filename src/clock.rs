//! The clocks, for those parts that are not told the time by the driver.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

/// The time that files are stamped with. Somebody may set it, so it is compared with stamps only.
#[expect(
    clippy::disallowed_methods,
    reason = "the only place, beside the driver, that reads it"
)]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// Stamps are as coarse as the kernel's tick: a file that is written now may get one that is this much
/// behind the clock.
const COARSE: Duration = Duration::from_millis(20);

/// No file that is written from now on has an older stamp, by this machine's clock.
pub(crate) fn stamp() -> SystemTime {
    wall() - COARSE
}

/// The time that always goes on: since some moment, the same for the whole process.
#[expect(
    clippy::disallowed_methods,
    reason = "the only place, beside the driver, that reads it"
)]
pub(crate) fn steady() -> Duration {
    static SOME_MOMENT: LazyLock<Instant> = LazyLock::new(Instant::now);
    SOME_MOMENT.elapsed()
}
