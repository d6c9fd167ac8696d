//! The command line as a layer: strings become values, and an error names its flag. Pure.

use std::path::PathBuf;

use super::layer::{self, Layer, Listen, Mode, WhileBuilding};
use super::value::{FilePath, Text};
use crate::cli::{self, Args};
use crate::exit::Failure;
use crate::sockets::spec::Wrong;

/// The layer of the command line; `cargos`: the values of `--config` for cargo.
pub(super) fn layer(args: &Args, cargos: &[String]) -> Result<Layer, Failure> {
    let some = |paths: &[PathBuf]| {
        let paths: Vec<FilePath> = paths.iter().cloned().map(FilePath).collect();
        Some(paths).filter(|paths| !paths.is_empty())
    };
    let listen = read_all("--listen", &args.listen)?.map(|addresses| {
        let entry = |address| Listen {
            address: Some(address),
            ..Listen::default()
        };
        addresses.into_iter().map(entry).collect()
    });
    Ok(Layer {
        build: layer::Build {
            package: args.selection.package.clone(),
            bins: None,
            bin: args.selection.bin.clone(),
            example: args.selection.example.clone(),
            features: Some(args.features.clone()).filter(|features| !features.is_empty()),
            all_features: args.all_features.then_some(true),
            no_default_features: args.no_default_features.then_some(true),
            release: args.release.then_some(true),
            profile: args.profile.clone(),
            fast: args.fast.then_some(true),
            target: args.target.clone(),
            target_dir: args.target_dir.clone().map(FilePath),
            jobs: read("--jobs", args.jobs.as_ref())?,
            keep_going: args.keep_going.then_some(true),
            timings: args.timings.then_some(true),
            locked: args.manifest.locked.then_some(true),
            offline: args.manifest.offline.then_some(true),
            frozen: args.manifest.frozen.then_some(true),
            ignore_rust_version: args.ignore_rust_version.then_some(true),
            config: read_all("--config", cargos)?,
            unstable: Some(args.unstable.clone()).filter(|flags| !flags.is_empty()),
            args: None,
            on_change: None,
        },
        app: layer::App {
            env_files: some(&args.env_file),
            capture: args.no_capture.then_some(false),
            ..layer::App::default()
        },
        handover: layer::Handover {
            mode: args.handover.map(|mode| match mode {
                cli::Handover::Auto => Mode::Auto,
                cli::Handover::Overlap => Mode::Overlap,
                cli::Handover::StopFirst => Mode::StopFirst,
            }),
            while_building: args.while_building.map(|what| match what {
                cli::WhileBuilding::Serve => WhileBuilding::Serve,
                cli::WhileBuilding::Hold => WhileBuilding::Hold,
            }),
            ..layer::Handover::default()
        },
        watch: layer::Watch {
            debounce: read("--debounce", args.debounce.as_ref())?,
            max_wait: None,
            poll: read("--poll", args.poll.as_ref())?,
            paths: some(&args.watch),
            ignore: read_all("--ignore", &args.ignore)?,
        },
        log: layer::Log {
            clear: args.clear.then_some(true),
            ..layer::Log::default()
        },
        livereload: layer::Livereload {
            inject: args.inject.then_some(true),
            ..layer::Livereload::default()
        },
        listen,
        ..Layer::default()
    })
}

pub(super) fn read<T: Text>(flag: &str, text: Option<&String>) -> Result<Option<T>, Failure> {
    let refused =
        |wrong: Wrong| Failure::usage(format!("{flag}: {}", wrong.reason)).hint(wrong.hint);
    text.map(|text| T::read(text).map_err(refused)).transpose()
}

fn read_all<T: Text>(flag: &str, texts: &[String]) -> Result<Option<Vec<T>>, Failure> {
    let values: Vec<T> = texts
        .iter()
        .filter_map(|text| read(flag, Some(text)).transpose())
        .collect::<Result<_, _>>()?;
    Ok(Some(values).filter(|values| !values.is_empty()))
}
