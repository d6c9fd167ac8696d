//! Telling the user's saves from a loop: a reaction to a file that changes whenever it was reacted to
//! waits longer and longer, so that a reaction that changes its own trigger can't keep the machine busy.
//! No change is ever dropped, so no save is lost.

use std::path::PathBuf;
use std::time::Duration;

/// Up to so many times in a row, it may be a user who saves quickly.
const MANY: u32 = 8;

/// The longest wait.
const LONGEST: Duration = Duration::from_mins(1);

/// The file that changed, and how often in a row it changed during a reaction to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Loops {
    path: Option<PathBuf>,
    times: u32,
    /// The user has been told.
    told: bool,
}

impl Loops {
    /// These paths changed during the reaction to the last change.
    pub(super) fn again(&mut self, paths: &[PathBuf]) {
        match paths {
            [path] if self.path.as_ref() == Some(path) => self.times += 1,
            [path] => {
                *self = Self {
                    path: Some(path.clone()),
                    times: 1,
                    told: false,
                };
            }
            _ => self.reset(),
        }
    }

    /// These paths changed in the same quiet period.
    pub(super) fn also(&mut self, paths: &[PathBuf]) {
        if paths.iter().any(|path| Some(path) != self.path.as_ref()) {
            self.reset();
        }
    }

    /// Something changed while no reaction ran.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// How long to wait before reacting to the last change.
    pub(super) fn wait(&self) -> Option<Duration> {
        let more = self.times.checked_sub(MANY)?;
        let wait = Duration::from_secs(1).saturating_mul(1 << more.min(6));
        Some(wait.min(LONGEST))
    }

    /// The file, once it is clear that it loops. Returned only once: the log that shows it may be that
    /// very file.
    pub(super) fn found(&mut self) -> Option<(PathBuf, Duration)> {
        let wait = self.wait().filter(|_| !self.told)?;
        self.told = true;
        Some((self.path.clone()?, wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_file_again_and_again_is_a_loop() {
        let (a, b) = (PathBuf::from("a"), PathBuf::from("b"));
        let mut loops = Loops::default();
        for _ in 1..MANY {
            loops.again(std::slice::from_ref(&a));
            assert_eq!((loops.wait(), loops.found()), (None, None));
        }
        loops.also(std::slice::from_ref(&a));
        loops.again(std::slice::from_ref(&a));
        assert_eq!(loops.found(), Some((a.clone(), Duration::from_secs(1))));
        loops.also(std::slice::from_ref(&a));
        assert_eq!(loops.found(), None);
        loops.again(std::slice::from_ref(&a));
        assert_eq!(
            (loops.wait(), loops.found()),
            (Some(Duration::from_secs(2)), None)
        );
        for _ in 0..100 {
            loops.again(std::slice::from_ref(&a));
        }
        assert_eq!(loops.wait(), Some(LONGEST));
        loops.also(std::slice::from_ref(&b));
        assert_eq!(loops.wait(), None);
        // Nor are two files at once.
        for _ in 0..=MANY {
            loops.again(std::slice::from_ref(&a));
        }
        assert!(loops.wait().is_some());
        loops.again(&[a, b]);
        assert_eq!(loops.wait(), None);
    }
}
