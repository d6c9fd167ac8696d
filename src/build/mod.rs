//! Builds: reads the project, runs `cargo build`, and sets the executable aside.
//!
//! # Theory of operation
//!
//! One task does one order at a time. A build is: read the project with `cargo metadata`, if it
//! has to be read; run `cargo build` with JSON messages; set the executable aside when cargo
//! names it; compare it with the baseline; and, when the answer is not known any more, ask cargo
//! what the program is started with. A cancel ends whatever of this runs. `Done` is sent when
//! nothing of it runs any more, but for a cargo that has said its last word and is about to end.
//! What that writes at its very end is read when it has: the inputs that matter by their names.
//! Deliberately absent: deciding when to build or what to do with the result.

pub mod artifact;
pub mod command;
mod depinfo;
pub mod messages;
pub mod project;
pub mod scope;
pub mod surroundings;
mod unseen;
mod versions;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{mpsc, watch};

use artifact::Shelf;
use messages::{Said, Told};
use project::{Problem, Project};
use surroundings::Toolchain;
pub use versions::versions;

use crate::config::{self, Settings};
use crate::defect::{guarded, point};
use crate::digest;
use crate::exit::{self, Failure};
use crate::helper::{self, After, Cancel, Rest, Stopped};
use crate::lines::Stream;
use crate::session::event::{BuildNews, Event};
use crate::session::model::{
    Artifact, ArtifactRef, BuildOutcome, Changed, Exit, Generation, Seen, Surroundings,
};

/// What a builder is told.
#[derive(Debug)]
enum Order {
    Start {
        generation: Generation,
        load: bool,
        baseline: Option<ArtifactRef>,
        changed: Changed,
    },
    Cancel(Generation),
    Configure(Arc<Settings>),
}

/// The handle of the one builder.
#[derive(Clone, Debug)]
pub struct Builder {
    orders: mpsc::UnboundedSender<Order>,
}

impl Builder {
    /// Starts a build; the builder must not have another one running.
    pub fn start(
        &self,
        generation: Generation,
        load: bool,
        baseline: Option<ArtifactRef>,
        changed: Changed,
    ) {
        self.orders
            .send(Order::Start {
                generation,
                load,
                baseline,
                changed,
            })
            .ok();
    }

    /// Uses these settings from the next build on.
    pub fn configure(&self, settings: Arc<Settings>) {
        self.orders.send(Order::Configure(settings)).ok();
    }

    /// Ends a build.
    pub fn cancel(&self, generation: Generation) {
        self.orders.send(Order::Cancel(generation)).ok();
    }
}

/// What is known before the first build.
#[derive(Debug)]
pub struct Loaded {
    /// The project.
    pub project: Project,
    /// What its reader has seen.
    pub seen: Seen,
    /// Where its executables are kept.
    pub shelf: Arc<Shelf>,
}

/// Reads the project for the first time. `Ok(None)`: a manifest is broken and `lines` says how;
/// a later build reads it again.
pub async fn load(
    settings: &Settings,
    mut line: impl FnMut(String),
) -> Result<Option<Loaded>, Failure> {
    let (_keep, mut cancel) = watch::channel(false);
    match read_project(&settings.build, &mut cancel, &mut line).await {
        Ok((project, seen)) => {
            let shelf = Arc::new(Shelf::open(Shelf::place(&project, &settings.build))?);
            Ok(Some(Loaded {
                project,
                seen,
                shelf,
            }))
        }
        Err(Unread::Problem(Problem::Choice(failure))) => Err(failure),
        Err(Unread::Stopped(Stopped::Failed(what))) => Err(no_cargo(&what)),
        Err(Unread::Problem(Problem::Broken) | Unread::Stopped(Stopped::Cancelled)) => Ok(None),
    }
}

fn no_cargo(what: &str) -> Failure {
    let (what, hint) = exit::split_hint(what);
    Failure::failed(what).hint(hint.unwrap_or("leave `CARGO` unset, or let it name a cargo"))
}

/// Why the project could not be read.
enum Unread {
    Stopped(Stopped),
    Problem(Problem),
}

#[expect(
    clippy::disallowed_methods,
    reason = "compared with the time stamps of files"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

async fn read_project(
    build: &config::Build,
    cancel: &mut Cancel,
    line: &mut impl FnMut(String),
) -> Result<(Project, Seen), Unread> {
    let launch = command::launch(build, build.cargo.clone(), command::metadata(build), &[]);
    let at = now();
    let mut json = String::new();
    let exit = helper::run(launch, cancel, |stream, piece| {
        match stream {
            Stream::Stdout => json.push_str(piece),
            Stream::Stderr => {
                if let Said::Line(text) = messages::stderr(piece) {
                    line(text);
                }
            }
        }
        After::GoOn
    })
    .await
    .map_err(Unread::Stopped)?;
    if !exit.success() {
        return Err(Unread::Problem(Problem::Broken));
    }
    let metadata = serde_json::from_str(&json).map_err(|error| {
        line(format!("cargo metadata: {error}"));
        Unread::Problem(Problem::Broken)
    })?;
    let project = project::choose(&metadata, build).map_err(Unread::Problem)?;
    let lock = digest::of(&project.workspace.join("Cargo.lock"));
    Ok((project, Seen { at, lock }))
}

/// Starts the builder.
pub fn spawn(
    settings: Arc<Settings>,
    loaded: Option<Loaded>,
    events: mpsc::UnboundedSender<Event>,
) -> Builder {
    let (orders, inbox) = mpsc::unbounded_channel();
    let shelves = loaded.iter().map(|loaded| loaded.shelf.clone()).collect();
    let work = Work {
        settings,
        loaded,
        shelves,
        toolchain: None,
        known: None,
        ran: None,
        changed: Changed::default(),
        inputs: Vec::new(),
        ending: None,
        named: Vec::new(),
        events,
    };
    tokio::spawn(work.run(inbox));
    Builder { orders }
}

struct Work {
    settings: Arc<Settings>,
    loaded: Option<Loaded>,
    /// Every place that was used: live may run from an older one.
    shelves: Vec<Arc<Shelf>>,
    toolchain: Option<Toolchain>,
    /// The surroundings, and what build scripts said when they were learned.
    known: Option<(Vec<String>, Surroundings)>,
    /// When the last run of cargo began: it has seen what was written before.
    ran: Option<SystemTime>,
    /// What changed since then.
    changed: Changed,
    /// What the program is made of, as far as cargo knows.
    inputs: Vec<PathBuf>,
    /// A cargo that is about to end, and what it has built.
    ending: Option<Finished>,
    /// Those of them that matter by their names.
    named: Vec<PathBuf>,
    events: mpsc::UnboundedSender<Event>,
}

/// A good run of cargo.
struct Finished {
    generation: Generation,
    began: SystemTime,
    executable: PathBuf,
    rest: Option<Rest>,
}

/// What came of one cargo.
#[derive(Default)]
struct Yield {
    /// Where the executable was set aside, or why it could not be.
    kept: Option<Result<PathBuf, String>>,
    /// Where cargo has it.
    executable: PathBuf,
    scripts: Vec<String>,
    errors: u32,
    warnings: u32,
}

impl Work {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        loop {
            let order = tokio::select! {
                biased;
                order = inbox.recv() => match order {
                    Some(order) => order,
                    None => return,
                },
                finished = end_of(&mut self.ending) => {
                    self.read_inputs(&finished);
                    continue;
                }
            };
            let (generation, load, baseline, changed) = match order {
                Order::Start {
                    generation,
                    load,
                    baseline,
                    changed,
                } => (generation, load, baseline, changed),
                Order::Configure(settings) => {
                    self.settings = settings;
                    continue;
                }
                Order::Cancel(_) => continue,
            };
            self.changed.merge(changed);
            let mut configured = None;
            let (cancel, mut cancelled) = watch::channel(false);
            let outcome = {
                let build = self.build(generation, load, baseline.as_ref(), &mut cancelled);
                let build = guarded(build);
                tokio::pin!(build);
                loop {
                    tokio::select! {
                        outcome = &mut build => break outcome,
                        order = inbox.recv() => match order {
                            Some(Order::Cancel(which)) if which == generation => {
                                cancel.send_replace(true);
                            }
                            Some(Order::Configure(settings)) => configured = Some(settings),
                            Some(_) => {}
                            // Hotrun ends: what runs ends with the keepers.
                            None => return,
                        },
                    }
                }
            };
            self.settings = configured.unwrap_or(self.settings);
            let outcome = outcome.unwrap_or_else(|panic| Err(Stopped::by_defect(&panic)));
            let outcome = match outcome {
                Ok(outcome) => outcome,
                Err(Stopped::Cancelled) => BuildOutcome::Cancelled,
                Err(Stopped::Failed(reason)) => BuildOutcome::Failed { reason },
            };
            if !matches!(outcome, BuildOutcome::Built { .. })
                && let Some(loaded) = &self.loaded
            {
                loaded.shelf.discard(generation);
            }
            self.tell(generation, BuildNews::Done(outcome));
        }
    }

    fn tell(&self, generation: Generation, news: BuildNews) {
        self.events.send(Event::Build(generation, news)).ok();
    }

    async fn build(
        &mut self,
        generation: Generation,
        load: bool,
        baseline: Option<&ArtifactRef>,
        cancel: &mut Cancel,
    ) -> Result<BuildOutcome, Stopped> {
        point("build");
        if load && let Some(reason) = self.reload(generation, cancel).await? {
            return Ok(BuildOutcome::Failed { reason });
        }
        self.forget_unseen(cancel).await?;
        let began = now();
        self.ran = Some(began);
        let (exit, rest, seen) = self.cargo_build(generation, cancel).await?;
        if !exit.success() {
            let reason = match seen.errors {
                0 => format!("cargo ended with {exit}"),
                1 => "1 error".into(),
                many => format!("{many} errors"),
            };
            return Ok(BuildOutcome::Failed { reason });
        }
        let Some(kept) = seen.kept else {
            return Err(Stopped::Failed(
                "cargo built no executable for this target\nhint: choose a binary with --bin or an example with --example".into(),
            ));
        };
        self.ending = Some(Finished {
            generation,
            began,
            executable: seen.executable,
            rest,
        });
        let path = kept.map_err(Stopped::Failed)?;
        let surroundings = self.surroundings(seen.scripts, cancel).await?;
        let warnings = seen.warnings;
        if let Some(baseline) = baseline
            && baseline.surroundings == surroundings
            && same(&baseline.path, &path).await
        {
            artifact::discard(&path);
            let artifact = baseline.clone();
            return Ok(BuildOutcome::Built {
                artifact,
                unchanged: true,
                warnings,
            });
        }
        let artifact = Arc::new(Artifact {
            built_by: generation,
            path,
            surroundings,
        });
        Ok(BuildOutcome::Built {
            artifact,
            unchanged: false,
            warnings,
        })
    }

    /// Has cargo forget what it has built from files whose changes it does not see by itself.
    async fn forget_unseen(&mut self, cancel: &mut Cancel) -> Result<(), Stopped> {
        if let (Some(ran), Some(loaded)) = (self.ran, &self.loaded) {
            let project = &loaded.project;
            let packages = unseen::packages(project, &self.changed, &self.inputs, ran);
            if !packages.is_empty() {
                let build = &self.settings.build;
                let args = command::clean(build, packages.into_iter());
                let launch = command::launch(build, build.cargo.clone(), args, &[]);
                // If it can't, the build shows what cargo sees, as without hotrun.
                helper::run(launch, cancel, |_, _| After::GoOn).await?;
            }
        }
        self.changed = Changed::default();
        Ok(())
    }

    /// Reads the project anew; why it can't be used, if so.
    async fn reload(
        &mut self,
        generation: Generation,
        cancel: &mut Cancel,
    ) -> Result<Option<String>, Stopped> {
        let settings = self.settings.clone();
        let events = self.events.clone();
        let mut line = move |text: String| {
            events
                .send(Event::Build(generation, BuildNews::Line(text)))
                .ok();
        };
        let (project, seen) = match read_project(&settings.build, cancel, &mut line).await {
            Ok(read) => read,
            Err(Unread::Stopped(stopped)) => return Err(stopped),
            Err(Unread::Problem(Problem::Broken)) => {
                return Ok(Some("the manifest cannot be read".into()));
            }
            Err(Unread::Problem(Problem::Choice(failure))) => return Ok(Some(failure.to_string())),
        };
        let scope = scope::of_project(&project, &settings.build, &self.named, seen);
        let place = Shelf::place(&project, &settings.build);
        let known = self
            .shelves
            .iter()
            .find(|shelf| shelf.is_at(&place))
            .cloned();
        let shelf = match known.map_or_else(|| Shelf::open(place).map(Arc::new), Ok) {
            Ok(shelf) => shelf,
            Err(failure) => return Ok(Some(failure.to_string())),
        };
        if !self.shelves.iter().any(|known| Arc::ptr_eq(known, &shelf)) {
            self.shelves.push(shelf.clone());
        }
        self.loaded = Some(Loaded {
            project,
            seen,
            shelf,
        });
        self.toolchain = None;
        self.known = None;
        self.tell(generation, BuildNews::Loaded(Box::new(scope)));
        Ok(None)
    }

    async fn cargo_build(
        &self,
        generation: Generation,
        cancel: &mut Cancel,
    ) -> Result<(Exit, Option<Rest>, Yield), Stopped> {
        let loaded = self.loaded()?;
        let project = &loaded.project;
        let settings = &self.settings.build;
        let mut args = command::select("build", settings, &project.target);
        self.tell(generation, BuildNews::Command(command::shown(&args)));
        args.extend(command::messages(self.settings.output.color));
        let progress: [(&str, OsString); 2] = [
            ("CARGO_TERM_PROGRESS_WHEN", "always".into()),
            ("CARGO_TERM_PROGRESS_WIDTH", "100".into()),
        ];
        let launch = command::launch(settings, settings.cargo.clone(), args, &progress);
        let mut seen = Yield::default();
        let mut blocked = false;
        let (exit, rest) = helper::run_until_enough(launch, cancel, |stream, piece| {
            if stream == Stream::Stdout {
                let told = messages::stdout(piece.trim_end());
                // Cargo takes some milliseconds more to end, which nobody has to wait for.
                let enough = matches!(told, Told::Finished(true));
                self.told(generation, loaded, told, &mut seen);
                return if enough { After::Enough } else { After::GoOn };
            }
            let said = messages::stderr(piece);
            if blocked && !matches!(said, Said::Blocked(_) | Said::Nothing) {
                blocked = false;
                self.tell(generation, BuildNews::Blocked(None));
            }
            match said {
                Said::Line(text) => self.tell(generation, BuildNews::Line(text)),
                Said::Progress(done, total) => {
                    self.tell(generation, BuildNews::Progress { done, total });
                }
                Said::Blocked(what) => {
                    blocked = true;
                    self.tell(generation, BuildNews::Blocked(Some(what)));
                }
                Said::Nothing => {}
            }
            After::GoOn
        })
        .await?;
        self.tell(generation, BuildNews::Ended(exit));
        Ok((exit, rest, seen))
    }

    /// A cargo has ended, and so has written what the program is made of.
    fn read_inputs(&mut self, finished: &Finished) {
        let Ok(text) = std::fs::read_to_string(depinfo::beside(&finished.executable)) else {
            return;
        };
        let Some(loaded) = &self.loaded else {
            return;
        };
        self.inputs = depinfo::inputs(&text);
        let named = depinfo::named(&self.inputs, &loaded.project);
        if named != self.named {
            let settings = &self.settings.build;
            let seen = Seen {
                at: finished.began,
                ..loaded.seen
            };
            let scope = scope::of_project(&loaded.project, settings, &named, seen);
            self.named = named;
            self.tell(finished.generation, BuildNews::Inputs(Box::new(scope)));
        }
    }

    fn loaded(&self) -> Result<&Loaded, Stopped> {
        self.loaded
            .as_ref()
            .ok_or_else(|| Stopped::Failed("the project was not read".into()))
    }

    fn told(&self, generation: Generation, loaded: &Loaded, told: Told, seen: &mut Yield) {
        match told {
            Told::Diagnostic {
                error,
                counts,
                rendered,
            } => {
                seen.errors += u32::from(error && counts);
                seen.warnings += u32::from(!error && counts);
                self.tell(generation, BuildNews::Diagnostic { error, rendered });
            }
            Told::Executable(artifact) => {
                let ours = artifact.package_id == loaded.project.id
                    && artifact.target.name == loaded.project.target.name;
                if let Some(path) = artifact.executable.filter(|_| ours) {
                    // At once: cargo holds its lock until it ends, so nobody has replaced it yet.
                    path.as_std_path().clone_into(&mut seen.executable);
                    seen.kept = Some(set_aside(&loaded.shelf, path.as_std_path(), generation));
                }
            }
            Told::Script(line) => seen.scripts.push(line),
            Told::Text(text) if !text.is_empty() => self.tell(generation, BuildNews::Line(text)),
            Told::Text(_) | Told::Finished(_) | Told::Nothing => {}
        }
    }

    /// What the program is started with; asked for again only when it can have changed.
    async fn surroundings(
        &mut self,
        mut scripts: Vec<String>,
        cancel: &mut Cancel,
    ) -> Result<Surroundings, Stopped> {
        // Cargo names them in the order in which they were ready.
        scripts.sort_unstable();
        if let Some((known, surroundings)) = &self.known
            && *known == scripts
        {
            return Ok(surroundings.clone());
        }
        let settings = self.settings.clone();
        let toolchain = match &self.toolchain {
            Some(toolchain) => toolchain.clone(),
            None => surroundings::toolchain(&settings.build, cancel).await?,
        };
        let toolchain = self.toolchain.insert(toolchain);
        let toolchain = toolchain.clone();
        let target = &self.loaded()?.project.target;
        let surroundings =
            surroundings::ask_cargo(&settings.build, target, &toolchain, cancel).await?;
        self.known = Some((scripts, surroundings.clone()));
        Ok(surroundings)
    }
}

/// The cargo that was about to end, once it has.
async fn end_of(ending: &mut Option<Finished>) -> Finished {
    if let Some(rest) = ending.as_mut().and_then(|finished| finished.rest.as_mut()) {
        rest.await.ok();
    }
    match ending.take() {
        Some(finished) => finished,
        None => std::future::pending().await,
    }
}

fn set_aside(shelf: &Shelf, executable: &Path, generation: Generation) -> Result<PathBuf, String> {
    shelf.set_aside(executable, generation).map_err(|error| {
        format!(
            "cannot set `{}` aside: {error}\nhint: make the target directory writable, free some \
             space, or choose another one with --target-dir",
            executable.display()
        )
    })
}

/// Whether the program is the one that runs; one that can't be read is taken for another one.
async fn same(baseline: &Path, executable: &Path) -> bool {
    let (a, b) = (baseline.to_owned(), executable.to_owned());
    let compared = tokio::task::spawn_blocking(move || artifact::same(&a, &b)).await;
    compared.is_ok_and(|result| result.unwrap_or(false))
}
