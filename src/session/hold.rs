//! Having new clients wait for the next version while it is built, for users who would rather wait
//! than see the old one. They wait in the queue of the socket that the next version gets; who has
//! waited too long goes to live after all.

use super::Session;
use super::action::View;
use super::model::Moment;

/// What is being done about new clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Hold {
    /// They go to live.
    #[default]
    No,
    /// They wait, until this moment at the latest.
    Until(Moment),
    /// They have waited for as long as they may: they go to live until something changes again.
    Over,
}

impl Session {
    /// Something is to be built: who has waited in vain may wait for that.
    pub(super) fn hold_again(&mut self) {
        if self.hold == Hold::Over {
            self.hold = Hold::No;
        }
    }

    /// Begins to let clients wait, or ends it, as things are now.
    pub(super) fn hold(&mut self, now: Moment) {
        let coming = self.builds.busy() || self.swap.pending.is_some();
        match self.hold {
            Hold::No => {
                if let Some(limit) = self.policy.hold.filter(|_| coming)
                    && let Some(live) = &self.swap.live
                    // Whoever has the other socket would take them.
                    && self.swap.may_launch()
                    && self.ending.is_none()
                {
                    let live = live.generation;
                    self.hold = Hold::Until(now + limit);
                    self.show(View::Holding { live, limit });
                    self.park();
                }
            }
            Hold::Until(until) => {
                let in_vain = !coming && self.swap.candidate.is_none() && !self.swap.failed;
                let unwanted = self.ending.is_some() || self.policy.hold.is_none() || in_vain;
                if !unwanted && until > now {
                    return;
                }
                self.hold = if unwanted { Hold::No } else { Hold::Over };
                // Without live they wait where the next one will serve them.
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

    /// When they have waited for as long as they may.
    pub(super) fn hold_due(&self) -> Option<Moment> {
        match self.hold {
            Hold::Until(until) => Some(until),
            Hold::No | Hold::Over => None,
        }
    }
}
