//! What `cargo run` would start the program with: its environment, its `argv[0]`, its runner.
//!
//! Nobody but cargo (and rustup before it) knows the whole of that, so cargo is asked: after a
//! build, `cargo run` is given hotrun itself as the runner, which prints what it was started with
//! and ends. The answer holds until the project model or what build scripts said changes, so a
//! save does not pay for it. The user's own runner comes from cargo's configuration.
//!
//! Both questions are answered by hidden commands of this program in processes of their own, so
//! that nothing foreign ever runs inside hotrun.

use std::env;
use std::ffi::OsString;

use cargo_config2::Config;
use serde::{Deserialize, Serialize};

use super::command;
use super::project::Target;
use crate::config::Build;
use crate::helper::{self, After, Cancel, Stopped};
use crate::lines::Stream;
use crate::session::model::{Exit, Surroundings};

/// The hidden first argument that prints what this process was started with.
const PRINT: &str = "__surroundings";
/// The hidden first argument that prints the target and the runner of cargo's configuration.
const TOOLCHAIN: &str = "__toolchain";

/// What `__surroundings` prints.
#[derive(Debug, Serialize, Deserialize)]
struct Printed {
    env: Vec<(OsString, OsString)>,
    argv0: OsString,
}

/// What `__toolchain` prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Toolchain {
    triple: String,
    runner: Vec<OsString>,
}

/// If this process is to answer one of the two questions: the answer, as a line, or why not.
pub fn requested() -> Option<Result<String, String>> {
    let mut arguments = env::args_os().skip(1);
    let first = arguments.next()?;
    if first == PRINT {
        let printed = Printed {
            env: env::vars_os().collect(),
            argv0: arguments.next().unwrap_or_default(),
        };
        return Some(serde_json::to_string(&printed).map_err(|error| error.to_string()));
    }
    if first == TOOLCHAIN {
        let target = arguments
            .next()
            .and_then(|triple| triple.into_string().ok());
        return Some(read_toolchain(target.as_deref()).map_err(|error| error.to_string()));
    }
    None
}

fn read_toolchain(target: Option<&str>) -> Result<String, Box<dyn std::error::Error>> {
    let config = Config::load()?;
    let chosen = config.build_target_for_config(target)?;
    let triple = chosen
        .first()
        .ok_or("cargo's configuration names no target")?;
    let runner = config.runner(triple)?;
    let toolchain = Toolchain {
        triple: triple.triple().to_owned(),
        runner: runner
            .map(|runner| {
                std::iter::once(runner.path.into_os_string())
                    .chain(runner.args)
                    .collect()
            })
            .unwrap_or_default(),
    };
    Ok(serde_json::to_string(&toolchain)?)
}

/// This program, for others to start: valid even after its file was replaced.
fn own_program() -> OsString {
    format!("/proc/{}/exe", std::process::id()).into()
}

/// The target and the runner of cargo's configuration.
pub(super) async fn toolchain(build: &Build, cancel: &mut Cancel) -> Result<Toolchain, Stopped> {
    let mut args = vec![TOOLCHAIN.into()];
    args.extend(build.target.iter().map(OsString::from));
    let launch = command::launch(build, own_program(), args, &[]);
    ask(launch, cancel, "cargo's configuration").await
}

/// What `cargo run` starts the program with.
pub(super) async fn ask_cargo(
    build: &Build,
    target: &Target,
    toolchain: &Toolchain,
    cancel: &mut Cancel,
) -> Result<Surroundings, Stopped> {
    let key = format!(
        "CARGO_TARGET_{}_RUNNER",
        toolchain.triple.replace(['-', '.'], "_").to_uppercase()
    );
    let mut runner = own_program();
    runner.push(format!(" {PRINT}"));
    let mut args = command::select("run", build, target);
    args.push("--quiet".into());
    let launch = command::launch(build, build.cargo.clone(), args, &[(&key, runner)]);
    let mut printed: Printed = ask(launch, cancel, "`cargo run`").await?;
    printed.env.retain(|(name, _)| *name != *key);
    let own = build.env.iter().filter(|(name, _)| *name == *key);
    printed.env.extend(own.cloned());
    Ok(Surroundings {
        env: printed.env,
        argv0: printed.argv0,
        runner: toolchain.runner.clone(),
    })
}

/// Runs a helper and reads the JSON line that it prints.
async fn ask<T: for<'a> Deserialize<'a>>(
    launch: crate::keeper::protocol::Launch,
    cancel: &mut Cancel,
    whom: &str,
) -> Result<T, Stopped> {
    let mut answer = None;
    let mut said = String::new();
    let exit = helper::run(launch, cancel, |stream, line| {
        match stream {
            Stream::Stdout => answer = answer.take().or_else(|| serde_json::from_str(line).ok()),
            Stream::Stderr => said.push_str(line),
        }
        After::GoOn
    })
    .await?;
    match answer {
        Some(answer) if exit == Exit::Status(0) => Ok(answer),
        _ => Err(Stopped::Failed(format!(
            "cannot learn from {whom} what the app is started with: {}\nhint: run the same `cargo run` by hand",
            said.trim()
                .lines()
                .last()
                .map_or_else(|| exit.to_string(), str::to_owned)
        ))),
    }
}
