//! What is done for the two slots behind each address: new connections are sent to one of them, what comes
//! to the other one is relayed, and what is open at an old generation is looked at. The session decides
//! all of it.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::{Executor, probes_http};
use crate::app::{App, Reach};
use crate::session::event::{Event, Open};
use crate::session::model::{Generation, Moment};
use crate::session::slots::{self, Slot};
use crate::sockets::quiesce::{self, Limits, Quiesce};
use crate::sockets::relay::Relay;
use crate::ui::Note;

/// A generation with processes.
#[derive(Debug)]
pub struct Running {
    /// It.
    pub app: App,
    /// Its sockets.
    pub slot: Slot,
    /// It was told to end, and may remove a path that is held.
    pub unlinks: bool,
    /// It can't remove a path that is held.
    pub keeps_paths: bool,
}

/// Between two looks at paths that somebody may remove.
const RELINK: Duration = Duration::from_millis(2);

/// What is going on behind the addresses.
#[derive(Debug, Default)]
pub struct Tasks {
    /// What is to be relayed, and who does it.
    relay: Option<(slots::Relay, Relay)>,
    /// Carries what comes to addresses that are in the way of those that live listens on.
    pub(super) forward: Option<Relay>,
    /// Puts paths back while a generation ends that may remove them.
    relink: Option<JoinHandle<()>>,
    /// Looks at what is open at an old generation, until nothing is under way there.
    quiescing: Option<(Generation, JoinHandle<()>)>,
}

impl Executor {
    /// Puts the sockets in order for a generation that gets this slot; how it can be asked whether it is
    /// ready, while another one serves.
    pub(super) fn prepare_slot(&mut self, now: Moment, slot: Slot, is_beside: bool) -> Reach {
        let repaired = self.held.lock().repair();
        self.warn(now, repaired);
        if !is_beside || !probes_http(&self.settings) {
            return Reach::Always;
        }
        let port = self.held.lock().begin_probe(slot);
        let reach = port
            .as_ref()
            .map_or(Reach::Never, |port| Reach::From(*port));
        self.warn(now, port.map(|_| ()));
        reach
    }

    /// New connections go to this slot from now on.
    pub(super) fn activate(&mut self, now: Moment, slot: Slot) {
        let switched = self.held.lock().switch(slot);
        self.warn(now, switched);
        self.tasks.relay = None;
    }

    /// Has what comes to the slot that is not active carried to the active one, or nobody does.
    pub(super) fn relay(&mut self, wanted: Option<slots::Relay>) {
        let known = self.tasks.relay.as_ref();
        let runs = known.filter(|(_, task)| !task.has_ended());
        if runs.map(|(known, _)| *known) != wanted {
            self.relay_anew(wanted);
        }
    }

    /// The same with the sockets that are held now: whoever relays must not keep what was released, and
    /// has to know of what is new.
    pub(super) fn relay_again(&mut self) {
        self.relay_anew(self.tasks.relay.as_ref().map(|(known, _)| *known));
    }

    fn relay_anew(&mut self, wanted: Option<slots::Relay>) {
        // The old one has to let go of the sockets first.
        self.tasks.relay = None;
        self.tasks.relay = wanted.map(|wanted| {
            let standbys = self.held.lock().standby(wanted.from);
            (wanted, Relay::start(standbys, wanted.alone))
        });
    }

    /// Looks at what is open at a generation, until nothing is under way there.
    pub(super) fn quiesce(&mut self, generation: Generation) {
        let Some(running) = self.apps.get(&generation) else {
            return;
        };
        let slots = self.held.lock().old_slots(running.slot);
        let sockets = slots.iter().map(|slot| slot.inode).collect();
        let app = &self.settings.app;
        let dies = running.app.is_ended_by(app.stop_signal, sockets);
        let (silent, answer) = (self.settings.quiesce_max, app.stop_timeout);
        let events = self.events.clone();
        let look = async move {
            // The connections that there are now are the old ones.
            let quiesce = Quiesce::begin(slots).await?;
            let dies = tokio::task::spawn_blocking(dies).await?;
            let limits = Limits {
                finishes: !dies,
                silent,
                answer,
            };
            let tell = |quiesce::Open { busy, streams }| {
                let open = Open {
                    dies,
                    busy,
                    streams,
                };
                events.send(Event::Open(generation, Some(open))).ok();
            };
            quiesce.wait(limits, tell).await
        };
        self.end_quiescing(|_| true);
        let unknown = self.events.clone();
        let task = tokio::spawn(async move {
            if look.await.is_err() {
                unknown.send(Event::Open(generation, None)).ok();
            }
        });
        self.tasks.quiescing = Some((generation, task));
    }

    /// A generation is told to end.
    pub(super) fn leaves(&mut self, generation: Generation) {
        self.end_quiescing(|quiescing| quiescing == generation);
        let Some(running) = self.apps.get_mut(&generation) else {
            return;
        };
        running.unlinks = !running.keeps_paths;
        let (slot, unlinks) = (running.slot, running.unlinks);
        if unlinks && self.held.lock().paths().next().is_some() {
            let held = self.held.clone();
            let relink = async move {
                loop {
                    held.lock().restore_paths();
                    tokio::time::sleep(RELINK).await;
                }
            };
            self.end_relinking();
            self.tasks.relink = Some(tokio::spawn(relink));
        }
        self.held.lock().end_probe(slot).ok();
    }

    /// Nothing of a generation is left. It may have removed a path or ended the listening of a socket,
    /// which is everybody's.
    pub(super) fn has_left(&mut self, generation: Generation, slot: Slot, serving: Slot) {
        self.apps.remove(&generation);
        // Another one may still be about to remove a path.
        if !self.apps.values().any(|running| running.unlinks) {
            self.end_relinking();
        }
        let mut held = self.held.lock();
        held.repair().ok();
        held.restore_paths();
        // What follows wants what the one that serves has.
        held.forget_claims(slot, serving);
    }

    fn warn(&self, now: Moment, result: std::io::Result<()>) {
        if let Err(error) = result {
            let problem = format!("cannot send clients to one version alone: {error}");
            self.reporter.note(now, Note::Warning(problem));
        }
    }

    fn end_relinking(&mut self) {
        self.tasks.relink.take().inspect(JoinHandle::abort);
    }

    fn end_quiescing(&mut self, is_over: impl Fn(Generation) -> bool) {
        let quiescing = &mut self.tasks.quiescing;
        if let Some((_, task)) = quiescing.take_if(|(generation, _)| is_over(*generation)) {
            task.abort();
        }
    }
}
