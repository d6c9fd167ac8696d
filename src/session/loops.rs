//! Telling a user who saves from something that our own doing makes change: a file that changes
//! each time we do something about it is waited for longer and longer, so that a build that writes
//! its own inputs cannot keep the machine busy. Nothing is ever left out, so no save is lost.

use std::path::PathBuf;
use std::time::Duration;

/// So many times in a row may be a user who saves quickly.
const MANY: u32 = 8;

/// The longest wait.
const LONGEST: Duration = Duration::from_mins(1);

/// The file that changed, and how often in a row it was our doing, as far as one can see.
#[derive(Clone, Debug, Default)]
pub(super) struct Loops {
    path: Option<PathBuf>,
    times: u32,
    /// The user has been told.
    told: bool,
}

impl Loops {
    /// These paths changed while we did something about the last change.
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

    /// These paths changed too.
    pub(super) fn also(&mut self, paths: &[PathBuf]) {
        if paths.iter().any(|path| Some(path) != self.path.as_ref()) {
            self.reset();
        }
    }

    /// Something changed that we have nothing to do with.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// How long to wait before anything is done about the last change.
    pub(super) fn wait(&self) -> Option<Duration> {
        let more = self.times.checked_sub(MANY)?;
        let wait = Duration::from_secs(1).saturating_mul(1 << more.min(6));
        Some(wait.min(LONGEST))
    }

    /// The file, at the moment at which it is clear that it goes round. Once: what is said may be
    /// written to that very file.
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
        loops.also(&[b]);
        assert_eq!(loops.wait(), None);
    }
}
