//! The signal that asks a generation to end: what its processes catch and ignore, as the system shows
//! it.

use std::collections::HashSet;
use std::path::Path;

use crate::sys::processes::{self, Handled, Process};
use crate::sys::signals;

const TERM: i32 = signals::TERMINATE;
const INT: i32 = signals::INTERRUPT;

/// Whether this signal would end a process of this keeper that has one of these sockets open, because
/// that neither catches nor ignores it. `None`: the one of the two stop signals that it catches.
pub(super) fn ends_at_once(keeper: u32, signal: Option<i32>, sockets: &HashSet<u64>) -> bool {
    let signals = signal.map_or(vec![TERM, INT], |signal| vec![signal]);
    let tree = processes::descendants(keeper);
    let serving = tree.iter().filter(|process| serves(process, sockets));
    let mut handled = serving.filter_map(Process::handled);
    handled.any(|handled| signals.iter().all(|signal| handled.is_ended_by(*signal)))
}

fn serves(process: &Process, sockets: &HashSet<u64>) -> bool {
    process.sockets().any(|inode| sockets.contains(&inode))
}

/// SIGTERM, or SIGINT where the serving processes catch only that.
///
/// The signal goes to the process group of the first process. Of that group, the processes that run
/// `program` count, since a runner or a shell may be the first; where there is none (an emulator runs
/// it), those that have one of these sockets open; else all of them.
pub(super) fn choose(
    keeper: u32,
    group: Option<u32>,
    program: &Path,
    sockets: &HashSet<u64>,
) -> i32 {
    let asked: Vec<Process> = processes::descendants(keeper)
        .into_iter()
        .filter(|process| group.is_none() || process.group() == group)
        .collect();
    let is_program = |process: &Process| process.executable().is_some_and(|path| path == program);
    let serves = |process: &Process| serves(process, sockets);
    let which: [&dyn Fn(&Process) -> bool; 3] = [&is_program, &serves, &|_| true];
    let found = which.into_iter().map(|which| {
        let these = asked.iter().filter(|process| which(process));
        these.filter_map(Process::handled).collect::<Vec<_>>()
    });
    let found = found.into_iter().find(|these| !these.is_empty());
    signal(&found.unwrap_or_default())
}

fn signal(asked: &[Handled]) -> i32 {
    let any = |signal| asked.iter().any(|handled| handled.catches(signal));
    if any(INT) && !any(TERM) { INT } else { TERM }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(asked: &[&[i32]], expected: i32) {
        let handled = |signals: &&[i32]| Handled {
            caught: signals.iter().map(|signal| 1 << (signal - 1)).sum(),
            ignored: 0,
        };
        let asked: Vec<Handled> = asked.iter().map(handled).collect();
        assert_eq!(signal(&asked), expected);
    }

    #[test]
    fn interrupt_only_where_that_alone_is_caught() {
        case(&[], TERM);
        case(&[&[]], TERM);
        case(&[&[TERM, INT]], TERM);
        case(&[&[TERM]], TERM);
        case(&[&[INT]], INT);
        case(&[&[], &[INT]], INT);
        case(&[&[TERM], &[INT]], TERM);
    }
}
