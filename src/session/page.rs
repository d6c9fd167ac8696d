//! The page that browsers get while no generation can answer: hotrun then owns the active slot and accepts
//! connections there itself, as a generation would. This module decides when.
//!
//! It gives the slot up before a generation is launched into it, so the two never accept on one socket. In
//! the gap of a stop-first swap, of a rollback or a restart, clients wait in the queue instead: the next
//! generation is about to take them.

use super::Session;
use super::action::Action;
use super::model::Occasion;
use super::slots::Slot;

/// What hotrun does about connections while no generation serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Page {
    /// A generation serves: what hotrun has accepted is relayed to it.
    #[default]
    GivesWay,
    /// No generation serves, and hotrun accepts nothing more: what it has accepted waits.
    Waits,
    /// No generation serves, and hotrun accepts connections on this slot, which no generation has.
    Accepts(Slot),
}

impl Session {
    /// Orders what is to be done about connections now, if that has changed.
    pub(super) fn page(&mut self) {
        let page = self.wanted_page();
        if page != self.slots.page {
            self.slots.page = page;
            self.out.push(Action::Page(page));
        }
    }

    fn wanted_page(&self) -> Page {
        let (swap, active) = (&self.swap, self.slots.active);
        let live = swap.live.as_ref();
        if live.is_some_and(|live| live.slot == active) {
            return Page::GivesWay;
        }
        // Parked connections wait for the next generation. They see a page only once it is clear that they
        // wait for a fix.
        let is_parked = live.is_some() && !swap.failed;
        let candidate = swap.candidate.iter();
        let mut processes = candidate.chain(&swap.draining);
        let is_owned = processes.any(|process| process.slot == active);
        let about_to_start = swap.candidate.is_some() || swap.pending.is_some() && !self.prepares();
        let closed = !self.policy.page || self.ending.is_some();
        if is_parked || is_owned || about_to_start || closed {
            Page::Waits
        } else {
            Page::Accepts(active)
        }
    }

    /// A launch waits for `before_start`, which may take as long as a migration does.
    fn prepares(&self) -> bool {
        let is_it = |(_, occasion): &(_, _)| *occasion == Occasion::BeforeStart;
        self.jobs.iter().any(is_it)
    }
}
