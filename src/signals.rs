//! Turns signals into events.

use std::io::{self, IsTerminal};

use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::UnboundedSender;

use crate::defect;
use crate::session::command::Command;
use crate::session::event::Event;
use crate::session::model::Ending;

/// Starts to turn signals into events. Must be called inside the runtime.
pub fn listen(events: &UnboundedSender<Event>) -> io::Result<()> {
    for kind in [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::quit(),
    ] {
        let number = kind.as_raw_value();
        forward(kind, events, move || Event::Quit(Ending::Signal(number)))?;
    }
    let terminal = Terminal::of_process();
    forward(SignalKind::hangup(), events, move || {
        if terminal.is_gone() {
            Event::Quit(Ending::Signal(SignalKind::hangup().as_raw_value()))
        } else {
            Event::Command(Command::Rebuild, None)
        }
    })?;
    let stop = SignalKind::from_raw(Signal::SIGTSTP as i32);
    forward(stop, events, || Event::Suspend)?;
    forward(SignalKind::user_defined1(), events, || Event::ReopenLog)?;
    let passed_on = SignalKind::user_defined2();
    let number = passed_on.as_raw_value();
    forward(passed_on, events, move || Event::Signal(number))?;
    let mut children = signal(SignalKind::child())?;
    let reap = async move || {
        while children.recv().await.is_some() {
            defect::point("reap");
            reap();
        }
    };
    defect::spawn("reap", defect::again("reap", reap));
    Ok(())
}

fn forward(
    kind: SignalKind,
    events: &UnboundedSender<Event>,
    event: impl Fn() -> Event + Send + Sync + 'static,
) -> io::Result<()> {
    // Ignored on purpose by the parent: `nohup`, or a shell without job control that started it with
    // `&`.
    if ignored(kind) {
        return Ok(());
    }
    let mut signals = signal(kind)?;
    let events = events.clone();
    // After a panic the next signal is still handled.
    let hand_on = async move || {
        while signals.recv().await.is_some() {
            defect::point("signal");
            events.send(event()).ok();
        }
    };
    defect::spawn("signal", defect::again("signal", hand_on));
    Ok(())
}

/// This process was started with the signal ignored.
fn ignored(kind: SignalKind) -> bool {
    let status = procfs::process::Process::myself().and_then(|own| own.status());
    status.is_ok_and(|status| status.sigign & (1 << (kind.as_raw_value() - 1)) != 0)
}

/// Whether this process has a terminal, by itself or by one of its descriptors.
#[derive(Clone, Copy)]
struct Terminal {
    was: [bool; 4],
}

impl Terminal {
    fn of_process() -> Self {
        Self { was: Self::now() }
    }

    fn now() -> [bool; 4] {
        let own = std::fs::File::open("/dev/tty").is_ok();
        let (stdin, stdout) = (io::stdin().is_terminal(), io::stdout().is_terminal());
        [stdin, stdout, io::stderr().is_terminal(), own]
    }

    /// A terminal that has hung up is no terminal any more.
    fn is_gone(self) -> bool {
        self.was != Self::now()
    }
}

/// Reaps every child that has exited. All children are keepers, which report by message, and orphans
/// that were reparented to hotrun; no other code waits for any of them.
fn reap() {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            // A realtime signal is EINVAL after the fact: that child was reaped too.
            Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::ECHILD) => return,
            Ok(_) | Err(_) => {}
        }
    }
}
