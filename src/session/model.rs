//! The plain data that the session reasons about: generations, artifacts, change sets, and how
//! processes end. Values only; nothing here waits or touches the system.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A point in time, as the span since hotrun started. The core never reads a clock; it is told.
pub type Moment = Duration;

/// The counter of attempts: a change set, its build, its artifact and its process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u32);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}", self.0)
    }
}

/// What kind of input changed, as far as it matters to what must be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// A file of a package.
    Source,
    /// What the user has named as an input: cargo may know nothing of it.
    Named,
    /// A manifest, a lock file, a cargo configuration or a toolchain file: the project model has
    /// to be read again.
    Manifest,
    /// `Cargo.lock`: like a manifest, but cargo writes it itself while it reads the project.
    Lock,
    /// A file that settings are read from.
    Config,
    /// What the rule of this number is for.
    Rule(usize),
}

impl ChangeKind {
    /// A build takes it in.
    pub fn builds(self) -> bool {
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// What an event said about a path's being there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It was made.
    Appeared,
    /// It is there, with other content.
    There,
    /// It was removed, or renamed to something else.
    Vanished,
}

/// One changed path, shown to the user as it is (relative to the workspace where possible).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The path as shown.
    pub path: PathBuf,
    /// What it is an input of.
    pub kind: ChangeKind,
    /// Whether it is there.
    pub presence: Presence,
}

/// What changed since a build last began, for a cargo that may not see it by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// The paths, as they are shown.
    pub paths: BTreeSet<PathBuf>,
    /// Those of them that the user has named as inputs.
    pub named: BTreeSet<PathBuf>,
    /// Events were lost: anything else may have changed as well.
    pub anything: bool,
}

impl Changed {
    /// Adds one change.
    pub fn add(&mut self, change: &Change) {
        self.paths.insert(change.path.clone());
        if change.kind == ChangeKind::Named {
            self.named.insert(change.path.clone());
        }
    }

    /// Adds what changed later.
    pub fn merge(&mut self, later: Self) {
        self.paths.extend(later.paths);
        self.named.extend(later.named);
        self.anything |= later.anything;
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

/// The relevant changes collected since the last build started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeSet {
    /// When its first event came.
    pub first: Moment,
    /// When its last event came.
    pub last: Moment,
    /// Why it is there.
    pub cause: Cause,
    /// Restart even if the program turns out to be the same.
    pub forced: bool,
    /// Start the app again even if there is no new program in the end.
    pub restart: bool,
    /// Paths that were made within this set: if they vanish within it too, they were never there
    /// (the temporary file of a safe write).
    pub made: Vec<PathBuf>,
}

impl ChangeSet {
    /// An empty set for `cause`.
    pub fn new(now: Moment, cause: Cause, forced: bool) -> Self {
        Self {
            first: now,
            last: now,
            cause,
            forced,
            restart: false,
            made: Vec::new(),
        }
    }

    /// Adds a cause that came later; every path is named once, in order.
    pub fn merge(&mut self, now: Moment, cause: Cause, forced: bool) {
        self.last = now;
        self.forced |= forced;
        match (&mut self.cause, cause) {
            (Cause::Changed(paths), Cause::Changed(more)) => {
                for path in more {
                    if !paths.contains(&path) {
                        paths.push(path);
                    }
                }
            }
            (
                known @ (Cause::Changed(_) | Cause::Start),
                wider @ (Cause::Rescan | Cause::Asked),
            ) => {
                *known = wider;
            }
            (known @ Cause::Start, changed @ Cause::Changed(_)) => *known = changed,
            _ => {}
        }
    }

    /// Adds one changed path.
    pub fn add(&mut self, now: Moment, change: Change) {
        let Change { path, presence, .. } = change;
        let mentioned = matches!(&self.cause, Cause::Changed(paths) if paths.contains(&path));
        let made = self.made.iter().position(|made| *made == path);
        match (presence, made) {
            (Presence::Vanished, Some(made)) => {
                self.last = now;
                self.made.swap_remove(made);
                if let Cause::Changed(paths) = &mut self.cause {
                    paths.retain(|known| *known != path);
                }
                return;
            }
            (Presence::Appeared, None) if !mentioned => self.made.push(path.clone()),
            _ => {}
        }
        self.merge(now, Cause::Changed(vec![path]), false);
    }

    /// When nothing more is waited for: after a quiet period, or its cap.
    pub fn quiet_at(&self, debounce: Duration, max_wait: Duration) -> Moment {
        (self.last + debounce).min(self.first + max_wait)
    }

    /// The paths that changed.
    pub fn paths(&self) -> &[PathBuf] {
        match &self.cause {
            Cause::Changed(paths) => paths,
            _ => &[],
        }
    }

    /// Nothing is left of it.
    pub fn is_empty(&self) -> bool {
        !self.forced && matches!(&self.cause, Cause::Changed(paths) if paths.is_empty())
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

/// What the watch room needs to know of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Changed paths are shown relative to this directory.
    pub base: PathBuf,
    /// Directories whose non-ignored files are inputs, with everything below them.
    pub roots: Vec<PathBuf>,
    /// Directories below `roots` that are not (other packages, the target directory).
    pub without: Vec<PathBuf>,
    /// Single files that are inputs wherever they are; they need not exist.
    pub files: Vec<PathBuf>,
    /// What the reader of the project has seen, if it was read.
    pub seen: Option<Seen>,
}

/// What was there when a project was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What was written later was not seen.
    pub at: SystemTime,
    /// The content of `Cargo.lock` afterwards: cargo itself may have written it.
    pub lock: Option<u64>,
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
        reason: String,
    },
    /// It was cancelled and everything it ran has ended.
    Cancelled,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
