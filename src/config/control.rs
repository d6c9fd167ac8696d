//! What `hotrun ctl` is asked for, by its command line.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::output::colored;
use super::resolve::working_dir;
use super::typed;
use super::value::Time;
use crate::cli::{self, Asked};
use crate::exit::Failure;
use crate::session::command::Command;
use crate::session::model::Generation;

/// What is asked, and of which run.
#[derive(Clone, Debug)]
pub struct Control {
    /// What is asked.
    pub ask: Ask,
    /// A directory of the project, without links.
    pub dir: PathBuf,
    /// The package, where the project has several runs.
    pub package: Option<String>,
    /// The binary or example, likewise.
    pub target: Option<String>,
    /// The process id of the run that is meant, whatever else is said.
    pub pid: Option<u32>,
    /// What was typed behind `hotrun ctl` to ask for it, without what chooses a run.
    pub words: String,
    /// The answer is printed as a JSON object.
    pub json: bool,
    /// It is colored.
    pub color: bool,
}

/// What a running hotrun is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A command, and how long the answer is waited for; `None`: as long as it takes.
    Command(Command, Option<Duration>),
    /// What the app has written.
    Logs {
        /// Of this generation alone.
        generation: Option<Generation>,
        /// And what it will write.
        follow: bool,
    },
}

impl Control {
    /// From the command line.
    pub fn of(ctl: &cli::Ctl) -> Result<Self, Failure> {
        let ask = match &ctl.asked {
            Asked::Status => Ask::Command(Command::Status, None),
            Asked::Wait { timeout } => {
                let timeout: Option<Time> = typed::read("--timeout", timeout.as_ref())?;
                Ask::Command(Command::Wait, timeout.map(|Time(time)| time))
            }
            Asked::Rebuild => Ask::Command(Command::Rebuild, None),
            Asked::Restart => Ask::Command(Command::Restart, None),
            Asked::Pause => Ask::Command(Command::Pause, None),
            Asked::Resume => Ask::Command(Command::Resume, None),
            Asked::Open => Ask::Command(Command::Open, None),
            Asked::Stop => Ask::Command(Command::Stop, None),
            Asked::Logs { generation, follow } => Ask::Logs {
                generation: generation.as_deref().map(generation_of).transpose()?,
                follow: *follow,
            },
        };
        let terminal = io::stdout().is_terminal();
        Ok(Self {
            ask,
            dir: dir(ctl.manifest_path.as_deref())?,
            package: ctl.package.clone(),
            target: ctl.bin.clone(),
            pid: ctl.pid,
            words: words(ctl),
            json: ctl.json,
            color: !ctl.json && colored(cli::Color::Auto, terminal),
        })
    }
}

/// The command with its options, to be typed again.
fn words(ctl: &cli::Ctl) -> String {
    let (name, options) = match &ctl.asked {
        Asked::Status => ("status", String::new()),
        Asked::Wait { timeout } => {
            let timeout = timeout.iter().map(|time| format!(" --timeout {time}"));
            ("wait", timeout.collect())
        }
        Asked::Rebuild => ("rebuild", String::new()),
        Asked::Restart => ("restart", String::new()),
        Asked::Pause => ("pause", String::new()),
        Asked::Resume => ("resume", String::new()),
        Asked::Open => ("open", String::new()),
        Asked::Stop => ("stop", String::new()),
        Asked::Logs { generation, follow } => {
            let generation = generation.iter().map(|one| format!(" --generation {one}"));
            let follow = follow.then(|| " --follow".to_owned());
            ("logs", generation.chain(follow).collect())
        }
    };
    let json = if ctl.json { " --json" } else { "" };
    format!("{name}{options}{json}")
}

/// `3` or `g3`.
fn generation_of(text: &str) -> Result<Generation, Failure> {
    let number = text.strip_prefix('g').unwrap_or(text);
    number.parse().map(Generation).map_err(|_| {
        Failure::usage(format!("--generation: `{text}` is no generation"))
            .hint("write 3 or g3, as in `g3 live in 800 ms`")
    })
}

/// The directory of the manifest, or the working directory.
fn dir(manifest: Option<&Path>) -> Result<PathBuf, Failure> {
    let dir = match manifest {
        None => Ok(working_dir()?),
        Some(path) if path.is_dir() => Ok(path.to_owned()),
        Some(path) => Ok(match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
            _ => PathBuf::from("."),
        }),
    };
    let shown = manifest.map_or_else(|| ".".into(), |path| path.display().to_string());
    dir.and_then(dunce::canonicalize).map_err(|error| {
        Failure::usage(format!("--manifest-path: `{shown}`: {error}"))
            .hint("name the Cargo.toml of the project, or stand in one of its directories")
    })
}
