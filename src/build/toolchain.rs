//! Asks rustc for its host target, and for the `cfg` of the target that is built for.

use std::ffi::OsString;

use tokio::sync::watch;

use super::cargo_config::{CargoConfig, cfg_of, probable_host, triple};
use super::command;
use crate::config::Build;
use crate::helper::{self, After, Cancel, Stopped};
use crate::lines::Stream;

/// The target that is built for, and the runner of the program.
#[derive(Clone, Debug)]
pub(super) struct Toolchain {
    /// The name of the target.
    pub(super) triple: String,
    /// The runner with its first arguments; empty: the program is started directly.
    pub(super) runner: Vec<OsString>,
}

/// The compiler's host target; if it can't be asked, the probable one. Cargo then says what is wrong.
pub(super) async fn host(build: &Build, config: &CargoConfig, mut cancel: Cancel) -> String {
    let said = ask(build, config, &["-vV"], &mut cancel).await;
    let host = said.ok().and_then(|said| {
        let host = said.lines().find_map(|line| line.strip_prefix("host: "));
        host.map(|host| host.trim().to_owned())
    });
    host.unwrap_or_else(probable_host)
}

/// Reads the target and the runner from cargo's configuration.
pub(super) async fn read(
    build: &Build,
    host: &str,
    cancel: &mut Cancel,
) -> Result<Toolchain, Stopped> {
    let config = CargoConfig::read(build);
    let target = config.target(build.target.as_deref(), host);
    let mut cfg = Vec::new();
    if !config.conditions().is_empty() {
        let said = ask(
            build,
            &config,
            &["--print", "cfg", "--target", &target],
            cancel,
        )
        .await?;
        cfg = cfg_of(&said);
    }
    let triple = triple(&target).to_owned();
    let runner = config.runner(&triple, &cfg).map_err(Stopped::Failed)?;
    Ok(Toolchain { triple, runner })
}

/// Runs the compiler and returns what it prints.
async fn ask(
    build: &Build,
    config: &CargoConfig,
    args: &[&str],
    cancel: &mut watch::Receiver<bool>,
) -> Result<String, Stopped> {
    let args = args.iter().map(OsString::from).collect();
    let launch = command::launch(build, config.rustc(), args, &[]);
    let mut said = String::new();
    helper::run(launch, cancel, |stream, piece| {
        if stream == Stream::Stdout {
            said.push_str(piece);
        }
        After::GoOn
    })
    .await?;
    Ok(said)
}
