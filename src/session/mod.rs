//! The core: events in, actions out. It never waits, never fails, never logs and never reads a
//! clock; all its knobs are in [`Policy`]. What it decides can be read in `scenarios/*.txt`.
//!
//! A build slot collects changes and runs one build at a time; a built program becomes a
//! *launch*, which waits until there is a place for it; a launched one is a *candidate* until it
//! has proved itself, then *live*, and at last *leaving*. Deliberately absent: paths of artifacts,
//! descriptors, process ids, text. They pass through as values, or never come here.

pub mod action;
mod backoff;
mod build_slot;
pub mod event;
pub mod model;
mod swap;

#[cfg(test)]
mod invariants;
#[cfg(test)]
mod scenarios;

use std::time::Duration;

use action::{Action, Evidence, Hint, Next, View};
use backoff::Backoff;
use build_slot::BuildSlot;
use event::{AppNews, BuildNews, Event};
use model::{
    ArtifactRef, BuildOutcome, Cause, Change, ChangeKind, Ending, Exit, Generation, Handover,
    Moment, Phases, Proof,
};
use swap::{Kind, Launch, Process, Swap, Told};

/// What happens to a running build when a newer change comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnChange {
    /// It is ended: a stale program is worthless, and cargo keeps what it finished.
    #[default]
    Cancel,
    /// It runs to its end, then the next one starts.
    Queue,
}

/// The session's knobs; see the settings of the same names.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Quiet period over the whole change set.
    pub debounce: Duration,
    /// Cap of the quiet period.
    pub max_wait: Duration,
    /// What a change does to a running build.
    pub on_change: OnChange,
    /// How a new generation takes over.
    pub handover: Handover,
    /// An address is held for the app.
    pub serving: bool,
    /// How long a candidate may take to prove itself; `None`: as long as it likes.
    pub ready_timeout: Option<Duration>,
    /// How long a leaving generation may finish its work.
    pub stop_timeout: Duration,
    /// How long live must stay up to count as good.
    pub probation: Duration,
    /// Build, start, report and end.
    pub once: bool,
}

/// The state machine. Feed it with [`Session::handle`], wake it at [`Session::due`].
#[derive(Debug)]
pub struct Session {
    policy: Policy,
    numbered: u32,
    launched: Generation,
    builds: BuildSlot,
    swap: Swap,
    backoff: Backoff,
    /// The project model has to be read before the next build.
    stale_project: bool,
    /// What was learned: this program cannot run beside itself.
    alone: bool,
    said_overlap: bool,
    ending: Option<Ending>,
    known: Vec<ArtifactRef>,
    out: Vec<Action>,
}

impl Session {
    /// A session that has done nothing yet. `loaded`: the project model was read before.
    pub fn new(policy: Policy, loaded: bool) -> Self {
        Self {
            policy,
            numbered: 0,
            launched: Generation(0),
            builds: BuildSlot::default(),
            swap: Swap::default(),
            backoff: Backoff::default(),
            stale_project: !loaded,
            alone: false,
            said_overlap: false,
            ending: None,
            known: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Takes in what happened and returns what to do, in order.
    pub fn handle(&mut self, now: Moment, event: Event) -> Vec<Action> {
        match event {
            Event::Begin => self.request(now, Cause::Start, false),
            Event::Changed(changes) => self.changed(now, changes),
            Event::Rescan => {
                self.stale_project = true;
                self.request(now, Cause::Rescan, false);
            }
            Event::Rebuild => self.request(now, Cause::Asked, true),
            Event::Build(generation, news) => self.build_news(now, generation, news),
            Event::App(generation, news) => self.app_news(now, generation, news),
            Event::Quit(ending) => self.quit(now, ending),
            Event::Tick => {}
        }
        self.deadlines(now);
        self.start_build(now);
        self.launch(now);
        self.discard();
        if let Some(ending) = self.ending
            && self.swap.idle()
            && !self.builds.running()
        {
            self.out.push(Action::End(ending));
        }
        std::mem::take(&mut self.out)
    }

    /// When to send the next [`Event::Tick`].
    pub fn due(&self) -> Option<Moment> {
        [self.builds.due(&self.policy), self.swap.due()]
            .into_iter()
            .flatten()
            .min()
    }

    fn show(&mut self, view: View) {
        self.out.push(Action::Show(view));
    }

    fn number(&mut self) -> Generation {
        self.numbered += 1;
        Generation(self.numbered)
    }

    // ---- changes and builds

    fn changed(&mut self, now: Moment, changes: Vec<Change>) {
        let reading = self.builds.reading();
        let ours = |change: &Change| reading && change.kind == ChangeKind::Lock;
        let changes: Vec<Change> = changes.into_iter().filter(|change| !ours(change)).collect();
        if changes.is_empty() {
            return;
        }
        if self.ending.is_some() {
            return;
        }
        self.stale_project |= changes
            .iter()
            .any(|change| change.kind != ChangeKind::Source);
        self.backoff.reset();
        let paths = changes.iter().map(|change| change.path.clone()).collect();
        let stale = self.builds.add(now, changes, self.policy.on_change);
        self.cancel(stale, Cause::Changed(paths));
    }

    fn request(&mut self, now: Moment, cause: Cause, forced: bool) {
        if self.ending.is_some() {
            return;
        }
        self.backoff.reset();
        let stale = self
            .builds
            .request(now, cause.clone(), forced, self.policy.on_change);
        self.cancel(stale, cause);
    }

    /// Ends a build that a newer change made worthless.
    fn cancel(&mut self, stale: Option<Generation>, cause: Cause) {
        if let Some(generation) = stale {
            self.show(View::BuildCancelled { generation, cause });
            self.out.push(Action::CancelBuild(generation));
        }
    }

    fn start_build(&mut self, now: Moment) {
        let numbered = self.numbered + 1;
        let load = self.stale_project;
        let Some(running) = self
            .builds
            .start(now, &self.policy, || Generation(numbered))
        else {
            return;
        };
        running.reading = load;
        running.baseline = self.swap.newest().filter(|_| !running.set.forced).cloned();
        let generation = running.generation;
        let baseline = running.baseline.clone();
        let cause = running.set.cause.clone();
        self.numbered = numbered;
        self.show(View::Building { generation, cause });
        self.out.push(Action::StartBuild {
            generation,
            load,
            baseline,
        });
    }

    fn build_news(&mut self, now: Moment, generation: Generation, news: BuildNews) {
        match news {
            BuildNews::Done(outcome) => self.built(now, generation, outcome),
            BuildNews::Loaded(scope) => {
                if let Some(running) = self.builds.current(generation) {
                    running.reading = false;
                    self.stale_project = false;
                    self.out.push(Action::Rewatch(scope));
                }
            }
            news => {
                if self.builds.current(generation).is_some() {
                    self.show(View::Build(generation, news));
                }
            }
        }
    }

    fn built(&mut self, now: Moment, generation: Generation, outcome: BuildOutcome) {
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
        let took = now - running.started;
        let cause = running.set.cause.clone();
        match outcome {
            BuildOutcome::Built {
                artifact,
                unchanged,
                ..
            } => {
                self.remember(&artifact);
                let runs = self.runs(&artifact);
                match runs {
                    Some(running) if unchanged => {
                        self.show(View::Unchanged {
                            generation,
                            running,
                            took,
                            cause,
                        });
                    }
                    _ => {
                        let phases = Phases {
                            detect: Some(running.started - running.set.first)
                                .filter(|_| cause != Cause::Start),
                            build: Some(took),
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
                        });
                    }
                }
            }
            BuildOutcome::Failed { reason } => {
                let next = if self.policy.once {
                    Next::End
                } else {
                    self.standing()
                };
                self.show(View::BuildFailed {
                    generation,
                    reason,
                    took,
                    cause,
                    next,
                });
                if self.policy.once {
                    self.quit(now, Ending::BuildFailed);
                }
            }
            // A build that nobody cancelled says it was: it is asked for again rather than lost.
            BuildOutcome::Cancelled => self.request(now, cause, running.set.forced),
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
    fn standing(&self) -> Next {
        match (&self.swap.live, &self.swap.candidate, &self.swap.pending) {
            (Some(live), _, _) => Next::Keeps(live.generation),
            (None, None, None) => Next::Wait,
            _ => Next::Continue,
        }
    }

    fn alone(&self) -> bool {
        match self.policy.handover {
            Handover::StopFirst => true,
            Handover::Overlap => !self.policy.serving,
            Handover::Auto => self.alone || !self.policy.serving,
        }
    }

    // ---- launches

    /// Starts what is pending as soon as it has its place, and makes the place.
    fn launch(&mut self, now: Moment) {
        let Some(launch) = &mut self.swap.pending else {
            return;
        };
        if launch.not_before > now {
            return;
        }
        launch.due = true;
        let alone = launch.alone;
        if let Some(candidate) = self.swap.candidate.take() {
            self.kill(candidate);
        }
        if alone {
            if let Some(live) = self.swap.live.take() {
                self.good(live.artifact.clone());
                self.stop(now, live);
            }
        } else {
            // The drain before last ends here: at most two generations have processes.
            for process in &mut self.swap.leaving {
                process.cut_for_next |= process.told == Told::Stop;
                self.out.extend(process.kill());
            }
        }
        if !self.swap.may_launch() {
            return;
        }
        let Some(launch) = self.swap.pending.take() else {
            return;
        };
        let generation = match launch
            .generation
            .filter(|generation| *generation > self.launched)
        {
            Some(generation) => generation,
            None => self.number(),
        };
        self.launched = generation;
        let beside = self.swap.live.as_ref().map(|live| live.generation);
        let first_overlap = beside.is_some()
            && self.policy.handover == Handover::Auto
            && !std::mem::replace(&mut self.said_overlap, true);
        self.show(View::Starting {
            generation,
            beside,
            first_overlap,
            cause: launch.cause.clone(),
        });
        self.out.push(Action::Launch {
            generation,
            artifact: launch.artifact.clone(),
            beside,
        });
        self.swap.candidate = Some(Process {
            generation,
            artifact: launch.artifact,
            cause: launch.cause,
            kind: launch.kind,
            phases: Phases {
                swap: now - launch.since,
                ..launch.phases
            },
            launched: now,
            live_since: None,
            deadline: self.policy.ready_timeout.map(|timeout| now + timeout),
            told: Told::Nothing,
            asked: None,
            ended: None,
            suspended: false,
            cut_for_next: false,
        });
    }

    /// Asks a process to finish; it is leaving from now on.
    fn stop(&mut self, now: Moment, mut process: Process) {
        process.told = Told::Stop;
        process.asked = Some(now);
        process.deadline = Some(now + self.policy.stop_timeout);
        self.show(View::Draining(process.generation));
        self.out.push(Action::Stop(process.generation));
        self.swap.leaving.push(process);
    }

    /// Ends a process and all it started; it is leaving from now on.
    fn kill(&mut self, mut process: Process) {
        self.out.extend(process.kill());
        self.swap.leaving.push(process);
    }

    // ---- processes

    fn app_news(&mut self, now: Moment, generation: Generation, news: AppNews) {
        let Some(process) = self.swap.find(generation) else {
            return;
        };
        match news {
            AppNews::Started(pid) => self.show(View::Started { generation, pid }),
            AppNews::Ready(proof) => self.ready(now, generation, proof),
            AppNews::Suspended(suspended) => {
                process.suspended = suspended;
                self.show(View::Suspended {
                    generation,
                    suspended,
                });
            }
            AppNews::CannotStart(error) => self.cannot_start(now, generation, error),
            AppNews::Exited {
                exit,
                last_lines,
                lock,
            } => {
                process.ended = Some(exit);
                self.exited(now, generation, exit, &last_lines, lock);
            }
            AppNews::Gone { cut, survivors } => self.gone(now, generation, cut, survivors),
        }
    }

    fn ready(&mut self, now: Moment, generation: Generation, proof: Proof) {
        let is_candidate = |process: &mut Process| process.generation == generation;
        let Some(mut process) = self.swap.candidate.take_if(is_candidate) else {
            return;
        };
        process.phases.start = now - process.launched;
        process.live_since = Some(now);
        process.deadline = Some(now + self.policy.probation);
        self.show(View::Live {
            generation,
            phases: process.phases,
            proof,
            cause: process.cause.clone(),
        });
        let old = self.swap.live.replace(process);
        if let Some(old) = old {
            self.good(old.artifact.clone());
            self.stop(now, old);
        }
        // Without an address, `--once` runs the program to its end.
        if self.policy.once && self.policy.ready_timeout.is_some() {
            self.quit(now, Ending::Ready);
        }
    }

    /// Something that was not asked to end has ended, or could not be started.
    fn exited(
        &mut self,
        now: Moment,
        generation: Generation,
        exit: Exit,
        last_lines: &[String],
        lock: Option<String>,
    ) {
        let is_this = |process: &mut Process| process.generation == generation;
        if let Some(candidate) = self.swap.candidate.take_if(is_this) {
            let ran = candidate.ran(now);
            if exit.success() && !self.policy.serving {
                self.finished(now, candidate);
                return;
            }
            let next = match self.end_once(exit) {
                Some(next) => next,
                None => self.after_candidate(now, &candidate, evidence(last_lines, lock)),
            };
            let hint = hint(last_lines, self.policy.serving);
            self.show(View::Ended {
                generation,
                live: false,
                exit,
                ran,
                hint,
                next,
            });
            self.kill(candidate);
        } else if let Some(live) = self.swap.live.take_if(is_this) {
            let ran = live.ran(now);
            if exit.success() && !self.policy.serving {
                self.finished(now, live);
                return;
            }
            let next = match self.end_once(exit) {
                Some(next) => next,
                None => self.after_live(now, &live),
            };
            self.show(View::Ended {
                generation,
                live: true,
                exit,
                ran,
                hint: None,
                next,
            });
            self.kill(live);
        }
    }

    fn end_once(&mut self, exit: Exit) -> Option<Next> {
        if !self.policy.once || self.ending.is_some() {
            return self.ending.map(|_| Next::End);
        }
        self.ending = Some(Ending::AppEnded {
            exit,
            serving: self.policy.serving,
        });
        Some(Next::End)
    }

    /// A program without an address ended with success: its work is done.
    fn finished(&mut self, now: Moment, process: Process) {
        self.show(View::Finished {
            generation: process.generation,
            ran: process.ran(now),
        });
        self.good(process.artifact.clone());
        self.end_once(Exit::Status(0));
        self.kill(process);
    }

    /// What follows when a candidate failed; `evidence` says that live was in its way.
    fn after_candidate(
        &mut self,
        now: Moment,
        candidate: &Process,
        evidence: Option<Evidence>,
    ) -> Next {
        if self.swap.pending.is_some() {
            return Next::Continue;
        }
        if let Some(live) = &self.swap.live {
            let keeps = Next::Keeps(live.generation);
            let Some(evidence) = evidence else {
                return keeps;
            };
            if self.policy.handover != Handover::Auto || self.alone {
                return keeps;
            }
            self.alone = true;
            self.show(View::Learned(evidence));
            self.swap.pending = Some(Launch {
                generation: None,
                artifact: candidate.artifact.clone(),
                cause: Cause::Alone(candidate.generation),
                kind: Kind::Built,
                phases: Phases::default(),
                since: now,
                not_before: now,
                due: false,
                alone: true,
            });
            return Next::Alone;
        }
        match candidate.kind {
            Kind::Built => self
                .roll_back(now, candidate)
                .unwrap_or_else(|| self.standing()),
            Kind::Restart | Kind::Rollback => self.restart(now, candidate),
        }
    }

    /// What follows when live ended by itself.
    fn after_live(&mut self, now: Moment, live: &Process) -> Next {
        if self.swap.pending.is_some() || self.swap.candidate.is_some() {
            return Next::Continue;
        }
        let on_probation = live
            .live_since
            .is_some_and(|since| now - since < self.policy.probation);
        if on_probation && let Some(next) = self.roll_back(now, live) {
            return next;
        }
        self.restart(now, live)
    }

    /// Launches the last good program, if there is another one than what just failed.
    fn roll_back(&mut self, now: Moment, failed: &Process) -> Option<Next> {
        let last_good = self.swap.last_good.clone()?;
        if last_good.built_by == failed.artifact.built_by {
            return None;
        }
        let to = last_good.built_by;
        let cause = Cause::Rollback(failed.generation);
        self.again(now, last_good, cause, Kind::Rollback, Duration::ZERO);
        Some(Next::Rollback(to))
    }

    /// Launches the same program after the back-off, or leaves it alone.
    fn restart(&mut self, now: Moment, died: &Process) -> Next {
        let Some(wait) = self.backoff.died(now, died.ran(now)) else {
            return self.standing();
        };
        let cause = Cause::Died(died.generation);
        self.again(now, died.artifact.clone(), cause, Kind::Restart, wait);
        Next::Restart(wait)
    }

    fn again(
        &mut self,
        now: Moment,
        artifact: ArtifactRef,
        cause: Cause,
        kind: Kind,
        wait: Duration,
    ) {
        self.swap.pending = Some(Launch {
            generation: None,
            artifact,
            cause,
            kind,
            phases: Phases::default(),
            since: now,
            not_before: now + wait,
            due: false,
            alone: self.alone(),
        });
    }

    fn cannot_start(&mut self, now: Moment, generation: Generation, error: String) {
        let is_this = |process: &mut Process| process.generation == generation;
        let Some(candidate) = self.swap.candidate.take_if(is_this) else {
            return;
        };
        let next = if self.policy.once {
            self.ending.get_or_insert(Ending::CannotStart);
            Next::End
        } else {
            self.after_candidate(now, &candidate, None)
        };
        self.show(View::CannotStart {
            generation,
            error,
            next,
        });
        self.kill(candidate);
    }

    fn gone(&mut self, now: Moment, generation: Generation, cut: usize, survivors: Vec<i32>) {
        // Its end may come without its exit, when its keeper was killed.
        self.exited(now, generation, Exit::Unknown, &[], None);
        let Some(at) = self
            .swap
            .leaving
            .iter()
            .position(|process| process.generation == generation)
        else {
            return;
        };
        let process = self.swap.leaving.remove(at);
        // A drain that was ended, not one that finished: somebody may have lost something.
        if let Some(asked) = process.asked
            && process.told == Told::Kill
            && (process.ended.is_none() || cut > 0)
        {
            let after = now - asked;
            let for_next = process.cut_for_next;
            self.show(View::Cut {
                generation,
                connections: cut,
                after,
                for_next,
            });
        }
        if !survivors.is_empty() {
            self.show(View::Survivors {
                generation,
                pids: survivors,
            });
        }
        self.show(View::Gone(generation));
    }

    // ---- time

    fn deadlines(&mut self, now: Moment) {
        let due = |process: &mut Process| process.deadline.is_some_and(|at| at <= now);
        if let Some(candidate) = self.swap.candidate.take_if(due) {
            self.not_ready(now, candidate);
        }
        if let Some(live) = self.swap.live.as_mut()
            && due(live)
        {
            live.deadline = None;
            let artifact = live.artifact.clone();
            self.good(artifact);
        }
        for process in &mut self.swap.leaving {
            if due(process) {
                self.out.extend(process.kill());
            }
        }
    }

    fn not_ready(&mut self, now: Moment, candidate: Process) {
        let next = if self.policy.once {
            self.ending.get_or_insert(Ending::NotReady);
            Next::End
        } else {
            self.after_candidate(now, &candidate, None)
        };
        self.show(View::NotReady {
            generation: candidate.generation,
            after: candidate.ran(now),
            suspended: candidate.suspended,
            next,
        });
        self.kill(candidate);
    }

    // ---- the end

    fn quit(&mut self, now: Moment, ending: Ending) {
        let again = self.ending.is_some();
        if !again {
            self.ending = Some(ending);
        }
        if matches!(ending, Ending::Quit | Ending::Signal(_)) {
            self.show(View::Quitting { now: again });
        }
        self.swap.pending = None;
        self.builds.close();
        if let Some(generation) = self.builds.cancel() {
            self.out.push(Action::CancelBuild(generation));
        }
        if let Some(candidate) = self.swap.candidate.take() {
            self.kill(candidate);
        }
        if let Some(live) = self.swap.live.take() {
            self.stop(now, live);
        }
        if again {
            for process in &mut self.swap.leaving {
                self.out.extend(process.kill());
            }
        }
    }

    // ---- artifacts

    fn good(&mut self, artifact: ArtifactRef) {
        self.swap.last_good = Some(artifact);
    }

    fn remember(&mut self, artifact: &ArtifactRef) {
        if !self
            .known
            .iter()
            .any(|known| known.built_by == artifact.built_by)
        {
            self.known.push(artifact.clone());
        }
    }

    /// Lets go of every artifact that can't be launched any more.
    fn discard(&mut self) {
        let kept: Vec<Generation> = self
            .swap
            .artifacts()
            .chain(self.builds.baseline())
            .map(|artifact| artifact.built_by)
            .collect();
        let (known, gone) = std::mem::take(&mut self.known)
            .into_iter()
            .partition(|artifact| kept.contains(&artifact.built_by));
        self.known = known;
        self.out.extend(gone.into_iter().map(Action::Discard));
    }
}

/// What a program says on its last lines when another one is in its way.
const IN_THE_WAY: [&str; 5] = [
    "address already in use",
    "os error 98",
    "database is locked",
    "resource temporarily unavailable",
    "already running",
];

fn says(line: &str, phrases: &[&str]) -> bool {
    let line = line.to_lowercase();
    phrases.iter().any(|phrase| line.contains(phrase))
}

/// Whether a candidate that ended early names live as the reason.
fn evidence(last_lines: &[String], lock: Option<String>) -> Option<Evidence> {
    if let Some(path) = lock {
        return Some(Evidence::Lock(path));
    }
    let line = last_lines
        .iter()
        .rev()
        .find(|line| says(line, &IN_THE_WAY))?;
    Some(Evidence::Line(line.trim().to_owned()))
}

/// What its last lines tell the user to do.
fn hint(last_lines: &[String], serving: bool) -> Option<Hint> {
    let any = |phrases: &[&str]| last_lines.iter().any(|line| says(line, phrases));
    if serving && any(&["address already in use", "os error 98"]) {
        Some(Hint::BindsHeld)
    } else if any(&["/dev/tty", "os error 6)"]) {
        Some(Hint::WantsTerminal)
    } else {
        None
    }
}
