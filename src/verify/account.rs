//! What clients saw, from every request and what hotrun did meanwhile. Pure.

use std::collections::{BTreeMap, HashMap};

use super::Plan;
use super::facts::{
    Advice, End, Facts, How, Loaded, Loss, Lost, Phase, Slowest, Statuses, WebSockets,
};
use super::story::Story;
use crate::session::model::{Generation, Moment};

/// What clients saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) requests: Vec<Request>,
    /// In the order of their ends.
    pub(super) lifetimes: Vec<Lifetime>,
}

/// From when a WebSocket was open until it was not any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetime {
    /// The number of its target.
    pub(super) target: usize,
    /// The number of its client, which has one at a time.
    pub(super) client: usize,
    /// Whose it was seen to be.
    pub(super) seen: Option<Generation>,
    /// How it ended, if the client did not end it.
    pub(super) end: Option<End>,
}

/// One request, by our clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// The number of its target.
    pub(super) target: usize,
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
    /// A WebSocket was opened.
    Opened,
}

impl Answer {
    fn is_error(self) -> bool {
        matches!(self, Self::Status(500..))
    }

    fn status(self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(status),
            Self::Accepted | Self::Opened => None,
        }
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

/// All that there is to say; `all` are the targets, by their numbers.
pub(super) fn facts(seen: &Seen, story: &Story, all: &[Loaded], plan: &Plan) -> Facts {
    // An address that was held from an earlier run, and that the program never listened on, was let go
    // of meanwhile: it is no address of this program.
    let is_held = |loaded: &Loaded| {
        let mut held = story.held.iter();
        held.any(|held| held.address == loaded.address)
    };
    let counts = |target: usize| all.get(target).is_some_and(is_held);
    let requests = seen.requests.iter().filter(|one| counts(one.target));
    let lifetimes = seen.lifetimes.iter().filter(|one| counts(one.target));
    let loaded: Vec<Loaded> = all.iter().filter(|one| is_held(one)).cloned().collect();
    let met: Vec<Met> = requests.map(|request| Met::of(*request, story)).collect();
    let answered = || met.iter().filter(|met| met.is_answered());
    let errors = || answered().filter(|met| met.request.outcome.is_ok_and(Answer::is_error));
    let beside = || answered().filter(|met| met.beside);
    let is_loaded = |address: &&String| loaded.iter().any(|loaded| loaded.address == **address);
    let unloaded = story.held.iter().map(|held| &held.address);
    let unloaded = unloaded.filter(|address| !is_loaded(address)).cloned();
    let stale = stale(&met);
    let mut advice = story.advice(plan.stop_signal);
    let is_cut = |met: &Met| matches!(met.request.outcome, Err(Loss::Reset | Loss::Closed));
    if !met.iter().any(is_cut) {
        // It was ended when everything was answered, or what was lost was lost in another way.
        advice.retain(|advice| !matches!(advice, Advice::DiesOfSignal { .. }));
    }
    let statuses = statuses(met.iter().map(|met| &met.request));
    if statuses.are_errors() {
        advice.push(Advice::OnlyErrors);
    }
    let opens = loaded.iter().any(|loaded| loaded.how == How::Open);
    let websockets = opens.then(|| websockets(lifetimes));
    if let Some(WebSockets { cut: cut @ 1.., .. }) = websockets {
        advice.push(Advice::CutWebSockets(cut));
    }
    let shared = loaded.iter().filter(|loaded| !loaded.twins);
    let shared: Vec<String> = shared.map(|loaded| loaded.address.clone()).collect();
    if stale > 0 && !shared.is_empty() {
        advice.push(Advice::Shared(shared));
    }
    Facts {
        reloads: plan.reloads,
        path: plan.path().to_owned(),
        unloaded: unloaded.collect(),
        loaded,
        websockets,
        requests: met.len(),
        lost: lost(&met),
        stale,
        beside: beside().count(),
        unattributed: beside().filter(|met| met.whose.is_none()).count(),
        statuses,
        errors: errors().count(),
        errors_at_work: errors().filter(|met| met.phase != Phase::Calm).count(),
        slowest: slowest(&met),
        advice,
    }
}

/// What was answered over HTTP.
pub(super) fn statuses<'a>(requests: impl Iterator<Item = &'a Request>) -> Statuses {
    Statuses::of(requests.filter_map(|request| request.outcome.ok()?.status()))
}

/// How WebSockets ended, and what their clients got then.
fn websockets<'a>(lifetimes: impl Iterator<Item = &'a Lifetime>) -> WebSockets {
    let mut all = WebSockets::default();
    let mut last: HashMap<usize, Lifetime> = HashMap::new();
    for lifetime in lifetimes {
        all.opened += 1;
        match lifetime.end {
            Some(End::Closed) => all.closed += 1,
            Some(End::Cut) => all.cut += 1,
            None => {}
        }
        if let Some(before) = last.insert(lifetime.client, *lifetime) {
            all.reopened += 1;
            all.newer += usize::from(lifetime.seen > before.seen);
        }
    }
    all
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
    use super::super::story::tests::{a_reload, at};
    use super::super::tests::plan;
    use super::*;
    use crate::report::values::HeldAddress;

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
            target: 0,
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
        let seen = Seen {
            requests: requests.to_vec(),
            ..Seen::default()
        };
        facts_of(stop_signal, &seen, How::Ask)
    }

    fn facts_of(stop_signal: i32, seen: &Seen, how: How) -> Facts {
        let plan = Plan {
            stop_signal,
            ..plan()
        };
        let loaded = Loaded {
            address: "127.0.0.1:1".into(),
            twins: false,
            how,
            tls: false,
            notes: Vec::new(),
        };
        let released = Loaded {
            address: "127.0.0.1:2".into(),
            ..loaded.clone()
        };
        let mut story = a_reload();
        story.held = vec![HeldAddress {
            name: None,
            address: loaded.address.clone(),
            twins: false,
        }];
        facts(seen, &story, &[loaded, released], &plan)
    }

    /// A port of an earlier run is held until it is known that the program does not listen there.
    #[test]
    fn what_was_let_go_of_does_not_count() {
        let answered = request(200, 210, Ok(Answer::Status(200)), None);
        let refused = Request {
            target: 1,
            ..request(220, 221, Err(Loss::Refused), None)
        };
        let facts = seen_of(&[answered, refused]);
        assert_eq!((facts.requests, facts.loaded.len()), (1, 1));
        assert!(facts.is_good());
    }

    #[test]
    fn websockets_that_end_are_to_be_opened_again() {
        let lived = |client, generation, end| Lifetime {
            target: 0,
            client,
            seen: Some(generation),
            end,
        };
        let of = |lifetimes: &[Lifetime]| {
            let seen = Seen {
                lifetimes: lifetimes.to_vec(),
                ..Seen::default()
            };
            facts_of(2, &seen, How::Open)
        };
        let ended = [
            lived(0, FIRST, Some(End::Cut)),
            lived(1, FIRST, Some(End::Closed)),
            lived(2, FIRST, None),
            lived(1, SECOND, Some(End::Cut)),
        ];
        let facts = of(&ended);
        let counts = WebSockets {
            opened: 4,
            closed: 1,
            cut: 2,
            reopened: 1,
            newer: 1,
        };
        assert_eq!(facts.websockets, Some(counts));
        assert_eq!(facts.advice, [Advice::CutWebSockets(2)]);
        assert!(!facts.is_good());
        let again = [lived(0, FIRST, None), lived(1, SECOND, None)];
        let facts = of(&[&ended[..], &again].concat());
        let counts = WebSockets {
            opened: 6,
            reopened: 3,
            ..counts
        };
        assert_eq!(facts.websockets, Some(counts));
        assert!(facts.is_good());
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
    }

    #[test]
    fn answers_are_counted_by_their_status() {
        let status = |status| request(200, 210, Ok(Answer::Status(status)), None);
        let lost = request(200, 210, Err(Loss::Reset), None);
        let facts = seen_of(&[status(503), status(404), lost, status(503)]);
        assert_eq!(facts.statuses.to_string(), "404 (1), 503 (2)");
        assert!(facts.statuses.are_errors());
        let one_works = seen_of(&[status(404), status(399)]);
        assert!(!one_works.statuses.are_errors());
        assert!(!seen_of(&[lost]).statuses.are_errors());
    }
}
