//! Turns signals into events.

use std::io::{self, IsTerminal};

use tokio::sync::mpsc::UnboundedSender;

use crate::defect;
use crate::session::command::Command;
use crate::session::event::Event;
use crate::session::model::Ending;
use crate::sys;
use crate::sys::processes::{self, Process};
use crate::sys::signals::{
    self, CHILD, HANGUP, INTERRUPT, QUIT, SUSPEND, TERMINATE, USER_1, USER_2,
};

/// Starts to turn signals into events. Must be called inside the runtime.
pub fn listen(events: &UnboundedSender<Event>) -> io::Result<()> {
    for number in [INTERRUPT, TERMINATE, QUIT] {
        forward(number, events, move || Event::Quit(Ending::Signal(number)))?;
    }
    let terminal = Terminal::of_process();
    forward(HANGUP, events, move || {
        if terminal.is_gone() {
            Event::Quit(Ending::Signal(HANGUP))
        } else {
            Event::Command(Command::Rebuild, None)
        }
    })?;
    forward(SUSPEND, events, || Event::Suspend)?;
    forward(USER_1, events, || Event::ReopenLog)?;
    forward(USER_2, events, || Event::Signal(USER_2))?;
    let mut children = signals::listen(CHILD)?;
    let reap = async move || {
        while children.recv().await.is_some() {
            defect::point("reap");
            // All children are keepers, which report by message, and orphans that were reparented to
            // hotrun; no other code waits for any of them.
            processes::reap();
        }
    };
    defect::spawn("reap", defect::again("reap", reap));
    Ok(())
}

fn forward(
    number: i32,
    events: &UnboundedSender<Event>,
    event: impl Fn() -> Event + Send + Sync + 'static,
) -> io::Result<()> {
    // Ignored on purpose by the parent: `nohup`, or a shell without job control that started it with
    // `&`.
    if ignored(number) {
        return Ok(());
    }
    let mut signals = signals::listen(number)?;
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
fn ignored(number: i32) -> bool {
    let handled = Process::own().and_then(|own| own.handled());
    handled.is_some_and(|handled| handled.ignores(number))
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
        let own = sys::has_terminal();
        let (stdin, stdout) = (io::stdin().is_terminal(), io::stdout().is_terminal());
        [stdin, stdout, io::stderr().is_terminal(), own]
    }

    /// A terminal that has hung up is no terminal any more.
    fn is_gone(self) -> bool {
        self.was != Self::now()
    }
}
