//! What the app listens on by itself: the next generation is to find it again, the user hears of it,
//! and the next run of hotrun remembers it.

use super::{Executor, names, policy};
use crate::app::Captured;
use crate::capture::{Capture, filter};
use crate::session::event::Event;
use crate::session::model::{Generation, Moment};
use crate::session::slots::Slot;
use crate::sockets::relay::{self, Relay};
use crate::sockets::remembered;
use crate::ui::Note;

impl Executor {
    /// What it takes to hold what the next generation listens on, which gets this slot: what the one that is
    /// `serving` listens on is expected of it.
    pub(super) fn capture(&self, slot: Slot, serving: Slot) -> Option<Captured> {
        if !self.settings.app.capture {
            return None;
        }
        let mut held = self.held.lock();
        let awaited = held.awaited(serving);
        held.forget_claims(slot, serving);
        let filter = filter::program(held.paths().next().is_some())?;
        let held = self.held.clone();
        Some(Captured {
            capture: Capture { held, slot },
            filter,
            expected: awaited,
        })
    }

    /// Other addresses may be held than were said to be: who has to know of it is told.
    pub(super) fn read_addresses(&mut self, now: Moment) {
        if names(&self.held.lock()) != self.announced {
            self.announce(now);
            self.remember();
        }
        let policy = policy(&self.settings, &self.held.lock());
        self.events.send(Event::Addresses(Box::new(policy))).ok();
    }

    /// A generation has been live for a while: what it has not got open now it does not need.
    pub(super) fn has_proved_itself(&mut self, generation: Generation) {
        let Some(running) = self.apps.get(&generation) else {
            return;
        };
        let slot = running.slot;
        // In this order: what it asks for meanwhile is not given up.
        let claims = self.held.lock().claims(slot);
        let open = running.app.open_sockets();
        // Where nothing is left at all, it is about to end, and what follows will want everything.
        if !claims.is_disjoint(&open) {
            let given_up = claims.difference(&open).copied().collect();
            self.held.lock().unclaim(slot, &given_up);
        }
    }

    /// Clients are sent to this generation from now on: nothing may be in the way of what it listens on.
    pub(super) fn make_way(&mut self, now: Moment, generation: Generation) {
        let Some(slot) = self.apps.get(&generation).map(|running| running.slot) else {
            return;
        };
        // Not two at a time for one socket.
        self.tasks.forward = None;
        let mut held = self.held.lock();
        let gone = held.release_overlapping(slot);
        let forwards = held.forwards();
        drop(held);
        self.tasks.forward = (!forwards.is_empty()).then(|| Relay::start(forwards, true));
        if !gone.is_empty() || self.tasks.forward.is_some() {
            self.read_addresses(now);
        }
    }

    /// Releases what no generation claims.
    pub(super) fn release_unclaimed(&mut self, now: Moment) {
        let mut held = self.held.lock();
        let forwards = held.forwards();
        let gone = held.release_unclaimed();
        let is_over = held.forwards().is_empty();
        drop(held);
        if is_over {
            self.tasks.forward = None;
        }
        if !gone.is_empty() {
            self.relay_again();
            // Behind the others, who let go of them when it is their turn.
            relay::take_last(forwards);
            self.read_addresses(now);
        }
    }

    /// No process has what was held for the next one, which is not to find it taken.
    pub(super) fn free(&mut self, now: Moment) {
        let gone = self.held.lock().release_unbound();
        if !gone.is_empty() {
            self.relay_again();
            self.read_addresses(now);
        }
    }

    /// Says what is held. What stands behind it has changed as well.
    pub(super) fn announce(&mut self, now: Moment) {
        self.relay_again();
        let names = names(&self.held.lock());
        let before = std::mem::replace(&mut self.announced, names);
        if !(before.is_empty() && self.announced.is_empty()) {
            self.reporter.note(now, Note::Held(self.announced.clone()));
        }
    }

    /// Writes down what the next run is to hold from its start.
    fn remember(&self) {
        if let Some(path) = &self.memory {
            // It is a convenience: without it the next run holds the address a little later.
            let ports = self.held.lock().ports();
            remembered::write(path, &ports).ok();
        }
    }
}
