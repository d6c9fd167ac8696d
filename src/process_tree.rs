//! The process tree of a generation, from /proc, and the sockets that its processes have open.

use procfs::process::{FDTarget, Process};

/// The command line of a process, on one line.
pub(crate) fn command(process: &Process) -> Option<String> {
    let whole = process.cmdline().ok()?.join(" ");
    let words = whole.split(|c: char| c.is_whitespace() || c.is_control());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    Some(words.join(" "))
}

/// The descendants of this process, without itself. Those of a keeper are all processes of its
/// generation, since orphans are reparented to it.
pub(crate) fn of(pid: u32) -> Vec<Process> {
    let mut found: Vec<Process> = Vec::new();
    let mut open = vec![pid.cast_signed()];
    while let Some(pid) = open.pop() {
        let Ok(tasks) = Process::new(pid).and_then(|process| process.tasks()) else {
            continue;
        };
        for task in tasks.flatten() {
            let children = task.children().unwrap_or_default();
            for child in children {
                open.push(child.cast_signed());
                found.extend(Process::new(child.cast_signed()).ok());
            }
        }
    }
    found
}

/// The inodes of the sockets that a process has open; none if it has exited.
pub(crate) fn sockets(process: &Process) -> impl Iterator<Item = u64> + use<> {
    let descriptors = process.fd().into_iter().flatten().flatten();
    descriptors.filter_map(|descriptor| match descriptor.target {
        FDTarget::Socket(inode) => Some(inode),
        _ => None,
    })
}
