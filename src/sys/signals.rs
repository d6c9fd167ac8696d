//! Signals: being stopped and continued, and ending by one.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use nix::time::{ClockId, clock_gettime};

/// When this process was last continued, in nanoseconds of the monotonic clock; zero: never.
static CONTINUED: AtomicU64 = AtomicU64::new(0);

/// Has every continuation after a stop (SIGSTOP, Ctrl-Z) noted from here on. By a handler, which runs
/// before anything else of the process: a stream of signals would tell of it only after other events.
pub fn note_continuations() -> io::Result<()> {
    let handler = SigHandler::Handler(continued);
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler reads a clock and stores a number, both of which are safe in a signal handler
    // (signal-safety(7)); it allocates and locks nothing.
    unsafe { sigaction(Signal::SIGCONT, &action) }?;
    Ok(())
}

/// The time since this process was last continued; `None` if it never was.
pub fn since_continued() -> Option<Duration> {
    let at = Duration::from_nanos(CONTINUED.load(Ordering::Relaxed));
    (!at.is_zero()).then(|| monotonic().saturating_sub(at))
}

extern "C" fn continued(_: libc::c_int) {
    let now = u64::try_from(monotonic().as_nanos()).unwrap_or(u64::MAX);
    CONTINUED.store(now, Ordering::Relaxed);
}

fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// Lets `signal`, one that stops, have its default effect on this process. Returns when it is continued;
/// at once where the kernel ignores the signal (PID 1, or a process group without a shell above it),
/// because no process could continue it.
pub fn stop_by(signal: Signal) {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: SIG_DFL runs no code of ours.
    let Ok(ours) = (unsafe { sigaction(signal, &default) }) else {
        return;
    };
    let _ = raise(signal);
    // SAFETY: restores the action that was there before.
    let _ = unsafe { sigaction(signal, &ours) };
}

/// Kills this process with `signal`, so that its parent sees that signal.
pub fn die_by(signal: i32) {
    if let Ok(signal) = Signal::try_from(signal) {
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: SIG_DFL runs no code of ours.
        if unsafe { sigaction(signal, &default) }.is_ok() {
            let _ = raise(signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    use nix::unistd::{ForkResult, Pid, fork};

    use super::*;

    /// Forks a child that runs `child` and exits with its answer.
    fn forked(child: impl FnOnce() -> i32) -> Pid {
        // SAFETY: the child runs a few system calls and leaves by `_exit`.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => child,
            ForkResult::Child => {
                // In a group of its own below a parent in the same session, so that it can be continued.
                let _ = nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0));
                let code = child();
                // SAFETY: ends the child at once.
                unsafe { libc::_exit(code) }
            }
        }
    }

    #[test]
    fn a_process_that_stops_is_seen_to_stop_and_knows_when_it_went_on() {
        let child = forked(|| {
            if note_continuations().is_err() || since_continued().is_some() {
                return 1;
            }
            stop_by(Signal::SIGTSTP);
            match since_continued() {
                Some(since) if since < Duration::from_mins(1) => 7,
                _ => 2,
            }
        });
        let stopped = waitpid(child, Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert_eq!(stopped, WaitStatus::Stopped(child, Signal::SIGTSTP));
        nix::sys::signal::kill(child, Signal::SIGCONT).unwrap();
        assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 7));
    }
}
