//! A program is more than its executable: the shared objects of the workspace that it loads, the
//! executables that it starts from beside its own, and what it finds by the path of its own. All of
//! them are found as under `cargo run`, and an edit of each counts.

use std::fs;

use nix::sys::signal::Signal;

use crate::common::{Hotrun, Project};

fn manifest(name: &str, more: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nedition = \"2024\"\n{more}\n")
}

/// What the app has said so far.
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

/// The executable has the same bytes whatever the bodies of a dylib's functions are, so that an
/// edit of one was "unchanged" and the old library went on running.
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
    project.save("greet/src/lib.rs", &library("2"));
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

/// Nothing that was pinned outlasts the session.
#[track_caller]
fn assert_nothing_pinned(project: &Project) {
    let entries = fs::read_dir(project.path("target")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let pinned: Vec<String> = names.filter(|name| name.starts_with("hotrun.")).collect();
    assert!(pinned.is_empty(), "{pinned:?}");
}
