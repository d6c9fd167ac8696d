//! The table of all kinds of events. A variant that is added to [`Event`] does not compile before it has
//! a line here, and every line has to happen in the search.

use super::super::command::Command;
use super::super::event::{AppNews, BuildNews, Effect, Event, JobNews};
use super::super::model::BuildOutcome;

macro_rules! kinds {
    ($($name:literal = $pattern:pat,)*) => {
        /// The names of all kinds.
        pub(super) const KINDS: &[&str] = &[$($name),*];

        /// The kind of an event.
        pub(super) fn kind(event: &Event) -> &'static str {
            match event {
                $($pattern => $name,)*
            }
        }
    };
}

kinds! {
    "begin" = Event::Begin,
    "changed" = Event::Changed(_),
    "saved" = Event::Saved(_),
    "git works" = Event::GitWorks { .. },
    "rescan" = Event::Rescan,
    "watching" = Event::Watching { .. },
    "unwatched" = Event::Unwatched(_),
    "loaded" = Event::Build(_, BuildNews::Loaded(_)),
    "inputs" = Event::Build(_, BuildNews::Inputs(_)),
    "command of a build" = Event::Build(_, BuildNews::Command(_)),
    "line of a build" = Event::Build(_, BuildNews::Line(_)),
    "diagnostic" = Event::Build(_, BuildNews::Diagnostic { .. }),
    "progress" = Event::Build(_, BuildNews::Progress { .. }),
    "blocked" = Event::Build(_, BuildNews::Blocked(_)),
    "cargo ended" = Event::Build(_, BuildNews::Ended(_)),
    "unchanged" = Event::Build(_, BuildNews::Done(BuildOutcome::Built { unchanged: true, .. })),
    "built" = Event::Build(_, BuildNews::Done(BuildOutcome::Built { .. })),
    "build failed" = Event::Build(_, BuildNews::Done(BuildOutcome::Failed { .. })),
    "build cancelled" = Event::Build(_, BuildNews::Done(BuildOutcome::Cancelled)),
    "started" = Event::App(_, AppNews::Started(_)),
    "cannot start" = Event::App(_, AppNews::CannotStart(_)),
    "ready" = Event::App(_, AppNews::Ready(_)),
    "listening" = Event::App(_, AppNews::Listening),
    "uncaptured" = Event::App(_, AppNews::Uncaptured(_)),
    "answered" = Event::App(_, AppNews::Answered(_)),
    "taken" = Event::App(_, AppNews::Taken(_)),
    "unclaimed" = Event::App(_, AppNews::Unclaimed(_)),
    "suspended" = Event::App(_, AppNews::Suspended(_)),
    "writes" = Event::App(_, AppNews::Writes(_)),
    "traced" = Event::App(_, AppNews::Traced(Some(_))),
    "untraced" = Event::App(_, AppNews::Traced(None)),
    "exited" = Event::App(_, AppNews::Exited { .. }),
    "in the background" = Event::App(_, AppNews::Background(_)),
    "gone" = Event::App(_, AppNews::Gone { .. }),
    "open" = Event::Open(..),
    "siblings" = Event::Siblings(_),
    "addresses" = Event::Addresses(_),
    "settings are wrong" = Event::Configured(Err(_)),
    "settings" = Event::Configured(Ok(_)),
    "line of a command" = Event::Job(_, JobNews::Line(_)),
    "command ended" = Event::Job(_, JobNews::Ended(Ok(()))),
    "command failed" = Event::Job(_, JobNews::Ended(Err(_))),
    "status" = Event::Command(Command::Status, _),
    "wait" = Event::Command(Command::Wait, _),
    "rebuild" = Event::Command(Command::Rebuild, _),
    "restart" = Event::Command(Command::Restart, _),
    "pause" = Event::Command(Command::Pause, _),
    "resume" = Event::Command(Command::Resume, _),
    "pause or resume" = Event::Command(Command::PauseOrResume, _),
    "open a browser" = Event::Command(Command::Open, _),
    "stop" = Event::Command(Command::Stop, _),
    "signal" = Event::Signal(_),
    "reopen log" = Event::ReopenLog,
    "suspend" = Event::Suspend,
    "quit" = Event::Quit(_),
    "tick" = Event::Tick,
}

/// All that changed settings may call for; the compiler tells when there is more.
pub(super) fn effects() -> [Effect; 3] {
    let all = [Effect::Nothing, Effect::Restart, Effect::Rebuild];
    for effect in all {
        match effect {
            Effect::Nothing | Effect::Restart | Effect::Rebuild => {}
        }
    }
    all
}
