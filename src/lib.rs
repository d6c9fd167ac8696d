//! hotrun: a dev-loop reloader for Rust servers that holds their listening sockets.
//!
//! # The code, in reading order
//!
//! - [`session`]: the core. Pure: events in, actions out. Every decision is here, as data in
//!   `session/scenarios/*.txt` and as rules in `session/mod.rs`.
//! - [`driver`]: the main loop around it, and [`effects`], which carries actions out.
//! - [`watch`] reports what changed, [`build`] runs cargo and pins its artifacts, [`sockets`] holds
//!   addresses, [`capture`] catches the app's `bind` and `listen`, [`app`] runs one generation under a
//!   [`keeper`], [`hooks`] runs the user's own commands, [`signals`] and [`ui`] are the user's side.
//!   [`report`] is one type of everything that is told, for text and JSON alike.
//! - [`verify`] loads a hotrun with clients and reports what they saw, [`doctor`] checks what works
//!   here.
//! - [`cli`], [`config`]: command line and files become [`config::Settings`]. [`exit`]: the only list of
//!   exit codes.
//! - [`sys`]: the only `unsafe`. `defect`, `sock_diag`, `tls`, [`digest`], `process_tree`, `helper`,
//!   [`lines`], [`sink`]: small things that several modules need.
//!
//! Modules that carry out actions never import each other; what one learns reaches another as a value in
//! an action. Only `ui` and this file print. `tests/promises/tidy.rs` checks both.

pub mod app;
pub mod build;
pub mod capture;
pub mod cli;
pub mod config;
mod defect;
pub mod digest;
pub mod doctor;
pub mod driver;
pub mod effects;
pub mod exit;
mod helper;
pub mod hooks;
pub mod keeper;
pub mod lines;
mod process_tree;
pub mod report;
pub mod session;
pub mod signals;
pub mod sink;
mod sock_diag;
pub mod sockets;
pub mod sys;
mod tls;
pub mod ui;
pub mod verify;
pub mod watch;

use std::collections::HashMap;
use std::ffi::OsString;
use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser};
use tokio::runtime::Builder;
use tokio::sync::mpsc;

use build::{Loaded, scope};
use cli::Command;
use config::Settings;
use config::resolve::Sources;
use config::verification::Verification;
use driver::{Clock, Inbox};
use effects::{Executor, Tasks, cautions, names, policy};
use exit::{ExitKind, Failure};
use hooks::Hooks;
use report::Note;
use session::Session;
use session::event::Event;
use session::model::Ending;
use sockets::activation;
use sockets::held::HeldSet;
use sockets::inherited::Environment;
use sockets::remembered;
use ui::Reporter;
use ui::style::Style;
use verify::Outcome;
use watch::Watch;

/// The whole program: what `main` calls.
pub fn run() -> ExitCode {
    if let Some(mode) = keeper::Mode::requested() {
        return keeper::process::run(mode).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    if let Some(answer) = build::surroundings::requested() {
        return print(answer);
    }
    if let Some(answer) = capture::trial::requested() {
        return print(answer);
    }
    std::panic::set_hook(Box::new(ui::command::defect));
    defect::arm(std::env::var("HOTRUN_PANIC").ok());
    let inherited = sockets::inherited::take(&listen_environment());
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
        Some(_) if !starts_with_command(&words) => Err(misplaced()),
        Some(Command::Verify(verify)) if under_load => start(verify.loaded(), held, &mut style),
        Some(Command::Verify(verify)) => start_verifying(*verify, held, words, &mut style),
        Some(Command::Doctor(doctor)) => examine(doctor.args, &held, &mut style),
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

/// Suggests a command for a word that may be one with a typo, which clap takes for an argument.
fn with_near_command(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) {
        let command = cli::Cli::command();
        let names = command.get_subcommands().map(clap::Command::get_name);
        if let Some(near) = config::nearest(word, names) {
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
fn misplaced() -> Failure {
    Failure::usage("a command stands before its options")
        .hint("write `hotrun COMMAND [OPTIONS]`; an argument of the app stands behind `--`")
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

/// `hotrun doctor`.
fn examine(args: cli::Args, held: &HeldSet, style: &mut Style) -> Result<ExitKind, Failure> {
    let (_, settings) = settings(args, held, style)?;
    let findings = block_on(doctor::examine(&settings))?;
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
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_child_subreaper(true).ok();
    let failed = |error| Failure::failed(format!("cannot start the runtime: {error}"));
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let done = runtime.block_on(work);
    // A blocking task, like a comparison of two files, may still run; it is not waited for.
    runtime.shutdown_background();
    Ok(done)
}

/// Runs `hotrun verify`: a hotrun with clients, and the report.
async fn load(
    verification: Verification,
    settings: Settings,
    held: HeldSet,
    words: Vec<OsString>,
    style: Style,
) -> Result<ExitKind, Failure> {
    let (urgent, signals) = mpsc::unbounded_channel();
    listen_for_signals(&urgent)?;
    let names: Vec<Option<&str>> = held.iter().map(|held| held.name.as_deref()).collect();
    let ours = |key: &OsString| activation::SCRUBBED.iter().any(|name| key == name);
    let inherited = std::env::vars_os().filter(|(key, _)| !ours(key));
    let plan = verify::Plan {
        reloads: verification.reloads,
        path: verification.path,
        kind: verify::Kind {
            tls: verification.tls,
            websocket: verification.websocket,
        },
        // An app that ends by the other signal has caught it, and tells its supervisor so.
        stop_signal: settings.app.stop_signal.unwrap_or(nix::libc::SIGTERM),
        words: words.into_iter().skip(1).collect(),
        env: inherited.chain(activation::variables(&names)).collect(),
        dir: settings.build.dir.into_os_string(),
        sockets: held.share(held.active()),
        signals,
    };
    let quiet = settings.output.verbosity == config::Verbosity::Quiet;
    let tell = |progress| {
        if !quiet {
            ui::command::say(&ui::verdict::step(&progress), style);
        }
    };
    match verify::run(plan, tell).await {
        Outcome::Done(facts) => {
            let style = Style {
                color: settings.output.report_color,
            };
            ui::command::report(&ui::verdict::report(&facts), style);
            let kind = if facts.is_good() {
                ExitKind::Ok
            } else {
                ExitKind::Failed
            };
            Ok(kind)
        }
        Outcome::Failed(said, failure) => {
            ui::command::pass_on(&said);
            Err(failure)
        }
        Outcome::Signal(number) => Ok(ExitKind::Signal(number)),
    }
}

fn listen_for_signals(urgent: &mpsc::UnboundedSender<Event>) -> Result<(), Failure> {
    signals::listen(urgent)
        .map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))
}

/// Runs one session, from its first socket to its last process.
async fn serve(
    sources: Sources,
    settings: Settings,
    mut held: HeldSet,
) -> Result<ExitKind, Failure> {
    let clock = Clock::start();
    let settings = Arc::new(settings);
    let (urgent, urgent_inbox) = mpsc::unbounded_channel();
    let (events, events_inbox) = mpsc::unbounded_channel();
    let mut inbox = Inbox {
        urgent: urgent_inbox,
        events: events_inbox,
    };
    // Before anything that would have to be cleaned up.
    listen_for_signals(&urgent)?;
    // From here on no connection is refused.
    held.adapt(&settings.listen, settings.twins)?;
    if settings.hold.is_some() && !held.has_twins() && !settings.app.capture {
        let reason = held
            .iter()
            .find_map(|held| held.shared())
            .unwrap_or_default();
        let problem = format!("`hold` needs two sockets behind an address: {reason}");
        return Err(Failure::usage(problem).hint("leave --while-building out"));
    }
    let reporter = Reporter::start(&settings)?;
    if !held.is_empty() {
        reporter.note(clock.now(), Note::Held(names(&held)));
    }
    for note in cautions(&settings, &held) {
        reporter.note(clock.now(), note);
    }
    let prepare = prepare(&settings, &events, &reporter, clock);
    // A signal is handled meanwhile, since cargo may wait for a lock or the network.
    let (loaded, watch) = tokio::select! {
        biased;
        ending = asked_to_end(&mut inbox) => {
            reporter.flush();
            return Ok(ending.into());
        }
        prepared = prepare => prepared.inspect_err(|_| reporter.flush())?,
    };
    if let Some(Loaded { project, .. }) = &loaded {
        reporter.note(
            clock.now(),
            Note::Session {
                package: project.target.package.clone(),
                target: project.target.name.clone(),
                workspace: project.workspace.clone(),
                source: project.target.source.clone(),
            },
        );
    }
    let base = match &loaded {
        Some(loaded) => loaded.project.workspace.clone(),
        None => scope::of_manifest(&settings.build).base,
    };
    let memory = loaded.as_ref().map(|loaded| loaded.store.memory());
    // A smoke test (`--once`) starts without them, to see what the app does by itself.
    let remembers = settings.app.capture && !settings.once;
    if let Some(memory) = memory.as_ref().filter(|_| remembers)
        && held.remember(&remembered::read(memory))
    {
        reporter.note(clock.now(), Note::Held(names(&held)));
    }
    let input = match settings.app.stdin {
        config::Stdin::App => Some(app::input::Input::start().map_err(|error| {
            Failure::failed(format!("cannot read stdin: {error}"))
                .hint("leave `--stdin app` out, or redirect it from a file")
        })?),
        config::Stdin::None => None,
    };
    reporter.prepared();
    let session = Session::new(policy(&settings, &held), loaded.is_some());
    let builder = build::spawn(settings.clone(), loaded, events.clone());
    let name: Arc<str> = session_name(clock).into();
    let mut executor = Executor {
        sources,
        hooks: Hooks::new(events.clone(), name.clone()),
        settings,
        waited: false,
        events,
        reporter: reporter.clone(),
        builder,
        watch,
        base,
        announced: names(&held),
        held: held.into(),
        remembered: memory,
        apps: HashMap::new(),
        tasks: Tasks::default(),
        spare: None,
        input,
        session: name,
        runtime_dir: runtime_dir(),
    };
    let ending = driver::run(session, inbox, clock, &mut executor).await;
    // Explicitly, since a capture thread may hold the set longer, and the socket files would stay.
    executor.held.lock().release_all();
    drop(executor);
    // Lets the builder unlock its directory.
    tokio::task::yield_now().await;
    reporter.flush();
    Ok(ending.into())
}

/// Waits for the end of hotrun to be asked for, before a session handles events.
async fn asked_to_end(inbox: &mut Inbox) -> Ending {
    loop {
        match inbox.urgent.recv().await {
            Some(Event::Quit(ending)) => return ending,
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}

/// Reads the project and starts to watch it.
async fn prepare(
    settings: &Settings,
    events: &mpsc::UnboundedSender<Event>,
    reporter: &Reporter,
    clock: Clock,
) -> Result<(Option<Loaded>, Option<Watch>), Failure> {
    // An error in a manifest is reported by the first build, which reads it again.
    let mut broken = false;
    let line = |line: String| {
        broken |= line.starts_with("error");
        if !broken {
            reporter.note(clock.now(), Note::Cargo(line));
        }
    };
    let waiting = {
        let reporter = reporter.clone();
        move |on| reporter.note(clock.now(), Note::Blocked(on))
    };
    let loaded = build::load(settings, line, waiting).await?;
    let watch = watch_project(settings, loaded.as_ref(), events, reporter, clock).await?;
    Ok((loaded, watch))
}

/// Starts watching; returns once everything is watched, so that no save is missed.
async fn watch_project(
    settings: &Settings,
    loaded: Option<&Loaded>,
    events: &mpsc::UnboundedSender<Event>,
    reporter: &Reporter,
    clock: Clock,
) -> Result<Option<Watch>, Failure> {
    if settings.once {
        return Ok(None);
    }
    let scope = match loaded {
        Some(Loaded { project, seen, .. }) => {
            scope::of_project(project, settings, &scope::Known::default(), *seen)
        }
        None => scope::of_manifest(&settings.build),
    };
    reporter.paths_from(scope.base.clone());
    let watch = Watch::start(&settings.watch, events.clone())?;
    for problem in watch.rewatch(scope).await.unwrap_or_default() {
        reporter.note(clock.now(), Note::Unwatched(problem));
    }
    Ok(Some(watch))
}

/// A name that no other run on this machine has. The pid alone may be reused; with the start time it is
/// unique even if the wall clock is set back.
#[expect(
    clippy::disallowed_methods,
    reason = "part of a name, not of a decision"
)]
fn session_name(clock: Clock) -> String {
    let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let micros = started
        .unwrap_or_default()
        .saturating_sub(clock.now())
        .as_micros();
    format!("{}-{micros:x}", std::process::id())
}

/// The directory for sockets of this user. The path of a unix socket has at most 107 bytes (unix(7)), of
/// which hotrun needs some 40.
fn runtime_dir() -> PathBuf {
    let dirs = [
        std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from),
        Some(std::env::temp_dir()),
    ];
    let fits = |dir: &PathBuf| {
        let writable = nix::unistd::access(dir, nix::unistd::AccessFlags::W_OK).is_ok();
        dir.is_dir() && writable && dir.as_os_str().len() <= 64
    };
    dirs.into_iter()
        .flatten()
        .find(fits)
        .unwrap_or_else(|| Path::new("/tmp").to_owned())
}
