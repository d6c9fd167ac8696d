//! The orders to a generation's task, and what is looked at to obey them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::accept_probe::{self, look, seen};
use super::{HeldSocket, Task, inodes, stop_signal};
use crate::keeper::client::Keeper;
use crate::keeper::protocol::Order as KeeperOrder;
use crate::session::event::AppNews;
use crate::sys::accept_probe::traced;
use crate::sys::signals;

/// The pause between two checks whether a debugger is still attached.
const DEBUGGER_INTERVAL: Duration = Duration::from_millis(500);

/// An order to a generation's task.
#[derive(Debug)]
pub(super) enum Order {
    CheckDebugger,
    FindWriter(PathBuf, Vec<PathBuf>),
    Signal(i32),
    Stop(Option<i32>),
    Kill,
}

impl Task {
    /// Obeys an order. The next one waits, so that none overtakes one that is looked for.
    pub(super) async fn obey(&mut self, order: Order, keeper: &Keeper, held: &[HeldSocket]) {
        let order = match order {
            Order::CheckDebugger => {
                self.check_debugger(keeper.pid).await;
                self.tell(AppNews::Traced(self.traced.map(|(pid, _)| pid)));
                return;
            }
            Order::FindWriter(base, paths) => {
                let pid = keeper.pid;
                let written = seen(move || accept_probe::written(pid)).await;
                let written = paths.iter().filter(|path| written.contains(*path));
                let written = written.map(|path| path.strip_prefix(&base).unwrap_or(path));
                let written: Vec<PathBuf> = written.map(Path::to_owned).collect();
                if !written.is_empty() {
                    self.tell(AppNews::Writes(written));
                }
                return;
            }
            Order::Signal(number) => KeeperOrder::Signal(number),
            Order::Stop(signal) => {
                self.told_to_end = true;
                KeeperOrder::Stop(match signal {
                    Some(signal) => signal,
                    None => self.choose_signal(keeper.pid, held).await,
                })
            }
            Order::Kill => {
                self.told_to_end = true;
                let (pid, held) = (keeper.pid, held.to_vec());
                self.cut = seen(move || accept_probe::connections(pid, &held)).await;
                KeeperOrder::Kill
            }
        };
        keeper.order(&order).await;
    }

    /// The stop signal that the app catches.
    async fn choose_signal(&self, keeper: u32, held: &[HeldSocket]) -> i32 {
        let (group, program, sockets) = (self.pid, self.program.clone(), inodes(held));
        let choose = move || stop_signal::choose(keeper, group, &program, &sockets);
        // After a panic, the usual one.
        look(choose).done().await.unwrap_or(signals::TERMINATE)
    }

    /// Checks for a debugger; if there is one, [`Self::check_debugger_again`] follows.
    async fn check_debugger(&mut self, keeper: u32) {
        let found = seen(move || traced(keeper)).await;
        self.traced = found.map(|pid| (pid, Instant::now() + DEBUGGER_INTERVAL));
    }

    /// Reports when the debugger has detached.
    pub(super) async fn check_debugger_again(&mut self, keeper: u32) {
        self.check_debugger(keeper).await;
        if self.traced.is_none() {
            self.tell(AppNews::Traced(None));
        }
    }
}
