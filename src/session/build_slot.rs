//! Where builds are requested and run, one at a time: knows what differs from what the last build used,
//! whether and since when that is a reason to build, which build runs and which is requested next.
//!
//! What counts is content. A path is changed only as long as its content differs from the one that the
//! last finished build began with; during a build, from the one that this build began with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::before_build::{BeforeBuild, Stage};
use super::burst::Burst;
use super::model::{
    ArtifactRef, Cause, Change, ChangeKind, Changes, Content, Generation, Moment, Save, Writer,
};
use super::own_writing::OwnWriting;
use super::request::Request;
use super::{OnChange, Policy};

/// An operation of git is over when git has done nothing for so long.
const GIT_IS_DONE: Duration = Duration::from_secs(1);

/// A build under way.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) generation: Generation,
    pub(super) started: Moment,
    pub(super) request: Request,
    /// What differs from what the last finished build used.
    pub(super) changes: Changes,
    pub(super) cause: Cause,
    /// How long the user's `before_build` took.
    pub(super) prepared: Option<Duration>,
    /// The artifact that its result is compared with; kept until the build is over.
    pub(super) baseline: Option<ArtifactRef>,
    /// Cargo reads the project: a write to `Cargo.lock` is its own.
    pub(super) reading: bool,
    /// It is shown that it runs: not for as long as it may be cancelled by what else belongs to its burst
    /// of changes, which leaves no trace then.
    shown: bool,
    /// The command that cargo was started with, to be shown after that.
    pub(super) command: Option<String>,
    /// The build was told to end; its result is stale.
    cancelled: bool,
}

impl Running {
    /// When it is shown, if it is not yet.
    fn shown_at(&self, policy: &Policy) -> Option<Moment> {
        let is_open = !self.shown && !self.cancelled;
        is_open.then(|| self.started + Burst::longest(policy))
    }
}

/// At most one running and one requested build, and what has changed.
#[derive(Clone, Debug, Default)]
pub(super) struct BuildSlot {
    requested: Option<Request>,
    running: Option<Running>,
    /// What differs from what the running build began with, or without one, the last finished build.
    dirty: Changes,
    burst: Burst,
    /// The last build that was cancelled and shown, until another one takes its place.
    replaced: Option<Generation>,
    /// Git may do more until then.
    git_until: Moment,
    /// A build that is only for what may be the build's own writing waits until then.
    own_until: Moment,
    /// A source went missing or empty during the build, which may be the middle of a save: until then
    /// the build is not cancelled for it.
    doubt: Option<Moment>,
    /// How late a change by `before_build` may be noticed (polling).
    pub(super) lag: Duration,
    own: OwnWriting,
    before_build: BeforeBuild,
    /// `before_build` failed, and what was requested was dropped, until a build starts: whether that one
    /// has to restart the app as well.
    unprepared: Option<bool>,
    /// A build has begun, so there is something that used the files as they were before.
    has_begun: bool,
    /// Nothing is built but what the user asks for.
    paused: bool,
    closed: bool,
}

/// What is to be done with the result of a build that is over.
#[derive(Debug)]
pub(super) enum Over {
    /// Its result counts.
    Finished(Box<Running>),
    /// Its result must not be used.
    Cancelled {
        /// It was shown that it runs.
        shown: bool,
    },
    /// Not the running build.
    Unknown,
}

impl BuildSlot {
    /// Requests a build. Returns the running one if it is to be cancelled.
    pub(super) fn request(
        &mut self,
        now: Moment,
        cause: Cause,
        forced: bool,
        policy: &Policy,
    ) -> Option<Generation> {
        self.burst.goes_on(now, policy);
        if cause == Cause::Asked {
            self.own.forget();
        }
        let was_held_back = self.is_held_back();
        let request = self.requested.get_or_insert_with(|| Request::new(now));
        request.last = now;
        if was_held_back && cause == Cause::Asked {
            request.first = now;
        }
        request.forced |= forced;
        request.asked |= cause == Cause::Asked;
        request.merge(Some(cause));
        self.outdated(policy)
    }

    /// Has the running or requested build followed by a start of the app, whatever its result. Returns
    /// whether there is such a build.
    pub(super) fn restart(&mut self) -> bool {
        let paused = self.paused;
        let running = self.running.iter_mut().map(|running| &mut running.request);
        let requested = self.requested.iter_mut();
        let requested = requested.filter(|request| !paused || request.asked);
        let mut requests = running.chain(requested);
        let first = requests.next();
        first
            .map(|request| (request.forced, request.restart) = (true, true))
            .is_some()
    }

    /// Takes in changed paths; `starting`: a candidate runs or a launch is pending. Returns the running
    /// build if it is to be cancelled.
    pub(super) fn add(
        &mut self,
        now: Moment,
        changes: &[Change],
        starting: bool,
        policy: &Policy,
    ) -> Option<Generation> {
        self.before_build.saw(changes);
        let waited_for_own = self.is_for_own();
        let mut counts = false;
        let mut worthless = false;
        for change in changes {
            let known = self.dirty.get(&change.path).is_some();
            self.dirty.add(change);
            if self.running.is_some() && change.was_away() {
                // The build may have read what was there meanwhile.
                self.dirty.add_unused(change);
            }
            self.burst.saw(change);
            let differs = self.dirty.get(&change.path).is_some();
            if self.before_build.writes(&change.path) {
                continue;
            }
            match (change.kind.is_source(), self.running.is_some()) {
                (true, true) => {
                    let ends = self.own.source_during_build(change) && differs;
                    match change.now {
                        // This may be the middle of a save that ends with the same bytes.
                        Content::Missing if ends => self.doubt(now + policy.debounce),
                        Content::Empty if ends => self.doubt(now + policy.max_wait),
                        _ => worthless |= ends,
                    }
                    counts = true;
                }
                (true, false) => {
                    if differs {
                        self.own.source_changed(&change.path);
                    }
                    counts |= differs || known;
                }
                (false, true) => self.own.guess_meanwhile(change),
                (false, false) if starting => self.own.guess_meanwhile(change),
                (false, false) => {
                    counts |= differs && !change.is_same() && self.own.guess_changed(now, change);
                    counts |= known && !differs;
                }
            }
        }
        if counts {
            self.burst.goes_on(now, policy);
            let request = self.requested.get_or_insert_with(|| Request::new(now));
            request.last = now;
        }
        let waits_no_more = waited_for_own && !self.is_for_own();
        if let Some(request) = self.requested.as_mut().filter(|_| waits_no_more) {
            // What was put off is built along with this, and is not what took the time.
            request.first = now;
        }
        self.drop_if_empty(now);
        if worthless {
            self.outdated(policy)
        } else {
            None
        }
    }

    /// The writers of these changed files are done.
    pub(super) fn saved(&mut self, paths: &[PathBuf]) {
        for path in paths {
            self.burst.saved(path);
        }
    }

    fn doubt(&mut self, until: Moment) {
        self.doubt = Some(self.doubt.map_or(until, |known| known.max(until)));
    }

    /// Once the doubt has lasted long enough: the running build, to be cancelled, and the sources that
    /// are still missing or empty.
    pub(super) fn in_doubt(
        &mut self,
        now: Moment,
        policy: &Policy,
    ) -> Option<(Generation, Vec<PathBuf>)> {
        self.doubt.take_if(|until| *until <= now)?;
        let mut missing = self.dirty.clone();
        missing.retain(|changed| changed.kind.is_source() && changed.now.is_transitional());
        if missing.is_empty() {
            return None;
        }
        let stale = self.outdated(policy)?;
        Some((stale, missing.paths()))
    }

    /// Git is in the middle of an operation, and did its last step so long ago.
    pub(super) fn git_works(&mut self, now: Moment, ago: Duration) {
        self.git_until = self.git_until.max((now + GIT_IS_DONE).saturating_sub(ago));
    }

    /// Drops the request if all changes that it is for are undone or silent.
    fn drop_if_empty(&mut self, now: Moment) {
        let for_changes = |request: &Request| request.is_for_changes() && !request.restart;
        if self.running.is_none()
            && self.requested.as_ref().is_some_and(for_changes)
            && !self.is_wanted(now)
        {
            self.requested = None;
        }
    }

    /// Some change is a reason to build.
    fn is_wanted(&self, now: Moment) -> bool {
        self.dirty.iter().any(|changed| {
            changed.kind != ChangeKind::Guess || !self.own.is_silent(now, &changed.path)
        })
    }

    /// Changes of this guess are no reason to build at present.
    pub(super) fn is_silent(&self, now: Moment, path: &Path) -> bool {
        self.own.is_silent(now, path)
    }

    /// Nothing is built or started any more: judges which guesses that changed meanwhile are still to be
    /// built for.
    pub(super) fn settle(&mut self, now: Moment) {
        if self.running.is_none() && self.own.settle(now) {
            self.requested.get_or_insert_with(|| Request::new(now));
            self.drop_if_empty(now);
        }
    }

    /// A process of the app has this path open for writing.
    pub(super) fn app_writes(&mut self, now: Moment, path: &Path) {
        self.own.app_writes(path);
        self.drop_if_empty(now);
    }

    /// The places newly found to be own writing, each once.
    pub(super) fn own_writing(&mut self) -> Vec<(PathBuf, Writer)> {
        self.own.news()
    }

    fn outdated(&mut self, policy: &Policy) -> Option<Generation> {
        if policy.on_change == OnChange::Queue || self.paused {
            return None;
        }
        let stale = self.cancel()?;
        if let Some(running) = &self.running {
            self.burst.cancelled(running.started, policy);
        }
        Some(stale)
    }

    /// Marks the running build as cancelled. Returns its generation, unless it was marked before.
    pub(super) fn cancel(&mut self) -> Option<Generation> {
        let running = self.running.as_mut().filter(|running| !running.cancelled)?;
        running.cancelled = true;
        Some(running.generation)
    }

    /// hotrun ends: drops the request, and takes none for cancelled builds any more.
    pub(super) fn close(&mut self) {
        self.give_up();
        self.replaced = None;
        self.closed = true;
    }

    /// Drops the request.
    pub(super) fn give_up(&mut self) -> Option<Request> {
        self.before_build.reset();
        self.requested.take()
    }

    /// When the next build starts, if nothing more changes.
    pub(super) fn due(&self, policy: &Policy) -> Option<Moment> {
        if let Some(running) = &self.running {
            let shown = running.shown_at(policy);
            return self.doubt.into_iter().chain(shown).min();
        }
        let request = self.requested.as_ref().filter(|_| !self.is_held_back())?;
        let quiet = match &request.reason {
            None | Some(Cause::Rescan | Cause::Changed(_)) => self.quiet_at(request, policy),
            Some(Cause::Start | Cause::Sibling(_)) if !self.dirty.is_empty() => {
                self.quiet_at(request, policy)
            }
            _ => request.first,
        };
        match self.before_build.stage {
            Stage::Requested => Some(quiet),
            Stage::Running => None,
            Stage::Ran(at) => {
                let last = request.last.max(at) + policy.debounce + self.lag;
                Some(last.min(at + policy.max_wait + self.lag))
            }
        }
    }

    /// What is requested is for nothing but what may be the build's own writing.
    fn is_for_own(&self) -> bool {
        self.requested.as_ref().is_some_and(Request::is_for_changes)
            && self.own.is_for_own(&self.dirty.paths())
    }

    /// When nothing more is waited for: after a quiet period, or its cap.
    fn quiet_at(&self, request: &Request, policy: &Policy) -> Moment {
        if self.is_at_once(request, policy) {
            return request.last.max(self.git_until);
        }
        let quiet = request.last + self.burst.quiet(&self.dirty, policy);
        let quiet = quiet.min(request.first + policy.max_wait);
        let own_until = if self.is_for_own() {
            self.own_until
        } else {
            Moment::ZERO
        };
        quiet.max(self.git_until).max(own_until)
    }

    /// What is requested waits for nothing. A command of the user is not started for what may be cancelled
    /// at once.
    fn is_at_once(&self, request: &Request, policy: &Policy) -> bool {
        request.is_for_changes()
            && policy.hooks.before_build.is_none()
            && !self.burst.is_long()
            && self.burst.is_finished(&self.dirty)
    }

    /// Whether the user's `before_build` has to run now; if so, it counts as begun.
    pub(super) fn begin_before_build(&mut self, now: Moment, policy: &Policy) -> bool {
        let due = self.due(policy).is_some_and(|due| due <= now);
        let wanted = due && self.running.is_none() && policy.hooks.before_build.is_some();
        let begin = match self.before_build.stage {
            Stage::Requested => wanted,
            Stage::Running => false,
            Stage::Ran(_) => wanted && self.before_build.again(),
        };
        if begin {
            self.before_build.begin(now);
        }
        begin
    }

    /// `before_build` has failed: drops and returns the request, unless something changed meanwhile that
    /// may mend it.
    pub(super) fn before_build_failed(&mut self) -> Option<Request> {
        if self.before_build.failed() {
            return None;
        }
        if !self.has_begun {
            // To take back what made the command fail is a reason to build.
            self.dirty.forget_all_used();
        }
        self.replaced = None;
        let dropped = self.give_up();
        // Where a start was asked for besides, it comes now.
        let forced = dropped
            .as_ref()
            .is_some_and(|one| one.forced && !one.restart);
        self.unprepared = Some(forced || self.unprepared == Some(true));
        dropped
    }

    /// Settings changed, which may mend a `before_build` that fails. Returns whether a build waits for that.
    pub(super) fn configured(&mut self) -> bool {
        self.before_build.configured();
        self.requested.is_none() && self.unprepared.is_some()
    }

    /// `before_build` has succeeded.
    pub(super) fn before_build_ended(&mut self, now: Moment) {
        self.before_build.ended(now);
        // The changes may have been undone meanwhile.
        if self.requested.is_none() {
            self.give_up();
        }
    }

    /// Starts the requested build if it is due.
    pub(super) fn start(
        &mut self,
        now: Moment,
        policy: &Policy,
        generation: impl FnOnce() -> Generation,
    ) -> Option<&mut Running> {
        if self.running.is_some() || self.due(policy)? > now {
            return None;
        }
        let request = self.requested.as_ref()?;
        let shown = !self.is_at_once(request, policy) && !self.burst.is_long();
        let prepared = self.before_build.took(now);
        let changes = std::mem::take(&mut self.dirty);
        let told = self.told(now, &changes);
        let mut request = self.give_up()?;
        request.forced |= self.unprepared.take().unwrap_or_default();
        self.has_begun = true;
        self.replaced = None;
        self.doubt = None;
        let cause = request.cause(&told);
        let guesses = told.iter().all(|one| one.kind == ChangeKind::Guess);
        let asked = !request.is_for_changes();
        self.own.build_begins(now, &told.paths(), asked, guesses);
        self.burst.built(&changes);
        Some(self.running.insert(Running {
            generation: generation(),
            started: now,
            request,
            changes,
            cause,
            prepared,
            baseline: None,
            reading: false,
            shown,
            command: None,
            cancelled: false,
        }))
    }

    /// The running build, if it is to be shown now: its burst is over, or it has something to say.
    pub(super) fn show(&mut self, now: Moment, policy: &Policy, says: bool) -> Option<&Running> {
        let running = self.running.as_mut().filter(|running| !running.cancelled)?;
        let is_due = running.shown_at(policy)? <= now || says;
        running.shown = is_due;
        is_due.then_some(running)
    }

    /// It is shown that this build runs.
    pub(super) fn is_shown(&self, generation: Generation) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|running| running.shown && running.generation == generation)
    }

    /// The changes that are shown as the cause of a build: own writing is built too, but is no cause.
    fn told(&self, now: Moment, changes: &Changes) -> Changes {
        let mut told = changes.clone();
        told.retain(|one| {
            let silent = one.kind == ChangeKind::Guess && self.own.is_silent(now, &one.path);
            !silent && !self.before_build.writes(&one.path)
        });
        told
    }

    /// The running build, if it is this one and not cancelled.
    pub(super) fn current(&mut self, generation: Generation) -> Option<&mut Running> {
        self.running
            .as_mut()
            .filter(|running| running.generation == generation && !running.cancelled)
    }

    /// The artifact that the running build's result is compared with.
    pub(super) fn baseline(&self) -> Option<&ArtifactRef> {
        self.running.as_ref()?.baseline.as_ref()
    }

    /// Cargo is reading the project.
    pub(super) fn reading(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.reading)
    }

    /// The build is over. The changes of a cancelled one are requested again together with the newer
    /// ones, unless all of them are undone.
    pub(super) fn done(&mut self, now: Moment, generation: Generation) -> Over {
        let is_this = |running: &mut Running| running.generation == generation;
        let Some(running) = self.running.take_if(is_this) else {
            return Over::Unknown;
        };
        self.doubt = None;
        let verdict = self.own.build_is_over(running.cancelled);
        for path in &verdict.own {
            self.dirty.remove(path);
        }
        for path in &verdict.changed {
            self.dirty.forget_used(path);
        }
        for (path, now) in verdict.rewritten {
            self.dirty.add(&Change {
                path,
                kind: ChangeKind::Source,
                before: None,
                now,
                save: Save::Finished,
                script: None,
            });
        }
        self.own_until = now + verdict.wait;
        if !running.cancelled {
            self.burst.end();
            self.drop_if_empty(now);
            return Over::Finished(Box::new(running));
        }
        let shown = running.shown;
        if self.closed {
            return Over::Cancelled { shown };
        }
        if shown {
            self.replaced = Some(generation);
        }
        let newer = std::mem::replace(&mut self.dirty, running.changes);
        self.dirty.extend(newer);
        let mut request = running.request;
        if let Some(newer) = self.requested.take() {
            request.follow(newer);
        }
        self.requested = Some(request);
        self.drop_if_empty(now);
        Over::Cancelled { shown }
    }

    /// All that the last cancelled build was for is again as it was before: its generation, once.
    pub(super) fn nothing_to_build(&mut self) -> Option<Generation> {
        let busy = self.running.is_some() || self.requested.is_some();
        if !busy {
            self.burst.end();
        }
        self.replaced.take_if(|_| !busy)
    }

    /// A build runs, or one is requested and not held back.
    pub(super) fn busy(&self) -> bool {
        self.running.is_some() || self.requested.is_some() && !self.is_held_back()
    }

    /// What is requested waits until the user resumes.
    fn is_held_back(&self) -> bool {
        let asked = |request: &Request| request.asked;
        self.paused && !self.requested.as_ref().is_none_or(asked)
    }

    /// From now on nothing is built but what the user asks for.
    pub(super) fn pause(&mut self) {
        self.paused = true;
    }

    /// That is over. What was collected has changed just now, as far as times are measured.
    pub(super) fn resume(&mut self, now: Moment) {
        self.paused = false;
        if let Some(request) = &mut self.requested {
            (request.first, request.last) = (now, now);
        }
    }

    /// How many changed files wait for a build that is held back.
    pub(super) fn collected(&self) -> usize {
        if self.requested.is_some() {
            self.dirty.iter().count()
        } else {
            0
        }
    }

    /// The running build.
    pub(super) fn generation(&self) -> Option<Generation> {
        self.running.as_ref().map(|running| running.generation)
    }

    /// A build runs.
    pub(super) fn running(&self) -> bool {
        self.running.is_some()
    }
}
