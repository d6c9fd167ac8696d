//! Views and notes as events. Pure.

use std::path::PathBuf;

use super::Note;
use super::event::Event;
use super::hints;
use super::values::{AnyPath, Millis, Next, Severity};
use crate::config::{Ready, Settings, Stdin};
use crate::lines::strip;
use crate::session::action::View;
use crate::session::event::{BuildNews, Open};
use crate::session::model::{Cause, Generation};
use crate::session::reason::Reason;

/// What the words of an event refer to and its view does not say.
#[expect(
    clippy::struct_excessive_bools,
    reason = "what is the case and what is not"
)]
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The held addresses.
    pub addresses: Vec<String>,
    /// What proves that the app serves, where the user says so: for the next one that is started.
    pub ready: Option<Ready>,
    /// The same for the one that was started last.
    pub expected: Option<Ready>,
    /// Where the paths of views start from.
    pub base: PathBuf,
    /// Where the user stands.
    pub dir: PathBuf,
    /// Where patterns in the configuration file start from.
    pub patterns: PathBuf,
    /// The app gets hotrun's stdin.
    pub reads: bool,
    /// Addresses are declared for it.
    pub declares: bool,
    /// Build, start, report and end.
    pub once: bool,
    /// What the compiler says is shown in its colors.
    pub colored: bool,
    /// Hotrun's own process id.
    pub pid: u32,
}

impl Context {
    /// These settings hold from now on.
    pub fn adopt(&mut self, settings: &Settings) {
        self.ready.clone_from(&settings.app.ready);
        self.dir.clone_from(&settings.build.dir);
        self.reads = settings.app.stdin == Stdin::App;
        self.declares = !settings.listen.is_empty();
        let dir = settings.file.parent().unwrap_or(&settings.file);
        dir.clone_into(&mut self.patterns);
    }

    /// The event for a note.
    pub fn of_note(&mut self, note: Note) -> Event {
        match note {
            Note::Session {
                package,
                target,
                workspace,
                source,
            } => Event::Session {
                package,
                target,
                workspace: AnyPath(workspace),
                source: AnyPath(source),
                pid: self.pid,
                hotrun: env!("CARGO_PKG_VERSION").into(),
            },
            Note::Chosen {
                package,
                target,
                before,
            } => Event::Chosen {
                package,
                target,
                before,
                hint: Some("`--bin`, `--example` and `-p` choose another".into()),
            },
            Note::Held(sockets) => {
                self.addresses = sockets.iter().map(|held| held.address.clone()).collect();
                Event::Held { sockets }
            }
            Note::Cargo(line) => Event::Cargo {
                generation: None,
                line: line.into_text(),
            },
            Note::Blocked(on) => Event::Blocked {
                generation: None,
                on,
            },
            Note::Unwatched(reason) => warning(reason),
            Note::Warning(text) => warning(text.into()),
            Note::Livereload { port, taken } => Event::Livereload { port, taken },
            Note::Reloaded { browsers, paths } => Event::Reloaded {
                browsers,
                paths: paths.into_iter().map(AnyPath).collect(),
            },
        }
    }

    /// The event for a view, if it is one.
    #[expect(
        clippy::too_many_lines,
        reason = "one arm per view, each an event and its fields"
    )]
    pub fn of_view(&mut self, view: View) -> Option<Event> {
        Some(match view {
            View::Unwatched(reason) => warning(reason),
            View::OftenBlocked(on) => warning(hints::often_blocked(&on)),
            View::SlowBuilds(count, limit) => Event::SlowBuilds {
                count,
                limit_ms: Millis(limit),
                hint: Some(hints::SLOW_BUILDS.into()),
            },
            View::Configured(changed) => Event::Configured { changed },
            View::Misconfigured(reason) => Event::Misconfigured {
                text: reason.text,
                hint: reason.hint,
            },
            View::JobStarted(job) => Event::Job {
                occasion: job.occasion,
                command: job.command,
                generation: job.generation,
            },
            View::JobLine(line) => Event::JobOutput {
                line: line.into_text(),
            },
            View::JobFailed {
                occasion,
                reason,
                next,
            } => Event::JobFailed {
                occasion,
                reason: reason.text,
                hint: reason.hint,
                next: next.into(),
            },
            View::NoDependents { path, cure } => Event::NoDependents {
                hint: Some(hints::no_dependents(&path, cure, self)),
                path: AnyPath(path),
                cure: cure.into(),
            },
            View::OwnWriting { path, writer } => Event::OwnWriting {
                hint: Some(hints::own_writing(&path, writer, self)),
                path: AnyPath(path),
                writer,
            },
            View::NothingToBuild { generation, next } => Event::NothingToBuild {
                generation,
                next: next.into(),
            },
            View::Siblings(names) => Event::Siblings {
                names,
                hint: Some("`bins` of [build] says otherwise, `[]` for none".into()),
            },
            View::Loop { path, wait } => Event::Loop {
                hint: Some(hints::edit_loop(&path, self)),
                path: AnyPath(path),
                wait_ms: Millis(wait),
            },
            View::Building {
                generation,
                cause,
                ago,
            } => Event::Building {
                generation,
                ago_ms: Millis(ago),
                asked: cause == Cause::Asked,
                cause: cause.to_string(),
                paths: changed(cause),
            },
            View::Build(generation, news) => return of_build(generation, news, self.colored),
            View::BuildCancelled { generation, cause } => Event::Cancelled {
                generation,
                cause: cause.to_string(),
                paths: changed(cause),
            },
            View::BuildFailed {
                generation,
                reason,
                took,
                cause,
                next,
            } => Event::BuildFailed {
                generation,
                reason: reason.text,
                hint: reason.hint,
                took_ms: Millis(took),
                cause: cause.to_string(),
                next: next.into(),
            },
            View::Unchanged {
                generation,
                running,
                took,
                cause,
            } => Event::Unchanged {
                generation,
                running,
                took_ms: Millis(took),
                cause: cause.to_string(),
            },
            View::Starting {
                generation,
                beside,
                first_overlap,
                cause,
            } => {
                self.expected.clone_from(&self.ready);
                let hint = "`--handover stop-first` stops the old one first";
                Event::Starting {
                    generation,
                    beside,
                    cause: cause.to_string(),
                    hint: first_overlap.then(|| hint.into()),
                }
            }
            View::Started { generation, pid } => Event::Started { generation, pid },
            View::Suspended {
                generation,
                suspended,
            } => Event::Suspended {
                generation,
                suspended,
            },
            View::Debugged {
                generation,
                pid,
                waits,
            } => Event::Debugged {
                generation,
                pid,
                waits,
                hint: Some(format!("`kill -HUP {}` swaps now", self.pid)),
            },
            View::Holding { live, limit } => Event::Holding {
                live,
                limit_ms: Millis(limit),
            },
            View::Released => Event::Released {
                hint: Some("`hold_limit` in [handover] says how long they may wait".into()),
            },
            View::Signalled {
                generation,
                number,
                cause,
            } => Event::Signalled {
                generation,
                signal: number,
                cause: cause.to_string(),
            },
            View::Live {
                generation,
                phases,
                proof,
                cause,
            } => Event::Live {
                generation,
                total_ms: Millis(phases.total()),
                phases: phases.into(),
                proof,
                cause: cause.to_string(),
            },
            View::Uncaptured(reason) => Event::Uncaptured {
                text: reason.text,
                hint: reason.hint,
            },
            View::Taken { generation, taken } => Event::AddressInUse {
                generation,
                hint: hints::in_use(&taken, self.once),
                address: taken.address,
                holder: taken.by,
            },
            View::Unclaimed {
                generation,
                addresses,
            } => Event::Unclaimed {
                generation,
                addresses,
                hint: Some(hints::UNCLAIMED.into()),
            },
            View::NotReady {
                generation,
                after,
                suspended,
                answer,
                cause,
                next,
            } => {
                let (reason, hint) = if suspended {
                    let reason = "it is stopped (SIGSTOP or a debugger)";
                    (Some(reason.into()), None)
                } else {
                    hints::not_ready(self, answer)
                };
                Event::NotReady {
                    generation,
                    after_ms: Millis(after),
                    suspended,
                    answer,
                    reason,
                    hint,
                    cause: cause.to_string(),
                    next: next.into(),
                }
            }
            View::Ended {
                generation,
                live,
                exit,
                ran,
                taken,
                hint,
                cause,
                next,
            } => Event::Ended {
                generation,
                live,
                exit,
                ran_ms: Millis(ran),
                in_use: taken,
                hint: hint.map(|hint| hints::ended(&hint, self)),
                cause: cause.to_string(),
                next: next.into(),
            },
            View::Finished {
                generation,
                ran,
                silent,
            } => Event::Finished {
                generation,
                ran_ms: Millis(ran),
                hint: (silent && !self.reads).then(|| hints::SILENT.into()),
                next: if self.once { Next::End } else { Next::Wait },
            },
            View::Background {
                generation,
                followed,
            } => {
                let hint = "have it stay in the foreground, or leave --no-capture out";
                Event::Background {
                    generation,
                    followed,
                    hint: (!followed).then(|| hint.into()),
                }
            }
            View::CannotStart {
                generation,
                error,
                cause,
                next,
            } => Event::CannotStart {
                generation,
                error: error.text,
                hint: error.hint,
                cause: cause.to_string(),
                next: next.into(),
            },
            View::Learned(because) => Event::Learned { because },
            View::Draining {
                generation,
                open:
                    Open {
                        dies,
                        busy,
                        streams,
                    },
                first_stream,
            } => Event::Draining {
                generation,
                unanswered: busy,
                streams,
                dies,
                hint: first_stream.then(|| hints::STREAM.into()),
            },
            View::Cut {
                generation,
                connections,
                after,
                for_next,
            } => Event::Cut {
                generation,
                connections,
                after_ms: Millis(after),
                for_next,
            },
            View::Survivors { generation, pids } => Event::Survivors { generation, pids },
            View::Gone(generation, exit) => Event::Gone { generation, exit },
            View::Paused => Event::Paused,
            View::Resumed { collected } => Event::Resumed { collected },
            View::Quitting { now } => Event::Quitting { at_once: now },
        })
    }
}

/// The files that something was started for.
fn changed(cause: Cause) -> Vec<AnyPath> {
    match cause {
        Cause::Changed(paths) => paths.into_iter().map(AnyPath).collect(),
        _ => Vec::new(),
    }
}

fn warning(Reason { text, hint }: Reason) -> Event {
    Event::Warning { text, hint }
}

/// The event for what a build reports, if it is one.
/// `colored`: what the compiler says is shown in its colors.
fn of_build(generation: Generation, news: BuildNews, colored: bool) -> Option<Event> {
    Some(match news {
        BuildNews::Command(command) => Event::Command {
            generation,
            command,
        },
        BuildNews::Line(line) => Event::Cargo {
            generation: Some(generation),
            line: line.into_text(),
        },
        BuildNews::Diagnostic {
            error, rendered, ..
        } => Event::Diagnostic {
            generation,
            level: if error {
                Severity::Error
            } else {
                Severity::Other
            },
            rendered: if colored {
                rendered.into_text()
            } else {
                strip(&rendered)
            },
        },
        BuildNews::Progress { done, total } => Event::Progress {
            generation,
            done,
            total,
        },
        BuildNews::Blocked(on) => Event::Blocked {
            generation: Some(generation),
            on,
        },
        BuildNews::Ended(exit) => Event::BuildEnded { generation, exit },
        // For the session alone.
        BuildNews::Loaded(_) | BuildNews::Inputs(_) | BuildNews::Done(_) => return None,
    })
}
