//! Where output goes and how, by the command line, the environment and what is at the other end.

use std::env;
use std::io::IsTerminal;
use std::path::PathBuf;

use super::{App, Format, Output, Screen, Stdin, Verbosity, layer};
use crate::cli::{self, Args};

pub(super) fn output(args: &Args, layer: &layer::Log, app: &App, log: Option<PathBuf>) -> Output {
    let terminal = std::io::stderr().is_terminal();
    let chosen = args.format.unwrap_or(cli::Format::Auto);
    let format = match chosen {
        cli::Format::Terminal => Format::Terminal,
        cli::Format::Json => Format::Json,
        cli::Format::Auto if terminal => Format::Terminal,
        cli::Format::Auto | cli::Format::Plain => Format::Plain,
    };
    let plain = format != Format::Terminal;
    let verbosity = match (args.quiet, args.verbose) {
        (true, _) => Verbosity::Quiet,
        (_, true) => Verbosity::Verbose,
        _ => Verbosity::Normal,
    };
    // Lines for a file or an editor are only colored if the user asks for it.
    let wanted = args.color.unwrap_or(cli::Color::Auto);
    let color = (wanted != cli::Color::Auto || !plain) && colored(wanted, terminal);
    let report_color = colored(wanted, std::io::stdout().is_terminal());
    Output {
        format,
        color,
        report_color,
        events: args.events.clone(),
        log,
        screen: Screen::by(
            |name| env::var(name).ok(),
            !plain,
            chosen == cli::Format::Terminal,
        ),
        // Under `--once` there is nothing to ask for.
        keys: !plain && !args.once && app.stdin == Stdin::None && std::io::stdin().is_terminal(),
        clear: layer.clear(),
        supervisor: env::var_os("NOTIFY_SOCKET"),
        verbosity,
    }
}

/// Whether output is colored: by what is wanted, the environment, and whether it is a terminal.
pub(super) fn colored(wanted: cli::Color, terminal: bool) -> bool {
    let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let on = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
    let off = |name: &str| env::var_os(name).is_some_and(|value| value == "0");
    match wanted {
        cli::Color::Always => true,
        cli::Color::Never => false,
        cli::Color::Auto if set("NO_COLOR") => false,
        cli::Color::Auto => on("CLICOLOR_FORCE") || (terminal && !off("CLICOLOR")),
    }
}
