//! What happened: everything the session is told.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::Policy;
use super::model::{BuildOutcome, Change, Ending, Exit, Generation, JobId, Proof, Scope};
use super::reason::Reason;

/// One thing that happened. Messages of builds and apps carry their generation; what is stale is
/// dropped at the session's door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// hotrun is set up; the first build may start.
    Begin,
    /// Files were written, removed, or moved; what was found of them.
    Changed(Vec<Change>),
    /// Git is in the middle of an operation, and did its last step so long ago.
    GitWorks {
        /// How long ago.
        ago: Duration,
    },
    /// Events were lost: everything may have changed.
    Rescan,
    /// From now on changes are noticed this late: not at all where the system tells of them.
    Watching {
        /// The time between two looks.
        lag: Duration,
    },
    /// A directory could not be watched: which, and why.
    Unwatched(Reason),
    /// A build says something.
    Build(Generation, BuildNews),
    /// A process says something.
    App(Generation, AppNews),
    /// What is open at a generation that clients are not sent to any more: at first, and when it
    /// changes; `None`: it can't be known.
    Open(Generation, Option<Open>),
    /// The app was seen to start these binaries of its package, which are built with it from now on.
    Siblings(Vec<String>),
    /// Other addresses are held than before, and these are the knobs that go with them.
    Addresses(Box<Policy>),
    /// The settings were read anew, or what is wrong with them.
    Configured(Result<Box<Reconfigured>, Reason>),
    /// A user's command says something.
    Job(JobId, JobNews),
    /// Build and restart, even if nothing changed.
    Rebuild,
    /// A signal for the app, which hotrun only passes on.
    Signal(i32),
    /// Somebody moved the log file away.
    ReopenLog,
    /// Stop for the shell (Ctrl-Z), until this process is continued.
    Suspend,
    /// End: the first time in order, the second time at once.
    Quit(Ending),
    /// The moment the session asked to be woken at has come.
    Tick,
}

/// Settings that were read anew and hold from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconfigured {
    /// The knobs.
    pub policy: Policy,
    /// What has another value, by name.
    pub changed: Vec<String>,
    /// What that calls for.
    pub effect: Effect,
}

/// What changed settings call for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: they hold from the next time they are asked for.
    Nothing,
    /// The app is to be started again.
    Restart,
    /// The project is to be read and built again.
    Rebuild,
}

/// What is open at a generation that clients are not sent to any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// The stop signal ends it at once: what it has not answered then, it never answers.
    pub dies: bool,
    /// Connections on which something is on its way, or is not answered.
    pub busy: usize,
    /// Streams and `WebSocket`s, which never end by themselves.
    pub streams: usize,
}

/// What is reported of one run of a user's command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobNews {
    /// A line that it wrote.
    Line(String),
    /// It has ended, and nothing of it runs any more: well, or why not.
    Ended(Result<(), Reason>),
}

/// What is reported of one build.
#[derive(Clone, PartialEq, Eq)]
pub enum BuildNews {
    /// The project was read anew; this is what it is made of.
    Loaded(Box<Scope>),
    /// A build that is over has told more of what the program is made of.
    Inputs(Box<Scope>),
    /// The command that is run, as the user would type it.
    Command(String),
    /// A line of cargo itself, as rendered.
    Line(String),
    /// A message of the compiler.
    Diagnostic {
        /// It is an error, so it must be in view at the end.
        error: bool,
        /// As rustc renders it, with line ends.
        rendered: String,
    },
    /// How far it is.
    Progress {
        /// Finished units.
        done: u32,
        /// All units.
        total: u32,
    },
    /// Cargo waits for another cargo's lock (`Some`: on what), or goes on (`None`).
    Blocked(Option<String>),
    /// Cargo ended with this status; always followed by `Done`.
    Ended(Exit),
    /// It is over; nothing of it touches the project any more.
    Done(BuildOutcome),
}

/// What is reported of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppNews {
    /// It runs, with this process id.
    Started(u32),
    /// It could not be started: what and where.
    CannotStart(Reason),
    /// It proved that it serves.
    Ready(Proof),
    /// It listens on an address, which is held from now on.
    Listening,
    /// What it listens on can't be held: why.
    Uncaptured(Reason),
    /// It was asked over HTTP whether it is ready, and this came back.
    Answered(Answer),
    /// It could not bind an address, which somebody else has.
    Taken(Taken),
    /// It serves, but nobody waits for connections on these held addresses.
    Unclaimed(Vec<String>),
    /// It was stopped (SIGSTOP, a debugger), or continued.
    Suspended(bool),
    /// It was asked for: a process of it has these files open for writing.
    Writes(Vec<PathBuf>),
    /// It was asked for: this process of it has a debugger, or none has, or none has any more.
    Traced(Option<i32>),
    /// Its first process ended, or what it left behind and had listened. Other processes of it may
    /// still run.
    Exited {
        /// How it ended.
        exit: Exit,
        /// The last lines it wrote to stderr.
        last_lines: Vec<String>,
        /// What may have been in its way.
        conflict: Conflict,
    },
    /// Its first process ended with success, and others of it go on: whether one of them listens on
    /// what is held for it, as far as that can be seen.
    Background(Option<bool>),
    /// Nothing of the generation is left.
    Gone {
        /// Open connections at the moment it was killed.
        cut: usize,
        /// Processes that could not be ended (another user's).
        survivors: Vec<i32>,
    },
}

/// What came back instead of an answer that proves that an app is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// An answer with this status.
    Status(u16),
    /// The first bytes of TLS.
    Tls,
    /// The first bytes of HTTP/2.
    Http2,
    /// Something else.
    Other,
    /// Nothing: the connection was closed.
    Nothing,
}

/// What the system knows of what was in the way of a program that ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conflict {
    /// It had a file open on which live holds a lock: its path.
    pub lock: Option<String>,
    /// It could not bind this address.
    pub taken: Option<Taken>,
    /// It has bound none of the held addresses, and a connection to this one came from a process that
    /// has ended since: it asks whether it runs already.
    pub asked: Option<String>,
}

/// An address that a program could not bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Which.
    pub address: String,
    /// Whose it is.
    pub by: Holder,
}

/// Who has an address.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// A process of live.
    Live,
    /// hotrun itself holds it.
    Hotrun,
    /// Another program: its pid, command and directory, as far as they can be seen.
    Other(String),
}

/// Terse: a diagnostic is a page of text, and events end up in failure messages.
impl fmt::Debug for BuildNews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loaded(scope) => write!(f, "Loaded({} files)", scope.files.len()),
            Self::Inputs(scope) => write!(f, "Inputs({} files)", scope.files.len()),
            Self::Command(line) => write!(f, "Command({line})"),
            Self::Line(line) => write!(f, "Line({line})"),
            Self::Diagnostic { error, .. } => write!(f, "Diagnostic(error: {error})"),
            Self::Progress { done, total } => write!(f, "Progress({done}/{total})"),
            Self::Blocked(on) => write!(f, "Blocked({on:?})"),
            Self::Ended(exit) => write!(f, "Ended({exit})"),
            Self::Done(BuildOutcome::Built { unchanged, .. }) => {
                write!(f, "Done(built, unchanged: {unchanged})")
            }
            Self::Done(BuildOutcome::Failed { reason }) => {
                write!(f, "Done(failed: {})", reason.text)
            }
            Self::Done(BuildOutcome::Cancelled) => write!(f, "Done(cancelled)"),
        }
    }
}
