//! `.reload.toml` as it is written: sections, keys and their types. Unknown keys are errors that
//! name the place and the nearest known key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::exit::Failure;

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct File {
    /// What is built and how.
    pub build: Build,
    /// How the app is started and stopped.
    pub app: App,
    /// Addresses held for it.
    pub listen: Vec<Listen>,
    /// How a new generation takes over.
    pub handover: Handover,
    /// What is watched.
    pub watch: Watch,
    /// Where else the app's output goes.
    pub log: Log,
}

/// `[build]`: cargo's selection flags under cargo's names.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Build {
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
    /// `--target-dir`, from the directory of the file.
    pub target_dir: Option<PathBuf>,
    /// `cancel` or `queue`: what a change does to a running build.
    pub on_change: Option<OnChange>,
}

/// `[app]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct App {
    /// Its arguments, unless some are given on the command line.
    pub args: Vec<String>,
    /// Its working directory, from the directory of the file.
    pub dir: Option<PathBuf>,
    /// Further variables of its environment.
    pub env: BTreeMap<String, String>,
    /// `notify`, `http:/path`, `log:REGEX` or `delay:TIME`.
    pub ready: Option<String>,
    /// How long it may take to get ready.
    pub ready_timeout: Option<String>,
    /// How long it must live to count as ready where nothing better can be seen.
    pub settle: Option<String>,
    /// The signal that asks it to end.
    pub stop_signal: Option<String>,
    /// How long it may take to end.
    pub stop_timeout: Option<String>,
    /// How long it must stay live to count as good.
    pub probation: Option<String>,
    /// It gets a terminal of its own.
    pub tty: bool,
}

/// `[[listen]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// The address, as after `--listen`.
    pub address: String,
    /// Its name in `LISTEN_FDNAMES`.
    pub name: Option<String>,
    /// Whether accept on it returns at once (tokio needs that); false for blocking servers.
    #[serde(default = "yes")]
    pub nonblocking: bool,
}

fn yes() -> bool {
    true
}

/// `[handover]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Handover {
    /// `auto`, `overlap` or `stop-first`.
    pub mode: Option<Mode>,
}

/// Value of `handover.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Beside live where that works.
    Auto,
    /// Always beside live.
    Overlap,
    /// Live is stopped first.
    StopFirst,
}

/// Value of `build.on-change`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnChange {
    /// End it and start anew.
    Cancel,
    /// Let it end first.
    Queue,
}

/// `[watch]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Watch {
    /// The quiet period after a save.
    pub debounce: Option<String>,
    /// Its cap when saves keep coming.
    pub max_wait: Option<String>,
    /// Look every so often instead of waiting for events.
    pub poll: Option<String>,
    /// Further files and directories, from the directory of the file.
    pub paths: Vec<PathBuf>,
    /// Paths that never rebuild.
    pub ignore: Vec<String>,
}

/// `[log]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// What the app writes is appended to it, from the directory of the configuration file.
    pub file: Option<PathBuf>,
}

/// Reads `text` as the configuration file `path`.
pub fn parse(path: &Path, text: &str) -> Result<File, Failure> {
    toml::from_str(text).map_err(|error| {
        let (line, column) = error
            .span()
            .map_or((1, 1), |span| position(text, span.start));
        let message = error.message();
        let place = format!("{}:{line}:{column}", path.display());
        let failure = Failure::usage(format!("{place}: {message}"));
        match nearest(message) {
            Some(key) => failure.hint(format!("did you mean `{key}`?")),
            None => failure.hint("every section and key is in `hotrun`'s README"),
        }
    })
}

/// Line and column, from 1, of a byte.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    (line, column)
}

/// The known name nearest to the unknown one. Both stand in serde's message, between backticks,
/// the unknown one first.
fn nearest(message: &str) -> Option<&str> {
    if !message.starts_with("unknown ") {
        return None;
    }
    let mut names = message.split('`').skip(1).step_by(2);
    let unknown = names.next()?;
    names
        .map(|known| (strsim::damerau_levenshtein(unknown, known), known))
        .filter(|(distance, known)| *distance <= known.len().div_ceil(2))
        .min()
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(text: &str, expected: &str) {
        let failure = parse(Path::new(".reload.toml"), text).unwrap_err();
        assert_eq!(failure.to_string(), expected);
    }

    #[test]
    fn mistakes_have_a_place_and_a_way_out() {
        case(
            "[build]\nbinn = \"x\"\n",
            ".reload.toml:2:1: unknown field `binn`, expected one of `package`, `bin`, `example`, \
             `features`, `all_features`, `no_default_features`, `release`, `profile`, `target`, \
             `target_dir`, `on_change`\nhint: did you mean `bin`?",
        );
        case(
            "[handover]\nmode = \"stopfirst\"\n",
            ".reload.toml:2:8: unknown variant `stopfirst`, expected one of `auto`, `overlap`, \
             `stop-first`\nhint: did you mean `stop-first`?",
        );
    }

    #[test]
    fn an_empty_file_is_all_defaults() {
        let file = parse(Path::new("x"), "").unwrap();
        assert!(file.listen.is_empty() && file.build.bin.is_none());
    }
}
