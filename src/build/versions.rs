//! The versions of the toolchain.

use std::ffi::OsString;

use tokio::sync::watch;

use super::{command, no_cargo};
use crate::config::Build;
use crate::exit::Failure;
use crate::helper::{self, After, Stopped};
use crate::lines::Stream;

/// The versions of cargo and rustc, a line each.
pub async fn versions(build: &Build) -> Result<Vec<String>, Failure> {
    let mut versions = Vec::new();
    for program in [build.cargo.clone(), OsString::from("rustc")] {
        let (_keep, mut cancel) = watch::channel(false);
        let launch = command::launch(build, program.clone(), vec!["--version".into()], &[]);
        let mut said = String::new();
        let exit = helper::run(launch, &mut cancel, |stream, piece| {
            if stream == Stream::Stdout {
                said.push_str(piece);
            }
            After::GoOn
        });
        match exit.await {
            Ok(exit) if exit.success() => versions.push(said.trim().to_owned()),
            Ok(exit) => {
                let what = format!("`{} --version` ended with {exit}", program.display());
                return Err(Failure::failed(what).hint("install a toolchain with `rustup`"));
            }
            Err(Stopped::Failed(reason)) => return Err(no_cargo(reason)),
            Err(Stopped::Cancelled) => {}
        }
    }
    Ok(versions)
}
