//! The two slots behind every held address: a generation has one of them, and the next generation gets
//! the other. New connections go to the active slot; stragglers on the standby slot are relayed to it,
//! unless a running generation owns the standby slot.
//!
//! Each generation's slot is stored with its process (`swap`); this module decides which slot is active
//! and what is relayed.

use super::Session;
use super::action::Action;
use super::page::Page;
use super::swap::{Process, Told};

/// One of the two slots behind every held address, each with a socket of its own where the system allows
/// it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slot {
    /// The slot of the first generation.
    #[default]
    First,
    /// The slot of a generation that starts beside that one.
    Second,
}

impl Slot {
    /// Both slots.
    pub const BOTH: [Self; 2] = [Self::First, Self::Second];

    /// The other slot.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    /// The item of this slot in a pair.
    pub fn of<T>(self, pair: &[T; 2]) -> &T {
        &pair[usize::from(self == Self::Second)]
    }

    /// The item of this slot in a pair, mutably.
    pub fn of_mut<T>(self, pair: &mut [T; 2]) -> &mut T {
        &mut pair[usize::from(self == Self::Second)]
    }
}

/// Which slot is active, whether connections are parked, and what is relayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slots {
    /// New connections go to this slot.
    pub(super) active: Slot,
    /// Whether new connections are parked: they are when live owns the standby slot.
    parking: Parking,
    /// What the relay was last told to do.
    relay: Option<Relay>,
    /// What was last ordered about connections while no generation serves.
    pub(super) page: Page,
    /// The relay may have ended by itself, and has to be started once more.
    is_lost: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Parking {
    /// New connections go to live, which owns the active slot.
    #[default]
    No,
    /// New connections are queued on the active slot, which the next generation gets.
    Parked,
    /// The limit of parking has passed: live's slot is active again, and connections queued for the
    /// candidate are relayed to live.
    Over,
}

/// Accepts connections on the standby slot and relays them to the active one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relay {
    /// The standby slot.
    pub from: Slot,
    /// No process owns the standby slot, so none can accept a connection there before the relay does.
    pub unowned: bool,
}

impl Slots {
    /// The slot of live, or of the last live generation.
    pub(super) fn serving(self) -> Slot {
        match self.parking {
            Parking::Parked => self.active.other(),
            Parking::No | Parking::Over => self.active,
        }
    }

    /// The limit of parking has passed, and the candidate's connections are relayed to live.
    #[cfg(test)]
    pub(super) fn is_unparked(self) -> bool {
        self.parking == Parking::Over
    }
}

impl Session {
    /// The slot that the next generation gets: the one that live does not own, or without live the
    /// active one, with all connections queued there.
    pub(super) fn free_slot(&self) -> Slot {
        let live = self.swap.live.as_ref();
        live.map_or(self.slots.active, |live| live.slot.other())
    }

    /// A candidate gets the free slot: connections queued there are not relayed to live any more.
    pub(super) fn take_slot(&mut self) {
        if self.slots.parking == Parking::Over {
            self.slots.parking = Parking::No;
        }
    }

    /// Makes this slot active: its generation is live now.
    pub(super) fn activate(&mut self, slot: Slot) {
        self.slots.parking = Parking::No;
        self.switch_to(slot);
    }

    /// Parks new connections on the standby slot, which no generation owns and the next one gets.
    pub(super) fn park(&mut self) {
        self.slots.parking = Parking::Parked;
        self.switch_to(self.slots.active.other());
    }

    /// Makes live's slot active again; parked connections are relayed to live.
    pub(super) fn unpark(&mut self) {
        if self.slots.parking == Parking::Parked {
            self.slots.parking = Parking::Over;
            self.switch_to(self.slots.active.other());
        }
    }

    fn switch_to(&mut self, slot: Slot) {
        self.slots.active = slot;
        // The running relay carries in the wrong direction; `Activate` ends it.
        self.slots.relay = None;
        self.out.push(Action::Activate(slot));
    }

    /// Starts the relay once more: an app may have called `shutdown` on a held socket, which ends the
    /// relay.
    pub(super) fn relay_again(&mut self) {
        self.slots.is_lost = true;
    }

    /// Relays the standby slot to the active one, unless the standby slot's owner is running and not
    /// told to stop.
    pub(super) fn relay(&mut self) {
        let from = self.slots.active.other();
        let swap = &self.swap;
        let all = swap
            .live
            .iter()
            .chain(&swap.candidate)
            .chain(&swap.draining);
        let mut owners = all.filter(|process| process.slot == from).peekable();
        let unowned = owners.peek().is_none();
        let over = self.slots.parking == Parking::Over;
        let goes = |process: &Process| over || process.told != Told::Nothing;
        let relay = owners.all(goes).then_some(Relay { from, unowned });
        let was_lost = std::mem::take(&mut self.slots.is_lost);
        if was_lost || relay != self.slots.relay {
            let known = std::mem::replace(&mut self.slots.relay, relay);
            self.out.push(Action::Relay(relay));
            // A candidate gets the slot. It would answer what is still queued there before it is live,
            // and later connections would still go to live, which is older.
            if let (Some(known), None) = (known.filter(|known| known.unowned), relay) {
                self.out.push(Action::RelayQueued(known.from));
            }
        }
    }
}
