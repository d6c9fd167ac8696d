//! The plain data that the session reasons about: generations, artifacts, change sets, and how
//! processes end. Values only; nothing here waits or touches the system.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::reason::Reason;

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

/// What a changed path is to the program, as far as it matters to what must be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The program is made of it.
    Source,
    /// The user has named it as a source: cargo may know nothing of it.
    Named,
    /// A manifest, a lock file, a cargo configuration or a toolchain file: the project model has
    /// to be read again.
    Manifest,
    /// `Cargo.lock`: like a manifest, but cargo writes it itself while it reads the project.
    Lock,
    /// Cargo would look at it and nobody has said that it matters: a file of a package whose build
    /// script declares nothing.
    Guess,
    /// An environment file that the app reads itself when it starts.
    Env,
    /// A file that settings are read from.
    Config,
    /// What the rule of this number is for.
    Rule(usize),
    /// Nothing depends on it, though it looks as if something should.
    Rest(Cure),
}

impl ChangeKind {
    /// A build takes it in.
    pub fn builds(self) -> bool {
        self.is_source() || self == Self::Guess
    }

    /// The program is known to be made of it, so no change of it may be missed.
    pub fn is_source(self) -> bool {
        matches!(
            self,
            Self::Source | Self::Named | Self::Manifest | Self::Lock
        )
    }

    /// The project has to be read again.
    pub fn reloads(self) -> bool {
        matches!(self, Self::Manifest | Self::Lock)
    }
}

/// What a user can do for a file that looks like an input and that nothing depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cure {
    /// The app reads it when it starts: `[[on]]` with `do = "restart"`.
    Restart,
    /// It is compiled in, by the crate of this name: cargo has to be told.
    CompiledIn(&'static str),
}

/// What a look at a path found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Content {
    /// Nothing is there.
    Missing,
    /// A file without a byte, which many editors leave for a moment.
    Empty,
    /// Bytes with this digest.
    Digest(u64),
    /// Something is there that can't be read.
    Unreadable,
}

impl Content {
    /// It may be what an editor leaves for a moment in the middle of a save.
    pub fn is_transitional(self) -> bool {
        matches!(self, Self::Missing | Self::Empty)
    }
}

/// The user's commands around the app, each a program and its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Before cargo is started.
    pub before_build: Option<Vec<String>>,
    /// Before a program is started.
    pub before_start: Option<Vec<String>>,
    /// When a generation has become live.
    pub after_live: Option<Vec<String>>,
    /// When a build or a generation has failed.
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
    /// A build or a start waits for its end.
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

/// A user's command, and what it is told in its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What it is run for.
    pub occasion: Occasion,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The generation it is about, if there is one yet.
    pub generation: Option<Generation>,
    /// What has failed.
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
}

/// A path about which the system has said something, shown to the user as it is (relative to the
/// workspace where possible).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The path as shown.
    pub path: PathBuf,
    /// What it is to the program.
    pub kind: ChangeKind,
    /// What the last look before this one found; `None`: there was none that can be relied on.
    pub before: Option<Content>,
    /// What is there now.
    pub now: Content,
    /// It was written while a build script of its package ran: so long after that began.
    pub script: Option<Duration>,
}

impl Change {
    /// It is there with the bytes that it had before.
    pub fn is_same(&self) -> bool {
        self.now != Content::Unreadable && self.before == Some(self.now)
    }
}

/// Why something runs, as one phrase in every line about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// hotrun was started.
    Start,
    /// Files changed: the paths in order of their first event.
    Changed(Vec<PathBuf>),
    /// So much changed at once that the system lost count (queue overflow).
    Rescan,
    /// Somebody asked for it.
    Asked,
    /// A setting has another value.
    Configured,
    /// The app starts this binary too, of which nobody knew.
    Sibling(String),
    /// The generation named died and is started again.
    Died(Generation),
    /// The generation named failed and the last good program takes its place.
    Rollback(Generation),
    /// The generation named could not run beside live and is tried alone.
    Alone(Generation),
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
            Self::Alone(generation) => write!(f, "{generation} could not run beside live"),
        }
    }
}

/// Paths that have other content than something last used, in the order of their first events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(Vec<Changed>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// As it is shown.
    pub path: PathBuf,
    /// What it is to the program.
    pub kind: ChangeKind,
    /// What was used; `None`: nobody knows.
    pub used: Option<Content>,
    /// What is there now.
    pub now: Content,
}

impl Changed {
    /// What is there now is not what was used, as far as anybody knows.
    pub fn differs(&self) -> bool {
        self.now == Content::Unreadable || self.used != Some(self.now)
    }
}

impl Changes {
    /// Takes in one change. What is back to what was used is none any more.
    pub fn add(&mut self, change: &Change) {
        let known = self.0.iter_mut().find(|known| known.path == change.path);
        match known {
            Some(known) => {
                known.now = change.now;
                known.kind = change.kind;
            }
            None => self.0.push(Changed {
                path: change.path.clone(),
                kind: change.kind,
                used: change.before,
                now: change.now,
            }),
        }
        self.0.retain(Changed::differs);
    }

    /// Puts what changed `later` on top: what was used counts as of here.
    pub fn extend(&mut self, later: Self) {
        for more in later.0 {
            match self.0.iter_mut().find(|known| known.path == more.path) {
                Some(known) => {
                    known.now = more.now;
                    known.kind = more.kind;
                }
                None => self.0.push(more),
            }
        }
        self.0.retain(Changed::differs);
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Changed> {
        self.0.iter()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Leaves out those that `keep` refuses.
    pub fn retain(&mut self, keep: impl FnMut(&Changed) -> bool) {
        self.0.retain(keep);
    }

    /// Their paths.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.0.iter().map(|changed| changed.path.clone()).collect()
    }

    /// This path is one of them.
    pub fn get(&self, path: &Path) -> Option<&Changed> {
        self.0.iter().find(|changed| changed.path == path)
    }
}

/// What a process is started with, so that it finds what `cargo run` would give it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The whole environment under `cargo run`.
    pub env: Vec<(OsString, OsString)>,
    /// The `argv[0]` under `cargo run`.
    pub argv0: OsString,
    /// The runner of cargo's configuration with its arguments; empty where there is none.
    pub runner: Vec<OsString>,
}

/// An executable that a build produced, with all of the workspace that it starts and loads: pinned
/// so that no later build can touch it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The generation whose build made it; also its identity.
    pub built_by: Generation,
    /// The executable.
    pub path: PathBuf,
    /// The directory of all that is pinned.
    pub dir: PathBuf,
    /// What is pinned, relative to that.
    pub files: BTreeSet<PathBuf>,
    /// Other binaries of the package, which nobody has built.
    pub absent: Vec<String>,
    /// Shared objects are among them, which the program is to load from there.
    pub libraries: bool,
    /// What it is started with.
    pub surroundings: Surroundings,
}

/// Artifacts travel through events and actions by reference.
pub type ArtifactRef = Arc<Artifact>;

/// What has to be known to watch of a project.
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
    /// Nobody has said yet what the program is made of, or what was said has failed: every Rust
    /// file and manifest below `packages` counts.
    pub open: bool,
    /// Directories of packages of which cargo looks at every file.
    pub guesses: Vec<PathBuf>,
    /// Directories below those above that are not (other packages, the target directory).
    pub without: Vec<PathBuf>,
    /// Files that the app may read its environment from.
    pub env: Vec<PathBuf>,
    /// The names of the crates that the program depends on.
    pub crates: Arc<BTreeSet<String>>,
    /// The build scripts of `packages`.
    pub scripts: Vec<Script>,
    /// What was seen of all this, if anything was.
    pub seen: Option<Seen>,
}

/// What was there when a project was read or built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What was written from then on may not have been seen; in the time of the file system.
    pub at: SystemTime,
    /// The content of `Cargo.lock` afterwards: cargo itself may have written it.
    pub lock: Option<Content>,
}

/// A build script, whose runs can be told by what cargo writes about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The directory of its package.
    pub package: PathBuf,
    /// The name of its package.
    pub name: String,
    /// The directory in which cargo keeps a directory for each.
    pub records: PathBuf,
}

/// What writes a file beside people.
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
    /// There is none; the diagnostics were streamed before.
    Failed {
        /// One phrase: "2 errors", "cargo not found", …
        reason: Reason,
    },
    /// It was cancelled and everything it ran has ended.
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
    /// Nobody saw how (its keeper was killed).
    Unknown,
}

impl Exit {
    /// It ended by itself with status 0.
    pub fn success(self) -> bool {
        self == Self::Status(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(code) => write!(f, "exit status {code}"),
            Self::Signal(number) => match signal_name(*number) {
                Some(name) => write!(f, "signal {number} ({name})"),
                None => write!(f, "signal {number}"),
            },
            Self::Unknown => f.write_str("unknown exit status"),
        }
    }
}

/// The name of a signal. The numbers are those that are equal on every Unix (POSIX, `kill -l`), and
/// Linux's SIGBUS and SIGUSR1 and 2.
pub fn signal_name(number: i32) -> Option<&'static str> {
    Some(match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        _ => return None,
    })
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
    /// It stayed alive for a while; nothing better can be seen.
    Alive,
}

/// How live was handed over, or why it is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handover {
    /// Beside live where that works, else alone.
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
    /// Artifact to launch: the old generation, or the back-off, had to be waited for.
    pub swap: Duration,
    /// Launch to readiness.
    pub start: Duration,
}

impl Phases {
    /// All of them.
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
