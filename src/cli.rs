//! The command line as it is typed. Values are text here; `config::resolve` interprets them, and names
//! the flag in its errors.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgAction, Args as Arguments, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Hot reloader for Rust servers: save a file, and the running server is the new one, without one
/// refused connection.
///
/// Run it in a Cargo project. It builds and starts the app, watches its sources, rebuilds on save and
/// swaps the process. It holds the listening sockets meanwhile, so no client is refused.
#[derive(Clone, Debug, Parser)]
#[command(
    version,
    help_expected = true,
    max_term_width = 100,
    disable_help_subcommand = true,
    override_usage = "hotrun [OPTIONS] [-- APP_ARGS…]"
)]
pub struct Cli {
    /// A command other than the main job.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The main job.
    #[command(flatten)]
    pub args: Args,
}

/// Commands beside the main job.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Write a commented `.reload.toml` for this project, or an editor's files
    ///
    /// The file is written beside the manifest in use. It has what was found in the project, and every
    /// other setting as a comment, with its default or an example. hotrun needs no such file.
    ///
    /// With `--vscode` or `--zed` only the editor's files are written: a task that runs hotrun and, for
    /// VS Code, a configuration that attaches the debugger. If one of the files exists, nothing is written
    /// and the exit code is 2.
    Init(Box<Init>),
    /// Load the app through reloads and report what a client saw
    ///
    /// Runs hotrun with these options, while clients connect, send requests and read answers all the time.
    /// Each reload is a real one: the app's main source file gets a newer time stamp, so that cargo
    /// compiles it. Its content is never changed, and its time stamp is restored at the end.
    ///
    /// The report counts connections that were refused, reset, closed without a whole answer or not
    /// answered within 10 s, and answers of an old generation after one of a newer generation (stale). It
    /// names the slowest answer, and says what to do. Exits with 0 if nothing was lost or stale, else
    /// with 1; and with 2 if nothing but errors is answered at a path that you name.
    Verify(Box<Verify>),
    /// Check what works here, what does not, and how to fix it
    ///
    /// Tries each thing out: capture of the app's addresses, two sockets at one address, the declared
    /// addresses, watching all files the program is made of, the toolchain, the manifest. It starts
    /// nothing, and builds nothing without `--builds`. Exits with 1 if there is something to fix.
    Doctor(Box<Doctor>),
    /// Control a running hotrun from a script, a test, an editor or a coding agent
    ///
    /// Talks to the hotrun of the project in the working directory. After a save, `hotrun ctl wait` returns
    /// when it is live (0) or its build has failed (101).
    Ctl(Ctl),
    /// Print completions for a shell
    ///
    /// For bash: `hotrun completions bash > ~/.local/share/bash-completion/completions/hotrun`. For zsh,
    /// in a directory of its `fpath`: `hotrun completions zsh > ~/.zfunc/_hotrun`. For fish: `hotrun
    /// completions fish > ~/.config/fish/completions/hotrun.fish`.
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    ///
    /// To read it: `hotrun man | man -l -`. To install it, where `man` looks if `~/.cargo/bin` is in
    /// `PATH`: `hotrun man > ~/.cargo/share/man/man1/hotrun.1`.
    Man {
        /// The page of this command
        command: Option<String>,
    },
    /// Print the JSON Schema of `.reload.toml`
    ///
    /// TOML language servers complete and check `.reload.toml` with it, if the first line of that file is
    /// `#:schema PATH|URL`.
    Schema,
}

/// What a shell needs to complete the command line.
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "hotrun", &mut script);
    script
}

/// The manual page of the program, or of one of its commands; `None`: there is no such command.
pub fn manual(name: Option<&str>) -> Option<io::Result<Vec<u8>>> {
    let mut program = Cli::command();
    // The pages of the commands are named after the program.
    program.build();
    let page = match name {
        None => program,
        Some(name) => program.find_subcommand(name)?.clone(),
    };
    let mut text = Vec::new();
    let rendered = clap_mangen::Man::new(page).render(&mut text);
    Some(rendered.map(|()| text))
}

/// The flags that choose the target.
#[derive(Arguments, Clone, Debug, Default)]
pub struct Selection {
    /// Package with the app
    #[arg(short, long, value_name = "SPEC", help_heading = "Target selection")]
    pub package: Option<String>,
    /// Binary to run
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "example",
        help_heading = "Target selection"
    )]
    pub bin: Option<String>,
    /// Example to run
    #[arg(long, value_name = "NAME", help_heading = "Target selection")]
    pub example: Option<String>,
}

impl Selection {
    /// The flags that choose the target, as typed.
    pub fn words(&self) -> Vec<String> {
        let flags = [
            ("--package", &self.package),
            ("--bin", &self.bin),
            ("--example", &self.example),
        ];
        let typed = flags.into_iter().filter_map(|(flag, value)| {
            let value = value.clone()?;
            Some([flag.to_owned(), value])
        });
        typed.flatten().collect()
    }
}

/// The flags about the manifest and its lock file.
#[derive(Arguments, Clone, Debug, Default)]
pub struct Manifest {
    /// Path to Cargo.toml
    #[arg(long, value_name = "PATH", help_heading = "Manifest")]
    pub manifest_path: Option<PathBuf>,
    /// Require that Cargo.lock stays as it is
    #[arg(long, help_heading = "Manifest")]
    pub locked: bool,
    /// Run without accessing the network
    #[arg(long, help_heading = "Manifest")]
    pub offline: bool,
    /// Same as --locked and --offline
    #[arg(long, help_heading = "Manifest")]
    pub frozen: bool,
}

/// Options of `init`.
#[derive(Arguments, Clone, Debug)]
pub struct Init {
    /// Write `.vscode/tasks.json` and `.vscode/launch.json` (for `CodeLLDB`)
    #[arg(long, help_heading = "Editors")]
    pub vscode: bool,
    /// Write `.zed/tasks.json`
    #[arg(long, help_heading = "Editors")]
    pub zed: bool,
    /// The target.
    #[command(flatten)]
    pub selection: Selection,
    /// The manifest.
    #[command(flatten)]
    pub manifest: Manifest,
    /// Configuration file to write; with an editor's flag, to read [default: .reload.toml]
    #[arg(
        long,
        value_name = "FILE",
        value_parser = NonEmptyStringValueParser::new(),
        help_heading = "Session"
    )]
    pub config: Option<String>,
    /// Color: auto, always or never [default: auto]
    #[arg(
        long,
        value_name = "WHEN",
        hide_possible_values = true,
        help_heading = "Output"
    )]
    pub color: Option<Color>,
}

impl Init {
    /// The same as options of the main job.
    pub fn args(&self) -> Args {
        Args {
            selection: self.selection.clone(),
            manifest: self.manifest.clone(),
            config: self.config.iter().cloned().collect(),
            color: self.color,
            ..Args::default()
        }
    }
}

/// Options of `doctor`: those of the main job.
#[derive(Arguments, Clone, Debug)]
#[command(
    override_usage = "hotrun doctor [OPTIONS]",
    mut_args(|arg| match arg.get_id().as_str() {
        "once" | "stdin" | "format" | "verbose" | "quiet" | "events" | "args" => arg.hide(true),
        _ => arg,
    })
)]
pub struct Doctor {
    /// Measure what would make builds faster: builds a copy of the project several times, which takes
    /// minutes
    #[arg(long)]
    pub builds: bool,
    /// Options of the main job.
    #[command(flatten)]
    pub args: Args,
}

/// Options of `verify`.
#[derive(Arguments, Clone, Debug)]
#[command(
    override_usage = "hotrun verify [--reloads N] [OPTIONS] [-- APP_ARGS…]",
    mut_args(|arg| match arg.get_id().as_str() {
        // They have no effect here.
        "once" | "stdin" | "format" | "verbose" => arg.hide(true),
        "events" => arg.help("Write the events of the hotrun under load to this file, one JSON object per event"),
        "quiet" => arg.help("Print less: only the report"),
        _ => arg,
    })
)]
pub struct Verify {
    /// How many reloads [default: 10]
    #[arg(long, value_name = "N", help_heading = "Load")]
    pub reloads: Option<String>,
    /// The path that the clients request [default: /]
    #[arg(long, value_name = "PATH", help_heading = "Load")]
    pub path: Option<String>,
    /// Send requests over TLS, and accept any certificate
    #[arg(long, help_heading = "Load")]
    pub tls: bool,
    /// Open WebSockets at the path and keep them open, instead of sending requests
    ///
    /// A WebSocket that ends is opened again at once. The report says how they ended, and whether a newer
    /// generation serves them. An end is no loss, unless the WebSocket could not be opened again.
    #[arg(long, help_heading = "Load")]
    pub websocket: bool,
    /// Options of the main job.
    #[command(flatten)]
    pub args: Args,
}

impl Verify {
    /// Options of the hotrun under load: those typed, with JSON output.
    pub fn loaded(self) -> Args {
        Args {
            format: Some(Format::Json),
            color: Some(Color::Never),
            ..self.args
        }
    }
}

/// Options of `hotrun ctl`.
#[derive(Arguments, Clone, Debug)]
pub struct Ctl {
    /// Package, if several hotruns run in the workspace
    #[arg(short, long, value_name = "SPEC", global = true)]
    pub package: Option<String>,
    /// Binary or example, if several hotruns run in the workspace
    #[arg(long, value_name = "NAME", global = true)]
    pub bin: Option<String>,
    /// Process id of the hotrun that is meant, wherever it runs
    #[arg(long, value_name = "PID", global = true, conflicts_with_all = ["package", "bin", "manifest_path"])]
    pub pid: Option<u32>,
    /// Path to Cargo.toml of the project [default: the project in the working directory]
    #[arg(long, value_name = "PATH", global = true)]
    pub manifest_path: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// What it is asked for.
    #[command(subcommand)]
    pub asked: Asked,
}

/// What `hotrun ctl` asks for.
#[derive(Clone, Debug, Subcommand)]
pub enum Asked {
    /// Print what hotrun is doing
    Status,
    /// Wait until everything saved before the call is live or has failed
    ///
    /// Exits with 0 if it is live, with 101 if the build failed, and with 1 if the program crashed or was
    /// not ready in time, if hotrun is paused with changes collected, or if hotrun ends. Prints the
    /// compiler's errors, or the last lines of the program. A save just before the call counts.
    Wait {
        /// Give up after this time, like "30s", and exit with 1 [default: none]
        #[arg(long, value_name = "TIME")]
        timeout: Option<String>,
    },
    /// Build and restart, even if nothing changed
    Rebuild,
    /// Restart the newest program without a build
    Restart,
    /// Collect changes without building
    Pause,
    /// End the pause, with one build for what was collected
    Resume,
    /// Open the app in a browser
    Open,
    /// End hotrun and the app, and return when both have ended
    Stop,
    /// Print the last megabyte of the app's output
    Logs {
        /// Only of this generation: 3 or g3
        #[arg(short, long, value_name = "N")]
        generation: Option<String>,
        /// Go on with what the app writes from now on
        #[arg(short, long)]
        follow: bool,
    },
}

/// Options of the main job.
#[derive(Arguments, Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "flags, as typed")]
pub struct Args {
    /// The target.
    #[command(flatten)]
    pub selection: Selection,

    /// Features to activate, separated by spaces or commas
    #[arg(
        short = 'F',
        long,
        value_name = "FEATURES",
        help_heading = "Feature selection"
    )]
    pub features: Vec<String>,
    /// Activate all features
    #[arg(long, help_heading = "Feature selection")]
    pub all_features: bool,
    /// Do not activate the `default` feature
    #[arg(long, help_heading = "Feature selection")]
    pub no_default_features: bool,

    /// Build with the release profile
    #[arg(short, long, conflicts_with = "profile", help_heading = "Compilation")]
    pub release: bool,
    /// Build with this profile
    #[arg(long, value_name = "NAME", help_heading = "Compilation")]
    pub profile: Option<String>,
    /// Build with less debug information and, where possible, without starting cargo
    #[arg(long, help_heading = "Compilation")]
    pub fast: bool,
    /// Build for this target triple
    #[arg(long, value_name = "TRIPLE", help_heading = "Compilation")]
    pub target: Option<String>,
    /// Directory for all build output
    #[arg(long, value_name = "DIR", help_heading = "Compilation")]
    pub target_dir: Option<PathBuf>,
    /// How many compilers run at once
    #[arg(
        short,
        long,
        value_name = "N",
        allow_hyphen_values = true,
        help_heading = "Compilation"
    )]
    pub jobs: Option<String>,
    /// Build as many crates as possible in spite of errors
    #[arg(long, help_heading = "Compilation")]
    pub keep_going: bool,
    /// Have cargo write a report of where each build spent its time
    #[arg(long, help_heading = "Compilation")]
    pub timings: bool,
    /// Unstable flag of cargo (repeatable)
    #[arg(short = 'Z', value_name = "FLAG", help_heading = "Compilation")]
    pub unstable: Vec<String>,

    /// The manifest.
    #[command(flatten)]
    pub manifest: Manifest,
    /// Ignore the packages' `rust-version`
    #[arg(long, help_heading = "Manifest")]
    pub ignore_rust_version: bool,

    /// Address to hold for the app (repeatable)
    ///
    /// `127.0.0.1:3000`, `[::1]:3000`, `0.0.0.0:3000`, `:3000` (loopback, IPv4 and IPv6), `udp:ADDRESS`,
    /// `unix:PATH`, `unix-dgram:PATH`, each optionally named: `NAME=ADDRESS`. For port 0 a free port is
    /// chosen, printed and kept until hotrun ends. The app gets the sockets as in `sd_listen_fds(3)`, in
    /// this order.
    #[arg(short, long, value_name = "ADDR", help_heading = "Sockets")]
    pub listen: Vec<String>,
    /// Hold only declared addresses, not those that the app binds by itself
    #[arg(long, help_heading = "Sockets")]
    pub no_capture: bool,
    /// How a new generation takes over: auto, overlap or stop-first [default: auto]
    ///
    /// `overlap` starts it beside the live generation, `stop-first` stops that first, `auto` is `overlap`
    /// until it turns out that two generations can't run at once.
    #[arg(
        long,
        value_name = "HOW",
        hide_possible_values = true,
        help_heading = "Sockets"
    )]
    pub handover: Option<Handover>,
    /// What new clients get until the next generation is ready: serve (answers of the live one) or hold
    /// (they wait) [default: serve]
    #[arg(
        long,
        value_name = "WHAT",
        hide_possible_values = true,
        help_heading = "Sockets"
    )]
    pub while_building: Option<WhileBuilding>,

    /// How long to wait for more changes in a burst of saves [default: 8ms]
    #[arg(long, value_name = "TIME", help_heading = "Watching")]
    pub debounce: Option<String>,
    /// Poll for changes at this interval instead of waiting for events [default: 1s]
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "1s", help_heading = "Watching")]
    pub poll: Option<String>,
    /// Additional file or directory to rebuild for (repeatable)
    #[arg(short, long, value_name = "PATH", help_heading = "Watching")]
    pub watch: Vec<PathBuf>,
    /// Paths never to rebuild for (repeatable)
    #[arg(short, long, value_name = "GLOB", help_heading = "Watching")]
    pub ignore: Vec<String>,

    /// Configuration file [default: .reload.toml, from the manifest's directory up to the workspace root]
    ///
    /// `KEY=VALUE` is passed to cargo (repeatable), and so is a file with settings that only cargo has,
    /// such as `[profile]`, `[target]`, `[net]` or `build.rustflags`.
    #[arg(
        long,
        value_name = "FILE|KEY=VALUE",
        value_parser = NonEmptyStringValueParser::new(),
        help_heading = "Session"
    )]
    pub config: Vec<String>,
    /// Use the `[env.NAME]` sections of the configuration file over the others
    #[arg(long, value_name = "NAME", help_heading = "Session")]
    pub env: Option<String>,
    /// File of environment variables (`KEY=value` lines) for the app and for hooks (repeatable)
    #[arg(long, value_name = "FILE", help_heading = "Session")]
    pub env_file: Vec<PathBuf>,
    /// Have browsers reload without a line in the app: put the script into its pages on their way
    ///
    /// Hotrun then answers at the app's TCP addresses and passes everything on. Pages that are asked for
    /// on this machine get the script; all else goes byte for byte.
    #[arg(long, conflicts_with = "once", help_heading = "Session")]
    pub inject: bool,
    /// Open the app in a browser when it is live for the first time
    #[arg(long, conflicts_with = "once", help_heading = "Session")]
    pub open: bool,
    /// Build, start, and exit: 0 when the app is ready, 101 when the build fails
    ///
    /// An app that listens on no address runs to its end, and its exit status is passed on.
    #[arg(long, help_heading = "Session")]
    pub once: bool,

    /// What gets hotrun's stdin: none or app [default: none]
    ///
    /// `app`: the newest generation of the app. If hotrun's stdin is a terminal, the app gets a terminal of
    /// its own, and hotrun reads no keys.
    #[arg(
        long,
        value_name = "TO",
        hide_possible_values = true,
        help_heading = "Session"
    )]
    pub stdin: Option<Stdin>,

    /// Output: auto, terminal, plain or json [default: auto]
    #[arg(
        long,
        value_name = "FORMAT",
        hide_possible_values = true,
        help_heading = "Output"
    )]
    pub format: Option<Format>,
    /// Write one JSON object per event to this file (`-`: stdout)
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub events: Option<PathBuf>,
    /// Color: auto, always or never [default: auto]
    #[arg(
        long,
        value_name = "WHEN",
        hide_possible_values = true,
        help_heading = "Output"
    )]
    pub color: Option<Color>,
    /// Clear the terminal before each build
    #[arg(long, help_heading = "Output")]
    pub clear: bool,
    /// Print less: only problems and what is live
    #[arg(short, long, conflicts_with = "verbose", help_heading = "Output")]
    pub quiet: bool,
    /// Print more: every start, end and decision
    #[arg(short, long, action = ArgAction::SetTrue, help_heading = "Output")]
    pub verbose: bool,

    /// Arguments for the app
    #[arg(last = true, value_name = "APP_ARGS")]
    pub args: Vec<OsString>,
}

/// Value of `--handover`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Handover {
    /// Beside live, unless the program can't run beside itself.
    Auto,
    /// Always beside live.
    Overlap,
    /// After live has ended.
    StopFirst,
}

/// Value of `--while-building`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WhileBuilding {
    /// Live serves.
    Serve,
    /// New connections wait for the next generation.
    Hold,
}

/// Value of `--stdin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stdin {
    /// No program.
    None,
    /// The newest generation of the app.
    App,
}

/// Value of `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// `terminal` where stderr is one, else `plain`.
    Auto,
    /// Lines and a status line.
    Terminal,
    /// Lines only, with the markers that editors look for.
    Plain,
    /// One JSON object per line.
    Json,
}

/// Value of `--color`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// By the terminal and `NO_COLOR`, `CLICOLOR`, `CLICOLOR_FORCE`.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
