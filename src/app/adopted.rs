//! The processes that are reparented to hotrun when a keeper itself is killed: hotrun is a subreaper
//! too, kills them, and treats the generation as dead.

use std::time::Duration;

use crate::session::model::Generation;
use crate::sys::processes::{self, Process};
use crate::sys::signals;

/// The pause between two rounds of kills, and the most rounds.
const ROUND: Duration = Duration::from_millis(10);
const ROUNDS: u32 = 200;

/// Kills every process of the generation whose keeper, the leader of their session, is gone. A process
/// that has left the session and cleared its environment can't be told from a build's daemon any more,
/// and stays.
pub(super) async fn end(keeper: u32, session: &str, generation: Generation) {
    for _ in 0..ROUNDS {
        let mut left = false;
        let children = processes::children(std::process::id());
        for process in children.into_iter().filter_map(Process::of) {
            if belongs(&process, keeper, session, generation) {
                left = true;
                signals::send(process.pid(), signals::KILL);
            }
        }
        if !left {
            return;
        }
        tokio::time::sleep(ROUND).await;
    }
}

fn belongs(process: &Process, keeper: u32, session: &str, generation: Generation) -> bool {
    let generation = generation.0.to_string();
    process.session() == Some(keeper)
        || process.has_variables(&[
            ("HOTRUN_SESSION", session),
            ("HOTRUN_GENERATION", &generation),
        ])
}
