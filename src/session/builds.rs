//! What changes and builds lead to: when a build starts, when one is not wanted any more, and what
//! is done with its result.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Session;
use super::action::{Action, Next, View};
use super::event::BuildNews;
use super::model::{
    ArtifactRef, BuildOutcome, Cause, Change, ChangeKind, ChangeSet, Ending, Generation, Handover,
    Job, Moment, Occasion, Phases,
};
use super::swap::{Debugger, Kind, Launch, Prepared};

/// Endings of files that apps read when they start.
const INPUTS: [&str; 24] = [
    "css", "csv", "ftl", "graphql", "hbs", "html", "ico", "j2", "jinja", "jinja2", "jpg", "js",
    "json", "mjs", "png", "proto", "sql", "svg", "tera", "toml", "ts", "webp", "yaml", "yml",
];

fn is_input(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| INPUTS.contains(&ending)) && !path.ends_with("Cargo.toml")
}

impl Session {
    pub(super) fn changed(&mut self, now: Moment, changes: Vec<Change>) {
        if self.ending.is_some() {
            return;
        }
        let (changes, others): (Vec<Change>, Vec<Change>) =
            changes.into_iter().partition(|change| change.kind.builds());
        if !others.is_empty() {
            // What an app writes when it starts is no reason to start it again.
            let starting = self.swap.candidate.is_some() || self.swap.pending.is_some();
            self.reactions.add(now, others, &self.policy, starting);
            let found = self.reactions.found_loop();
            self.warn_of_loop(found);
        }
        let reading = self.builds.reading();
        let ours = |change: &Change| reading && change.kind == ChangeKind::Lock;
        let changes: Vec<Change> = changes.into_iter().filter(|change| !ours(change)).collect();
        if changes.is_empty() {
            return;
        }
        self.stale_project |= changes.iter().any(|change| change.kind.reloads());
        self.backoff.reset();
        self.hold_again();
        let paths = changes.iter().map(|change| change.path.clone()).collect();
        let stale = self.builds.add(now, changes, self.policy.on_change);
        self.cancel(stale, Cause::Changed(paths));
        let found = self.builds.found_loop();
        self.warn_of_loop(found);
    }

    fn warn_of_loop(&mut self, found: Option<(PathBuf, Duration)>) {
        if let Some((path, wait)) = found {
            self.show(View::Loop { path, wait });
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
            .request(now, cause.clone(), forced, self.policy.on_change);
        self.cancel(stale, cause);
    }

    /// Builds and restarts; what only waits for a debugger to go waits no more instead.
    pub(super) fn rebuild(&mut self, now: Moment) {
        match &mut self.swap.pending {
            Some(launch) if launch.debugger == Debugger::Awaited => {
                launch.debugger = Debugger::Ignored;
            }
            _ => self.request(now, Cause::Asked, true),
        }
    }

    /// Ends a build that a newer change made worthless.
    fn cancel(&mut self, stale: Option<Generation>, cause: Cause) {
        if let Some(generation) = stale {
            self.show(View::BuildCancelled { generation, cause });
            self.out.push(Action::CancelBuild(generation));
        }
    }

    pub(super) fn start_build(&mut self, now: Moment) {
        if self.builds.begin_preparation(now, &self.policy)
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
        running.reading = load;
        running.baseline = self.swap.newest().filter(|_| !running.set.forced).cloned();
        let generation = running.generation;
        let baseline = running.baseline.clone();
        let cause = running.set.cause.clone();
        let changed = self.builds.changed();
        self.numbered = numbered;
        // A manifest that changes from here on is read by the next build.
        self.stale_project = false;
        self.show(View::Building { generation, cause });
        self.out.push(Action::StartBuild {
            generation,
            load,
            baseline,
            changed,
        });
    }

    /// `before_build` has ended, or failed.
    pub(super) fn prepared_to_build(&mut self, now: Moment, failed: Option<String>) {
        let Some(reason) = failed else {
            return self.builds.prepared(now);
        };
        let given_up = self.builds.unprepared();
        self.job_failed(Occasion::BeforeBuild, reason);
        if let Some(set) = given_up.filter(|set| set.restart) {
            self.start_again(now, set.cause);
        }
        if self.policy.once {
            self.quit(now, Ending::BuildFailed);
        }
    }

    pub(super) fn build_news(&mut self, now: Moment, generation: Generation, news: BuildNews) {
        match news {
            BuildNews::Done(outcome) => self.built(now, generation, outcome),
            BuildNews::Loaded(scope) => {
                if let Some(running) = self.builds.current(generation) {
                    running.reading = false;
                    self.out.push(Action::Rewatch(scope));
                }
            }
            // It stays true, whatever became of the build.
            BuildNews::Inputs(scope) => self.out.push(Action::Rewatch(scope)),
            news => {
                if self.builds.current(generation).is_some() {
                    self.show(View::Build(generation, news));
                }
            }
        }
    }

    fn built(&mut self, now: Moment, generation: Generation, outcome: BuildOutcome) {
        // It ended before the project was read.
        self.stale_project |= self.builds.reading();
        let finished = self.builds.done(generation);
        let Some(running) = finished.filter(|_| self.ending.is_none()) else {
            // Cancelled, stale, or hotrun ends: nobody will ever launch it.
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
        let cause = running.set.cause.clone();
        match outcome {
            BuildOutcome::Built {
                artifact,
                unchanged,
                ..
            } => {
                self.remember(&artifact);
                self.newest_built = Some(artifact.built_by);
                let runs = self.runs(&artifact);
                match runs {
                    Some(runs) if unchanged && !running.set.forced => {
                        self.show(View::Unchanged {
                            generation,
                            running: runs,
                            took,
                            cause,
                        });
                        self.advise(&running.set);
                    }
                    _ => {
                        let waited = running.started.saturating_sub(running.set.first);
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
                            alone: self.alone(),
                            prepared: Prepared::No,
                            debugger: if running.set.forced {
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
                    self.standing()
                };
                let told = Some(reason.clone());
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
                if running.set.restart {
                    self.start_again(now, running.set.cause);
                }
            }
            // A build that nobody cancelled says it was: it is asked for again rather than lost.
            BuildOutcome::Cancelled => self.request(now, cause, running.set.forced),
        }
    }

    /// Files that look as if the app read them, and on which no program depends: says once per
    /// directory how to have the app started again for them.
    fn advise(&mut self, set: &ChangeSet) {
        let paths = set.paths();
        let Some(path) = paths
            .first()
            .filter(|_| paths.iter().all(|path| is_input(path)))
        else {
            return;
        };
        let dir = path.parent().map(Path::to_owned).unwrap_or_default();
        if !self.advised.contains(&dir) {
            self.advised.push(dir);
            let path = path.clone();
            self.show(View::NobodyDepends { path });
        }
    }

    /// The generation that runs this very artifact.
    fn runs(&self, artifact: &ArtifactRef) -> Option<Generation> {
        self.swap
            .candidate
            .iter()
            .chain(self.swap.live.iter())
            .find(|process| process.artifact.built_by == artifact.built_by)
            .map(|process| process.generation)
    }

    /// What clients get while nothing new is there.
    pub(super) fn standing(&self) -> Next {
        match (&self.swap.live, &self.swap.candidate, &self.swap.pending) {
            (Some(live), _, _) => Next::Keeps(live.generation),
            (None, None, Some(launch)) if launch.kind == Kind::Rollback => {
                Next::Rollback(launch.artifact.built_by)
            }
            (None, None, None) if !self.builds.busy() => Next::Wait,
            _ => Next::Continue,
        }
    }

    pub(super) fn alone(&self) -> bool {
        match self.policy.handover {
            Handover::StopFirst => true,
            Handover::Overlap => !self.policy.serving,
            Handover::Auto => self.alone || !self.policy.serving,
        }
    }
}
