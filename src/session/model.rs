//! The plain data that the session reasons about: generations, artifacts, change sets, and how
//! processes end. Values only; nothing here waits or touches the system.

mod changes;
mod line;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::reason::Reason;
use super::seen::Seen;
pub use changes::{Changed, Changes};
pub use line::Line;

/// A point in time, as the span since hotrun started. The core never reads a clock; it is told.
pub type Moment = Duration;

/// The counter of attempts: a change set, its build, its artifact and its process.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Generation(pub u32);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}", self.0)
    }
}

/// What a changed path is to the program, as far as it decides what must be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The program is made of this file.
    Source,
    /// The user has named this path as a source (`--watch`, `[watch] paths`): cargo may not know it.
    Named,
    /// A manifest, a lock file, a cargo configuration or a toolchain file: the project model has
    /// to be read again.
    Manifest,
    /// `Cargo.lock`: like a manifest, but cargo writes it itself while it reads the project.
    Lock,
    /// A guess: cargo looks at this file only because the package's build script declares nothing.
    Guess,
    /// An environment file that the app reads itself when it starts.
    Env,
    /// A file that settings are read from.
    Config,
    /// A path of the `[[on]]` rule with this number.
    Rule(usize),
    /// Nothing depends on this file, though it looks like an input.
    Rest(Cure),
}

impl ChangeKind {
    /// A change of this kind may start a build.
    pub fn builds(self) -> bool {
        self.is_source() || self == Self::Guess
    }

    /// The program is known to be made of this file, so no change of it may be missed.
    pub fn is_source(self) -> bool {
        matches!(
            self,
            Self::Source | Self::Named | Self::Manifest | Self::Lock
        )
    }

    /// The project model has to be read again.
    pub fn reloads(self) -> bool {
        matches!(self, Self::Manifest | Self::Lock)
    }
}

/// What a user can do for a file that looks like an input and that nothing depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cure {
    /// The app reads the file when it starts: `[[on]]` with `do = "restart"`.
    Restart,
    /// The crate of this name compiles the file in: cargo has to be told.
    CompiledIn(&'static str),
}

/// What was found at a path when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Content {
    /// The path does not exist.
    Missing,
    /// An empty file, which many editors leave for a moment.
    Empty,
    /// A file with this digest.
    Digest(u64),
    /// The path exists and can't be read.
    Unreadable,
}

impl Content {
    /// An editor may leave the path in this state for a moment, in the middle of a save.
    pub fn is_transitional(self) -> bool {
        matches!(self, Self::Missing | Self::Empty)
    }
}

/// The user's commands around the app, each a program and its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Run before cargo is started.
    pub before_build: Option<Vec<String>>,
    /// Run before a generation is started.
    pub before_start: Option<Vec<String>>,
    /// Run when a generation has become live.
    pub after_live: Option<Vec<String>>,
    /// Run when a build or a generation has failed.
    pub on_error: Option<Vec<String>>,
}

/// One run of a user's command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u32);

/// What a user's command is run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// `hooks.before_build`
    BeforeBuild,
    /// `hooks.before_start`
    BeforeStart,
    /// `hooks.after_live`
    AfterLive,
    /// `hooks.on_error`
    OnError,
    /// `run:` of a rule.
    #[serde(rename = "run")]
    Rule,
}

impl Occasion {
    /// A build or a launch waits for the end of this command.
    pub fn is_waited_for(self) -> bool {
        matches!(self, Self::BeforeBuild | Self::BeforeStart)
    }
}

impl fmt::Display for Occasion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeforeBuild => "before_build",
            Self::BeforeStart => "before_start",
            Self::AfterLive => "after_live",
            Self::OnError => "on_error",
            Self::Rule => "run",
        })
    }
}

/// A user's command, and what it gets in its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What the command is run for.
    pub occasion: Occasion,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The generation that the command is run for, if it has a number yet.
    pub generation: Option<Generation>,
    /// What has failed, for `on_error`.
    pub error: Option<String>,
}

/// A reaction to a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Build, and start the app again if it changed.
    Rebuild,
    /// Start the same program again.
    Restart,
    /// Send this signal to the live app.
    Signal(i32),
    /// Run a program with its arguments.
    Run(Vec<String>),
    /// Have browsers load the changed files anew.
    ReloadBrowser,
}

/// How far the save of a changed file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Save {
    /// The file was closed after writing, or renamed into place.
    Finished,
    /// The file was written to and not closed since.
    Open,
    /// It is finished, and git held its lock meanwhile: what the file has been in between is not known.
    ByGit,
    /// Nothing says whether more is written.
    Unknown,
}

/// A changed path, as it is shown to the user (relative to the workspace where possible).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The path as shown.
    pub path: PathBuf,
    /// What the path is to the program.
    pub kind: ChangeKind,
    /// The content at the last check before this one; `None`: there is none that can be relied on.
    pub before: Option<Content>,
    /// The content now.
    pub now: Content,
    /// What is known of the writer.
    pub save: Save,
    /// If a build script of its package was running when it was written: for how long.
    pub script: Option<Duration>,
}

impl Change {
    /// It has the content that it had before.
    pub fn is_same(&self) -> bool {
        self.now != Content::Unreadable && self.before == Some(self.now)
    }

    /// It has the content that it had before, and may have had another one in between.
    pub fn was_away(&self) -> bool {
        self.save == Save::ByGit && self.is_same()
    }
}

/// Why a build or a generation runs, as one phrase in every line about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// hotrun was started.
    Start,
    /// Files changed: the paths in order of their first event.
    Changed(Vec<PathBuf>),
    /// So much changed at once that the system lost count (queue overflow).
    Rescan,
    /// The user asked for it.
    Asked,
    /// A setting has another value.
    Configured,
    /// The app was seen to start this binary, which was not built with it until now.
    Sibling(String),
    /// The generation named died and is started again.
    Died(Generation),
    /// The generation named failed and last-good takes its place.
    Rollback(Generation),
    /// The generation named could not run beside live and is started once more with live stopped first.
    Exclusive(Generation),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("first start"),
            Self::Changed(paths) => match paths.as_slice() {
                [] => f.write_str("change"),
                [one] => write!(f, "{}", one.display()),
                [one, two] => write!(f, "{}, {}", one.display(), two.display()),
                [one, rest @ ..] => write!(f, "{} and {} more", one.display(), rest.len()),
            },
            Self::Rescan => f.write_str("many changes at once"),
            Self::Asked => f.write_str("asked for"),
            Self::Configured => f.write_str("configuration"),
            Self::Sibling(name) => write!(f, "the app starts `{name}`"),
            Self::Died(generation) => write!(f, "{generation} died"),
            Self::Rollback(generation) => write!(f, "rollback from {generation}"),
            Self::Exclusive(generation) => write!(f, "{generation} could not run beside live"),
        }
    }
}

/// What a process is started with, so that it gets what `cargo run` would give it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The whole environment under `cargo run`.
    pub env: Vec<(OsString, OsString)>,
    /// The `argv[0]` under `cargo run`.
    pub argv0: OsString,
    /// The runner of cargo's configuration with its arguments; empty where there is none.
    pub runner: Vec<OsString>,
}

/// An executable that a build produced, with the siblings and shared objects of the workspace that it
/// starts and loads: pinned, so that no later build can touch it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The generation whose build made it; this identifies the artifact.
    pub built_by: Generation,
    /// The executable.
    pub path: PathBuf,
    /// The directory of the pinned files.
    pub dir: PathBuf,
    /// The pinned files, relative to `dir`.
    pub files: BTreeSet<PathBuf>,
    /// Other binaries of the package, which were not built.
    pub absent: Vec<String>,
    /// `files` has shared objects, which the program is to load from `dir`.
    pub libraries: bool,
    /// What the executable is started with.
    pub surroundings: Surroundings,
}

/// Artifacts travel through events and actions by reference.
pub type ArtifactRef = Arc<Artifact>;

/// What is built and run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its package.
    pub package: String,
    /// The binary or example.
    pub target: String,
    /// The file that it begins in.
    pub source: PathBuf,
    /// The profile that it is built with.
    pub profile: String,
    /// The platform that it is built for, if one was named (`--target`).
    pub platform: Option<String>,
    /// The file that remembers its addresses for the next run.
    pub memory: PathBuf,
}

/// What there is to watch of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Changed paths are shown relative to this directory.
    pub base: PathBuf,
    /// Single files that the program is made of, wherever they are; they need not exist.
    pub files: Vec<PathBuf>,
    /// Directories that the program is made of, with everything below them.
    pub dirs: Vec<PathBuf>,
    /// The directories of the packages that the program is made of.
    pub packages: Vec<PathBuf>,
    /// There is no dep-info yet, or the last build failed: every Rust file and manifest below `packages`
    /// counts.
    pub open: bool,
    /// Directories of packages whose every file is a guess: their build scripts declare nothing.
    pub guesses: Vec<PathBuf>,
    /// Directories below the ones above that don't count (other packages, the target directory).
    pub without: Vec<PathBuf>,
    /// Files that the app may read its environment from.
    pub env: Vec<PathBuf>,
    /// The names of the crates that the program depends on.
    pub crates: Arc<BTreeSet<String>>,
    /// The build scripts of `packages`.
    pub scripts: Vec<Script>,
    /// When all this was read, if it was.
    pub seen: Option<Seen>,
    /// What is built from now on, where the project was read anew for that.
    pub program: Option<Program>,
}

/// A build script, whose runs are known from what cargo records about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The directory of its package.
    pub package: PathBuf,
    /// The name of its package.
    pub name: String,
    /// The directory in which cargo keeps the records of its runs.
    pub records: PathBuf,
}

/// What writes files beside the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Writer {
    /// Cargo and what it runs.
    Build,
    /// The app, while a generation starts.
    Start,
    /// The app, while it serves.
    App,
}

/// How a build ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildOutcome {
    /// There is an executable.
    Built {
        /// What to launch.
        artifact: ArtifactRef,
        /// The program is the same as the baseline it was compared with.
        unchanged: bool,
        /// Warnings of the compiler.
        warnings: u32,
    },
    /// There is no executable; the diagnostics were streamed before.
    Failed {
        /// One phrase: "2 errors", "cargo not found", …
        reason: Reason,
    },
    /// The build was cancelled, and all its processes have ended.
    Cancelled,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// By itself, with this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
    /// Unknown: its keeper was killed.
    Unknown,
}

impl Exit {
    /// It ended by itself with status 0.
    pub fn success(self) -> bool {
        self == Self::Status(0)
    }
}

/// How a candidate proved that it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// It said `READY=1` (`sd_notify(3)`).
    Notified,
    /// It answered the HTTP check.
    Answered,
    /// It was seen accepting on a held address.
    Accepting,
    /// It printed the awaited line.
    Printed,
    /// It stayed alive for `settle`; no better proof can be had.
    Alive,
}

/// How a new generation takes over from live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handover {
    /// Beside live, unless live is known to be in the way.
    #[default]
    Auto,
    /// Always beside live.
    Overlap,
    /// Live is stopped before the candidate starts.
    StopFirst,
}

impl fmt::Display for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Overlap => "overlap",
            Self::StopFirst => "stop-first",
        })
    }
}

/// Where the time between a save and its first answer went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// First event of the change set to the start of the build.
    pub detect: Option<Duration>,
    /// Start of the build to the pinned artifact.
    pub build: Option<Duration>,
    /// The user's commands before the build and before the start.
    pub hooks: Option<Duration>,
    /// Artifact to launch: the wait for the old generation or for a back-off.
    pub swap: Duration,
    /// Launch to readiness.
    pub start: Duration,
}

impl Phases {
    /// The sum of all phases.
    pub fn total(&self) -> Duration {
        let some = [self.detect, self.build, self.hooks].into_iter().flatten();
        some.sum::<Duration>() + self.swap + self.start
    }
}

/// Why hotrun ends; `exit.rs` turns it into an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A key or a control request.
    Quit,
    /// This signal.
    Signal(i32),
    /// `--once`: the app became ready.
    Ready,
    /// `--once`: the app was not ready in time.
    NotReady,
    /// `--once`: the app ended by itself; `serving` = an address was held for it.
    AppEnded {
        /// How it ended.
        exit: Exit,
        /// An address was held for it, so an end is a failure whatever its status.
        serving: bool,
    },
    /// `--once`: the build failed.
    BuildFailed,
    /// `--once`: the program could not be started.
    CannotStart,
}

#[cfg(test)]
mod tests;
