//! Events of processes: when a pending launch may start, which generation becomes live, and what follows
//! when a process ends by itself.

use std::time::Duration;

use super::Session;
use super::action::{Action, Hint, Next, View};
use super::conflict::{evidence, hint, runs_already};
use super::event::{AppNews, Conflict, Holder, Open};
use super::hold::Hold;
use super::model::{
    Cause, Ending, Exit, Generation, Handover, Job, JobId, Moment, Occasion, Phases, Proof,
};
use super::reason::Reason;
use super::swap::{Debugger, Kind, Prepared, Process, Told};

/// A program that ends before this has done no more than to find nothing on its stdin.
const SUDDEN: Duration = Duration::from_secs(1);

impl Session {
    /// Starts the pending launch once nothing is in its way, and ends what is.
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
        let exclusive = launch.exclusive;
        if !self.prepare_to_start(now) {
            return;
        }
        if !self.supersede(now) {
            return;
        }
        if exclusive {
            self.make_room(now);
        } else {
            // A launch beside live ends the drain before it, whose slot it gets.
            let slot = self.free_slot();
            let is_in_the_way = |process: &&mut Process| process.slot == slot;
            for process in self.swap.draining.iter_mut().filter(is_in_the_way) {
                process.cut_for_next |= process.told != Told::Kill;
                self.out.extend(process.kill());
            }
        }
        if !self.has_room(exclusive) {
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
        self.unprepared &= launch.kind == Kind::Rollback;
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
        let slot = self.free_slot();
        let artifact = launch.artifact.clone();
        self.swap.candidate = Some(Process {
            generation,
            slot,
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
            background: false,
            answer: None,
            missed: Vec::new(),
            cut_for_next: false,
        });
        self.take_slot();
        // From here on neither the relay nor the page may accept connections on the candidate's slot.
        self.relay();
        self.page();
        self.out.push(Action::Launch {
            generation,
            artifact,
            beside,
            slot,
            serving: self.slots.serving(),
        });
    }

    /// The next generation may start. At most two generations have processes: live or one that drains,
    /// and this one. Beside live nothing drains any more, since what owned the slot has been killed; where
    /// live has ended meanwhile, its slot is free, and the one before it drains on.
    fn has_room(&self, exclusive: bool) -> bool {
        match &self.swap.draining[..] {
            [] => true,
            [one] => !exclusive && one.live_since.is_some() && one.told != Told::Kill,
            _ => false,
        }
    }

    /// Takes in whether a debugger is attached to live, and to which of its processes.
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

    /// Whether the user's `before_start` has run for the pending launch; starts it if not. A
    /// `before_start` that still runs for an outdated launch is left to end: it may be in the middle of
    /// a migration.
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

    /// `before_start` has ended. If it failed, its launch is dropped.
    pub(super) fn prepared_to_start(&mut self, now: Moment, id: JobId, failed: Option<Reason>) {
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
        // Live may have ended meanwhile. Last-good still fits a database that the failed hook has not
        // migrated.
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
        self.unprepared = true;
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
            AppNews::Listening => self.out.push(Action::ReadAddresses),
            AppNews::Uncaptured(reason) => self.uncaptured(reason),
            AppNews::Answered(answer) => process.answer = Some(answer),
            AppNews::Taken(taken) => self.show(View::Taken { generation, taken }),
            AppNews::Unclaimed(addresses) => self.unclaimed(generation, addresses),
            AppNews::Suspended(suspended) => {
                process.suspended = suspended;
                self.show(View::Suspended {
                    generation,
                    suspended,
                });
            }
            AppNews::Writes(paths) => self.app_writes(now, &paths),
            AppNews::Traced(pid) => self.looked(generation, pid),
            AppNews::CannotStart(error) => self.cannot_start(now, generation, error),
            AppNews::Exited {
                exit,
                last_lines,
                conflict,
            } => {
                process.ended = Some(exit);
                self.exited(now, generation, exit, &last_lines, Some(conflict));
            }
            AppNews::Background(listens) => self.in_background(now, generation, listens),
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
        self.reload.is_owed(now);
        self.swap.failed = false;
        self.freed = false;
        self.activate(process.slot);
        self.out.push(Action::Serving(generation));
        // Shown after the switch, so that a client that reacts to this line reaches the new generation.
        self.show(View::Live {
            generation,
            phases: process.phases,
            proof,
            cause: process.cause.clone(),
        });
        for number in std::mem::take(&mut process.missed) {
            self.out.push(Action::Signal { generation, number });
        }
        if matches!(process.cause, Cause::Exclusive(_))
            && let Some(evidence) = self.trial.take()
        {
            self.exclusive = true;
            self.show(View::Learned(evidence));
        }
        if self.policy.open && !std::mem::replace(&mut self.opened, true) {
            self.out.push(Action::OpenBrowser);
        }
        self.hook(Occasion::AfterLive, Some(generation), None);
        // What is known of a debugger was about the generation that was live until now.
        if let Some(launch) = &mut self.swap.pending
            && launch.debugger != Debugger::Ignored
        {
            launch.debugger = Debugger::Unknown;
        }
        let old = self.swap.live.replace(process);
        if let Some(old) = old {
            self.good(&old);
            self.quiesce(now, old);
        }
        // Without an address, `--once` runs the program to its end.
        if self.policy.once && self.policy.ready_timeout.is_some() {
            self.quit(now, Ending::Ready);
        }
    }

    /// A process has ended by itself, or could not be started.
    pub(super) fn exited(
        &mut self,
        now: Moment,
        generation: Generation,
        exit: Exit,
        last_lines: &[String],
        conflict: Option<Conflict>,
    ) {
        let silent = conflict.is_some() && last_lines.is_empty();
        let conflict = conflict.unwrap_or_default();
        // A conflict with live shows in `next`, and needs no mention here.
        let others = |by: &Holder| *by != Holder::Live;
        let taken = conflict.taken.as_ref().filter(|taken| others(&taken.by));
        let taken = taken.map(|taken| taken.address.clone());
        let is_this = |process: &mut Process| process.generation == generation;
        if let Some(candidate) = self.swap.candidate.take_if(is_this) {
            let ran = candidate.ran(now);
            let says_so = exit.success() || runs_already(last_lines);
            let asks = conflict.asked.is_some() && says_so;
            if exit.success() && !self.policy.serving && !asks {
                self.finished(now, candidate, silent);
                return;
            }
            let next = match self.end_once(now, exit) {
                Some(next) => next,
                None if asks => self.after_asking(now, &candidate),
                None => self.after_candidate(now, &candidate, evidence(last_lines, &conflict)),
            };
            let hint = match (asks, &taken) {
                (true, _) => Some(Hint::AsksFirst),
                (false, Some(_)) => None,
                (false, None) => {
                    let absent = &candidate.artifact.absent;
                    let hint = hint(last_lines, self.policy.serving, absent);
                    hint.or(exit.success().then_some(Hint::Succeeded))
                }
            };
            self.show(View::Ended {
                generation,
                live: false,
                exit,
                ran,
                taken,
                hint,
                cause: candidate.cause.clone(),
                next,
            });
            self.hook(Occasion::OnError, Some(generation), Some(exit.to_string()));
            self.kill(candidate);
        } else if let Some(live) = self.swap.live.take_if(is_this) {
            let ran = live.ran(now);
            if exit.success() && !self.policy.serving {
                self.finished(now, live, silent);
                return;
            }
            let next = match self.end_once(now, exit) {
                Some(next) => next,
                None => self.after_live(now, &live),
            };
            let is_early = exit.success() && self.is_on_probation(now, &live);
            self.show(View::Ended {
                generation,
                live: true,
                exit,
                ran,
                taken,
                hint: is_early.then_some(Hint::Succeeded),
                cause: live.cause.clone(),
                next,
            });
            self.hook(Occasion::OnError, Some(generation), Some(exit.to_string()));
            self.kill(live);
        } else if let Some(process) = self.swap.find(generation)
            && process.told == Told::Nothing
        {
            // The process ended while it was quiesced: there is nothing left to wait for.
            let kill = process.kill();
            self.out.extend(kill);
        }
    }

    /// A first process has ended with success and left others behind. If one of them listens, they are
    /// the app from now on; what a candidate left may still begin to listen; otherwise the generation
    /// has ended. A server that crashes never ends with success, whatever it leaves behind.
    fn in_background(&mut self, now: Moment, generation: Generation, listens: Option<bool>) {
        let is_this = |process: &&mut Process| process.generation == generation;
        let candidate = self.swap.candidate.as_mut().filter(is_this);
        let is_candidate = candidate.is_some();
        let live = self.swap.live.as_mut().filter(is_this);
        let followed = match listens {
            Some(true) => candidate.or(live),
            Some(false) => candidate,
            None => None,
        };
        if let Some(process) = followed {
            process.background = true;
            if is_candidate {
                process.deadline.get_or_insert(now + self.policy.probation);
            }
            return self.show(View::Background {
                generation,
                followed: true,
            });
        }
        let exit = Exit::Status(0);
        if let Some(process) = self.swap.find(generation) {
            process.ended = Some(exit);
        }
        if listens.is_none() {
            self.show(View::Background {
                generation,
                followed: false,
            });
        }
        self.exited(now, generation, exit, &[], None);
    }

    fn end_once(&mut self, now: Moment, exit: Exit) -> Option<Next> {
        let serving = self.policy.serving;
        self.end_once_as(now, Ending::AppEnded { exit, serving });
        self.ending.map(|_| Next::End)
    }

    /// Under `--once`, hotrun ends for this reason, with all that still runs.
    fn end_once_as(&mut self, now: Moment, ending: Ending) {
        if self.policy.once && self.ending.is_none() {
            self.quit(now, ending);
        }
    }

    /// A program that holds no address ended with success: its work is done.
    fn finished(&mut self, now: Moment, mut process: Process, silent: bool) {
        process.deadline = None;
        let ran = process.ran(now);
        let silent = silent && ran < SUDDEN && !self.policy.once && !self.said_silent;
        self.said_silent |= silent;
        self.show(View::Finished {
            generation: process.generation,
            ran,
            silent,
        });
        self.good(&process);
        self.end_once(now, Exit::Status(0));
        self.kill(process);
    }

    fn cannot_start(&mut self, now: Moment, generation: Generation, error: Reason) {
        let is_this = |process: &mut Process| process.generation == generation;
        let Some(candidate) = self.swap.candidate.take_if(is_this) else {
            return;
        };
        let next = if self.policy.once {
            self.end_once_as(now, Ending::CannotStart);
            Next::End
        } else {
            self.after_candidate(now, &candidate, None)
        };
        let told = Some(error.to_string());
        self.show(View::CannotStart {
            generation,
            error,
            cause: candidate.cause.clone(),
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
        if let Some(mut live) = self.swap.live.take_if(due) {
            live.deadline = None;
            self.good(&live);
            self.out.push(Action::Proved(live.generation));
            self.out.push(Action::ReleaseUnclaimed);
            self.swap.live = Some(live);
        }
        let mut quiescing = Vec::new();
        for process in &mut self.swap.draining {
            let due = due(process);
            match process.told {
                _ if !due => {}
                Told::Nothing => quiescing.push(process.generation),
                Told::Stop | Told::Kill => self.out.extend(process.kill()),
            }
        }
        for generation in quiescing {
            self.ask_to_end(now, generation);
        }
    }

    fn not_ready(&mut self, now: Moment, candidate: Process) {
        if candidate.background && !self.policy.serving {
            // The processes that it left in the background did not begin to serve.
            return self.finished(now, candidate, false);
        }
        let next = if self.policy.once {
            self.end_once_as(now, Ending::NotReady);
            Next::End
        } else {
            self.after_candidate(now, &candidate, None)
        };
        let error = Some("not ready in time".to_owned());
        self.show(View::NotReady {
            generation: candidate.generation,
            after: candidate.ran(now),
            suspended: candidate.suspended,
            answer: candidate.answer,
            cause: candidate.cause.clone(),
            next,
        });
        self.hook(Occasion::OnError, Some(candidate.generation), error);
        self.kill(candidate);
    }
}
