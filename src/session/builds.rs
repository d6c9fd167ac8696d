//! Events of changes and builds: when a build starts, when it is cancelled, and what follows from its
//! result.

use std::path::PathBuf;
use std::time::Duration;

use super::Session;
use super::action::{Action, Next, View};
use super::build_slot::{Over, Running};
use super::event::BuildNews;
use super::model::{
    ArtifactRef, BuildOutcome, Cause, Change, ChangeKind, Ending, Generation, Handover, Job,
    Moment, Occasion, Phases,
};
use super::reason::Reason;
use super::swap::{Debugger, Kind, Launch, Prepared};

/// So many waits for another cargo are no chance.
const OFTEN: u32 = 3;
/// A build that takes longer is slow, and after so many of them hotrun says what would help.
const SLOW: Duration = Duration::from_millis(1500);
const MANY: u32 = 10;

impl Session {
    pub(super) fn changed(&mut self, now: Moment, changes: Vec<Change>) {
        if self.ending.is_some() {
            return;
        }
        let starting = self.is_starting();
        let (changes, others): (Vec<Change>, Vec<Change>) =
            changes.into_iter().partition(|change| change.kind.builds());
        let (rest, others): (Vec<Change>, Vec<Change>) = others
            .into_iter()
            .partition(|change| matches!(change.kind, ChangeKind::Rest(_)));
        if !others.is_empty() {
            // An app may write such a file whenever it starts, and must not be started again for that
            // each time.
            self.reactions.add(now, others, &self.policy, starting);
            if let Some((path, wait)) = self.reactions.found_loop() {
                self.show(View::Loop { path, wait });
            }
        }
        let reading = self.builds.reading();
        // Cargo writes `Cargo.lock` itself whenever it reads the project.
        let known = self.lock;
        let ours = |change: &Change| {
            let as_read = change.is_same() || Some(change.now) == known;
            change.kind == ChangeKind::Lock && (reading || as_read)
        };
        let changes: Vec<Change> = changes.into_iter().filter(|change| !ours(change)).collect();
        let building = self.builds.running();
        let reloads = |change: &Change| change.kind.reloads() && (building || !change.is_same());
        self.stale_project |= changes.iter().any(reloads);
        let was_busy = self.builds.busy();
        let stale = self.builds.add(now, &changes, starting, &self.policy);
        if self.builds.busy() && (stale.is_some() || !was_busy) {
            self.backoff.reset();
            self.hold_again();
        }
        self.look_for_writers(now, &changes);
        // Guesses may have come along, and end no build.
        let ends =
            |change: &Change| change.kind.is_source() && (!change.is_same() || change.was_away());
        let differing = changes.into_iter().filter(ends);
        let paths = differing.map(|change| change.path).collect();
        self.cancel(stale, Cause::Changed(paths));
        let busy = self.builds.busy();
        self.hints.saw(now, &rest, busy);
    }

    /// Asks whether live has one of these guesses open for writing, which then is no reason to build. What
    /// is written during a build or a start is silent until that is over.
    fn look_for_writers(&mut self, now: Moment, changes: &[Change]) {
        let Some(live) = &self.swap.live else {
            return;
        };
        let counts = |one: &&Change| {
            let guess = one.kind == ChangeKind::Guess && !one.is_same();
            guess && !self.builds.is_silent(now, &one.path)
        };
        let guesses = changes.iter().filter(counts);
        let paths: Vec<PathBuf> = guesses.map(|one| one.path.clone()).collect();
        if !paths.is_empty() {
            let generation = live.generation;
            self.out.push(Action::FindWriter { generation, paths });
        }
    }

    /// A process of the app has these files open for writing.
    pub(super) fn app_writes(&mut self, now: Moment, paths: &[PathBuf]) {
        for path in paths {
            self.builds.app_writes(now, path);
        }
    }

    /// A candidate runs or a launch is pending.
    fn is_starting(&self) -> bool {
        self.swap.candidate.is_some() || self.swap.pending.is_some()
    }

    /// Judges what was written during a build or a start once that is over, and shows what was found.
    pub(super) fn settle(&mut self, now: Moment) {
        if !self.is_starting() && self.ending.is_none() {
            self.builds.settle(now);
        }
        if let Some(generation) = self.builds.nothing_to_build() {
            let next = self.next_step();
            self.show(View::NothingToBuild { generation, next });
        }
        if let Some((generation, paths)) = self.builds.in_doubt(now, &self.policy) {
            self.cancel(Some(generation), Cause::Changed(paths));
        }
        for (path, writer) in self.builds.own_writing() {
            self.show(View::OwnWriting { path, writer });
        }
        let busy = self.builds.busy();
        if let Some((path, cure)) = self.hints.due(now, busy) {
            self.show(View::NoDependents { path, cure });
        }
    }

    pub(super) fn request(&mut self, now: Moment, cause: Cause, forced: bool) {
        if self.ending.is_some() {
            return;
        }
        self.backoff.reset();
        self.hold_again();
        let stale = self
            .builds
            .request(now, cause.clone(), forced, &self.policy);
        self.cancel(stale, cause);
    }

    /// Builds and restarts; a launch that only waits for a debugger to detach is started instead. Settings
    /// that could not be used are read once more.
    pub(super) fn rebuild(&mut self, now: Moment) {
        self.retry_settings();
        match &mut self.swap.pending {
            Some(launch) if launch.debugger == Debugger::Awaited => {
                launch.debugger = Debugger::Ignored;
            }
            _ => self.request(now, Cause::Asked, true),
        }
    }

    /// Cancels a build whose result a newer change made stale.
    fn cancel(&mut self, stale: Option<Generation>, cause: Cause) {
        if let Some(generation) = stale {
            if self.builds.is_shown(generation) {
                self.show(View::BuildCancelled { generation, cause });
            }
            self.out.push(Action::CancelBuild(generation));
        }
    }

    pub(super) fn start_build(&mut self, now: Moment) {
        if self.builds.begin_before_build(now, &self.policy)
            && let Some(command) = self.policy.hooks.before_build.clone()
        {
            self.run(Job {
                occasion: Occasion::BeforeBuild,
                command,
                generation: None,
                error: None,
            });
        }
        let numbered = self.numbered + 1;
        let load = self.stale_project;
        let Some(running) = self
            .builds
            .start(now, &self.policy, || Generation(numbered))
        else {
            return;
        };
        self.swap.failed = false;
        self.unprepared = false;
        running.reading = load;
        let forced = running.request.forced;
        running.baseline = self.swap.newest().filter(|_| !forced).cloned();
        let generation = running.generation;
        let baseline = running.baseline.clone();
        let cause = running.cause.clone();
        let changed = running.changes.clone();
        self.numbered = numbered;
        // A manifest that changes from here on has to be read by the next build.
        self.stale_project = false;
        if self.builds.is_shown(generation) {
            self.show(View::Building {
                generation,
                cause,
                ago: Duration::ZERO,
            });
        }
        self.out.push(Action::StartBuild {
            generation,
            load,
            baseline,
            changed,
        });
    }

    /// Shows that a build runs, once that is due or it `says` something itself.
    pub(super) fn show_build(&mut self, now: Moment, says: bool) {
        let Some(running) = self.builds.show(now, &self.policy, says) else {
            return;
        };
        let generation = running.generation;
        let ago = now.saturating_sub(running.started);
        let (cause, command) = (running.cause.clone(), running.command.clone());
        self.show(View::Building {
            generation,
            cause,
            ago,
        });
        if let Some(command) = command {
            self.show(View::Build(generation, BuildNews::Command(command)));
        }
    }

    /// `before_build` has ended; `failed`: why that is a failure.
    pub(super) fn prepared_to_build(&mut self, now: Moment, failed: Option<Reason>) {
        let Some(reason) = failed else {
            return self.builds.before_build_ended(now);
        };
        let given_up = self.builds.before_build_failed();
        self.job_failed(Occasion::BeforeBuild, reason);
        if given_up.is_some_and(|request| request.restart) {
            self.start_again(now, Cause::Asked);
        }
        if self.policy.once {
            self.quit(now, Ending::BuildFailed);
        }
    }

    pub(super) fn build_news(&mut self, now: Moment, generation: Generation, news: BuildNews) {
        match news {
            BuildNews::Done(outcome) => self.built(now, generation, outcome),
            BuildNews::Loaded(scope) => {
                self.lock = scope.seen.and_then(|seen| seen.lock);
                if let Some(running) = self.builds.current(generation) {
                    running.reading = false;
                    self.out.push(Action::Rewatch(scope));
                }
            }
            // These inputs stay right, whatever became of the build.
            BuildNews::Inputs(scope) => self.out.push(Action::Rewatch(scope)),
            BuildNews::Command(command) if !self.builds.is_shown(generation) => {
                if let Some(running) = self.builds.current(generation) {
                    running.command = Some(command);
                }
            }
            news => {
                if self.builds.current(generation).is_some() {
                    self.show_build(now, true);
                    let blocked_on = match &news {
                        BuildNews::Blocked(on) => on.clone(),
                        _ => None,
                    };
                    self.show(View::Build(generation, news));
                    self.count_waits(blocked_on);
                }
            }
        }
    }

    /// Where another cargo is waited for again and again, says once how that can be ended.
    fn count_waits(&mut self, blocked_on: Option<String>) {
        // The lock on all downloaded packages is the same for every directory.
        let Some(on) = blocked_on.filter(|on| on.contains("directory")) else {
            return;
        };
        self.blocked += 1;
        if self.blocked == OFTEN {
            self.show(View::OftenBlocked(on));
        }
    }

    /// Where builds are slow again and again, says once what would help.
    fn count_slow(&mut self, took: Duration, cause: &Cause) {
        // The first one compiles everything.
        if self.policy.fast || took <= SLOW || *cause == Cause::Start {
            return;
        }
        self.slow += 1;
        if self.slow == MANY {
            self.show(View::SlowBuilds(MANY, SLOW));
        }
    }

    /// The build that has ended, unless it was cancelled.
    fn finished_build(
        &mut self,
        now: Moment,
        generation: Generation,
        outcome: &BuildOutcome,
    ) -> Option<Running> {
        match self.builds.done(now, generation) {
            Over::Finished(running) => Some(*running),
            Over::Cancelled { shown } => {
                let has_left_nothing = !shown && *outcome == BuildOutcome::Cancelled;
                if has_left_nothing && self.numbered == generation.0 {
                    // It was never told: the next one gets its number.
                    self.numbered -= 1;
                }
                None
            }
            Over::Unknown => None,
        }
    }

    fn built(&mut self, now: Moment, generation: Generation, outcome: BuildOutcome) {
        // If the build ended before the project was read, the next one has to read it.
        self.stale_project |= self.builds.reading();
        if self.builds.current(generation).is_some() {
            self.show_build(now, true);
        }
        let finished = self.finished_build(now, generation, &outcome);
        let Some(running) = finished.filter(|_| self.ending.is_none()) else {
            // Cancelled, stale, or hotrun ends: the artifact will never be launched.
            if let BuildOutcome::Built {
                artifact,
                unchanged: false,
                ..
            } = outcome
            {
                self.out.push(Action::Discard(artifact));
            }
            return;
        };
        let took = now.saturating_sub(running.started);
        let cause = running.cause.clone();
        match outcome {
            BuildOutcome::Built {
                artifact,
                unchanged,
                ..
            } => {
                self.past.built(generation, took);
                self.count_slow(took, &cause);
                self.remember(&artifact);
                self.newest_built = Some(artifact.built_by);
                let runs = self.runs(&artifact);
                match runs {
                    Some(runs) if unchanged && !running.request.forced => {
                        self.show(View::Unchanged {
                            generation,
                            running: runs,
                            took,
                            cause,
                        });
                    }
                    _ => {
                        let waited = running.started.saturating_sub(running.request.first);
                        let detect = waited.saturating_sub(running.prepared.unwrap_or_default());
                        let phases = Phases {
                            detect: Some(detect).filter(|_| cause != Cause::Start),
                            build: Some(took),
                            hooks: running.prepared,
                            ..Phases::default()
                        };
                        self.swap.pending = Some(Launch {
                            generation: Some(generation),
                            artifact,
                            cause,
                            kind: Kind::Built,
                            phases,
                            since: now,
                            not_before: now,
                            due: false,
                            exclusive: self.is_exclusive(),
                            prepared: Prepared::No,
                            debugger: if running.request.asked {
                                Debugger::Ignored
                            } else {
                                Debugger::default()
                            },
                        });
                    }
                }
            }
            BuildOutcome::Failed { reason } => {
                self.swap.failed = true;
                let next = if self.policy.once {
                    Next::End
                } else {
                    self.next_step()
                };
                let told = Some(reason.to_string());
                self.show(View::BuildFailed {
                    generation,
                    reason,
                    took,
                    cause,
                    next,
                });
                self.hook(Occasion::OnError, Some(generation), told);
                if self.policy.once {
                    self.quit(now, Ending::BuildFailed);
                }
                if running.request.restart {
                    self.start_again(now, running.cause);
                }
            }
            // The build was cancelled though the session did not ask for that: it is requested again
            // rather than lost.
            BuildOutcome::Cancelled => self.request(now, cause, running.request.forced),
        }
    }

    /// The generation that runs this artifact.
    fn runs(&self, artifact: &ArtifactRef) -> Option<Generation> {
        self.swap
            .candidate
            .iter()
            .chain(self.swap.live.iter())
            .find(|process| process.artifact.built_by == artifact.built_by)
            .map(|process| process.generation)
    }

    /// What happens next when no new program came of this.
    pub(super) fn next_step(&self) -> Next {
        match (&self.swap.live, &self.swap.candidate, &self.swap.pending) {
            (Some(live), _, _) => Next::Keeps(live.generation),
            (None, None, Some(launch)) if launch.kind == Kind::Rollback => {
                Next::Rollback(launch.artifact.built_by)
            }
            (None, None, None) if !self.builds.busy() => Next::Wait,
            _ => Next::Continue,
        }
    }

    pub(super) fn is_exclusive(&self) -> bool {
        match self.policy.handover {
            Handover::StopFirst => true,
            Handover::Overlap => !self.policy.serving,
            Handover::Auto => self.exclusive || !self.policy.serving,
        }
    }
}
