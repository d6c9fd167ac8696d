//! How a generation ends: it is quiesced, then gets the stop signal and drains, then all that it has
//! started is killed.

use super::Session;
use super::action::{Action, View};
use super::event::Open;
use super::model::{Exit, Generation, Moment};
use super::swap::{Process, Told};

impl Session {
    /// Ends live before the next generation starts (stop-first). Where there are two slots, new
    /// connections are parked for that generation first, so that live does not get the stop signal with
    /// a connection that it has accepted and not read.
    pub(super) fn make_room(&mut self, now: Moment) {
        let draining = &self.swap.draining;
        let drains = draining.iter().any(|process| process.told != Told::Kill);
        if !drains && !draining.is_empty() {
            // The draining generation was killed and will be gone in a moment; live serves until then.
            return;
        }
        let Some(live) = self.swap.live.take() else {
            return;
        };
        self.good(&live);
        if drains {
            // Not parked: the draining generation owns the standby slot and would accept the
            // connections.
            return self.stop(now, live);
        }
        if self.policy.quiesce_max.is_some() && self.hold_due().is_none() {
            self.park();
        }
        self.quiesce(now, live);
    }

    /// Ends the candidate in favour of a newer one. Without live, it has the active slot and may have
    /// accepted connections long before it is seen to be ready: it is killed as soon as none of them
    /// waits for an answer, and new ones are parked meanwhile. Returns whether there is no candidate any
    /// more.
    pub(super) fn supersede(&mut self, now: Moment) -> bool {
        let Some(mut candidate) = self.swap.candidate.take() else {
            return true;
        };
        let serves = self.swap.live.is_none() && candidate.slot == self.slots.active;
        if !serves || self.policy.quiesce_max.is_none() {
            self.kill(candidate);
            return true;
        }
        if !self.swap.draining.is_empty() {
            // The draining generation owns the standby slot and would accept what is parked there.
            self.end_drains();
            self.swap.candidate = Some(candidate);
            return false;
        }
        candidate.cut_for_next = true;
        self.park();
        self.quiesce(now, candidate);
        true
    }

    /// Ends all drains, since the next generation needs the slot.
    pub(super) fn end_drains(&mut self) {
        for process in &mut self.swap.draining {
            process.cut_for_next |= process.told != Told::Kill;
            self.out.extend(process.kill());
        }
    }

    /// Quiesces a process that new connections don't go to any more: connections already on their way
    /// may still reach it, and would be lost if it got the stop signal at once.
    pub(super) fn quiesce(&mut self, now: Moment, mut process: Process) {
        let Some(max) = self.policy.quiesce_max else {
            return self.stop(now, process);
        };
        // As long as the app may die of the stop signal, requests in flight get `stop_timeout` before it
        // is sent. A pending launch does not wait that long.
        let max = match self.swap.pending {
            Some(_) => max,
            None => max.max(self.policy.stop_timeout),
        };
        process.asked = Some(now);
        process.deadline = Some(now + max);
        self.out.push(Action::Quiesce(process.generation));
        self.swap.draining.push(process);
    }

    /// Takes in the connections open at a process that is being quiesced, or that they can't be read. It
    /// gets the stop signal when it is drained, at the latest after `quiesce_max`; a process that the
    /// signal ends at once keeps the `stop_timeout` that others have after the signal.
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

    /// Sends the stop signal to a process; it is draining from now on.
    pub(super) fn stop(&mut self, now: Moment, process: Process) {
        let generation = process.generation;
        self.swap.draining.push(process);
        self.ask_to_end(now, generation);
    }

    /// Sends the stop signal to a draining process, unless it was told before; kills one that a newer
    /// candidate supersedes.
    pub(super) fn ask_to_end(&mut self, now: Moment, generation: Generation) {
        let is_this = |process: &&mut Process| process.generation == generation;
        let Some(process) = self.swap.draining.iter_mut().find(is_this) else {
            return;
        };
        if process.told != Told::Nothing {
            return;
        }
        if process.is_superseded() {
            self.out.extend(process.kill());
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

    /// Kills a process and all that it started; it counts as draining until it is gone.
    pub(super) fn kill(&mut self, mut process: Process) {
        self.out.extend(process.kill());
        self.swap.draining.push(process);
    }

    /// No process of a generation is left.
    pub(super) fn gone(
        &mut self,
        now: Moment,
        generation: Generation,
        cut: usize,
        survivors: Vec<i32>,
    ) {
        // When its keeper was killed, no exit was reported before.
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
        // The drain was cut, so a client may have lost its answer.
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
