//! The one place where builds happen, one at a time: knows what differs from what the last build
//! used, whether that is a reason to build and since when, what runs and what is requested next.
//!
//! What counts is content. A change is one only as long as it differs from what the last finished
//! build began with; what is written while a build runs is compared with that build's beginning.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::before_build::{BeforeBuild, Stage};
use super::model::{
    ArtifactRef, Cause, Change, ChangeKind, Changes, Content, Generation, Moment, Writer,
};
use super::own_writing::OwnWriting;
use super::{OnChange, Policy};

/// How often the quiet period is doubled at most.
const LONGER: u32 = 4;
/// What git does is over when it has done nothing for so long.
const GIT_IS_DONE: Duration = Duration::from_secs(1);

/// A build that is wanted.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// When its first event came.
    pub(super) first: Moment,
    /// When its last event came.
    pub(super) last: Moment,
    /// What it is for beside changed files.
    reason: Option<Cause>,
    /// Restart even if the program turns out to be the same.
    pub(super) forced: bool,
    /// Start the app again even if there is no new program in the end.
    pub(super) restart: bool,
}

impl Request {
    fn new(now: Moment) -> Self {
        Self {
            first: now,
            last: now,
            reason: None,
            forced: false,
            restart: false,
        }
    }

    /// A reason that came later. The wider one is told.
    fn merge(&mut self, reason: Option<Cause>) {
        match (&mut self.reason, reason) {
            (Some(Cause::Changed(paths)), Some(Cause::Changed(more))) => add(paths, more),
            (None | Some(Cause::Start | Cause::Sibling(_)), reason @ Some(_))
            | (Some(Cause::Changed(_)), reason @ Some(Cause::Rescan | Cause::Asked)) => {
                self.reason = reason;
            }
            _ => {}
        }
    }

    /// Why it is built, with these changes.
    fn cause(&self, changes: &Changes) -> Cause {
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

    /// Nothing but changed files is a reason for it.
    fn is_for_changes(&self) -> bool {
        self.reason.is_none() && !self.forced
    }
}

/// Every path is named once, in order.
fn add(paths: &mut Vec<PathBuf>, more: Vec<PathBuf>) {
    for path in more {
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
}

/// A build under way.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) generation: Generation,
    pub(super) started: Moment,
    pub(super) request: Request,
    /// What it uses and the last finished one did not.
    pub(super) changes: Changes,
    pub(super) cause: Cause,
    /// How long the user's `before_build` took.
    pub(super) prepared: Option<Duration>,
    /// What its result is compared with; kept until it is over.
    pub(super) baseline: Option<ArtifactRef>,
    /// Cargo reads the project: a write to `Cargo.lock` is its own.
    pub(super) reading: bool,
    /// It was told to end; its result is worthless.
    cancelled: bool,
}

/// At most one build runs, at most one is requested, and both know why.
#[derive(Clone, Debug, Default)]
pub(super) struct BuildSlot {
    requested: Option<Request>,
    running: Option<Running>,
    /// What differs from what the running build began with, or else the last finished one.
    dirty: Changes,
    /// So many builds in a row were cancelled.
    cancelled: u32,
    /// The last one of them, until another one takes its place.
    replaced: Option<Generation>,
    /// Git may do more until then.
    git_until: Moment,
    /// What may be the build's own writing waits so long for a build that is for nothing else.
    own_until: Moment,
    /// A source is missing or empty since the build began, and is waited for until then.
    doubt: Option<Moment>,
    /// How late a change may be noticed that `before_build` made.
    pub(super) lag: Duration,
    own: OwnWriting,
    before_build: BeforeBuild,
    closed: bool,
}

/// What came of a build that is over.
#[derive(Debug)]
pub(super) enum Over {
    /// Its result counts.
    Finished(Running),
    /// Its result must not be used.
    Cancelled,
    /// It was no build of ours.
    Unknown,
}

impl BuildSlot {
    /// Asks for a build. Returns the running one, if that became worthless by it.
    pub(super) fn request(
        &mut self,
        now: Moment,
        cause: Cause,
        forced: bool,
        on_change: OnChange,
    ) -> Option<Generation> {
        if cause == Cause::Asked {
            self.own.forget();
        }
        let request = self.requested.get_or_insert_with(|| Request::new(now));
        request.last = now;
        request.forced |= forced;
        request.merge(Some(cause));
        self.outdated(on_change)
    }

    /// The build that runs or is requested, if there is one, is to bring a new start, whatever
    /// becomes of it.
    pub(super) fn restart(&mut self) -> bool {
        let running = self.running.iter_mut().map(|running| &mut running.request);
        let mut requests = running.chain(self.requested.iter_mut());
        let first = requests.next();
        first
            .map(|request| (request.forced, request.restart) = (true, true))
            .is_some()
    }

    /// Takes in changed paths; `starting`: a generation is about to be live. Returns the running
    /// build, if that became worthless by them.
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
            let differs = self.dirty.get(&change.path).is_some();
            if self.before_build.writes(&change.path) {
                continue;
            }
            match (change.kind.is_source(), self.running.is_some()) {
                (true, true) => {
                    let ends = self.own.source_during_build(change) && differs;
                    match change.now {
                        // It may be the middle of a save, which may leave the same bytes.
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
            self.outdated(policy.on_change)
        } else {
            None
        }
    }

    fn doubt(&mut self, until: Moment) {
        self.doubt = Some(self.doubt.map_or(until, |known| known.max(until)));
    }

    /// A source is still missing, or empty, that was not when the build began: it became worthless,
    /// and because of what.
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
        let stale = self.outdated(policy.on_change)?;
        Some((stale, missing.paths()))
    }

    /// Git did something to the files of the project so long ago, and is not done yet.
    pub(super) fn git_works(&mut self, now: Moment, ago: Duration) {
        self.git_until = self.git_until.max((now + GIT_IS_DONE).saturating_sub(ago));
    }

    /// What is there again as it was used is no reason to build.
    fn drop_if_empty(&mut self, now: Moment) {
        let for_changes = |request: &Request| request.is_for_changes() && !request.restart;
        if self.running.is_none()
            && self.requested.as_ref().is_some_and(for_changes)
            && !self.is_wanted(now)
        {
            self.requested = None;
        }
    }

    /// Something differs that is worth a build.
    fn is_wanted(&self, now: Moment) -> bool {
        self.dirty.iter().any(|changed| {
            changed.kind != ChangeKind::Guess || !self.own.is_silent(now, &changed.path)
        })
    }

    /// Changes of this guess are no reason to build, as things are.
    pub(super) fn is_silent(&self, now: Moment, path: &Path) -> bool {
        self.own.is_silent(now, path)
    }

    /// Nothing runs or starts any more: what the build and the start have written themselves is told
    /// from what is still to be built.
    pub(super) fn settle(&mut self, now: Moment) {
        if self.running.is_none() && self.own.settle(now) {
            self.requested.get_or_insert_with(|| Request::new(now));
            self.drop_if_empty(now);
        }
    }

    /// A process of the app has this open for writing.
    pub(super) fn app_writes(&mut self, now: Moment, path: &Path) {
        self.own.app_writes(path);
        self.drop_if_empty(now);
    }

    /// What was found to be written by the build or the app, each place once.
    pub(super) fn own_writing(&mut self) -> Vec<(PathBuf, Writer)> {
        self.own.news()
    }

    fn outdated(&mut self, on_change: OnChange) -> Option<Generation> {
        match on_change {
            OnChange::Cancel => self.cancel(),
            OnChange::Queue => None,
        }
    }

    /// The running build is not wanted any more: its generation, if it was not told before.
    pub(super) fn cancel(&mut self) -> Option<Generation> {
        let running = self.running.as_mut().filter(|running| !running.cancelled)?;
        running.cancelled = true;
        let generation = running.generation;
        self.cancelled += 1;
        Some(generation)
    }

    /// Forgets what was requested, now and later: hotrun ends.
    pub(super) fn close(&mut self) {
        self.give_up();
        self.replaced = None;
        self.closed = true;
    }

    /// Forgets what was requested: it can't be built before something changes.
    pub(super) fn give_up(&mut self) -> Option<Request> {
        self.before_build.reset();
        self.requested.take()
    }

    /// When the next build starts, if nothing more comes.
    pub(super) fn due(&self, policy: &Policy) -> Option<Moment> {
        if self.running.is_some() {
            return self.doubt;
        }
        let request = self.requested.as_ref()?;
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
        // Editors leave an empty file for a moment, or none: what is to be in it comes at once.
        let unfinished = |content: Content| content == Content::Empty;
        let unfinished = self.dirty.iter().any(|changed| unfinished(changed.now));
        // Where several builds were written over, more is about to be written.
        let debounce = if unfinished {
            policy.max_wait
        } else {
            policy.debounce * (1 << self.cancelled.min(LONGER))
        };
        let quiet = (request.last + debounce).min(request.first + policy.max_wait);
        let own_until = if self.is_for_own() {
            self.own_until
        } else {
            Moment::ZERO
        };
        quiet.max(self.git_until).max(own_until)
    }

    /// Whether the user's command has to run before the requested build; if so, it is begun.
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

    /// The command has failed: what was requested can't be built before something changes, unless
    /// that happened while it ran.
    /// Returns what is given up.
    pub(super) fn before_build_failed(&mut self) -> Option<Request> {
        if self.before_build.failed() {
            return None;
        }
        self.replaced = None;
        self.give_up()
    }

    /// The command has ended well.
    pub(super) fn before_build_ended(&mut self, now: Moment) {
        self.before_build.ended(now);
        // What was requested may have gone back to what it was meanwhile.
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
        let prepared = self.before_build.took(now);
        let changes = std::mem::take(&mut self.dirty);
        let told = self.told(now, &changes);
        let request = self.give_up()?;
        self.replaced = None;
        self.doubt = None;
        let cause = request.cause(&told);
        let guesses = told.iter().all(|one| one.kind == ChangeKind::Guess);
        let asked = !request.is_for_changes();
        self.own.build_begins(now, &told.paths(), asked, guesses);
        Some(self.running.insert(Running {
            generation: generation(),
            started: now,
            request,
            changes,
            cause,
            prepared,
            baseline: None,
            reading: false,
            cancelled: false,
        }))
    }

    /// The changes that are told as the cause of a build: what the app writes itself is taken in, but
    /// is no cause.
    fn told(&self, now: Moment, changes: &Changes) -> Changes {
        let mut told = changes.clone();
        told.retain(|one| {
            let silent = one.kind == ChangeKind::Guess && self.own.is_silent(now, &one.path);
            !silent && !self.before_build.writes(&one.path)
        });
        told
    }

    /// The running build, if it is this one and its news are still wanted.
    pub(super) fn current(&mut self, generation: Generation) -> Option<&mut Running> {
        self.running
            .as_mut()
            .filter(|running| running.generation == generation && !running.cancelled)
    }

    /// What the running build's result is compared with.
    pub(super) fn baseline(&self) -> Option<&ArtifactRef> {
        self.running.as_ref()?.baseline.as_ref()
    }

    /// Cargo reads the project just now.
    pub(super) fn reading(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.reading)
    }

    /// The build is over. What a cancelled one was to build is requested again, with the newer
    /// changes, unless all of it is as it was before.
    pub(super) fn done(&mut self, now: Moment, generation: Generation) -> Over {
        let is_this = |running: &mut Running| running.generation == generation;
        let Some(running) = self.running.take_if(is_this) else {
            return Over::Unknown;
        };
        self.doubt = None;
        let verdict = self.own.build_is_over(running.cancelled);
        self.dirty
            .retain(|changed| !verdict.own.contains(&changed.path));
        for (path, now) in verdict.rewritten {
            self.dirty.add(&Change {
                path,
                kind: ChangeKind::Source,
                before: None,
                now,
                script: None,
            });
        }
        self.own_until = now + verdict.wait;
        if !running.cancelled {
            self.cancelled = 0;
            self.drop_if_empty(now);
            return Over::Finished(running);
        }
        if self.closed {
            return Over::Cancelled;
        }
        self.replaced = Some(generation);
        let newer = std::mem::replace(&mut self.dirty, running.changes);
        self.dirty.extend(newer);
        let mut request = running.request;
        if let Some(newer) = self.requested.take() {
            // The quiet period is that of the newer changes: the older ones have had theirs.
            (request.first, request.last) = (newer.first, newer.last);
            request.forced |= newer.forced;
            request.restart |= newer.restart;
            request.merge(newer.reason);
        }
        self.requested = Some(request);
        self.drop_if_empty(now);
        Over::Cancelled
    }

    /// All that the last cancelled build was for is again as it was before: its generation, once.
    pub(super) fn nothing_to_build(&mut self) -> Option<Generation> {
        let busy = self.busy();
        let replaced = self.replaced.take_if(|_| !busy)?;
        self.cancelled = 0;
        Some(replaced)
    }

    /// A build runs or is requested.
    pub(super) fn busy(&self) -> bool {
        self.running.is_some() || self.requested.is_some()
    }

    /// A build runs.
    pub(super) fn running(&self) -> bool {
        self.running.is_some()
    }
}
