//! The addresses that are held: claims of the generations, releases, what is announced to the user, and
//! what the next run remembers.

use super::{Executor, names, policy};
use crate::app::Captured;
use crate::browser::address::url;
use crate::capture::Capture;
use crate::config::{Question, Ready};
use crate::defect;
use crate::report::Note;
use crate::session::event::Event;
use crate::session::model::{Generation, Moment, Program};
use crate::session::slots::Slot;
use crate::sockets::relay::{self, Relay};
use crate::sockets::remembered;
use crate::sys::{self, calls};

impl Executor {
    /// What capture of the next generation needs, which gets this slot. It is expected to listen where
    /// the generation that is `serving`, or served last, does.
    pub(super) fn capture(&self, slot: Slot, serving: Slot) -> Option<Captured> {
        if !self.settings.app.capture {
            return None;
        }
        let mut held = self.held.lock();
        let awaited = held.awaited(serving);
        held.forget_claims(slot, serving);
        let filter = calls::filter(held.paths().next().is_some())?;
        let held = self.held.clone();
        Some(Captured {
            capture: Capture { held, slot },
            filter,
            expected: awaited,
        })
    }

    /// The held addresses may have changed: announces and remembers them if they have, and tells the
    /// session.
    pub(super) fn read_addresses(&mut self, now: Moment) {
        self.answer_clients(now);
        if names(&self.held.lock()) != self.announced {
            self.announce(now);
            self.remember();
        }
        let policy = policy(&self.settings, &self.held.lock());
        self.events.send(Event::Addresses(Box::new(policy))).ok();
    }

    /// A generation has passed its probation: it gives up its claims on sockets that it has closed.
    pub(super) fn passed_probation(&mut self, generation: Generation) {
        let Some(running) = self.apps.get(&generation) else {
            return;
        };
        let slot = running.slot;
        let mut claims = self.held.lock().claims(slot);
        let count = claims.len();
        // Of one claim, none would be given up. Most apps have no more, and a look at all that an app has
        // open takes a while.
        if count < 2 {
            return;
        }
        // The program may bind and listen meanwhile.
        let open = running.app.open_sockets();
        claims.retain(|inode, _| !open.contains(inode));
        // A generation that has closed all of them is about to end, and its successor claims them.
        if claims.len() < count {
            self.held.lock().unclaim(slot, &claims);
        }
    }

    /// This generation became live: releases or forwards the addresses that overlap with its own.
    pub(super) fn release_overlapping(&mut self, now: Moment, generation: Generation) {
        let Some(slot) = self.apps.get(&generation).map(|running| running.slot) else {
            return;
        };
        // One relay at a time may accept on a socket.
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

    /// Releases the captured addresses that no generation claims.
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
            self.restart_acceptors(now);
            // After the release, what is still queued on the forwarded sockets is carried to live.
            relay::take_last(forwards);
            self.read_addresses(now);
        }
    }

    /// No process has the captured addresses that were kept for the next generation: releases them, so
    /// that its bind finds them free.
    pub(super) fn release_unbound(&mut self, now: Moment) {
        let gone = self.held.lock().release_unbound();
        if !gone.is_empty() {
            self.restart_acceptors(now);
            self.read_addresses(now);
        }
    }

    /// Announces the held addresses to the user, and has the relay and the page accept on their sockets.
    pub(super) fn announce(&mut self, now: Moment) {
        self.restart_acceptors(now);
        let names = names(&self.held.lock());
        let before = std::mem::replace(&mut self.announced, names);
        if !(before.is_empty() && self.announced.is_empty()) {
            self.reporter.note(now, Note::Held(self.announced.clone()));
        }
    }

    /// Opens the first address in the user's browser.
    pub(super) fn open_browser(&self, now: Moment) {
        let first = self.held.lock().iter().find_map(|held| held.address.tcp());
        let Some(address) = first else {
            let problem = "there is no address that a browser could open";
            return self.reporter.note(now, Note::Warning(problem.into()));
        };
        let asked = self.settings.app.ready.as_ref();
        let is_tls = matches!(asked, Some(Ready::Asked(Question::Http { tls: true, .. })));
        let url = url(address, is_tls);
        let reporter = self.reporter.clone();
        // It looks for programs, and may wait for one.
        defect::spawn_blocking("open", move || {
            defect::point("open");
            // What it waits for is a process in between, not the browser.
            if let Err(error) = open::that_detached(&url)
                && !sys::is_reaped(&error)
            {
                let problem = format!("cannot open a browser: {error}; the app is at {url}");
                reporter.tell(Note::Warning(problem));
            }
        });
    }

    /// Writes them again if the file was removed, as with the whole target directory.
    pub(super) fn remember_again(&self) {
        let is_gone = |program: &Program| !program.memory.exists();
        if self.program.as_ref().is_some_and(is_gone) {
            self.remember();
        }
    }

    /// Writes the addresses that the next run is to hold from its start.
    fn remember(&self) {
        if let Some(Program { memory, .. }) = &self.program {
            // An error is ignored: the next run would only hold the addresses a little later.
            let ports = self.held.lock().ports();
            remembered::write(memory, &ports).ok();
        }
    }
}
