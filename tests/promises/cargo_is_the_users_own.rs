//! Cargo works here as it does by hand: with all of its flags, its whole configuration, without a
//! network, and as the cargo of the project's own toolchain.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;

use crate::common::{Hotrun, Project, Run};
use crate::what_cargo_can_do_works::{Session, host, main_of, manifest};

/// Arguments, variables, and what the program prints.
type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);

const LOCK: &str = "version = 4\n\n[[package]]\nname = \"app\"\nversion = \"1.0.0\"\n";

fn script(project: &Project, path: &str, text: &str) -> PathBuf {
    project.add(path, &format!("#!/bin/sh\n{text}\n"));
    let path = project.path(path);
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path
}

/// Once, each was refused by hotrun, or missing when cargo was asked what the program is started with.
#[test]
fn its_flags_are_those_of_cargo_run() {
    let project = Project::of(&[
        ("Cargo.toml", &manifest("app", "rust-version = \"1.999\"")),
        ("Cargo.lock", LOCK),
        (
            "src/main.rs",
            &main_of("std::env::var(\"SAID\").unwrap_or(String::from(\"none\"))"),
        ),
        (
            "ci.toml",
            "[env]\nSAID = \"file\"\n[profile.dev]\ndebug = 0\n",
        ),
    ]);
    script(&project, "tools/run", "export SAID=runner\nexec \"$@\"");
    let host = host(&project);
    let runner = format!("target.{host}.runner=\"tools/run\"");
    let old = "--ignore-rust-version";
    let unstable = [("RUSTC_BOOTSTRAP", "1")];
    let cases: [Case; 9] = [
        (&[old, "--locked", "--offline", "-j", "1"], &[], "none"),
        (&[old, "--frozen", "--keep-going", "--jobs=-1"], &[], "none"),
        (&[old, "--timings"], &[], "none"),
        (&[old, "--config", "env.SAID='typed'"], &[], "typed"),
        (&[old, "--config", "ci.toml"], &[], "file"),
        (
            &[old, "--config", "ci.toml", "--config", "env.SAID='over'"],
            &[],
            "over",
        ),
        (&[old, "--config", &runner], &[], "runner"),
        (
            &[old, "--config", "build.target-dir='elsewhere'"],
            &[],
            "none",
        ),
        (
            &[old, "-Zunstable-options", "-Z", "panic-abort-tests"],
            &unstable,
            "none",
        ),
    ];
    for (args, env, said) in cases {
        Session::start(&project, args, env, said).end();
    }
    assert!(project.path("elsewhere/debug/app").exists());
    assert!(project.path("elsewhere/hotrun").exists());
    let reports = project.path("target/cargo-timings");
    assert!(reports.is_dir(), "no report of times");
}

/// The same in the configuration file, and `args` for flags that hotrun has no setting for.
#[test]
fn its_flags_can_be_settings() {
    let project = Project::of(&[
        ("Cargo.toml", &manifest("app", "rust-version = \"1.999\"")),
        ("Cargo.lock", LOCK),
        (
            "src/main.rs",
            &main_of("std::env::var(\"SAID\").unwrap_or(String::from(\"none\"))"),
        ),
        ("etc/ci.toml", "[env]\nSAID = \"file\"\n"),
    ]);
    project.configure(
        "[build]\njobs = 1\nlocked = true\noffline = true\nignore_rust_version = true\n\
         config = [\"etc/ci.toml\"]\nargs = [\"--future-incompat-report\"]\n",
    );
    let hotrun = Hotrun::start(&project, &[]);
    hotrun.wait_line(|line| line == "said file");
    let command = hotrun.values("command", "command").remove(0);
    for part in [
        "--jobs 1",
        "--locked",
        "--offline",
        "--ignore-rust-version",
        "--future-incompat-report",
    ] {
        assert!(command.contains(part), "{command}");
    }
    // The configuration file is a source too.
    project.edit("etc/ci.toml", "file", "edited");
    hotrun.wait_line(|line| line == "said edited");
}

/// A lock file names the crates of all platforms, most of which are not downloaded.
#[test]
fn crates_of_other_systems_are_not_needed() {
    let more = "[target.'cfg(windows)'.dependencies]\nnever-fetched = \"1\"\n";
    let lock = "version = 4\n\n[[package]]\nname = \"app\"\nversion = \"1.0.0\"\n\
        dependencies = [\n \"never-fetched\",\n]\n\n\
        [[package]]\nname = \"never-fetched\"\nversion = \"1.0.0\"\n\
        source = \"registry+https://github.com/rust-lang/crates.io-index\"\n\
        checksum = \"0000000000000000000000000000000000000000000000000000000000000000\"\n";
    let project = Project::of(&[
        ("Cargo.toml", &manifest("app", more)),
        ("Cargo.lock", lock),
        ("src/main.rs", &main_of("1")),
    ]);
    // The index knows the crate, and it is not downloaded.
    let entry = r#"{"name":"never-fetched","vers":"1.0.0","deps":[],"features":{},"yanked":false,
        "cksum":"0000000000000000000000000000000000000000000000000000000000000000"}"#;
    project.add(
        "../registry/index/ne/ve/never-fetched",
        &entry.replace("\n        ", ""),
    );
    project.add(
        ".cargo/config.toml",
        "[source.crates-io]\nreplace-with = \"here\"\n\
         [source.here]\nlocal-registry = \"../registry\"\n",
    );
    let mut all = project.command("cargo");
    let all = all
        .args(["metadata", "--format-version", "1"])
        .output()
        .unwrap();
    assert!(
        !all.status.success(),
        "the crate is here, so nothing is tried"
    );
    let args = ["--offline", "--locked"];
    let session = Session::start(&project, &args, &[], "1");
    session.edit("src/main.rs", "tell(1)", "tell(2)", "2");
    session.end();
}

/// A build script that stores which cargo and toolchain build the project.
const SEEN: &str = r#"fn main() {
    println!("cargo::rerun-if-env-changed=VIA");
    let var = |name| std::env::var(name).unwrap_or_default();
    println!("cargo::rustc-env=SEEN={} {}", var("VIA"), var("CARGO_PKG_NAME"));
}"#;

/// A cargo that marks that it was called, and calls the real one.
fn shim(project: &Project, path: &str, name: &str) -> PathBuf {
    let real = std::env::var("PATH").unwrap();
    script(
        project,
        path,
        &format!("export VIA={name} PATH='{real}'\nexec cargo \"$@\""),
    )
}

/// A hotrun that is started by `cargo run` of another package gets the variables of that package's
/// cargo. Once, the project was built by that cargo, whatever its `rust-toolchain.toml` says.
#[test]
fn a_cargo_that_runs_hotrun_is_not_the_projects() {
    let project = Project::of(&[
        ("Cargo.toml", &manifest("app", "")),
        ("build.rs", SEEN),
        ("src/main.rs", &main_of("env!(\"SEEN\")")),
    ]);
    let others = shim(&project, "../others/bin/cargo", "others");
    let own = shim(&project, "../own/cargo", "own");
    let own = own.parent().unwrap().to_str().unwrap();
    let path = format!("{own}:{}", std::env::var("PATH").unwrap());
    let others = others.to_str().unwrap();
    let start = |variables: &[(&str, &str)]| {
        let run = Run::new(&project, &[]).env("PATH", &path);
        let set = |run: Run, (key, value): &(&str, &str)| run.env(key, value);
        variables.iter().fold(run, set).start()
    };
    // Started by `cargo run`.
    let hotrun = start(&[
        ("CARGO", others),
        ("CARGO_MANIFEST_DIR", "/elsewhere"),
        ("CARGO_PKG_NAME", "elsewhere"),
        ("RUSTUP_TOOLCHAIN", "no-such-toolchain"),
        ("RUSTUP_TOOLCHAIN_SOURCE", "default"),
    ]);
    hotrun.wait_line(|line| line == "said own app");
    drop(hotrun);
    // As a subcommand of cargo, or chosen by the user.
    let hotrun = start(&[("CARGO", others)]);
    hotrun.wait_line(|line| line == "said others app");
    drop(hotrun);
    let hotrun = start(&[]);
    hotrun.wait_line(|line| line == "said own app");
}

/// A reader of `.cargo/config.toml` alone would miss the included files.
#[test]
fn its_configuration_includes_files() {
    let project = Project::of(&[
        ("Cargo.toml", &manifest("app", "")),
        (
            "src/main.rs",
            &main_of(
                r#"format_args!("1 {} {}", std::env::var("SAID").unwrap(),
                std::env::var("RAN_BY").unwrap_or_default())"#,
            ),
        ),
        (".cargo/config.toml", "include = [\"local.toml\"]\n"),
    ]);
    let host = host(&project);
    script(
        &project,
        "tools/run",
        "export RAN_BY=$1\nshift\nexec \"$@\"",
    );
    let local =
        format!("[env]\nSAID = \"one\"\n[target.{host}]\nrunner = [\"tools/run\", \"first\"]\n");
    project.add(".cargo/local.toml", &local);
    let session = Session::start(&project, &[], &[], "1 one first");
    session.edit(".cargo/local.toml", "\"one\"", "\"two\"", "1 two first");
    session.edit(
        ".cargo/local.toml",
        "\"first\"",
        "\"second\"",
        "1 two second",
    );
    session.edit("src/main.rs", "\"1 ", "\"2 ", "2 two second");
    // A file that is included from now on is watched from now on.
    project.add(".cargo/more.toml", "[env]\nSAID = \"more\"\n");
    let include = "include = [\"local.toml\", { path = \"more.toml\", optional = true }]\n";
    project.save(".cargo/config.toml", include);
    session.says("2 more second");
    session.edit(".cargo/more.toml", "more", "last", "2 last second");
    session.end();
}

/// Cargo does not say which process holds the lock, and that may be forgotten in another window.
#[test]
fn a_lock_that_cargo_waits_for_has_a_holder() {
    let project = Project::of(&[
        ("Cargo.toml", &manifest("app", "")),
        ("src/main.rs", &main_of("1")),
        ("target/debug/.cargo-lock", ""),
        ("../cargo-home/.package-cache", ""),
    ]);
    let lock = |path: &str| {
        let file = File::open(project.path(path)).unwrap();
        file.lock().unwrap();
        file
    };
    let [cache, directory] = ["../cargo-home/.package-cache", "target/debug/.cargo-lock"].map(lock);
    let home = project.root().join("cargo-home").display().to_string();
    let hotrun = Run::new(&project, &[]).env("CARGO_HOME", &home).start();
    let own = format!("(pid {})", std::process::id());
    // While the project is read.
    let waits = |on: &str| {
        hotrun.wait_for("blocked", |event| {
            let said = event["on"].as_str().unwrap_or_default();
            said.contains(&format!("{on}, held by `")) && said.contains(&own)
        })
    };
    assert_eq!(waits("package cache")["generation"], Value::Null);
    drop(cache);
    assert_eq!(waits("directory")["generation"], 1);
    drop(directory);
    hotrun.wait_line(|line| line == "said 1");
    // One event for the wait, and one for its end.
    let on = hotrun.values("blocked", "on");
    let over = on.iter().filter(|on| *on == "null").count();
    assert_eq!((on.len(), over), (4, 2), "{on:?}");
    assert_eq!(hotrun.all("warning").len(), 0);
}

/// Cargo has no terminal here, and the error of a build script that wants to ask is hard to understand.
#[test]
fn a_build_script_that_asks_is_explained() {
    let asks = "fn main() {
        println!(\"cargo::rerun-if-changed=build.rs\");
        std::fs::File::open(\"/dev/tty\").unwrap();
    }";
    let project = Project::of(&[
        ("Cargo.toml", &manifest("app", "")),
        ("src/main.rs", &main_of("1")),
        ("build.rs", asks),
    ]);
    let hotrun = Hotrun::start(&project, &[]);
    let failed = hotrun.wait_for("build-failed", |_| true);
    let said = failed["hint"].as_str().unwrap();
    assert!(said.contains("wanted to ask at a terminal"), "{said}");
    assert!(said.contains("`cargo build --bin app`"), "{said}");
    // Another error does not get this hint.
    let place = hotrun.here();
    project.edit("build.rs", "/dev/tty", "/dev/none");
    let failed = hotrun.wait_after(place, "build-failed", |_| true);
    assert!(failed["hint"].is_null(), "{failed}");
    project.edit("build.rs", "/dev/none", "/dev/null");
    hotrun.wait_line(|line| line == "said 1");
}
