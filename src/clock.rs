//! The clocks: the one by which the driver tells the session the time, and those for parts that are not
//! told it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use tokio::time;

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

/// The time since hotrun started, without the time in which it was stopped itself (Ctrl-Z): deadlines of
/// a candidate or a drain must not pass while hotrun can't see their events. It is the monotonic clock,
/// so setting the wall clock changes nothing. All copies show the same.
#[derive(Clone, Debug)]
pub struct Clock {
    start: time::Instant,
    /// How much is left out, in nanoseconds.
    skipped: Arc<AtomicU64>,
}

impl Clock {
    /// Starts at zero.
    pub fn start() -> Self {
        Self {
            start: time::Instant::now(),
            skipped: Arc::default(),
        }
    }

    /// The time since the start.
    pub fn now(&self) -> Duration {
        self.start.elapsed().saturating_sub(self.skipped())
    }

    /// When it will show this.
    pub(crate) fn at(&self, moment: Duration) -> time::Instant {
        self.start + self.skipped() + moment
    }

    /// Leaves out time that was overslept.
    pub(crate) fn skip(&self, overslept: Duration) {
        let more = u64::try_from(overslept.as_nanos()).unwrap_or_default();
        self.skipped.fetch_add(more, Ordering::Relaxed);
    }

    fn skipped(&self) -> Duration {
        Duration::from_nanos(self.skipped.load(Ordering::Relaxed))
    }
}
