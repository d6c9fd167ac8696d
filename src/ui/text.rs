//! Views as lines for people. Pure.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use super::hints::{draining, hint_words, in_use, nobody_depends, not_ready, own_writing, pattern};
use crate::config::{Ready, Settings};
use crate::exit;
use crate::session::action::{Evidence, Next, View};
use crate::session::model::{Cause, Exit, Generation, Occasion, Phases, Proof};

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

/// What lines may refer to.
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
    /// Where patterns in the configuration file start from.
    pub patterns: PathBuf,
    /// Build, start, report and end.
    pub once: bool,
    /// Hotrun's own process id.
    pub pid: u32,
}

impl Context {
    /// These settings hold from now on.
    pub(super) fn adopt(&mut self, settings: &Settings) {
        self.ready.clone_from(&settings.app.ready);
        let dir = settings.file.parent().unwrap_or(&settings.file);
        dir.clone_into(&mut self.patterns);
    }

    /// A generation is started, which proves itself as is configured now.
    pub(super) fn starts(&mut self) {
        self.expected.clone_from(&self.ready);
    }
}

/// The line for a view; builds' own output has none.
#[expect(
    clippy::too_many_lines,
    reason = "one arm per view, each a level and its words"
)]
pub fn of(view: &View, context: &Context) -> Option<Text> {
    let (level, text) = match view {
        View::Build(..) => return None,
        View::Unwatched(problem) => (Level::Warn, problem.clone()),
        View::Building { generation, cause } => {
            (Level::Info, format!("building {generation} ({cause})"))
        }
        View::Configured(changed) => (
            Level::Info,
            format!("configuration: {} changed", changed.join(", ")),
        ),
        View::Misconfigured(problem) => {
            let (problem, hint) = split_hint(problem);
            (
                Level::Bad,
                format!("{problem}; the last good settings stay{hint}"),
            )
        }
        View::JobStarted(job) => {
            // `sh -c` is not what the user wrote.
            let words = job
                .command
                .strip_prefix(&["sh".to_owned(), "-c".to_owned()][..]);
            let command = words.unwrap_or(&job.command).join(" ");
            // A rule is a reaction to what the user has just done; hooks always run.
            let level = match job.occasion {
                Occasion::Rule => Level::Info,
                _ => Level::Detail,
            };
            (level, format!("{}: {command}", job.occasion))
        }
        View::JobLine(line) => (Level::Info, line.clone()),
        View::JobFailed {
            occasion,
            reason,
            next,
        } => {
            let (reason, hint) = split_hint(reason);
            (
                Level::Bad,
                format!("{occasion} failed: {reason}{}{hint}", next_words(*next)),
            )
        }
        View::Signalled {
            generation,
            number,
            cause,
        } => signalled(*generation, *number, cause),
        View::NobodyDepends { path, cure } => (Level::Info, nobody_depends(path, *cure, context)),
        View::OwnWriting { path, writer } => (Level::Info, own_writing(path, *writer, context)),
        View::NothingToBuild { generation, next } => (
            Level::Info,
            format!(
                "{generation} is not built: every file is again as it was{}",
                next_words(*next)
            ),
        ),
        View::Siblings(names) => (
            Level::Info,
            format!(
                "the app starts `{}` from beside its own executable: built with it from now on\n\
                 hint: `bins` of [build] says otherwise, `[]` for none",
                names.join("`, `")
            ),
        ),
        View::Loop { path, wait } => (
            Level::Warn,
            format!(
                "`{}` changes whenever something is done about it: from now on that waits, {} \
                 first and up to 60 s\nhint: write the file only when its content differs, or add \
                 `{}` to `ignore` of [watch]",
                path.display(),
                ms(*wait),
                pattern(path, context)
            ),
        ),
        View::BuildCancelled { generation, cause } => (
            Level::Info,
            format!("{generation} cancelled: newer change ({cause})"),
        ),
        View::BuildFailed {
            generation,
            reason,
            took,
            cause,
            next,
        } => {
            let (reason, hint) = split_hint(reason);
            let after = next_words(*next);
            let text = format!(
                "{generation} failed to build in {}: {reason}{after} ({cause}){hint}",
                ms(*took)
            );
            (Level::Bad, text)
        }
        View::Unchanged {
            generation,
            running,
            took,
            cause,
        } => (
            Level::Good,
            format!(
                "{generation} unchanged in {}: {running} runs the same program ({cause})",
                ms(*took)
            ),
        ),
        View::Starting {
            generation,
            beside,
            first_overlap,
            cause,
        } => starting(*generation, *beside, *first_overlap, cause),
        View::Started { generation, pid } => {
            (Level::Detail, format!("{generation} runs as pid {pid}"))
        }
        View::Suspended {
            generation,
            suspended: true,
        } => (
            Level::Warn,
            format!(
                "{generation} is stopped (SIGSTOP or a debugger); it cannot get ready meanwhile"
            ),
        ),
        View::Suspended {
            generation,
            suspended: false,
        } => (Level::Info, format!("{generation} goes on")),
        View::Debugged {
            generation,
            pid,
            waits,
        } => {
            let waits = waits.map_or_else(|| "the next one".into(), |next| next.to_string());
            let text = format!(
                "{generation} is being debugged (pid {pid}); {waits} waits until the debugger \
                 detaches; `kill -HUP {}` swaps now",
                context.pid
            );
            (Level::Warn, text)
        }
        View::Live {
            generation,
            phases,
            proof,
            cause,
        } => (Level::Good, live(*generation, phases, *proof, cause)),
        View::Uncaptured(reason) => (Level::Warn, reason.clone()),
        View::Taken { generation, taken } => (Level::Warn, in_use(*generation, taken)),
        View::Unclaimed {
            generation,
            addresses,
        } => {
            let addresses = addresses.join("`, `");
            let text = format!(
                "{generation} does not accept on `{addresses}`: clients wait there\nhint: take every \
                 socket that is handed over, or hold only what the app serves"
            );
            (Level::Warn, text)
        }
        View::NotReady {
            generation,
            after,
            suspended,
            answer,
            next,
        } => {
            let (why, hint) = if *suspended {
                (
                    ": it is stopped (SIGSTOP or a debugger)".into(),
                    String::new(),
                )
            } else {
                not_ready(context, *answer)
            };
            let text = format!(
                "{generation} not ready after {}{why}{}{hint}",
                ms(*after),
                next_words(*next)
            );
            (Level::Bad, text)
        }
        View::Ended {
            generation,
            live,
            exit,
            ran,
            taken,
            hint,
            next,
        } => {
            let when = if *live {
                format!("ended after {}", ms(*ran))
            } else {
                "ended before it was ready".into()
            };
            let hint = hint
                .as_ref()
                .map(|hint| hint_words(hint, context))
                .unwrap_or_default();
            let taken = taken.as_ref();
            let taken = taken.map_or_else(String::new, |address| format!(", {address} is in use"));
            let text = format!(
                "{generation} {when}: {exit}{taken}{}{hint}",
                next_words(*next)
            );
            (Level::Bad, text)
        }
        View::Finished { generation, ran } if context.once => (
            Level::Good,
            format!("{generation} finished after {}", ms(*ran)),
        ),
        View::Finished { generation, ran } => (
            Level::Good,
            format!(
                "{generation} finished after {}; waiting for a change",
                ms(*ran)
            ),
        ),
        View::Background {
            generation,
            followed: true,
        } => (
            Level::Info,
            format!("{generation} goes on in the background: its first process has ended"),
        ),
        View::Background {
            generation,
            followed: false,
        } => (
            Level::Warn,
            format!(
                "{generation} has left processes in the background, and nothing says whether they \
                 serve\nhint: have it stay in the foreground, or leave --no-capture out"
            ),
        ),
        View::CannotStart {
            generation,
            error,
            next,
        } => {
            let (error, hint) = split_hint(error);
            (
                Level::Bad,
                format!("{generation} {error}{}{hint}", next_words(*next)),
            )
        }
        View::Learned(evidence) => (Level::Warn, learned(evidence)),
        View::Holding { live, limit } => (
            Level::Info,
            format!(
                "new clients wait for the next version; {live} serves those it has (at most {})",
                ms(*limit)
            ),
        ),
        View::Released => (
            Level::Warn,
            "who waited for the next version is served by the old one now\nhint: `hold_limit` in \
             [handover] says how long they may wait"
                .into(),
        ),
        View::Draining {
            generation,
            open,
            first_stream,
        } => draining(*generation, *open, *first_stream),
        View::Cut {
            generation,
            connections,
            after,
            for_next,
        } => (
            Level::Warn,
            cut(*generation, *connections, *after, *for_next),
        ),
        View::Survivors { generation, pids } => {
            let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
            (
                Level::Bad,
                format!(
                    "{generation} left processes that could not be ended: pid {}",
                    pids.join(", ")
                ),
            )
        }
        View::Gone(generation, _) => (Level::Detail, format!("{generation} is gone")),
        View::Quitting { now: false } => (Level::Info, "stopping".into()),
        View::Quitting { now: true } => (Level::Info, "stopping at once".into()),
    };
    Some(Text { level, text })
}

/// A line in which cargo says what it is doing: a verb, right-aligned in twelve columns.
pub fn is_cargo_status(line: &str) -> bool {
    let Some((verb, rest)) = line.split_at_checked(12) else {
        return false;
    };
    let verb = verb.trim_start();
    rest.starts_with(' ') && !verb.is_empty() && verb.chars().all(|c| c.is_ascii_alphabetic())
}

/// Whole milliseconds, or seconds from ten on.
pub(super) fn ms(time: Duration) -> String {
    if time >= Duration::from_secs(10) {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} ms", time.as_millis())
    }
}

fn split_hint(text: &str) -> (&str, String) {
    match exit::split_hint(text) {
        (text, Some(hint)) => (text, format!("\nhint: {hint}")),
        (text, None) => (text, String::new()),
    }
}

fn next_words(next: Next) -> String {
    match next {
        Next::Keeps(generation) => format!("; {generation} keeps serving"),
        Next::Restart(Duration::ZERO) => "; starting it again".into(),
        Next::Restart(wait) => format!("; starting it again in {}", ms(wait)),
        Next::Rollback(generation) => {
            format!("; starting the last good program again (built as {generation})")
        }
        Next::Exclusive => "; trying again with live stopped first".into(),
        Next::Continue | Next::End => String::new(),
        Next::Wait => "; waiting for a change".into(),
    }
}

fn starting(
    generation: Generation,
    beside: Option<Generation>,
    first_overlap: bool,
    cause: &Cause,
) -> (Level, String) {
    match beside {
        Some(live) if first_overlap => (
            Level::Info,
            format!(
                "starting {generation} beside {live}, which serves until it is ready \
                 (`--handover stop-first` stops it before)"
            ),
        ),
        Some(live) => (
            Level::Detail,
            format!("starting {generation} beside {live} ({cause})"),
        ),
        None => (Level::Detail, format!("starting {generation} ({cause})")),
    }
}

fn signalled(generation: Option<Generation>, number: i32, cause: &Cause) -> (Level, String) {
    let signal = Exit::Signal(number);
    match generation {
        Some(live) => (
            Level::Info,
            format!("{signal} passed on to {live} ({cause})"),
        ),
        None => (
            Level::Warn,
            format!("{signal} not sent: no app is live ({cause})"),
        ),
    }
}

fn live(generation: Generation, phases: &Phases, proof: Proof, cause: &Cause) -> String {
    let mut parts = Vec::new();
    let mut part = |name: &str, time: Duration| parts.push(format!("{name} {}", time.as_millis()));
    if let Some(detect) = phases.detect {
        part("detect", detect);
    }
    if let Some(build) = phases.build {
        part("build", build);
    }
    if let Some(hooks) = phases.hooks {
        part("hooks", hooks);
    }
    part("start", phases.start);
    part("swap", phases.swap);
    let mut line = format!(
        "{generation} live in {}: {} ({cause})",
        ms(phases.total()),
        parts.join(", ")
    );
    if proof == Proof::Alive {
        let _ = write!(line, ", ready by the clock");
    }
    line
}

fn learned(evidence: &Evidence) -> String {
    let why = evidence_words(evidence);
    format!("this program cannot run beside itself: {why}; from now on live is stopped first")
}

pub(super) fn evidence_words(evidence: &Evidence) -> String {
    match evidence {
        Evidence::Line(line) => format!("it said `{line}`"),
        Evidence::Lock(path) => format!("live has `{path}` locked"),
        Evidence::Address(address) => format!("live has {address}"),
    }
}

fn cut(generation: Generation, connections: usize, after: Duration, for_next: bool) -> String {
    let what = match connections {
        0 => "no open connection".into(),
        1 => "1 open connection".into(),
        many => format!("{many} open connections"),
    };
    let why = if for_next {
        "the next generation needs its place"
    } else {
        "it did not end by itself"
    };
    format!("{generation} ended with {what} after {}: {why}", ms(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn says(view: &View, expected: &str) {
        let context = Context {
            addresses: vec!["127.0.0.1:3000".into()],
            ..Context::default()
        };
        assert_eq!(of(view, &context).unwrap().text, expected);
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
        let ms = Duration::from_millis;
        let cause = Cause::Changed(vec!["src/version.rs".into()]);
        let phases = Phases {
            detect: Some(ms(9)),
            build: Some(ms(391)),
            hooks: None,
            start: ms(8),
            swap: ms(4),
        };
        let proof = Proof::Accepting;
        says(
            &View::Live {
                generation: Generation(7),
                phases,
                proof,
                cause: cause.clone(),
            },
            "g7 live in 412 ms: detect 9, build 391, start 8, swap 4 (src/version.rs)",
        );
        says(
            &View::BuildFailed {
                generation: Generation(3),
                reason: "2 errors".into(),
                took: ms(312),
                cause,
                next: Next::Keeps(Generation(2)),
            },
            "g3 failed to build in 312 ms: 2 errors; g2 keeps serving (src/version.rs)",
        );
        says(
            &View::Ended {
                generation: Generation(4),
                live: true,
                exit: Exit::Signal(9),
                ran: ms(12_340),
                taken: None,
                hint: None,
                next: Next::Restart(ms(200)),
            },
            "g4 ended after 12.3 s: signal 9 (SIGKILL); starting it again in 200 ms",
        );
        says(
            &View::Cut {
                generation: Generation(4),
                connections: 2,
                after: ms(5000),
                for_next: false,
            },
            "g4 ended with 2 open connections after 5000 ms: it did not end by itself",
        );
    }
}
