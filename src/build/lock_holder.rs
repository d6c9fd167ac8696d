//! Finds the process that holds the lock for which cargo waits, from /proc/locks.
//!
//! Cargo prints that it waits, and then does. The kernel lists every lock with the processes that wait
//! for it, so the locked file need not be known; a holder in another container is not named.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use procfs::process::Process;
use tokio::task::JoinHandle;

use crate::defect;
use crate::process_tree;

/// Milliseconds before each look at /proc/locks. A shorter wait is not worth a line: cargos that read a
/// manifest at the same time wait for each other for some milliseconds.
const LOOKS: [u64; 2] = [500, 100];

/// The most characters of the holder's command line that are shown.
const LONGEST: usize = 100;

/// Called with the lock that cargo waits for, and with `None` when it goes on.
pub(super) type Tell = Arc<dyn Fn(Option<String>) + Send + Sync>;

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
        let holder = find();
        if holder.is_some() {
            return holder;
        }
    }
    None
}

/// The holder of the lock for which a cargo below this process waits.
fn find() -> Option<String> {
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let ours = process_tree::of(std::process::id());
    let is_cargo = |process: &&Process| process.stat().is_ok_and(|stat| stat.comm == "cargo");
    let waiting: Vec<i32> = ours.iter().filter(is_cargo).map(Process::pid).collect();
    let pid = holder(&locks, &waiting)?;
    let whole = process_tree::command(&Process::new(pid).ok()?)?;
    let mut command: String = whole.chars().take(LONGEST).collect();
    if command.len() < whole.len() {
        command.truncate(command.trim_end().len());
        command.push('…');
    }
    Some(format!("`{command}` (pid {pid})"))
}

/// The process that holds the lock for which one of these waits, from the text of /proc/locks: lines
/// with the same number are about the same lock, and the first is the holder's.
///
/// `5: FLOCK  ADVISORY  WRITE 2614 fe:00:10011098 0 EOF`
/// `5: -> FLOCK  ADVISORY  WRITE 2700 fe:00:10011098 0 EOF`
fn holder(locks: &str, waiting: &[i32]) -> Option<i32> {
    let lock = |line: &str| {
        let (number, rest) = line.split_once(':')?;
        let waits = rest.trim_start().starts_with("->");
        let mut words = rest
            .trim_start()
            .trim_start_matches("->")
            .split_whitespace();
        let pid: i32 = words.nth(3)?.parse().ok()?;
        Some((number.to_owned(), waits, pid))
    };
    let all = || locks.lines().filter_map(lock);
    let (number, ..) = all().find(|(_, waits, pid)| *waits && waiting.contains(pid))?;
    let (.., pid) = all().find(|(other, waits, _)| *other == number && !waits)?;
    (pid > 0).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKS: &str = "\
1: POSIX  ADVISORY  WRITE 10 fe:00:1 0 EOF
2: FLOCK  ADVISORY  WRITE 20 fe:00:2 0 EOF
2: -> FLOCK  ADVISORY  WRITE 21 fe:00:2 0 EOF
2:  -> FLOCK  ADVISORY  WRITE 22 fe:00:2 0 EOF
3: FLOCK  ADVISORY  READ  30 fe:00:3 0 EOF
4: FLOCK  ADVISORY  WRITE 0 fe:00:4 0 EOF
4: -> FLOCK  ADVISORY  WRITE 41 fe:00:4 0 EOF
";

    #[test]
    fn the_holder_is_the_first_of_those_that_belong_together() {
        for (waiting, expected) in [
            (&[21][..], Some(20)),
            (&[22], Some(20)),
            (&[9, 22], Some(20)),
            (&[20, 30, 10], None),
            // The holder is in another container.
            (&[41], None),
            (&[], None),
        ] {
            assert_eq!(holder(LOCKS, waiting), expected, "{waiting:?}");
        }
    }
}
