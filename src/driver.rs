//! The one loop: an event in, the session decides, actions out.
//!
//! # Theory of operation
//!
//! The driver owns the session, the clock and the inboxes. It waits for whichever comes first: a
//! signal, an event of a room, or the moment the session asked to be woken at; hands it to the
//! session with the time; and has the rooms carry out every action at once, in order. Rooms never
//! wait here: what takes time runs in tasks and threads of its own and reports by events.

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};

use crate::session::Session;
use crate::session::action::Action;
use crate::session::event::Event;
use crate::session::model::{Ending, Moment};

/// Carries out actions. The real one knows every room; tests record.
pub trait Rooms {
    /// Does it, or starts doing it, without waiting.
    fn perform(&mut self, now: Moment, action: Action);
}

/// Where events come from.
#[derive(Debug)]
pub struct Inbox {
    /// Signals and commands: heard first.
    pub urgent: UnboundedReceiver<Event>,
    /// Everything else.
    pub events: UnboundedReceiver<Event>,
}

/// The time since hotrun started.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts at zero.
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// The time since then.
    pub fn now(self) -> Moment {
        self.start.elapsed()
    }
}

/// Runs a session to its end.
pub async fn run(
    mut session: Session,
    mut inbox: Inbox,
    clock: Clock,
    rooms: &mut impl Rooms,
) -> Ending {
    let mut event = Event::Begin;
    loop {
        let now = clock.now();
        for action in session.handle(now, event) {
            if let Action::End(ending) = action {
                return ending;
            }
            rooms.perform(now, action);
        }
        event = next(&mut inbox, clock, session.due()).await;
    }
}

async fn next(inbox: &mut Inbox, clock: Clock, due: Option<Moment>) -> Event {
    let timer = async {
        match due {
            Some(due) => sleep_until(clock.start + due).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        Some(event) = inbox.urgent.recv() => event,
        Some(event) = inbox.events.recv() => event,
        () = timer => Event::Tick,
    }
}
