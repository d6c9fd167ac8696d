//! Reactions to changes that start no build by themselves: settings are read anew, the environment file
//! restarts the app, and the user's rules. Collected over a quiet period of their own, then carried out
//! one after the other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use super::action::{Action, View};
use super::event::{Effect, Reconfigured};
use super::loops::Loops;
use super::model::{
    Cause, Change, ChangeKind, Changed, Changes, Content, Job, JobId, Moment, Occasion, Reaction,
    Save,
};
use super::reason::Reason;
use super::swap::{Debugger, Kind};
use super::{Policy, Session};

/// One step, and the changes that it is for.
#[derive(Clone, Debug)]
enum Step {
    /// Read the settings.
    Configure,
    /// Carry out a reaction of the rule with this number.
    React {
        rule: usize,
        reaction: Reaction,
        cause: Cause,
    },
    /// Start the app again, which reads its environment from a file.
    Restart(Cause),
}

/// What the current step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    Settings,
    Command { job: JobId, rule: usize },
}

/// Changes, and what they call for. Rules are looked up at once: after the settings were read anew, a
/// number may belong to another rule.
#[derive(Clone, Debug)]
struct Collected {
    first: Moment,
    last: Moment,
    changes: Changes,
    /// Those of the files that are still open for writing.
    writing: BTreeSet<PathBuf>,
    config: bool,
    env: bool,
    rules: BTreeMap<usize, Vec<Reaction>>,
}

impl Collected {
    /// How long it waits for more. A file that is still open, or empty, is in the middle of a save.
    fn quiet(&self, policy: &Policy) -> Duration {
        let is_empty = |changed: &Changed| changed.now == Content::Empty;
        if self.writing.is_empty() && !self.changes.iter().any(is_empty) {
            policy.debounce
        } else {
            policy.max_wait
        }
    }
}

/// What was collected, and the steps that are being carried out.
#[derive(Clone, Debug, Default)]
pub(super) struct Reactions {
    collected: Option<Collected>,
    steps: VecDeque<Step>,
    waits: Option<Waits>,
    loops: Loops,
    /// The settings that were read last can't be used.
    unusable: bool,
}

impl Reactions {
    /// Adds changes that are not for a build. `starting`: a candidate runs or a launch is pending.
    pub(super) fn add(
        &mut self,
        now: Moment,
        changes: Vec<Change>,
        policy: &Policy,
        starting: bool,
    ) {
        // The same bytes are no change; but a path that is back to its content has to be taken out of
        // what was collected.
        let known = |change: &Change| {
            let collected = self.collected.as_ref();
            collected.is_some_and(|known| known.changes.get(&change.path).is_some())
        };
        let changes: Vec<Change> = changes
            .into_iter()
            .filter(|change| !change.is_same() || known(change))
            .collect();
        if changes.is_empty() {
            return;
        }
        let paths: Vec<PathBuf> = changes.iter().map(|change| change.path.clone()).collect();
        if self.collected.is_some() {
            self.loops.also(&paths);
        } else if self.waits.is_some() || starting {
            self.loops.again(&paths);
        } else {
            self.loops.reset();
        }
        let empty = || Collected {
            first: now,
            last: now,
            changes: Changes::default(),
            writing: BTreeSet::new(),
            config: false,
            env: false,
            rules: BTreeMap::new(),
        };
        let collected = self.collected.get_or_insert_with(empty);
        collected.last = now;
        for change in changes {
            match change.kind {
                ChangeKind::Config => collected.config = true,
                ChangeKind::Rule(rule) => {
                    let reactions = policy.rules.get(rule).cloned();
                    collected.rules.insert(rule, reactions.unwrap_or_default());
                }
                ChangeKind::Env => collected.env = true,
                ChangeKind::Source
                | ChangeKind::Named
                | ChangeKind::Manifest
                | ChangeKind::Lock
                | ChangeKind::Guess
                | ChangeKind::Rest(_) => {}
            }
            if change.save == Save::Open {
                collected.writing.insert(change.path.clone());
            } else {
                collected.writing.remove(&change.path);
            }
            collected.changes.add(&change);
        }
        if collected.changes.is_empty() {
            self.collected = None;
        }
    }

    /// The writers of these files are done.
    pub(super) fn saved(&mut self, paths: &[PathBuf]) {
        if let Some(collected) = &mut self.collected {
            collected.writing.retain(|path| !paths.contains(path));
        }
    }

    /// When the collected changes are to be reacted to.
    pub(super) fn due(&self, policy: &Policy) -> Option<Moment> {
        if self.waits.is_some() || !self.steps.is_empty() {
            return None;
        }
        let collected = self.collected.as_ref()?;
        let looped = self.loops.wait().map(|wait| collected.first + wait);
        let quiet = collected.last + collected.quiet(policy);
        let quiet = quiet.min(collected.first + policy.max_wait);
        Some(quiet.max(looped.unwrap_or_default()))
    }

    /// The file that reactions themselves change, once that is clear, and how long reactions to it wait
    /// from now on.
    pub(super) fn found_loop(&mut self) -> Option<(PathBuf, Duration)> {
        self.loops.found()
    }

    /// Something is collected, or being reacted to.
    pub(super) fn busy(&self) -> bool {
        self.collected.is_some() || self.waits.is_some() || !self.steps.is_empty()
    }

    /// How many changed files have not been reacted to yet.
    pub(super) fn collected(&self) -> usize {
        let collected = self.collected.iter();
        collected.map(|one| one.changes.iter().count()).sum()
    }

    /// hotrun ends: drops everything.
    pub(super) fn close(&mut self) {
        *self = Self::default();
    }

    /// The next step, unless the current one is not over.
    fn next(&mut self, now: Moment, policy: &Policy) -> Option<Step> {
        if self.due(policy).is_some_and(|due| due <= now) {
            self.plan();
        }
        self.steps.pop_front_if(|_| self.waits.is_none())
    }

    /// Turns what was collected into steps: settings first, then a restart for the environment file,
    /// then rules by number.
    fn plan(&mut self) {
        let Some(Collected {
            changes,
            config,
            env,
            rules,
            ..
        }) = self.collected.take()
        else {
            return;
        };
        let paths = |is_wanted: &dyn Fn(ChangeKind) -> bool| {
            let wanted = changes.iter().filter(|changed| is_wanted(changed.kind));
            Cause::Changed(wanted.map(|changed| changed.path.clone()).collect())
        };
        if config {
            self.steps.push_back(Step::Configure);
        }
        if env {
            self.steps.push_back(Step::Restart(paths(&|_| true)));
        }
        for (rule, reactions) in rules {
            let cause = paths(&|kind| kind == ChangeKind::Rule(rule));
            let steps = reactions.into_iter().map(|reaction| Step::React {
                rule,
                reaction,
                cause: cause.clone(),
            });
            self.steps.extend(steps);
        }
    }

    /// A command of a rule has ended; if it failed, the rule's further reactions are dropped.
    pub(super) fn ended(&mut self, id: JobId, failed: bool) {
        let Some(Waits::Command { rule: of, .. }) = self
            .waits
            .take_if(|waits| matches!(waits, Waits::Command { job, .. } if *job == id))
        else {
            return;
        };
        let follows = |step: &Step| matches!(step, Step::React { rule, .. } if *rule == of);
        while failed && self.steps.front().is_some_and(follows) {
            self.steps.pop_front();
        }
    }
}

impl Session {
    /// Carries out the steps that are due, up to one that has to be waited for.
    pub(super) fn react(&mut self, now: Moment) {
        if self.ending.is_some() || self.paused {
            return;
        }
        while let Some(step) = self.reactions.next(now, &self.policy) {
            match step {
                Step::Configure => {
                    self.reactions.waits = Some(Waits::Settings);
                    self.out.push(Action::Reconfigure);
                }
                Step::React {
                    rule,
                    reaction,
                    cause,
                } => self.react_as(now, rule, reaction, cause),
                Step::Restart(cause) => self.start_again(now, cause),
            }
        }
    }

    fn react_as(&mut self, now: Moment, rule: usize, reaction: Reaction, cause: Cause) {
        match reaction {
            Reaction::Rebuild => self.request(now, cause, false),
            Reaction::Restart => self.start_again(now, cause),
            Reaction::Signal(number) => self.signal(number, cause),
            Reaction::Run(command) => {
                let job = self.run(Job {
                    occasion: Occasion::Rule,
                    command,
                    generation: None,
                    error: None,
                });
                self.reactions.waits = Some(Waits::Command { job, rule });
            }
            Reaction::ReloadBrowser => {
                if let Cause::Changed(paths) = cause {
                    self.reload_files(paths);
                }
            }
        }
    }

    /// Starts the newest program again, whatever became of it. If a build runs or is requested, it is
    /// followed by a start, whatever its result.
    pub(super) fn start_again(&mut self, now: Moment, cause: Cause) {
        self.backoff.reset();
        if self.builds.restart() {
            return;
        }
        let newest = self.swap.newest().cloned();
        match newest.filter(|_| self.has_newest()) {
            Some(program) => {
                // If it was not ready yet, its failure still means the same.
                let kind = self.swap.unproved().unwrap_or(Kind::Restart);
                self.again(now, program, cause, kind, Duration::ZERO);
            }
            // The newest program failed and was discarded: cargo still has it. While paused nothing is built
            // for that, and the next program that is built starts in any case.
            None if self.newest_built.is_some() && !self.paused => self.request(now, cause, true),
            None => {}
        }
    }

    /// The user asks for a start without a build. A launch that only waits for a debugger to detach is
    /// started instead.
    pub(super) fn restart_asked(&mut self, now: Moment) {
        if self.ending.is_some() {
            return;
        }
        let is_gone = !self.builds.running() && !self.has_newest();
        match &mut self.swap.pending {
            Some(launch) if launch.debugger == Debugger::Awaited => {
                launch.debugger = Debugger::Ignored;
            }
            // There is nothing that could be started, or it was discarded.
            _ if is_gone => {
                self.request(now, Cause::Asked, true);
            }
            _ => {
                self.start_again(now, Cause::Asked);
                if let Some(launch) = &mut self.swap.pending {
                    launch.debugger = Debugger::Ignored;
                }
            }
        }
    }

    /// The newest program that was built runs, or is about to.
    fn has_newest(&self) -> bool {
        let newest = self.swap.newest().map(|newest| newest.built_by);
        newest.is_some() && newest == self.newest_built
    }

    /// What was in the way of the settings may be gone, like a program that had an address of theirs.
    pub(super) fn retry_settings(&mut self) {
        if self.reactions.unusable {
            self.read_settings();
        }
    }

    /// Events were lost: the settings may have changed too.
    pub(super) fn read_settings(&mut self) {
        self.reactions.steps.push_back(Step::Configure);
    }

    /// Passes a signal on to live.
    pub(super) fn signal(&mut self, number: i32, cause: Cause) {
        let live = self.swap.live.as_ref().map(|live| live.generation);
        let candidate = self.swap.candidate.as_mut();
        // Not sent before it is ready: it may not have installed a handler yet, and the signal would end
        // it.
        let candidate = candidate.map(|candidate| {
            candidate.missed.push(number);
            candidate.generation
        });
        self.show(View::Signalled {
            generation: live.or(candidate),
            number,
            cause,
        });
        self.out
            .extend(live.map(|generation| Action::Signal { generation, number }));
    }

    /// The settings were read anew.
    pub(super) fn configured(&mut self, now: Moment, read: Result<Box<Reconfigured>, Reason>) {
        if self.reactions.waits == Some(Waits::Settings) {
            self.reactions.waits = None;
        }
        if self.ending.is_some() {
            return;
        }
        let settings = match read {
            Ok(settings) => *settings,
            Err(problem) => {
                self.reactions.unusable = true;
                return self.show(View::Misconfigured(problem));
            }
        };
        self.reactions.unusable = false;
        self.policy = settings.policy;
        if settings.changed.is_empty() {
            return;
        }
        self.show(View::Configured(settings.changed));
        // A hook that failed may have been mended, or what it reads.
        if self.builds.configured() {
            self.request(now, Cause::Configured, false);
        }
        match settings.effect {
            Effect::Nothing if !self.unprepared => {}
            Effect::Nothing | Effect::Restart => self.start_again(now, Cause::Configured),
            Effect::Rebuild => {
                self.stale_project = true;
                // Forced: other settings that changed may concern only the start of the app.
                self.request(now, Cause::Configured, true);
            }
        }
    }
}
