//! Changes of the set of held addresses: what is expected of the app depends on whether it holds any.

use super::action::View;
use super::model::{Ending, Generation, Moment};
use super::reason::Reason;
use super::{Policy, Session};

impl Session {
    /// The set of held addresses has changed. A program that was taken for one without an address has
    /// turned out to be a server, or the other way round.
    pub(super) fn addresses_changed(&mut self, now: Moment, policy: Policy) {
        self.policy = policy;
        if let Some(candidate) = &mut self.swap.candidate
            && candidate.deadline.is_none()
        {
            candidate.deadline = self.policy.ready_timeout.map(|timeout| now + timeout);
        }
        if self.policy.once && self.policy.serving && self.swap.live.is_some() {
            self.quit(now, Ending::Ready);
        }
    }

    /// Says once that an address of the app can't be held.
    pub(super) fn uncaptured(&mut self, reason: Reason) {
        if !self.uncaptured.contains(&reason) {
            self.uncaptured.push(reason.clone());
            self.show(View::Uncaptured(reason));
        }
    }

    /// Says once that no process listens on these held addresses.
    pub(super) fn unclaimed(&mut self, generation: Generation, addresses: Vec<String>) {
        if self.unclaimed != addresses {
            self.unclaimed.clone_from(&addresses);
            if !addresses.is_empty() {
                self.show(View::Unclaimed {
                    generation,
                    addresses,
                });
            }
        }
    }
}
