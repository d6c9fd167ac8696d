//! A program is more than its executable: the shared objects of the workspace that it loads, the sibling
//! executables that it starts, and the files that it finds relative to its executable. All of them are
//! found as under `cargo run`, and an edit of each counts.

use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::common::hotrun::Place;
use crate::common::{Hotrun, Project, wait_until};

fn manifest(name: &str, more: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nedition = \"2024\"\n{more}\n")
}

/// The lines that the app has printed so far.
fn said(hotrun: &Hotrun) -> Vec<String> {
    let stdout = hotrun.stdout();
    let lines = stdout.lines().filter_map(|line| line.strip_prefix("said "));
    lines.map(str::to_owned).collect()
}

#[track_caller]
fn says(hotrun: &Hotrun, what: &str) {
    hotrun.wait_line(|line| line == format!("said {what}"));
}

fn library(version: &str) -> String {
    format!("pub fn version() -> String {{\n    \"{version}\".into()\n}}\n")
}

/// The executable has the same bytes whatever the bodies of a dylib's functions are: once, an edit of
/// one was "unchanged" and the old library went on running.
#[test]
fn a_shared_library_of_the_workspace() {
    let main = "fn main() {
    let version = greet::version();
    println!(\"said {version}\");
    if version == \"crash\" {
        std::thread::sleep(std::time::Duration::from_millis(600));
        std::process::exit(3);
    }
    loop {
        std::thread::park();
    }
}";
    let project = Project::of(&[
        (
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"app\", \"greet\"]\n",
        ),
        (
            ".cargo/config.toml",
            "[build]\nrustflags = [\"-C\", \"prefer-dynamic\"]\n",
        ),
        (
            "app/Cargo.toml",
            &manifest("app", "[dependencies]\ngreet = { path = \"../greet\" }"),
        ),
        ("app/src/main.rs", main),
        (
            "greet/Cargo.toml",
            &manifest("greet", "[lib]\ncrate-type = [\"dylib\"]"),
        ),
        ("greet/src/lib.rs", &library("1")),
    ]);
    let hotrun = Hotrun::start(&project, &[]);
    hotrun.wait_live(1);
    project.save("greet/src/lib.rs", &library("2"));
    hotrun.wait_live(2);
    says(&hotrun, "2");
    // The same library once more is no reason to start the app again.
    project.save("greet/src/lib.rs", &(library("2") + "// words\n"));
    hotrun.wait_for("unchanged", |event| event["running"] == 2);
    project.save("greet/src/lib.rs", &library("crash"));
    let ended = hotrun.wait_for("ended", |_| true);
    assert_eq!(ended["next"]["rollback"], 2);
    hotrun.wait_live(ended["generation"].as_u64().unwrap() + 1);
    // The old library with the old program, though the new one is in the target directory.
    assert_eq!(said(&hotrun), ["1", "2", "crash", "2"]);
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    hotrun.assert_nothing_left();
    assert_nothing_pinned(&project);
}

/// No pinned file outlasts the session.
#[track_caller]
fn assert_nothing_pinned(project: &Project) {
    let entries = fs::read_dir(project.path("target")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let pinned: Vec<String> = names.filter(|name| name.starts_with("hotrun.")).collect();
    assert!(pinned.is_empty(), "{pinned:?}");
}

/// A package whose main binary starts a sibling, and reads a file by a path relative to its executable.
fn server_and_worker() -> Project {
    let server = "use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

fn main() {
    let own = std::env::current_exe().unwrap();
    let dir = own.parent().unwrap();
    let motto = std::fs::read_to_string(dir.join(\"../../assets/motto.txt\")).unwrap();
    println!(\"said {} {}\", own.file_name().unwrap().display(), motto.trim());
    let mut worker = Command::new(dir.join(\"worker\"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect(\"cannot start the worker\");
    let lines = BufReader::new(worker.stdout.take().unwrap()).lines();
    for line in lines {
        println!(\"said {}\", line.unwrap());
    }
}";
    let project = Project::of(&[
        ("Cargo.toml", &manifest("app", "default-run = \"server\"")),
        ("src/bin/server.rs", server),
        ("assets/motto.txt", "as under cargo run"),
    ]);
    set_worker(&project, "1");
    project
}

fn set_worker(project: &Project, version: &str) {
    let text = format!(
        "fn main() {{
    println!(\"worker {version}\");
    std::io::stdin().lines().for_each(drop);
}}"
    );
    project.save("src/bin/worker.rs", &text);
}

fn cargo(project: &Project, args: &[&str]) -> Command {
    let mut cargo = project.command("cargo");
    cargo.args(args);
    cargo
}

/// `cargo build` has built all binaries of the package once, and `hotrun` only builds the one it runs.
/// The app finds the sibling, as under `cargo run`; and since it was seen to start it, the sibling is
/// built too from then on.
#[test]
fn another_executable_that_it_starts() {
    let project = server_and_worker();
    assert!(cargo(&project, &["build"]).status().unwrap().success());
    let hotrun = Hotrun::start(&project, &[]);
    says(&hotrun, "server as under cargo run");
    says(&hotrun, "worker 1");
    let learned = hotrun.wait_for("siblings", |_| true);
    assert_eq!(learned["names"], serde_json::json!(["worker"]));
    // The sibling was up to date, which is no reason to start the app again.
    hotrun.wait_for("unchanged", |event| event["running"] == 1);
    set_worker(&project, "2");
    says(&hotrun, "worker 2");
    let place = hotrun.here();
    let text = std::fs::read_to_string(project.path("src/bin/worker.rs")).unwrap();
    project.save("src/bin/worker.rs", &(text + "// words\n"));
    hotrun.wait_after(place, "unchanged", |_| true);
    assert_eq!(hotrun.all("siblings").len(), 1);
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    hotrun.assert_nothing_left();
    assert_nothing_pinned(&project);
    // The next session remembers the sibling.
    set_worker(&project, "3");
    let hotrun = Hotrun::start(&project, &[]);
    says(&hotrun, "worker 3");
    let command = hotrun.wait_any(Place(0), &["command"], |_| true).1;
    assert_eq!(command["command"], "cargo build --bin server --bin worker");
    assert_eq!(hotrun.all("siblings").len(), 0);
}

/// The worker was never built, so the app can't be seen to start it: a setting names it.
#[test]
fn another_executable_that_is_named() {
    let project = server_and_worker();
    project.configure("[build]\nbins = [\"worker\"]\n");
    let hotrun = Hotrun::start(&project, &[]);
    says(&hotrun, "worker 1");
    set_worker(&project, "2");
    says(&hotrun, "worker 2");
    assert_eq!(hotrun.all("siblings").len(), 0);
}

/// The worker was never built, as under `cargo run`, and the app ends because of that: a hint says how
/// to have it built.
#[test]
fn another_executable_that_is_not_built() {
    let project = server_and_worker();
    let hotrun = Hotrun::start(&project, &[]);
    hotrun.wait_for("ended", |_| true);
    wait_until("a hint", || {
        let said = hotrun.stderr();
        let hint = said
            .lines()
            .find(|line| line.starts_with("hint: `worker`"))?;
        hint.contains("write `bins = [\"worker\"]` into [build]")
            .then_some(())
    });
    // The hint works, at once.
    project.configure("[build]\nbins = [\"worker\"]\n");
    says(&hotrun, "worker 1");
}

/// A program that keeps its data beside its executable finds it after each restart, in this session and
/// the next one.
#[test]
fn what_it_writes_beside_its_executable() {
    let main = "fn main() {
    let path = std::env::current_exe().unwrap().with_file_name(\"starts\");
    let starts = std::fs::read_to_string(&path).unwrap_or_default() + VERSION;
    std::fs::write(path, &starts).unwrap();
    println!(\"said {starts}\");
    loop {
        std::thread::park();
    }
}
const VERSION: &str = \"1\";
";
    let project = Project::of(&[("Cargo.toml", &manifest("app", "")), ("src/main.rs", main)]);
    let hotrun = Hotrun::start(&project, &[]);
    hotrun.wait_live(1);
    project.edit("src/main.rs", "\"1\"", "\"2\"");
    says(&hotrun, "12");
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    assert_nothing_pinned(&project);
    let hotrun = Hotrun::start(&project, &[]);
    says(&hotrun, "122");
    let starts = fs::read_to_string(project.path("target/debug/starts")).unwrap();
    assert_eq!(starts, "122");
}
