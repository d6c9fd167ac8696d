//! The signal that asks a generation to end: what its processes catch, as /proc shows it.

use std::collections::HashSet;
use std::path::Path;

use nix::sys::signal::Signal;
use procfs::process::Process;

use crate::process_tree;

/// Which of the two signals a process catches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Catches {
    /// SIGTERM.
    term: bool,
    /// SIGINT.
    int: bool,
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
    let serves =
        |process: &Process| process_tree::sockets(process).any(|one| sockets.contains(&one));
    let which: [&dyn Fn(&Process) -> bool; 3] = [&is_program, &serves, &|_| true];
    let found = which.into_iter().map(|which| {
        let these = asked.iter().filter(|process| which(process));
        these.filter_map(catches).collect::<Vec<_>>()
    });
    let found = found.into_iter().find(|these| !these.is_empty());
    signal(&found.unwrap_or_default()) as i32
}

fn signal(asked: &[Catches]) -> Signal {
    let any = |catches: fn(&Catches) -> bool| asked.iter().any(catches);
    if any(|one| one.int) && !any(|one| one.term) {
        Signal::SIGINT
    } else {
        Signal::SIGTERM
    }
}

fn catches(process: &Process) -> Option<Catches> {
    let caught = process.status().ok()?.sigcgt;
    let is_caught = |signal: Signal| caught & (1 << (signal as u32 - 1)) != 0;
    Some(Catches {
        term: is_caught(Signal::SIGTERM),
        int: is_caught(Signal::SIGINT),
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[track_caller]
    fn case(asked: &[(bool, bool)], expected: Signal) {
        let asked = asked.iter().map(|&(term, int)| Catches { term, int });
        assert_eq!(signal(&asked.collect::<Vec<_>>()), expected);
    }

    #[test]
    fn interrupt_only_where_that_alone_is_caught() {
        case(&[], Signal::SIGTERM);
        case(&[(false, false)], Signal::SIGTERM);
        case(&[(true, true)], Signal::SIGTERM);
        case(&[(true, false)], Signal::SIGTERM);
        case(&[(false, true)], Signal::SIGINT);
        case(&[(false, false), (false, true)], Signal::SIGINT);
        case(&[(true, false), (false, true)], Signal::SIGTERM);
    }

    #[test]
    fn what_is_caught_is_seen() {
        for (traps, expected) in [("INT", (false, true)), ("INT TERM", (true, true))] {
            let script = format!("trap : {traps}; echo; read line");
            let mut shell = Command::new("sh");
            let shell = shell
                .args(["-c", &script])
                .stdin(std::process::Stdio::piped());
            let mut shell = shell.stdout(std::process::Stdio::piped()).spawn().unwrap();
            let mut said = [0];
            std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut said).unwrap();
            let found = catches(&Process::new(shell.id().cast_signed()).unwrap()).unwrap();
            shell.kill().unwrap();
            shell.wait().unwrap();
            assert_eq!((found.term, found.int), expected);
        }
    }
}
