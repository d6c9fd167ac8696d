//! In a container hotrun may be PID 1, which adopts every orphan, and for which signals have no default
//! action; and its parent may not use process groups.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::common::processes::{Running, zombies_below};
use crate::common::{ANY, Hotrun, Project, Run, now, say, wait_until};

/// A PID namespace with a /proc of its own, as a container has it.
const CONTAINER: [&str; 6] = [
    "unshare",
    "--user",
    "--map-root-user",
    "--pid",
    "--fork",
    "--mount-proc",
];

/// A server that leaves children of children behind, which end a moment later.
fn forking() -> Project {
    let project = Project::new("slow-drain");
    project.edit(
        "src/main.rs",
        "fn main() -> io::Result<()> {",
        "fn main() -> io::Result<()> {
            for _ in 0..5 {
                let twice = \"(exec sleep 0.05) & (:) & exit 0\";
                std::process::Command::new(\"sh\").args([\"-c\", twice]).status()?;
            }",
    );
    project
}

/// The process of hotrun itself, below the program that started it.
fn itself(hotrun: &Hotrun) -> Running {
    let all = hotrun.survivors();
    let is_it = |process: &Running| process.parent == hotrun.pid();
    all.into_iter().find(is_it).expect("hotrun has ended")
}

#[test]
fn as_the_first_process_it_reaps_everybody_and_ends_cleanly() {
    let project = forking();
    let mut container = project.command(CONTAINER[0]);
    if !container
        .args(&CONTAINER[1..])
        .arg("true")
        .status()
        .unwrap()
        .success()
    {
        say("no namespaces for us here");
        return;
    }
    let hotrun = Run::new(&project, &ANY).by(&CONTAINER).start();
    hotrun.wait_live(1);
    let first = itself(&hotrun);
    if !hotrun.ignores_hangup() {
        for generation in 2..=51 {
            first.signal(Signal::SIGHUP);
            hotrun.wait_live(generation);
        }
    }
    // The app and its keeper go on; the processes that ended below them are reaped all the same.
    let mut zombies = Vec::new();
    wait_until("no zombie", || {
        zombies = zombies_below(hotrun.pid());
        zombies.is_empty().then_some(())
    });
    let start = now();
    first.signal(Signal::SIGTERM);
    hotrun.wait_code(128 + Signal::SIGTERM as i32);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    hotrun.assert_nothing_left();
}

/// A script that starts hotrun in the background and ends it by its pid.
#[test]
fn below_a_script_its_own_signal_is_enough() {
    let project = forking();
    let script = ["/bin/sh", "-c", "\"$0\" \"$@\" & wait $!"];
    let hotrun = Run::new(&project, &ANY).by(&script).start();
    hotrun.wait_live(1);
    itself(&hotrun).signal(Signal::SIGTERM);
    hotrun.wait_code(128 + Signal::SIGTERM as i32);
    hotrun.assert_nothing_left();
}
