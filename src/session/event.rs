//! Events: everything the session is told.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::Policy;
use super::command::{Client, Command};
use super::model::{BuildOutcome, Change, Ending, Exit, Generation, JobId, Line, Proof, Scope};
use super::reason::Reason;

/// One event. Messages of builds and apps carry their generation; the session drops stale ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// hotrun is set up; the first build may start.
    Begin,
    /// Files were written, removed, or moved; their contents before and now.
    Changed(Vec<Change>),
    /// The writers of these files, which were reported as changed before, are done.
    Saved(Vec<PathBuf>),
    /// Git is in the middle of an operation.
    GitWorks {
        /// How long ago git did its last step.
        ago: Duration,
    },
    /// Events of the file system were lost: everything may have changed.
    Rescan,
    /// From now on changes are noticed with this delay: none where the system sends events.
    Watching {
        /// The interval at which files are polled.
        lag: Duration,
    },
    /// A directory could not be watched: which, why and the next step.
    Unwatched(Reason),
    /// A build reports something.
    Build(Generation, BuildNews),
    /// A process reports something.
    App(Generation, AppNews),
    /// The connections that are open at a generation that is being quiesced: once at first, and when
    /// they change; `None`: they can't be read.
    Open(Generation, Option<Open>),
    /// The app was seen to start these binaries of its package, which are built with it from now on.
    Siblings(Vec<String>),
    /// The set of held addresses has changed, and this is the policy that goes with the new one.
    Addresses(Box<Policy>),
    /// The settings were read anew; `Err`: what is wrong with them.
    Configured(Result<Box<Reconfigured>, Reason>),
    /// A user's command reports something.
    Job(JobId, JobNews),
    /// A person or a program asks for something; a client gets an answer.
    Command(Command, Option<Client>),
    /// A signal for the app, which hotrun only passes on.
    Signal(i32),
    /// The log file was moved away (log rotation).
    ReopenLog,
    /// Stop for the shell (Ctrl-Z), until this process is continued.
    Suspend,
    /// End: the first time in order, the second time at once.
    Quit(Ending),
    /// The moment at which the session asked to be woken has come.
    Tick,
}

/// Settings that were read anew and hold from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconfigured {
    /// The new policy.
    pub policy: Policy,
    /// The names of the settings whose values changed.
    pub changed: Vec<String>,
    /// What the changes call for.
    pub effect: Effect,
}

/// What changed settings call for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: each applies the next time it is used.
    Nothing,
    /// The app has to be started again.
    Restart,
    /// The project has to be read and built again.
    Rebuild,
}

/// The connections that are open at a generation that is being quiesced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// The app does not handle the stop signal, which ends it at once: requests in flight then are never
    /// answered.
    pub dies: bool,
    /// Connections with a request on its way or not answered yet.
    pub busy: usize,
    /// Streams and `WebSocket`s, which may never end by themselves.
    pub streams: usize,
}

/// What one run of a user's command reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobNews {
    /// A line of its output.
    Line(Line),
    /// The command has ended with all its processes; `Err`: why that is a failure.
    Ended(Result<(), Reason>),
}

/// What one build reports.
#[derive(Clone, PartialEq, Eq)]
pub enum BuildNews {
    /// The project model was read anew; this is what there is to watch.
    Loaded(Box<Scope>),
    /// A finished build's dep-info names more of what the program is made of.
    Inputs(Box<Scope>),
    /// The command that is run, as the user would type it; or, without cargo, for which crates the
    /// compiler is called.
    Command(String),
    /// A line of cargo's own, as rendered.
    Line(Line),
    /// A message of the compiler.
    Diagnostic {
        /// It is an error, so it must be in view at the end.
        error: bool,
        /// It counts as an error or warning: it is not one of rustc's closing remarks.
        counts: bool,
        /// The compiler's own JSON object, of an error that counts.
        detail: Option<Box<str>>,
        /// As rustc renders it, with line ends.
        rendered: Line,
    },
    /// How far the build is.
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
    /// The build is over; none of its processes touches the project any more.
    Done(BuildOutcome),
}

/// What one generation's process reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppNews {
    /// The process runs, with this process id.
    Started(u32),
    /// The process could not be started: what failed, where, and the next step.
    CannotStart(Reason),
    /// It is ready, by this proof.
    Ready(Proof),
    /// The app listens on an address that is held from now on.
    Listening,
    /// An address that the app listens on can't be held: why, and the next step.
    Uncaptured(Reason),
    /// The HTTP readiness probe got this instead of success.
    Answered(Answer),
    /// The app could not bind an address.
    Taken(Taken),
    /// The app is ready, but no process of it listens on these held addresses.
    Unclaimed(Vec<String>),
    /// The process was stopped (SIGSTOP, a debugger), or continued.
    Suspended(bool),
    /// Answers `FindWriter`: a process of the app has these files open for writing.
    Writes(Vec<PathBuf>),
    /// Answers `Look`: the process of the app that a debugger is attached to; `None`: none, or no
    /// longer.
    Traced(Option<i32>),
    /// The generation's main process ended: the first one, or the one that went into the background.
    /// Other processes of the generation may still run.
    Exited {
        /// How the process ended.
        exit: Exit,
        /// The last lines that it wrote to stderr.
        last_lines: Vec<String>,
        /// What is known of a conflict with another process.
        conflict: Conflict,
    },
    /// The first process ended with success, and other processes of the generation go on: whether one of
    /// them listens on a held address; `None`: that can't be seen.
    Background(Option<bool>),
    /// No process of the generation is left.
    Gone {
        /// Open connections at the moment it was killed.
        cut: usize,
        /// Processes that hotrun may not end (another user's).
        survivors: Vec<i32>,
    },
}

/// What a readiness probe over HTTP or HTTPS got instead of an answer that proves readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// An HTTP response with this status.
    Status(u16),
    /// It speaks TLS, and was asked without.
    Tls,
    /// It speaks no TLS, and was asked over TLS.
    Plain,
    /// It speaks HTTP/2 alone.
    Http2,
    /// Other bytes.
    Other,
    /// No byte: the connection was closed.
    Nothing,
}

/// What the kernel knows of a conflict that may have ended a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conflict {
    /// The path of a file that the program had open and that live has locked.
    pub lock: Option<String>,
    /// The address that the program could not bind.
    pub taken: Option<Taken>,
    /// A held address to which a process of the program connected before it ended, while the program
    /// bound none of them: it looked whether another instance already runs.
    pub asked: Option<String>,
}

/// An address that a program could not bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The address.
    pub address: String,
    /// The owner of the address.
    pub by: Holder,
}

/// The owner of an address.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// A process of live.
    Live,
    /// hotrun itself listens there.
    Hotrun,
    /// hotrun was told to hold this address, which overlaps with it.
    Held(String),
    /// Another program: its pid, command and directory, as far as they can be read.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_is_no_page_of_text_in_a_failure_message() {
        let news = BuildNews::Diagnostic {
            error: true,
            counts: true,
            detail: Some("{}".into()),
            rendered: "error: a page of text".into(),
        };
        assert_eq!(format!("{news:?}"), "Diagnostic(error: true)");
    }
}
