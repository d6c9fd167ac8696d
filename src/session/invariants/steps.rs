//! All that may happen next in a world: what comes from outside at any time, and the answers to what the
//! session has asked for; and those answers that let a story end.

use std::time::Duration;

use super::super::command::{Client, Command};
use super::super::event::{
    Answer, AppNews, BuildNews, Conflict, Event, Holder, JobNews, Open, Reconfigured, Taken,
};
use super::super::model::{
    BuildOutcome, Change, ChangeKind, Content, Cure, Ending, Exit, Generation, Handover, JobId,
    Proof, Save,
};
use super::super::reason::Reason;
use super::super::scenarios::artifact;
use super::super::{OnChange, Policy};
use super::kinds::effects;
use super::play::{Play, Step};
use super::policies::Program;
use super::world::{Build, Process};

/// All steps that may come next; the first ones are what most stories are made of.
pub(super) fn possible(play: &Play) -> Vec<Step> {
    let mut events = from_outside(play);
    builds(play, &mut events);
    settings(play, &mut events);
    for id in play.world.jobs.keys() {
        let ends = [Ok(()), Err(Reason::from("x"))].map(JobNews::Ended);
        events.extend(ends.map(|news| Event::Job(*id, news)));
        events.push(Event::Job(*id, JobNews::Line("x".into())));
    }
    if play.session.due().is_some() {
        events.push(Event::Tick);
    }
    for (generation, process) in &play.world.processes {
        apps(play, *generation, process, &mut events);
    }
    stale(play, &mut events);
    let mut steps: Vec<Step> = events.into_iter().map(Step::Event).collect();
    if play.world.program != Program::Declared {
        let running = play.world.processes.iter();
        let running = running.filter(|(_, process)| process.runs && !process.ended);
        steps.extend(running.map(|(generation, process)| Step::Binds(*generation, !process.bound)));
    }
    steps
}

/// A change of one file.
fn change(path: &str, kind: ChangeKind, before: Content, now: Content) -> Change {
    Change {
        path: path.into(),
        kind,
        before: Some(before),
        now,
        save: Save::Unknown,
        script: None,
    }
}

fn from_outside(play: &Play) -> Vec<Event> {
    let world = &play.world;
    let (files, before) = (world.files, world.before);
    let new = Content::Digest(world.digest + 1);
    let source = |now| change("src/a.rs", ChangeKind::Source, files.source, now);
    let manifest = |now| change("Cargo.toml", ChangeKind::Manifest, files.manifest, now);
    let other = |path, kind| change(path, kind, Content::Digest(0), new);
    let one = |change| Event::Changed(vec![change]);
    let saved = |change| Change {
        save: Save::Finished,
        ..change
    };
    let mut events = vec![
        one(source(new)),
        one(saved(source(new))),
        Event::Saved(vec!["src/a.rs".into()]),
        Event::Command(Command::Rebuild, None),
        one(saved(source(before.source))),
        one(source(before.source)),
        one(source(Content::Missing)),
        one(source(Content::Empty)),
        one(source(files.source)),
        one(manifest(new)),
        Event::Changed(vec![source(new), manifest(new)]),
        one(Change {
            script: Some(Duration::from_millis(50)),
            ..source(new)
        }),
        one(other("Cargo.lock", ChangeKind::Lock)),
        one(other("data/a", ChangeKind::Guess)),
        one(Change {
            before: Some(Content::Missing),
            ..other("data/b", ChangeKind::Guess)
        }),
        one(other(".env", ChangeKind::Env)),
        one(other(".reload.toml", ChangeKind::Config)),
        one(other("a.html", ChangeKind::Rest(Cure::Restart))),
        Event::Rescan,
        Event::Siblings(vec!["x".into()]),
        Event::GitWorks {
            ago: Duration::ZERO,
        },
        Event::Watching {
            lag: Duration::from_millis(20),
        },
        Event::Unwatched("x".into()),
        Event::Signal(1),
        Event::ReopenLog,
        Event::Suspend,
        Event::Quit(Ending::Signal(2)),
        Event::Command(Command::Wait, Some(Client(1))),
        Event::Command(Command::Restart, None),
        Event::Command(Command::Pause, None),
        Event::Command(Command::Resume, None),
        Event::Command(Command::PauseOrResume, None),
        Event::Command(Command::Status, Some(Client(2))),
        Event::Command(Command::Open, None),
        Event::Command(Command::Stop, None),
    ];
    if !play.session.policy.rules.is_empty() {
        events.push(one(other("x", ChangeKind::Rule(0))));
    }
    if let Some(build) = world.build {
        // What the running build began with.
        events.push(one(source(build.of.source)));
    }
    events
}

fn builds(play: &Play, events: &mut Vec<Event>) {
    let Some(build) = play.world.build else {
        return;
    };
    let Build {
        generation,
        reading,
        cancelled,
        baseline,
        ..
    } = build;
    let mut news = vec![
        BuildNews::Command("x".into()),
        BuildNews::Line("x".into()),
        BuildNews::Diagnostic {
            error: true,
            counts: true,
            detail: None,
            rendered: "x".into(),
        },
        BuildNews::Progress { done: 1, total: 2 },
        BuildNews::Blocked(None),
        BuildNews::Ended(Exit::Status(0)),
        BuildNews::Inputs(Box::default()),
        BuildNews::Done(BuildOutcome::Failed { reason: "x".into() }),
        // Also without having been told to.
        BuildNews::Done(BuildOutcome::Cancelled),
    ];
    if reading {
        news.push(BuildNews::Loaded(Box::default()));
    } else {
        news.push(built(generation, false));
        news.extend(baseline.map(|baseline| built(baseline, true)));
    }
    if cancelled {
        news.retain(|news| matches!(news, BuildNews::Done(_) | BuildNews::Loaded(_)));
    }
    events.extend(news.into_iter().map(|news| Event::Build(generation, news)));
}

fn built(by: Generation, unchanged: bool) -> BuildNews {
    BuildNews::Done(BuildOutcome::Built {
        artifact: artifact(by.0),
        unchanged,
        warnings: 0,
    })
}

fn settings(play: &Play, events: &mut Vec<Event>) {
    let world = &play.world;
    let same = world.policy_now(&play.session.policy);
    if world.reading_addresses > 0 {
        events.push(Event::Addresses(Box::new(same.clone())));
    }
    if world.reading_settings == 0 {
        return;
    }
    events.push(Event::Configured(Err("x".into())));
    let read = |policy: &Policy, changed: &[&str], effect| {
        Event::Configured(Ok(Box::new(Reconfigured {
            policy: policy.clone(),
            changed: changed.iter().map(ToString::to_string).collect(),
            effect,
        })))
    };
    events.extend(effects().map(|effect| read(&same, &["x"], effect)));
    let other = Policy {
        handover: match same.handover {
            Handover::Auto | Handover::Overlap => Handover::StopFirst,
            Handover::StopFirst => Handover::Auto,
        },
        on_change: match same.on_change {
            OnChange::Cancel => OnChange::Queue,
            OnChange::Queue => OnChange::Cancel,
        },
        hold: match (same.hold, same.quiesce_max) {
            (None, Some(_)) => Some(Duration::from_millis(100)),
            _ => None,
        },
        ..same
    };
    events.push(read(&other, &["handover"], effects()[0]));
}

fn apps(play: &Play, generation: Generation, process: &Process, events: &mut Vec<Event>) {
    let world = &play.world;
    let mut news = Vec::new();
    if process.ended || process.killed {
        news.push(AppNews::Gone {
            cut: 0,
            survivors: vec![],
        });
    }
    if process.ended {
        events.extend(news.into_iter().map(|news| Event::App(generation, news)));
        return;
    }
    // Its keeper was killed.
    news.push(AppNews::Gone {
        cut: 1,
        survivors: vec![7],
    });
    if !process.runs {
        news.push(AppNews::Started(7));
        news.push(AppNews::CannotStart("x".into()));
        events.extend(news.into_iter().map(|news| Event::App(generation, news)));
        return;
    }
    let captures = world.program != Program::Declared;
    if !captures || process.listens || !process.awaited {
        news.push(AppNews::Ready(Proof::Accepting));
    }
    if captures {
        news.push(AppNews::Listening);
    }
    for (status, line) in [(0, ""), (1, ""), (1, "database is locked")] {
        news.push(exited(status, line, Conflict::default()));
    }
    let address = || "127.0.0.1:3000".to_owned();
    let lock = Some("a.db".to_owned());
    let asked = Some(address());
    let taken = |by| Taken {
        address: address(),
        by,
    };
    for conflict in [
        Conflict {
            lock,
            ..Conflict::default()
        },
        Conflict {
            taken: Some(taken(Holder::Live)),
            ..Conflict::default()
        },
    ] {
        news.push(exited(1, "", conflict));
    }
    let asks = Conflict {
        asked,
        ..Conflict::default()
    };
    news.push(exited(1, "already running", asks));
    for listens in [Some(true), Some(false), None] {
        news.push(AppNews::Background(listens));
    }
    for suspended in [true, false] {
        news.push(AppNews::Suspended(suspended));
    }
    news.push(AppNews::Uncaptured("x".into()));
    news.push(AppNews::Answered(Answer::Nothing));
    news.push(AppNews::Taken(taken(Holder::Held("b".into()))));
    news.push(AppNews::Unclaimed(vec![address()]));
    if world.looked_at == Some(generation) {
        news.push(AppNews::Traced(Some(7)));
    }
    if world.looked_at.or(world.debugged) == Some(generation) {
        news.push(AppNews::Traced(None));
    }
    if world.sought == Some(generation) {
        news.push(AppNews::Writes(vec!["data/a".into()]));
    }
    events.extend(news.into_iter().map(|news| Event::App(generation, news)));
    if process.quiescing {
        let open = |(dies, busy)| Open {
            dies,
            busy,
            streams: busy,
        };
        let known = [(false, 0), (false, 1), (true, 1)].map(|of| Some(open(of)));
        let all = known.into_iter().chain([None]);
        events.extend(all.map(|open| Event::Open(generation, open)));
    }
}

fn exited(status: i32, line: &str, conflict: Conflict) -> AppNews {
    AppNews::Exited {
        exit: Exit::Status(status),
        last_lines: vec![line.to_owned()],
        conflict,
    }
}

/// What is of a generation that is not there any more, or was never.
fn stale(play: &Play, events: &mut Vec<Event>) {
    let gone = Generation(0);
    if play.world.processes.len() < 2 && play.world.build.is_none() {
        let failed = BuildOutcome::Failed { reason: "x".into() };
        events.push(Event::Build(gone, BuildNews::Done(failed)));
        events.push(Event::App(gone, AppNews::Ready(Proof::Alive)));
        events.push(Event::Open(gone, None));
        events.push(Event::Job(JobId(0), JobNews::Ended(Ok(()))));
    }
}

/// How a story is brought to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Whatever is asked for is done, and well.
    Willing,
    /// Nothing ends that is not forced to.
    Stubborn,
}

/// The next step on the way to the end, with nothing new from outside. `None`: nothing happens any more.
pub(super) fn answer(play: &Play, manner: Manner) -> Option<Step> {
    let willing = manner == Manner::Willing;
    let event = told_to_end(play, willing).or_else(|| {
        let fulfilled = willing.then(|| fulfilled(play)).flatten();
        fulfilled.or_else(|| play.session.due().map(|_| Event::Tick))
    });
    event.map(Step::Event)
}

/// What was told to end does.
fn told_to_end(play: &Play, willing: bool) -> Option<Event> {
    let world = &play.world;
    if let Some(build) = world.build.filter(|build| build.cancelled) {
        let cancelled = BuildNews::Done(BuildOutcome::Cancelled);
        return Some(Event::Build(build.generation, cancelled));
    }
    // A hook that is not told to end has a limit of its own.
    let mut jobs = world.jobs.iter();
    let waits = play.session.due().is_some();
    if let Some((id, _)) = jobs.find(|(_, job)| job.told || willing || !waits) {
        return Some(Event::Job(*id, JobNews::Ended(Ok(()))));
    }
    for (generation, process) in &world.processes {
        if process.killed || process.ended {
            let gone = AppNews::Gone {
                cut: 0,
                survivors: vec![],
            };
            return Some(Event::App(*generation, gone));
        }
        if willing && process.stopped {
            let exited = exited(0, "", Conflict::default());
            return Some(Event::App(*generation, exited));
        }
        if willing && process.quiescing {
            return Some(Event::Open(*generation, Some(Open::default())));
        }
    }
    None
}

/// What was asked for is done.
fn fulfilled(play: &Play) -> Option<Event> {
    let world = &play.world;
    if world.reading_addresses > 0 {
        return Some(Event::Addresses(Box::new(
            world.policy_now(&play.session.policy),
        )));
    }
    if world.reading_settings > 0 {
        return Some(Event::Configured(Err("x".into())));
    }
    let looked_at = world.looked_at.or(world.debugged);
    if let Some(generation) = looked_at.filter(|one| world.processes.contains_key(one)) {
        return Some(Event::App(generation, AppNews::Traced(None)));
    }
    if let Some(build) = world.build {
        let news = if build.reading {
            BuildNews::Loaded(Box::default())
        } else {
            built(build.generation, false)
        };
        return Some(Event::Build(build.generation, news));
    }
    let mut candidates = world.processes.iter();
    let (generation, process) =
        candidates.find(|(generation, process)| !process.is_told() && **generation > world.live)?;
    let news = if !process.runs {
        AppNews::Started(7)
    } else if world.program != Program::Declared && !process.listens {
        AppNews::Listening
    } else {
        AppNews::Ready(Proof::Accepting)
    };
    Some(Event::App(*generation, news))
}
