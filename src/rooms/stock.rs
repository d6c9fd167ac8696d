//! What the app listens on by itself: the next generation is to find it again, the user hears of it,
//! and the next run of hotrun remembers it.

use super::{House, names, policy};
use crate::app::Captured;
use crate::capture::{Capture, filter};
use crate::session::event::Event;
use crate::session::model::{Generation, Moment};
use crate::sockets::memory;
use crate::sockets::relay::{self, Relay};
use crate::sockets::twins::Side;
use crate::ui::Note;

impl House {
    /// What it takes to hold what the next generation listens on; it gets this side.
    pub(super) fn capture(&self, side: Side) -> Option<Captured> {
        if !self.settings.app.capture {
            return None;
        }
        let mut held = self.held.lock();
        // While new clients are held back, they are not sent to live.
        let live = self.sides.held_back.unwrap_or(held.steered());
        let expected = held.expected(live);
        held.forget_claims(side, live);
        let filter = filter::program(held.paths().next().is_some())?;
        let held = self.held.clone();
        Some(Captured {
            capture: Capture { held, side },
            filter,
            expected,
        })
    }

    /// Other addresses may be held than were said to be: who has to know of it is told.
    pub(super) fn take_stock(&mut self, now: Moment) {
        if names(&self.held.lock()) != self.announced {
            self.announce(now);
            self.remember();
        }
        let policy = policy(&self.settings, &self.held.lock());
        self.events.send(Event::Stock(Box::new(policy))).ok();
    }

    /// A generation has been live for a while: what it has not got open now it does not need.
    pub(super) fn has_proved_itself(&mut self, now: Moment, generation: Generation) {
        let Some(running) = self.apps.get(&generation) else {
            return;
        };
        let side = running.side;
        // In this order: what it asks for meanwhile is not given up.
        let claims = self.held.lock().claims(side);
        let open = running.app.open_sockets();
        // Where nothing is left at all, it is about to end, and what follows will want everything.
        if !claims.is_disjoint(&open) {
            let given_up = claims.difference(&open).copied().collect();
            self.held.lock().unclaim(side, &given_up);
        }
        self.sides.proved = Some(generation);
        self.let_go(now);
    }

    /// Clients are sent to this side from now on: nothing may be in the way of what it listens on.
    pub(super) fn make_way(&mut self, now: Moment, side: Side) {
        self.sides.proved = None;
        // Not two at a time for one socket.
        self.sides.detour = None;
        let mut held = self.held.lock();
        let gone = held.make_way(side);
        let detours = held.detours();
        drop(held);
        self.sides.detour = (!detours.is_empty()).then(|| Relay::start(detours, true));
        if !gone.is_empty() || self.sides.detour.is_some() {
            self.take_stock(now);
        }
    }

    /// Lets go of what nobody listens on, if live is there and has had the time to.
    pub(super) fn let_go(&mut self, now: Moment) {
        let proved = self.sides.proved.and_then(|proved| self.apps.get(&proved));
        if proved.is_none_or(|proved| proved.told) {
            return;
        }
        let mut held = self.held.lock();
        let detours = held.detours();
        let gone = held.let_go_unclaimed();
        let is_over = held.detours().is_empty();
        drop(held);
        if is_over {
            self.sides.detour = None;
        }
        if !gone.is_empty() {
            self.relay_anew();
            // Behind the others, who let go of them when it is their turn.
            relay::take_last(detours);
            self.take_stock(now);
        }
    }

    /// No process has what was held for the next one, which is not to find it taken.
    pub(super) fn free(&mut self, now: Moment) {
        let gone = self.held.lock().let_go_unasked();
        if !gone.is_empty() {
            self.relay_anew();
            self.take_stock(now);
        }
    }

    /// Says what is held. What stands behind it has changed as well.
    pub(super) fn announce(&mut self, now: Moment) {
        self.relay_anew();
        let names = names(&self.held.lock());
        let before = std::mem::replace(&mut self.announced, names);
        if !(before.is_empty() && self.announced.is_empty()) {
            self.reporter.note(now, Note::Held(self.announced.clone()));
        }
    }

    /// Whoever carries what comes to the idle side must not keep what was let go of, and has to know of
    /// what is new.
    fn relay_anew(&mut self) {
        self.sides.relay = None;
        self.settle();
    }

    /// Writes down what the next run is to hold from its start.
    fn remember(&self) {
        if let Some(path) = &self.memory {
            // It is a convenience: without it the next run holds the address a little later.
            let ports = self.held.lock().ports();
            memory::write(path, &ports).ok();
        }
    }
}
