//! Carries out the orders to the builder, one at a time: the steps of a build, and what is known between
//! builds.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::sync::{mpsc, watch};

use super::artifact::ArtifactStore;
use super::direct::{Compiled, Direct};
use super::inputs::Inputs;
use super::lock_holder::{self, Waits};
use super::messages::{self, Obstacle, Said, Told};
use super::output::{CargoOutput, Finished, Wanted, cannot_pin};
use super::pin::Pins;
use super::project::{Problem, Project};
use super::reader::{Unread, read_project};
use super::toolchain::{self, Toolchain};
use super::{Loaded, Order, Settle, cargo_config, command, settled, siblings, surroundings};
use crate::clock;
use crate::config::Settings;
use crate::defect::{guarded, point};
use crate::exit::Failure;
use crate::helper::{self, After, Cancel, Prepared, Rest, Stopped};
use crate::lines::Stream;
use crate::session::event::{BuildNews, Event};
use crate::session::model::{
    ArtifactRef, BuildOutcome, Changes, Exit, Generation, Line, Surroundings,
};
use crate::session::reason::Reason;
use crate::session::seen::Began;

/// The builder's state between orders.
pub(super) struct Work {
    settings: Arc<Settings>,
    loaded: Option<Loaded>,
    /// Every store that was used: live may run from an older one.
    stores: Vec<Arc<ArtifactStore>>,
    /// Binaries of the package that the program was seen to start.
    siblings: BTreeSet<String>,
    /// The directory into which cargo last built the program.
    profile_dir: PathBuf,
    toolchain: Option<Toolchain>,
    /// The surroundings, and the messages of build scripts for which they were read.
    known: Option<(Vec<String>, Surroundings)>,
    /// What the program is made of.
    inputs: Inputs,
    /// What a build without cargo can build on.
    direct: Option<Direct>,
    /// A build whose cargo is about to end.
    ending: Option<Finished>,
    /// A keeper for the first command of the next build.
    spare: Option<Prepared>,
    settle: Settle,
    events: mpsc::UnboundedSender<Event>,
}

impl Work {
    /// The builder of a project that was read, or is still to be read.
    pub(super) fn new(
        settings: Arc<Settings>,
        loaded: Option<Loaded>,
        settle: Settle,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        let stores = loaded.iter().map(|loaded| loaded.store.clone()).collect();
        let siblings = loaded.as_ref().map(|loaded| loaded.store.siblings());
        Self {
            settings,
            loaded,
            stores,
            siblings: siblings.unwrap_or_default(),
            profile_dir: PathBuf::new(),
            toolchain: None,
            known: None,
            inputs: Inputs::default(),
            direct: None,
            ending: None,
            spare: None,
            settle,
            events,
        }
    }

    /// Carries out orders until hotrun ends.
    pub(super) async fn run(&mut self, inbox: &mut mpsc::UnboundedReceiver<Order>) {
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
                    self.configure(settings);
                    continue;
                }
                Order::Running(executables) => {
                    self.learn(&executables);
                    continue;
                }
                Order::Prepare => {
                    self.prepare();
                    continue;
                }
                Order::Cancel(_) => continue,
            };
            let mut configured = None;
            let mut running = Vec::new();
            let (cancel, mut cancelled) = watch::channel(false);
            let outcome = {
                let mut until = cancelled.clone();
                let build = async {
                    let baseline = baseline.as_ref();
                    let build = self.build(generation, load, baseline, &changed, &mut cancelled);
                    settled(build.await, &self.settle, &mut until).await
                };
                let build = guarded("build", build);
                tokio::pin!(build);
                loop {
                    tokio::select! {
                        outcome = &mut build => break outcome,
                        order = inbox.recv() => match order {
                            Some(Order::Cancel(which)) if which == generation => {
                                cancel.send_replace(true);
                            }
                            Some(Order::Configure(settings)) => configured = Some(settings),
                            Some(Order::Running(executables)) => running.extend(executables),
                            Some(_) => {}
                            // hotrun ends: the keepers end what runs.
                            None => return,
                        },
                    }
                }
            };
            if let Some(settings) = configured {
                self.configure(settings);
            }
            let outcome = outcome.unwrap_or_else(|panic| Err(Stopped::by_defect(&panic)));
            let outcome = match outcome {
                Ok(outcome) => outcome,
                Err(Stopped::Cancelled) => BuildOutcome::Cancelled,
                Err(Stopped::Failed(reason)) => BuildOutcome::Failed { reason },
            };
            let is_over = matches!(outcome, BuildOutcome::Failed { .. });
            self.tell(generation, BuildNews::Done(outcome));
            // What succeeds is started now, and has the processors first.
            if is_over {
                self.prepare();
            }
            self.learn(&running);
        }
    }

    /// Makes ready what the next build would wait for.
    fn prepare(&mut self) {
        self.spare = self.spare.take().or_else(Prepared::new);
    }

    /// Uses these settings from the next build on.
    fn configure(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
        self.forget_calls();
    }

    /// The recorded calls are none that cargo would make again.
    fn forget_calls(&mut self) {
        self.direct = None;
        let store = self.loaded.as_ref().map(|loaded| &loaded.store);
        if let Some(recorder) = store.and_then(|store| store.recorder()) {
            recorder.clear();
        }
    }

    /// Adds siblings that the program was seen to start: they are built with it from now on.
    fn learn(&mut self, running: &[PathBuf]) {
        point("builder");
        let Some(loaded) = self.loaded.as_ref() else {
            return;
        };
        let is_beside = |dir: &Path| loaded.store.is_beside(dir, &self.profile_dir);
        let started = siblings::started(running, &loaded.project, is_beside);
        let new: BTreeSet<String> = started.difference(&self.siblings).cloned().collect();
        if new.is_empty() || self.settings.build.bins.is_some() {
            return;
        }
        self.siblings.extend(new.iter().cloned());
        loaded.store.remember_siblings(&self.siblings);
        self.events
            .send(Event::Siblings(new.into_iter().collect()))
            .ok();
    }

    fn tell(&self, generation: Generation, news: BuildNews) {
        self.events.send(Event::Build(generation, news)).ok();
    }

    async fn build(
        &mut self,
        generation: Generation,
        load: bool,
        baseline: Option<&ArtifactRef>,
        changed: &Changes,
        cancel: &mut Cancel,
    ) -> Result<BuildOutcome, Stopped> {
        point("build");
        self.end_of_last(cancel).await?;
        let project = self.loaded.as_ref().map(|loaded| &loaded.project);
        let workspace = project.map(|project| project.workspace.clone());
        let (workspace, changed) = (workspace.unwrap_or_default(), changed.clone());
        let note = move |inputs: &mut Inputs| inputs.note(&workspace, &changed);
        let changed = &self.inputs.in_thread(note).await?;
        let load = load || self.is_configured_anew();
        if load && let Some(reason) = self.reload(generation, cancel).await? {
            return Ok(BuildOutcome::Failed { reason });
        }
        let loaded = self.loaded()?;
        let in_use = |failure: Failure| Stopped::Failed(failure.into());
        loaded.store.lock_again().map_err(in_use)?;
        let stamp = loaded.store.now().unwrap_or_else(|_| clock::stamp());
        let clock = clock::steady();
        let began = Began { stamp, clock };
        let project = loaded.project.clone();
        if let Some(baseline) = baseline {
            let built =
                self.build_without_cargo(generation, &project, baseline, changed, began, cancel);
            if let Some(outcome) = built.await? {
                return Ok(outcome);
            }
        }
        self.direct = None;
        let (of, settings) = (project.clone(), self.settings.clone());
        let begin = move |inputs: &mut Inputs| inputs.begin(&of, &settings, began);
        self.inputs.in_thread(begin).await?;
        let keeper = self.spare.take();
        let (exit, rest, seen) = self.cargo_build(generation, keeper, cancel).await?;
        if !exit.success() {
            self.inputs.failed(&project, seen.named, &seen.scripts);
            self.tell_scope(generation);
            let reason = match seen.errors {
                0 => format!("cargo ended with {exit}"),
                errors => errors_in_code(errors),
            };
            let reason = match seen.obstacle {
                Some(obstacle) => obstacle.reason(reason, &self.by_hand()?, self.settings.once),
                None => reason.into(),
            };
            return Ok(BuildOutcome::Failed { reason });
        }
        let Some(pins) = seen.pins else {
            return Err(Stopped::Failed(Reason::new(
                "cargo built no executable for this target",
                "choose a binary with --bin or an example with --example",
            )));
        };
        let mut pins = pins.map_err(Stopped::Failed)?;
        let pinned = pins.complete().await;
        pinned.map_err(|error| Stopped::Failed(cannot_pin(&pins.executable(), &error)))?;
        pins.profile_dir().clone_into(&mut self.profile_dir);
        self.ending = Some(Finished {
            generation,
            executables: seen.executables,
            scripts: seen.scripts.clone(),
            crates: seen.crates,
            is_alone: pins.is_alone(),
            rest,
            warnings: seen.warnings.clone(),
        });
        let surroundings = self.surroundings(generation, seen.scripts, cancel).await?;
        let warnings = seen.warnings.values().sum();
        let bins = &project.bins;
        Ok(pins
            .outcome(generation, bins, baseline, surroundings, warnings)
            .await)
    }

    /// If the cargo of the last build is still about to end, waits for it: what it leaves is not to be
    /// taken for what this build has left.
    async fn end_of_last(&mut self, cancel: &mut Cancel) -> Result<(), Stopped> {
        if self.ending.is_none() {
            return Ok(());
        }
        let finished = tokio::select! {
            finished = end_of(&mut self.ending) => finished,
            _ = cancel.wait_for(|cancelled| *cancelled) => return Err(Stopped::Cancelled),
        };
        self.read_inputs(&finished);
        Ok(())
    }

    /// Builds with the recorded calls of the compiler, where they are all that is to do. `None`: cargo
    /// has to be called.
    async fn build_without_cargo(
        &mut self,
        generation: Generation,
        project: &Project,
        baseline: &ArtifactRef,
        changed: &Changes,
        began: Began,
        cancel: &mut Cancel,
    ) -> Result<Option<BuildOutcome>, Stopped> {
        let (Some(mut direct), Some((_, surroundings))) = (self.direct.take(), &self.known) else {
            return Ok(None);
        };
        let Some(plan) = direct.plan(changed) else {
            return Ok(None);
        };
        self.inputs.begin_without_cargo(began);
        let events = self.events.clone();
        let tell = |news| _ = events.send(Event::Build(generation, news));
        tell(BuildNews::Command(direct.describe(&plan)));
        let jobs = self.settings.build.jobs.as_ref();
        let jobs = jobs.and_then(|jobs| jobs.parse().ok());
        let jobs = jobs.or_else(|| Some(available_parallelism().ok()?.get()));
        let compiled = direct
            .compile(&plan, jobs.unwrap_or(1), &mut self.spare, cancel, tell)
            .await;
        let (sources, warnings) = (direct.sources(), direct.warnings());
        let executable = direct.executable.clone();
        let surroundings = surroundings.clone();
        // A cancelled run can be built on too. If only cargo can tell, it makes the next start.
        if !matches!(compiled, Ok(Compiled::Undecided)) {
            self.direct = Some(direct);
        }
        let program = match compiled? {
            Compiled::Program(program) => program,
            Compiled::Errors(errors, named) => {
                self.inputs.failed(project, named, &[]);
                self.tell_scope(generation);
                let reason = errors_in_code(errors).into();
                return Ok(Some(BuildOutcome::Failed { reason }));
            }
            Compiled::Undecided => return Ok(None),
        };
        self.inputs.compiled(sources);
        self.tell_scope(generation);
        let place = self.loaded()?.store.place(&self.profile_dir, generation);
        let failed = |error| Stopped::Failed(cannot_pin(&program, &error));
        let mut pins = Pins::new(place, &self.profile_dir, &executable).map_err(failed)?;
        pins.add_executable(&program).map_err(failed)?;
        pins.complete().await.map_err(failed)?;
        let bins = &project.bins;
        let outcome = pins.outcome(generation, bins, Some(baseline), surroundings, warnings);
        Ok(Some(outcome.await))
    }

    /// The command that builds the program, as one would type it.
    fn by_hand(&self) -> Result<String, Stopped> {
        let args = command::build(&self.settings.build, &self.loaded()?.project.target, &[]);
        Ok(command::shown(&args))
    }

    /// Cargo's configuration has changed since the project was read: it may include files of any name.
    fn is_configured_anew(&self) -> bool {
        let now = cargo_config::digest(&self.settings.build);
        let loaded = self.loaded.as_ref();
        loaded.is_some_and(|loaded| loaded.project.configuration != now)
    }

    /// Reads the project anew; why it can't be used, if so.
    async fn reload(
        &mut self,
        generation: Generation,
        cancel: &mut Cancel,
    ) -> Result<Option<Reason>, Stopped> {
        self.direct = None;
        let settings = self.settings.clone();
        let events = self.events.clone();
        let mut unread = messages::Unread::default();
        let mut line = |text: Line| {
            unread.hear(&text);
            events
                .send(Event::Build(generation, BuildNews::Line(text)))
                .ok();
        };
        let waiting = lock_holder::by_event(&self.events, generation);
        let read = read_project(&settings.build, cancel, &mut line, &waiting).await;
        let (project, seen) = match read {
            Ok(read) => read,
            Err(Unread::Stopped(stopped)) => return Err(stopped),
            Err(Unread::Problem(Problem::Broken)) => return Ok(Some(unread.reason(settings.once))),
            Err(Unread::Problem(Problem::Usage(failure))) => return Ok(Some(failure.into())),
            Err(Unread::Problem(Problem::Choice(choice))) => {
                return Ok(Some(choice.failure().into()));
            }
        };
        let mut scope = self.inputs.loaded(&project, &settings, seen);
        let mut stores = self.stores.iter();
        let known = stores.find(|store| store.is_of(&project, &settings.build));
        let opened = known.cloned().map_or_else(
            || ArtifactStore::open(&project, &settings.build).map(Arc::new),
            Ok,
        );
        let store = match opened {
            Ok(store) => store,
            Err(failure) => return Ok(Some(failure.into())),
        };
        if !self.stores.iter().any(|known| Arc::ptr_eq(known, &store)) {
            self.stores.push(store.clone());
        }
        self.siblings.extend(store.siblings());
        let loaded = Loaded {
            project,
            seen,
            store,
        };
        scope.program = Some(loaded.program(&settings.build));
        self.loaded = Some(loaded);
        self.toolchain = None;
        self.known = None;
        self.forget_calls();
        self.tell(generation, BuildNews::Loaded(Box::new(scope)));
        Ok(None)
    }

    async fn cargo_build(
        &self,
        generation: Generation,
        keeper: Option<Prepared>,
        cancel: &mut Cancel,
    ) -> Result<(Exit, Option<Rest>, CargoOutput), Stopped> {
        let loaded = self.loaded()?;
        let project = &loaded.project;
        let settings = &self.settings.build;
        let siblings = siblings::built_with(settings.bins.as_deref(), &self.siblings, project);
        let mut args = command::build(settings, &project.target, &siblings);
        self.tell(generation, BuildNews::Command(command::shown(&args)));
        args.extend(command::messages(self.settings.output.color));
        args.extend(loaded.store.recording().into_iter().flatten());
        let progress: [(&str, OsString); 2] = [
            ("CARGO_TERM_PROGRESS_WHEN", "always".into()),
            ("CARGO_TERM_PROGRESS_WIDTH", "100".into()),
        ];
        let launch = command::launch(settings, settings.cargo.clone(), args, &progress);
        let wanted = Wanted {
            project,
            siblings: &siblings,
            store: &loaded.store,
            generation,
        };
        let mut seen = CargoOutput::default();
        let mut waits = Waits::new(lock_holder::by_event(&self.events, generation));
        let (exit, rest) = helper::run_until_enough(keeper, launch, cancel, |stream, piece| {
            if stream == Stream::Stdout {
                let told = messages::stdout(piece.trim_end());
                // Cargo takes some milliseconds more to end, and the build need not wait for that.
                let enough = matches!(told, Told::Finished(true));
                if let Some(news) = seen.told(piece, told, &wanted) {
                    self.tell(generation, news);
                }
                return if enough { After::Enough } else { After::GoOn };
            }
            let said = messages::stderr(piece);
            if !matches!(said, Said::Blocked(_) | Said::Nothing) {
                waits.end();
            }
            match said {
                Said::Line(text) => {
                    seen.obstacle = seen.obstacle.take().or_else(|| Obstacle::of(&text));
                    self.tell(generation, BuildNews::Line(piece.with(text)));
                }
                Said::Progress(done, total) => {
                    self.tell(generation, BuildNews::Progress { done, total });
                }
                Said::Blocked(what) => waits.begin(what),
                Said::Nothing => {}
            }
            After::GoOn
        })
        .await?;
        self.tell(generation, BuildNews::Ended(exit));
        Ok((exit, rest, seen))
    }

    /// Reads the dep-info: a cargo has ended, and so has written it.
    fn read_inputs(&mut self, finished: &Finished) {
        if let Some(loaded) = &self.loaded {
            let executables = &finished.executables;
            self.inputs
                .built(&loaded.project, executables, &finished.scripts);
            if let (Some(recorder), Some(sources)) =
                (loaded.store.recorder(), self.inputs.sources())
            {
                self.direct = Direct::after(recorder, &loaded.project, sources, finished);
            }
        }
        self.tell_scope(finished.generation);
    }

    /// Reports what there is to watch, if it changed.
    fn tell_scope(&mut self, generation: Generation) {
        if let Some(loaded) = &self.loaded
            && let Some(scope) = self
                .inputs
                .changed(&loaded.project, &self.settings, loaded.seen)
        {
            self.tell(generation, BuildNews::Inputs(Box::new(scope)));
        }
    }

    fn loaded(&self) -> Result<&Loaded, Stopped> {
        self.loaded
            .as_ref()
            .ok_or_else(|| Stopped::Failed("the project was not read".into()))
    }

    /// What the program is started with; cargo is asked again only if that may have changed.
    async fn surroundings(
        &mut self,
        generation: Generation,
        mut scripts: Vec<String>,
        cancel: &mut Cancel,
    ) -> Result<Surroundings, Stopped> {
        // Cargo sends them in the order in which the scripts ended.
        scripts.sort_unstable();
        if let Some((known, surroundings)) = &self.known
            && *known == scripts
        {
            return Ok(surroundings.clone());
        }
        let settings = self.settings.clone();
        let toolchain = match &self.toolchain {
            Some(toolchain) => toolchain.clone(),
            None => toolchain::read(&settings.build, &self.loaded()?.project.host, cancel).await?,
        };
        let toolchain = self.toolchain.insert(toolchain);
        let toolchain = toolchain.clone();
        let waiting = lock_holder::by_event(&self.events, generation);
        let loaded = self.loaded()?;
        let (target, recording) = (&loaded.project.target, loaded.store.recording());
        let surroundings = surroundings::ask_cargo(
            &settings.build,
            target,
            &toolchain,
            recording,
            waiting,
            cancel,
        )
        .await?;
        self.known = Some((scripts, surroundings.clone()));
        Ok(surroundings)
    }
}

fn errors_in_code(errors: u32) -> String {
    match errors {
        1 => "1 error".into(),
        many => format!("{many} errors"),
    }
}

/// The build whose cargo was about to end, once it has ended.
async fn end_of(ending: &mut Option<Finished>) -> Finished {
    if let Some(rest) = ending.as_mut().and_then(|finished| finished.rest.as_mut()) {
        rest.await.ok();
    }
    match ending.take() {
        Some(finished) => finished,
        None => std::future::pending().await,
    }
}
