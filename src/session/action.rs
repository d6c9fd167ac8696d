//! Actions: everything the session asks for, and what it shows.

use std::path::PathBuf;
use std::time::Duration;

use super::command::Client;
use super::event::{Answer, BuildNews, Open, Taken};
use super::model::{
    ArtifactRef, Cause, Changes, Cure, Ending, Exit, Generation, Job, JobId, Line, Occasion,
    Phases, Proof, Scope, Writer,
};
use super::page::Page;
use super::reason::Reason;
use super::slots::{Relay, Slot};
use super::status::Status;

/// One action. The driver carries it out at once and reports back by events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Watch this scope from now on.
    Rewatch(Box<Scope>),
    /// Read the settings anew; answered by `Configured`.
    Reconfigure,
    /// The set of held addresses may have changed; answered by `Addresses`.
    ReadAddresses,
    /// Run a user's command; answered by `JobNews`, ending in `Ended`.
    Run(JobId, Job),
    /// End a user's command with all its processes; answered by `Ended`.
    EndJob(JobId),
    /// Start a build; answered by `BuildNews`, ending in `Done`.
    StartBuild {
        /// The generation.
        generation: Generation,
        /// Read the project model first: a manifest changed, or the model was never read.
        load: bool,
        /// The artifact that the result is compared with, to find out whether the program changed.
        baseline: Option<ArtifactRef>,
        /// What differs from what the last finished build used: cargo, which compares time stamps, may
        /// miss it.
        changed: Changes,
    },
    /// End the build and everything it runs; answered by `Done`.
    CancelBuild(Generation),
    /// Start a process; answered by `AppNews`, ending in `Gone`.
    Launch {
        /// The generation.
        generation: Generation,
        /// What to start.
        artifact: ArtifactRef,
        /// Live, if it keeps serving meanwhile.
        beside: Option<Generation>,
        /// The slot that the process gets.
        slot: Slot,
        /// The slot of live, or of the last live generation: its addresses are expected again.
        serving: Slot,
    },
    /// Look whether a debugger is attached to the generation; answered by `Traced`, and again when a
    /// debugger that was found detaches.
    Look(Generation),
    /// Look whether a process of the generation has one of these files open for writing; answered by
    /// `AppNews::Writes` if one has.
    FindWriter {
        /// The generation.
        generation: Generation,
        /// The files as shown.
        paths: Vec<PathBuf>,
    },
    /// Send this signal to the process group; nothing else changes.
    Signal {
        /// The generation.
        generation: Generation,
        /// The number of the signal.
        number: i32,
    },
    /// Send the stop signal (`stop_signal`) to the process group.
    Stop(Generation),
    /// Kill every process of the generation.
    Kill(Generation),
    /// Make this slot of every address the active one, and repair what apps did to the held sockets. A
    /// running relay ends.
    Activate(Slot),
    /// Relay connections that arrive on the standby slot to the active one; `None`: leave them to the
    /// generation that owns the standby slot.
    Relay(Option<Relay>),
    /// Relay what is queued on this standby slot now to the active one, and nothing that comes later.
    RelayQueued(Slot),
    /// What to do about connections while no generation serves.
    Page(Page),
    /// Open the app in the user's browser.
    OpenBrowser,
    /// The generation is live: release held addresses that overlap the ones it listens on.
    Serving(Generation),
    /// Live has passed its probation: drop its claims on addresses that it has not got open.
    Proved(Generation),
    /// Release held addresses that no generation claims.
    ReleaseUnclaimed,
    /// No process of the generation is left: repair what it did to the held sockets.
    Left {
        /// Which.
        generation: Generation,
        /// The slot it had.
        slot: Slot,
        /// The slot of live, or of the last live generation.
        serving: Slot,
    },
    /// Release the captured and remembered addresses while no generation runs: the program looks whether
    /// they are free before it binds them.
    Free,
    /// New connections don't go to the generation any more: watch its open connections until it is
    /// drained; answered by `Open`.
    Quiesce(Generation),
    /// Remove this artifact: it will not be launched again.
    Discard(ArtifactRef),
    /// Have browsers load these files anew, or whole pages for files that are no stylesheets and images;
    /// empty: whole pages.
    ReloadBrowser(Vec<PathBuf>),
    /// Tell the user.
    Show(View),
    /// Tell this client what hotrun is doing, in answer to its command.
    Answer(Client, Box<Status>),
    /// Reopen the log file by its name.
    ReopenLog,
    /// Stop hotrun itself until it is continued.
    Suspend,
    /// No process is left: leave the loop.
    End(Ending),
}

/// What happens after something went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This generation keeps serving.
    Keeps(Generation),
    /// The same artifact is started again after this back-off.
    Restart(Duration),
    /// Last-good, built by this generation, is started again.
    Rollback(Generation),
    /// The candidate is started once more, with live stopped first.
    Exclusive,
    /// A candidate or a build under way will take over.
    Continue,
    /// Nothing until a file changes.
    Wait,
    /// hotrun ends.
    End,
}

/// The conflict because of which a program is started with live stopped first.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// A line that the candidate wrote before it ended.
    Line(String),
    /// A file on which live holds a lock.
    Lock(String),
    /// An address that live listens on.
    Address(String),
}

/// What the user is told. `ui` turns it into text and decides nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// Changes in a directory are not seen: which, why and the next step.
    Unwatched(Reason),
    /// These settings have new values from now on.
    Configured(Vec<String>),
    /// Why the settings as written can't be used. The last valid ones stay in force.
    Misconfigured(Reason),
    /// A user's command starts.
    JobStarted(Job),
    /// A line that it wrote.
    JobLine(Line),
    /// A user's command failed.
    JobFailed {
        /// What the command was run for.
        occasion: Occasion,
        /// How the command ended.
        reason: Reason,
        /// What happens now.
        next: Next,
    },
    /// Only files changed that nothing depends on.
    NoDependents {
        /// One of the files.
        path: PathBuf,
        /// What the user can do about it.
        cure: Cure,
    },
    /// From now on this counts as the build's or the app's own writing, and starts no build.
    OwnWriting {
        /// A file, or a directory with everything in it.
        path: PathBuf,
        /// The writer.
        writer: Writer,
    },
    /// The build was cancelled, and all its changes are undone since.
    NothingToBuild {
        /// The cancelled build's generation.
        generation: Generation,
        /// What is served now.
        next: Next,
    },
    /// The app was seen to start these binaries, which are built with it from now on.
    Siblings(Vec<String>),
    /// A reaction changes the file that it reacts to, again and again.
    Loop {
        /// Which.
        path: PathBuf,
        /// How long the next reaction to it waits from now on.
        wait: Duration,
    },
    /// A build runs.
    Building {
        /// The generation.
        generation: Generation,
        /// Why.
        cause: Cause,
        /// How long ago it began.
        ago: Duration,
    },
    /// Output of cargo and rustc (never `Loaded`, `Inputs` or `Done`).
    Build(Generation, BuildNews),
    /// Cargo has waited for this lock of another cargo again and again.
    OftenBlocked(String),
    /// So many builds took longer than this, and not by the fast profile.
    SlowBuilds(u32, Duration),
    /// A newer change made the build worthless.
    BuildCancelled {
        /// The generation.
        generation: Generation,
        /// The newer change.
        cause: Cause,
    },
    /// The build failed.
    BuildFailed {
        /// The generation.
        generation: Generation,
        /// One phrase.
        reason: Reason,
        /// How long it took.
        took: Duration,
        /// Why it ran.
        cause: Cause,
        /// What is served meanwhile.
        next: Next,
    },
    /// The build produced the same program as the one that runs.
    Unchanged {
        /// The generation that was built.
        generation: Generation,
        /// The generation that runs it.
        running: Generation,
        /// How long it took.
        took: Duration,
        /// Why it ran.
        cause: Cause,
    },
    /// A process is started.
    Starting {
        /// The generation.
        generation: Generation,
        /// Live, if it keeps serving meanwhile.
        beside: Option<Generation>,
        /// Two generations run side by side for the first time: the line says how to change that.
        first_overlap: bool,
        /// Why.
        cause: Cause,
    },
    /// The process runs.
    Started {
        /// The generation.
        generation: Generation,
        /// Its process id.
        pid: u32,
    },
    /// It was stopped by a signal, or continued.
    Suspended {
        /// The generation.
        generation: Generation,
        /// Stopped, or continued.
        suspended: bool,
    },
    /// Live is not replaced, since a debugger is attached to it.
    Debugged {
        /// Live.
        generation: Generation,
        /// The process that the debugger is attached to.
        pid: i32,
        /// The generation that waits to be launched, if it has a number yet.
        waits: Option<Generation>,
    },
    /// New connections are parked for the next generation.
    Holding {
        /// The generation that would serve them otherwise.
        live: Generation,
        /// How long they wait at most.
        limit: Duration,
    },
    /// Parked connections have waited for `hold.limit` and go to live.
    Released,
    /// A signal is passed on.
    Signalled {
        /// The generation that gets it; `None`: there is neither live nor a candidate.
        generation: Option<Generation>,
        /// The number of the signal.
        number: i32,
        /// Why.
        cause: Cause,
    },
    /// The candidate became live.
    Live {
        /// The generation.
        generation: Generation,
        /// Where the time from the save on went.
        phases: Phases,
        /// How it proved that it is ready.
        proof: Proof,
        /// Why it was started.
        cause: Cause,
    },
    /// An address that the app listens on is not held: why, and what to do.
    Uncaptured(Reason),
    /// The app could not bind an address.
    Taken {
        /// The generation.
        generation: Generation,
        /// The address and its owner.
        taken: Taken,
    },
    /// Connections to these held addresses wait, since no process accepts on them.
    Unclaimed {
        /// The generation that was expected to.
        generation: Generation,
        /// The addresses.
        addresses: Vec<String>,
    },
    /// The candidate was not ready in time and is killed.
    NotReady {
        /// The generation.
        generation: Generation,
        /// How long it was given.
        after: Duration,
        /// The process is stopped by a signal or a debugger.
        suspended: bool,
        /// The last answer to the HTTP readiness probe.
        answer: Option<Answer>,
        /// Why it was started.
        cause: Cause,
        /// What happens now.
        next: Next,
    },
    /// A process ended by itself.
    Ended {
        /// The generation.
        generation: Generation,
        /// The generation was live, not a candidate.
        live: bool,
        /// How.
        exit: Exit,
        /// How long it had run.
        ran: Duration,
        /// The address that it could not bind.
        taken: Option<String>,
        /// What its last lines say that the user can do.
        hint: Option<Hint>,
        /// Why it was started.
        cause: Cause,
        /// What happens now.
        next: Next,
    },
    /// A program without an address ended with success.
    Finished {
        /// The generation.
        generation: Generation,
        /// How long it had run.
        ran: Duration,
        /// It ended at once and without a word, for the first time: it may have read to the end of its
        /// stdin, which is empty.
        silent: bool,
    },
    /// The first process ended with success and left others running.
    Background {
        /// The generation.
        generation: Generation,
        /// The processes left are followed as the app from now on; otherwise it is not known whether one
        /// listens, and the generation is ended.
        followed: bool,
    },
    /// A process could not be started at all.
    CannotStart {
        /// The generation.
        generation: Generation,
        /// What failed, where, and the next step.
        error: Reason,
        /// Why it was started.
        cause: Cause,
        /// What happens now.
        next: Next,
    },
    /// The program is exclusive: live is stopped first from now on, because of this conflict.
    Learned(Evidence),
    /// The old generation got the stop signal.
    Draining {
        /// The generation.
        generation: Generation,
        /// Its open connections at that moment, where they can be read.
        open: Open,
        /// A stream is cut by a switch for the first time.
        first_stream: bool,
    },
    /// The old generation did not finish by itself and was killed.
    Cut {
        /// The generation.
        generation: Generation,
        /// Its open connections at that moment.
        connections: usize,
        /// How long it was given.
        after: Duration,
        /// The next candidate ended the drain, not the time limit.
        for_next: bool,
    },
    /// Processes that hotrun has no permission to end.
    Survivors {
        /// The generation.
        generation: Generation,
        /// Their ids.
        pids: Vec<i32>,
    },
    /// No process of the generation is left. How its main process ended, if that is known.
    Gone(Generation, Option<Exit>),
    /// Changes are collected from now on, and start nothing.
    Paused,
    /// That is over.
    Resumed {
        /// So many changed files were collected.
        collected: usize,
    },
    /// hotrun was asked to end and stops what runs.
    Quitting {
        /// The second request: everything is killed.
        now: bool,
    },
}

/// What a user can do about an early end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// The app binds an address that hotrun holds, instead of taking it over from `LISTEN_FDS`.
    BindsHeld,
    /// The app wants the terminal.
    WantsTerminal,
    /// The app ended with success where a server was expected.
    Succeeded,
    /// The app found no such file, and these binaries of its package are not built.
    NotBuilt(Vec<String>),
    /// The app connects to its own address to find out whether it already runs, and hotrun holds the
    /// address.
    AsksFirst,
}
