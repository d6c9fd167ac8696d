//! hotrun: a dev-loop reloader for Rust servers that holds their listening sockets.
//!
//! # The code, in reading order
//!
//! - [`session`]: the core. Pure: events in, actions out. Every decision is here, as data in
//!   `session/scenarios/*.txt` and as rules in `session/mod.rs`.
//! - [`driver`]: the one loop around it, and [`rooms`]: who carries out which action.
//! - [`watch`] tells what changed, [`build`] runs cargo and sets executables aside, [`sockets`]
//!   holds addresses, [`app`] runs one generation under a [`keeper`], [`hooks`] runs the user's own
//!   commands, [`signals`] and [`ui`] speak with the user.
//! - [`cli`], [`config`]: what was typed and written becomes [`config::Settings`]. [`exit`]: the
//!   only list of exit codes.
//! - [`sys`]: the only `unsafe`. `diag`, [`digest`], `family`, `helper`, [`lines`], [`sink`]: small
//!   things that several rooms need.
//!
//! Rooms never import each other; what one learns reaches another as a value in an action. Only
//! `ui` and this file print. `tests/promises/tidy.rs` checks it.

pub mod app;
pub mod build;
pub mod cli;
pub mod config;
mod diag;
pub mod digest;
pub mod driver;
pub mod exit;
mod family;
mod helper;
pub mod hooks;
pub mod keeper;
pub mod lines;
pub mod rooms;
pub mod session;
pub mod signals;
pub mod sink;
pub mod sockets;
pub mod sys;
pub mod ui;
pub mod watch;

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use tokio::runtime::Builder;
use tokio::sync::mpsc;

use build::{Loaded, scope};
use config::Settings;
use config::resolve::Sources;
use driver::{Clock, Inbox};
use exit::{ExitKind, Failure};
use hooks::Hooks;
use rooms::{House, Sides, announce, cautions, policy};
use session::Session;
use session::event::Event;
use session::model::Ending;
use sockets::inherited::Told;
use sockets::set::HeldSet;
use ui::style::Style;
use ui::{Note, Reporter};
use watch::Watch;

/// The whole program: what `main` calls.
pub fn run() -> ExitCode {
    if let Some(mode) = keeper::Mode::requested() {
        return keeper::process::run(mode).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    if let Some(answer) = build::surroundings::requested() {
        return print(answer);
    }
    let inherited = sockets::inherited::take(&told());
    let args = match cli::Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            error.print().ok();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let mut style = Style { color: false };
    let result = inherited.and_then(|held| {
        let sources = Sources::of(args, held.has_tcp())?;
        let settings = sources.settings()?;
        style.color = settings.output.color;
        start(sources, settings, held)
    });
    match result {
        Ok(ExitKind::Signal(number)) if std::process::id() != 1 => {
            sys::die_by(number);
            ExitCode::from(ExitKind::Signal(number).code())
        }
        Ok(kind) => ExitCode::from(kind.code()),
        Err(failure) => {
            ui::failure(&failure, style);
            ExitCode::from(failure.kind.code())
        }
    }
}

/// The answer of a hidden command: a line for the hotrun that asked.
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

/// What whoever started hotrun says about sockets that it hands over.
fn told() -> Told {
    let text = |name| std::env::var(name).ok();
    Told {
        count: text("LISTEN_FDS"),
        names: text("LISTEN_FDNAMES"),
    }
}

fn start(sources: Sources, settings: Settings, held: HeldSet) -> Result<ExitKind, Failure> {
    // If a keeper is killed, what it kept comes to us instead of to init.
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_child_subreaper(true).ok();
    let failed = |error| Failure::failed(format!("cannot start the runtime: {error}"));
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let kind = runtime.block_on(serve(sources, settings, held));
    // A blocking comparison of two files may still run; nobody waits for it.
    runtime.shutdown_background();
    kind
}

/// One session from its first socket to its last process.
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
    // The addresses first: from here on nobody is refused.
    held.adapt(&settings.listen, settings.twins)?;
    if settings.hold.is_some() && !held.has_twins() {
        let reason = held
            .iter()
            .find_map(|held| held.shared())
            .unwrap_or_default();
        let problem = format!("`hold` needs two sockets behind an address: {reason}");
        return Err(Failure::usage(problem).hint("leave --while-building out"));
    }
    signals::listen(&urgent)
        .map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
    let reporter = Reporter::start(&settings.output, settings.once)?;
    if !held.is_empty() {
        reporter.note(clock.now(), announce(&held));
    }
    for note in cautions(&settings, &held) {
        reporter.note(clock.now(), note);
    }
    let prepare = prepare(&settings, &events, &reporter, clock);
    // Cargo may wait for another one's lock, or for the network; the user need not.
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
                workspace: project.workspace.display().to_string(),
                source: project.target.source.display().to_string(),
            },
        );
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
    let mut house = House {
        sources,
        hooks: Hooks::new(events.clone(), name.clone()),
        settings,
        waited: false,
        events,
        reporter: reporter.clone(),
        builder,
        watch,
        held,
        apps: HashMap::new(),
        sides: Sides::default(),
        spare: None,
        input,
        session: name,
        runtime_dir: runtime_dir(),
    };
    house.settle();
    let ending = driver::run(session, inbox, clock, &mut house).await;
    drop(house);
    // The builder lets go of its directory.
    tokio::task::yield_now().await;
    reporter.flush();
    Ok(ending.into())
}

/// Waits until somebody wants hotrun to end; before a session runs, nothing else can be asked.
async fn asked_to_end(inbox: &mut Inbox) -> Ending {
    loop {
        match inbox.urgent.recv().await {
            Some(Event::Quit(ending)) => return ending,
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}

/// Reads the project and watches it.
async fn prepare(
    settings: &Settings,
    events: &mpsc::UnboundedSender<Event>,
    reporter: &Reporter,
    clock: Clock,
) -> Result<(Option<Loaded>, Option<Watch>), Failure> {
    // An error of a manifest is left to the first build, which reads it again.
    let mut broken = false;
    let line = |line: String| {
        broken |= line.starts_with("error");
        if !broken {
            reporter.note(clock.now(), Note::Cargo(line));
        }
    };
    let loaded = build::load(settings, line).await?;
    let watch = watch_project(settings, loaded.as_ref(), events, reporter, clock).await?;
    Ok((loaded, watch))
}

/// Starts watching; everything is watched when this returns, so no save can be missed.
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
            scope::of_project(project, &settings.build, &[], *seen)
        }
        None => scope::of_manifest(&settings.build),
    };
    let watch = Watch::start(&settings.watch, events.clone())?;
    for problem in watch.rewatch(scope).await.unwrap_or_default() {
        reporter.note(clock.now(), Note::Warning(problem));
    }
    Ok(Some(watch))
}

/// A name that no other run on this machine has at this time. The pid alone would do until it is
/// used again; a wall clock that is set back in between changes nothing about that.
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

/// Where sockets of this user belong. A path of theirs has 107 bytes at most (unix(7)), and needs
/// some 40 for itself.
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
