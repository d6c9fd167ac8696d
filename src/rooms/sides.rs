//! Which of the two sockets behind each address is whose: where clients are sent to, who takes what
//! comes to the other one, and when the old version has heard all that was on its way to it.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::{House, asks};
use crate::app::{App, Reach};
use crate::session::event::{Event, Open};
use crate::session::model::{Generation, Moment};
use crate::sockets::quiesce::{self, Limits, Quiesce};
use crate::sockets::relay::Relay;
use crate::sockets::twins::Side;
use crate::ui::Note;

/// A generation with processes.
#[derive(Debug)]
pub struct Running {
    /// It.
    pub app: App,
    /// Its sockets.
    pub side: Side,
    /// It was told to end.
    pub told: bool,
    /// It can't remove a path that is held.
    pub keeps_paths: bool,
}

/// Between two looks at paths that somebody may remove.
const RELINK: Duration = Duration::from_millis(2);

/// What is going on behind the addresses.
#[derive(Debug, Default)]
pub struct Sides {
    /// Carries what comes to the side that clients are not sent to: to whom it is no matter any more
    /// (`true`: no process has it).
    pub relay: Option<(Side, bool, Relay)>,
    /// The side of live, while new clients wait on the other one.
    pub(super) held_back: Option<Side>,
    /// Clients have waited for a candidate for as long as they may, and go to live.
    let_go: bool,
    /// Carries what comes to addresses that are in the way of those that live listens on.
    pub(super) detour: Option<Relay>,
    /// Puts paths back while a version ends that may remove them.
    relink: Option<JoinHandle<()>>,
    /// Who has been live for a while, and listens on all that it is going to.
    pub(super) proved: Option<Generation>,
    /// Looks at what is open at an old generation, until nothing is under way there.
    quiescing: Option<JoinHandle<()>>,
}

impl House {
    /// The side that the next generation gets: beside live, the one that `live` has not; else the
    /// one that clients are sent to, with all who wait there.
    pub(super) fn take_side(&mut self, now: Moment, live: Option<Side>) -> (Side, Reach) {
        self.apps.retain(|_, running| !running.app.is_gone());
        // What waits on a side is for who gets it, and nobody else takes it from here on.
        self.sides.relay = None;
        self.sides.let_go = false;
        let mended = self.held.lock().mend();
        self.warn(now, mended);
        let Some(live) = live else {
            return (self.held.lock().steered(), Reach::Always);
        };
        let side = live.other();
        if !asks(&self.settings) {
            return (side, Reach::Always);
        }
        let port = self.held.lock().ask(side);
        let reach = port
            .as_ref()
            .map_or(Reach::Never, |port| Reach::From(*port));
        self.warn(now, port.map(|_| ()));
        (side, reach)
    }

    /// Clients are sent to this generation from now on.
    pub(super) fn serves(&mut self, now: Moment, generation: Generation) {
        let Some(side) = self.side(generation) else {
            return;
        };
        self.sides.held_back = None;
        self.sides.let_go = false;
        self.steer(now, side);
        self.make_way(now, side);
    }

    /// New clients are to wait on the side of the next version, which nobody has now.
    pub(super) fn hold(&mut self, now: Moment) {
        let live = self.held.lock().steered();
        self.sides.held_back = Some(live);
        self.sides.let_go = false;
        self.steer(now, live.other());
    }

    /// Clients are sent to live again, and so is who has waited.
    pub(super) fn release(&mut self, now: Moment) {
        if let Some(live) = self.sides.held_back.take() {
            self.sides.let_go = true;
            self.steer(now, live);
        }
    }

    /// Looks at what is open at a generation, until nothing is under way there.
    pub(super) fn quiesce(&mut self, generation: Generation) {
        let Some(running) = self.apps.get(&generation) else {
            return;
        };
        let slots = self.held.lock().old_slots(running.side);
        let sockets = slots.iter().map(|slot| slot.inode).collect();
        let app = &self.settings.app;
        let dies = running.app.is_ended_by(app.stop_signal, sockets);
        let (silent, answer) = (self.settings.goodbye_max, app.stop_timeout);
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
        self.end_quiescing();
        let unknown = self.events.clone();
        self.sides.quiescing = Some(tokio::spawn(async move {
            if look.await.is_err() {
                unknown.send(Event::Open(generation, None)).ok();
            }
        }));
    }

    /// A generation is told to end: what still comes to its side is for live, if that has another
    /// one; else it waits for the next version.
    pub(super) fn leaves(&mut self, generation: Generation) {
        let Some(running) = self.apps.get_mut(&generation) else {
            return;
        };
        running.told = true;
        let (side, keeps_paths) = (running.side, running.keeps_paths);
        if !keeps_paths && self.held.lock().paths().next().is_some() {
            let held = self.held.clone();
            let relink = async move {
                loop {
                    held.lock().show_paths();
                    tokio::time::sleep(RELINK).await;
                }
            };
            self.end_relinking();
            self.sides.relink = Some(tokio::spawn(relink));
        }
        if side != self.held.lock().steered() {
            self.end_quiescing();
        }
        self.held.lock().ask_no_more(side).ok();
        self.settle();
    }

    /// Nothing of a generation is left. It may have removed a path or ended the listening of a socket,
    /// which is everybody's.
    pub(super) fn has_left(&mut self, now: Moment, generation: Generation) {
        let left = self.apps.remove(&generation);
        // Another one may still be about to remove a path.
        let removes = |running: &Running| running.told && !running.keeps_paths;
        if !self.apps.values().any(removes) {
            self.end_relinking();
        }
        let mut held = self.held.lock();
        held.mend().ok();
        held.show_paths();
        // What comes after a version that clients are sent to wants what that had.
        let live = self.sides.held_back.unwrap_or(held.steered());
        if let Some(left) = left {
            held.forget_claims(left.side, live);
        }
        drop(held);
        self.let_go(now);
        self.settle();
    }

    /// Has what comes to the side that clients are not sent to carried to live, unless a version that
    /// is to go on has that side.
    pub fn settle(&mut self) {
        let idle = self.held.lock().steered().other();
        let has = |running: &&Running| running.side == idle && !running.app.is_gone();
        let taken = self.apps.values().filter(has);
        let (mut alone, mut wanted) = (true, true);
        for running in taken {
            alone = false;
            wanted &= running.told || self.sides.let_go;
        }
        let known = self.sides.relay.as_ref();
        let is_so = known.is_some_and(|(side, free, relay)| {
            (*side, *free) == (idle, alone) && !relay.has_ended()
        });
        if !wanted {
            self.sides.relay = None;
        } else if !is_so {
            // The old one has to let go of the sockets first.
            self.sides.relay = None;
            let relay = Relay::start(self.held.lock().stray(idle), alone);
            self.sides.relay = Some((idle, alone, relay));
        }
    }

    fn steer(&mut self, now: Moment, side: Side) {
        let steered = self.held.lock().switch(side);
        self.warn(now, steered);
        self.sides.relay = None;
        self.settle();
    }

    fn warn(&self, now: Moment, result: std::io::Result<()>) {
        if let Err(error) = result {
            let problem = format!("cannot send clients to one version alone: {error}");
            self.reporter.note(now, Note::Warning(problem));
        }
    }

    fn side(&self, generation: Generation) -> Option<Side> {
        self.apps.get(&generation).map(|running| running.side)
    }

    fn end_relinking(&mut self) {
        self.sides.relink.take().inspect(JoinHandle::abort);
    }

    fn end_quiescing(&mut self) {
        self.sides.quiescing.take().inspect(JoinHandle::abort);
    }
}
