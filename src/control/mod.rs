//! The control socket, over which `hotrun ctl` asks a running hotrun for something: the types that go over
//! it, one JSON object a line.
//!
//! # Theory of operation
//!
//! Each run has a socket of its own in a directory of this user (`place`), under a name that no other run
//! has or had. Each client is greeted with what runs there ([`Greeting`]), so that `hotrun ctl`
//! finds the right one among several (`client`) and hears of a version that it does not understand.
//! `server` turns requests into events of the session and writes its answers; the lines of the app come
//! from a bounded buffer (`logs`). Deliberately absent: any decision. What a command does, and when it
//! is answered, is for the session to say.

pub mod answer;
pub mod client;
pub mod desk;
mod logs;
pub mod place;
pub mod server;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::report::values::{AnyPath, HeldAddress};
use crate::session::model::Generation;
use crate::session::status::Status;

/// The version of the protocol: raised when one side could misunderstand the other.
pub const PROTOCOL: u32 = 1;

/// What hotrun waits for while a person is to choose the program.
pub(crate) const ASKS: &str = "it asks at its terminal which program to run";

/// What the server says first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// The version of the protocol.
    pub protocol: u32,
    /// The version of the hotrun that runs.
    pub hotrun: String,
    /// What it runs.
    pub session: Identity,
}

/// What a hotrun runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its process id.
    pub pid: u32,
    /// The root of the workspace.
    pub workspace: AnyPath,
    /// The package; `None`: the project is being read, or could not be read at the start.
    pub package: Option<String>,
    /// The binary or example.
    pub target: Option<String>,
    /// The profile it is built with.
    #[serde(default)]
    pub profile: Option<String>,
    /// The platform it is built for, if one was named (`--target`).
    #[serde(default)]
    pub platform: Option<String>,
}

/// What a client asks for, after the greeting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum ClientRequest {
    /// A command, by its name; answered by one [`Answer`].
    Command {
        /// The name.
        command: String,
    },
    /// What the app has written; answered by events of the kind `output`, until the end of what there is.
    Logs {
        /// Of this generation alone.
        generation: Option<Generation>,
        /// What it will write as well.
        follow: bool,
    },
}

/// What hotrun is doing, in answer to a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What it runs.
    pub session: Identity,
    /// What it is doing.
    #[serde(flatten)]
    pub status: Status,
    /// The held addresses.
    pub addresses: Vec<HeldAddress>,
    /// The errors of the compiler, if the newest build failed: rustc's own objects
    /// (<https://doc.rust-lang.org/rustc/json.html>).
    pub errors: Vec<Value>,
    /// The last lines of the program, if it failed.
    pub output: Vec<String>,
}

impl Answer {
    /// The errors as the compiler renders them, to be changed.
    pub fn rendered(&mut self) -> impl Iterator<Item = &mut String> {
        let errors = self.errors.iter_mut();
        errors.filter_map(|error| match error.get_mut("rendered") {
            Some(Value::String(rendered)) => Some(rendered),
            _ => None,
        })
    }
}

/// What is sent where a request can't be answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why, in a phrase.
    pub error: String,
}

#[cfg(any(test, fuzzing))]
pub(crate) mod hostile_tests {
    use std::fmt::Debug;

    use serde::de::DeserializeOwned;

    use super::*;
    use crate::hostile::Target;
    use crate::session::command::Command;

    /// What is accepted can be written, and is the same then.
    fn is_read<T: DeserializeOwned + Serialize + PartialEq + Debug>(line: &str) {
        if let Ok(read) = serde_json::from_str::<T>(line) {
            let written = serde_json::to_string(&read).unwrap();
            assert!(!written.contains('\n'));
            assert_eq!(serde_json::from_str::<T>(&written).unwrap(), read);
        }
    }

    pub(crate) fn any_line_of_a_client_or_server_is_read_or_refused() -> Target {
        let greeting = Greeting {
            protocol: PROTOCOL,
            hotrun: "1.0.0".into(),
            session: Identity {
                pid: 7,
                workspace: AnyPath(crate::sys::testing::absolute("/w")),
                package: Some("app".into()),
                target: None,
                profile: Some("dev".into()),
                platform: None,
            },
        };
        let greeting = serde_json::to_string(&greeting).unwrap();
        let corpus = [
            &*greeting,
            r#"{"ask":"command","command":"rebuild"}"#,
            r#"{"ask":"logs","generation":7,"follow":true}"#,
            r#"{"error":"no request: \u00e9\ud83d\ude00"}"#,
        ];
        Target::text(&corpus, 2, |line| {
            is_read::<ClientRequest>(line);
            is_read::<Greeting>(line);
            is_read::<Refusal>(line);
            is_read::<Answer>(line);
            line.parse::<Command>().ok();
        })
    }
}
