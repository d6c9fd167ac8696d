//! The processes of a generation, as /proc shows them, and the sockets they have open.

use procfs::process::{FDTarget, Process};

/// The processes that descend from this one, itself left out. What descends from the keeper of a
/// generation is all of it: what forks away twice comes back to the keeper.
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

/// The numbers of the sockets that a process has open; none of one that has ended.
pub(crate) fn sockets(process: &Process) -> impl Iterator<Item = u64> + use<> {
    let descriptors = process.fd().into_iter().flatten().flatten();
    descriptors.filter_map(|descriptor| match descriptor.target {
        FDTarget::Socket(inode) => Some(inode),
        _ => None,
    })
}
