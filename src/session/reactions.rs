//! What changes lead to that no build takes in: settings that are read anew, and what the user's
//! rules say. Collected over a quiet period of their own, then done one after the other.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use super::action::{Action, View};
use super::event::{Effect, Reconfigured};
use super::loops::Loops;
use super::model::{Cause, Change, ChangeKind, ChangeSet, Job, JobId, Moment, Occasion, Reaction};
use super::swap::Kind;
use super::{Policy, Session};

/// One thing to do, and the changes it is done for.
#[derive(Clone, Debug)]
enum Step {
    /// Read the settings.
    Configure,
    /// Do what the rule of this number says.
    React {
        rule: usize,
        reaction: Reaction,
        cause: Cause,
    },
}

/// What the step that was begun waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    Settings,
    Command { job: JobId, rule: usize },
}

/// What was collected, and what is being done.
#[derive(Clone, Debug, Default)]
pub(super) struct Reactions {
    collected: Option<(ChangeSet, Vec<ChangeKind>)>,
    steps: VecDeque<Step>,
    waits: Option<Waits>,
    loops: Loops,
}

impl Reactions {
    /// Adds changes that are not for a build. `starting`: a program is about to be live.
    pub(super) fn add(&mut self, now: Moment, changes: Vec<Change>, starting: bool) {
        let paths: Vec<PathBuf> = changes.iter().map(|change| change.path.clone()).collect();
        if self.collected.is_some() {
            self.loops.also(&paths);
        } else if self.waits.is_some() || starting {
            self.loops.again(&paths);
        } else {
            self.loops.reset();
        }
        let empty = || {
            (
                ChangeSet::new(now, Cause::Changed(Vec::new()), false),
                Vec::new(),
            )
        };
        let (set, kinds) = self.collected.get_or_insert_with(empty);
        for change in changes {
            if !kinds.contains(&change.kind) {
                kinds.push(change.kind);
            }
            set.add(now, change);
        }
        if set.is_empty() {
            self.collected = None;
        }
    }

    /// When what was collected is to be done.
    pub(super) fn due(&self, policy: &Policy) -> Option<Moment> {
        if self.waits.is_some() || !self.steps.is_empty() {
            return None;
        }
        let (set, _) = self.collected.as_ref()?;
        let looped = self.loops.wait().map(|wait| set.first + wait);
        let quiet = set.quiet_at(policy.debounce, policy.max_wait);
        Some(quiet.max(looped.unwrap_or_default()))
    }

    /// The file that reactions themselves change, at the moment at which that is clear, and how
    /// long is waited now.
    pub(super) fn found_loop(&mut self) -> Option<(PathBuf, Duration)> {
        self.loops.found()
    }

    /// Hotrun ends: nothing more is to be done.
    pub(super) fn close(&mut self) {
        *self = Self::default();
    }

    /// The next step, unless something has to be waited for.
    fn next(&mut self, now: Moment, policy: &Policy) -> Option<Step> {
        if self.due(policy).is_some_and(|due| due <= now) {
            self.plan(policy);
        }
        self.steps.pop_front_if(|_| self.waits.is_none())
    }

    /// Turns what was collected into steps: settings first, then rules by number.
    fn plan(&mut self, policy: &Policy) {
        let Some((set, kinds)) = self.collected.take() else {
            return;
        };
        if kinds.contains(&ChangeKind::Config) {
            self.steps.push_back(Step::Configure);
        }
        for (rule, reactions) in policy.rules.iter().enumerate() {
            if kinds.contains(&ChangeKind::Rule(rule)) {
                self.steps
                    .extend(reactions.iter().map(|reaction| Step::React {
                        rule,
                        reaction: reaction.clone(),
                        cause: set.cause.clone(),
                    }));
            }
        }
    }

    /// A command of a rule has ended; if it failed, what the rule wants after it is left out.
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
    /// Does what is due, up to the next thing that has to be waited for.
    pub(super) fn react(&mut self, now: Moment) {
        if self.ending.is_some() {
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
        }
    }

    /// Starts the same program again. A build under way brings a new start anyway.
    fn start_again(&mut self, now: Moment, cause: Cause) {
        self.backoff.reset();
        if self.builds.force() {
            return;
        }
        let program = self.swap.newest().or(self.swap.last_good.as_ref());
        if let Some(program) = program.cloned() {
            self.again(now, program, cause, Kind::Restart, Duration::ZERO);
        }
    }

    /// Passes a signal on to live.
    pub(super) fn signal(&mut self, number: i32, cause: Cause) {
        let generation = self.swap.live.as_ref().map(|live| live.generation);
        self.show(View::Signalled {
            generation,
            number,
            cause,
        });
        self.out
            .extend(generation.map(|generation| Action::Signal { generation, number }));
    }

    /// The settings were read anew.
    pub(super) fn configured(&mut self, now: Moment, read: Result<Box<Reconfigured>, String>) {
        if self.reactions.waits == Some(Waits::Settings) {
            self.reactions.waits = None;
        }
        if self.ending.is_some() {
            return;
        }
        let settings = match read {
            Ok(settings) => *settings,
            Err(problem) => return self.show(View::Misconfigured(problem)),
        };
        // Steps of rules that are not there any more would be those of others.
        if settings.policy.rules != self.policy.rules {
            self.reactions.steps.clear();
        }
        self.policy = settings.policy;
        if settings.changed.is_empty() {
            return;
        }
        self.show(View::Configured(settings.changed));
        match settings.effect {
            Effect::Nothing => {}
            Effect::Restart => self.start_again(now, Cause::Configured),
            Effect::Rebuild => {
                self.stale_project = true;
                self.request(now, Cause::Configured, false);
            }
        }
    }
}
