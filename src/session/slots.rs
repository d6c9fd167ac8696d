//! The two slots behind every held address: a generation has one of them, and the next one gets the
//! other. New connections go to the active slot; what still comes to the idle one is relayed there,
//! unless a generation has it that is to go on.
//!
//! Which generation has which slot is written with its process (`swap`); here is what to do about it.

use super::Session;
use super::action::Action;
use super::swap::{Process, Told};

/// One of the two places behind every held address, each with a socket of its own where that can be:
/// live has one of them, and the next generation gets the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slot {
    /// The one that serves first.
    #[default]
    First,
    /// The one that the second generation gets.
    Second,
}

impl Slot {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::First, Self::Second];

    /// The one that this is not.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    /// Its own of a pair.
    pub fn of<T>(self, pair: &[T; 2]) -> &T {
        &pair[usize::from(self == Self::Second)]
    }

    /// Its own of a pair, to change it.
    pub fn of_mut<T>(self, pair: &mut [T; 2]) -> &mut T {
        &mut pair[usize::from(self == Self::Second)]
    }
}

/// Where new connections go, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slots {
    /// They go to this one.
    pub(super) active: Slot,
    /// What is done about the new ones while live has the other slot.
    parking: Parking,
    /// What the relay was last told to do.
    relay: Option<Relay>,
    /// It may have ended by itself, and is told once more.
    is_lost: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Parking {
    /// Live has the active slot.
    #[default]
    No,
    /// They wait in the queue of the active slot, which the next generation gets.
    Parked,
    /// They have waited for a candidate for as long as they may, and go to live.
    Over,
}

/// Takes what comes to the slot that is not active, and carries it to the active one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relay {
    /// The idle slot.
    pub from: Slot,
    /// No process has it, so that nobody else takes anything there.
    pub alone: bool,
}

impl Slots {
    /// The slot of the generation that serves, or served last.
    pub(super) fn serving(self) -> Slot {
        match self.parking {
            Parking::Parked => self.active.other(),
            Parking::No | Parking::Over => self.active,
        }
    }

    /// Clients have waited for long enough, and those of a candidate go to live.
    #[cfg(test)]
    pub(super) fn is_unparked(self) -> bool {
        self.parking == Parking::Over
    }
}

impl Session {
    /// The slot that the next generation gets: beside live the one that live has not, else the active
    /// one, with all who wait there.
    pub(super) fn free_slot(&mut self) -> Slot {
        let live = self.swap.live.as_ref();
        live.map_or(self.slots.active, |live| live.slot.other())
    }

    /// A generation gets this slot: what waits there is for it.
    pub(super) fn take_slot(&mut self) {
        if self.slots.parking == Parking::Over {
            self.slots.parking = Parking::No;
        }
    }

    /// New connections go to this slot, whose generation is live now.
    pub(super) fn activate(&mut self, slot: Slot) {
        self.slots.parking = Parking::No;
        self.switch_to(slot);
    }

    /// New connections wait in the slot of the next generation, which nobody has now.
    pub(super) fn park(&mut self) {
        self.slots.parking = Parking::Parked;
        self.switch_to(self.slots.active.other());
    }

    /// New connections go to live again, and so does what has waited.
    pub(super) fn unpark(&mut self) {
        if self.slots.parking == Parking::Parked {
            self.slots.parking = Parking::Over;
            self.switch_to(self.slots.active.other());
        }
    }

    fn switch_to(&mut self, slot: Slot) {
        self.slots.active = slot;
        // The one that runs carries into the wrong direction, and ends by this.
        self.slots.relay = None;
        self.out.push(Action::Activate(slot));
    }

    /// An app may have ended the listening of a socket, and with that the relay.
    pub(super) fn relay_again(&mut self) {
        self.slots.is_lost = true;
    }

    /// Has what comes to the idle slot carried to the active one, unless a generation that is to go on
    /// has it.
    pub(super) fn relay(&mut self) {
        let from = self.slots.active.other();
        let swap = &self.swap;
        let all = swap
            .live
            .iter()
            .chain(&swap.candidate)
            .chain(&swap.draining);
        let mut owners = all.filter(|process| process.slot == from).peekable();
        let alone = owners.peek().is_none();
        let over = self.slots.parking == Parking::Over;
        let goes = |process: &Process| over || process.told != Told::Nothing;
        let relay = owners.all(goes).then_some(Relay { from, alone });
        let was_lost = std::mem::take(&mut self.slots.is_lost);
        if was_lost || relay != self.slots.relay {
            self.slots.relay = relay;
            self.out.push(Action::Relay(relay));
        }
    }
}
