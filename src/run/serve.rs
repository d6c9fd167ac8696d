//! The main job: one session, put together from all modules, from its first socket to its last process.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::choose::choose;
use super::control::{identity, listen};
use super::{ended_by, listen_for_signals};
use crate::app::input::Input;
use crate::build::{self, Loaded, Settle, Unusable, scope};
use crate::capture;
use crate::clock::{self, Clock};
use crate::config::resolve::Sources;
use crate::config::{Settings, Stdin};
use crate::control::desk::Desk;
use crate::control::server::Server;
use crate::defect;
use crate::driver::{self, Inbox};
use crate::effects::{Browsers, Executor, Tasks, cautions, names, policy, session_of, warn_of};
use crate::exit::{ExitKind, Failure};
use crate::hooks::Hooks;
use crate::report::Note;
use crate::session::Session;
use crate::session::command::Command;
use crate::session::event::Event;
use crate::session::model::{Ending, Line};
use crate::session::seen::Seen;
use crate::sockets::held::HeldSet;
use crate::sockets::remembered;
use crate::sys;
use crate::sys::files;
use crate::ui::{Reporter, keys};
use crate::watch::Watch;

/// Runs it.
pub(super) async fn serve(
    mut sources: Sources,
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
        since_continued: sys::since_continued,
    };
    // Before anything that would have to be cleaned up.
    listen_for_signals(&urgent)?;
    // From here on no connection is refused.
    held.adapt(&settings.listen, settings.steering)?;
    may_hold(&settings, &held)?;
    let reporter = Reporter::start(&settings, clock.clone())?;
    // The terminal is restored on every way out of here.
    let _attention = keys::attend(&settings, &reporter, &urgent)?;
    if !held.is_empty() {
        reporter.tell(Note::Held(names(&held)));
    }
    for note in cautions(&settings, &held) {
        reporter.tell(note);
    }
    let name: Arc<str> = session_name(&clock).into();
    let manifest = scope::of_manifest(&settings.build).base;
    let desk = Desk::new(identity(manifest.clone(), None));
    let control = (!settings.once).then(|| {
        let server = Server {
            desk: desk.clone(),
            events: events.clone(),
            urgent: urgent.clone(),
        };
        listen(server, &name).map_err(|failure| reporter.tell(Note::Unwatched(failure.into())))
    });
    let prepare = prepare(&mut sources, settings.clone(), &events, &reporter, &desk);
    // A signal is handled meanwhile, since cargo may wait for a lock or the network.
    let (settings, loaded, watch) = tokio::select! {
        biased;
        ending = asked_to_end(&mut inbox) => {
            reporter.flush();
            return Ok(ending.into());
        }
        prepared = defect::guarded("prepare", prepare) => prepared
            .unwrap_or_else(|panic| Err(ended_by(&panic)))
            .inspect_err(|_| reporter.flush())?,
    };
    let base = match &loaded {
        Some(loaded) => loaded.project.workspace.clone(),
        None => manifest,
    };
    let program = loaded
        .as_ref()
        .map(|loaded| loaded.program(&settings.build));
    if let Some(program) = &program {
        reporter.tell(session_of(program, &base));
    }
    desk.prepared(identity(base.clone(), program.as_ref()), watch.clone());
    // A smoke test (`--once`) starts without them, to see what the app does by itself.
    let remembers = settings.app.capture && !settings.once;
    let ports = program.as_ref().filter(|_| remembers);
    let ports = ports.map_or_else(Vec::new, |program| remembered::read(&program.memory));
    // Without capture the app's own bind of an address that is held would fail; why nothing is held is
    // told when the app is started.
    if !ports.is_empty() && capture::is_possible() && held.remember(&ports) {
        reporter.tell(Note::Held(names(&held)));
    }
    let input = input(&settings)?;
    reporter.prepared();
    let session = Session::new(policy(&settings, &held), loaded.is_some());
    let settle = settle(watch.clone());
    let builder = build::spawn(settings.clone(), loaded, settle, events.clone());
    let mut executor = Executor {
        sources,
        hooks: Hooks::new(events.clone(), name.clone()),
        browsers: Browsers::start(&settings.browser, clock.now(), &reporter),
        settings,
        desk,
        waited: false,
        events,
        reporter: reporter.clone(),
        builder,
        watch,
        base,
        announced: names(&held),
        held: held.into(),
        program,
        apps: HashMap::new(),
        tasks: Tasks::default(),
        discarding: Vec::new(),
        spare: None,
        input,
        session: name,
        runtime_dir: runtime_dir(),
    };
    executor.answer_clients(clock.now());
    let driven = driver::run(session, inbox, &clock, &mut executor);
    let ending = defect::guarded("session", driven).await;
    // Explicitly, since a capture thread may hold the set longer, and the socket files would stay.
    executor.held.lock().release_all();
    executor.discarded().await;
    drop((executor, control));
    // Lets the builder unlock its directory.
    tokio::task::yield_now().await;
    reporter.flush();
    Ok(ending.map_err(|panic| ended_by(&panic))?.into())
}

/// Waits until what was written has been reported; nothing is under `--once`.
fn settle(watch: Option<Watch>) -> Settle {
    Box::new(move || {
        let watch = watch.clone();
        Box::pin(async move {
            if let Some(watch) = watch {
                watch.settled().await;
            }
        })
    })
}

/// `--while-building hold` parks clients behind the second socket of an address.
fn may_hold(settings: &Settings, held: &HeldSet) -> Result<(), Failure> {
    if settings.hold.is_none() || held.has_twins() || settings.app.capture {
        return Ok(());
    }
    let reason = held.iter().find_map(|held| held.shared());
    let reason = reason.unwrap_or_default();
    let problem = format!("`hold` needs two sockets behind an address: {reason}");
    Err(Failure::usage(problem).hint("leave --while-building out"))
}

/// What passes hotrun's stdin on to the app, if it gets that.
fn input(settings: &Settings) -> Result<Option<Input>, Failure> {
    match settings.app.stdin {
        Stdin::None => Ok(None),
        Stdin::App => Input::start().map(Some).map_err(|error| {
            Failure::failed(format!("cannot read stdin: {error}"))
                .hint("leave `--stdin app` out, or redirect it from a file")
        }),
    }
}

/// Waits for the end of hotrun to be asked for, before a session handles events.
async fn asked_to_end(inbox: &mut Inbox) -> Ending {
    loop {
        match inbox.urgent.recv().await {
            Some(Event::Quit(ending)) => return ending,
            Some(Event::Command(Command::Stop, _)) => return Ending::Quit,
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}

/// Reads the project, once its target is chosen, and starts to watch it.
async fn prepare(
    sources: &mut Sources,
    mut settings: Arc<Settings>,
    events: &mpsc::UnboundedSender<Event>,
    reporter: &Reporter,
    desk: &Desk,
) -> Result<(Arc<Settings>, Option<Loaded>, Option<Watch>), Failure> {
    defect::point("prepare");
    let loaded = match read(&settings, reporter).await {
        Err(Unusable::Choice(choice)) => {
            let (chosen, note) = choose(&choice, sources, &settings, reporter, desk).await?;
            reporter.tell(note);
            settings = Arc::new(chosen);
            read(&settings, reporter).await?
        }
        loaded => loaded?,
    };
    let watch = watch_project(&settings, loaded.as_ref(), events, reporter)?;
    Ok((settings, loaded, watch))
}

async fn read(settings: &Settings, reporter: &Reporter) -> Result<Option<Loaded>, Unusable> {
    // An error in a manifest is reported by the first build, which reads it again.
    let mut broken = false;
    let line = |line: Line| {
        broken |= line.starts_with("error");
        if !broken {
            reporter.tell(Note::Cargo(line));
        }
    };
    let waiting = {
        let reporter = reporter.clone();
        move |on| reporter.tell(Note::Blocked(on))
    };
    build::load(settings, line, waiting).await
}

/// Starts watching. The first build need not wait until everything is watched: whatever is written since
/// the project was read counts as a change then, or if it is a source, since that build began.
fn watch_project(
    settings: &Settings,
    loaded: Option<&Loaded>,
    events: &mpsc::UnboundedSender<Event>,
    reporter: &Reporter,
) -> Result<Option<Watch>, Failure> {
    if settings.once {
        return Ok(None);
    }
    let scope = match loaded {
        Some(Loaded { project, seen, .. }) => {
            let seen = Seen {
                first_build: Some(clock::stamp()),
                ..*seen
            };
            scope::of_project(project, settings, &scope::Known::default(), seen)
        }
        None => scope::of_manifest(&settings.build),
    };
    reporter.paths_from(scope.base.clone());
    let watch = Watch::start(&settings.watch, events.clone())?;
    warn_of(reporter, watch.rewatch(scope));
    Ok(Some(watch))
}

/// A name that no other run on this machine has. The pid alone may be reused; with the start time it is
/// unique even if the wall clock is set back.
#[expect(
    clippy::disallowed_methods,
    reason = "part of a name, not of a decision"
)]
fn session_name(clock: &Clock) -> String {
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
        let writable = files::may_write(dir);
        dir.is_dir() && writable && dir.as_os_str().len() <= 64
    };
    dirs.into_iter()
        .flatten()
        .find(fits)
        .unwrap_or_else(|| Path::new("/tmp").to_owned())
}
