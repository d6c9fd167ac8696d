//! What the hotrun under load tells, as far as it matters here: the JSON objects of `docs/events.md`.
//! Pure.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::session::model::{Exit, Moment};

/// One object, with its time since that hotrun started.
#[derive(Debug)]
pub(super) struct Told {
    /// Output of the app has none.
    pub(super) at: Option<Moment>,
    pub(super) event: Event,
}

#[derive(Deserialize)]
struct Line {
    ms: Option<f64>,
    #[serde(flatten)]
    event: Event,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(
    tag = "event",
    rename_all = "kebab-case",
    rename_all_fields = "snake_case"
)]
pub(super) enum Event {
    Held {
        sockets: Vec<Socket>,
    },
    Session {
        source: PathBuf,
    },
    Warning {
        text: String,
    },
    Cargo {
        line: String,
    },
    Building {
        generation: u32,
    },
    Blocked {
        on: Option<String>,
    },
    Diagnostic {
        level: String,
        rendered: String,
    },
    BuildEnded {
        generation: u32,
    },
    BuildFailed {
        generation: u32,
        reason: String,
        hint: Option<String>,
    },
    JobFailed {
        occasion: String,
        reason: String,
        hint: Option<String>,
    },
    Starting {
        generation: u32,
        beside: Option<u32>,
    },
    Started {
        generation: u32,
        pid: u32,
    },
    Live {
        generation: u32,
        total_ms: f64,
        phases: Phases,
    },
    Unclaimed {
        addresses: Vec<String>,
    },
    NotReady {
        generation: u32,
        after_ms: f64,
    },
    Ended {
        generation: u32,
        live: bool,
        exit: Option<How>,
        next: Value,
    },
    Finished {},
    CannotStart {
        generation: u32,
        error: String,
        hint: Option<String>,
    },
    Debugged {
        generation: u32,
        pid: i32,
    },
    Learned {
        line: Option<String>,
        lock: Option<String>,
    },
    Cut {
        connections: usize,
        after_ms: f64,
    },
    Gone {
        generation: u32,
        exit: Option<How>,
    },
    Output {
        generation: u32,
        line: String,
    },
    #[serde(other)]
    Other,
}

/// A held socket.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Socket {
    pub(super) address: String,
    pub(super) twins: bool,
}

/// Where the time went, in milliseconds.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Phases {
    #[serde(rename = "build_ms")]
    pub(super) build: Option<f64>,
    #[serde(rename = "start_ms")]
    pub(super) start: f64,
    #[serde(rename = "swap_ms")]
    pub(super) swap: f64,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum How {
    Status(i32),
    Signal(i32),
}

impl From<How> for Exit {
    fn from(how: How) -> Self {
        match how {
            How::Status(code) => Self::Status(code),
            How::Signal(number) => Self::Signal(number),
        }
    }
}

/// Reads a line. What can't be read is of no event that matters here.
pub(super) fn read(line: &[u8]) -> Option<Told> {
    let Line { ms, event } = serde_json::from_slice(line).ok()?;
    let at = ms.and_then(time);
    Some(Told { at, event })
}

/// A time of an event.
pub(super) fn time(ms: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(ms / 1e3).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn says(line: &str, event: &Event) {
        let told = read(line.as_bytes()).unwrap();
        assert_eq!(told.event, *event);
        assert_eq!(told.at, Some(Duration::from_micros(1500)));
    }

    #[test]
    fn events_are_read_and_what_is_unknown_is_passed_over() {
        says(
            r#"{"v":1,"ms":1.5,"event":"gone","generation":2,"exit":{"signal":15}}"#,
            &Event::Gone {
                generation: 2,
                exit: Some(How::Signal(15)),
            },
        );
        says(
            r#"{"v":1,"ms":1.5,"event":"build-ended","generation":2,"exit":{"status":0}}"#,
            &Event::BuildEnded { generation: 2 },
        );
        says(
            r#"{"v":1,"ms":1.5,"event":"learned","lock":"a.lock"}"#,
            &Event::Learned {
                line: None,
                lock: Some("a.lock".into()),
            },
        );
        says(
            r#"{"v":1,"ms":1.5,"event":"finished","generation":1,"ran_ms":3.0}"#,
            &Event::Finished {},
        );
        says(
            r#"{"v":1,"ms":1.5,"event":"of-tomorrow","x":1}"#,
            &Event::Other,
        );
        let output = r#"{"v":1,"event":"output","generation":1,"stream":"stdout","line":"hi"}"#;
        assert_eq!(read(output.as_bytes()).unwrap().at, None);
        assert!(read(b"panicked at").is_none());
    }
}
