//! The signal that asks a generation to end: what its processes catch and ignore, as `/proc/PID/status`
//! shows it.

use std::collections::HashSet;
use std::path::Path;

use nix::sys::signal::Signal;
use procfs::process::Process;

use crate::process_tree;

/// What a process does with signals that would end it: a bit for each, from signal 1 on.
#[derive(Clone, Copy, Debug, Default)]
struct Handled {
    caught: u64,
    ignored: u64,
}

impl Handled {
    fn by(process: &Process) -> Option<Self> {
        let status = process.status().ok()?;
        Some(Self {
            caught: status.sigcgt,
            ignored: status.sigign,
        })
    }

    fn catches(self, signal: i32) -> bool {
        has(self.caught, signal)
    }

    /// The process neither catches nor ignores the signal.
    fn is_ended_by(self, signal: i32) -> bool {
        !has(self.caught | self.ignored, signal)
    }
}

fn has(signals: u64, signal: i32) -> bool {
    let bit = u32::try_from(signal - 1).ok();
    bit.and_then(|bit| signals.checked_shr(bit))
        .is_some_and(|signals| signals & 1 == 1)
}

const TERM: i32 = Signal::SIGTERM as i32;
const INT: i32 = Signal::SIGINT as i32;

/// Whether this signal would end a process of this keeper that has one of these sockets open, because
/// that neither catches nor ignores it. `None`: the one of the two stop signals that it catches.
pub(super) fn ends_at_once(keeper: u32, signal: Option<i32>, sockets: &HashSet<u64>) -> bool {
    let signals = signal.map_or(vec![TERM, INT], |signal| vec![signal]);
    let tree = process_tree::of(keeper);
    let serving = tree.iter().filter(|process| serves(process, sockets));
    let mut handled = serving.filter_map(Handled::by);
    handled.any(|handled| signals.iter().all(|signal| handled.is_ended_by(*signal)))
}

fn serves(process: &Process, sockets: &HashSet<u64>) -> bool {
    process_tree::sockets(process).any(|inode| sockets.contains(&inode))
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
    let asked: Vec<Process> = process_tree::of(keeper)
        .into_iter()
        .filter(|process| {
            let of = process.stat().map(|stat| stat.pgrp);
            group.is_none_or(|group| of.is_ok_and(|of| of == group.cast_signed()))
        })
        .collect();
    let is_program = |process: &Process| process.exe().is_ok_and(|exe| exe == program);
    let serves = |process: &Process| serves(process, sockets);
    let which: [&dyn Fn(&Process) -> bool; 3] = [&is_program, &serves, &|_| true];
    let found = which.into_iter().map(|which| {
        let these = asked.iter().filter(|process| which(process));
        these.filter_map(Handled::by).collect::<Vec<_>>()
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
    use tokio::signal::unix::SignalKind;

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

    #[test]
    fn what_a_process_does_with_a_signal_is_seen() {
        let own = || Handled::by(&Process::myself().unwrap()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _guard = runtime.enter();
        // No other test uses this signal.
        let number = Signal::SIGURG as i32;
        assert!(!own().catches(number) && own().is_ended_by(number));
        let _handled = tokio::signal::unix::signal(SignalKind::from_raw(number)).unwrap();
        assert!(own().catches(number) && !own().is_ended_by(number));
        // Rust's runtime ignores it in every program.
        let ignored = Signal::SIGPIPE as i32;
        assert!(!own().catches(ignored) && !own().is_ended_by(ignored));
        assert!(own().is_ended_by(Signal::SIGKILL as i32));
        assert!(own().is_ended_by(0) && own().is_ended_by(99));
    }
}
