//! What stands for signals here: the events of a console (Ctrl-C, Ctrl-Break, closing, shutdown), the end
//! of a process, and names and numbers as C programs have them.

use std::io;
use std::os::windows::io::AsHandle;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio::signal::windows::{self, CtrlBreak, CtrlC, CtrlClose, CtrlShutdown};
use windows_sys::Win32::Foundation::STATUS_CONTROL_C_EXIT;
use windows_sys::Win32::System::Console::{
    CTRL_BREAK_EVENT, CTRL_C_EVENT, GenerateConsoleCtrlEvent, SetConsoleCtrlHandler,
};

use super::event::Event;
use super::job;
use super::processes::terminate;
use super::wait::Wait;

/// Arrives from another hotrun only, see [`send`].
pub const HANGUP: i32 = 1;
/// Ctrl-C.
pub const INTERRUPT: i32 = 2;
/// Ctrl-Break.
pub const QUIT: i32 = 21;
/// Asks a program to end: Ctrl-C for the app; for hotrun, that its console is closed or the system shuts
/// down.
pub const TERMINATE: i32 = 15;
/// Ends a program.
pub const KILL: i32 = 9;
/// Never arrives.
pub const SUSPEND: i32 = 20;
/// Never arrives; no program is stopped.
pub const CONTINUE: i32 = 18;
/// Arrives from another hotrun only.
pub const USER_1: i32 = 10;
/// Arrives from another hotrun only.
pub const USER_2: i32 = 12;
/// Never arrives; the end of a child is waited for at the child.
pub const CHILD: i32 = 17;
/// Never arrives.
pub const RESIZED: i32 = 28;

/// Their names.
const NAMES: [(i32, &str); 9] = [
    (HANGUP, "SIGHUP"),
    (INTERRUPT, "SIGINT"),
    (6, "SIGABRT"),
    (KILL, "SIGKILL"),
    (USER_1, "SIGUSR1"),
    (11, "SIGSEGV"),
    (USER_2, "SIGUSR2"),
    (TERMINATE, "SIGTERM"),
    (QUIT, "SIGBREAK"),
];

/// Those that an app can be sent.
const SENT: [i32; 4] = [INTERRUPT, QUIT, TERMINATE, KILL];

/// Those that one hotrun can send another.
const AMONG_US: [i32; 3] = [HANGUP, USER_1, USER_2];

/// A signal that can tell an app to read its files again, as one writes it.
pub const EXAMPLE: &str = "BREAK";

/// Signals that can ask an app to end, as a hint names them.
pub const ENDING_EXAMPLES: &str = "`TERM`, `INT` or `BREAK`";

/// The number of the signal with this name, with `SIG` or without; `None` for those that an app can't be
/// sent.
pub fn number(name: &str) -> Option<i32> {
    known(name).filter(|number| SENT.contains(number))
}

fn known(name: &str) -> Option<i32> {
    let bare = name.strip_prefix("SIG").unwrap_or(name);
    let mut all = NAMES.iter();
    let found = all.find(|(_, name)| name.strip_prefix("SIG") == Some(bare));
    found.map(|(number, _)| *number)
}

/// There is a signal with this name, whether it can be sent or not.
pub fn is_known(name: &str) -> bool {
    known(name).is_some()
}

/// The name of a signal, as `SIGTERM`.
pub fn name(number: i32) -> Option<&'static str> {
    let mut all = NAMES.iter();
    all.find(|(found, _)| *found == number)
        .map(|(_, name)| *name)
}

/// The signal can ask a program to end, instead of ending it.
pub fn may_ask_to_end(number: i32) -> bool {
    number != KILL && SENT.contains(&number)
}

/// Signals of one kind as they arrive.
#[derive(Debug)]
pub struct Signals(Kind);

#[derive(Debug)]
enum Kind {
    CtrlC(CtrlC),
    CtrlBreak(CtrlBreak),
    Ending(CtrlClose, CtrlShutdown),
    /// From another hotrun.
    Sent(Event, Wait),
    /// One that no program sends.
    Never,
}

impl Signals {
    /// Waits for the next. Safe to drop while it waits.
    pub async fn recv(&mut self) -> Option<()> {
        match &mut self.0 {
            Kind::CtrlC(signals) => signals.recv().await,
            Kind::CtrlBreak(signals) => signals.recv().await,
            Kind::Ending(close, shutdown) => {
                tokio::select! {
                    closed = close.recv() => closed,
                    ends = shutdown.recv() => ends,
                }
            }
            Kind::Sent(event, wait) => {
                let sent = std::future::poll_fn(|context| wait.poll(context)).await;
                event.reset();
                sent.ok()
            }
            Kind::Never => std::future::pending().await,
        }
    }
}

/// Receives this signal from here on instead of its default effect. Must be called inside the runtime.
pub fn listen(number: i32) -> io::Result<Signals> {
    Ok(Signals(match number {
        INTERRUPT => Kind::CtrlC(windows::ctrl_c()?),
        QUIT => Kind::CtrlBreak(windows::ctrl_break()?),
        TERMINATE => Kind::Ending(windows::ctrl_close()?, windows::ctrl_shutdown()?),
        _ if AMONG_US.contains(&number) => {
            let event = Event::named(&event_name(std::process::id(), number))?;
            let wait = Wait::new(event.as_handle().try_clone_to_owned()?);
            Kind::Sent(event, wait)
        }
        _ => Kind::Never,
    }))
}

/// Signals interrupt no system call here.
pub fn leave_to_other_threads() {}

/// Ends a process (`KILL`), unless it is gone. Windows can send nothing else to one process; see
/// [`send_to_group`]. Other hotruns wait for events of the system that have these names, which stand for
/// the signals that people send to a hotrun elsewhere.
pub fn send(pid: u32, number: i32) {
    if number == KILL {
        terminate(pid).ok();
    } else if AMONG_US.contains(&number)
        && let Ok(event) = Event::open(&event_name(pid, number))
    {
        event.set();
    }
}

/// The name of the event that stands for a signal to a hotrun, in the user's own session.
fn event_name(pid: u32, number: i32) -> String {
    format!(r"Local\hotrun-{pid}-signal-{number}")
}

/// Sends a signal to the processes of this keeper: a Ctrl-C or Ctrl-Break to its hidden console, which they
/// have in common; or ends them all. In a process that is no keeper, ends this one process.
pub fn send_to_group(group: u32, number: i32) {
    if job::own().is_none() {
        return send(group, number);
    }
    match number {
        INTERRUPT | TERMINATE => tell_console(CTRL_C_EVENT),
        QUIT => tell_console(CTRL_BREAK_EVENT),
        KILL => end_all(),
        _ => {}
    }
}

fn tell_console(event: u32) {
    // SAFETY: numbers only; 0 is the group of all processes at this process's console.
    unsafe { GenerateConsoleCtrlEvent(event, 0) };
}

/// How often the job is looked at again for processes that were started meanwhile.
const PASSES: usize = 10;

/// Ends all processes of the job but this one.
fn end_all() {
    for _ in 0..PASSES {
        let ended = job::others()
            .into_iter()
            .filter(|pid| terminate(*pid).is_ok());
        if ended.count() == 0 {
            return;
        }
    }
}

/// Lets this process, which is a keeper, live on when it sends a Ctrl-C to its own console. If it was
/// started deaf to Ctrl-C, its children are not to be: that would be inherited.
pub(super) fn survive_own_ctrl_c() -> io::Result<()> {
    // SAFETY: no handler: restores the default for children.
    unsafe { SetConsoleCtrlHandler(None, 0) };
    // SAFETY: the handler is a function of this program and only compares a number.
    if unsafe { SetConsoleCtrlHandler(Some(survive), 1) } == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

extern "system" fn survive(event: u32) -> windows_sys::core::BOOL {
    i32::from(event == CTRL_C_EVENT || event == CTRL_BREAK_EVENT)
}

/// No program is stopped and continued here, so there is nothing to note.
pub fn note_continuations() -> io::Result<()> {
    Ok(())
}

/// `None`: this process was never continued.
pub fn since_continued() -> Option<Duration> {
    None
}

/// The time since this was first asked, by a clock that is never set.
pub fn monotonic() -> Duration {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "it is the clock")]
    FIRST.get_or_init(Instant::now).elapsed()
}

/// Windows stops no process; this goes on at once, as on other systems where none could continue it.
pub fn suspend() {}

/// Ends this process as Ctrl-C would have, where that is the signal.
pub fn die_by(signal: i32) {
    if signal == INTERRUPT {
        exit(STATUS_CONTROL_C_EXIT);
    }
}

/// Ends this process with this status.
#[expect(clippy::exit, reason = "what its callers are for")]
pub(super) fn exit(status: i32) -> ! {
    std::process::exit(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names() {
        assert_eq!((number("INT"), number("SIGINT")), (Some(2), Some(2)));
        assert_eq!(
            (number("USR1"), name(0), name(15)),
            (None, None, Some("SIGTERM"))
        );
        assert_eq!((name(HANGUP), number("HUP")), (Some("SIGHUP"), None));
        assert!(is_known("SIGHUP") && !is_known("HUB"));
        assert!(number(EXAMPLE).is_some());
        assert!(may_ask_to_end(INTERRUPT) && !may_ask_to_end(KILL) && !may_ask_to_end(USER_1));
    }

    #[tokio::test]
    async fn a_hotrun_is_told_by_another() {
        let mut hangups = listen(HANGUP).unwrap();
        let mut others = listen(USER_1).unwrap();
        for _ in 0..2 {
            send(std::process::id(), HANGUP);
            hangups.recv().await.unwrap();
        }
        tokio::select! {
            biased;
            _ = hangups.recv() => panic!("it came twice"),
            _ = others.recv() => panic!("it is another one"),
            () = tokio::task::yield_now() => {}
        }
    }

    #[test]
    fn an_event_of_the_console_is_survived() {
        assert_eq!(survive(CTRL_C_EVENT), 1);
        survive_own_ctrl_c().unwrap();
    }
}
