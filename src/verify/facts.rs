//! What is told of a verification, while it runs and in the end: values, which `ui` puts into words.
//! Pure.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use crate::session::action::Evidence;
use crate::session::model::Generation;

/// How many clients ask each address.
pub const CLIENTS: u32 = 4;
/// How often each of them begins a connection at the most.
pub const EVERY: Duration = Duration::from_millis(20);
/// After so long a client gives up.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A step of the run.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// The first version is built.
    Building(Generation),
    /// Cargo waits for another cargo: for what.
    Blocked(String),
    /// The first version serves, and clients begin.
    Loading {
        /// The version.
        generation: Generation,
        /// From the start of its build.
        took: Duration,
        /// Whom they ask.
        loaded: Vec<Loaded>,
    },
    /// A reload is over: only the new version has processes.
    Reload {
        /// Which.
        number: u32,
        /// Of how many.
        of: u32,
        /// The version that serves now.
        generation: Generation,
        /// From the request to rebuild until it served.
        took: Duration,
        /// The build alone.
        build: Option<Duration>,
        /// What clients have asked since the reload before.
        requests: usize,
        /// How many of them were lost.
        lost: usize,
    },
}

/// An address with clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// As hotrun names it.
    pub address: String,
    /// Old and new version have a socket each.
    pub twins: bool,
    /// What its clients do.
    pub how: How,
    /// They do it over TLS.
    pub tls: bool,
    /// Why they do something else than they should.
    pub notes: Vec<Note>,
}

/// What clients of an address do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// They ask over HTTP and read the answer.
    Ask,
    /// They open a WebSocket and keep it open.
    Open,
    /// They connect and wait until they were accepted.
    Connect,
}

/// What was found out at an address before the clients began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// A request got no answer at all.
    Silent,
    /// It got something else than HTTP.
    NoHttp,
    /// It got TLS.
    SpeaksTls,
    /// It got no TLS.
    NoTls,
    /// No WebSocket was opened: with which status, if it was HTTP.
    NoWebSocket(Option<u16>),
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// It was refused: no socket listened there.
    Refused,
    /// The connection was cut.
    Reset,
    /// It was closed in good order before the answer was whole.
    Closed,
    /// It took longer than clients wait.
    TimedOut,
    /// It was answered with TLS, and asked without.
    Tls,
    /// It was answered without TLS, and asked over TLS.
    NoTls,
    /// A WebSocket was not opened: this status came instead.
    Declined(u16),
    /// Something else: in the words of the system.
    Other(std::io::ErrorKind),
}

/// What hotrun was doing while a request was under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing.
    Calm,
    /// It built this version.
    Building(Generation),
    /// It started this version, switched to it, or the one before it ended.
    Swap(Generation),
}

/// Requests that were lost in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lost {
    /// When.
    pub phase: Phase,
    /// Whose connections they were, if that was seen.
    pub version: Option<Generation>,
    /// How.
    pub loss: Loss,
    /// How many.
    pub count: usize,
}

/// How a WebSocket ended that the client wanted to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a close frame.
    Closed,
    /// Without a word.
    Cut,
}

/// What became of the WebSockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WebSockets {
    /// How many were opened.
    pub opened: usize,
    /// How many ended with a close frame.
    pub closed: usize,
    /// How many ended without a word.
    pub cut: usize,
    /// How many of those that ended their clients have opened again.
    pub reopened: usize,
    /// How many of these belong to a newer version than before.
    pub newer: usize,
}

impl WebSockets {
    /// How many ended and were not opened again.
    pub fn gone(self) -> usize {
        (self.closed + self.cut).saturating_sub(self.reopened)
    }
}

/// The slowest answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slowest {
    /// From the first packet to the last byte.
    pub took: Duration,
    /// When it was.
    pub phase: Phase,
    /// The slowest while hotrun did nothing.
    pub calm: Option<Duration>,
}

/// How often each status was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statuses(BTreeMap<u16, usize>);

impl Statuses {
    /// The statuses of these answers.
    pub fn of(statuses: impl IntoIterator<Item = u16>) -> Self {
        let mut counts = BTreeMap::new();
        for status in statuses {
            *counts.entry(status).or_default() += 1;
        }
        Self(counts)
    }

    /// How many answers there were.
    pub fn count(&self) -> usize {
        self.0.values().sum()
    }

    /// There were answers, and every one was an error, of the client or of the app.
    pub fn are_errors(&self) -> bool {
        let mut statuses = self.0.keys();
        !self.0.is_empty() && statuses.all(|status| *status >= 400)
    }
}

impl Display for Statuses {
    /// Each with how often it was answered.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (number, (status, count)) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{status} ({count})")?;
        }
        Ok(())
    }
}

/// What clients saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// How many reloads there were.
    pub reloads: u32,
    /// What was asked for.
    pub path: String,
    /// Of whom.
    pub loaded: Vec<Loaded>,
    /// Held addresses without clients.
    pub unloaded: Vec<String>,
    /// What became of WebSockets, where clients opened some.
    pub websockets: Option<WebSockets>,
    /// How many requests there were, or connections where nothing was asked.
    pub requests: usize,
    /// Those without an answer.
    pub lost: Vec<Lost>,
    /// Answers of an old version over connections that were begun after a client had an answer of a
    /// newer one.
    pub stale: usize,
    /// Answers while two versions had processes.
    pub beside: usize,
    /// Those of them of which it was not seen whose they were.
    pub unattributed: usize,
    /// What was answered over HTTP.
    pub statuses: Statuses,
    /// Answers with a status of 500 or more.
    pub errors: usize,
    /// Those of them while hotrun did something.
    pub errors_at_work: usize,
    /// The slowest answer, if there was one.
    pub slowest: Option<Slowest>,
    /// What can be done about it.
    pub advice: Vec<Advice>,
}

impl Facts {
    /// How many requests have no answer.
    pub fn losses(&self) -> usize {
        self.lost.iter().map(|lost| lost.count).sum()
    }

    /// Every request has an answer, and a fresh one; every WebSocket that ended was opened again. That
    /// it ends with the version that serves it is no loss: hotrun can't help it.
    pub fn is_good(&self) -> bool {
        let gone = self.websockets.map_or(0, WebSockets::gone);
        self.losses() == 0 && self.stale == 0 && gone == 0
    }
}

/// Something to do, with what shows that it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Versions ended by the stop signal itself, without a word to their clients.
    DiesOfSignal {
        /// The signal.
        number: i32,
        /// How many versions.
        versions: usize,
    },
    /// Versions did not end in time, and were ended.
    Cut {
        /// How many.
        versions: usize,
        /// With so many open connections.
        connections: usize,
        /// The longest that one was given.
        after: Duration,
    },
    /// Live is stopped before the next version starts.
    StoppedFirst {
        /// What hotrun has learned it from; else the user wants it so.
        because: Option<Evidence>,
        /// The longest that clients had to wait for the end of the one and the start of the other.
        wait: Duration,
    },
    /// Every answer was an error.
    OnlyErrors,
    /// A version takes long to start.
    SlowStart(Duration),
    /// A version serves, but not these addresses.
    Unclaimed(Vec<String>),
    /// Old answers came after new ones, and at these addresses both versions accept from one socket.
    Shared(Vec<String>),
    /// WebSockets were cut without a word: how many.
    CutWebSockets(usize),
    /// In hotrun's own words.
    Warning(String),
}
