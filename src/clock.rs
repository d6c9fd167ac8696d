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

/// The time that always goes on: since some moment, the same for the whole process.
#[expect(
    clippy::disallowed_methods,
    reason = "the only place, beside the driver, that reads it"
)]
pub(crate) fn steady() -> Duration {
    static SOME_MOMENT: LazyLock<Instant> = LazyLock::new(Instant::now);
    SOME_MOMENT.elapsed()
}
