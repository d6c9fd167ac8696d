//! One session in its world: a step happens, the session's actions are judged and carried out.

use std::fmt::Write as _;
use std::time::Duration;

use super::super::action::Action;
use super::super::event::Event;
use super::super::model::{Generation, Handover, Moment};
use super::super::{Policy, Session};
use super::policies::Setup;
use super::promises::{INVARIANTS, Invariant};
use super::world::World;

/// When the session begins: so late that no span of its rules is taken for a moment.
pub(super) const BEGIN: Moment = Duration::from_secs(1_000_000);

/// What may happen.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The session gets an event.
    Event(Event),
    /// A program binds the address, or closes its socket there, which the session is not told.
    Binds(Generation, bool),
}

/// An invariant is broken.
#[derive(Clone, Debug)]
pub(super) struct Broken {
    pub(super) invariant: &'static str,
    pub(super) what: &'static str,
}

/// A session, its world, and what was told, if anybody wants to know.
#[derive(Clone, Debug)]
pub(super) struct Play {
    pub(super) session: Session,
    pub(super) world: World,
    pub(super) now: Moment,
    story: Option<String>,
}

impl Play {
    pub(super) fn new(setup: &Setup) -> Self {
        Self {
            session: Session::new(setup.policy.clone(), true),
            world: World::new(setup),
            now: BEGIN,
            story: None,
        }
    }

    /// Writes down what happens from now on.
    pub(super) fn tell(&mut self) {
        self.story = Some(String::new());
    }

    /// What was written down.
    pub(super) fn told(&self) -> &str {
        self.story.as_deref().unwrap_or_default()
    }

    /// Time passes, with nothing noticed.
    pub(super) fn pause(&mut self, long: Duration) {
        self.now += long;
    }

    /// A step happens.
    pub(super) fn happen(&mut self, step: Step) -> Result<(), Broken> {
        let event = match step {
            Step::Event(event) => event,
            Step::Binds(generation, binds) => {
                if let Some(story) = &mut self.story {
                    writeln!(story, "{generation} binds the address: {binds}").unwrap();
                }
                self.world.binds(generation, binds);
                return Ok(());
            }
        };
        if matches!(event, Event::Tick) {
            self.now = self.now.max(self.session.due().unwrap_or_default());
        }
        if let Some(story) = &mut self.story {
            let at = self.now.saturating_sub(BEGIN);
            writeln!(story, "{} {event:?}", at.as_millis()).unwrap();
        }
        self.world.happens(&event);
        let actions = self.session.handle(self.now, event);
        self.world.ending |= self.session.ending.is_some();
        self.world.stop_first |= asks_for_stop_first(&self.session.policy);
        for action in actions {
            if let Some(story) = &mut self.story {
                writeln!(story, "-> {action:?}").unwrap();
            }
            self.judge(|invariant, play| (invariant.action)(play, &action))?;
            self.world.carry_out(self.now, &action);
            if matches!(action, Action::Serving(_)) && self.session.swap.pending.is_none() {
                self.world.stop_first = asks_for_stop_first(&self.session.policy);
            }
        }
        self.judge(|invariant, play| (invariant.state)(play))
    }

    /// Nothing happens any more.
    pub(super) fn is_at_rest(&self) -> Result<(), Broken> {
        self.judge(|invariant, play| (invariant.rest)(play))
    }

    fn judge(
        &self,
        by: impl Fn(&Invariant, &Self) -> Result<(), &'static str>,
    ) -> Result<(), Broken> {
        INVARIANTS.iter().try_for_each(|invariant| {
            by(invariant, self).map_err(|what| Broken {
                invariant: invariant.name,
                what,
            })
        })
    }
}

fn asks_for_stop_first(policy: &Policy) -> bool {
    policy.handover == Handover::StopFirst || !policy.serving
}
