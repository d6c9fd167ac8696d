//! What to do: everything the session asks for, and what it shows.

use std::path::PathBuf;
use std::time::Duration;

use super::event::{Answer, BuildNews, Open, Taken};
use super::model::{
    ArtifactRef, Cause, Changes, Cure, Ending, Exit, Generation, Job, JobId, Occasion, Phases,
    Proof, Scope, Writer,
};
use super::reason::Reason;
use super::slots::{Relay, Slot};

/// One thing to do. The driver carries it out at once and reports back by events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Watch what the project is made of now.
    Rewatch(Box<Scope>),
    /// Read the settings anew; answered by `Configured`.
    Reconfigure,
    /// Other addresses may be held than before; answered by `Addresses`.
    ReadAddresses,
    /// Run a user's command; answered by `JobNews`, ending in `Ended`.
    Run(JobId, Job),
    /// End it and what it runs; answered by `Ended`.
    EndJob(JobId),
    /// Start a build; answered by `BuildNews`, ending in `Done`.
    StartBuild {
        /// Whose.
        generation: Generation,
        /// Read the project model first: a manifest changed, or it was never read.
        load: bool,
        /// What the result is compared with to find out whether the program changed.
        baseline: Option<ArtifactRef>,
        /// What differs from what the last finished one used, for a cargo that may not see it.
        changed: Changes,
    },
    /// End the build and everything it runs; answered by `Done`.
    CancelBuild(Generation),
    /// Start a process; answered by `AppNews`, ending in `Gone`.
    Launch {
        /// Whose.
        generation: Generation,
        /// What to start.
        artifact: ArtifactRef,
        /// The generation that serves meanwhile, in whose way it might get.
        beside: Option<Generation>,
        /// Its sockets.
        slot: Slot,
        /// Those of the generation that serves, or served last: its addresses are wanted again.
        serving: Slot,
    },
    /// Look whether a debugger has attached to it; answered by `Traced`, and told of again when
    /// that changes for as long as there is one.
    Look(Generation),
    /// Look whether one of its processes has one of these files open for writing; answered by
    /// `AppNews::Writes` where one has.
    FindWriter {
        /// Whose.
        generation: Generation,
        /// The files, as they are shown.
        paths: Vec<PathBuf>,
    },
    /// Send this signal to its process group; nothing else changes.
    Signal {
        /// Whose.
        generation: Generation,
        /// The number of the signal.
        number: i32,
    },
    /// Ask the process to end (`stop_signal` to its group).
    Stop(Generation),
    /// End everything of the generation now.
    Kill(Generation),
    /// New connections go to this slot of every address from now on, and what apps did to the held
    /// sockets is put right. A relay that runs ends.
    Activate(Slot),
    /// What comes to the slot that is not active is carried to the active one; `None`: it is left to
    /// the generation that has it.
    Relay(Option<Relay>),
    /// It is live: addresses that are in the way of those it listens on give way.
    Serving(Generation),
    /// It has stayed live for long enough to have opened all that it wants: what it has not got open
    /// it claims no longer.
    Proved(Generation),
    /// What is held and no generation claims is released.
    ReleaseUnclaimed,
    /// Nothing of it is left: what it did to the held sockets is put right.
    Left {
        /// Which.
        generation: Generation,
        /// What it had.
        slot: Slot,
        /// The slot of the generation that serves, or served last.
        serving: Slot,
    },
    /// What is held for a program that does not run is not held any more: it looks whether it is free.
    Free,
    /// Clients are not sent to it any more: find out what is open there, until nothing is under way;
    /// answered by `Open`.
    Quiesce(Generation),
    /// Nothing will ask for this artifact again.
    Discard(ArtifactRef),
    /// Tell the user.
    Show(View),
    /// Go on in a log file of the same name.
    ReopenLog,
    /// Stop this very process, until it is continued.
    Suspend,
    /// Nothing runs any more: leave the loop.
    End(Ending),
}

/// What happens after something went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This generation keeps serving.
    Keeps(Generation),
    /// The same program is started again after this back-off.
    Restart(Duration),
    /// The last good program, built by this generation, is started again.
    Rollback(Generation),
    /// It is tried once more, with live stopped first.
    Alone,
    /// A candidate or a build under way will take over.
    Continue,
    /// Nothing until a file changes.
    Wait,
    /// hotrun ends.
    End,
}

/// Why a program is started with live stopped first.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// A line it wrote before it ended.
    Line(String),
    /// A file that live has locked.
    Lock(String),
    /// An address that live has.
    Address(String),
}

/// What the user is told. `ui` turns it into text and decides nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// Changes in a directory are not seen: which, and why.
    Unwatched(Reason),
    /// Settings have another value from now on.
    Configured(Vec<String>),
    /// The settings as they are written now can't be used: why. The last good ones stay.
    Misconfigured(Reason),
    /// A user's command starts.
    JobStarted(Job),
    /// A line that it wrote.
    JobLine(String),
    /// It did not end well.
    JobFailed {
        /// What it was run for.
        occasion: Occasion,
        /// How it ended.
        reason: Reason,
        /// What happens now.
        next: Next,
    },
    /// Only files changed on which no program depends.
    NobodyDepends {
        /// One of them.
        path: PathBuf,
        /// What to do for it.
        cure: Cure,
    },
    /// From now on this is taken for what the build or the app writes itself, and starts no build.
    OwnWriting {
        /// A file, or a directory with everything in it.
        path: PathBuf,
        /// What writes it.
        writer: Writer,
    },
    /// Everything that a cancelled build was for is again as it was before.
    NothingToBuild {
        /// The cancelled one.
        generation: Generation,
        /// What is served.
        next: Next,
    },
    /// The app was seen to start these binaries, which are built with it from now on.
    Siblings(Vec<String>),
    /// A reaction changes what it reacts to, again and again.
    Loop {
        /// Which.
        path: PathBuf,
        /// How long is waited from now on before it is built for.
        wait: Duration,
    },
    /// A build starts.
    Building {
        /// Whose.
        generation: Generation,
        /// Why.
        cause: Cause,
    },
    /// What cargo and rustc say meanwhile (never `Loaded`, `Inputs` or `Done`).
    Build(Generation, BuildNews),
    /// A newer change made the build worthless.
    BuildCancelled {
        /// Whose.
        generation: Generation,
        /// The newer change.
        cause: Cause,
    },
    /// The build failed.
    BuildFailed {
        /// Whose.
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
    /// The build produced the very program that runs.
    Unchanged {
        /// Whose build.
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
        /// Whose.
        generation: Generation,
        /// Who serves meanwhile; the first time with the hint how to change it.
        beside: Option<Generation>,
        /// This is the first time that two run side by side.
        first_overlap: bool,
        /// Why.
        cause: Cause,
    },
    /// The process runs.
    Started {
        /// Whose.
        generation: Generation,
        /// Its process id.
        pid: u32,
    },
    /// It was stopped by a signal, or continued.
    Suspended {
        /// Whose.
        generation: Generation,
        /// Stopped, or going on.
        suspended: bool,
    },
    /// Live is not replaced, since somebody looks into it.
    Debugged {
        /// Live.
        generation: Generation,
        /// The process that has a debugger.
        pid: i32,
        /// What waits for its place, if it has a number yet.
        waits: Option<Generation>,
    },
    /// New clients wait for the next version.
    Holding {
        /// Who would serve them.
        live: Generation,
        /// For how long at the most.
        limit: Duration,
    },
    /// They have waited for as long as they may, and go to live.
    Released,
    /// A signal is passed on.
    Signalled {
        /// To whom; nobody is live.
        generation: Option<Generation>,
        /// The number of the signal.
        number: i32,
        /// Why.
        cause: Cause,
    },
    /// The candidate became live.
    Live {
        /// Whose.
        generation: Generation,
        /// Where the time went.
        phases: Phases,
        /// How it proved itself.
        proof: Proof,
        /// Why it was started.
        cause: Cause,
    },
    /// What the app listens on is not held: why.
    Uncaptured(Reason),
    /// The app could not bind an address.
    Taken {
        /// Whose.
        generation: Generation,
        /// Which, and who has it.
        taken: Taken,
    },
    /// Clients of these held addresses wait, since nobody accepts on them.
    Unclaimed {
        /// Who could.
        generation: Generation,
        /// The addresses.
        addresses: Vec<String>,
    },
    /// The candidate was not ready in time and is killed.
    NotReady {
        /// Whose.
        generation: Generation,
        /// How long was waited.
        after: Duration,
        /// It is stopped by a signal or a debugger.
        suspended: bool,
        /// What it has answered last, where it was asked.
        answer: Option<Answer>,
        /// What happens now.
        next: Next,
    },
    /// A process ended that was not asked to.
    Ended {
        /// Whose.
        generation: Generation,
        /// It was live, not a candidate.
        live: bool,
        /// How.
        exit: Exit,
        /// How long it had run.
        ran: Duration,
        /// It could not bind this address.
        taken: Option<String>,
        /// What can be read from its last lines.
        hint: Option<Hint>,
        /// What happens now.
        next: Next,
    },
    /// A program without an address did its work.
    Finished {
        /// Whose.
        generation: Generation,
        /// How long it had run.
        ran: Duration,
    },
    /// A first process ended with success and left others, which are the program from now on, or
    /// which can't be told from what is of no use.
    Background {
        /// Whose.
        generation: Generation,
        /// They are.
        followed: bool,
    },
    /// A process could not be started at all.
    CannotStart {
        /// Whose.
        generation: Generation,
        /// What and where.
        error: Reason,
        /// What happens now.
        next: Next,
    },
    /// From now on live is stopped first, because of this.
    Learned(Evidence),
    /// The old generation was asked to finish.
    Draining {
        /// Whose.
        generation: Generation,
        /// What was open there at that moment, where that was looked at.
        open: Open,
        /// This is the first time that a stream ends with it.
        first_stream: bool,
    },
    /// The old generation did not finish by itself and was ended.
    Cut {
        /// Whose.
        generation: Generation,
        /// Its open connections at that moment.
        connections: usize,
        /// How long it was given.
        after: Duration,
        /// The next candidate ended it, not the time limit.
        for_next: bool,
    },
    /// Processes that hotrun is not allowed to end.
    Survivors {
        /// Whose.
        generation: Generation,
        /// Their ids.
        pids: Vec<i32>,
    },
    /// Nothing of the generation is left. How its first process ended, if anybody saw it.
    Gone(Generation, Option<Exit>),
    /// hotrun was asked to end and stops what runs.
    Quitting {
        /// It was asked again: everything is killed.
        now: bool,
    },
}

/// What a user can do about an early end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// It binds an address that hotrun holds instead of taking it over.
    BindsHeld,
    /// It wants the terminal.
    WantsTerminal,
    /// It found no such file, and these binaries of its package are not built.
    NotBuilt(Vec<String>),
    /// It asks by a connection whether it runs already, and hotrun holds the address.
    AsksFirst,
}
