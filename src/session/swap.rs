//! Which processes there are and what each is for: live, candidate, draining, and the launch that
//! waits for its place. Pure bookkeeping with the rules of the swap; `mod.rs` gives it events.

use std::time::Duration;

use super::action::Action;
use super::event::{Answer, Open};
use super::model::{ArtifactRef, Cause, Exit, Generation, JobId, Moment, Phases};
use super::slots::Slot;

/// Why a process is started, as far as it decides what its failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A build made it.
    Built,
    /// Live died and is started again.
    Restart,
    /// The last good program takes the place of a failed one.
    Rollback,
}

/// How far the user's `before_start` is for a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prepared {
    /// It was not run yet.
    No,
    /// It runs, since then.
    Waits(JobId, Moment),
    /// It ended well, or there is none.
    Yes,
}

/// What a launch knows and does about a debugger that may have attached to live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Debugger {
    /// Nobody has looked for it yet.
    #[default]
    Unknown,
    /// It is being looked for.
    Sought,
    /// There is none.
    Absent,
    /// It was found, that was said, and the launch waits for its end.
    Awaited,
    /// Somebody wants the launch now.
    Ignored,
}

/// A launch that waits: for a back-off, or until those before it are gone.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    /// The build's generation; a newer number is taken if one was launched since.
    pub(super) generation: Option<Generation>,
    pub(super) artifact: ArtifactRef,
    pub(super) cause: Cause,
    pub(super) kind: Kind,
    pub(super) phases: Phases,
    /// Since when it waits.
    pub(super) since: Moment,
    /// Not before this moment (back-off).
    pub(super) not_before: Moment,
    /// That moment has come.
    pub(super) due: bool,
    /// Live is stopped first.
    pub(super) alone: bool,
    pub(super) prepared: Prepared,
    pub(super) debugger: Debugger,
}

/// How far a process was told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    Stop,
    Kill,
}

/// A generation with processes.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) generation: Generation,
    /// Its sockets.
    pub(super) slot: Slot,
    pub(super) artifact: ArtifactRef,
    pub(super) cause: Cause,
    pub(super) kind: Kind,
    pub(super) phases: Phases,
    pub(super) launched: Moment,
    /// When it became live.
    pub(super) live_since: Option<Moment>,
    /// Candidate: ready by then. Leaving: ended by then. Live: its probation ends then.
    pub(super) deadline: Option<Moment>,
    pub(super) told: Told,
    /// What was last seen open there, once clients are not sent to it any more.
    pub(super) open: Open,
    /// When it was asked to finish its work.
    pub(super) asked: Option<Moment>,
    /// Its first process has ended.
    pub(super) ended: Option<Exit>,
    pub(super) suspended: bool,
    /// Its first process has ended with success, and what it left behind is followed.
    pub(super) background: bool,
    /// What it has answered last when it was asked whether it is ready.
    pub(super) answer: Option<Answer>,
    /// Signals that were passed on to live meanwhile; it may not have been able to take them yet.
    pub(super) missed: Vec<i32>,
    /// The next candidate, not the time limit, ended its drain.
    pub(super) cut_for_next: bool,
}

impl Process {
    /// How long it has run.
    pub(super) fn ran(&self, now: Moment) -> Duration {
        now.saturating_sub(self.launched)
    }

    /// Marks it as killed; the action that does it, the first time.
    pub(super) fn kill(&mut self) -> Option<Action> {
        self.deadline = None;
        let told = std::mem::replace(&mut self.told, Told::Kill);
        (told != Told::Kill).then_some(Action::Kill(self.generation))
    }
}

/// All processes. At most two generations have any: live with a candidate, or live with one
/// draining; the launch waits for the rest.
#[derive(Clone, Debug, Default)]
pub(super) struct Swap {
    pub(super) live: Option<Process>,
    pub(super) candidate: Option<Process>,
    pub(super) draining: Vec<Process>,
    pub(super) pending: Option<Launch>,
    /// What was to take over has failed, and is waited for until somebody mends it.
    pub(super) failed: bool,
    /// The newest program that stayed live through its probation, or until it was replaced.
    pub(super) last_good: Option<ArtifactRef>,
}

impl Swap {
    /// The newest program that runs or is about to: what a new build is compared with.
    pub(super) fn newest(&self) -> Option<&ArtifactRef> {
        self.pending
            .as_ref()
            .map(|launch| &launch.artifact)
            .or(self.candidate.as_ref().map(|process| &process.artifact))
            .or(self.live.as_ref().map(|process| &process.artifact))
    }

    /// What the launch that waits, or the candidate, is for.
    pub(super) fn unproved(&self) -> Option<Kind> {
        let pending = self.pending.as_ref().map(|launch| launch.kind);
        pending.or(self.candidate.as_ref().map(|process| process.kind))
    }

    /// The process of this generation, whatever it is for.
    pub(super) fn find(&mut self, generation: Generation) -> Option<&mut Process> {
        self.live
            .iter_mut()
            .chain(self.candidate.iter_mut())
            .chain(self.draining.iter_mut())
            .find(|process| process.generation == generation)
    }

    /// Nobody has a process and nobody is about to.
    pub(super) fn idle(&self) -> bool {
        self.live.is_none()
            && self.candidate.is_none()
            && self.draining.is_empty()
            && self.pending.is_none()
    }

    /// The artifacts that may still be launched.
    pub(super) fn artifacts(&self) -> impl Iterator<Item = &ArtifactRef> {
        self.live
            .iter()
            .chain(self.candidate.iter())
            .chain(self.draining.iter())
            .map(|process| &process.artifact)
            .chain(self.pending.iter().map(|launch| &launch.artifact))
            .chain(self.last_good.iter())
    }

    /// The next moment at which a deadline or a back-off ends.
    pub(super) fn due(&self) -> Option<Moment> {
        self.live
            .iter()
            .chain(self.candidate.iter())
            .chain(self.draining.iter())
            .filter_map(|process| process.deadline)
            .chain(
                self.pending
                    .iter()
                    .filter(|launch| !launch.due)
                    .map(|launch| launch.not_before),
            )
            .min()
    }

    /// The pending launch has its place: who leaves is gone, and nobody else is a candidate.
    pub(super) fn may_launch(&self) -> bool {
        self.draining.is_empty() && self.candidate.is_none()
    }
}
