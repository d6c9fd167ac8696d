//! A build that is requested: since when, and for what reasons.

use std::collections::HashSet;
use std::path::PathBuf;

use super::model::{Cause, Changes, Moment};

/// A requested build.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// When its first event came.
    pub(super) first: Moment,
    /// When its last event came.
    pub(super) last: Moment,
    /// The reason for it beside changed files.
    pub(super) reason: Option<Cause>,
    /// Restart the app even if the program turns out to be unchanged.
    pub(super) forced: bool,
    /// The user has asked for it, so a debugger that is attached to live does not count.
    pub(super) asked: bool,
    /// Start the app again even if the build fails.
    pub(super) restart: bool,
}

impl Request {
    pub(super) fn new(now: Moment) -> Self {
        Self {
            first: now,
            last: now,
            reason: None,
            forced: false,
            asked: false,
            restart: false,
        }
    }

    /// Adds a reason that came later. The wider one is shown.
    pub(super) fn merge(&mut self, reason: Option<Cause>) {
        match (&mut self.reason, reason) {
            (Some(Cause::Changed(paths)), Some(Cause::Changed(more))) => add(paths, more),
            (None | Some(Cause::Start | Cause::Sibling(_)), reason @ Some(_))
            | (Some(Cause::Changed(_)), reason @ Some(Cause::Rescan | Cause::Asked)) => {
                self.reason = reason;
            }
            _ => {}
        }
    }

    /// Adds a newer request. Only its changes need a quiet period: the older ones have had theirs.
    pub(super) fn follow(&mut self, newer: Self) {
        (self.first, self.last) = (newer.first, newer.last);
        self.forced |= newer.forced;
        self.asked |= newer.asked;
        self.restart |= newer.restart;
        self.merge(newer.reason);
    }

    /// The cause of the build, with these changes.
    pub(super) fn cause(&self, changes: &Changes) -> Cause {
        match &self.reason {
            Some(Cause::Changed(paths)) => {
                let mut paths = paths.clone();
                add(&mut paths, changes.paths());
                Cause::Changed(paths)
            }
            Some(Cause::Start | Cause::Sibling(_)) if !changes.is_empty() => {
                Cause::Changed(changes.paths())
            }
            Some(reason) => reason.clone(),
            None => Cause::Changed(changes.paths()),
        }
    }

    /// The request has no reason but changed files.
    pub(super) fn is_for_changes(&self) -> bool {
        self.reason.is_none() && !self.forced
    }
}

/// Appends paths, each once.
fn add(paths: &mut Vec<PathBuf>, more: Vec<PathBuf>) {
    let mut known: HashSet<PathBuf> = paths.iter().cloned().collect();
    let is_new = |path: &PathBuf| known.insert(path.clone());
    paths.extend(more.into_iter().filter(is_new));
}
