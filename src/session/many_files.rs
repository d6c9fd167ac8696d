//! A checkout may change tens of thousands of files at once: what the session does for one of them must
//! not depend on how many there are. With time squared, these tests would take minutes.

use std::time::Duration;

use super::action::{Action, View};
use super::event::{BuildNews, Event};
use super::model::{
    BuildOutcome, Change, ChangeKind, Changes, Content, Cure, Generation, Moment, Save,
};
use super::scenarios::{artifact, policy};
use super::{OnChange, Policy, Session};

const FILES: usize = 20_000;

/// All of these files in one directory, as one batch.
fn batch(name: &str, kind: ChangeKind, before: u64, now: u64) -> Event {
    let change = |number| Change {
        path: format!("crates/server/src/generated/{name}/{number:06}.rs").into(),
        kind,
        before: Some(Content::Digest(before)),
        now: Content::Digest(now),
        save: Save::Finished,
        script: None,
    };
    Event::Changed((0..FILES).map(change).collect())
}

struct Play {
    session: Session,
    now: Moment,
}

impl Play {
    fn new(policy: Policy) -> Self {
        let mut play = Self {
            session: Session::new(policy, true),
            now: Moment::ZERO,
        };
        let (first, _) = play.started(Event::Begin);
        let built = BuildOutcome::Built {
            artifact: artifact(first.0),
            unchanged: false,
            warnings: 0,
        };
        play.happen(Event::Build(first, BuildNews::Done(built)));
        play
    }

    /// What is done because of this event, up to ten seconds later.
    fn happen(&mut self, event: Event) -> Vec<Action> {
        let mut actions = self.session.handle(self.now, event);
        let end = self.now + Duration::from_secs(10);
        while let Some(due) = self.session.due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            actions.extend(self.session.handle(self.now, Event::Tick));
        }
        self.now = end;
        actions
    }

    /// The build that begins because of this event, and its changes.
    fn started(&mut self, event: Event) -> (Generation, Changes) {
        let builds = |action| match action {
            Action::StartBuild {
                generation,
                changed,
                ..
            } => Some((generation, changed)),
            _ => None,
        };
        self.happen(event).into_iter().find_map(builds).unwrap()
    }

    fn done(generation: Generation, outcome: BuildOutcome) -> Event {
        Event::Build(generation, BuildNews::Done(outcome))
    }
}

#[test]
fn a_checkout_and_another_one_during_its_build() {
    let mut play = Play::new(policy());
    let (build, changed) = play.started(batch("a", ChangeKind::Source, 1, 2));
    assert_eq!(changed.iter().count(), FILES);
    let cancels = |actions: Vec<Action>| {
        let is_cancel = |action: &Action| *action == Action::CancelBuild(build);
        actions.iter().any(is_cancel)
    };
    assert!(cancels(play.happen(batch("b", ChangeKind::Source, 1, 2))));
    assert!(!cancels(play.happen(batch("a", ChangeKind::Source, 2, 3))));
    let (build, changed) = play.started(Play::done(build, BuildOutcome::Cancelled));
    assert_eq!(changed.iter().count(), 2 * FILES);
    // All of it is taken back.
    play.happen(batch("b", ChangeKind::Source, 2, 1));
    play.happen(batch("a", ChangeKind::Source, 3, 1));
    let actions = play.happen(Play::done(build, BuildOutcome::Cancelled));
    let is_build = |action: &Action| matches!(action, Action::StartBuild { .. });
    assert!(!actions.iter().any(is_build));
}

#[test]
fn a_build_that_writes_its_sources() {
    let mut play = Play::new(Policy {
        on_change: OnChange::Queue,
        ..policy()
    });
    let (mut build, _) = play.started(batch("a", ChangeKind::Source, 1, 2));
    for content in 2..12 {
        play.happen(batch("a", ChangeKind::Source, content, content + 1));
        let built = BuildOutcome::Built {
            artifact: artifact(1),
            unchanged: true,
            warnings: 0,
        };
        let actions = play.happen(Play::done(build, built));
        let builds = |action| match action {
            Action::StartBuild { generation, .. } => Some(generation),
            _ => None,
        };
        match actions.into_iter().find_map(builds) {
            Some(next) => build = next,
            None => return,
        }
    }
    panic!("it was built again and again");
}

#[test]
fn a_checkout_of_files_that_nothing_depends_on() {
    let mut play = Play::new(policy());
    let rest = ChangeKind::Rest(Cure::Restart);
    let actions = play.happen(batch("assets", rest, 1, 2));
    let is_hint = |action: &&Action| matches!(action, Action::Show(View::NoDependents { .. }));
    assert_eq!(actions.iter().filter(is_hint).count(), 1);
}
