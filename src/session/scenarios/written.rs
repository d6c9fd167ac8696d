//! Actions as the files of scenarios write them.

use std::fmt::Write as _;

use super::super::action::{Action, View};
use super::super::command::Client;
use super::super::model::{JobId, Moment};
use super::super::page::Page;
use super::super::slots::Slot;
use super::super::status::Status;

/// An action as the files write it; a `Show` by the line that is printed.
pub(super) fn action(action: &Action) -> String {
    match action {
        Action::Rewatch(_) => "rewatch".into(),
        Action::Reconfigure => "reconfigure".into(),
        Action::ReadAddresses => "read addresses".into(),
        Action::Proved(generation) => format!("{generation} has proved itself"),
        Action::Run(JobId(number), job) => {
            let about = job
                .generation
                .map(|generation| format!(" for {generation}"));
            let about = about.unwrap_or_default();
            let told = job.error.as_ref().map(|error| format!(", told `{error}`"));
            format!(
                "run {number} {}{about}: {}{}",
                job.occasion,
                job.command.join(" "),
                told.unwrap_or_default()
            )
        }
        Action::EndJob(JobId(number)) => format!("end job {number}"),
        Action::Look(generation) => format!("look at {generation}"),
        Action::FindWriter { generation, paths } => {
            let paths: Vec<_> = paths
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            format!("find out whether {generation} writes {}", paths.join(" "))
        }
        Action::Signal { generation, number } => format!("signal {generation} {number}"),
        Action::StartBuild {
            generation,
            load,
            baseline,
            ..
        } => {
            let load = if *load { " reading the project" } else { "" };
            let like = baseline
                .as_ref()
                .map(|baseline| format!(" against {}", baseline.built_by));
            format!("build {generation}{load}{}", like.unwrap_or_default())
        }
        Action::CancelBuild(generation) => format!("cancel {generation}"),
        Action::Launch {
            generation,
            artifact,
            beside,
            ..
        } => {
            let beside = beside
                .map(|live| format!(" beside {live}"))
                .unwrap_or_default();
            format!("launch {generation} of {}{beside}", artifact.built_by)
        }
        Action::Answer(Client(client), status) => answered(*client, status),
        Action::ReopenLog => "reopen the log".into(),
        Action::Suspend => "suspend".into(),
        Action::Stop(generation) => format!("stop {generation}"),
        Action::Kill(generation) => format!("kill {generation}"),
        Action::Serving(generation) => format!("serving {generation}"),
        Action::Left { generation, .. } => format!("{generation} has left"),
        Action::Activate(slot) => format!("{SLOTS}: activate {}", place(*slot)),
        Action::Relay(Some(relay)) => {
            let unowned = if relay.unowned {
                ", which no generation has"
            } else {
                ""
            };
            format!(
                "{SLOTS}: relay what comes to {}{unowned}",
                place(relay.from)
            )
        }
        Action::Relay(None) => format!("{SLOTS}: relay nothing"),
        Action::RelayQueued(slot) => {
            format!("{SLOTS}: relay what is queued at {}", place(*slot))
        }
        Action::Page(Page::Accepts(slot)) => {
            format!("{SLOTS}: the page accepts at {}", place(*slot))
        }
        Action::Page(Page::Waits) => format!("{SLOTS}: the page accepts nothing"),
        Action::Page(Page::GivesWay) => format!("{SLOTS}: the page gives way to live"),
        Action::OpenBrowser => "open a browser".into(),
        Action::ReleaseUnclaimed => "release what is unclaimed".into(),
        Action::Free => "free what is held".into(),
        Action::Quiesce(generation) => format!("quiesce {generation}"),
        Action::Discard(artifact) => format!("discard {}", artifact.built_by),
        Action::ReloadBrowser(paths) if paths.is_empty() => RELOAD.into(),
        Action::ReloadBrowser(paths) => {
            let paths: Vec<_> = paths
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            format!("{RELOAD}: {}", paths.join(" "))
        }
        Action::Show(view) => format!("show {}", shown(view)),
        Action::End(ending) => format!("end {ending:?}"),
    }
}

fn answered(client: u64, status: &Status) -> String {
    let mut told = format!("answer {client}: {:?}", status.state);
    let problem = status.problem.iter().map(|one| {
        let which = one
            .generation
            .map(|which| format!("{which}, "))
            .unwrap_or_default();
        format!(" ({which}{:?}: {})", one.kind, one.text)
    });
    told.extend(problem);
    told.extend(status.live.map(|live| format!(", {live} is live")));
    if status.paused {
        write!(told, ", paused with {} collected", status.collected).unwrap();
    }
    told
}

/// The beginning of actions on slots, which only some stories name.
pub(super) const SLOTS: &str = "slots";
/// The same for reloads of browsers.
pub(super) const RELOAD: &str = "reload browsers";

fn place(slot: Slot) -> &'static str {
    match slot {
        Slot::First => "the first",
        Slot::Second => "the second",
    }
}

fn shown(view: &View) -> String {
    use crate::report::{Record, context::Context, text};
    if let View::Build(generation, news) = view {
        return format!("{generation}: {news:?}");
    }
    let Some(event) = Context::default().of_view(view.clone()) else {
        return String::new();
    };
    // Whatever is told, a reader gets as it was.
    let record = Record::at(Moment::ZERO, event);
    let line = record.line().unwrap();
    assert_eq!(
        Record::read(line.as_bytes()),
        Some(record.clone()),
        "{line}"
    );
    let text = text::of(&record.event);
    // A hint has a line of its own, which would be an event here.
    text.map_or_else(String::new, |text| text.text.replace('\n', "; "))
}
