//! Crash counting: how long to wait before a program that died is started again, and when to stop trying
//! until an edit.

use std::time::Duration;

use super::model::Moment;

/// The waits before the first, second and every further restart.
const WAITS: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(5),
];

/// A program that was up this long starts with a clean record.
const RESET: Duration = Duration::from_mins(1);

/// After this many deaths within `RESET`, an edit is waited for.
const DEATHS: usize = 3;

/// The record of deaths since the last edit or the last long run.
#[derive(Clone, Debug, Default)]
pub(super) struct Backoff {
    deaths: Vec<Moment>,
}

impl Backoff {
    /// Records that a program died after it had been up for `up`. Returns the wait before it is started
    /// again, or `None` to wait for an edit.
    pub(super) fn died(&mut self, now: Moment, up: Duration) -> Option<Duration> {
        if up >= RESET {
            self.deaths.clear();
        }
        self.deaths.push(now);
        let recent = self
            .deaths
            .iter()
            .filter(|death| now.saturating_sub(**death) < RESET)
            .count();
        if recent >= DEATHS {
            return None;
        }
        Some(WAITS[(self.deaths.len() - 1).min(WAITS.len() - 1)])
    }

    /// Clears the record: an edit, or a request, may have mended the program.
    pub(super) fn reset(&mut self) {
        self.deaths.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn third_death_within_a_minute_waits_for_an_edit() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.died(S(10), S(1)), Some(Duration::from_millis(200)));
        assert_eq!(backoff.died(S(12), S(1)), Some(S(1)));
        assert_eq!(backoff.died(S(14), S(1)), None);
        backoff.reset();
        assert_eq!(backoff.died(S(15), S(1)), Some(Duration::from_millis(200)));
    }

    #[test]
    fn slow_deaths_back_off_further_and_a_long_run_clears_the_record() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.died(S(40), S(39)), Some(Duration::from_millis(200)));
        assert_eq!(backoff.died(S(80), S(39)), Some(S(1)));
        assert_eq!(backoff.died(S(120), S(39)), Some(S(5)));
        assert_eq!(backoff.died(S(160), S(39)), Some(S(5)));
        assert_eq!(
            backoff.died(S(300), S(61)),
            Some(Duration::from_millis(200))
        );
        // The first of three is a minute old.
        assert_eq!(backoff.died(S(330), S(1)), Some(S(1)));
        assert_eq!(backoff.died(S(360), S(1)), Some(S(5)));
        assert_eq!(
            backoff.died(S(361), S(60)),
            Some(Duration::from_millis(200))
        );
    }
}
