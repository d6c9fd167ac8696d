//! The whole program: chooses the job by the command line, runs it, and turns its end into an exit code.
//! What knows all modules is below here.

mod choose;
mod control;
mod ctl;
mod load;
mod serve;

use std::borrow::Cow;
use std::ffi::OsString;
use std::future::Future;
use std::io::Write;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser};
use tokio::runtime::Builder;
use tokio::sync::mpsc;

use crate::cli::{self, Command};
use crate::config::resolve::Sources;
use crate::config::verification::Verification;
use crate::config::{self, Settings};
use crate::exit::{ExitKind, Failure};
use crate::init::Editor;
use crate::report::text::{Level, Text};
use crate::session::event::Event;
use crate::sockets::held::HeldSet;
use crate::sockets::inherited::{self, Environment};
use crate::ui::style::Style;
use crate::{build, capture, defect, doctor, init, keeper, signals, sys, ui, verify};
use ctl::ctl;
use load::load;
use serve::serve;

/// The whole program: what `main` calls.
pub fn run() -> ExitCode {
    if let Some(answer) = build::recorder::requested() {
        return answer.unwrap_or_else(|error| print(Err(error)));
    }
    defect::arm(std::env::var("HOTRUN_PANIC").ok());
    if let Some(mode) = keeper::Mode::requested() {
        return keeper::process::run(mode).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    if let Some(answer) = build::surroundings::requested() {
        return print(answer);
    }
    if let Some(answer) = capture::trial::requested() {
        return print(answer);
    }
    sys::host::share_one_heap();
    defect::tell_by(ui::command::defect);
    let inherited = inherited::take(&listen_environment());
    let mut words: Vec<OsString> = std::env::args_os().collect();
    let under_load = words.get(1).is_some_and(|word| word == verify::ARGUMENT);
    if under_load {
        words.remove(1);
    }
    let cli = match cli::Cli::try_parse_from(&words) {
        Ok(cli) => cli,
        Err(error) => {
            let error = with_near_command(error);
            error.print().ok();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let mut style = Style { color: false };
    let result = inherited.and_then(|held| match cli.command {
        None => start(cli.args, held, &mut style),
        Some(_) if !starts_with_command(&words) => Err(misplaced(&words)),
        Some(Command::Verify(verify)) if under_load => start(verify.loaded(), held, &mut style),
        Some(Command::Verify(verify)) => start_verifying(*verify, held, words, &mut style),
        Some(Command::Doctor(doctor)) => examine(*doctor, &held, &mut style),
        Some(Command::Ctl(asked)) => ctl(&asked, &mut style),
        Some(Command::Init(init)) => initialise(&init, &mut style),
        Some(Command::Completions { shell }) => Ok(ui::command::pass(&cli::completions(shell))),
        Some(Command::Man { command }) => manual(command.as_deref()),
        Some(Command::Schema) => Ok(ui::command::pass(config::schema::schema().as_bytes())),
    });
    match result {
        Ok(ExitKind::Signal(number)) if std::process::id() != 1 => {
            sys::die_by(number);
            ExitCode::from(ExitKind::Signal(number).code())
        }
        Ok(kind) => ExitCode::from(kind.code()),
        Err(failure) => {
            ui::command::failure(&failure, style);
            ExitCode::from(failure.kind.code())
        }
    }
}

/// `hotrun man`.
fn manual(command: Option<&str>) -> Result<ExitKind, Failure> {
    let Some(page) = cli::manual(command) else {
        return Err(Failure::usage("there is no such command").hint("`hotrun -h` names all"));
    };
    let page = page.map_err(|error| Failure::failed(format!("the manual page: {error}")))?;
    Ok(ui::command::pass(&page))
}

/// Suggests a command for a word that may be one with a typo, which clap takes for an argument.
fn with_near_command(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) {
        let command = cli::Cli::command();
        let names = command.get_subcommands().map(clap::Command::get_name);
        // Subcommands of cargo, and of others that do this.
        let main_job = ["run", "r", "build", "b", "watch", "start", "serve", "dev"];
        if main_job.contains(&&**word) {
            let tip = "`hotrun` alone builds and runs the program, and watches it".into();
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
        } else if let Some(near) = config::nearest(word, names) {
            let near = ContextValue::Strings(vec![near.to_owned()]);
            error.insert(ContextKind::SuggestedSubcommand, near);
        }
    }
    error
}

/// Prints the answer of a hidden command, for the hotrun that started it.
fn print(answer: Result<String, String>) -> ExitCode {
    match answer {
        Ok(line) => {
            writeln!(std::io::stdout(), "{line}").ok();
            ExitCode::SUCCESS
        }
        Err(error) => {
            writeln!(std::io::stderr(), "{error}").ok();
            ExitCode::FAILURE
        }
    }
}

/// The environment variables of inherited sockets.
fn listen_environment() -> Environment {
    let text = |name| std::env::var(name).ok();
    Environment {
        count: text("LISTEN_FDS"),
        names: text("LISTEN_FDNAMES"),
    }
}

/// Options before a command would be those of the main job, which does not run then.
fn misplaced(words: &[OsString]) -> Failure {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let (_, words) = words.split_first().unwrap_or((&Cow::Borrowed(""), &[]));
    let end = words.iter().position(|word| word == "--");
    let names = cli::Cli::command();
    let is_name = |word: &Cow<str>| names.get_subcommands().any(|name| name.get_name() == *word);
    let at = words[..end.unwrap_or(words.len())]
        .iter()
        .rposition(is_name);
    let (before, rest) = words.split_at(at.unwrap_or_default());
    let (command, rest) = rest
        .split_first()
        .map_or(("", rest), |(own, rest)| (&**own, rest));
    // Others have no options of the main job.
    let before = if matches!(command, "verify" | "doctor" | "init") {
        before
    } else {
        &[]
    };
    let typed: Vec<&str> = [command]
        .into_iter()
        .chain(before.iter().chain(rest).map(|word| &**word))
        .collect();
    Failure::usage("a command stands before its options").hint(format!(
        "write `hotrun {}`; an argument of the app stands behind `--`",
        typed.join(" ")
    ))
}

fn starts_with_command(words: &[OsString]) -> bool {
    let command = cli::Cli::command();
    let mut commands = command.get_subcommands();
    let first = words.get(1);
    first.is_some_and(|word| commands.any(|command| word == command.get_name()))
}

/// The settings by the command line; sets `style` for errors from here on.
fn settings(
    args: cli::Args,
    held: &HeldSet,
    style: &mut Style,
) -> Result<(Sources, Settings), Failure> {
    let sources = Sources::of(args, held.has_tcp())?;
    let settings = sources.settings()?;
    style.color = settings.output.color;
    Ok((sources, settings))
}

/// The main job.
fn start(args: cli::Args, held: HeldSet, style: &mut Style) -> Result<ExitKind, Failure> {
    let (sources, settings) = settings(args, &held, style)?;
    block_on(serve(sources, settings, held))?
}

/// `hotrun init`.
fn initialise(typed: &cli::Init, style: &mut Style) -> Result<ExitKind, Failure> {
    let sources = Sources::of(typed.args(), false)?;
    let editors = [
        typed.vscode.then_some(Editor::VsCode),
        typed.zed.then_some(Editor::Zed),
    ];
    let editors: Vec<Editor> = editors.into_iter().flatten().collect();
    let named = sources.names_file();
    let settings = if editors.is_empty() {
        sources.settings_without_file()?
    } else {
        sources.settings()?
    };
    style.color = settings.output.color;
    let report = if editors.is_empty() {
        block_on(init::reload(&settings, named))??
    } else {
        block_on(init::editors(
            &settings,
            &editors,
            typed.selection.words(),
            named,
        ))??
    };
    let style = Style {
        color: settings.output.report_color,
    };
    ui::command::report(&ui::written::report(&report), style);
    Ok(ExitKind::Ok)
}

/// `hotrun doctor`.
fn examine(doctor: cli::Doctor, held: &HeldSet, style: &mut Style) -> Result<ExitKind, Failure> {
    let builds = doctor.builds;
    let sources = Sources::of(doctor.args, held.has_tcp())?;
    let (settings, unread) = match sources.settings() {
        Err(failure) if !builds => (sources.settings_apart_from_file()?, Some(failure)),
        settings => (settings?, None),
    };
    style.color = settings.output.color;
    let findings = if builds {
        let tell = |step: &str| {
            let text = step.to_owned();
            let level = Level::Info;
            ui::command::say(&Text { level, text }, *style);
        };
        block_on(doctor::measure_builds(&settings, tell))?
    } else {
        block_on(doctor::examine(&settings, unread.as_ref()))?
    };
    let style = Style {
        color: settings.output.report_color,
    };
    ui::command::report(&ui::checkup::report(&findings), style);
    let is_wrong = findings.iter().any(|finding| finding.fix.is_some());
    Ok(if is_wrong {
        ExitKind::Failed
    } else {
        ExitKind::Ok
    })
}

/// `hotrun verify`; `words` is the whole command line.
fn start_verifying(
    verify: cli::Verify,
    held: HeldSet,
    words: Vec<OsString>,
    style: &mut Style,
) -> Result<ExitKind, Failure> {
    let verification = Verification::of(&verify)?;
    let (_, settings) = settings(verify.args, &held, style)?;
    block_on(load(verification, settings, held, words, *style))?
}

/// Runs a future on this thread.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    // Orphans of a killed keeper are then reparented to hotrun instead of init.
    sys::processes::adopt_orphans().ok();
    let failed = |error| Failure::failed(format!("cannot start the runtime: {error}"));
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let work = async {
        defect::point("main");
        work.await
    };
    let done = runtime.block_on(defect::guarded("main", work));
    // A blocking task, like a comparison of two files, may still run; it is not waited for.
    runtime.shutdown_background();
    done.map_err(|panic| ended_by(&panic))
}

/// The failure after a panic in the main loop; the keepers end what it had started.
fn ended_by(panic: &str) -> Failure {
    Failure::failed(format!(
        "hotrun ends because of a defect of its own: {panic}"
    ))
    .hint("please report it, with the lines above")
}

fn listen_for_signals(urgent: &mpsc::UnboundedSender<Event>) -> Result<(), Failure> {
    sys::note_continuations()
        .and_then(|()| signals::listen(urgent))
        .map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))
}
