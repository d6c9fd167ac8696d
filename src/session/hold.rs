//! `while_building = "hold"`: new connections are parked for the next generation while it is built, for
//! users who would rather wait than see the old one. They are queued on the standby slot, which the next
//! generation gets; after `hold.limit` they are relayed to live.

use super::Session;
use super::action::View;
use super::model::Moment;

/// Whether new connections are parked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Hold {
    /// New connections go to live.
    #[default]
    No,
    /// New connections are parked, until this moment at the latest.
    Until(Moment),
    /// The limit has passed: new connections go to live until something changes again.
    Over,
}

impl Session {
    /// A build is requested: new connections may be parked once more, though the limit has passed
    /// before.
    pub(super) fn hold_again(&mut self) {
        if self.hold == Hold::Over {
            self.hold = Hold::No;
        }
    }

    /// Parks new connections, or unparks them, whichever is due.
    pub(super) fn hold(&mut self, now: Moment) {
        let coming = self.builds.busy() || self.swap.pending.is_some();
        match self.hold {
            Hold::No => {
                if let Some(limit) = self.policy.hold.filter(|_| coming)
                    && let Some(live) = &self.swap.live
                    // An owner of the standby slot would accept the connections.
                    && self.swap.may_launch()
                    && self.ending.is_none()
                {
                    let live = live.generation;
                    self.hold = Hold::Until(now + limit);
                    self.park();
                    // Shown after the switch, so that a client that reacts to this line is parked.
                    self.show(View::Holding { live, limit });
                }
            }
            Hold::Until(until) => {
                let in_vain = !coming && self.swap.candidate.is_none() && !self.swap.failed;
                let unwanted = self.ending.is_some() || self.policy.hold.is_none() || in_vain;
                if !unwanted && until > now {
                    return;
                }
                self.hold = if unwanted { Hold::No } else { Hold::Over };
                // Without live they stay queued on the active slot, which the next generation gets.
                if self.swap.live.is_some() {
                    self.unpark();
                    if !unwanted {
                        self.show(View::Released);
                    }
                }
            }
            Hold::Over => {}
        }
    }

    /// When the limit of parking passes.
    pub(super) fn hold_due(&self) -> Option<Moment> {
        match self.hold {
            Hold::Until(until) => Some(until),
            Hold::No | Hold::Over => None,
        }
    }
}
