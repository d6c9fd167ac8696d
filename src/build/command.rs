//! The cargo command lines. Pure.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::project::Target;
use crate::config::Build;
use crate::keeper::protocol::{Input, Launch};

/// A command that is started as hotrun was: in its directory, with its environment.
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

/// The arguments that `cargo build` and `cargo run` both get for the chosen target.
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
    let named = build.fast || build.profile.is_some();
    flag(
        "--profile",
        named.then(|| build.profile()).as_deref().map(OsStr::new),
    );
    flag("--target", build.target.as_deref().map(OsStr::new));
    flag(
        "--target-dir",
        build.target_dir.as_deref().map(Path::as_os_str),
    );
    flag("--jobs", build.jobs.as_deref().map(OsStr::new));
    for (name, on) in [
        ("--all-features", build.all_features),
        ("--no-default-features", build.no_default_features),
        ("--release", build.release && !build.fast),
        ("--keep-going", build.keep_going),
        ("--ignore-rust-version", build.ignore_rust_version),
    ] {
        if on {
            args.push(name.into());
        }
    }
    args.extend(everywhere(build));
    for value in target.fast.iter().flatten() {
        args.extend(["--config".into(), value.into()]);
    }
    args
}

/// `cargo build` for the chosen target and these binaries of its package, as a user would call it.
pub fn build<'a>(
    build: &Build,
    target: &Target,
    bins: impl IntoIterator<Item = &'a String>,
) -> Vec<OsString> {
    let mut args = select("build", build, target);
    for bin in bins {
        args.extend(["--bin".into(), bin.into()]);
    }
    if build.timings {
        args.push("--timings".into());
    }
    args.extend(build.args.iter().map(OsString::from));
    args
}

/// The flags that every command of cargo takes.
fn everywhere(build: &Build) -> Vec<OsString> {
    let mut args: Vec<OsString> = Vec::new();
    for (name, on) in [
        ("--locked", build.locked),
        ("--offline", build.offline),
        ("--frozen", build.frozen),
    ] {
        if on {
            args.push(name.into());
        }
    }
    for (name, values) in [("--config", &build.config), ("-Z", &build.unstable)] {
        for value in values {
            args.extend([name.into(), value.into()]);
        }
    }
    args
}

/// From `build.args`, the flags that cargo needs wherever it reads the project.
fn everywhere_of_others(build: &Build) -> Vec<OsString> {
    const WITHOUT_VALUE: [&str; 3] = ["--locked", "--offline", "--frozen"];
    const WITH_VALUE: [&str; 3] = ["--config", "-Z", "--lockfile-path"];
    let mut args = Vec::new();
    let mut others = build.args.iter();
    while let Some(arg) = others.next() {
        let joined = arg.starts_with("-Z")
            || arg
                .split_once('=')
                .is_some_and(|(name, _)| WITH_VALUE.contains(&name));
        if WITH_VALUE.contains(&&**arg) {
            args.push(arg.into());
            args.extend(others.next().map(OsString::from));
        } else if joined || WITHOUT_VALUE.contains(&&**arg) {
            args.push(arg.into());
        }
    }
    args
}

fn named_manifest(build: &Build) -> Option<&OsStr> {
    build.named_manifest.then_some(build.manifest.as_os_str())
}

/// The flags that make `cargo build` print messages for a program. `color`: of what it prints for people.
pub fn messages(color: bool) -> [OsString; 4] {
    // Browsers show colors where the terminal does not.
    let format = "json-diagnostic-rendered-ansi";
    let when = if color { "always" } else { "never" };
    ["--message-format", format, "--color", when].map(OsString::from)
}

/// `cargo metadata` for the project, with only the packages that are compiled for these platforms.
pub fn metadata(build: &Build, platforms: &[&OsStr]) -> Vec<OsString> {
    let mut args: Vec<OsString> = ["metadata", "--format-version", "1", "--color", "never"]
        .map(Into::into)
        .to_vec();
    if let Some(manifest) = named_manifest(build) {
        args.extend(["--manifest-path".into(), manifest.to_owned()]);
    }
    for platform in platforms {
        args.extend(["--filter-platform".into(), (*platform).to_owned()]);
    }
    args.extend(everywhere(build));
    args.extend(everywhere_of_others(build));
    args
}

/// A command as a user would type it.
pub fn shown(args: &[OsString]) -> String {
    let mut line = String::from("cargo");
    for arg in args {
        let arg = arg.to_string_lossy();
        let plain = |c: char| c.is_alphanumeric() || "-_./=:,@+".contains(c);
        line.push(' ');
        if !arg.is_empty() && arg.chars().all(plain) {
            line.push_str(&arg);
        } else if arg.contains('"') {
            line.extend(["'", &arg, "'"]);
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
            fast: None,
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
        let quick = Target {
            fast: Some(vec!["profile.x.debug=0".into()]),
            ..alone.clone()
        };
        let fast = Build {
            fast: true,
            ..build
        };
        assert_eq!(
            shown(&select("run", &fast, &quick)),
            "cargo run --manifest-path \"x y/Cargo.toml\" --example server --features a,b \
             --profile fast-release --config profile.x.debug=0"
        );
        let more = ["worker".to_owned()];
        assert_eq!(
            shown(&super::build(&plain, &alone, &more)),
            "cargo build --example server --bin worker"
        );
    }
}
