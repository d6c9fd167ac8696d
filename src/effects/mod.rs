//! Carries out what the session decides, and decides nothing: the only module that knows all those that
//! act. `slots` is about the sockets behind the addresses, `addresses` about which addresses are held,
//! `browsers` about the server that has browsers reload.

mod addresses;
mod browsers;
mod slots;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot::Receiver;

use crate::app::input::Input;
use crate::app::{App, HeldSocket, Start};
use crate::build::{Builder, artifact};
use crate::config::layer;
use crate::config::resolve::{FILE_NAME, Sources};
use crate::config::{Ready, Settings};
use crate::control::desk::Desk;
use crate::defect::{self, Blocking};
use crate::driver::Effects;
use crate::exit::{ExitKind, Failure};
use crate::hooks::Hooks;
use crate::keeper::Mode;
use crate::keeper::client::Keeper;
use crate::report::Note;
use crate::report::values::HeldAddress;
use crate::session::Policy;
use crate::session::action::Action;
use crate::session::event::{Effect, Event, Reconfigured};
use crate::session::model::{
    ArtifactRef, Change, ChangeKind, Content, Generation, Handover, Moment, Program, Save,
};
use crate::session::reason::{AND_REBUILD, Reason};
use crate::session::slots::Slot;
use crate::session::status::Status;
use crate::sockets::held::{HeldSet, SharedSet};
use crate::sys;
use crate::ui::Reporter;
use crate::ui::log::Log;
use crate::watch::Watch;

pub use browsers::Browsers;
pub use slots::{Running, Tasks};

/// Carries out the session's actions.
#[derive(Debug)]
pub struct Executor {
    /// The sources of the settings.
    pub sources: Sources,
    /// The settings in use.
    pub settings: Arc<Settings>,
    /// The configuration file went blank, and was given time to be written.
    pub waited: bool,
    /// Events to the session.
    pub events: UnboundedSender<Event>,
    /// The printer of lines and the status line.
    pub reporter: Reporter,
    /// The clients of the control socket that wait for an answer, and what they may ask for.
    pub desk: Desk,
    /// What browsers get.
    pub browsers: Browsers,
    /// The user's commands.
    pub hooks: Hooks,
    /// The builder.
    pub builder: Builder,
    /// Watches files; `None` under `--once`.
    pub watch: Option<Watch>,
    /// Paths in events are relative to this directory.
    pub base: PathBuf,
    /// The held sockets.
    pub held: SharedSet,
    /// The addresses that were announced last.
    pub announced: Vec<HeldAddress>,
    /// What is built and run; `None` until the project could be read.
    pub program: Option<Program>,
    /// The generations with processes.
    pub apps: HashMap<Generation, Running>,
    /// Background tasks for the slots.
    pub tasks: Tasks,
    /// The removals of what was built for generations that are gone.
    pub discarding: Vec<Blocking<()>>,
    /// A keeper that is started while a build runs, so that the launch need not wait for it.
    pub spare: Option<Keeper>,
    /// Passes hotrun's stdin on to the app, if it gets that.
    pub input: Option<Input>,
    /// The name of this run (`HOTRUN_SESSION`).
    pub session: Arc<str>,
    /// A directory that only this user can write to, for the `NOTIFY_SOCKET`s.
    pub runtime_dir: PathBuf,
}

/// Where a generation fits in.
struct Place {
    /// The generation that serves meanwhile.
    beside: Option<Generation>,
    slot: Slot,
    /// The slot of the generation that serves, or served last.
    serving: Slot,
}

/// The session's policy, by the settings and by what is held for the app.
pub fn policy(settings: &Settings, held: &HeldSet) -> Policy {
    let app = &settings.app;
    let serving = held.serves();
    let alone = probes_readiness(settings) && !held.can_probe();
    // Without an address and without a configured proof, readiness means being alive; under `--once`
    // such a program runs to its end.
    let bounded = serving || app.ready.is_some();
    let rules = settings.watch.rules.iter();
    Policy {
        debounce: settings.watch.debounce,
        max_wait: settings.watch.max_wait,
        rules: rules.map(|rule| rule.reactions.clone()).collect(),
        hooks: settings.hooks.clone(),
        on_change: settings.build.on_change,
        handover: if alone {
            Handover::StopFirst
        } else {
            settings.handover
        },
        serving,
        ready_timeout: bounded.then_some(app.ready_timeout),
        stop_timeout: app.stop_timeout,
        hold: settings.hold.filter(|_| held.has_twins()),
        quiesce_max: held.has_twins().then(|| quiesce_max(settings, held)),
        probation: app.probation,
        once: settings.once,
        fast: settings.build.fast,
        page: settings.browser.page.is_some(),
        open: settings.browser.open,
    }
}

/// How long the old generation may be waited for. Where hotrun answers clients it closes those connections
/// to it that have no request, so that none is waited for in vain; and each request that was passed on must
/// get there before the stop signal does.
fn quiesce_max(settings: &Settings, held: &HeldSet) -> Duration {
    if held.is_relayed() {
        settings.quiesce_max.max(settings.app.stop_timeout)
    } else {
        settings.quiesce_max
    }
}

/// The held addresses, for the user.
pub fn names(held: &HeldSet) -> Vec<HeldAddress> {
    let held = held.lasting().map(|held| HeldAddress {
        name: held.name.clone(),
        address: held.address.to_string(),
        twins: held.has_twins(),
    });
    held.collect()
}

/// Readiness is probed over the network.
fn probes_readiness(settings: &Settings) -> bool {
    matches!(settings.app.ready, Some(Ready::Asked(_)))
}

/// Warnings about these settings, given what is held.
pub fn cautions(settings: &Settings, held: &HeldSet) -> Vec<Note> {
    let mut cautions = Vec::new();
    let shared = held.iter().find_map(|held| Some((held, held.shared()?)));
    if let Some((held, reason)) = shared {
        cautions.push(format!(
            "{}: both generations share one socket during a swap, where a connection can be lost: \
             {reason}",
            held.address
        ));
    }
    if settings.hold.is_some() && !held.is_empty() && !held.has_twins() {
        let text = "new clients do not wait for the next generation: no address has a socket for \
                    each generation";
        cautions.push(text.into());
    }
    if probes_readiness(settings) && held.has_tcp() && !held.can_probe() {
        let text = "a readiness probe (`http:`, `https:`, `tcp`) stops live before the next \
                    generation starts: on one shared socket it cannot be steered to the candidate";
        cautions.push(text.into());
    }
    cautions.into_iter().map(Note::Warning).collect()
}

/// What is run, for the user.
pub fn session_of(program: &Program, workspace: &Path) -> Note {
    Note::Session {
        package: program.package.clone(),
        target: program.target.clone(),
        workspace: workspace.to_owned(),
        source: program.source.clone(),
    }
}

/// The next step where hotrun goes on with its last good settings.
fn while_running(refused: impl Into<Failure>) -> Failure {
    let failure = refused.into();
    match failure.kind {
        ExitKind::InUse => failure.hint(format!(
            "end that program{AND_REBUILD}, or choose another address"
        )),
        _ => failure,
    }
}

/// Warns of what could not be watched, once that is known.
pub fn warn_of(reporter: &Reporter, watching: Receiver<Vec<Reason>>) {
    let reporter = reporter.clone();
    defect::spawn("unwatched", async move {
        defect::point("unwatched");
        for problem in watching.await.unwrap_or_default() {
            reporter.tell(Note::Unwatched(problem));
        }
    });
}

impl Effects for Executor {
    fn perform(&mut self, now: Moment, action: Action) {
        if matches!(action, Action::Stop(_)) {
            defect::point("effects");
        }
        match action {
            Action::Rewatch(mut scope) => {
                self.base.clone_from(&scope.base);
                self.reporter.paths_from(scope.base.clone());
                if let Some(program) = scope.program.take() {
                    self.runs(now, program);
                }
                if let Some(watch) = &self.watch {
                    warn_of(&self.reporter, watch.rewatch(*scope));
                }
            }
            Action::Reconfigure => self.reconfigure(now),
            Action::ReadAddresses => self.read_addresses(now),
            Action::Proved(generation) => {
                self.passed_probation(generation);
                self.tell_executables(generation);
                self.builder.prepare();
                // Nothing is likely to be waited for now, and perhaps nothing happens for hours.
                sys::host::give_memory_back();
            }
            Action::Run(id, job) => self.hooks.start(id, &job, &self.settings),
            Action::EndJob(id) => self.hooks.end(id),
            Action::StartBuild {
                generation,
                load,
                baseline,
                changed,
            } => {
                // Without a spare one the launch starts its own, and reports an error.
                self.spare = self.spare.take().or_else(|| Keeper::spawn(Mode::Tree).ok());
                self.builder.start(generation, load, baseline, changed);
            }
            Action::CancelBuild(generation) => self.builder.cancel(generation),
            Action::Launch {
                generation,
                artifact,
                beside,
                slot,
                serving,
            } => {
                let place = Place {
                    beside,
                    slot,
                    serving,
                };
                self.remember_again();
                self.launch(now, generation, artifact, &place);
            }
            Action::Look(generation) => self.with(generation, App::check_debugger),
            Action::FindWriter { generation, paths } => {
                let base = self.base.clone();
                let paths: Vec<PathBuf> = paths.iter().map(|path| base.join(path)).collect();
                self.with(generation, |app| {
                    app.find_writer(base.clone(), paths.clone());
                });
            }
            Action::Signal { generation, number } => {
                self.with(generation, |app| app.signal(number));
            }
            Action::Free => self.release_unbound(now),
            Action::Activate(slot) => self.activate(now, slot),
            Action::Relay(relay) => self.relay(relay),
            Action::Page(page) => self.page(page),
            Action::OpenBrowser => self.open_browser(now),
            Action::RelayQueued(slot) => self.relay_queued(slot),
            Action::ReleaseUnclaimed => self.release_unclaimed(now),
            Action::Left {
                generation,
                slot,
                serving,
            } => self.remove_generation(generation, slot, serving),
            Action::Quiesce(generation) => self.quiesce(generation),
            Action::Stop(generation) => {
                self.told_to_end(generation);
                // The current setting, from which the one it was started with may differ.
                let signal = self.settings.app.stop_signal;
                self.with(generation, |app| app.stop(signal));
            }
            Action::Kill(generation) => {
                self.told_to_end(generation);
                self.with(generation, App::kill);
            }
            Action::Discard(artifact) => self.discard(artifact),
            Action::Serving(generation) => {
                self.release_overlapping(now, generation);
                self.tell_executables(generation);
            }
            Action::Answer(client, status) => {
                let addresses = names(&self.held.lock());
                self.desk.answer(client, *status, addresses);
            }
            Action::ReloadBrowser(paths) => self.browsers.reload(now, paths, &self.reporter),
            Action::Show(view) => {
                self.desk.saw(&view);
                self.reporter.view(now, view);
            }
            Action::ReopenLog => self.reporter.reopen_log(),
            Action::Suspend => self.suspend(),
            // Carried out by the driver.
            Action::End(_) => {}
        }
    }

    fn status(&mut self, _: Moment, status: &Status) {
        self.reporter.status(status);
        let editor = self.settings.browser.editor.as_deref();
        let picture = self.desk.picture(status, editor);
        self.browsers.board.publish(picture);
    }
}

impl Executor {
    /// Stops hotrun until it is continued.
    fn suspend(&self) {
        // The shell's prompt and hotrun's status line must not run into each other.
        let _paused = self.reporter.pause();
        let had_keys = sys::restore_terminal();
        sys::suspend();
        if had_keys {
            sys::take_keys();
        }
    }

    /// Removes what was built for a generation, in a thread of its own: giving up the pages of a large
    /// program takes the kernel some milliseconds.
    fn discard(&mut self, artifact: ArtifactRef) {
        self.discarding.retain(|removal| !removal.is_over());
        let removal = defect::spawn_blocking("discard", move || {
            defect::point("discard");
            artifact::discard(&artifact.dir);
        });
        self.discarding.push(removal);
    }

    /// Waits until all that was to be removed is.
    pub async fn discarded(&mut self) {
        for removal in &mut self.discarding {
            // What is left of one that panicked is removed at the next start.
            removal.done().await.ok();
        }
    }

    /// The project was read: this is built from now on.
    fn runs(&mut self, now: Moment, program: Program) {
        if self.program.as_ref() != Some(&program) {
            self.reporter.note(now, session_of(&program, &self.base));
            self.desk.runs(&program, &self.base);
            self.program = Some(program);
        }
    }

    fn with(&self, generation: Generation, order: impl Fn(&App)) {
        if let Some(running) = self.apps.get(&generation) {
            order(&running.app);
        }
    }

    /// Tells the builder which executables the app runs, once they are found.
    fn tell_executables(&self, generation: Generation) {
        if let Some(running) = self.apps.get(&generation) {
            let (builder, find) = (self.builder.clone(), running.app.executables());
            defect::spawn_blocking("executables", move || {
                defect::point("executables");
                builder.running(find());
            });
        }
    }

    /// Reads the settings again and applies them to every module; if they can't be used, nothing
    /// changes.
    fn reconfigure(&mut self, now: Moment) {
        // A file that is being written is empty for a moment. Applied, that would release every declared
        // address.
        let went_blank = self.sources.is_blank() && self.settings.watch.configured;
        if went_blank && !self.waited {
            self.waited = true;
            self.read_later();
            let unchanged = Reconfigured {
                policy: policy(&self.settings, &self.held.lock()),
                changed: Vec::new(),
                effect: Effect::Nothing,
            };
            self.events
                .send(Event::Configured(Ok(Box::new(unchanged))))
                .ok();
            return;
        }
        self.waited = false;
        let read = self.sources.settings();
        let read = read.and_then(|settings| self.adopt(now, settings));
        let read = read.map(Box::new).map_err(Reason::from);
        self.events.send(Event::Configured(read)).ok();
    }

    /// Reads the configuration once more, after a while.
    fn read_later(&self) {
        let (events, wait) = (self.events.clone(), self.settings.watch.max_wait);
        defect::spawn("configuration", async move {
            let waited = async {
                defect::point("configuration");
                tokio::time::sleep(wait).await;
            };
            defect::guarded("configuration", waited).await.ok();
            let change = Change {
                path: FILE_NAME.into(),
                kind: ChangeKind::Config,
                before: None,
                now: Content::Unreadable,
                save: Save::Unknown,
                script: None,
            };
            events.send(Event::Changed(vec![change])).ok();
        });
    }

    fn adopt(&mut self, now: Moment, settings: Settings) -> Result<Reconfigured, Failure> {
        let (changed, effect) = self.settings.changed(&settings);
        let log = settings.output.log.as_deref().map(Log::open).transpose()?;
        let known = cautions(&self.settings, &self.held.lock());
        let mut held = self.held.lock();
        let adapted = held.adapt(&settings.listen, settings.steering);
        let changed_set = adapted.map(|adapted| {
            let gone = held.capture_from_now_on(settings.app.capture);
            adapted || !gone.is_empty()
        });
        drop(held);
        // Unlocked, since the error looks for the process that has an address.
        let changed_set = changed_set.map_err(while_running)?;
        if changed_set {
            self.announce(now);
        }
        let cautions = cautions(&settings, &self.held.lock()).into_iter();
        for note in cautions.filter(|note| !known.contains(note)) {
            self.reporter.note(now, note);
        }
        self.browsers.adopt(now, &settings.browser, &self.reporter);
        self.answer_clients(now);
        let policy = policy(&settings, &self.held.lock());
        self.settings = Arc::new(settings);
        self.reporter.adopt(self.settings.clone(), log);
        self.builder.configure(self.settings.clone());
        if let Some(watch) = &self.watch {
            watch.configure(self.settings.watch.clone());
        }
        Ok(Reconfigured {
            policy,
            changed,
            effect: match effect {
                Some(layer::Effect::Rebuild) => Effect::Rebuild,
                Some(layer::Effect::Restart) => Effect::Restart,
                Some(layer::Effect::Next) | None => Effect::Nothing,
            },
        })
    }

    fn launch(
        &mut self,
        now: Moment,
        generation: Generation,
        artifact: ArtifactRef,
        place: &Place,
    ) {
        let slot = place.slot;
        let live = place.beside.and_then(|live| self.apps.get(&live));
        let keeper = live.and_then(|live| live.app.keeper());
        let reach = self.prepare_slot(now, slot, place.beside.is_some());
        let capture = self.capture(slot, place.serving);
        let set = self.held.lock();
        let held = set.given().map(|held| HeldSocket {
            name: held.name.clone(),
            address: held.address.clone(),
            behind: held.behind(slot),
            inode: held.inode(slot),
        });
        let held = held.collect();
        let sockets = set.share(slot);
        let keeps_paths = capture.is_some() && set.paths().next().is_some();
        drop(set);
        let start = Start {
            generation,
            artifact,
            sockets,
            held,
            capture,
            beside: keeper,
            reach,
            keeper: self.spare.take(),
            input: self.input.clone(),
            session: self.session.clone(),
            livereload: self.browsers.port(),
            notify: self
                .runtime_dir
                .join(format!("hotrun-{}-{generation}", self.session))
                .join("notify"),
        };
        let sink = self.desk.keeping(self.reporter.sink());
        let app = App::start(start, self.settings.clone(), self.events.clone(), sink);
        let running = Running {
            app,
            slot,
            unlinks: false,
            keeps_paths,
        };
        self.apps.insert(generation, running);
    }
}
