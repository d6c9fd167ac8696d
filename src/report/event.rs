//! Everything that is told, as one type. `docs/events.md` is generated from its names, types and comments.

use serde::{Deserialize, Serialize};

use super::values::{AnyPath, Cure, HeldAddress, Millis, Next, Phases, Severity};
use crate::lines::Stream;
use crate::session::action::Evidence;
use crate::session::event::{Answer, Holder};
use crate::session::model::{Exit, Generation, Occasion, Proof, Writer};

/// Something that is told. In JSON the name of the variant is `event`, in kebab case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    // # The run
    /// The project was read: this is what hotrun runs. Where a manifest is broken at the start, it comes with
    /// the first build that can read it; and again where an edit chooses another program.
    Session {
        /// The package.
        package: String,
        /// The binary or example.
        target: String,
        /// The root of the workspace.
        workspace: AnyPath,
        /// The file that the target begins in.
        source: AnyPath,
        /// hotrun's own process id.
        pid: u32,
        /// hotrun's version.
        hotrun: String,
    },
    /// The user was asked for a target at the terminal, in this run or an earlier one.
    Chosen {
        /// The package.
        package: String,
        /// The binary or example.
        target: String,
        /// In an earlier run.
        before: bool,
        /// How to choose another.
        hint: Option<String>,
    },
    /// These addresses are held; from now on no connection to them is refused. Again when an edit
    /// changes them, or the app listens on others.
    Held {
        /// All of them, none when the last one was released: in the order of the descriptors that the
        /// app gets, inherited ones first, then as declared; what it has bound by itself comes last.
        sockets: Vec<HeldAddress>,
    },
    /// Something is not as it should be.
    Warning {
        /// What, and why.
        text: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A line of cargo.
    Cargo {
        /// The generation that is built, if it is a line of a build.
        generation: Option<Generation>,
        /// As rendered.
        line: String,
    },
    /// Cargo waits for another cargo's lock, or goes on.
    Blocked {
        /// The generation that is built; null: the project is read.
        generation: Option<Generation>,
        /// On what, and which process holds it; null: it goes on.
        on: Option<String>,
    },
    /// The LiveReload server listens on another port than the configured one, which is taken.
    Livereload {
        /// Its port.
        port: u16,
        /// The configured one.
        taken: u16,
    },
    /// Changes are collected from now on, and start nothing.
    Paused,
    /// That is over.
    Resumed {
        /// So many changed files were collected.
        collected: usize,
    },
    /// hotrun was asked to end and stops what runs.
    Quitting {
        /// It was asked again: everything is killed.
        at_once: bool,
    },

    // # Configuration and commands
    /// An edit gave settings other values, which hold now. What the change calls for follows as a build
    /// or a process with the cause `configuration`; new addresses come with another `held` before.
    Configured {
        /// `SECTION.KEY`, a section that is a list (`listen`, `on`), or `the environment files`.
        changed: Vec<String>,
    },
    /// An edit can't be used; the last good settings stay.
    Misconfigured {
        /// Where, and why.
        text: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A command of the user is started.
    Job {
        /// What it is run for.
        occasion: Occasion,
        /// The program and its arguments.
        command: Vec<String>,
        /// The one it is about, if there is one yet.
        generation: Option<Generation>,
    },
    /// A command of the user wrote a line.
    JobOutput {
        /// Without its end.
        line: String,
    },
    /// A command of the user failed, or took too long.
    JobFailed {
        /// What it was run for.
        occasion: Occasion,
        /// How it ended.
        reason: String,
        /// What to do.
        hint: Option<String>,
        /// What happens now.
        next: Next,
    },
    /// A file that looks like an input was saved, and nothing is built from it.
    NoDependents {
        /// One of them.
        path: AnyPath,
        /// What it is likely to be for.
        cure: Cure,
        /// What to do.
        hint: Option<String>,
    },
    /// The file, or all that is in the directory, is not written by people: it starts no build from now
    /// on.
    OwnWriting {
        /// The file or directory.
        path: AnyPath,
        /// What writes it.
        writer: Writer,
        /// What to do.
        hint: Option<String>,
    },
    /// All that a cancelled build was for is again as it was before.
    NothingToBuild {
        /// The cancelled one.
        generation: Generation,
        /// What is served.
        next: Next,
    },
    /// A rule changes what it is for; from now on its reaction waits.
    Loop {
        /// What it changes.
        path: AnyPath,
        /// How long at first.
        wait_ms: Millis,
        /// What to do.
        hint: Option<String>,
    },

    /// So many builds took longer than this; told once, and never with the fast profile.
    SlowBuilds {
        /// How many.
        count: u32,
        /// The time that each took at least.
        limit_ms: Millis,
        /// What would help.
        hint: Option<String>,
    },

    // # A build
    /// A build runs. One that was begun at the first sight of a save is told once no more saves of the
    /// same burst can cancel it.
    Building {
        /// The generation that is built.
        generation: Generation,
        /// How long ago it began, in milliseconds.
        ago_ms: Millis,
        /// Why, for people.
        cause: String,
        /// The files that changed, in the order of their first events; none where the cause is another.
        paths: Vec<AnyPath>,
        /// It was asked for: the app is started again even if the program is the same.
        asked: bool,
    },
    /// The command that builds.
    Command {
        /// The generation that is built.
        generation: Generation,
        /// As one would type it; or, without cargo, for which crates the compiler is called.
        command: String,
    },
    /// How far cargo is, in units of work.
    Progress {
        /// The generation that is built.
        generation: Generation,
        /// Finished ones.
        done: u32,
        /// All of them.
        total: u32,
    },
    /// A message of the compiler.
    Diagnostic {
        /// The generation that is built.
        generation: Generation,
        /// Whether it is an error.
        level: Severity,
        /// As rustc renders it, with line ends.
        rendered: String,
    },
    /// The app was seen to start these binaries of its package from beside its own executable: they are
    /// built with it from now on.
    Siblings {
        /// Their names.
        names: Vec<String>,
        /// What to do.
        hint: Option<String>,
    },
    /// Cargo ended.
    BuildEnded {
        /// The generation that is built.
        generation: Generation,
        /// How.
        exit: Exit,
    },
    /// A newer change made the build worthless.
    Cancelled {
        /// The generation that was built.
        generation: Generation,
        /// The newer change, for people.
        cause: String,
        /// The files of that, in the order of their first events.
        paths: Vec<AnyPath>,
    },
    /// There is no new program.
    BuildFailed {
        /// The generation that is built.
        generation: Generation,
        /// One phrase.
        reason: String,
        /// What to do.
        hint: Option<String>,
        /// How long the build took.
        took_ms: Millis,
        /// Why it was started, for people.
        cause: String,
        /// What happens now.
        next: Next,
    },
    /// The build produced the very program that runs.
    Unchanged {
        /// The generation that is built.
        generation: Generation,
        /// The one that runs it.
        running: Generation,
        /// How long the build took.
        took_ms: Millis,
        /// Why it was started, for people.
        cause: String,
    },

    // # A process
    /// A process is started.
    Starting {
        /// The generation of the process.
        generation: Generation,
        /// The one that serves meanwhile.
        beside: Option<Generation>,
        /// Why, for people.
        cause: String,
        /// What to do against it: the first time that two run side by side.
        hint: Option<String>,
    },
    /// A process runs.
    Started {
        /// The generation of the process.
        generation: Generation,
        /// Its process id.
        pid: u32,
    },
    /// A first process ended with success and left others.
    Background {
        /// The generation of the processes.
        generation: Generation,
        /// They are the program from now on, else they end with it.
        followed: bool,
        /// What to do.
        hint: Option<String>,
    },
    /// A process was stopped by a signal or a debugger, or continued.
    Suspended {
        /// The generation of the process.
        generation: Generation,
        /// Stopped, or going on.
        suspended: bool,
    },
    /// The candidate became live: it serves.
    Live {
        /// The candidate.
        generation: Generation,
        /// From the first event of its change set until now.
        total_ms: Millis,
        /// Where that time went.
        phases: Phases,
        /// How it proved itself.
        proof: Proof,
        /// Why it was started, for people.
        cause: String,
    },
    /// Live has a debugger, and is not replaced before that is gone.
    Debugged {
        /// Live.
        generation: Generation,
        /// The process that has a debugger.
        pid: i32,
        /// What waits for its place, if it has a number yet.
        waits: Option<Generation>,
        /// What to do.
        hint: Option<String>,
    },
    /// A signal is for the app.
    Signalled {
        /// Live, which it was sent to; null: no app is live, and it was not sent.
        generation: Option<Generation>,
        /// Its number.
        signal: i32,
        /// Why, for people.
        cause: String,
    },
    /// What the app listens on by itself can't be held.
    Uncaptured {
        /// What, and why.
        text: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The app serves, but neither accepts nor receives on these held addresses.
    Unclaimed {
        /// Live.
        generation: Generation,
        /// Where its clients wait.
        addresses: Vec<String>,
        /// What to do.
        hint: Option<String>,
    },
    /// The candidate was not ready in time and is killed.
    NotReady {
        /// The candidate.
        generation: Generation,
        /// How long was waited.
        after_ms: Millis,
        /// It is stopped by a signal or a debugger.
        suspended: bool,
        /// The last one to `ready = "http:…"` or `"https:…"`, if one came.
        answer: Option<Answer>,
        /// What was awaited, and what came instead.
        reason: Option<String>,
        /// What to do.
        hint: Option<String>,
        /// Why it was started, for people.
        cause: String,
        /// What happens now.
        next: Next,
    },
    /// The app could not bind an address.
    AddressInUse {
        /// The generation of the process.
        generation: Generation,
        /// The address.
        address: String,
        /// What listens there.
        holder: Holder,
        /// What to do.
        hint: Option<String>,
    },
    /// A process ended that was not asked to.
    Ended {
        /// The generation of the process.
        generation: Generation,
        /// It was live, not a candidate.
        live: bool,
        /// How.
        exit: Exit,
        /// How long it had run.
        ran_ms: Millis,
        /// The address that it could not bind.
        in_use: Option<String>,
        /// What to do.
        hint: Option<String>,
        /// Why it was started, for people.
        cause: String,
        /// What happens now.
        next: Next,
    },
    /// A program without an address did its work.
    Finished {
        /// The generation of the process.
        generation: Generation,
        /// How long it had run.
        ran_ms: Millis,
        /// What to do, if it may have expected something.
        hint: Option<String>,
        /// What happens now.
        next: Next,
    },
    /// The system refused to start a process.
    CannotStart {
        /// The generation of the process.
        generation: Generation,
        /// What and where.
        error: String,
        /// What to do.
        hint: Option<String>,
        /// Why it was started, for people.
        cause: String,
        /// What happens now.
        next: Next,
    },
    /// From now on live is stopped before the next one starts: this program can't run beside itself.
    Learned {
        /// What showed it.
        because: Evidence,
    },
    /// New clients wait for the next version.
    Holding {
        /// The one that serves those it has.
        live: Generation,
        /// For how long at most.
        limit_ms: Millis,
    },
    /// New clients have waited for as long as they may, and go to live.
    Released {
        /// What to do.
        hint: Option<String>,
    },
    /// The old generation was asked to finish: at the switch to the next one, or when nothing was under
    /// way at its connections any more.
    Draining {
        /// The old generation.
        generation: Generation,
        /// Connections at that moment on which something was on its way, or not answered.
        unanswered: usize,
        /// Open event streams and web sockets.
        streams: usize,
        /// The stop signal ends it at once, and with it what it has not answered.
        dies: bool,
        /// What to do: the first time that a stream ends with it.
        hint: Option<String>,
    },
    /// The old generation did not finish by itself and was ended.
    Cut {
        /// The old generation.
        generation: Generation,
        /// Its open connections at that moment.
        connections: usize,
        /// How long it was given.
        after_ms: Millis,
        /// The next candidate needed its place.
        for_next: bool,
    },
    /// Processes that hotrun may not end.
    Survivors {
        /// The generation of the processes.
        generation: Generation,
        /// Their process ids.
        pids: Vec<i32>,
    },
    /// Nothing of the generation is left.
    Gone {
        /// The generation.
        generation: Generation,
        /// How its first process ended, if that was seen.
        exit: Option<Exit>,
    },
    /// Browsers were told to reload: live is new to them, or a rule says so. Not told where none is
    /// connected.
    Reloaded {
        /// How many.
        browsers: usize,
        /// The files that they load anew; none for a new live generation.
        paths: Vec<AnyPath>,
    },
    /// The app wrote a line. With `--format json` only, and without `ms`.
    Output {
        /// The generation of the process.
        generation: Generation,
        /// Where.
        stream: Stream,
        /// Without its end, and with `�` for what is no UTF-8.
        line: String,
    },

    // # End
    /// One that this reader does not know, or not in this form.
    #[serde(other)]
    Unknown,
}

impl Event {
    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Warning { hint, .. }
            | Self::Chosen { hint, .. }
            | Self::Misconfigured { hint, .. }
            | Self::JobFailed { hint, .. }
            | Self::NoDependents { hint, .. }
            | Self::OwnWriting { hint, .. }
            | Self::Loop { hint, .. }
            | Self::SlowBuilds { hint, .. }
            | Self::Siblings { hint, .. }
            | Self::BuildFailed { hint, .. }
            | Self::Starting { hint, .. }
            | Self::Background { hint, .. }
            | Self::Debugged { hint, .. }
            | Self::Uncaptured { hint, .. }
            | Self::Unclaimed { hint, .. }
            | Self::NotReady { hint, .. }
            | Self::AddressInUse { hint, .. }
            | Self::Ended { hint, .. }
            | Self::Finished { hint, .. }
            | Self::CannotStart { hint, .. }
            | Self::Released { hint, .. }
            | Self::Draining { hint, .. } => hint.as_deref(),
            _ => None,
        }
    }
}
