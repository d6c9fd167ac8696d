//! What clients saw, from every request and what hotrun did meanwhile. Pure.

use std::collections::{BTreeMap, HashMap};

use super::Plan;
use super::facts::{Advice, Facts, How, Loaded, Loss, Lost, Phase, Slowest};
use super::story::Story;
use crate::session::model::{Generation, Moment};

/// One request, by our clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// When its connection was begun.
    pub(super) begun: Moment,
    /// When it was answered, or lost.
    pub(super) ended: Moment,
    /// How long it took; to look whose it was does not count.
    pub(super) took: Moment,
    /// What came of it.
    pub(super) outcome: Result<Answer, Loss>,
    /// Whose connection it was seen to be.
    pub(super) seen: Option<Generation>,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A whole answer with this status.
    Status(u16),
    /// The connection was accepted; nothing was asked.
    Accepted,
}

impl Answer {
    fn is_error(self) -> bool {
        matches!(self, Self::Status(500..))
    }
}

/// A request with what it meets.
struct Met {
    request: Request,
    phase: Phase,
    /// Whose it was, if that is known.
    whose: Option<Generation>,
    /// More than one version had processes when it was begun.
    beside: bool,
}

impl Met {
    fn of(request: Request, story: &Story) -> Self {
        let running = story.running(request.begun, request.ended);
        Self {
            request,
            phase: story.phase(request.begun, request.ended),
            whose: request.seen.or(match running[..] {
                [only] => Some(only),
                _ => None,
            }),
            beside: story.running(request.begun, request.begun).len() > 1,
        }
    }

    fn is_answered(&self) -> bool {
        self.request.outcome.is_ok()
    }
}

/// All that there is to say.
pub(super) fn facts(
    requests: &[Request],
    story: &Story,
    loaded: Vec<Loaded>,
    plan: &Plan,
) -> Facts {
    let met: Vec<Met> = requests
        .iter()
        .map(|request| Met::of(*request, story))
        .collect();
    let answered = || met.iter().filter(|met| met.is_answered());
    let errors = || answered().filter(|met| met.request.outcome.is_ok_and(Answer::is_error));
    let beside = || answered().filter(|met| met.beside);
    let is_loaded = |address: &&String| loaded.iter().any(|loaded| loaded.address == **address);
    let unloaded = story.held.iter().map(|held| &held.address);
    let unloaded = unloaded.filter(|address| !is_loaded(address)).cloned();
    let stale = stale(&met);
    let asked = loaded.iter().any(|loaded| loaded.how == How::Ask);
    let mut advice = story.advice(plan.stop_signal);
    if met.iter().all(Met::is_answered) {
        // It was ended when everything was answered.
        advice.retain(|advice| !matches!(advice, Advice::DiesOfSignal { .. }));
    }
    if asked && answered().next().is_some() && errors().count() == answered().count() {
        advice.push(Advice::OnlyErrors);
    }
    let shared = loaded.iter().filter(|loaded| !loaded.twins);
    let shared: Vec<String> = shared.map(|loaded| loaded.address.clone()).collect();
    if stale > 0 && !shared.is_empty() {
        advice.push(Advice::Shared(shared));
    }
    Facts {
        reloads: plan.reloads,
        path: plan.path.clone(),
        unloaded: unloaded.collect(),
        loaded,
        requests: met.len(),
        lost: lost(&met),
        stale,
        beside: beside().count(),
        unattributed: beside().filter(|met| met.whose.is_none()).count(),
        errors: errors().count(),
        errors_at_work: errors().filter(|met| met.phase != Phase::Calm).count(),
        slowest: slowest(&met),
        advice,
    }
}

/// Losses of the same kind together.
fn lost(met: &[Met]) -> Vec<Lost> {
    let mut counts: BTreeMap<(Phase, Option<Generation>, Loss), usize> = BTreeMap::new();
    for met in met {
        if let Err(loss) = met.request.outcome {
            *counts.entry((met.phase, met.whose, loss)).or_default() += 1;
        }
    }
    let lost = counts
        .into_iter()
        .map(|((phase, version, loss), count)| Lost {
            phase,
            version,
            loss,
            count,
        });
    lost.collect()
}

/// Answers of a version over connections that were begun after an answer of a newer one was there.
fn stale(met: &[Met]) -> usize {
    let mut first: HashMap<Generation, Moment> = HashMap::new();
    let known = || {
        met.iter()
            .filter(|met| met.is_answered())
            .filter_map(|met| Some((met.whose?, met)))
    };
    for (whose, met) in known() {
        let first = first.entry(whose).or_insert(met.request.ended);
        *first = (*first).min(met.request.ended);
    }
    let is_stale = |(whose, met): &(Generation, &Met)| {
        first
            .iter()
            .any(|(newer, answered)| newer > whose && *answered < met.request.begun)
    };
    known().filter(is_stale).count()
}

fn slowest(met: &[Met]) -> Option<Slowest> {
    let answered = || met.iter().filter(|met| met.is_answered());
    let slowest = answered().max_by_key(|met| met.request.took)?;
    let calm = answered().filter(|met| met.phase == Phase::Calm);
    Some(Slowest {
        took: slowest.request.took,
        phase: slowest.phase,
        calm: calm.map(|met| met.request.took).max(),
    })
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::super::story::tests::{a_reload, at};
    use super::*;

    const FIRST: Generation = Generation(1);
    const SECOND: Generation = Generation(2);
    const SWAP: Phase = Phase::Swap(SECOND);

    fn request(
        from: u64,
        to: u64,
        outcome: Result<Answer, Loss>,
        seen: Option<Generation>,
    ) -> Request {
        Request {
            begun: at(from),
            ended: at(to),
            took: at(to).saturating_sub(at(from)),
            outcome,
            seen,
        }
    }

    fn seen_of(requests: &[Request]) -> Facts {
        seen_with(2, requests)
    }

    fn seen_with(stop_signal: i32, requests: &[Request]) -> Facts {
        let (_, signals) = unbounded_channel();
        let plan = Plan {
            reloads: 1,
            path: "/".into(),
            stop_signal,
            words: Vec::new(),
            env: Vec::new(),
            dir: "".into(),
            sockets: Vec::new(),
            signals,
        };
        let loaded = Loaded {
            address: "127.0.0.1:1".into(),
            twins: false,
            how: How::Ask,
        };
        facts(requests, &a_reload(), vec![loaded], &plan)
    }

    #[test]
    fn losses_are_counted_by_when_whose_and_how() {
        let reset = Err(Loss::Reset);
        let facts = seen_of(&[
            request(200, 300, Ok(Answer::Status(200)), None),
            request(1405, 1450, reset, Some(FIRST)),
            request(1406, 1440, reset, Some(FIRST)),
            request(1407, 1440, reset, None),
            request(300, 400, Err(Loss::Refused), None),
        ]);
        let lost = |phase, version, loss, count| Lost {
            phase,
            version,
            loss,
            count,
        };
        let expected = [
            // There was only one generation.
            lost(Phase::Calm, Some(FIRST), Loss::Refused, 1),
            lost(SWAP, None, Loss::Reset, 1),
            lost(SWAP, Some(FIRST), Loss::Reset, 2),
        ];
        assert_eq!(facts.lost, expected);
        assert_eq!((facts.requests, facts.losses()), (5, 4));
        assert!(!facts.is_good());
    }

    #[test]
    fn an_old_answer_is_stale_after_a_new_one() {
        let ok = Ok(Answer::Status(200));
        let new = request(1421, 1425, ok, Some(SECOND));
        // Begun before the new answer was there, and after that.
        let beside = request(1424, 1460, ok, Some(FIRST));
        let unseen = request(1430, 1435, ok, None);
        let good = seen_of(&[new, beside, unseen, request(500, 600, ok, None)]);
        assert_eq!((good.stale, good.beside, good.unattributed), (0, 3, 1));
        assert!(good.is_good());
        let stale = request(1426, 1427, ok, Some(FIRST));
        let bad = seen_of(&[new, beside, stale]);
        assert_eq!(bad.stale, 1);
        let shared = Advice::Shared(vec!["127.0.0.1:1".into()]);
        assert_eq!((good.advice, bad.advice.clone()), (vec![], vec![shared]));
        assert!(!bad.is_good());
        // A lost one is lost, and nothing else.
        let lost = request(1426, 1427, Err(Loss::Closed), Some(FIRST));
        assert_eq!(seen_of(&[new, lost]).stale, 0);
    }

    #[test]
    fn an_end_by_the_signal_that_cut_nothing_is_no_matter() {
        let answered = request(1405, 1446, Ok(Answer::Status(200)), None);
        assert_eq!(seen_with(15, &[answered]).advice, []);
        let cut = request(1405, 1446, Err(Loss::Closed), None);
        let dies = Advice::DiesOfSignal {
            number: 15,
            versions: 1,
        };
        assert_eq!(seen_with(15, &[answered, cut]).advice, [dies]);
    }

    #[test]
    fn the_slowest_has_the_slowest_of_calm_times_beside_it() {
        let ok = Ok(Answer::Status(200));
        let calm = request(200, 212, ok, None);
        let slow = request(1405, 1446, ok, None);
        let late = request(1000, 9000, Err(Loss::TimedOut), None);
        let slowest = seen_of(&[calm, slow, late]).slowest.unwrap();
        assert_eq!(slowest.took.as_millis(), 41);
        assert_eq!(slowest.phase, SWAP);
        assert_eq!(slowest.calm.unwrap().as_millis(), 12);
        assert_eq!(seen_of(&[late]).slowest, None);
    }

    #[test]
    fn errors_of_the_app_are_no_losses() {
        let bad = Ok(Answer::Status(503));
        let facts = seen_of(&[request(200, 210, bad, None), request(1405, 1406, bad, None)]);
        assert_eq!((facts.errors, facts.errors_at_work), (2, 1));
        assert!(facts.is_good());
        assert_eq!(facts.advice, [Advice::OnlyErrors]);
        let some = [
            request(200, 210, bad, None),
            request(220, 230, Ok(Answer::Status(404)), None),
        ];
        assert_eq!(seen_of(&some).advice, []);
    }
}
