//! The generations that have processes (live, candidate, draining) and the pending launch. Pure
//! bookkeeping with the rules of the swap; `mod.rs` gives it events.

use std::time::Duration;

use super::action::Action;
use super::event::{Answer, Open};
use super::model::{ArtifactRef, Cause, Exit, Generation, JobId, Moment, Phases};
use super::slots::Slot;

/// Why a process is started, as far as it decides what its failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A build produced it.
    Built,
    /// Live died and is started again.
    Restart,
    /// Last-good takes the place of a failed program.
    Rollback,
}

/// The state of the user's `before_start` for a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prepared {
    /// `before_start` has not run yet.
    No,
    /// `before_start` is running, since then.
    Waits(JobId, Moment),
    /// `before_start` has succeeded, or there is none.
    Yes,
}

/// What a launch knows of a debugger attached to live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Debugger {
    /// Not looked for yet.
    #[default]
    Unknown,
    /// Being looked for.
    Sought,
    /// No debugger is attached.
    Absent,
    /// A debugger is attached, the user was told, and the launch waits until it detaches.
    Awaited,
    /// The user asked for the launch regardless.
    Ignored,
}

/// A pending launch: it waits for a back-off, or until earlier generations are gone.
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
    /// The back-off has passed.
    pub(super) due: bool,
    /// Live is stopped first.
    pub(super) exclusive: bool,
    pub(super) prepared: Prepared,
    pub(super) debugger: Debugger,
}

/// What the generation was told about ending.
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
    /// The slot whose sockets it has.
    pub(super) slot: Slot,
    pub(super) artifact: ArtifactRef,
    pub(super) cause: Cause,
    pub(super) kind: Kind,
    pub(super) phases: Phases,
    pub(super) launched: Moment,
    /// When it became live.
    pub(super) live_since: Option<Moment>,
    /// Candidate: `ready_timeout`. Draining: `stop_timeout`. Live: the end of its probation.
    pub(super) deadline: Option<Moment>,
    pub(super) told: Told,
    /// Its open connections when last seen, since it was quiesced.
    pub(super) open: Open,
    /// When it was quiesced, then when it got the stop signal.
    pub(super) asked: Option<Moment>,
    /// How its main process ended.
    pub(super) ended: Option<Exit>,
    pub(super) suspended: bool,
    /// Its first process has ended with success, and the processes that it left behind are the app now.
    pub(super) background: bool,
    /// The last answer to the HTTP readiness probe.
    pub(super) answer: Option<Answer>,
    /// Signals passed on to live while this was a candidate, which may not have handled them yet; sent
    /// when it becomes live.
    pub(super) missed: Vec<i32>,
    /// The next candidate, not the time limit, ended its drain.
    pub(super) cut_for_next: bool,
}

impl Process {
    /// How long it has run.
    pub(super) fn ran(&self, now: Moment) -> Duration {
        now.saturating_sub(self.launched)
    }

    /// It is a candidate that a newer one supersedes, and is quiesced before it is killed.
    pub(super) fn is_superseded(&self) -> bool {
        self.cut_for_next && self.told == Told::Nothing
    }

    /// Marks it as killed; returns the action, the first time.
    pub(super) fn kill(&mut self) -> Option<Action> {
        self.deadline = None;
        let told = std::mem::replace(&mut self.told, Told::Kill);
        (told != Told::Kill).then_some(Action::Kill(self.generation))
    }
}

/// All processes. At most two generations have any: live with a candidate, or live with one draining;
/// the pending launch waits until there is room.
#[derive(Clone, Debug, Default)]
pub(super) struct Swap {
    pub(super) live: Option<Process>,
    pub(super) candidate: Option<Process>,
    pub(super) draining: Vec<Process>,
    pub(super) pending: Option<Launch>,
    /// The newest build or candidate has failed: parked connections keep waiting for a fix.
    pub(super) failed: bool,
    /// The newest artifact that stayed live through its probation, or until it was replaced.
    pub(super) last_good: Option<ArtifactRef>,
    /// The newest that stayed live through its probation: what is left if the last good one was replaced
    /// too early for that, and fails too.
    pub(super) proved: Option<ArtifactRef>,
}

impl Swap {
    /// The newest artifact that runs or is about to: what a new build is compared with.
    pub(super) fn newest(&self) -> Option<&ArtifactRef> {
        self.pending
            .as_ref()
            .map(|launch| &launch.artifact)
            .or(self.candidate.as_ref().map(|process| &process.artifact))
            .or(self.live.as_ref().map(|process| &process.artifact))
    }

    /// Why the pending launch, or the candidate, is started.
    pub(super) fn unproved(&self) -> Option<Kind> {
        let pending = self.pending.as_ref().map(|launch| launch.kind);
        pending.or(self.candidate.as_ref().map(|process| process.kind))
    }

    /// The process of this generation, in whatever state.
    pub(super) fn find(&mut self, generation: Generation) -> Option<&mut Process> {
        self.live
            .iter_mut()
            .chain(self.candidate.iter_mut())
            .chain(self.draining.iter_mut())
            .find(|process| process.generation == generation)
    }

    /// No generation has a process, and no launch is pending.
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
            .chain(self.proved.iter())
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

    /// The pending launch may start: nothing is draining, and there is no candidate.
    pub(super) fn may_launch(&self) -> bool {
        self.draining.is_empty() && self.candidate.is_none()
    }
}
