//! The settings of a session: the command line, the environment and the files, made one immutable value.
//! The rest of the program sees only [`Settings`].
//!
//! [`layer`] defines every setting; `file`, `variables` and `typed` read one layer each; `resolve` lays
//! them over each other, defaults < file < overlay < environment < command line, and makes the settings
//! from them; `wording` words the errors, `reference` writes the documentation and `schema` what editors
//! check the file by. `verification` has the further settings of `hotrun verify`.

pub mod browser;
mod cargos;
pub mod chosen;
pub mod control;
pub mod file;
pub mod layer;
mod manifest;
mod output;
mod parent;
pub mod reference;
pub mod resolve;
pub mod schema;
pub mod screen;
mod typed;
pub mod value;
pub mod variables;
pub mod verification;
mod wording;

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use globset::GlobSet;

use crate::session::OnChange;
use crate::session::model::{Handover, Hooks, Reaction};
use crate::sockets::spec::Spec;
use crate::sockets::steering::Steering;
pub use browser::Browser;
use layer::{Effect, Layer};
pub use screen::Screen;
pub use value::{Question, Ready};
pub(crate) use wording::nearest;

/// All settings of a session.
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
    /// How clients are sent to one version alone.
    pub steering: Steering,
    /// The longest wait for the old generation to be drained before it gets the stop signal.
    pub quiesce_max: Duration,
    /// New connections are parked for the next generation while it is built, for at most this long.
    pub hold: Option<Duration>,
    /// The configuration file, or the first path at which one would be looked for.
    pub file: PathBuf,
    /// What is watched.
    pub watch: Watch,
    /// Commands around the app.
    pub hooks: Hooks,
    /// How long each hook, and each command of a rule, may take.
    pub hook_timeout: Duration,
    /// What is printed.
    pub output: Output,
    /// What browsers get.
    pub browser: Browser,
    /// Build, start, report and end.
    pub once: bool,
    /// The merged layers that this was made from.
    layer: Layer,
}

impl Settings {
    /// The settings whose values differ, by name, and the farthest-reaching effect.
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
    /// The directory in which hotrun was started, which is also the app's by default.
    pub dir: PathBuf,
    /// The cargo that typing `cargo` in that directory would start, by its name or its path.
    pub cargo: OsString,
    /// The environment of cargo and other helpers: hotrun's own, without variables about its descriptors
    /// and without those set by a cargo that started it.
    pub env: Vec<(OsString, OsString)>,
    /// The manifest in use.
    pub manifest: PathBuf,
    /// It was named by `--manifest-path`, so cargo gets that flag too.
    pub named_manifest: bool,
    /// `--package`.
    pub package: Option<String>,
    /// `--bin`.
    pub bin: Option<String>,
    /// `--example`.
    pub example: Option<String>,
    /// Siblings that are built with the program, if the user has named them.
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
    /// With less debug information, in a profile of its own that inherits the chosen one.
    pub fast: bool,
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
    /// Further arguments for `cargo build`.
    pub args: Vec<String>,
    /// What a change does to a running build.
    pub on_change: OnChange,
}

impl Build {
    /// The name of the profile that cargo builds with.
    pub fn profile(&self) -> Cow<'_, str> {
        let chosen = self.chosen_profile();
        if self.fast {
            return format!("fast-{chosen}").into();
        }
        chosen.into()
    }

    /// The name of the user's profile.
    pub fn chosen_profile(&self) -> &str {
        let by_default = if self.release { "release" } else { "dev" };
        self.profile.as_deref().unwrap_or(by_default)
    }
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
    /// The variables of the environment files, which hooks get too.
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
    /// Addresses that it binds by itself are captured.
    pub capture: bool,
    /// It gets a terminal of its own as stdin, stdout and stderr.
    pub tty: bool,
    /// Its stdin.
    pub stdin: Stdin,
}

/// The app's stdin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stdin {
    /// Nothing: no input reaches it.
    #[default]
    None,
    /// Hotrun's own stdin.
    App,
}

/// What is watched.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// The quiet period after a save.
    pub debounce: Duration,
    /// Its cap when saves keep coming.
    pub max_wait: Duration,
    /// Poll at this interval instead of using native events.
    pub poll: Option<Duration>,
    /// The interval of polling where there are no native events and `poll` is not set.
    pub poll_by_itself: Duration,
    /// Further files and directories.
    pub paths: Vec<PathBuf>,
    /// Whole paths that never rebuild.
    pub ignore: GlobSet,
    /// Other reactions than to rebuild; the first rule that matches decides.
    pub rules: Vec<Rule>,
    /// Files that settings are read from, whether they exist or not.
    pub config: Vec<PathBuf>,
    /// One of these files has a setting.
    pub configured: bool,
}

/// A rule: the reactions to changes of some paths.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The whole paths.
    pub paths: GlobSet,
    /// The directories in which they can be.
    pub reaches: Vec<Reach>,
    /// The reactions, in order; empty: changes of these paths are ignored.
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
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches, as the user sets them"
)]
pub struct Output {
    /// The kind of reader.
    pub format: Format,
    /// Colored.
    pub color: bool,
    /// What a command reports on stdout is colored.
    pub report_color: bool,
    /// JSON events go to this file; `-` is stdout.
    pub events: Option<PathBuf>,
    /// How much is printed.
    pub verbosity: Verbosity,
    /// The app's output is also written to this file.
    pub log: Option<PathBuf>,
    /// What the terminal can show.
    pub screen: Screen,
    /// Keys are read from stdin.
    pub keys: bool,
    /// The screen is cleared before each build.
    pub clear: bool,
    /// The socket of the service manager that started hotrun (`NOTIFY_SOCKET`).
    pub supervisor: Option<OsString>,
}

/// The kind of reader that output is printed for.
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
