//! What /proc says about processes.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The kernel's unit of time in `stat`, on every Linux there is.
const CLOCK_TICK: Duration = Duration::from_millis(10);

/// The fields of `stat` that follow the name: the first one is the state.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

fn field(stat: &[String], number: usize) -> Option<u64> {
    // Counted as in proc(5), where the state is the third.
    stat.get(number - 3)?.parse().ok()
}

/// When a process was started, in a unit that only matters for comparing; `None`: it has ended.
pub(crate) fn started(pid: u32) -> Option<u64> {
    let stat = stat(pid)?;
    if stat.first().is_some_and(|state| state == "Z") {
        return None;
    }
    field(&stat, 22)
}

/// All that descend from this process, and when each was started.
pub(crate) fn descendants(of: u32) -> Vec<(u32, u64)> {
    let mut children: HashMap<u64, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_string_lossy().parse::<u32>();
        if let Ok(pid) = pid
            && let Some(parent) = stat(pid).and_then(|stat| field(&stat, 4))
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

/// The time that processes have spent on a CPU.
pub(crate) fn cpu(pids: &[u32]) -> Duration {
    pids.iter().map(|pid| cpu_of(*pid)).sum()
}

fn cpu_of(pid: u32) -> Duration {
    let exact: Duration = threads(pid)
        .filter_map(|thread| {
            let text = fs::read_to_string(thread.join("schedstat")).ok()?;
            Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
        })
        .sum();
    if exact > Duration::ZERO {
        return exact;
    }
    // A kernel that counts in ticks only.
    let Some(stat) = stat(pid) else {
        return Duration::ZERO;
    };
    let ticks = field(&stat, 14).unwrap_or(0) + field(&stat, 15).unwrap_or(0);
    CLOCK_TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
}

/// How often processes went to sleep by themselves.
pub(crate) fn sleeps(pids: &[u32]) -> u64 {
    let files = pids.iter().flat_map(|pid| threads(*pid));
    files
        .map(|thread| value(&thread.join("status"), "voluntary_ctxt_switches:"))
        .sum()
}

/// Memory of processes in KiB; what is shared counts once.
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
