//! Reads the project: asks cargo for its metadata, and the compiler for its host target.

use std::ffi::OsStr;

use cargo_metadata::Metadata;

use super::cargo_config::{self, CargoConfig};
use super::fast;
use super::lock_holder::{Tell, Waits};
use super::messages::{self, Said};
use super::project::{self, Problem, Project};
use super::{command, toolchain};
use crate::clock;
use crate::config::Build;
use crate::digest;
use crate::helper::{self, After, Cancel, Stopped};
use crate::lines::Stream;
use crate::session::model::Line;
use crate::session::seen::{Began, Seen};

/// Why the project could not be read.
pub(super) enum Unread {
    Stopped(Stopped),
    Problem(Problem),
}

/// Reads the project; `line` is called with what cargo prints meanwhile, and `waiting` with the lock
/// that it waits for.
pub(super) async fn read_project(
    build: &Build,
    cancel: &mut Cancel,
    line: &mut impl FnMut(Line),
    waiting: &Tell,
) -> Result<(Project, Seen), Unread> {
    let began = Began {
        stamp: clock::stamp(),
        clock: clock::steady(),
    };
    let configuration = cargo_config::digest(build);
    let config = CargoConfig::read(build);
    let read = read(build, &config, cancel, line, waiting);
    let (metadata, host) = Box::pin(read).await?;
    let mut project = project::choose(&metadata, build).map_err(Unread::Problem)?;
    (project.host, project.configuration) = (host, configuration);
    let fast = || fast::config(build, &config, &project.workspace);
    project.target.fast = build.fast.then(fast);
    let lock = digest::of(&project.workspace.join("Cargo.lock"));
    let seen = Seen {
        began,
        lock,
        first_build: None,
    };
    Ok((project, seen))
}

/// What cargo tells of the packages, and the compiler's host target.
pub(super) async fn read(
    build: &Build,
    config: &CargoConfig,
    cancel: &mut Cancel,
    line: &mut impl FnMut(Line),
    waiting: &Tell,
) -> Result<(Metadata, String), Unread> {
    // Only the compiler knows its host; it is asked while cargo already reads with the probable one.
    let guess = cargo_config::probable_host();
    let asked = toolchain::host(build, config, cancel.clone());
    let metadata = read_metadata(build, config, &guess, cancel, line, waiting);
    let (host, mut json) = tokio::join!(asked, metadata);
    if host != guess {
        json = read_metadata(build, config, &host, cancel, line, waiting).await;
    }
    let metadata = serde_json::from_str(&json?).map_err(|error| {
        line(format!("cargo metadata: {error}").into());
        Unread::Problem(Problem::Broken)
    })?;
    Ok((metadata, host))
}

/// The output of `cargo metadata` for a compiler with this host target. Crates that only other platforms
/// need are left out, as by `cargo build`: they may not be downloaded, and hotrun may be offline.
async fn read_metadata(
    build: &Build,
    config: &CargoConfig,
    host: &str,
    cancel: &mut Cancel,
    line: &mut impl FnMut(Line),
    waiting: &Tell,
) -> Result<String, Unread> {
    let target = config.target(build.target.as_deref(), host);
    // Dependencies of build scripts are built for the host.
    let mut platforms = vec![OsStr::new(&target)];
    platforms.extend((target != host).then_some(OsStr::new(host)));
    let args = command::metadata(build, &platforms);
    let launch = command::launch(build, build.cargo.clone(), args, &[]);
    let mut waits = Waits::new(waiting.clone());
    let mut json = String::new();
    let exit = helper::run(launch, cancel, |stream, piece| {
        match stream {
            Stream::Stdout => json.push_str(piece),
            Stream::Stderr => match messages::stderr(piece) {
                Said::Blocked(on) => waits.begin(on),
                Said::Line(text) => {
                    waits.end();
                    line(piece.with(text));
                }
                Said::Progress(..) | Said::Nothing => {}
            },
        }
        After::GoOn
    })
    .await
    .map_err(Unread::Stopped)?;
    waits.end();
    if exit.success() {
        Ok(json)
    } else {
        Err(Unread::Problem(Problem::Broken))
    }
}
