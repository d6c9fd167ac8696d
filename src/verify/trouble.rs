//! What ends a verification before its time: an event that means that the next reload will not come,
//! and what cargo or the app had said before. Pure.

use std::collections::VecDeque;

use super::events::Event;
use crate::exit::{ExitKind, Failure};
use crate::session::model::{Exit, Generation};

/// How many lines of the app are kept.
const LAST_LINES: usize = 20;

/// The last words of cargo and of the app.
#[derive(Debug, Default)]
pub(super) struct Words {
    compiler: Vec<String>,
    /// Cargo itself has told of an error.
    failing: bool,
    app: VecDeque<(u32, String)>,
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
        let exit = |exit: &Option<_>| exit.map_or(Exit::Unknown, Exit::from);
        let (said, failure) = match event {
            Event::Building { .. } => {
                self.failing = false;
                self.compiler.clear();
                return Ok(());
            }
            // What follows an error is about it: where it is, and by what it was caused.
            Event::Cargo { line } if line.starts_with("error") || self.failing => {
                self.failing = true;
                self.compiler.push(line.clone());
                return Ok(());
            }
            Event::Diagnostic { level, rendered } if level == "error" => {
                self.compiler.push(rendered.trim_end().to_owned());
                return Ok(());
            }
            Event::Output { generation, line } => {
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
            } => (
                std::mem::take(&mut self.compiler),
                failed(*generation, "failed to build: ", reason, hint.as_ref()),
            ),
            // Others are not waited for.
            Event::JobFailed {
                occasion,
                reason,
                hint,
            } if occasion.starts_with("before_") => {
                let failure = Failure::failed(format!("{occasion} failed: {reason}"));
                let hint = hint
                    .as_deref()
                    .unwrap_or("mend the command in [hooks] of the configuration");
                (Vec::new(), failure.hint(hint))
            }
            Event::NotReady {
                generation,
                after_ms,
            } => (
                self.lines_of(*generation),
                Failure::failed(format!(
                    "{} was not ready after {after_ms:.0} ms",
                    Generation(*generation)
                ))
                .hint("have it accept on every held address, or set `ready` in [app]"),
            ),
            // It is tried once more, with live stopped first.
            Event::Ended {
                live: false, next, ..
            } if next == "alone" => return Ok(()),
            Event::Ended {
                generation,
                live,
                exit: how,
                ..
            } => {
                let when = if *live {
                    "by itself while it was live"
                } else {
                    "before it was ready"
                };
                let text = format!("{} ended {when}: {}", Generation(*generation), exit(how));
                let failure = Failure::failed(text)
                    .hint("run it with `hotrun` alone until it stays up, then verify again");
                (self.lines_of(*generation), failure)
            }
            Event::Finished {} => return Err(nothing_to_load().into()),
            Event::CannotStart {
                generation,
                error,
                hint,
            } => (Vec::new(), failed(*generation, "", error, hint.as_ref())),
            Event::Debugged { generation, pid } => (
                Vec::new(),
                Failure::failed(format!(
                    "{} is being debugged (pid {pid}): the next version would wait for that",
                    Generation(*generation)
                ))
                .hint("detach the debugger first"),
            ),
            _ => return Ok(()),
        };
        Err(Trouble { said, failure })
    }

    /// The last lines that this version wrote.
    fn lines_of(&mut self, generation: u32) -> Vec<String> {
        let own = self.app.drain(..).filter(|(whose, _)| *whose == generation);
        own.map(|(_, line)| line).collect()
    }
}

/// A program without an address can't lose a client.
pub(super) fn nothing_to_load() -> Failure {
    Failure::usage("this program holds no address, so there is nothing to load")
        .hint("give one with --listen, or in [[listen]] of the configuration")
}

/// What hotrun said of a version, with its own hint if it has one.
fn failed(generation: u32, what: &str, reason: &str, hint: Option<&String>) -> Failure {
    Failure {
        hint: hint.cloned(),
        ..Failure::failed(format!("{} {what}{reason}", Generation(generation)))
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
    use serde_json::json;

    use super::*;

    /// What comes of the last of these events.
    fn after(events: &[serde_json::Value]) -> Result<(), Trouble> {
        let mut words = Words::default();
        let mut last = Ok(());
        for event in events {
            last = words.hear(&serde_json::from_value(event.clone()).unwrap());
        }
        last
    }

    #[track_caller]
    fn fails(events: &[serde_json::Value], said: &[&str], text: &str) {
        let trouble = after(events).unwrap_err();
        assert_eq!(trouble.said, said);
        assert_eq!(trouble.failure.to_string(), text);
    }

    #[test]
    fn what_ends_the_reloads_is_told_with_the_last_words() {
        let error = |text| json!({"event": "diagnostic", "level": "error", "rendered": text});
        fails(
            &[
                error("of the build before\n"),
                json!({"event": "building", "generation": 2, "cause": "asked for"}),
                json!({"event": "diagnostic", "level": "other", "rendered": "warning: x"}),
                error("error: y\n --> z\n"),
                json!({"event": "cargo", "line": "   Compiling app"}),
                json!({"event": "cargo", "line": "error: could not compile `app`"}),
                json!({"event": "cargo", "line": "Caused by: it"}),
                json!({"event": "build-failed", "generation": 2, "reason": "1 error", "hint": "look"}),
            ],
            &[
                "error: y\n --> z",
                "error: could not compile `app`",
                "Caused by: it",
            ],
            "g2 failed to build: 1 error\nhint: look",
        );
        let output =
            |generation, line| json!({"event": "output", "generation": generation, "line": line});
        fails(
            &[
                output(1, "old"),
                output(2, "new"),
                output(1, "old again"),
                json!({"event": "ended", "generation": 2, "live": false, "exit": {"status": 3},
                    "next": {"keeps": 1}}),
            ],
            &["new"],
            "g2 ended before it was ready: exit status 3\nhint: run it with `hotrun` alone until it \
             stays up, then verify again",
        );
        fails(
            &[
                json!({"event": "ended", "generation": 2, "live": true, "exit": null,
                "next": {"restart_ms": 0.0}}),
            ],
            &[],
            "g2 ended by itself while it was live: unknown exit status\nhint: run it with `hotrun` \
             alone until it stays up, then verify again",
        );
        fails(
            &[
                json!({"event": "job-failed", "occasion": "before_start", "reason": "exit status 1"}),
            ],
            &[],
            "before_start failed: exit status 1\nhint: mend the command in [hooks] of the configuration",
        );
        fails(
            &[json!({"event": "finished", "generation": 1})],
            &[],
            &nothing_to_load().to_string(),
        );
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let mut events: Vec<_> = (0..100)
            .map(|line| json!({"event": "output", "generation": 1, "line": line.to_string()}))
            .collect();
        events.push(json!({"event": "not-ready", "generation": 1, "after_ms": 30000.4}));
        let said = after(&events).unwrap_err().said;
        assert_eq!((said.len(), said[0].as_str()), (LAST_LINES, "80"));
    }

    #[test]
    fn what_is_tried_again_and_what_nobody_waits_for_is_no_trouble() {
        let alone = json!({"event": "ended", "generation": 2, "live": false, "exit": null,
            "next": "alone"});
        let hook = json!({"event": "job-failed", "occasion": "after_live", "reason": "x"});
        assert_eq!(after(&[alone, hook]), Ok(()));
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
