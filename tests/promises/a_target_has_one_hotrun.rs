//! What can't be done is refused at once, with its own exit code, naming the place and the next
//! step.

use std::fs;
use std::net::TcpListener;

use crate::common::{ANY, Hotrun, Project};

/// Starts a hotrun that must end with this code and say all of these.
#[track_caller]
fn refused(project: &Project, args: &[&str], code: i32, words: &[&str]) {
    let hotrun = Hotrun::start(project, args);
    hotrun.wait_code(code);
    let said = hotrun.stderr();
    for word in words.iter().chain(&["error: ", "\nhint: "]) {
        assert!(said.contains(word), "no `{word}` in:\n{said}");
    }
    assert_eq!(hotrun.all("building").len(), 0);
    hotrun.assert_nothing_left();
}

const USAGE: i32 = 2;
const IN_USE: i32 = 3;

#[test]
fn no_project() {
    refused(
        &Project::empty(),
        &ANY,
        USAGE,
        &["no Cargo.toml", "--manifest-path"],
    );
    let project = Project::new("once");
    refused(
        &project,
        &["--manifest-path", "nowhere/Cargo.toml"],
        USAGE,
        &["nowhere/Cargo.toml"],
    );
    refused(
        &project,
        &["--manifest-path", "."],
        USAGE,
        &["is a directory"],
    );
}

/// The parser of the command line speaks for itself, with a tip instead of a hint.
#[test]
fn an_unknown_flag() {
    let hotrun = Hotrun::start(&Project::new("once"), &["--lisen", "127.0.0.1:0"]);
    hotrun.wait_code(USAGE);
    let said = hotrun.stderr();
    assert!(
        said.contains("--lisen") && said.contains("'--listen'"),
        "{said}"
    );
}

#[test]
fn bad_values() {
    let project = Project::new("once");
    for (args, words) in [
        (["--listen", "3000"], ["--listen", "`:3000`"]),
        (
            ["--listen", "127.0.0.1:99999"],
            ["--listen", "127.0.0.1:99999"],
        ),
        (["--listen", "a:b=127.0.0.1:0"], ["--listen", "`a:b`"]),
        (["--debounce", "300"], ["--debounce", "`300ms`"]),
        (["--debounce", "soon"], ["--debounce", "`soon`"]),
        (["--watch", "nowhere"], ["--watch", "nowhere"]),
        (["--ignore", "a{"], ["--ignore", "a{"]),
        (["--config", "nowhere.toml"], ["nowhere.toml", "--config"]),
        (
            ["--events", "nowhere/events"],
            ["--events", "nowhere/events"],
        ),
        (["--bin", "onec"], ["--bin", "`once`"]),
        (["--package", "onec"], ["--package", "`once`"]),
    ] {
        refused(&project, &args, USAGE, &words);
    }
}

/// A misspelt key that is ignored is a setting that silently does not hold.
#[test]
fn a_misspelt_key() {
    let project = Project::new("once");
    project.configure("# settings\n[app]\nstop_timeout = \"1s\"\nreddy_timeout = \"1s\"\n");
    let words = [
        ".reload.toml:4:1:",
        "`reddy_timeout`",
        "did you mean `ready_timeout`?",
    ];
    refused(&project, &[], USAGE, &words);
    project.configure("[ap]\n");
    refused(
        &project,
        &[],
        USAGE,
        &[".reload.toml:1:", "did you mean `app`?"],
    );
    project.configure("[app]\nready_timeout = 5\n");
    refused(&project, &[], USAGE, &[".reload.toml:2:"]);
    project.configure("[app]\nready_timeout = \"5\"\n");
    refused(&project, &[], USAGE, &[".reload.toml:2:17:", "`5s`"]);
    project.configure("[app\n");
    refused(&project, &[], USAGE, &[".reload.toml:1:"]);
}

#[test]
fn several_binaries() {
    let project = Project::new("once");
    fs::create_dir(project.path("src/bin")).unwrap();
    fs::write(project.path("src/bin/other.rs"), "fn main() {}").unwrap();
    refused(
        &project,
        &[],
        USAGE,
        &["--bin once", "--bin other", "default-run"],
    );
    // A library has none at all.
    fs::remove_dir_all(project.path("src/bin")).unwrap();
    fs::rename(project.path("src/main.rs"), project.path("src/lib.rs")).unwrap();
    refused(&project, &[], USAGE, &["no binary"]);
}

/// "Address already in use" without a name starts a search; here the culprit is this test.
#[test]
fn an_address_in_use_names_who_has_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let own = format!("pid {} (", std::process::id());
    let project = Project::new("once");
    let words = [&*address, &own, "--listen"];
    refused(&project, &["--listen", &address], IN_USE, &words);
    // On every interface is there as well.
    let everywhere = format!("0.0.0.0:{}", taken.local_addr().unwrap().port());
    refused(
        &project,
        &["--listen", &everywhere],
        IN_USE,
        &[&everywhere, &own],
    );
}

/// Two of them would take turns in ending each other's builds.
#[test]
fn a_second_hotrun_for_the_same_target() {
    let project = Project::new("slow-drain");
    let first = Hotrun::start(&project, &ANY);
    first.wait_live(1);
    let own = format!("pid {}", first.pid());
    refused_beside(&first, &project, &own);
    // It was no trouble to the first.
    project.set_version("2");
    first.wait_version("2");
    first.kill();
    first.wait_exit();
    // A killed one leaves no lock behind.
    let third = Hotrun::start(&project, &ANY);
    third.wait_version("2");
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
