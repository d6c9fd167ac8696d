//! The cargo command lines. Pure.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::project::Target;
use crate::config::Build;
use crate::keeper::protocol::{Input, Launch};

/// A command as hotrun was started: in its directory, with its environment.
pub fn launch(
    build: &Build,
    program: OsString,
    args: Vec<OsString>,
    extra: &[(&str, OsString)],
) -> Launch {
    let mut env = build.env.clone();
    env.extend(
        extra
            .iter()
            .map(|(key, value)| ((*key).into(), value.clone())),
    );
    Launch {
        argv0: program.clone(),
        program,
        args,
        env,
        dir: build.dir.as_os_str().to_owned(),
        notify: None,
        must_notify: false,
        input: Input::Nothing,
        filter: Vec::new(),
    }
}

/// `cargo build` or `cargo run` for the chosen target, without the program and without what only
/// hotrun wants.
pub fn select(subcommand: &str, build: &Build, target: &Target) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec![subcommand.into()];
    let mut flag = |name: &str, value: Option<&OsStr>| {
        if let Some(value) = value {
            args.extend([name.into(), value.to_owned()]);
        }
    };
    flag("--manifest-path", named_manifest(build));
    flag(
        "--package",
        target.of_many.then_some(OsStr::new(&target.package)),
    );
    flag(target.kind.flag(), Some(OsStr::new(&target.name)));
    for features in &build.features {
        flag("--features", Some(OsStr::new(features)));
    }
    flag("--profile", build.profile.as_deref().map(OsStr::new));
    flag("--target", build.target.as_deref().map(OsStr::new));
    flag(
        "--target-dir",
        build.target_dir.as_deref().map(Path::as_os_str),
    );
    for (name, on) in [
        ("--all-features", build.all_features),
        ("--no-default-features", build.no_default_features),
        ("--release", build.release),
    ] {
        if on {
            args.push(name.into());
        }
    }
    args
}

/// The same, and these binaries of the package with it.
pub fn select_with<'a>(
    build: &Build,
    target: &Target,
    bins: impl IntoIterator<Item = &'a String>,
) -> Vec<OsString> {
    let mut args = select("build", build, target);
    for bin in bins {
        args.extend(["--bin".into(), bin.into()]);
    }
    args
}

fn named_manifest(build: &Build) -> Option<&OsStr> {
    build.named_manifest.then_some(build.manifest.as_os_str())
}

/// What makes `cargo build` talk to a program.
pub fn messages(color: bool) -> [OsString; 4] {
    let format = if color {
        "json-diagnostic-rendered-ansi"
    } else {
        "json"
    };
    let when = if color { "always" } else { "never" };
    ["--message-format", format, "--color", when].map(OsString::from)
}

/// `cargo metadata` for the project.
pub fn metadata(build: &Build) -> Vec<OsString> {
    let mut args: Vec<OsString> = ["metadata", "--format-version", "1", "--color", "never"]
        .map(Into::into)
        .to_vec();
    if let Some(manifest) = named_manifest(build) {
        args.extend(["--manifest-path".into(), manifest.to_owned()]);
    }
    args
}

/// A command as one would type it.
pub fn shown(args: &[OsString]) -> String {
    let mut line = String::from("cargo");
    for arg in args {
        let arg = arg.to_string_lossy();
        let plain = |c: char| c.is_alphanumeric() || "-_./=:,@+".contains(c);
        line.push(' ');
        if !arg.is_empty() && arg.chars().all(plain) {
            line.push_str(&arg);
        } else {
            line.extend(["\"", &arg, "\""]);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::project::TargetKind;
    use super::*;

    #[test]
    fn the_choice_is_told_in_cargos_words() {
        let target = Target {
            package: "api".into(),
            of_many: true,
            kind: TargetKind::Bin,
            name: "server".into(),
            source: "src/main.rs".into(),
        };
        let build = Build {
            manifest: "x y/Cargo.toml".into(),
            named_manifest: true,
            features: vec!["a,b".into()],
            release: true,
            ..Build::default()
        };
        assert_eq!(
            shown(&select("build", &build, &target)),
            "cargo build --manifest-path \"x y/Cargo.toml\" --package api --bin server \
             --features a,b --release"
        );
        let alone = Target {
            of_many: false,
            kind: TargetKind::Example,
            ..target
        };
        let plain = Build::default();
        assert_eq!(
            shown(&select("run", &plain, &alone)),
            "cargo run --example server"
        );
        let more = ["worker".to_owned()];
        assert_eq!(
            shown(&select_with(&plain, &alone, &more)),
            "cargo build --example server --bin worker"
        );
    }
}
