//! Signals by their number: their names, receiving and sending them, being stopped and continued, and
//! ending by one.

use std::io;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::libc;
use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, kill, killpg, raise, sigaction,
};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use tokio::signal::unix::SignalKind;

/// The terminal has hung up; or: read your settings again.
pub const HANGUP: i32 = libc::SIGHUP;
/// Ctrl-C.
pub const INTERRUPT: i32 = libc::SIGINT;
/// Ctrl-\.
pub const QUIT: i32 = libc::SIGQUIT;
/// Asks a program to end.
pub const TERMINATE: i32 = libc::SIGTERM;
/// Ends a program.
pub const KILL: i32 = libc::SIGKILL;
/// Ctrl-Z.
pub const SUSPEND: i32 = libc::SIGTSTP;
/// Continues a stopped program.
pub const CONTINUE: i32 = libc::SIGCONT;
/// The first signal of a program's own meaning.
pub const USER_1: i32 = libc::SIGUSR1;
/// The second.
pub const USER_2: i32 = libc::SIGUSR2;
/// A child has ended.
pub const CHILD: i32 = libc::SIGCHLD;
/// The terminal has another size.
pub const RESIZED: i32 = libc::SIGWINCH;

/// A signal that can tell an app to read its files again, as one writes it.
pub const EXAMPLE: &str = "HUP";

/// Signals that can ask an app to end, as a hint names them.
pub const ENDING_EXAMPLES: &str = "`TERM`, `INT`, `QUIT` or `USR1`";

/// The number of the signal with this name, with `SIG` or without.
pub fn number(name: &str) -> Option<i32> {
    let bare = name.strip_prefix("SIG").unwrap_or(name);
    let signal = Signal::from_str(&format!("SIG{bare}")).ok();
    signal.map(|signal| signal as i32)
}

/// There is a signal with this name, whether it can be sent or not.
pub fn is_known(name: &str) -> bool {
    number(name).is_some()
}

/// The name of a signal, as `SIGTERM`.
pub fn name(number: i32) -> Option<&'static str> {
    Signal::try_from(number).ok().map(Signal::as_str)
}

/// The signal can ask a program to end: it neither ends or stops it by itself, nor is for something else.
pub fn may_ask_to_end(number: i32) -> bool {
    ![KILL, libc::SIGSTOP, CONTINUE, CHILD].contains(&number)
}

/// Signals of one kind as they arrive: `recv`.
pub type Signals = tokio::signal::unix::Signal;

/// Receives this signal from here on instead of its default effect. Must be called inside the runtime.
pub fn listen(number: i32) -> io::Result<Signals> {
    tokio::signal::unix::signal(SignalKind::from_raw(number))
}

/// Signals for this process are no longer delivered to this thread, whose system calls they would
/// interrupt.
pub fn leave_to_other_threads() {
    SigSet::all().thread_block().ok();
}

/// Runs `start`, which starts a program, with all signals blocked in this thread, and so in the program: one
/// for the whole process group reaches it when it takes it, not before it has left the group.
pub(in crate::sys) fn while_blocked<T>(start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let started = start();
    mask.thread_set_mask()?;
    started
}

/// Sends a signal to a process, unless that is gone.
pub fn send(pid: u32, number: i32) {
    if let Ok(signal) = Signal::try_from(number) {
        kill(Pid::from_raw(pid.cast_signed()), signal).ok();
    }
}

/// Sends a signal to a process group, unless that is gone.
pub fn send_to_group(group: u32, number: i32) {
    if let Ok(signal) = Signal::try_from(number) {
        killpg(Pid::from_raw(group.cast_signed()), signal).ok();
    }
}

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

/// The time of the kernel's monotonic clock.
pub fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// Lets Ctrl-Z have its default effect on this process. Returns when it is continued; at once where the
/// kernel ignores the signal (PID 1, or a process group without a shell above it), because no process
/// could continue it.
pub fn suspend() {
    let signal = Signal::SIGTSTP;
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

    #[test]
    fn signals_have_names() {
        assert_eq!((number("INT"), number("SIGINT")), (Some(2), Some(2)));
        assert_eq!(
            (number("SIGNAL"), name(0), name(15)),
            (None, None, Some("SIGTERM"))
        );
        assert!(may_ask_to_end(USER_1) && !may_ask_to_end(KILL));
    }

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
            suspend();
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
