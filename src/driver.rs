//! The main loop: an event in, the session decides, actions out.
//!
//! # Theory of operation
//!
//! The driver owns the session and the inboxes, and sets the clock. It waits for whichever comes first: a
//! signal, an event, or the deadline that the session asked for; passes it to the session with the time;
//! and performs the resulting actions in order. Effects never wait here: slow work runs in tasks and
//! threads of its own and reports by events.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep_until;

use crate::clock::Clock;
use crate::defect;
use crate::session::Session;
use crate::session::action::Action;
use crate::session::event::Event;
use crate::session::model::{Ending, Moment};
use crate::session::status::Status;

/// Carries out actions. The real one is `effects::Executor`; tests record them.
pub trait Effects {
    /// Carries the action out, or starts to, without waiting.
    fn perform(&mut self, now: Moment, action: Action);

    /// Shows what hotrun is doing now, which differs from what was shown before.
    fn status(&mut self, now: Moment, status: &Status);
}

/// The events to handle.
#[derive(Debug)]
pub struct Inbox {
    /// Signals and commands, which come first.
    pub urgent: UnboundedReceiver<Event>,
    /// Everything else.
    pub events: UnboundedReceiver<Event>,
    /// The time since hotrun was last continued after a stop, if it ever was.
    pub since_continued: fn() -> Option<Duration>,
}

/// A wake-up later than this means that hotrun was as good as stopped. When a stop began is not known:
/// up to this much of the time before it was continued counts as passed, so that whatever happens to
/// hotrun, its clock goes on.
const LATE: Duration = Duration::from_secs(1);

/// How much of the time from `since` until hotrun `woke` it was stopped, if it was `continued` so long
/// before that, or if it should have woken up when something was `due`.
fn overslept(
    since: Moment,
    due: Option<Moment>,
    woke: Moment,
    continued: Option<Duration>,
) -> Duration {
    let was_late = due.is_some_and(|due| woke > due + LATE);
    let end = if was_late {
        Some(woke)
    } else {
        continued.map(|before| woke.saturating_sub(before))
    };
    end.map_or(Duration::ZERO, |end| end.saturating_sub(since + LATE))
}

/// Runs a session to its end.
pub async fn run(
    mut session: Session,
    mut inbox: Inbox,
    clock: &Clock,
    effects: &mut impl Effects,
) -> Ending {
    let mut event = Event::Begin;
    let mut shown = None;
    loop {
        let now = clock.now();
        if matches!(event, Event::Changed(_)) {
            defect::point("session");
        }
        for action in session.handle(now, event) {
            if let Action::End(ending) = action {
                return ending;
            }
            effects.perform(now, action);
        }
        let status = session.status();
        if shown.as_ref() != Some(&status) {
            effects.status(now, &status);
            shown = Some(status);
        }
        let due = session.due();
        event = next(&mut inbox, clock, due).await;
        // From the time before the actions, since one of them may stop hotrun.
        let continued = (inbox.since_continued)();
        clock.skip(overslept(now, due, clock.now(), continued));
    }
}

async fn next(inbox: &mut Inbox, clock: &Clock, due: Option<Moment>) -> Event {
    let timer = async {
        match due {
            Some(due) => sleep_until(clock.at(due)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        Some(event) = inbox.urgent.recv() => event,
        Some(event) = inbox.events.recv() => event,
        () = timer => Event::Tick,
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
    use tokio::time::Instant;

    use super::*;
    use crate::session::Policy;
    use crate::session::command::Command;
    use crate::session::event::{AppNews, BuildNews, Conflict};
    use crate::session::model::{
        BuildOutcome, Change, ChangeKind, Content, Exit, Generation, Handover, Proof, Save,
    };
    use crate::session::scenarios::{artifact, policy};
    use crate::session::status::State;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// Effects that record each action with its time, and answer at once or never.
    struct Fake {
        told: Vec<(u128, String)>,
        states: Vec<State>,
        events: UnboundedSender<Event>,
        ready: bool,
    }

    impl Effects for Fake {
        fn perform(&mut self, now: Moment, action: Action) {
            let answer = |event| self.events.send(event).unwrap();
            let line = match action {
                Action::StartBuild { generation, .. } => {
                    let artifact = artifact(generation.0);
                    let built = BuildOutcome::Built {
                        artifact,
                        unchanged: false,
                        warnings: 0,
                    };
                    answer(Event::Build(generation, BuildNews::Done(built)));
                    format!("build {generation}")
                }
                Action::Launch { generation, .. } => {
                    if self.ready {
                        answer(Event::App(generation, AppNews::Ready(Proof::Accepting)));
                    }
                    format!("launch {generation}")
                }
                Action::Look(generation) => {
                    return answer(Event::App(generation, AppNews::Traced(None)));
                }
                Action::Stop(generation) => {
                    let news = AppNews::Exited {
                        exit: Exit::Status(0),
                        last_lines: vec![],
                        conflict: Conflict::default(),
                    };
                    answer(Event::App(generation, news));
                    answer(Event::App(
                        generation,
                        AppNews::Gone {
                            cut: 0,
                            survivors: vec![],
                        },
                    ));
                    format!("stop {generation}")
                }
                Action::Kill(generation) => {
                    answer(Event::App(
                        generation,
                        AppNews::Gone {
                            cut: 0,
                            survivors: vec![],
                        },
                    ));
                    format!("kill {generation}")
                }
                _ => return,
            };
            self.told.push((now.as_millis(), line));
        }

        fn status(&mut self, _: Moment, status: &Status) {
            self.states.push(status.state);
        }
    }

    /// Runs a session to its end while `user` sends events.
    async fn drive<U: Future<Output = ()>>(
        policy: Policy,
        ready: bool,
        user: impl FnOnce(UnboundedSender<Event>, UnboundedSender<Event>) -> U,
    ) -> (Ending, Vec<(u128, String)>) {
        let (urgent_sender, urgent) = unbounded_channel();
        let (sender, events) = unbounded_channel();
        let mut effects = Fake {
            told: Vec::new(),
            states: Vec::new(),
            events: sender.clone(),
            ready,
        };
        let session = Session::new(policy, true);
        let inbox = Inbox {
            urgent,
            events,
            since_continued: || None,
        };
        let clock = Clock::start();
        let driven = run(session, inbox, &clock, &mut effects);
        let (ending, ()) = tokio::join!(driven, user(urgent_sender, sender));
        (ending, effects.told)
    }

    fn save() -> Event {
        let kind = ChangeKind::Source;
        Event::Changed(vec![Change {
            path: "src/a.rs".into(),
            kind,
            before: Some(Content::Digest(1)),
            now: Content::Digest(2),
            save: Save::Unknown,
            script: None,
        }])
    }

    fn told(lines: &[(u128, &str)]) -> Vec<(u128, String)> {
        lines
            .iter()
            .map(|(at, line)| (*at, (*line).to_owned()))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_build_starts_after_the_quiet_period() {
        let (ending, lines) = drive(policy(), true, |urgent, events| async move {
            sleep_until(Instant::now() + MS(1000)).await;
            events.send(save()).unwrap();
            sleep_until(Instant::now() + MS(1000)).await;
            urgent.send(Event::Quit(Ending::Quit)).unwrap();
        })
        .await;
        assert_eq!(ending, Ending::Quit);
        let expected = told(&[
            (0, "build g1"),
            (0, "launch g1"),
            (1008, "build g2"),
            (1008, "launch g2"),
            (1008, "stop g1"),
            (2000, "stop g2"),
        ]);
        assert_eq!(lines, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_is_shown_when_it_differs() {
        let (urgent_sender, urgent) = unbounded_channel();
        let (sender, events) = unbounded_channel();
        let mut effects = Fake {
            told: Vec::new(),
            states: Vec::new(),
            events: sender,
            ready: true,
        };
        let inbox = Inbox {
            urgent,
            events,
            since_continued: || None,
        };
        let session = Session::new(policy(), true);
        let clock = Clock::start();
        let driven = run(session, inbox, &clock, &mut effects);
        let user = async {
            sleep_until(Instant::now() + MS(1000)).await;
            // Changes nothing.
            urgent_sender.send(Event::ReopenLog).unwrap();
            sleep_until(Instant::now() + MS(1000)).await;
            urgent_sender.send(Event::Quit(Ending::Quit)).unwrap();
        };
        tokio::join!(driven, user);
        let is_same = effects.states.windows(2).find(|pair| pair[0] == pair[1]);
        assert_eq!(is_same, None, "{:?}", effects.states);
        assert_eq!(effects.states.first(), Some(&State::Building));
        assert!(effects.states.contains(&State::Live));
    }

    #[tokio::test(start_paused = true)]
    async fn a_candidate_that_never_gets_ready_is_killed_on_time() {
        let once = Policy {
            once: true,
            ready_timeout: Some(MS(700)),
            ..policy()
        };
        let (ending, lines) = drive(once, false, |_, _| async {}).await;
        assert_eq!(ending, Ending::NotReady);
        assert_eq!(
            lines,
            told(&[(0, "build g1"), (0, "launch g1"), (700, "kill g1")])
        );
    }

    #[test]
    fn only_overslept_time_is_left_out() {
        for (due, woke, continued, expected) in [
            (None, 9000, None, 0),
            (Some(MS(700)), 600, None, 0),
            (Some(MS(700)), 701, None, 0),
            // Late by a second, which may be a busy machine, and by more.
            (Some(MS(3700)), 4700, None, 0),
            (Some(MS(3700)), 4701, None, 3601),
            // Continued, with and without something due; and before the last event.
            (None, 9000, Some(MS(0)), 7900),
            (Some(MS(20_000)), 9000, Some(MS(1000)), 6900),
            (Some(MS(20_000)), 9000, Some(MS(7900)), 0),
            (Some(MS(20_000)), 9000, Some(MS(10_000)), 0),
        ] {
            let found = overslept(MS(100), due, MS(woke), continued);
            assert_eq!(found, MS(expected), "{due:?} {woke} {continued:?}");
        }
    }

    /// Ctrl-Z while a candidate starts: it goes on and is ready when hotrun continues, though by the
    /// wall clock its `ready_timeout` is long over.
    #[tokio::test(start_paused = true)]
    async fn while_hotrun_is_stopped_no_deadline_comes_nearer() {
        let short = Policy {
            ready_timeout: Some(MS(2000)),
            ..policy()
        };
        let (_, lines) = drive(short, false, |urgent, events| async move {
            sleep_until(Instant::now() + MS(700)).await;
            // The loop is not polled in between, as if hotrun was stopped.
            tokio::time::advance(MS(60_000)).await;
            sleep_until(Instant::now() + MS(100)).await;
            let ready = AppNews::Ready(Proof::Accepting);
            events.send(Event::App(Generation(1), ready)).unwrap();
            sleep_until(Instant::now() + MS(100)).await;
            urgent.send(Event::Quit(Ending::Quit)).unwrap();
        })
        .await;
        // A second of the stop counts, and 200 ms afterwards.
        let expected = told(&[(0, "build g1"), (0, "launch g1"), (1200, "stop g1")]);
        assert_eq!(lines, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn signals_are_handled_before_other_events() {
        let stop_first = Policy {
            handover: Handover::StopFirst,
            ..policy()
        };
        let (_, lines) = drive(stop_first, true, |urgent, events| async move {
            sleep_until(Instant::now() + MS(1000)).await;
            for _ in 0..100 {
                events.send(Event::Command(Command::Rebuild, None)).unwrap();
            }
            urgent.send(Event::Quit(Ending::Signal(2))).unwrap();
        })
        .await;
        assert_eq!(
            lines,
            told(&[(0, "build g1"), (0, "launch g1"), (1000, "stop g1")])
        );
    }

    #[tokio::test(start_paused = true)]
    async fn news_of_an_unknown_generation_changes_nothing() {
        let (_, lines) = drive(policy(), true, |urgent, events| async move {
            sleep_until(Instant::now() + MS(1000)).await;
            for generation in [0, 7] {
                let generation = Generation(generation);
                events
                    .send(Event::App(generation, AppNews::Ready(Proof::Alive)))
                    .unwrap();
                let outcome = BuildOutcome::Failed {
                    reason: "stale".into(),
                };
                events
                    .send(Event::Build(generation, BuildNews::Done(outcome)))
                    .unwrap();
            }
            sleep_until(Instant::now() + MS(10)).await;
            urgent.send(Event::Quit(Ending::Quit)).unwrap();
        })
        .await;
        assert_eq!(
            lines,
            told(&[(0, "build g1"), (0, "launch g1"), (1010, "stop g1")])
        );
    }
}
