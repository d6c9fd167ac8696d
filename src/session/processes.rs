//! What processes lead to: when a launch has its place, who becomes live, and what follows when
//! one ends that was not asked to.

use std::time::Duration;

use super::Session;
use super::action::{Action, Next, View};
use super::event::{AppNews, Open};
use super::evidence::{evidence, hint};
use super::hold::Hold;
use super::model::{
    ArtifactRef, Cause, Ending, Exit, Generation, Handover, Job, JobId, Moment, Occasion, Phases,
    Proof,
};
use super::swap::{Debugger, Kind, Launch, Prepared, Process, Told};

impl Session {
    /// Starts what is pending as soon as it has its place, and makes the place.
    pub(super) fn launch(&mut self, now: Moment) {
        if self.ending.is_some() {
            self.swap.pending = None;
        }
        let Some(launch) = &mut self.swap.pending else {
            return;
        };
        if launch.not_before > now {
            return;
        }
        launch.due = true;
        if let Some(live) = &self.swap.live {
            match launch.debugger {
                Debugger::Unknown => {
                    launch.debugger = Debugger::Sought;
                    self.out.push(Action::Look(live.generation));
                    return;
                }
                Debugger::Sought | Debugger::Awaited => return,
                Debugger::Absent | Debugger::Ignored => {}
            }
        }
        let alone = launch.alone;
        if !self.prepare_to_start(now) {
            return;
        }
        if let Some(candidate) = self.swap.candidate.take() {
            self.kill(candidate);
        }
        if alone {
            self.make_room(now);
        } else {
            // The drain before last ends here: at most two generations have processes.
            for process in &mut self.swap.leaving {
                process.cut_for_next |= process.told != Told::Kill;
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
                swap: now.saturating_sub(launch.since),
                ..launch.phases
            },
            launched: now,
            live_since: None,
            deadline: self.policy.ready_timeout.map(|timeout| now + timeout),
            told: Told::Nothing,
            open: Open::default(),
            asked: None,
            ended: None,
            suspended: false,
            missed: Vec::new(),
            cut_for_next: false,
        });
    }

    /// Live has a debugger, in this process of it, or none.
    fn looked(&mut self, generation: Generation, traced: Option<i32>) {
        let is_live = |live: &Process| live.generation == generation;
        let (Some(launch), true) = (
            &mut self.swap.pending,
            self.swap.live.as_ref().is_some_and(is_live),
        ) else {
            return;
        };
        match (launch.debugger, traced) {
            (Debugger::Sought, Some(pid)) => {
                launch.debugger = Debugger::Awaited;
                let waits = launch.generation;
                self.show(View::Debugged {
                    generation,
                    pid,
                    waits,
                });
            }
            (Debugger::Sought | Debugger::Awaited, None) => launch.debugger = Debugger::Absent,
            _ => {}
        }
    }

    /// Whether the pending launch may go on: the user's `before_start` has run for it. One that
    /// still runs for a launch that is not wanted any more is left to end: it may be in the middle
    /// of a migration.
    fn prepare_to_start(&mut self, now: Moment) -> bool {
        let busy = |(_, occasion): &(_, _)| *occasion == Occasion::BeforeStart;
        let busy = self.jobs.iter().any(busy);
        let generation = Generation(self.numbered);
        let Some(launch) = &mut self.swap.pending else {
            return false;
        };
        match (launch.prepared, &self.policy.hooks.before_start) {
            (Prepared::Yes, _) | (Prepared::No, None) => true,
            (Prepared::Waits(..), _) => false,
            (Prepared::No, Some(_)) if busy => false,
            (Prepared::No, Some(command)) => {
                let job = Job {
                    occasion: Occasion::BeforeStart,
                    command: command.clone(),
                    generation: Some(launch.generation.unwrap_or(generation)),
                    error: None,
                };
                let id = self.run(job);
                if let Some(launch) = &mut self.swap.pending {
                    launch.prepared = Prepared::Waits(id, now);
                }
                false
            }
        }
    }

    /// `before_start` has ended, or failed: then what it was run for is not started.
    pub(super) fn prepared_to_start(&mut self, now: Moment, id: JobId, failed: Option<String>) {
        let Some(launch) = self.swap.pending.as_mut() else {
            return;
        };
        let Prepared::Waits(_, since) = launch.prepared else {
            return;
        };
        if launch.prepared != Prepared::Waits(id, since) {
            return;
        }
        let Some(reason) = failed else {
            let took = now.saturating_sub(since);
            launch.prepared = Prepared::Yes;
            *launch.phases.hooks.get_or_insert_default() += took;
            launch.since += took;
            return;
        };
        let launch = self.swap.pending.take();
        // Live may have ended meanwhile. Its program still fits what was not prepared for another one.
        if let Some(launch) = launch.filter(|launch| launch.kind == Kind::Built)
            && self.policy.serving
            && self.swap.live.is_none()
            && self.swap.candidate.is_none()
            && self.ending.is_none()
        {
            let failed = launch.generation.unwrap_or(Generation(self.numbered));
            self.roll_back(now, failed, &launch.artifact);
            if let Some(rollback) = &mut self.swap.pending {
                rollback.prepared = Prepared::Yes;
            }
        }
        self.job_failed(Occasion::BeforeStart, reason);
        if self.policy.once {
            self.quit(now, Ending::CannotStart);
        }
    }

    // ---- processes

    pub(super) fn app_news(&mut self, now: Moment, generation: Generation, news: AppNews) {
        let Some(process) = self.swap.find(generation) else {
            return;
        };
        match news {
            AppNews::Started(pid) => self.show(View::Started { generation, pid }),
            AppNews::Ready(proof) => self.ready(now, generation, proof),
            AppNews::Listening => self.out.push(Action::TakeStock),
            AppNews::Uncaptured(reason) => self.uncaptured(reason),
            AppNews::Unclaimed(addresses) => self.unclaimed(generation, addresses),
            AppNews::Suspended(suspended) => {
                process.suspended = suspended;
                self.show(View::Suspended {
                    generation,
                    suspended,
                });
            }
            AppNews::Traced(pid) => self.looked(generation, pid),
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
        process.phases.start = now.saturating_sub(process.launched);
        process.live_since = Some(now);
        process.deadline = Some(now + self.policy.probation);
        self.hold = Hold::No;
        self.swap.failed = false;
        self.out.push(Action::Serving(generation));
        // Who reads it and asks is to get it.
        self.show(View::Live {
            generation,
            phases: process.phases,
            proof,
            cause: process.cause.clone(),
        });
        for number in std::mem::take(&mut process.missed) {
            self.out.push(Action::Signal { generation, number });
        }
        self.hook(Occasion::AfterLive, Some(generation), None);
        // What waits was about the one that was live until now.
        if let Some(launch) = &mut self.swap.pending
            && launch.debugger != Debugger::Ignored
        {
            launch.debugger = Debugger::Unknown;
        }
        let old = self.swap.live.replace(process);
        if let Some(old) = old {
            self.good(old.artifact.clone());
            self.quiesce(now, old);
        }
        // Without an address, `--once` runs the program to its end.
        if self.policy.once && self.policy.ready_timeout.is_some() {
            self.quit(now, Ending::Ready);
        }
    }

    /// Something that was not asked to end has ended, or could not be started.
    pub(super) fn exited(
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
            let evidence = evidence(last_lines, lock);
            let next = match self.end_once(exit) {
                Some(next) => next,
                None => self.after_candidate(now, &candidate, evidence.is_some()),
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
            self.hook(Occasion::OnError, Some(generation), Some(exit.to_string()));
            if let (Next::Alone, Some(evidence)) = (next, evidence) {
                self.show(View::Learned(evidence));
            }
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
            self.hook(Occasion::OnError, Some(generation), Some(exit.to_string()));
            self.kill(live);
        } else if let Some(process) = self.swap.find(generation)
            && process.told == Told::Nothing
        {
            // Nobody has to wait for what was on its way to it any more.
            let kill = process.kill();
            self.out.extend(kill);
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

    /// What follows when a candidate failed; there may be evidence that live was `in_the_way`.
    fn after_candidate(&mut self, now: Moment, candidate: &Process, in_the_way: bool) -> Next {
        self.swap.failed = true;
        if self.swap.pending.is_some() {
            return Next::Continue;
        }
        if let Some(live) = &self.swap.live {
            let keeps = Next::Keeps(live.generation);
            if !in_the_way || self.policy.handover != Handover::Auto || self.alone {
                return keeps;
            }
            self.alone = true;
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
                // It has run for the candidate, which was the same program.
                prepared: Prepared::Yes,
                debugger: Debugger::default(),
            });
            return Next::Alone;
        }
        match candidate.kind {
            Kind::Built => self
                .roll_back(now, candidate.generation, &candidate.artifact)
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
            .is_some_and(|since| now.saturating_sub(since) < self.policy.probation);
        if on_probation && let Some(next) = self.roll_back(now, live.generation, &live.artifact) {
            return next;
        }
        self.restart(now, live)
    }

    /// Launches the last good program, if there is another one than what just failed.
    fn roll_back(
        &mut self,
        now: Moment,
        failed: Generation,
        program: &ArtifactRef,
    ) -> Option<Next> {
        let last_good = self.swap.last_good.clone()?;
        if last_good.built_by == program.built_by {
            return None;
        }
        let to = last_good.built_by;
        let cause = Cause::Rollback(failed);
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

    pub(super) fn again(
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
            prepared: Prepared::No,
            debugger: Debugger::default(),
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
            self.after_candidate(now, &candidate, false)
        };
        let told = Some(error.clone());
        self.show(View::CannotStart {
            generation,
            error,
            next,
        });
        self.hook(Occasion::OnError, Some(generation), told);
        self.kill(candidate);
    }

    // ---- time

    pub(super) fn deadlines(&mut self, now: Moment) {
        let due = |process: &mut Process| process.deadline.is_some_and(|at| at <= now);
        if let Some(candidate) = self.swap.candidate.take_if(due) {
            self.not_ready(now, candidate);
        }
        if let Some(live) = self.swap.live.as_mut()
            && due(live)
        {
            live.deadline = None;
            let (generation, artifact) = (live.generation, live.artifact.clone());
            self.good(artifact);
            self.out.push(Action::Proved(generation));
        }
        let mut patient = Vec::new();
        for process in &mut self.swap.leaving {
            let due = due(process);
            match process.told {
                _ if !due => {}
                Told::Nothing => patient.push(process.generation),
                Told::Stop | Told::Kill => self.out.extend(process.kill()),
            }
        }
        for generation in patient {
            self.ask_to_end(now, generation);
        }
    }

    fn not_ready(&mut self, now: Moment, candidate: Process) {
        let next = if self.policy.once {
            self.ending.get_or_insert(Ending::NotReady);
            Next::End
        } else {
            self.after_candidate(now, &candidate, false)
        };
        let error = Some("not ready in time".to_owned());
        self.show(View::NotReady {
            generation: candidate.generation,
            after: candidate.ran(now),
            suspended: candidate.suspended,
            next,
        });
        self.hook(Occasion::OnError, Some(candidate.generation), error);
        self.kill(candidate);
    }
}
