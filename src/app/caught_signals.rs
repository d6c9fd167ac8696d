//! Which signals the processes of a generation catch, from `/proc/PID/status`.

use std::collections::HashSet;

use nix::sys::signal::Signal;
use procfs::process::Process;

use crate::process_tree;

/// Whether this signal would kill a process of this keeper that has one of these sockets open, because
/// that neither catches nor ignores it. `None`: the one of the two stop signals that it catches.
pub(super) fn is_ended_by(keeper: u32, signal: Option<i32>, sockets: &HashSet<u64>) -> bool {
    let either = [Signal::SIGTERM as i32, Signal::SIGINT as i32];
    let signals = signal.map_or(either.to_vec(), |signal| vec![signal]);
    let tree = process_tree::of(keeper);
    let serves =
        |process: &&Process| process_tree::sockets(process).any(|it| sockets.contains(&it));
    let mut serving = tree.iter().filter(serves);
    serving.any(|process| signals.iter().all(|signal| is_fatal(process, *signal)))
}

/// The process neither catches nor ignores the signal.
fn is_fatal(process: &Process, signal: i32) -> bool {
    process.status().is_ok_and(|status| {
        let met = status.sigcgt | status.sigign;
        let bit = u32::try_from(signal - 1).ok();
        bit.and_then(|bit| met.checked_shr(bit))
            .is_none_or(|met| met & 1 == 0)
    })
}

#[cfg(test)]
mod tests {
    use tokio::signal::unix::{SignalKind, signal};

    use super::*;

    #[test]
    fn a_signal_that_is_handled_or_ignored_is_not_fatal() {
        let own = Process::myself().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _guard = runtime.enter();
        // No other test uses this signal.
        let number = Signal::SIGURG as i32;
        assert!(is_fatal(&own, number));
        let _handled = signal(SignalKind::from_raw(number)).unwrap();
        assert!(!is_fatal(&own, number));
        // Rust's runtime ignores it in every program.
        assert!(!is_fatal(&own, Signal::SIGPIPE as i32));
        assert!(is_fatal(&own, Signal::SIGKILL as i32));
        assert!(is_fatal(&own, 0));
    }
}
