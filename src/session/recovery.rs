//! What follows when a generation has failed or ended by itself: it is tried once more with live stopped
//! first, last-good is started again, or the same program after a back-off.

use std::time::Duration;

use super::Session;
use super::action::{Action, Evidence, Next};
use super::model::{ArtifactRef, Cause, Generation, Handover, Moment, Phases};
use super::swap::{Debugger, Kind, Launch, Prepared, Process};

impl Session {
    /// What follows when a candidate connected to its own address to find out whether it already runs,
    /// and ended because hotrun or live accepted. Without live, it is started once more with the
    /// addresses freed.
    pub(super) fn after_asking(&mut self, now: Moment, candidate: &Process) -> Next {
        let is_wanted = self.swap.live.is_none() && self.swap.pending.is_none();
        if !is_wanted || std::mem::replace(&mut self.freed, true) {
            return self.after_candidate(now, candidate, None);
        }
        self.out.push(Action::Free);
        let (artifact, cause) = (candidate.artifact.clone(), candidate.cause.clone());
        self.again(now, artifact, cause, candidate.kind, Duration::ZERO);
        Next::Restart(Duration::ZERO)
    }

    /// What follows when a candidate failed, perhaps with evidence of a conflict with live.
    pub(super) fn after_candidate(
        &mut self,
        now: Moment,
        candidate: &Process,
        evidence: Option<Evidence>,
    ) -> Next {
        self.swap.failed = true;
        let tried = matches!(candidate.cause, Cause::Exclusive(_)) && self.trial.take().is_some();
        // The candidate blames live again, which does not run any more.
        self.misled |= tried && matches!(evidence, Some(Evidence::Line(_)));
        let believed = |evidence: &Evidence| !self.misled || matches!(evidence, Evidence::Lock(_));
        let evidence = evidence.filter(believed);
        if self.swap.pending.is_some() {
            return Next::Continue;
        }
        if let Some(live) = &self.swap.live {
            let keeps = Next::Keeps(live.generation);
            if evidence.is_none() || self.policy.handover != Handover::Auto || self.exclusive {
                return keeps;
            }
            self.trial = evidence;
            self.swap.pending = Some(Launch {
                generation: None,
                artifact: candidate.artifact.clone(),
                cause: Cause::Exclusive(candidate.generation),
                kind: Kind::Built,
                phases: Phases::default(),
                since: now,
                not_before: now,
                due: false,
                exclusive: true,
                // The hook has run for the candidate, which was the same program.
                prepared: Prepared::Yes,
                debugger: Debugger::default(),
            });
            return Next::Exclusive;
        }
        match candidate.kind {
            Kind::Built => match self.roll_back(now, candidate.generation, &candidate.artifact) {
                Some(next) => next,
                // Live was stopped for this trial, and ran the same program.
                None if tried => self.restart(now, candidate),
                None => self.next_step(),
            },
            Kind::Restart | Kind::Rollback => self.restart(now, candidate),
        }
    }

    /// What follows when live ended by itself.
    pub(super) fn after_live(&mut self, now: Moment, live: &Process) -> Next {
        if self.swap.pending.is_some() || self.swap.candidate.is_some() {
            return Next::Continue;
        }
        if self.is_on_probation(now, live)
            && let Some(next) = self.roll_back(now, live.generation, &live.artifact)
        {
            return next;
        }
        self.restart(now, live)
    }

    /// Live has not yet proved itself.
    pub(super) fn is_on_probation(&self, now: Moment, live: &Process) -> bool {
        let since = live.live_since;
        since.is_some_and(|since| now.saturating_sub(since) < self.policy.probation)
    }

    /// Launches last-good, unless that is what just failed.
    pub(super) fn roll_back(
        &mut self,
        now: Moment,
        failed: Generation,
        program: &ArtifactRef,
    ) -> Option<Next> {
        let good = [self.swap.last_good.clone(), self.swap.proved.clone()];
        let mut good = good.into_iter().flatten();
        let last_good = good.find(|good| good.built_by != program.built_by)?;
        // What has failed is not gone back to.
        self.swap.last_good = Some(last_good.clone());
        let to = last_good.built_by;
        let cause = Cause::Rollback(failed);
        self.again(now, last_good, cause, Kind::Rollback, Duration::ZERO);
        Some(Next::Rollback(to))
    }

    /// Launches the same program after the back-off, or waits for an edit.
    pub(super) fn restart(&mut self, now: Moment, died: &Process) -> Next {
        let Some(wait) = self.backoff.died(now, died.ran(now)) else {
            return self.next_step();
        };
        let cause = Cause::Died(died.generation);
        self.again(now, died.artifact.clone(), cause, Kind::Restart, wait);
        Next::Restart(wait)
    }

    pub(super) fn again(
        &mut self,
        now: Moment,
        artifact: ArtifactRef,
        cause: Cause,
        kind: Kind,
        wait: Duration,
    ) {
        self.swap.pending = Some(Launch {
            generation: None,
            artifact,
            cause,
            kind,
            phases: Phases::default(),
            since: now,
            not_before: now + wait,
            due: false,
            exclusive: self.is_exclusive(),
            prepared: Prepared::No,
            debugger: Debugger::default(),
        });
    }
}
