//! Views, notes and output as JSON events; the schema is described in `docs/events.md`. Pure.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::Note;
use crate::lines::Stream;
use crate::session::action::{Evidence, Next, View};
use crate::session::event::{Answer, BuildNews, Holder};
use crate::session::model::{Cure, Exit, Generation, Moment, Phases, Proof, Writer};
use crate::sink::Chunk;

/// The version of the schema: raised when a reader of an older one could be misled.
pub const VERSION: u32 = 1;

/// The event for a view.
#[expect(
    clippy::too_many_lines,
    reason = "one arm per view, each a name and its fields"
)]
pub fn view(now: Moment, view: &View) -> Value {
    let (event, fields) = match view {
        View::Building { generation, cause } => (
            "building",
            json!({ "generation": generation.0, "cause": cause.to_string() }),
        ),
        View::Configured(changed) => ("configured", json!({ "changed": changed })),
        View::Misconfigured(text) => ("misconfigured", json!({ "text": text })),
        View::JobStarted(job) => (
            "job",
            json!({ "occasion": job.occasion.to_string(), "command": job.command,
                "generation": job.generation.map(|generation| generation.0) }),
        ),
        View::JobLine(line) => ("job-output", json!({ "line": line })),
        View::JobFailed {
            occasion,
            reason,
            next,
        } => (
            "job-failed",
            json!({ "occasion": occasion.to_string(), "reason": reason, "next": next_name(*next) }),
        ),
        View::Signalled {
            generation,
            number,
            cause,
        } => (
            "signalled",
            json!({ "generation": generation.map(|live| live.0), "signal": number,
                "cause": cause.to_string() }),
        ),
        View::NobodyDepends { path, cure } => {
            let mut fields = path_of(path);
            fields["cure"] = cure_name(*cure);
            ("nobody-depends", fields)
        }
        View::OwnWriting { path, writer } => {
            let mut fields = path_of(path);
            fields["writer"] = writer_name(*writer).into();
            ("own-writing", fields)
        }
        View::NothingToBuild { generation, next } => (
            "nothing-to-build",
            json!({ "generation": generation.0, "next": next_name(*next) }),
        ),
        View::Loop { path, wait } => {
            let mut fields = path_of(path);
            fields["wait_ms"] = ms(*wait).into();
            ("loop", fields)
        }
        View::Siblings(names) => ("siblings", json!({ "names": names })),
        View::Unwatched(text) => ("warning", json!({ "text": text })),
        View::Build(generation, news) => return build(now, *generation, news),
        View::BuildCancelled { generation, cause } => (
            "cancelled",
            json!({ "generation": generation.0, "cause": cause.to_string() }),
        ),
        View::BuildFailed {
            generation,
            reason,
            took,
            cause,
            next,
        } => (
            "build-failed",
            json!({ "generation": generation.0, "reason": reason, "took_ms": ms(*took),
                "cause": cause.to_string(), "next": next_name(*next) }),
        ),
        View::Unchanged {
            generation,
            running,
            took,
            cause,
        } => (
            "unchanged",
            json!({ "generation": generation.0, "running": running.0, "took_ms": ms(*took),
                "cause": cause.to_string() }),
        ),
        View::Starting {
            generation,
            beside,
            cause,
            ..
        } => (
            "starting",
            json!({ "generation": generation.0, "beside": beside.map(|live| live.0),
                "cause": cause.to_string() }),
        ),
        View::Started { generation, pid } => {
            ("started", json!({ "generation": generation.0, "pid": pid }))
        }
        View::Suspended {
            generation,
            suspended,
        } => (
            "suspended",
            json!({ "generation": generation.0, "suspended": suspended }),
        ),
        View::Debugged {
            generation,
            pid,
            waits,
        } => (
            "debugged",
            json!({ "generation": generation.0, "pid": pid, "waits": waits.map(|next| next.0) }),
        ),
        View::Live {
            generation,
            phases,
            proof,
            cause,
        } => (
            "live",
            json!({ "generation": generation.0, "total_ms": ms(phases.total()),
                "phases": phases_of(phases), "proof": proof_name(*proof),
                "cause": cause.to_string() }),
        ),
        View::Uncaptured(reason) => ("uncaptured", json!({ "text": reason })),
        View::Taken { generation, taken } => {
            let holder = match &taken.by {
                Holder::Live => "live",
                Holder::Hotrun => "hotrun",
                Holder::Other(other) => other.as_str(),
            };
            (
                "address-in-use",
                json!({ "generation": generation.0, "address": taken.address, "holder": holder }),
            )
        }
        View::Unclaimed {
            generation,
            addresses,
        } => (
            "unclaimed",
            json!({ "generation": generation.0, "addresses": addresses }),
        ),
        View::NotReady {
            generation,
            after,
            suspended,
            answer,
            next,
        } => (
            "not-ready",
            json!({ "generation": generation.0, "after_ms": ms(*after), "suspended": suspended,
                "answer": answer.map(answer_name), "next": next_name(*next) }),
        ),
        View::Ended {
            generation,
            live,
            exit,
            ran,
            taken,
            next,
            ..
        } => (
            "ended",
            json!({ "generation": generation.0, "live": live, "exit": exit_of(*exit),
                "ran_ms": ms(*ran), "in_use": taken, "next": next_name(*next) }),
        ),
        View::Finished { generation, ran } => (
            "finished",
            json!({ "generation": generation.0, "ran_ms": ms(*ran) }),
        ),
        View::Background {
            generation,
            followed,
        } => (
            "background",
            json!({ "generation": generation.0, "followed": followed }),
        ),
        View::CannotStart {
            generation,
            error,
            next,
        } => (
            "cannot-start",
            json!({ "generation": generation.0, "error": error, "next": next_name(*next) }),
        ),
        View::Learned(Evidence::Line(line)) => ("learned", json!({ "line": line })),
        View::Learned(Evidence::Lock(path)) => ("learned", json!({ "lock": path })),
        View::Learned(Evidence::Address(address)) => ("learned", json!({ "address": address })),
        View::Holding { live, limit } => {
            ("holding", json!({ "live": live.0, "limit_ms": ms(*limit) }))
        }
        View::Released => ("released", json!({})),
        View::Draining {
            generation, open, ..
        } => (
            "draining",
            json!({ "generation": generation.0, "unanswered": open.busy, "streams": open.streams }),
        ),
        View::Cut {
            generation,
            connections,
            after,
            for_next,
        } => (
            "cut",
            json!({ "generation": generation.0, "connections": connections,
                "after_ms": ms(*after), "for_next": for_next }),
        ),
        View::Survivors { generation, pids } => (
            "survivors",
            json!({ "generation": generation.0, "pids": pids }),
        ),
        View::Gone(generation, exit) => (
            "gone",
            json!({ "generation": generation.0, "exit": exit.map(exit_of) }),
        ),
        View::Quitting { now } => ("quitting", json!({ "at_once": now })),
    };
    object(now, event, fields)
}

fn build(now: Moment, generation: Generation, news: &BuildNews) -> Value {
    let (event, fields) = match news {
        BuildNews::Command(command) => ("command", json!({ "command": command })),
        BuildNews::Line(line) => ("cargo", json!({ "line": line })),
        BuildNews::Diagnostic { error, rendered } => {
            let level = if *error { "error" } else { "other" };
            (
                "diagnostic",
                json!({ "level": level, "rendered": rendered }),
            )
        }
        BuildNews::Progress { done, total } => {
            ("progress", json!({ "done": done, "total": total }))
        }
        BuildNews::Blocked(on) => ("blocked", json!({ "on": on })),
        BuildNews::Ended(exit) => ("build-ended", json!({ "exit": exit_of(*exit) })),
        BuildNews::Loaded(_) | BuildNews::Inputs(_) | BuildNews::Done(_) => ("build", json!({})),
    };
    let mut value = object(now, event, fields);
    value["generation"] = generation.0.into();
    value
}

/// The event for a note.
pub fn note(now: Moment, note: &Note) -> Value {
    let (event, fields) = match note {
        Note::Session {
            package,
            target,
            workspace,
            source,
        } => (
            "session",
            json!({ "package": package, "target": target, "workspace": workspace,
                "source": source, "pid": std::process::id(), "hotrun": env!("CARGO_PKG_VERSION") }),
        ),
        Note::Held(held) => {
            let sockets: Vec<Value> = held
                .iter()
                .map(|held| {
                    json!({ "name": held.name, "address": held.address, "twins": held.twins })
                })
                .collect();
            ("held", json!({ "sockets": sockets }))
        }
        Note::Cargo(line) => ("cargo", json!({ "line": line })),
        Note::Warning(text) => ("warning", json!({ "text": text })),
    };
    object(now, event, fields)
}

/// One event per line that an app wrote.
pub fn output(chunk: &Chunk) -> Vec<Value> {
    let stream = match chunk.stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    let text = chunk.bytes.strip_suffix(b"\n").unwrap_or(&chunk.bytes);
    text.split(|byte| *byte == b'\n')
        .map(|line| {
            let line = String::from_utf8_lossy(line);
            json!({ "v": VERSION, "event": "output", "generation": chunk.generation.0,
                "stream": stream, "line": line })
        })
        .collect()
}

fn object(now: Moment, event: &str, fields: Value) -> Value {
    let mut object = Map::new();
    object.insert("v".into(), VERSION.into());
    object.insert("ms".into(), ms(now).into());
    object.insert("event".into(), event.into());
    if let Value::Object(fields) = fields {
        object.extend(fields);
    }
    object.into()
}

/// A path as text, and exactly where it is none: a name of a file may have any bytes, and no JSON can.
fn path_of(path: &Path) -> Value {
    let mut fields = json!({ "path": path.display().to_string() });
    if path.to_str().is_none() {
        fields["path_bytes"] = path.as_os_str().as_bytes().into();
    }
    fields
}

/// Milliseconds with microseconds behind the point.
fn ms(time: Moment) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn phases_of(phases: &Phases) -> Value {
    json!({ "detect_ms": phases.detect.map(ms), "build_ms": phases.build.map(ms),
        "hooks_ms": phases.hooks.map(ms), "start_ms": ms(phases.start), "swap_ms": ms(phases.swap) })
}

fn exit_of(exit: Exit) -> Value {
    match exit {
        Exit::Status(code) => json!({ "status": code }),
        Exit::Signal(number) => json!({ "signal": number }),
        Exit::Unknown => Value::Null,
    }
}

fn proof_name(proof: Proof) -> &'static str {
    match proof {
        Proof::Notified => "notified",
        Proof::Answered => "answered",
        Proof::Accepting => "accepting",
        Proof::Printed => "printed",
        Proof::Alive => "alive",
    }
}

fn answer_name(answer: Answer) -> Value {
    match answer {
        Answer::Status(code) => code.into(),
        Answer::Tls => "tls".into(),
        Answer::Http2 => "http2".into(),
        Answer::Other => "other".into(),
        Answer::Nothing => "nothing".into(),
    }
}

fn next_name(next: Next) -> Value {
    match next {
        Next::Keeps(generation) => json!({ "keeps": generation.0 }),
        Next::Restart(wait) => json!({ "restart_ms": ms(wait) }),
        Next::Rollback(generation) => json!({ "rollback": generation.0 }),
        Next::Exclusive => "alone".into(),
        Next::Continue => "continue".into(),
        Next::Wait => "wait".into(),
        Next::End => "end".into(),
    }
}

fn cure_name(cure: Cure) -> Value {
    match cure {
        Cure::Restart => "restart".into(),
        Cure::CompiledIn(name) => json!({ "compiled_in_by": name }),
    }
}

fn writer_name(writer: Writer) -> &'static str {
    match writer {
        Writer::Build => "build",
        Writer::Start => "start",
        Writer::App => "app",
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::path::PathBuf;

    use super::*;
    use crate::session::model::Cause;

    /// One that no JSON can have must not end the output of everything else.
    #[test]
    fn paths_of_any_bytes_are_told() {
        let bytes = b"static/caf\xe9.html";
        let path = PathBuf::from(OsStr::from_bytes(bytes));
        for told in [
            View::NobodyDepends {
                path: path.clone(),
                cure: Cure::Restart,
            },
            View::Loop {
                path,
                wait: Moment::from_secs(1),
            },
        ] {
            let value = view(Moment::ZERO, &told);
            assert_eq!(value["path"], "static/caf\u{fffd}.html");
            assert_eq!(value["path_bytes"], json!(bytes));
        }
        let path = PathBuf::from("static/café.html");
        let value = view(
            Moment::ZERO,
            &View::NobodyDepends {
                path,
                cure: Cure::Restart,
            },
        );
        assert_eq!(value["path"], "static/café.html");
        assert_eq!(value.get("path_bytes"), None);
    }

    #[test]
    fn events_have_version_time_and_name() {
        let building = View::Building {
            generation: Generation(2),
            cause: Cause::Start,
        };
        let value = view(Moment::from_micros(1_234_567), &building);
        let expected = json!({ "v": 1, "ms": 1234.567, "event": "building", "generation": 2,
            "cause": "first start" });
        assert_eq!(value, expected);
    }
}
