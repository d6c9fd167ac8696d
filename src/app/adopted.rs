//! The processes that are reparented to hotrun when a keeper itself is killed: hotrun is a subreaper
//! too, kills them, and treats the generation as dead.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procfs::process::Process;

use crate::session::model::Generation;

/// The pause between two rounds of kills, and the most rounds.
const ROUND: Duration = Duration::from_millis(10);
const ROUNDS: u32 = 200;

/// Kills every process of the generation whose keeper, the leader of their session, is gone. A process
/// that has left the session and cleared its environment can't be told from a build's daemon any more,
/// and stays.
pub(super) async fn end(keeper: u32, session: &str, generation: Generation) {
    for _ in 0..ROUNDS {
        let mut left = false;
        for process in children() {
            if belongs(&process, keeper, session, generation) {
                left = true;
                kill(Pid::from_raw(process.pid()), Signal::SIGKILL).ok();
            }
        }
        if !left {
            return;
        }
        tokio::time::sleep(ROUND).await;
    }
}

fn children() -> Vec<Process> {
    let tasks = Process::myself().and_then(|own| own.tasks());
    let children = tasks
        .into_iter()
        .flatten()
        .flatten()
        .flat_map(|task| task.children().unwrap_or_default());
    children
        .filter_map(|pid| Process::new(pid.cast_signed()).ok())
        .collect()
}

fn belongs(process: &Process, keeper: u32, session: &str, generation: Generation) -> bool {
    if process
        .stat()
        .is_ok_and(|stat| stat.session == keeper.cast_signed())
    {
        return true;
    }
    let Ok(environment) = process.environ() else {
        return false;
    };
    let is = |key: &str, value: &str| {
        environment
            .get(std::ffi::OsStr::new(key))
            .is_some_and(|found| found == value)
    };
    is("HOTRUN_SESSION", session) && is("HOTRUN_GENERATION", &generation.0.to_string())
}
