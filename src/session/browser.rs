//! When browsers reload: once the next generation is live and nothing can reach the old one any more. A
//! browser sends its next request over the connection that it has open, which stays with the old
//! generation until that closes it.

use std::path::PathBuf;
use std::time::Duration;

use super::Session;
use super::action::Action;
use super::model::Moment;

/// The longest time after the switch: an old generation with an open stream may take much longer to end.
pub(super) const LATEST: Duration = Duration::from_secs(1);

/// A generation is live, and browsers have not been told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reload {
    /// They are told by then.
    latest: Option<Moment>,
}

impl Reload {
    /// A generation has become live; what was owed for an earlier one is not any more.
    pub(super) fn is_owed(&mut self, now: Moment) {
        self.latest = Some(now + LATEST);
    }

    /// When browsers are told at the latest.
    pub(super) fn due(self) -> Option<Moment> {
        self.latest
    }
}

impl Session {
    /// Has browsers load these files anew, without those that no page loads: editors write a hidden file
    /// beside the one that they save, which would reload whole pages where a stylesheet is swapped.
    pub(super) fn reload_files(&mut self, mut paths: Vec<PathBuf>) {
        let is_hidden = |path: &PathBuf| {
            let name = path.file_name();
            name.is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
        };
        paths.retain(|path| !is_hidden(path));
        if !paths.is_empty() {
            self.out.push(Action::ReloadBrowser(paths));
        }
    }

    /// Has browsers reload, if that is owed and the old generation has ended, or does not end in time.
    /// Nothing is owed for a generation that is not live any more: the next one that is will be told.
    pub(super) fn reload_browsers(&mut self, now: Moment) {
        let Some(latest) = self.reload.latest else {
            return;
        };
        if self.ending.is_some() || self.swap.live.is_none() {
            self.reload.latest = None;
            return;
        }
        // Its connections are closed when its main process ends.
        let mut draining = self.swap.draining.iter();
        if latest <= now || draining.all(|process| process.ended.is_some()) {
            self.reload.latest = None;
            self.out.push(Action::ReloadBrowser(Vec::new()));
        }
    }
}
