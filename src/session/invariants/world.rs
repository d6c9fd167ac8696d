//! The world that a session acts on: builds, processes, commands, files, slots and one captured address,
//! as what happens and the session's actions leave them. It does what it is told, and judges nothing
//! (see `promises`).

use std::collections::BTreeMap;

use super::super::Policy;
use super::super::action::{Action, View};
use super::super::claims::Claims;
use super::super::command::{Client, Command as Asked};
use super::super::event::{AppNews, BuildNews, Event, JobNews};
use super::super::model::{
    BuildOutcome, ChangeKind, Content, Generation, JobId, Moment, Occasion, Writer,
};
use super::super::page::Page;
use super::super::slots::{Relay, Slot};
use super::policies::{Program, Setup};

/// The contents of all that the program is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) source: Content,
    pub(super) manifest: Content,
}

/// A build that runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Build {
    pub(super) generation: Generation,
    /// Cargo reads the project.
    pub(super) reading: bool,
    pub(super) cancelled: bool,
    pub(super) baseline: Option<Generation>,
    /// The files at its start.
    pub(super) of: Files,
    /// The user has asked for it.
    wanted: bool,
}

/// A generation's processes.
#[expect(
    clippy::struct_excessive_bools,
    reason = "what is the case and what is not"
)]
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) built_by: Generation,
    pub(super) slot: Slot,
    pub(super) runs: bool,
    /// It was seen to be ready.
    pub(super) was_ready: bool,
    /// Its main process has ended, or has not begun.
    pub(super) ended: bool,
    /// It is being quiesced, and has not got the stop signal yet.
    pub(super) quiescing: bool,
    pub(super) stopped: bool,
    pub(super) killed: bool,
    /// What it does at the address that it binds itself.
    pub(super) bound: bool,
    pub(super) listens: bool,
    /// It is ready only when it listens there.
    pub(super) awaited: bool,
}

impl Process {
    /// It was told to end, or will be when it is quiet.
    pub(super) fn is_told(&self) -> bool {
        self.quiescing || self.stopped || self.killed
    }
}

/// A command of the user's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command {
    pub(super) occasion: Occasion,
    /// It was told to end.
    pub(super) told: bool,
}

/// What happened to the newest saved files.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tried {
    /// Live ran when they were saved.
    pub(super) beside_live: bool,
    /// So many programs ended by themselves since these files were saved.
    pub(super) deaths: usize,
    /// A command of the user's that is waited for has failed.
    pub(super) command_failed: bool,
}

/// The state of the world.
#[expect(
    clippy::struct_excessive_bools,
    reason = "what is the case and what is not"
)]
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) program: Program,
    pub(super) files: Files,
    /// The files before the last save.
    pub(super) before: Files,
    /// The newest number of a content.
    pub(super) digest: u64,
    pub(super) tried: Tried,
    /// Files of which a build, a program or a command before either has failed or ended since the user
    /// last asked for a build.
    pub(super) bad: Vec<Files>,
    /// Something was taken for own writing, which need not be served at once.
    pub(super) own_writing: bool,
    /// The manifest was written since it was read last.
    pub(super) unread_manifest: bool,
    pub(super) build: Option<Build>,
    /// The programs that were built and are kept, and what each was built of: other files may make the
    /// same program.
    pub(super) programs: BTreeMap<Generation, Vec<Files>>,
    pub(super) processes: BTreeMap<Generation, Process>,
    /// The generation of which the last process has gone with this event.
    pub(super) left: Option<(Generation, Slot)>,
    /// The user's commands that run.
    pub(super) jobs: BTreeMap<JobId, Command>,
    /// What was asked and is not answered yet.
    pub(super) reading_settings: usize,
    pub(super) reading_addresses: usize,
    pub(super) looked_at: Option<Generation>,
    pub(super) sought: Option<Generation>,
    /// The generation that is known to have a debugger.
    pub(super) debugged: Option<Generation>,
    /// The generation that was seen to have none since the last launch.
    pub(super) undebugged: Option<Generation>,
    /// The user has asked for a restart, which does not wait for a debugger: the newest build then.
    pub(super) asked: Option<Generation>,
    /// The newest build that was started.
    pub(super) newest_build: Generation,
    pub(super) active: Slot,
    pub(super) relay: Option<Relay>,
    pub(super) page: Page,
    /// Since when new connections are parked beside live.
    pub(super) parked: Option<Moment>,
    /// The claims on the captured address, while it is held.
    pub(super) address: Option<Claims>,
    /// The newest generation that was launched, and the newest that served, since when.
    pub(super) launched: Generation,
    pub(super) live: Generation,
    pub(super) live_since: Moment,
    /// Browsers have not been told of live.
    pub(super) reload_owed: bool,
    /// The newest program that has passed its probation.
    pub(super) proved: Option<Generation>,
    /// A candidate has failed with a sign that live was in its way.
    pub(super) in_the_way: bool,
    /// Nothing is built but what the user asks for.
    pub(super) paused: bool,
    /// The user has asked for a build that has not begun.
    pub(super) wanted: bool,
    /// A start was asked for just now.
    restarts: bool,
    /// The clients that wait until everything that was saved is live or has failed.
    pub(super) waiting: Vec<Client>,
    /// Since live began to serve, the settings or the lack of an address have asked for stop-first.
    pub(super) stop_first: bool,
    /// hotrun was asked to end, or ends by itself (`--once`).
    pub(super) ending: bool,
    /// It was asked so often that it waits for nothing.
    pub(super) asked_to_end: usize,
    pub(super) ended: bool,
}

impl World {
    pub(super) fn new(setup: &Setup) -> Self {
        let content = Content::Digest(0);
        let files = Files {
            source: content,
            manifest: content,
        };
        let remembered = setup.program == Program::BindsRemembered;
        Self {
            program: setup.program,
            files,
            before: files,
            digest: 0,
            tried: Tried::default(),
            bad: Vec::new(),
            own_writing: false,
            unread_manifest: false,
            build: None,
            programs: BTreeMap::new(),
            processes: BTreeMap::new(),
            left: None,
            jobs: BTreeMap::new(),
            reading_settings: 0,
            reading_addresses: 0,
            looked_at: None,
            sought: None,
            debugged: None,
            undebugged: None,
            asked: None,
            newest_build: Generation(0),
            active: Slot::default(),
            relay: None,
            page: Page::default(),
            parked: None,
            address: remembered.then(Claims::remembered),
            launched: Generation(0),
            live: Generation(0),
            live_since: Moment::ZERO,
            reload_owed: false,
            proved: None,
            in_the_way: false,
            paused: false,
            wanted: false,
            restarts: false,
            waiting: Vec::new(),
            stop_first: false,
            ending: false,
            asked_to_end: 0,
            ended: false,
        }
    }

    /// The processes of live, if they have not ended.
    pub(super) fn live(&self) -> Option<&Process> {
        let live = self.processes.get(&self.live)?;
        (!live.ended && !live.is_told()).then_some(live)
    }

    /// The files that the generation's program was built of.
    pub(super) fn built_of(&self, generation: Generation) -> Vec<Files> {
        let process = self.processes.get(&generation);
        let program = process.and_then(|process| self.programs.get(&process.built_by));
        program.cloned().unwrap_or_default()
    }

    /// The policy that goes with the address as it is.
    pub(super) fn policy_now(&self, known: &Policy) -> Policy {
        if self.program == Program::Declared {
            return known.clone();
        }
        let serving = self.address.is_some_and(|claims| !claims.is_remembered());
        let timeout = Moment::from_millis(50);
        Policy {
            serving,
            ready_timeout: serving.then_some(timeout),
            quiesce_max: serving.then_some(timeout * 5),
            ..known.clone()
        }
    }

    // ---- what happens

    /// A program has bound the address, or has closed its socket again.
    pub(super) fn binds(&mut self, generation: Generation, binds: bool) {
        let Some(process) = self.processes.get_mut(&generation) else {
            return;
        };
        (process.bound, process.listens) = (binds, false);
        if let (true, Some(claims)) = (binds, &mut self.address) {
            claims.bind(process.slot);
        }
    }

    /// Takes in an event, before the session does.
    pub(super) fn happens(&mut self, event: &Event) {
        self.left = None;
        self.restarts = matches!(event, Event::Command(Asked::Restart, _));
        match event {
            Event::Changed(changes) => {
                for change in changes {
                    self.written(change.kind, change.now);
                }
            }
            Event::Rescan => self.unread_manifest = true,
            Event::Command(Asked::Wait, client) => self.waiting.extend(*client),
            Event::Command(command, _) => self.asked(*command),
            Event::Configured(_) => {
                self.reading_settings = self.reading_settings.saturating_sub(1);
            }
            Event::Addresses(_) => {
                self.reading_addresses = self.reading_addresses.saturating_sub(1);
            }
            Event::Job(id, JobNews::Ended(result)) => {
                let command = self.jobs.remove(id);
                let waited_for = command.is_some_and(|job| job.occasion.is_waited_for());
                if waited_for && result.is_err() {
                    self.tried.command_failed = true;
                    self.have_failed(vec![self.files]);
                }
            }
            Event::Build(generation, news) => self.build_news(*generation, news),
            Event::App(generation, news) => self.app_news(*generation, news),
            Event::Quit(_) => self.asked_to_end(),
            _ => {}
        }
    }

    fn asked(&mut self, command: Asked) {
        match command {
            Asked::Rebuild | Asked::Restart => {
                self.wanted = true;
                self.asked = Some(self.newest_build);
                // Whether a start needs a build is for the session to say.
                if command == Asked::Rebuild {
                    self.bad.clear();
                }
                self.try_anew();
            }
            Asked::Pause => self.paused |= !self.ending,
            Asked::Resume => {
                if std::mem::take(&mut self.paused) {
                    self.try_anew();
                }
            }
            Asked::PauseOrResume if self.paused => self.asked(Asked::Resume),
            Asked::PauseOrResume => self.asked(Asked::Pause),
            Asked::Stop => self.asked_to_end(),
            Asked::Status | Asked::Wait | Asked::Open => {}
        }
    }

    fn asked_to_end(&mut self) {
        // An end by itself counts as the first request.
        let by_itself = self.ending && self.asked_to_end == 0;
        self.asked_to_end += 1 + usize::from(by_itself);
        self.ending = true;
    }

    fn written(&mut self, kind: ChangeKind, now: Content) {
        let known = self.files;
        match kind {
            ChangeKind::Source => self.files.source = now,
            ChangeKind::Manifest => {
                self.files.manifest = now;
                self.unread_manifest |= self.files != known;
            }
            _ => return,
        }
        if let Content::Digest(number) = now {
            self.digest = self.digest.max(number);
        }
        if self.files != known {
            self.before = known;
            if !self.paused {
                self.try_anew();
            }
        }
    }

    fn have_failed(&mut self, files: Vec<Files>) {
        self.bad.retain(|bad| !files.contains(bad));
        self.bad.extend(files);
    }

    fn try_anew(&mut self) {
        self.tried = Tried {
            beside_live: self.live().is_some(),
            ..Tried::default()
        };
    }

    fn build_news(&mut self, generation: Generation, news: &BuildNews) {
        let is_this = |build: &&mut Build| build.generation == generation;
        let Some(build) = self.build.as_mut().filter(is_this) else {
            return;
        };
        match news {
            BuildNews::Loaded(_) => build.reading = false,
            BuildNews::Done(outcome) => {
                let build = *build;
                self.build = None;
                let cancelled = build.cancelled || *outcome == BuildOutcome::Cancelled;
                self.wanted |= build.wanted && cancelled;
                match outcome {
                    BuildOutcome::Built { artifact, .. } => {
                        let program = self.programs.entry(artifact.built_by);
                        program.or_default().push(build.of);
                    }
                    BuildOutcome::Failed { .. } => {
                        self.unread_manifest |= build.reading;
                        self.have_failed(vec![build.of]);
                    }
                    BuildOutcome::Cancelled => self.unread_manifest |= build.reading,
                }
            }
            _ => {}
        }
    }

    fn app_news(&mut self, generation: Generation, news: &AppNews) {
        let is_live = self.live == generation;
        let live_runs = self.live().is_some();
        let of = self.built_of(generation);
        let Some(process) = self.processes.get_mut(&generation) else {
            return;
        };
        let was_told = process.is_told();
        let mut has_failed = false;
        match news {
            AppNews::Started(_) => process.runs = true,
            AppNews::CannotStart(_) => (process.ended, has_failed) = (true, true),
            AppNews::Ready(_) => process.was_ready = true,
            AppNews::Listening => {
                (process.bound, process.listens) = (true, true);
                let claims = self.address.get_or_insert_with(Claims::captured);
                claims.listen(process.slot);
            }
            AppNews::Writes(_) => self.sought = None,
            AppNews::Traced(pid) => {
                self.looked_at = None;
                self.debugged = pid.map(|_| generation);
                self.undebugged = pid.is_none().then_some(generation);
            }
            AppNews::Exited {
                exit,
                last_lines,
                conflict,
            } => {
                (process.ended, has_failed) = (true, true);
                (process.bound, process.listens) = (false, false);
                let says = last_lines.iter().any(|line| !line.is_empty());
                let sign = says || conflict.lock.is_some() || conflict.taken.is_some();
                self.in_the_way |= live_runs && !is_live && sign && !exit.success();
            }
            AppNews::Background(listens) => {
                has_failed = *listens != Some(true);
                if has_failed && (is_live || listens.is_none()) {
                    process.ended = true;
                    (process.bound, process.listens) = (false, false);
                }
            }
            AppNews::Gone { .. } => {
                has_failed = !process.ended;
                self.left = Some((generation, process.slot));
                for asked in [&mut self.looked_at, &mut self.debugged, &mut self.sought] {
                    asked.take_if(|asked| *asked == generation);
                }
                self.processes.remove(&generation);
            }
            _ => {}
        }
        if has_failed && !was_told {
            self.tried.deaths += 1;
            self.have_failed(of);
        }
    }

    // ---- what the session does

    /// Carries an action out.
    #[expect(clippy::too_many_lines, reason = "one arm for each action")]
    pub(super) fn carry_out(&mut self, now: Moment, action: &Action) {
        match action {
            Action::StartBuild {
                generation,
                load,
                baseline,
                ..
            } => {
                self.newest_build = *generation;
                if self.restarts {
                    self.bad.clear();
                }
                self.build = Some(Build {
                    generation: *generation,
                    reading: *load,
                    cancelled: false,
                    baseline: baseline.as_ref().map(|baseline| baseline.built_by),
                    of: self.files,
                    wanted: std::mem::take(&mut self.wanted),
                });
                self.unread_manifest &= !load;
            }
            Action::CancelBuild(_) => {
                self.build = self.build.map(|build| Build {
                    cancelled: true,
                    ..build
                });
            }
            Action::Reconfigure => self.reading_settings += 1,
            Action::ReadAddresses => self.reading_addresses += 1,
            Action::Run(id, job) => {
                let (occasion, told) = (job.occasion, false);
                self.jobs.insert(*id, Command { occasion, told });
            }
            Action::EndJob(id) => {
                if let Some(job) = self.jobs.get_mut(id) {
                    job.told = true;
                }
            }
            Action::Launch {
                generation,
                artifact,
                slot,
                serving,
                ..
            } => {
                self.asked.take_if(|asked| artifact.built_by > *asked);
                self.undebugged = None;
                self.launched = *generation;
                if let Some(claims) = &mut self.address {
                    claims.forget(*slot, *serving);
                }
                let awaited = self
                    .address
                    .is_some_and(|claims| claims.is_awaited(*serving));
                let process = Process {
                    built_by: artifact.built_by,
                    slot: *slot,
                    runs: false,
                    was_ready: false,
                    ended: false,
                    quiescing: false,
                    stopped: false,
                    killed: false,
                    bound: false,
                    listens: false,
                    awaited,
                };
                self.processes.insert(*generation, process);
            }
            Action::Page(page) => self.page = *page,
            Action::Look(generation) => self.looked_at = Some(*generation),
            Action::FindWriter { generation, .. } => self.sought = Some(*generation),
            Action::Quiesce(generation) => self.tell(*generation, |told| told.quiescing = true),
            Action::Stop(generation) => self.tell(*generation, |told| told.stopped = true),
            Action::Kill(generation) => self.tell(*generation, |told| told.killed = true),
            Action::Activate(slot) => {
                self.active = *slot;
                self.relay = None;
                let mut older = self.processes.range(..self.live);
                let is_parking = older.all(|(_, older)| older.slot != *slot);
                let parks = is_parking && self.live().is_some_and(|live| live.slot != *slot);
                self.parked = parks.then(|| self.parked.unwrap_or(now));
            }
            Action::Relay(relay) => self.relay = *relay,
            Action::Serving(generation) => {
                (self.live, self.live_since) = (*generation, now);
                self.reload_owed = true;
                let of = self.built_of(*generation);
                self.bad.retain(|bad| !of.contains(bad));
                self.parked = None;
                if let Some(claims) = &mut self.address {
                    claims.live();
                }
            }
            Action::Proved(generation) => {
                let process = self.processes.get(generation);
                self.proved = process.map(|process| process.built_by);
                if let (Some(claims), Some(process)) = (&mut self.address, process)
                    && !process.bound
                    && let Some(mark) = claims.mark(process.slot)
                {
                    claims.give_up(process.slot, mark);
                }
            }
            Action::ReleaseUnclaimed => self.release(Claims::may_be_released),
            Action::Free => self.release(|claims| !claims.is_claimed()),
            Action::Left { slot, serving, .. } => {
                if let Some(claims) = &mut self.address {
                    claims.forget(*slot, *serving);
                }
            }
            Action::Discard(artifact) => {
                self.programs.remove(&artifact.built_by);
            }
            Action::Answer(client, _) => self.waiting.retain(|waits| waits != client),
            Action::End(_) => self.ended = true,
            Action::Show(View::OwnWriting { writer, .. }) => {
                self.own_writing |= *writer == Writer::Build;
            }
            // A program that has done its work is a good one.
            Action::Show(View::Finished { generation, .. }) => {
                let process = self.processes.get(generation);
                self.proved = process.map(|process| process.built_by).or(self.proved);
                // It need not run any more.
                let of = self.built_of(*generation);
                self.have_failed(of);
            }
            Action::Show(View::NotReady { generation, .. }) => {
                self.tried.deaths += 1;
                let of = self.built_of(*generation);
                self.have_failed(of);
            }
            Action::ReloadBrowser(paths) => self.reload_owed &= !paths.is_empty(),
            Action::Rewatch(_)
            | Action::Signal { .. }
            | Action::Show(_)
            | Action::OpenBrowser
            | Action::ReopenLog
            | Action::RelayQueued(_)
            | Action::Suspend => {}
        }
    }

    fn tell(&mut self, generation: Generation, tell: impl FnOnce(&mut Process)) {
        if let Some(process) = self.processes.get_mut(&generation) {
            tell(process);
            process.quiescing &= !process.stopped && !process.killed;
        }
    }

    fn release(&mut self, goes: impl FnOnce(Claims) -> bool) {
        if self.address.take_if(|claims| goes(*claims)).is_some() {
            self.reading_addresses += 1;
        }
    }

    /// Something that was asked for is not answered yet.
    pub(super) fn answers(&self) -> bool {
        self.reading_settings > 0
            || self.reading_addresses > 0
            || self.looked_at.is_some()
            || self.build.is_some()
            || !self.jobs.is_empty()
    }
}
