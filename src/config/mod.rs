//! The settings of a session: what was typed and what was written, made one immutable value. The
//! rest of the program sees only [`Settings`].

pub mod file;
pub mod resolve;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use globset::GlobSet;
use regex::Regex;

use crate::session::OnChange;
use crate::session::model::Handover;
use crate::sockets::spec::Spec;

/// Everything a session is told by its user.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which target is built, and how.
    pub build: Build,
    /// How the app is started and stopped.
    pub app: App,
    /// The addresses held for it, in the order of their descriptors.
    pub listen: Vec<Spec>,
    /// How a new generation takes over.
    pub handover: Handover,
    /// What is watched.
    pub watch: Watch,
    /// What is printed.
    pub output: Output,
    /// Build, start, report and end.
    pub once: bool,
}

/// Cargo's selection flags.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "cargo's flags are bools")]
pub struct Build {
    /// The directory hotrun was started in, which is the app's as well.
    pub dir: PathBuf,
    /// The cargo that started us, where one did, as cargo's own subcommands do it; else its name.
    pub cargo: OsString,
    /// What cargo and other helpers find in their environment: ours, less what speaks about our
    /// own descriptors.
    pub env: Vec<(OsString, OsString)>,
    /// The manifest in use.
    pub manifest: PathBuf,
    /// It was named by `--manifest-path`, so cargo has to be told.
    pub named_manifest: bool,
    /// `--package`.
    pub package: Option<String>,
    /// `--bin`.
    pub bin: Option<String>,
    /// `--example`.
    pub example: Option<String>,
    /// `--features`.
    pub features: Vec<String>,
    /// `--all-features`.
    pub all_features: bool,
    /// `--no-default-features`.
    pub no_default_features: bool,
    /// `--release`.
    pub release: bool,
    /// `--profile`.
    pub profile: Option<String>,
    /// `--target`.
    pub target: Option<String>,
    /// `--target-dir`.
    pub target_dir: Option<PathBuf>,
    /// What a change does to a running build.
    pub on_change: OnChange,
}

/// How the app is started and stopped.
#[derive(Clone, Debug)]
pub struct App {
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its working directory.
    pub dir: PathBuf,
    /// Further variables of its environment.
    pub env: Vec<(OsString, OsString)>,
    /// What proves that it serves; `None`: the best that can be seen.
    pub ready: Option<Ready>,
    /// How long it may take to get ready.
    pub ready_timeout: Duration,
    /// How long it must live to count as ready where nothing better can be seen.
    pub settle: Duration,
    /// The signal that asks it to end.
    pub stop_signal: i32,
    /// How long it may take to end.
    pub stop_timeout: Duration,
    /// How long it must stay live to count as good.
    pub probation: Duration,
    /// It gets a terminal of its own as stdin, stdout and stderr.
    pub tty: bool,
    /// What it reads.
    pub stdin: Stdin,
}

/// What the app finds on its stdin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stdin {
    /// Nothing: no input reaches it.
    #[default]
    None,
    /// What hotrun is given on its own.
    App,
}

/// A configured proof of readiness.
#[derive(Clone, Debug)]
pub enum Ready {
    /// `READY=1` on `NOTIFY_SOCKET`.
    Notify,
    /// `GET` of this path answers with a status below 400.
    Http(String),
    /// A line of its output matches.
    Log(Regex),
    /// It has lived this long.
    Delay(Duration),
}

/// What is watched.
#[derive(Clone, Debug)]
pub struct Watch {
    /// The quiet period after a save.
    pub debounce: Duration,
    /// Its cap when saves keep coming.
    pub max_wait: Duration,
    /// Look every so often instead of waiting for events.
    pub poll: Option<Duration>,
    /// Further files and directories.
    pub paths: Vec<PathBuf>,
    /// Paths that never rebuild.
    pub ignore: GlobSet,
}

/// What is printed, where.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// For whom.
    pub format: Format,
    /// Colored.
    pub color: bool,
    /// JSON events go to this file; `-` is stdout.
    pub events: Option<PathBuf>,
    /// How much.
    pub verbosity: Verbosity,
    /// What the app writes goes to this file too.
    pub log: Option<PathBuf>,
    /// Where the service manager that started us listens (`NOTIFY_SOCKET`).
    pub supervisor: Option<OsString>,
}

/// For whom is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A person at a terminal.
    Terminal,
    /// A file or an editor.
    #[default]
    Plain,
    /// A program.
    Json,
}

/// How much is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Problems and what is live.
    Quiet,
    /// What happens.
    #[default]
    Normal,
    /// Every start, end and decision.
    Verbose,
}

/// Every default, in one place.
pub mod defaults {
    use std::time::Duration;

    /// `watch.debounce`.
    pub const DEBOUNCE: Duration = Duration::from_millis(8);
    /// `watch.max_wait`.
    pub const MAX_WAIT: Duration = Duration::from_millis(500);
    /// `app.ready_timeout`.
    pub const READY_TIMEOUT: Duration = Duration::from_secs(30);
    /// `app.settle`.
    pub const SETTLE: Duration = Duration::from_millis(300);
    /// `app.stop_signal`.
    pub const STOP_SIGNAL: &str = "TERM";
    /// `app.stop_timeout`.
    pub const STOP_TIMEOUT: Duration = Duration::from_secs(5);
    /// `app.probation`.
    pub const PROBATION: Duration = Duration::from_secs(5);
}
