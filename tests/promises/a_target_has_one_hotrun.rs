//! A target has one hotrun: a second one is refused at once, and does not disturb the first.

use std::fs;

use nix::sys::signal::Signal;

use crate::common::{ANY, Hotrun, Project, own_address, wait_until};

const IN_USE: i32 = 3;

/// Two hotruns would take turns in cancelling each other's builds.
#[test]
fn a_second_hotrun_for_the_same_target() {
    let project = Project::new("slow-drain");
    let first = Hotrun::start(&project, &ANY);
    first.wait_live(1);
    let own = format!("pid {}", first.pid());
    refused_beside(&first, &project, &own);
    // The first one was not disturbed.
    project.set_version("2");
    first.wait_version("2");
    first.kill();
    first.wait_exit();
    // A killed hotrun leaves no lock behind.
    let third = Hotrun::start(&project, &ANY);
    third.wait_version("2");
}

/// `cargo clean` takes hotrun's own files along: the next build makes them again.
#[test]
fn a_second_hotrun_after_a_clean_build() {
    let project = Project::new("plain");
    let address = own_address();
    project.configure(&format!("[app]\nenv = {{ ADDR = \"{address}\" }}\n"));
    let first = Hotrun::start(&project, &[]);
    first.wait_live(1);
    let remembered = || fs::read_to_string(project.path("target/hotrun/plain.plain.dev.addresses"));
    let known = wait_until("the remembered address", || remembered().ok());
    assert_eq!(known, address.to_string());
    fs::remove_dir_all(project.path("target")).unwrap();
    project.set_version("2");
    first.wait_version("2");
    assert_eq!(remembered().unwrap(), known);
    let own = format!("pid {}", first.pid());
    refused_beside(&first, &project, &own);
    // One that took the target over meanwhile is not built over.
    fs::remove_dir_all(project.path("target")).unwrap();
    let second = Hotrun::start(&project, &["--no-capture"]);
    second.wait_for("building", |_| true);
    let place = first.here();
    project.set_version("3");
    let failed = first.wait_after(place, "build-failed", |_| true);
    let own = format!("pid {}", second.pid());
    assert!(
        failed["reason"].as_str().unwrap().contains(&own),
        "{failed}"
    );
    second.interrupt();
    second.wait_killed_by(Signal::SIGINT);
    // From here on it is the only one again.
    project.set_version("4");
    first.wait_version("4");
}

#[track_caller]
fn refused_beside(first: &Hotrun, project: &Project, own: &str) {
    let second = Hotrun::start(project, &ANY);
    second.wait_code(IN_USE);
    let said = second.stderr();
    assert!(said.contains(own) && said.contains("\nhint: "), "{said}");
    assert_eq!(second.all("building").len(), 0);
    assert_eq!(first.exited(), None);
}

/// Package `a-b` with binary `c` and package `a` with binary `b-c` look alike when their names are
/// joined: once, the second hotrun was refused.
#[test]
fn targets_with_similar_names_side_by_side() {
    let manifest = |name: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nedition = \"2024\"\n")
    };
    let main = "fn main() {
    loop {
        std::thread::park();
    }
}";
    let project = Project::of(&[
        (
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"a-b\", \"a\"]\n",
        ),
        ("a-b/Cargo.toml", &manifest("a-b")),
        ("a-b/src/bin/c.rs", main),
        ("a/Cargo.toml", &manifest("a")),
        ("a/src/bin/b-c.rs", main),
    ]);
    let first = Hotrun::start(&project, &["--package", "a-b"]);
    first.wait_live(1);
    let second = Hotrun::start(&project, &["--package", "a"]);
    second.wait_live(1);
    assert_eq!(first.exited(), None);
}
