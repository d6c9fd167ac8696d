//! Finds the process that holds the lock for which cargo waits.
//!
//! Cargo prints that it waits, and then does. The system lists every lock with the processes that wait
//! for it, so the locked file need not be known; a holder in another container is not named.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::defect;
use crate::session::event::{BuildNews, Event};
use crate::session::model::Generation;
use crate::sys::processes::{self, Process};

/// Milliseconds before each look at the locks. A shorter wait is not worth a line: cargos that read a
/// manifest at the same time wait for each other for some milliseconds.
const LOOKS: [u64; 2] = [500, 100];

/// The most characters of the holder's command line that are shown.
const LONGEST: usize = 100;

/// Called with the lock that cargo waits for, and with `None` when it goes on.
pub(super) type Tell = Arc<dyn Fn(Option<String>) + Send + Sync>;

/// Tells the session, about this build.
pub(super) fn by_event(events: &mpsc::UnboundedSender<Event>, generation: Generation) -> Tell {
    let events = events.clone();
    Arc::new(move |on| {
        let news = BuildNews::Blocked(on);
        events.send(Event::Build(generation, news)).ok();
    })
}

/// The waits of one cargo: each that lasts is reported once.
pub(super) struct Waits {
    tell: Tell,
    current: Option<Wait>,
}

struct Wait {
    told: Arc<AtomicBool>,
    task: JoinHandle<Result<(), String>>,
}

impl Waits {
    pub(super) fn new(tell: Tell) -> Self {
        Self {
            tell,
            current: None,
        }
    }

    /// Cargo begins to wait for the lock `on` this.
    pub(super) fn begin(&mut self, on: String) {
        self.end();
        let told = Arc::new(AtomicBool::new(false));
        let (tell, is_told) = (self.tell.clone(), told.clone());
        let task = defect::spawn("lock", async move {
            // The wait is told without it.
            let holder = defect::guarded("lock", look()).await.ok().flatten();
            is_told.store(true, Ordering::Relaxed);
            tell(Some(match holder {
                Some(holder) => format!("{on}, held by {holder}"),
                None => on,
            }));
        });
        self.current = Some(Wait { told, task });
    }

    /// Cargo goes on.
    pub(super) fn end(&mut self) {
        if let Some(wait) = self.current.take() {
            wait.task.abort();
            if wait.told.load(Ordering::Relaxed) {
                (self.tell)(None);
            }
        }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        if let Some(wait) = self.current.take() {
            wait.task.abort();
        }
    }
}

/// The same, once the wait has lasted.
async fn look() -> Option<String> {
    for pause in LOOKS {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        defect::point("lock");
        let holder = defect::spawn_blocking("lock", find).done().await;
        // After a panic the next look may find it.
        let holder = holder.ok().flatten();
        if holder.is_some() {
            return holder;
        }
    }
    None
}

/// The holder of the lock for which a cargo below this process waits.
fn find() -> Option<String> {
    let ours = processes::descendants(std::process::id());
    let is_cargo = |process: &&Process| process.name().is_some_and(|name| name == "cargo");
    let waiting: Vec<u32> = ours.iter().filter(is_cargo).map(Process::pid).collect();
    let holder = processes::lock_holder(&waiting)?;
    let whole = holder.command()?;
    let mut command: String = whole.chars().take(LONGEST).collect();
    if command.len() < whole.len() {
        command.truncate(command.trim_end().len());
        command.push('…');
    }
    Some(format!("`{command}` (pid {})", holder.pid()))
}
