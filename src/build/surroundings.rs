//! What `cargo run` would start the program with: its environment, its `argv[0]`, its runner.
//!
//! Only cargo (with rustup before it) knows all of that, so cargo is asked: after a build, `cargo run`
//! gets hotrun itself as the runner, which prints what it was started with and ends. The answer is used
//! until the project model or the messages of build scripts change, so a save does not pay for it. The
//! user's own runner is read from cargo's configuration.
//!
//! The printing is a hidden command of hotrun, in a process of its own.

use std::env;
use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use super::cargo_config::{CargoConfig, is_typed, runner_variable};
use super::command;
use super::lock_holder::{Tell, Waits};
use super::messages::{self, Said};
use super::project::Target;
use super::toolchain::Toolchain;
use crate::config::Build;
use crate::helper::{self, After, Cancel, Stopped};
use crate::keeper::protocol::Launch;
use crate::lines::Stream;
use crate::session::model::{Exit, Surroundings};
use crate::session::reason::Reason;
use crate::sys;
use crate::sys::host::own_program;

/// The hidden first argument that prints what this process was started with.
const PRINT: &str = "__surroundings";
/// What `__surroundings` prints.
#[derive(Debug, Serialize, Deserialize)]
struct Printed {
    env: Vec<(OsString, OsString)>,
    argv0: OsString,
}

/// If this process was started with the hidden command: the line to print, or the error.
pub fn requested() -> Option<Result<String, String>> {
    let mut arguments = env::args_os().skip(1);
    let first = arguments.next()?;
    if first == PRINT {
        let printed = Printed {
            env: sys::variables().collect(),
            argv0: arguments.next().unwrap_or_default(),
        };
        return Some(serde_json::to_string(&printed).map_err(|error| error.to_string()));
    }
    None
}

/// What `cargo run` starts the program with.
pub(super) async fn ask_cargo(
    build: &Build,
    target: &Target,
    toolchain: &Toolchain,
    recording: Option<[OsString; 2]>,
    waiting: Tell,
    cancel: &mut Cancel,
) -> Result<Surroundings, Stopped> {
    let key = runner_variable(&toolchain.triple);
    let program = own_program();
    // A variable and a string are split at spaces, which only a list can have in its words.
    let needs_list = program.contains(char::is_whitespace);
    let runner = OsString::from(format!("{program} {PRINT}"));
    let mut args = command::select("run", build, target);
    args.extend(recording.into_iter().flatten());
    let mut waits = Waits::new(waiting);
    // Tried once more without `build.args` if cargo fails: some of them are only for `cargo build`.
    let more = build.args.iter().map(OsString::from);
    let mut tries = vec![[args.clone(), more.collect()].concat()];
    tries.extend((!build.args.is_empty()).then_some(args));
    let mut answer = Err(Stopped::Cancelled);
    for mut args in tries {
        if is_typed(build) || needs_list {
            // A `--config` of the user may set a runner, which comes before the variable: without this
            // override, cargo would start the program.
            let failed = |error: serde_json::Error| Stopped::Failed(error.to_string().into());
            let config = CargoConfig::read(build);
            let config = config.runner_override(&toolchain.triple, [&program, PRINT]);
            let config = config.map_err(failed)?;
            args.extend(["--config".into(), config.into()]);
        }
        let env = (!needs_list).then(|| (&*key, runner.clone()));
        let launch = command::launch(build, build.cargo.clone(), args, env.as_slice());
        answer = ask(launch, cancel, &mut waits).await;
        if !matches!(answer, Err(Stopped::Failed(_))) {
            break;
        }
    }
    let mut printed: Printed = answer?;
    printed.env.retain(|(name, _)| *name != *key);
    let own = build.env.iter().filter(|(name, _)| *name == *key);
    printed.env.extend(own.cloned());
    Ok(Surroundings {
        env: printed.env,
        argv0: printed.argv0,
        runner: toolchain.runner.clone(),
    })
}

/// Runs cargo and reads the JSON line that the runner prints.
async fn ask(launch: Launch, cancel: &mut Cancel, waits: &mut Waits) -> Result<Printed, Stopped> {
    let mut answer = None;
    let mut said = String::new();
    let exit = helper::run(launch, cancel, |stream, line| {
        match stream {
            Stream::Stdout => answer = answer.take().or_else(|| serde_json::from_str(line).ok()),
            Stream::Stderr => match messages::stderr(line) {
                Said::Blocked(on) => waits.begin(on),
                said_so => {
                    waits.end();
                    if let Said::Line(line) = said_so {
                        said = line;
                    }
                }
            },
        }
        After::GoOn
    })
    .await?;
    waits.end();
    match answer {
        Some(answer) if exit == Exit::Status(0) => Ok(answer),
        _ => Err(Stopped::Failed(Reason::new(
            format!(
                "cannot learn from `cargo run` what the app is started with: {}",
                if said.is_empty() {
                    exit.to_string()
                } else {
                    said
                }
            ),
            "run the same `cargo run` by hand",
        ))),
    }
}
