//! `--once` builds, starts, reports the result by its exit code, and leaves nothing behind.

use std::net::SocketAddr;
use std::net::TcpListener;

use crate::common::{ANY, Hotrun, Project};

fn once(project: &Project, args: &[&str]) -> Hotrun {
    let hotrun = Hotrun::start(project, &[&["--once"], args].concat());
    hotrun.wait_exit();
    hotrun.assert_nothing_left();
    hotrun
}

/// A server only has to become ready on an address: then it is stopped, and the address is printed on
/// stdout, for a script.
#[test]
fn a_server_that_gets_ready_is_a_success() {
    for project in [Project::hello(), Project::new("slow-start")] {
        project.configure("[app.env]\nSTART_MS = \"200\"\n");
        let hotrun = once(&project, &ANY);
        hotrun.wait_code(0);
        let address = hotrun.address();
        let stdout = hotrun.stdout();
        let said = stdout
            .lines()
            .find_map(|line| line.parse::<SocketAddr>().ok());
        assert_eq!(said, Some(address), "{stdout}");
        assert_eq!(hotrun.values("live", "generation"), ["1"]);
        TcpListener::bind(address).unwrap();
    }
}

#[test]
fn what_does_not_build_ends_with_the_number_of_cargo() {
    let project = Project::new("slow-drain");
    project.edit("src/version.rs", "\"1\"", "1");
    let hotrun = once(&project, &ANY);
    hotrun.wait_code(101);
    assert_eq!(hotrun.all("starting").len(), 0);
    assert!(hotrun.stderr().contains("mismatched types"));
}

/// There is no second try: in CI, no user is there to mend it.
#[test]
fn a_broken_manifest_ends_with_the_number_of_cargo() {
    let project = Project::new("slow-drain");
    project.edit("Cargo.toml", "[package]", "[package");
    let hotrun = once(&project, &ANY);
    hotrun.wait_code(101);
    assert!(
        hotrun.stderr().contains("Cargo.toml"),
        "{}",
        hotrun.stderr()
    );
}

/// A server that ends by itself has failed, whatever its status.
#[test]
fn a_server_that_ends_is_a_failure() {
    let project = Project::new("crash-at-start");
    project.set_version("crash");
    once(&project, &ANY).wait_code(1);
    let project = Project::new("once");
    let hotrun = once(&project, &ANY);
    hotrun.wait_code(1);
    assert_eq!(hotrun.all("ended")[0]["exit"]["status"], 0);
}

#[test]
fn a_server_that_is_never_ready_is_a_failure() {
    let project = Project::new("never-ready");
    project.configure("[app]\nready_timeout = \"300ms\"\n");
    let hotrun = once(&project, &ANY);
    hotrun.wait_code(1);
    assert_eq!(hotrun.all("not-ready").len(), 1);
}

/// A program without an address runs to its end, however long that takes, and its exit code is
/// hotrun's; one that a signal ends has failed.
#[test]
fn a_program_without_an_address_passes_on_its_code() {
    let project = Project::new("once");
    for (exit, code) in [("0", 0), ("7", 7)] {
        project.configure(&format!("[app.env]\nEXIT = \"{exit}\"\n"));
        let hotrun = once(&project, &[]);
        hotrun.wait_code(code);
        assert!(hotrun.stdout().contains("done 1\n"));
    }
    // Longer than it would take to count as started, and by a signal.
    let aborts = "fn main() {
        std::thread::sleep(std::time::Duration::from_millis(700));
        std::process::abort();
    }";
    project.save("src/main.rs", aborts);
    once(&project, &[]).wait_code(1);
}

/// With `ready` configured there is something to wait for without an address as well.
#[test]
fn a_worker_that_says_that_it_is_ready_is_a_success() {
    let project = Project::new("worker");
    project.configure("[app]\nready = \"log:^tick$\"\n");
    let hotrun = once(&project, &[]);
    hotrun.wait_code(0);
    assert_eq!(hotrun.values("live", "proof"), ["printed"]);
    project.configure("[app]\nready = \"log:^tock$\"\nready_timeout = \"300ms\"\n");
    once(&project, &[]).wait_code(1);
}
