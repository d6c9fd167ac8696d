//! What ends a verification before its time: an event that means that the next reload will not come,
//! and what cargo or the app had said before. Pure.

use std::collections::VecDeque;

use super::facts::Statuses;
use crate::exit::{ExitKind, Failure};
use crate::report::event::Event;
use crate::report::values::{Next, Severity};
use crate::session::model::{Exit, Generation};

/// How many lines of the app are kept.
const LAST_LINES: usize = 20;

/// The last words of cargo and of the app.
#[derive(Debug, Default)]
pub(super) struct Words {
    compiler: Vec<String>,
    /// Cargo itself has told of an error.
    failing: bool,
    app: VecDeque<(Generation, String)>,
}

/// Why it can't go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// What was said before.
    pub(super) said: Vec<String>,
    /// What, where and the next step.
    pub(super) failure: Failure,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self {
            said: Vec::new(),
            failure,
        }
    }
}

impl Words {
    /// Takes in an event; an error if no reload will come after it.
    pub(super) fn hear(&mut self, event: &Event) -> Result<(), Trouble> {
        let (said, failure) = match event {
            Event::Building { .. } => {
                self.failing = false;
                self.compiler.clear();
                return Ok(());
            }
            // What follows an error is about it: where it is, and by what it was caused.
            Event::Cargo { line, .. } if line.starts_with("error") || self.failing => {
                self.failing = true;
                self.compiler.push(line.clone());
                return Ok(());
            }
            Event::Diagnostic {
                level: Severity::Error,
                rendered,
                ..
            } => {
                self.compiler.push(rendered.trim_end().to_owned());
                return Ok(());
            }
            Event::Output {
                generation, line, ..
            } => {
                if self.app.len() == LAST_LINES {
                    self.app.pop_front();
                }
                self.app.push_back((*generation, line.clone()));
                return Ok(());
            }
            Event::BuildFailed {
                generation,
                reason,
                hint,
                ..
            } => (
                std::mem::take(&mut self.compiler),
                failed(*generation, "failed to build: ", reason, hint.as_ref()),
            ),
            // Others are not waited for.
            Event::JobFailed {
                occasion,
                reason,
                hint,
                ..
            } if occasion.is_waited_for() => {
                let failure = Failure::failed(format!("{occasion} failed: {reason}"));
                let hint = hint
                    .as_deref()
                    .unwrap_or("mend the command in [hooks] of the configuration");
                (Vec::new(), failure.hint(hint))
            }
            Event::NotReady {
                generation,
                after_ms,
                ..
            } => (
                self.lines_of(*generation),
                Failure::failed(format!(
                    "{generation} was not ready after {:.0} ms",
                    f64::from(*after_ms)
                ))
                .hint("have it accept on every held address, or set `ready` in [app]"),
            ),
            // It is tried once more, with live stopped first.
            Event::Ended {
                live: false,
                next: Next::Alone,
                ..
            } => return Ok(()),
            Event::Ended {
                generation,
                live,
                exit,
                ..
            } => {
                let when = if *live {
                    "by itself while it was live"
                } else {
                    "before it was ready"
                };
                let failure = Failure::failed(format!("{generation} ended {when}: {exit}"))
                    .hint("run it with `hotrun` alone until it stays up, then verify again");
                (self.lines_of(*generation), failure)
            }
            Event::Finished { .. } => return Err(nothing_to_load().into()),
            Event::CannotStart {
                generation,
                error,
                hint,
                ..
            } => (Vec::new(), failed(*generation, "", error, hint.as_ref())),
            Event::Debugged {
                generation, pid, ..
            } => (
                Vec::new(),
                Failure::failed(format!(
                    "{generation} is being debugged (pid {pid}): the next version would wait for that"
                ))
                .hint("detach the debugger first"),
            ),
            _ => return Ok(()),
        };
        Err(Trouble { said, failure })
    }

    /// The last lines that this version wrote.
    fn lines_of(&mut self, generation: Generation) -> Vec<String> {
        let own = self.app.drain(..).filter(|(whose, _)| *whose == generation);
        own.map(|(_, line)| line).collect()
    }
}

/// A program without an address can't lose a client.
pub(super) fn nothing_to_load() -> Failure {
    Failure::usage("this program holds no address, so there is nothing to load")
        .hint("give one with --listen, or in [[listen]] of the configuration")
}

/// Nothing works at the path, so nothing that a client needs is verified.
pub(super) fn only_errors(statuses: &Statuses, path: &str) -> Failure {
    let (answers, were) = match statuses.count() {
        1 => ("the only answer".into(), "was an error"),
        many => (format!("all {many} answers"), "were errors"),
    };
    Failure::usage(format!(
        "{answers} to `GET {path}` before the first reload {were}: status {statuses}"
    ))
    .hint("name a path that the app answers with a status below 400, with --path")
}

/// What hotrun said of a version, with its own hint if it has one.
fn failed(generation: Generation, what: &str, reason: &str, hint: Option<&String>) -> Failure {
    Failure {
        hint: hint.cloned(),
        ..Failure::failed(format!("{generation} {what}{reason}"))
    }
}

/// The error with which a hotrun has ended: what it wrote to stderr.
pub(super) fn of_stderr(text: &str, exit: Exit) -> Failure {
    let text = text.trim();
    let at = text
        .rfind("error: ")
        .filter(|at| *at == 0 || text[..*at].ends_with('\n'));
    let Some(at) = at else {
        let text = format!("the hotrun under load ended: {exit}\n{text}");
        return Failure::failed(text.trim_end())
            .hint("run `hotrun` with the same options and see what ends it");
    };
    let error = &text[at + "error: ".len()..];
    let (message, hint) = match error.split_once("\nhint: ") {
        Some((message, hint)) => (message, Some(hint)),
        None => (error, None),
    };
    let failure = match exit {
        Exit::Status(2) => Failure::usage(message),
        Exit::Status(3) => Failure {
            kind: ExitKind::InUse,
            ..Failure::failed(message)
        },
        _ => Failure::failed(message),
    };
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::lines::Stream;
    use crate::report::values::Millis;
    use crate::session::model::Occasion;

    const FIRST: Generation = Generation(1);
    const SECOND: Generation = Generation(2);

    /// What comes of the last of these events.
    fn after(events: &[Event]) -> Result<(), Trouble> {
        let mut words = Words::default();
        let mut last = Ok(());
        for event in events {
            last = words.hear(event);
        }
        last
    }

    #[track_caller]
    fn fails(events: &[Event], said: &[&str], text: &str) {
        let trouble = after(events).unwrap_err();
        assert_eq!(trouble.said, said);
        assert_eq!(trouble.failure.to_string(), text);
    }

    fn output(generation: Generation, line: &str) -> Event {
        Event::Output {
            generation,
            stream: Stream::Stdout,
            line: line.into(),
        }
    }

    fn ended(live: bool, exit: Exit, next: Next) -> Event {
        Event::Ended {
            generation: SECOND,
            live,
            exit,
            ran_ms: Millis::default(),
            in_use: None,
            hint: None,
            cause: "asked for".into(),
            next,
        }
    }

    fn job_failed(occasion: Occasion) -> Event {
        Event::JobFailed {
            occasion,
            reason: "exit status 1".into(),
            hint: None,
            next: Next::Wait,
        }
    }

    #[test]
    fn what_ends_the_reloads_is_told_with_the_last_words() {
        let message = |level, rendered: &str| Event::Diagnostic {
            generation: SECOND,
            level,
            rendered: rendered.into(),
        };
        let cargo = |line: &str| Event::Cargo {
            generation: Some(SECOND),
            line: line.into(),
        };
        fails(
            &[
                message(Severity::Error, "of the build before\n"),
                Event::Building {
                    generation: SECOND,
                    ago_ms: Millis(Duration::ZERO),
                    cause: "asked for".into(),
                    paths: Vec::new(),
                    asked: true,
                },
                message(Severity::Other, "warning: x"),
                message(Severity::Error, "error: y\n --> z\n"),
                cargo("   Compiling app"),
                cargo("error: could not compile `app`"),
                cargo("Caused by: it"),
                Event::BuildFailed {
                    generation: SECOND,
                    reason: "1 error".into(),
                    hint: Some("look".into()),
                    took_ms: Millis::default(),
                    cause: "asked for".into(),
                    next: Next::Wait,
                },
            ],
            &[
                "error: y\n --> z",
                "error: could not compile `app`",
                "Caused by: it",
            ],
            "g2 failed to build: 1 error\nhint: look",
        );
        fails(
            &[
                output(FIRST, "old"),
                output(SECOND, "new"),
                output(FIRST, "old again"),
                ended(false, Exit::Status(3), Next::Keeps(FIRST)),
            ],
            &["new"],
            "g2 ended before it was ready: exit status 3\nhint: run it with `hotrun` alone until it \
             stays up, then verify again",
        );
        fails(
            &[ended(
                true,
                Exit::Unknown,
                Next::RestartMs(Millis::default()),
            )],
            &[],
            "g2 ended by itself while it was live: unknown exit status\nhint: run it with `hotrun` \
             alone until it stays up, then verify again",
        );
        fails(
            &[job_failed(Occasion::BeforeStart)],
            &[],
            "before_start failed: exit status 1\nhint: mend the command in [hooks] of the configuration",
        );
        fails(
            &[Event::Finished {
                generation: FIRST,
                ran_ms: Millis::default(),
                hint: None,
                next: Next::Wait,
            }],
            &[],
            &nothing_to_load().to_string(),
        );
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let mut events: Vec<_> = (0..100)
            .map(|line: u32| output(FIRST, &line.to_string()))
            .collect();
        events.push(Event::NotReady {
            generation: FIRST,
            after_ms: Millis(Duration::from_micros(30_000_400)),
            suspended: false,
            answer: None,
            reason: None,
            hint: None,
            cause: "asked for".into(),
            next: Next::Wait,
        });
        let Trouble { said, failure } = after(&events).unwrap_err();
        assert_eq!((said.len(), said[0].as_str()), (LAST_LINES, "80"));
        assert_eq!(failure.message, "g1 was not ready after 30000 ms");
    }

    #[test]
    fn what_is_tried_again_and_what_nobody_waits_for_is_no_trouble() {
        let alone = ended(false, Exit::Unknown, Next::Alone);
        let hook = job_failed(Occasion::AfterLive);
        assert_eq!(after(&[alone, hook]), Ok(()));
    }

    #[test]
    fn errors_alone_are_named_with_the_path() {
        let one = only_errors(&Statuses::of([404]), "/x");
        let text =
            "the only answer to `GET /x` before the first reload was an error: status 404 (1)";
        assert_eq!((one.kind, &*one.message), (ExitKind::Usage, text));
        let many = only_errors(&Statuses::of([404, 500, 404]), "/");
        let text =
            "all 3 answers to `GET /` before the first reload were errors: status 404 (2), 500 (1)";
        assert_eq!(many.message, text);
        assert!(many.hint.unwrap().contains("--path"));
    }

    #[test]
    fn the_error_of_a_hotrun_is_ours() {
        let says = |text: &str, code| of_stderr(text, Exit::Status(code));
        let wrong = says("error: a.toml:1: b\nhint: c\n", 2);
        assert_eq!(wrong, Failure::usage("a.toml:1: b").hint("c"));
        let taken = says("error: in use\n", 3);
        assert_eq!((taken.kind, &*taken.message), (ExitKind::InUse, "in use"));
        assert_eq!(says("x\nerror: y\n", 1), Failure::failed("y"));
        let odd = of_stderr("thread panicked\n", Exit::Signal(6));
        let text = "the hotrun under load ended: signal 6 (SIGABRT)\nthread panicked";
        assert_eq!(odd.message, text);
    }
}
