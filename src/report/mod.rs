//! What is told: one type for the text, for JSON, for the markers of editors and for a service manager;
//! `verify` reads the very same type.
//!
//! What the session shows (`View`) and what is known beside it (`Note`) become an [`Event`]
//! in one place (`context`), with everything that its words need. From there each form is derived by
//! itself: a line for people (`text`), a JSON object ([`Record`]), the lines that editors look for
//! (`markers`). Hints are fields of an event, whatever they are printed as. Deliberately absent: where
//! and whether anything is printed, which is for `ui` to say.

pub mod context;
pub mod event;
mod hints;
pub mod late;
pub mod markers;
mod nearby;
pub mod phrases;
#[cfg(test)]
mod reference;
pub mod text;
pub mod values;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::session::model::{Line, Moment};
use crate::session::reason::Reason;
use crate::sink::Chunk;
use event::Event;
use values::{HeldAddress, Millis};

/// The version of the schema: raised when a reader of an older one could be misled.
pub const VERSION: u32 = 1;

/// An event as it is written: one JSON object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The version of the schema.
    #[serde(default)]
    pub v: u32,
    /// When it happened, since hotrun started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<Millis>,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What is known of an object whose event is not.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    v: u32,
    ms: Option<Millis>,
    #[serde(rename = "event")]
    _name: String,
}

impl Record {
    /// An event of this time.
    pub fn at(now: Moment, event: Event) -> Self {
        Self {
            v: VERSION,
            ms: Some(Millis(now)),
            event,
        }
    }

    /// One event per line that an app wrote.
    pub fn output(chunk: &Chunk) -> impl Iterator<Item = Self> {
        let text = chunk.bytes.strip_suffix(b"\n").unwrap_or(&chunk.bytes);
        text.split(|byte| *byte == b'\n').map(|line| Self {
            v: VERSION,
            ms: None,
            event: Event::Output {
                generation: chunk.generation,
                stream: chunk.stream,
                line: String::from_utf8_lossy(line).into_owned(),
            },
        })
    }

    /// As a line of JSON, without its end.
    pub fn line(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// Reads a line. What a newer hotrun tells may have other fields, other events and other values: the
    /// first are passed over, the others are [`Event::Unknown`]. `None`: it is no event at all.
    pub fn read(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok().or_else(|| {
            let Head { v, ms, .. } = serde_json::from_slice(line).ok()?;
            let event = Event::Unknown;
            Some(Self { v, ms, event })
        })
    }
}

/// Something about the whole run, before or beside the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// What is run.
    Session {
        /// The package.
        package: String,
        /// The binary or example.
        target: String,
        /// The root of the workspace.
        workspace: PathBuf,
        /// The file that the binary or example begins in.
        source: PathBuf,
    },
    /// The target that the user has chosen.
    Chosen {
        /// Its package.
        package: String,
        /// Its name.
        target: String,
        /// In an earlier run.
        before: bool,
    },
    /// What is held.
    Held(Vec<HeldAddress>),
    /// A line of cargo outside a build.
    Cargo(Line),
    /// Cargo waits for another cargo outside a build, or goes on.
    Blocked(Option<String>),
    /// Changes in a directory are not seen: which, and why.
    Unwatched(Reason),
    /// Something that is not as it should be.
    Warning(String),
    /// The LiveReload server does not listen on the port that is configured.
    Livereload {
        /// Its port.
        port: u16,
        /// The configured one.
        taken: u16,
    },
    /// So many browsers were told to reload.
    Reloaded {
        /// How many.
        browsers: usize,
        /// What they load anew; empty: whole pages.
        paths: Vec<PathBuf>,
    },
}

#[cfg(any(test, fuzzing))]
pub(crate) mod hostile_tests {
    use super::*;
    use crate::hostile::Target;

    pub(crate) fn any_line_is_an_event_or_none() -> Target {
        let corpus = [
            r#"{"v":1,"ms":1234.567,"event":"building","generation":2,"ago_ms":128.0,"cause":"first start","paths":["a",{"lossy":"\ufffd","bytes":"e9"}],"asked":false}"#,
            r#"{"v":1,"event":"output","generation":1,"stream":"stderr","line":"a\u001b[1m"}"#,
            r#"{"v":1,"ms":1e3,"event":"gone","generation":2,"exit":{"signal":15}}"#,
            r#"{"v":1,"ms":0.5,"event":"held","addresses":[{"name":null,"address":"127.0.0.1:3000","twins":true}]}"#,
            r#"{"v":2,"ms":1.5,"event":"of-tomorrow","x":1}"#,
        ];
        Target::text(&corpus, 4, |line| {
            let Some(record) = Record::read(line.as_bytes()) else {
                return;
            };
            let written = record.line().unwrap();
            assert!(!written.contains('\n'));
            assert_eq!(Record::read(written.as_bytes()), Some(record));
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::context::Context;
    use super::values::AnyPath;
    use super::*;
    use crate::lines::Stream;
    use crate::session::action::View;
    use crate::session::model::{Cause, Cure, Exit, Generation};
    use crate::sys::files;
    use crate::sys::testing::{ODD, hex};

    /// It is written like this, and read as it was.
    #[track_caller]
    fn written(view: View, expected: &Value) {
        let event = Context::default().of_view(view).unwrap();
        let record = Record::at(Moment::from_micros(1_234_567), event);
        let line = record.line().unwrap();
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), *expected);
        assert_eq!(Record::read(line.as_bytes()).unwrap(), record);
    }

    #[test]
    fn an_event_has_version_time_and_name() {
        written(
            View::Building {
                generation: Generation(2),
                cause: Cause::Start,
                ago: Duration::from_millis(128),
            },
            &json!({ "v": 1, "ms": 1234.567, "event": "building", "generation": 2,
                "ago_ms": 128.0, "cause": "first start", "paths": [], "asked": false }),
        );
        let exit = Some(Exit::Signal(15));
        written(
            View::Gone(Generation(2), exit),
            &json!({ "v": 1, "ms": 1234.567, "event": "gone", "generation": 2,
                "exit": { "signal": 15 } }),
        );
    }

    #[test]
    fn what_is_built_for_is_told_exactly() {
        let odd = files::path(&[b"src/", ODD, b".rs"].concat());
        let bytes = hex(odd.as_os_str().as_encoded_bytes());
        written(
            View::Building {
                generation: Generation(2),
                cause: Cause::Changed(vec!["src/a.rs".into(), odd]),
                ago: Duration::ZERO,
            },
            &json!({ "v": 1, "ms": 1234.567, "event": "building", "generation": 2,
                "ago_ms": 0.0, "cause": "src/a.rs, src/\u{fffd}.rs", "asked": false,
                "paths": ["src/a.rs", { "lossy": "src/\u{fffd}.rs", "bytes": bytes }] }),
        );
    }

    /// One that no JSON can have must not end the output of everything else.
    #[test]
    fn paths_of_any_bytes_are_told() {
        let path = files::path(&[b"caf", ODD, b".html"].concat());
        let bytes = hex(path.as_os_str().as_encoded_bytes());
        for view in [
            View::NoDependents {
                path: path.clone(),
                cure: Cure::Restart,
            },
            View::Loop {
                path: path.clone(),
                wait: Duration::from_secs(1),
            },
        ] {
            let event = Context::default().of_view(view).unwrap();
            let record = Record::at(Moment::ZERO, event);
            let line = record.line().unwrap();
            let value: Value = serde_json::from_str(&line).unwrap();
            let told = json!({ "lossy": "caf\u{fffd}.html", "bytes": bytes });
            assert_eq!(value["path"], told);
            let text = text::of(&record.event).unwrap().text;
            assert!(text.contains("`caf\u{fffd}.html`"), "{text}");
            match Record::read(line.as_bytes()).unwrap().event {
                Event::NoDependents { path: read, .. } | Event::Loop { path: read, .. } => {
                    assert_eq!(read, AnyPath(path.clone()));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_an_app_wrote_is_a_line_each() {
        let chunk = Chunk {
            generation: Generation(1),
            stream: Stream::Stderr,
            bytes: b"a\n\xff\n".to_vec(),
            room: None,
        };
        let lines: Vec<String> = Record::output(&chunk)
            .map(|record| record.line().unwrap())
            .collect();
        let line = |text| {
            format!(
                r#"{{"v":1,"event":"output","generation":1,"stream":"stderr","line":"{text}"}}"#
            )
        };
        assert_eq!(lines, [line("a"), line("\u{fffd}")]);
    }

    #[test]
    fn what_a_newer_one_tells_is_read_as_far_as_it_is_known() {
        let read = |line: &str| Record::read(line.as_bytes());
        let unknown = Some(Record {
            v: 2,
            ms: Some(Millis(Duration::from_micros(1500))),
            event: Event::Unknown,
        });
        assert_eq!(
            read(r#"{"v":2,"ms":1.5,"event":"of-tomorrow","x":1}"#),
            unknown
        );
        let proof = r#"{"v":2,"ms":1.5,"event":"gone","generation":1,"exit":{"crash":3}}"#;
        assert_eq!(read(proof), unknown);
        let more = r#"{"v":1,"ms":1.5,"event":"started","generation":1,"pid":7,"x":{"y":[]}}"#;
        let started = Event::Started {
            generation: Generation(1),
            pid: 7,
        };
        assert_eq!(read(more).unwrap().event, started);
        assert_eq!(read("panicked at"), None);
        assert_eq!(read(r#"{"reason":"compiler-artifact"}"#), None);
    }
}
