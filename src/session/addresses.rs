//! Addresses come and go with what the app listens on, and with them what may be expected of it.

use super::action::View;
use super::model::{Ending, Generation, Moment};
use super::reason::Reason;
use super::{Policy, Session};

impl Session {
    /// Other addresses are held than before. A program that was taken for one without any has turned
    /// out to be a server, or the other way round.
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

    /// What the app listens on can't be held, which is said once.
    pub(super) fn uncaptured(&mut self, reason: Reason) {
        if !self.uncaptured.contains(&reason) {
            self.uncaptured.push(reason.clone());
            self.show(View::Uncaptured(reason));
        }
    }

    /// Nobody waits on these addresses, which is said once.
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
