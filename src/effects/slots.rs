//! The two slots behind each address: switches, relay, and quiescing of an old generation. The session
//! decides all of it.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::{Executor, probes_readiness};
use crate::app::{App, Reach};
use crate::defect;
use crate::report::Note;
use crate::session::event::{Event, Open};
use crate::session::model::{Generation, Moment};
use crate::session::page::Page;
use crate::session::slots::{self, Slot};
use crate::sockets::acceptor::{Accepted, Acceptor};
use crate::sockets::quiesce::{self, Limits, Quiesce};
use crate::sockets::relay::{Relay, take_last};

/// A generation with processes.
#[derive(Debug)]
pub struct Running {
    /// Its handle.
    pub app: App,
    /// Its slot.
    pub slot: Slot,
    /// It was told to end, and may unlink a held path.
    pub unlinks: bool,
    /// Its filter keeps it from unlinking a held path.
    pub keeps_paths: bool,
}

/// How often held paths are checked while a generation may unlink them.
const RELINK: Duration = Duration::from_millis(2);

/// Background tasks for the slots.
#[derive(Debug, Default)]
pub struct Tasks {
    /// The relay, and the order that it carries out.
    relay: Option<(slots::Relay, Relay)>,
    /// Accepts connections for the page on this slot.
    page: Option<(Slot, Acceptor)>,
    /// Forwards connections to overlapping addresses to live.
    pub(super) forward: Option<Relay>,
    /// Restores held paths while a generation that may unlink them ends.
    relink: Option<JoinHandle<Result<(), String>>>,
    /// Watches the connections of an old generation until none is busy.
    quiescing: Option<(Generation, JoinHandle<Result<(), String>>)>,
}

impl Executor {
    /// Repairs the sockets for a generation that gets this slot; returns how readiness probes reach it
    /// while another one serves.
    pub(super) fn prepare_slot(&mut self, now: Moment, slot: Slot, is_beside: bool) -> Reach {
        let repaired = self.held.lock().repair();
        self.warn(now, repaired);
        let is_relayed = self.held.lock().is_relayed();
        if !is_beside || is_relayed || !probes_readiness(&self.settings) {
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
        self.browsers.switched();
        self.tasks.relay = None;
    }

    /// Relays from the standby slot as ordered, or stops.
    pub(super) fn relay(&mut self, wanted: Option<slots::Relay>) {
        let known = self.tasks.relay.as_ref();
        let runs = known.filter(|(_, task)| !task.has_ended());
        let known = runs.map(|(known, _)| *known);
        if known == wanted {
            return;
        }
        self.start_relay(wanted);
    }

    /// Relays what is queued on this standby slot now, and nothing that comes later.
    pub(super) fn relay_queued(&self, from: Slot) {
        take_last(self.held.lock().standby(from));
    }

    /// Restarts the relay and the page with the sockets that are held now: they must not keep released
    /// ones, and must have new ones.
    pub(super) fn restart_acceptors(&mut self, now: Moment) {
        self.answer_clients(now);
        self.start_relay(self.tasks.relay.as_ref().map(|(known, _)| *known));
        self.start_page(self.tasks.page.as_ref().map(|(slot, _)| *slot));
    }

    /// Answers at the addresses at which hotrun is to answer now.
    pub fn answer_clients(&mut self, now: Moment) {
        let fronts = self.held.lock().fronts();
        self.browsers.answer(now, &fronts, &self.reporter);
    }

    /// Accepts connections for the page, or stops to before anything else is done.
    pub(super) fn page(&mut self, page: Page) {
        self.start_page(match page {
            Page::Accepts(slot) => Some(slot),
            Page::Waits | Page::GivesWay => None,
        });
        self.browsers.page.order(page);
    }

    fn start_page(&mut self, slot: Option<Slot>) {
        self.tasks.page = None;
        self.tasks.page = slot.map(|slot| {
            let sockets = self.held.lock().tcp_sockets(slot);
            let page = self.browsers.page.clone();
            let serve = move |accepted: Accepted| {
                let Accepted {
                    stream,
                    peer,
                    place,
                } = accepted;
                page.serve(stream, peer, place);
            };
            (
                slot,
                Acceptor::start(sockets, self.browsers.page.places(), serve),
            )
        });
    }

    fn start_relay(&mut self, wanted: Option<slots::Relay>) {
        // The old relay has to close its sockets first.
        self.tasks.relay = None;
        self.tasks.relay = wanted.map(|wanted| {
            let standbys = self.held.lock().standby(wanted.from);
            (wanted, Relay::start(standbys, wanted.unowned))
        });
    }

    /// Watches the connections of a generation until none is busy.
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
            defect::point("quiesce");
            // Taken now, so that the connections of this moment are the old ones.
            let quiesce = Quiesce::begin(slots).await?;
            let dies = defect::spawn_blocking("quiesce", dies).done().await?;
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
        let task = defect::spawn("quiesce", async move {
            // Without it the swap goes on.
            if !matches!(defect::guarded("quiesce", look).await, Ok(Ok(()))) {
                unknown.send(Event::Open(generation, None)).ok();
            }
        });
        self.tasks.quiescing = Some((generation, task));
    }

    /// A generation is told to end.
    pub(super) fn told_to_end(&mut self, generation: Generation) {
        self.end_quiescing(|quiescing| quiescing == generation);
        let Some(running) = self.apps.get_mut(&generation) else {
            return;
        };
        running.unlinks = !running.keeps_paths;
        let (slot, unlinks) = (running.slot, running.unlinks);
        if unlinks && self.held.lock().paths().next().is_some() {
            let held = self.held.clone();
            let relink = async move || {
                defect::point("relink");
                loop {
                    held.lock().restore_paths();
                    tokio::time::sleep(RELINK).await;
                }
            };
            self.end_relinking();
            let relink = defect::again("relink", relink);
            self.tasks.relink = Some(defect::spawn("relink", relink));
        }
        self.held.lock().end_probe(slot).ok();
    }

    /// No process of a generation is left. It may have unlinked a path, or shut down a socket that
    /// others share.
    pub(super) fn remove_generation(&mut self, generation: Generation, slot: Slot, serving: Slot) {
        self.apps.remove(&generation);
        // Another generation may still be about to unlink a path.
        if !self.apps.values().any(|running| running.unlinks) {
            self.end_relinking();
        }
        let mut held = self.held.lock();
        held.repair().ok();
        held.restore_paths();
        // The next generation is awaited where the one that serves listens.
        held.forget_claims(slot, serving);
    }

    fn warn(&self, now: Moment, result: std::io::Result<()>) {
        if let Err(error) = result {
            let problem = format!("cannot steer new connections to one generation: {error}");
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
