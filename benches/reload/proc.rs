//! Reads /proc.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// The kernel's unit of time in `stat`, on every Linux there is.
const CLOCK_TICK: Duration = Duration::from_millis(10);

/// The fields of `stat` of a process or thread that follow the name: the first one is the state.
fn stat(directory: &Path) -> Option<Vec<String>> {
    let text = fs::read_to_string(directory.join("stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

fn directory(pid: u32) -> PathBuf {
    format!("/proc/{pid}").into()
}

fn field(stat: &[String], number: usize) -> Option<u64> {
    // Counted as in proc(5), where the state is the third.
    stat.get(number - 3)?.parse().ok()
}

/// When a process was started, in a unit that is only good for comparing; `None`: it has ended.
pub(crate) fn started(pid: u32) -> Option<u64> {
    let stat = stat(&directory(pid))?;
    if stat.first().is_some_and(|state| state == "Z") {
        return None;
    }
    field(&stat, 22)
}

/// The machine's load over the last minute: other processes disturb the measurement.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// Waits for `time`, and a little longer while other processes keep this machine busy.
pub(crate) fn rest(time: Duration) {
    for _ in 0..8 {
        let before = idle();
        thread::sleep(time);
        match (before, idle()) {
            (Some(before), Some(after)) if after.0 - before.0 < 0.9 * (after.1 - before.1) => {}
            _ => return,
        }
    }
}

/// How long all CPUs together were idle, and their whole time, in ticks.
fn idle() -> Option<(f64, f64)> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let (all, _) = text.split_once('\n')?;
    let ticks: Vec<f64> = all
        .split_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect();
    Some((ticks.get(3)? + ticks.get(4)?, ticks.iter().sum()))
}

/// All descendants of this process, and when each was started.
pub(crate) fn descendants(of: u32) -> Vec<(u32, u64)> {
    let mut children: HashMap<u64, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_string_lossy().parse::<u32>();
        if let Ok(pid) = pid
            && let Some(parent) = stat(&entry.path()).and_then(|stat| field(&stat, 4))
        {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut open = vec![of];
    while let Some(pid) = open.pop() {
        for child in children.remove(&u64::from(pid)).unwrap_or_default() {
            found.extend(started(child).map(|started| (child, started)));
            open.push(child);
        }
    }
    found
}

/// A process and those of its descendants that run the same program: hotrun and its keepers.
pub(crate) fn own(pid: u32) -> Vec<u32> {
    let program = |pid: u32| fs::read_link(format!("/proc/{pid}/exe")).ok();
    let wanted = program(pid);
    let mut own = vec![pid];
    own.extend(
        descendants(pid)
            .into_iter()
            .map(|(child, _)| child)
            .filter(|child| program(*child) == wanted),
    );
    own
}

/// The directories of a process' threads.
fn threads(pid: u32) -> impl Iterator<Item = PathBuf> {
    let listed = fs::read_dir(format!("/proc/{pid}/task"));
    listed
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
}

/// What the threads of some processes have used up to a moment.
#[derive(Debug)]
pub(crate) struct Usage {
    threads: HashMap<PathBuf, (Duration, u64)>,
}

impl Usage {
    /// The usage up to now.
    pub(crate) fn of(pids: &[u32]) -> Self {
        let threads = pids.iter().flat_map(|pid| threads(*pid));
        let used = |thread: PathBuf| {
            let sleeps = value(&thread.join("status"), "voluntary_ctxt_switches:");
            (thread.clone(), (cpu(&thread), sleeps))
        };
        Self {
            threads: threads.map(used).collect(),
        }
    }

    /// The usage after `before`: time on a CPU, and voluntary context switches. The share of a thread
    /// that has ended in between is missing.
    pub(crate) fn since(&self, before: &Self) -> (Duration, u64) {
        let mut sum = (Duration::ZERO, 0);
        for (thread, (cpu, sleeps)) in &self.threads {
            let known = before.threads.get(thread).copied().unwrap_or_default();
            sum.0 += cpu.saturating_sub(known.0);
            sum.1 += sleeps.saturating_sub(known.1);
        }
        sum
    }
}

/// The time that a thread has spent on a CPU.
fn cpu(thread: &Path) -> Duration {
    let text = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
    let exact = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    if let Some(nanos) = exact {
        return Duration::from_nanos(nanos);
    }
    // This kernel only counts in ticks.
    let stat = stat(thread).unwrap_or_default();
    let ticks = field(&stat, 14).unwrap_or(0) + field(&stat, 15).unwrap_or(0);
    CLOCK_TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
}

/// Memory of processes in KiB; shared pages count once.
pub(crate) fn memory(pids: &[u32]) -> u64 {
    let file = |pid: &u32| PathBuf::from(format!("/proc/{pid}/smaps_rollup"));
    pids.iter().map(|pid| value(&file(pid), "Pss:")).sum()
}

fn value(file: &Path, key: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.unwrap_or(0)
}

/// The number of directories that a process watches.
pub(crate) fn watches(pid: u32) -> usize {
    let listed = fs::read_dir(format!("/proc/{pid}/fdinfo"));
    listed
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .map(|text| {
            let watches = text.lines().filter(|line| line.starts_with("inotify wd:"));
            watches.count()
        })
        .sum()
}
