//! Medians and extremes.

use std::fmt;
use std::time::Duration;

/// In milliseconds.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Values of one kind; times in milliseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    sorted: Vec<f64>,
}

impl Sample {
    /// One more.
    pub(crate) fn add(&mut self, value: f64) {
        let place = self.sorted.partition_point(|known| *known < value);
        self.sorted.insert(place, value);
    }

    pub(crate) fn min(&self) -> f64 {
        self.sorted.first().copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn max(&self) -> f64 {
        self.sorted.last().copied().unwrap_or(f64::NAN)
    }

    /// So many in a hundred are not above it: of the values that there are, the next one.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let place = (self.sorted.len() * percent).div_ceil(100);
        let value = self.sorted.get(place.saturating_sub(1));
        value.copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn median(&self) -> f64 {
        let at = |place: usize| self.sorted.get(place).copied().unwrap_or(f64::NAN);
        let count = self.sorted.len();
        at(count.saturating_sub(1) / 2).midpoint(at(count / 2))
    }
}

impl Extend<f64> for Sample {
    fn extend<T: IntoIterator<Item = f64>>(&mut self, values: T) {
        values.into_iter().for_each(|value| self.add(value));
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (min, median, max) = (self.min(), self.median(), self.max());
        write!(f, "{min:.1} / {median:.1} / {max:.1}")
    }
}
