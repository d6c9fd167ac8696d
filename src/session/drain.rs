//! How a version leaves: clients first, then the process, then all that it has started.

use super::Session;
use super::action::{Action, View};
use super::event::Open;
use super::model::{Exit, Generation, Moment};
use super::swap::{Process, Told};

impl Session {
    /// Live ends before the next version starts. What comes from now on waits for that one where it
    /// can, so that live is not asked to end with a client that it has taken and not heard.
    pub(super) fn make_room(&mut self, now: Moment) {
        let draining = &self.swap.draining;
        let drains = draining.iter().any(|process| process.told != Told::Kill);
        if !drains && !draining.is_empty() {
            // It is gone in a moment, and live serves until then.
            return;
        }
        let Some(live) = self.swap.live.take() else {
            return;
        };
        self.good(live.artifact.clone());
        if drains {
            // What drains has the other socket, and would take them.
            return self.stop(now, live);
        }
        if self.policy.quiesce_max.is_some() && self.hold_due().is_none() {
            self.park();
        }
        self.quiesce(now, live);
    }

    /// Clients are not sent to a process any more. What was on its way to it before may still reach it,
    /// and it would not be there for that if it were asked to finish at once.
    pub(super) fn quiesce(&mut self, now: Moment, mut process: Process) {
        let Some(max) = self.policy.quiesce_max else {
            return self.stop(now, process);
        };
        // Until it is known what the signal does to it, that would cut what it has not answered. A launch
        // that waits for its end does not wait for that.
        let max = match self.swap.pending {
            Some(_) => max,
            None => max.max(self.policy.stop_timeout),
        };
        process.asked = Some(now);
        process.deadline = Some(now + max);
        self.out.push(Action::Quiesce(process.generation));
        self.swap.draining.push(process);
    }

    /// What is open at a process that clients are not sent to any more, or that it can't be known: it is
    /// asked to finish when nothing is under way there. Only one that the signal ends at once keeps the
    /// time that others have to finish after it.
    pub(super) fn open(&mut self, now: Moment, generation: Generation, open: Option<Open>) {
        let is_this = |process: &&mut Process| process.generation == generation;
        let Some(process) = self.swap.draining.iter_mut().find(is_this) else {
            return;
        };
        if process.told != Told::Nothing {
            return;
        }
        process.open = open.unwrap_or_default();
        if open.is_some_and(|open| open.busy == 0) {
            return self.ask_to_end(now, generation);
        }
        if !process.open.dies {
            let max = self.policy.quiesce_max.unwrap_or_default();
            let until = process.asked.map(|asked| asked + max);
            process.deadline = process.deadline.min(until);
        }
    }

    /// Asks a process to finish; it is draining from now on.
    pub(super) fn stop(&mut self, now: Moment, process: Process) {
        let generation = process.generation;
        self.swap.draining.push(process);
        self.ask_to_end(now, generation);
    }

    /// Asks a process that is draining to finish, unless it was told before.
    pub(super) fn ask_to_end(&mut self, now: Moment, generation: Generation) {
        let is_this = |process: &&mut Process| process.generation == generation;
        let Some(process) = self.swap.draining.iter_mut().find(is_this) else {
            return;
        };
        if process.told != Told::Nothing {
            return;
        }
        process.told = Told::Stop;
        process.asked = Some(now);
        process.deadline = Some(now + self.policy.stop_timeout);
        let open = process.open;
        let first_stream = open.streams > 0 && !std::mem::replace(&mut self.said_streams, true);
        self.show(View::Draining {
            generation,
            open,
            first_stream,
        });
        self.out.push(Action::Stop(generation));
    }

    /// Ends a process and all it started; it is draining from now on.
    pub(super) fn kill(&mut self, mut process: Process) {
        self.out.extend(process.kill());
        self.swap.draining.push(process);
    }

    /// Nothing of a generation is left.
    pub(super) fn gone(
        &mut self,
        now: Moment,
        generation: Generation,
        cut: usize,
        survivors: Vec<i32>,
    ) {
        // Its end may come without its exit, when its keeper was killed.
        self.exited(now, generation, Exit::Unknown, &[], None);
        let Some(at) = self
            .swap
            .draining
            .iter()
            .position(|process| process.generation == generation)
        else {
            return;
        };
        let process = self.swap.draining.remove(at);
        // A drain that was ended, not one that finished: somebody may have lost something.
        if let Some(asked) = process.asked
            && process.told == Told::Kill
            && (process.ended.is_none() || cut > 0)
        {
            let after = now.saturating_sub(asked);
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
        self.show(View::Gone(generation, process.ended));
        self.out.push(Action::Left {
            generation,
            slot: process.slot,
            serving: self.slots.serving(),
        });
        self.relay_again();
        let is_proved = |live: &Process| live.live_since.is_some() && live.deadline.is_none();
        if self.swap.live.as_ref().is_some_and(is_proved) {
            self.out.push(Action::ReleaseUnclaimed);
        }
    }
}
