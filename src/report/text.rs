//! Events as lines for people. Pure.

use std::fmt::Write as _;

use super::event::Event;
use super::phrases::{
    cut, draining, ended, evidence_words, held, live, ms, next_words, no_dependents, reloaded,
    resumed, signalled,
};
use crate::session::event::Holder;
use crate::session::model::{Occasion, Writer};
use crate::sys::SHELL;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For those who want to see everything.
    Detail,
    /// What happens.
    Info,
    /// What was waited for.
    Good,
    /// What may need attention.
    Warn,
    /// What needs it.
    Bad,
}

/// A line and how much it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// How much it matters.
    pub level: Level,
    /// Lower case, no final period; a hint on a line of its own.
    pub text: String,
}

/// The line for an event. What cargo and the app write has none: that is printed as it is.
pub fn of(event: &Event) -> Option<Text> {
    let (level, mut text) = line(event)?;
    // In these the next step is a part of the sentence.
    let is_said = matches!(
        event,
        Event::Starting { .. } | Event::Debugged { .. } | Event::Chosen { .. }
    );
    if let Some(hint) = event.hint().filter(|_| !is_said) {
        let _ = write!(text, "\nhint: {hint}");
    }
    Some(Text { level, text })
}

#[expect(
    clippy::too_many_lines,
    reason = "one arm per event, each a level and its words"
)]
fn line(event: &Event) -> Option<(Level, String)> {
    Some(match event {
        Event::Cargo { .. }
        | Event::Command { .. }
        | Event::Progress { .. }
        | Event::Diagnostic { .. }
        | Event::BuildEnded { .. }
        | Event::Blocked { on: None, .. }
        | Event::Output { .. }
        | Event::Unknown => return None,
        Event::Session {
            package,
            target,
            workspace,
            ..
        } => {
            let workspace = workspace.0.display();
            let text = if package == target {
                format!("{package} in {workspace}")
            } else {
                format!("{package}/{target} in {workspace}")
            };
            (Level::Info, text)
        }
        Event::Chosen {
            package,
            target,
            before,
            hint,
        } => {
            let chosen = if *before { "chosen before" } else { "chosen" };
            let hint = hint.as_deref().unwrap_or_default();
            (
                Level::Info,
                format!("{chosen}: `{target}` of {package}; {hint}"),
            )
        }
        Event::Held { sockets } => (Level::Info, held(sockets)),
        Event::Warning { text, .. } | Event::Uncaptured { text, .. } => (Level::Warn, text.clone()),
        Event::Blocked { on: Some(on), .. } => {
            (Level::Warn, format!("waiting for another cargo: {on}"))
        }
        Event::Building {
            generation, cause, ..
        } => (Level::Info, format!("building {generation} ({cause})")),
        Event::Configured { changed } => (
            Level::Info,
            format!("configuration: {} changed", changed.join(", ")),
        ),
        Event::Misconfigured { text, .. } => {
            (Level::Bad, format!("{text}; the last good settings stay"))
        }
        Event::Job {
            occasion, command, ..
        } => {
            // The shell is not what the user wrote.
            let words = command.strip_prefix(&SHELL.map(str::to_owned)[..]);
            let command = words.unwrap_or(command).join(" ");
            // A rule is a reaction to what the user has just done; hooks always run.
            let level = match occasion {
                Occasion::Rule => Level::Info,
                _ => Level::Detail,
            };
            (level, format!("{occasion}: {command}"))
        }
        Event::JobOutput { line } if is_bell(line) => return None,
        Event::JobOutput { line } => (Level::Info, line.clone()),
        Event::JobFailed {
            occasion,
            reason,
            next,
            ..
        } => (
            Level::Bad,
            format!("{occasion} failed: {reason}{}", next_words(*next)),
        ),
        Event::Signalled {
            generation,
            signal,
            cause,
        } => signalled(*generation, *signal, cause),
        Event::SlowBuilds {
            count, limit_ms, ..
        } => (
            Level::Info,
            format!("{count} builds took more than {} each", ms(limit_ms.0)),
        ),
        Event::NoDependents { path, cure, .. } => (Level::Info, no_dependents(path, cure)),
        Event::OwnWriting { path, writer, .. } => {
            let does = match writer {
                Writer::Build => "is written by the build itself",
                Writer::Start => "changes whenever a generation is built or started",
                Writer::App => "is written by the app while it runs",
            };
            let path = path.0.display();
            (
                Level::Info,
                format!("`{path}` {does}: that starts no build"),
            )
        }
        Event::NothingToBuild { generation, next } => (
            Level::Info,
            format!(
                "{generation} is not built: every file is again as it was{}",
                next_words(*next)
            ),
        ),
        Event::Siblings { names, .. } => (
            Level::Info,
            format!(
                "the app starts `{}` from beside its own executable: built with it from now on",
                names.join("`, `")
            ),
        ),
        Event::Loop { path, wait_ms, .. } => (
            Level::Warn,
            format!(
                "`{}` changes whenever something is done about it: from now on that waits, {} \
                 first and up to 60 s",
                path.0.display(),
                ms(wait_ms.0),
            ),
        ),
        Event::Cancelled {
            generation, cause, ..
        } => (
            Level::Info,
            format!("{generation} cancelled: a newer build is due ({cause})"),
        ),
        Event::BuildFailed {
            generation,
            reason,
            took_ms,
            cause,
            next,
            ..
        } => (
            Level::Bad,
            format!(
                "{generation} failed to build in {}: {reason}{} ({cause})",
                ms(took_ms.0),
                next_words(*next)
            ),
        ),
        Event::Unchanged {
            generation,
            running,
            took_ms,
            cause,
        } => (
            Level::Good,
            format!(
                "{generation} unchanged in {}: {running} runs the same program ({cause})",
                ms(took_ms.0)
            ),
        ),
        Event::Starting {
            generation,
            beside: Some(live),
            hint: Some(hint),
            ..
        } => (
            Level::Info,
            format!("starting {generation}; {live} serves until {generation} is ready ({hint})"),
        ),
        Event::Starting {
            generation,
            beside: Some(live),
            cause,
            ..
        } => (
            Level::Detail,
            format!("starting {generation} beside {live} ({cause})"),
        ),
        Event::Starting {
            generation, cause, ..
        } => (Level::Detail, format!("starting {generation} ({cause})")),
        Event::Started { generation, pid } => {
            (Level::Detail, format!("{generation} runs as pid {pid}"))
        }
        Event::Suspended {
            generation,
            suspended: true,
        } => (
            Level::Warn,
            format!(
                "{generation} is stopped (SIGSTOP or a debugger); it cannot get ready meanwhile"
            ),
        ),
        Event::Suspended { generation, .. } => (Level::Info, format!("{generation} goes on")),
        Event::Debugged {
            generation,
            pid,
            waits,
            hint,
        } => {
            let waits = waits.map_or_else(|| "the next one".into(), |next| next.to_string());
            let mut text = format!(
                "{generation} is being debugged (pid {pid}); {waits} waits until the debugger \
                 detaches"
            );
            if let Some(hint) = hint {
                let _ = write!(text, "; {hint}");
            }
            (Level::Warn, text)
        }
        Event::Live {
            generation,
            total_ms,
            phases,
            proof,
            cause,
        } => (
            Level::Good,
            live(*generation, *total_ms, phases, *proof, cause),
        ),
        Event::AddressInUse {
            generation,
            address,
            holder,
            ..
        } => {
            let why = match holder {
                Holder::Live => "live does, in a way that is not held".into(),
                Holder::Hotrun => "hotrun itself listens there".into(),
                Holder::Held(held) => {
                    format!("it overlaps with {held}, which hotrun was told to hold")
                }
                Holder::Other(other) => format!("it is in use by {other}"),
            };
            (
                Level::Warn,
                format!("{generation} cannot listen on {address}: {why}"),
            )
        }
        Event::Unclaimed {
            generation,
            addresses,
            ..
        } => (
            Level::Warn,
            format!(
                "{generation} does not accept on `{}`: clients wait there",
                addresses.join("`, `")
            ),
        ),
        Event::NotReady {
            generation,
            after_ms,
            reason,
            cause,
            next,
            ..
        } => {
            let why = reason.as_ref();
            let why = why.map_or_else(String::new, |reason| format!(": {reason}"));
            (
                Level::Bad,
                format!(
                    "{generation} not ready after {}{why}{} ({cause})",
                    ms(after_ms.0),
                    next_words(*next)
                ),
            )
        }
        Event::Ended {
            generation,
            live,
            exit,
            ran_ms,
            in_use,
            cause,
            next,
            ..
        } => {
            let what = ended(*live, *exit, ran_ms.0, in_use.as_deref());
            (
                Level::Bad,
                format!("{generation} {what}{} ({cause})", next_words(*next)),
            )
        }
        Event::Finished {
            generation,
            ran_ms,
            next,
            ..
        } => (
            Level::Good,
            format!(
                "{generation} finished after {}{}",
                ms(ran_ms.0),
                next_words(*next)
            ),
        ),
        Event::Background {
            generation,
            followed: true,
            ..
        } => (
            Level::Info,
            format!("{generation} goes on in the background: its first process has ended"),
        ),
        Event::Background { generation, .. } => (
            Level::Warn,
            format!(
                "{generation} has left processes in the background, and nothing says whether they \
                 serve"
            ),
        ),
        Event::CannotStart {
            generation,
            error,
            cause,
            next,
            ..
        } => (
            Level::Bad,
            format!("{generation} {error}{} ({cause})", next_words(*next)),
        ),
        Event::Learned { because } => {
            let why = evidence_words(because);
            (
                Level::Warn,
                format!(
                    "this program cannot run beside itself: {why}; from now on live is stopped first"
                ),
            )
        }
        Event::Holding { live, limit_ms } => (
            Level::Info,
            format!(
                "new clients wait for the next version; {live} serves those it has (at most {})",
                ms(limit_ms.0)
            ),
        ),
        Event::Released { .. } => (
            Level::Warn,
            "connections that waited for the next version go to the old one now".into(),
        ),
        Event::Draining {
            generation,
            unanswered,
            streams,
            dies,
            ..
        } => draining(*generation, *unanswered, *streams, *dies),
        Event::Cut {
            generation,
            connections,
            after_ms,
            for_next,
        } => (
            Level::Warn,
            cut(*generation, *connections, after_ms.0, *for_next),
        ),
        Event::Survivors { generation, pids } => {
            let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
            (
                Level::Bad,
                format!(
                    "{generation} left processes that could not be ended: pid {}",
                    pids.join(", ")
                ),
            )
        }
        Event::Livereload { port, taken } => (
            Level::Info,
            format!("browsers reload by port {port}, since {taken} is taken"),
        ),
        Event::Reloaded { browsers, paths } => reloaded(*browsers, paths),
        Event::Gone { generation, .. } => (Level::Detail, format!("{generation} is gone")),
        Event::Paused => (Level::Info, "paused: changes are collected".into()),
        Event::Resumed { collected } => (Level::Info, resumed(*collected)),
        Event::Quitting { at_once: false } => (Level::Info, "stopping".into()),
        Event::Quitting { at_once: true } => (Level::Info, "stopping at once".into()),
    })
}

/// A line of a hook that shows nothing.
pub fn is_bell(line: &str) -> bool {
    !line.is_empty() && line.chars().all(|c| c == '\u{7}')
}

/// A line in which cargo says what it is doing: a verb, right-aligned in twelve columns.
pub fn is_cargo_status(line: &str) -> bool {
    let Some((verb, rest)) = line.split_at_checked(12) else {
        return false;
    };
    let verb = verb.trim_start();
    rest.starts_with(' ') && !verb.is_empty() && verb.chars().all(|c| c.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::values::{Millis, Next, Phases};
    use super::*;
    use crate::session::model::{Exit, Generation, Proof};

    #[track_caller]
    fn says(event: &Event, expected: &str) {
        assert_eq!(of(event).unwrap().text, expected);
    }

    #[test]
    fn cargos_own_progress_is_told_from_its_problems() {
        for line in [
            "   Compiling a v0.1.0",
            "    Finished `dev` profile",
            "    Updating index",
        ] {
            assert!(is_cargo_status(line), "{line}");
        }
        for line in [
            "error: x",
            "warning: unused",
            "Caused by:",
            "  --> Cargo.toml:5:3",
            "  |",
        ] {
            assert!(!is_cargo_status(line), "{line}");
        }
    }

    #[test]
    fn lines_name_cause_and_phases() {
        let ms = |ms| Millis(Duration::from_millis(ms));
        let cause = "src/version.rs".to_owned();
        let phases = Phases {
            detect_ms: Some(ms(9)),
            build_ms: Some(ms(391)),
            hooks_ms: None,
            start_ms: ms(8),
            swap_ms: ms(4),
        };
        says(
            &Event::Live {
                generation: Generation(7),
                total_ms: ms(412),
                phases,
                proof: Proof::Accepting,
                cause: cause.clone(),
            },
            "g7 live in 412 ms: detect 9, build 391, start 8, swap 4 (src/version.rs)",
        );
        says(
            &Event::BuildFailed {
                generation: Generation(3),
                reason: "2 errors".into(),
                hint: Some("look".into()),
                took_ms: ms(312),
                cause,
                next: Next::Keeps(Generation(2)),
            },
            "g3 failed to build in 312 ms: 2 errors; g2 keeps serving (src/version.rs)\nhint: look",
        );
        says(
            &Event::Ended {
                generation: Generation(4),
                live: true,
                exit: Exit::Signal(9),
                ran_ms: ms(12_340),
                in_use: None,
                hint: None,
                cause: "g3 died".into(),
                next: Next::RestartMs(ms(200)),
            },
            "g4 ended after 12.3 s: signal 9 (SIGKILL); starting it again in 200 ms (g3 died)",
        );
        says(
            &Event::Cut {
                generation: Generation(4),
                connections: 2,
                after_ms: ms(5000),
                for_next: false,
            },
            "g4 was killed after 5000 ms, which cut 2 open connections: `stop_timeout` of [app] was over",
        );
        says(
            &Event::Debugged {
                generation: Generation(4),
                pid: 7,
                waits: None,
                hint: Some("`kill -HUP 1` swaps now".into()),
            },
            "g4 is being debugged (pid 7); the next one waits until the debugger detaches; `kill -HUP 1` \
             swaps now",
        );
    }
}
