//! The settings of a session: what was typed and what was written, made one immutable value. The
//! rest of the program sees only [`Settings`].
//!
//! [`layer`] defines every setting; `file`, `variables` and `typed` read one layer each; `resolve`
//! lays them over each other, defaults < file < overlay < environment < command line, and gives them
//! their meaning; `wording` says what is wrong with them, and `reference` writes all of them down.
//! `verification` is what one command is told besides.

mod cargos;
pub mod file;
pub mod layer;
mod manifest;
mod parent;
pub mod reference;
pub mod resolve;
mod typed;
pub mod value;
pub mod variables;
pub mod verification;
mod wording;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use globset::GlobSet;

use crate::session::OnChange;
use crate::session::model::{Handover, Hooks, Reaction};
use crate::sockets::spec::Spec;
use layer::{Effect, Layer};
pub use value::Ready;
pub(crate) use wording::nearest;

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
    /// Old and new version get a socket each, where that can be.
    pub twins: bool,
    /// The longest wait before the old version is asked to end.
    pub quiesce_max: Duration,
    /// New clients wait for the next version while it is built, for as long at the most.
    pub hold: Option<Duration>,
    /// The configuration file, or where one would be looked for first.
    pub file: PathBuf,
    /// What is watched.
    pub watch: Watch,
    /// Commands around the app.
    pub hooks: Hooks,
    /// How long each of them, and a command of a rule, may take.
    pub hook_timeout: Duration,
    /// What is printed.
    pub output: Output,
    /// Build, start, report and end.
    pub once: bool,
    /// What all of this was made of.
    layer: Layer,
}

impl Settings {
    /// The settings with another value, by name, and the farthest-reaching effect of that.
    pub fn changed(&self, other: &Self) -> (Vec<String>, Option<Effect>) {
        let mut changed = self.layer.changed(&other.layer);
        if self.app.from_files != other.app.from_files {
            changed.push(("the environment files".into(), Effect::Restart));
        }
        let effect = changed.iter().map(|(_, effect)| *effect).max();
        (changed.into_iter().map(|(name, _)| name).collect(), effect)
    }
}

/// Cargo's selection flags.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "cargo's flags are bools")]
pub struct Build {
    /// The directory hotrun was started in, which is the app's as well.
    pub dir: PathBuf,
    /// The one that typing `cargo` in that directory would start, by its name or its path.
    pub cargo: OsString,
    /// What cargo and other helpers find in their environment: ours, less what speaks about our
    /// own descriptors or was set by a cargo that started us.
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
    /// Further binaries that are built with it, as the user has named them.
    pub bins: Option<Vec<String>>,
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
    /// `--jobs`.
    pub jobs: Option<String>,
    /// `--keep-going`.
    pub keep_going: bool,
    /// `--timings`.
    pub timings: bool,
    /// `--locked`.
    pub locked: bool,
    /// `--offline`.
    pub offline: bool,
    /// `--frozen`.
    pub frozen: bool,
    /// `--ignore-rust-version`.
    pub ignore_rust_version: bool,
    /// `--config`: `KEY=VALUE`, or a file.
    pub config: Vec<String>,
    /// `-Z`.
    pub unstable: Vec<String>,
    /// Whatever else `cargo build` is told.
    pub args: Vec<String>,
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
    /// Further variables of its environment: those of the environment files among them.
    pub env: Vec<(OsString, OsString)>,
    /// Those of the environment files, for hooks too.
    pub from_files: Vec<(OsString, OsString)>,
    /// What proves that it serves; `None`: the best that can be seen.
    pub ready: Option<Ready>,
    /// How long it may take to get ready.
    pub ready_timeout: Duration,
    /// How long it must live to count as ready where nothing better can be seen.
    pub settle: Duration,
    /// The signal that asks it to end; `None`: the one that it catches.
    pub stop_signal: Option<i32>,
    /// How long it may take to end.
    pub stop_timeout: Duration,
    /// How long it must stay live to count as good.
    pub probation: Duration,
    /// What it listens on by itself is held too.
    pub capture: bool,
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

/// What is watched.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// The quiet period after a save.
    pub debounce: Duration,
    /// Its cap when saves keep coming.
    pub max_wait: Duration,
    /// Look every so often instead of waiting for events.
    pub poll: Option<Duration>,
    /// How often to look where there are no events and `poll` says nothing.
    pub poll_by_itself: Duration,
    /// Further files and directories.
    pub paths: Vec<PathBuf>,
    /// Whole paths that never rebuild.
    pub ignore: GlobSet,
    /// Other reactions than to rebuild; the first rule that matches decides.
    pub rules: Vec<Rule>,
    /// Files that settings are read from, there or not.
    pub config: Vec<PathBuf>,
    /// One of them says something.
    pub configured: bool,
}

/// What changes of some paths lead to.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The whole paths.
    pub paths: GlobSet,
    /// Where they can be.
    pub reaches: Vec<Reach>,
    /// What is done, in order; nothing where they are to be ignored.
    pub reactions: Vec<Reaction>,
}

/// A directory that has to be watched for a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The directory.
    pub root: PathBuf,
    /// How deep below it files can match; 1 is in it, `None` anywhere.
    pub depth: Option<usize>,
}

/// What is printed, where.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// For whom.
    pub format: Format,
    /// Colored.
    pub color: bool,
    /// What a command reports on stdout is.
    pub report_color: bool,
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
