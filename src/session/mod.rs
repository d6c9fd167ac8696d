//! The core: events in, actions out. It never waits, never fails, never logs and never reads a
//! clock; all its knobs are in [`Policy`]. What it decides can be read in `scenarios/*.txt`.
//!
//! A build slot collects changes and runs one build at a time; a built program becomes a *launch*, which
//! waits until there is a place for it; a launched one is a *candidate* until it is ready, then *live*,
//! and at last *draining*. Deliberately absent: paths of artifacts, descriptors, process ids, text. They
//! pass through as values, or never come here.

pub mod action;
mod addresses;
mod backoff;
mod before_build;
mod browser;
mod build_slot;
mod builds;
mod burst;
pub mod claims;
pub mod command;
mod conflict;
mod drain;
pub mod event;
mod hints;
mod hold;
mod jobs;
mod loops;
pub mod model;
mod own_writing;
pub mod page;
mod processes;
mod reactions;
pub mod reason;
mod recovery;
mod request;
pub mod seen;
pub mod slots;
pub mod status;
mod swap;

#[cfg(test)]
mod invariants;
#[cfg(test)]
mod many_files;
#[cfg(test)]
pub(crate) mod scenarios;

use std::time::Duration;

use action::{Action, Evidence, View};
use backoff::Backoff;
use browser::Reload;
use build_slot::BuildSlot;
use command::{Client, Command};
use event::Event;
use hints::Hints;
use hold::Hold;
use model::{
    ArtifactRef, Cause, Content, Ending, Generation, Handover, Hooks, JobId, Moment, Occasion,
    Reaction,
};
use reactions::Reactions;
use reason::Reason;
use slots::Slots;
use status::Past;
use swap::Swap;

/// What happens to a running build when a newer change comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnChange {
    /// The build is cancelled: its result would be stale, and cargo keeps the units that it finished.
    #[default]
    Cancel,
    /// The build runs to its end, then the next one starts.
    Queue,
}

/// The session's knobs; see the settings of the same names.
#[expect(clippy::struct_excessive_bools, reason = "as the user sets them")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Quiet period over the whole change set.
    pub debounce: Duration,
    /// Cap of the quiet period.
    pub max_wait: Duration,
    /// What each rule does.
    pub rules: Vec<Vec<Reaction>>,
    /// Commands around the app.
    pub hooks: Hooks,
    /// What a change does to a running build.
    pub on_change: OnChange,
    /// How a new generation takes over.
    pub handover: Handover,
    /// An address is held for the app.
    pub serving: bool,
    /// How long a candidate may take to be ready; `None`: as long as it likes.
    pub ready_timeout: Option<Duration>,
    /// How long a draining generation may finish its work.
    pub stop_timeout: Duration,
    /// The longest wait for an old generation to be drained before it gets the stop signal
    /// (`stop_timeout` where it does not handle the signal); `None`: the generations share one socket,
    /// so new connections can't be steered away from the old one.
    pub quiesce_max: Option<Duration>,
    /// `while_building = "hold"`: new connections are parked for the next generation, for at most this
    /// long; `None`: they go to live.
    pub hold: Option<Duration>,
    /// How long live must stay up to become last-good.
    pub probation: Duration,
    /// Build, start, report and end.
    pub once: bool,
    /// Builds are made by the fast profile.
    pub fast: bool,
    /// Browsers get a page while no generation can answer.
    pub page: bool,
    /// The app is opened in a browser when it is live for the first time.
    pub open: bool,
}

/// The state machine. Feed it with [`Session::handle`], wake it at [`Session::due`].
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says what the others do not"
)]
#[derive(Clone, Debug)]
pub struct Session {
    policy: Policy,
    numbered: u32,
    launched: Generation,
    builds: BuildSlot,
    reactions: Reactions,
    swap: Swap,
    slots: Slots,
    backoff: Backoff,
    /// The build that made the newest program.
    newest_built: Option<Generation>,
    numbered_jobs: u32,
    /// The user's commands that are running.
    jobs: Vec<(JobId, Occasion)>,
    hints: Hints,
    /// The project model has to be read before the next build.
    stale_project: bool,
    /// `before_start` failed for the newest program, so it was not started.
    unprepared: bool,
    /// `Cargo.lock` as cargo left it when it last read the project.
    lock: Option<Content>,
    /// Learned from a conflict: two generations of this program can't run at once.
    exclusive: bool,
    /// The conflict because of which stop-first is being tried.
    trial: Option<Evidence>,
    /// The program said that live was in its way, and failed in the same way without live: what it says
    /// is not believed again.
    misled: bool,
    /// A program that had connected to a held address to find out whether it already runs was started
    /// once more with the addresses freed.
    freed: bool,
    said_overlap: bool,
    said_streams: bool,
    said_silent: bool,
    /// The app was opened in a browser by itself.
    opened: bool,
    /// How often cargo has waited for another cargo for long enough to be told.
    blocked: u32,
    /// How many builds took long.
    slow: u32,
    hold: Hold,
    reload: Reload,
    /// Changes are collected, and start nothing.
    paused: bool,
    past: Past,
    /// The addresses that were last reported as held and listened on by no process.
    unclaimed: Vec<String>,
    /// The reasons reported so far for which an address of the app is not held.
    uncaptured: Vec<Reason>,
    ending: Option<Ending>,
    /// The end was asked for twice, so what runs was killed; when asked a third time, hotrun ends
    /// without waiting.
    kills: bool,
    known: Vec<ArtifactRef>,
    out: Vec<Action>,
}

impl Session {
    /// A session that has done nothing yet. `loaded`: the project model was read before.
    pub fn new(policy: Policy, loaded: bool) -> Self {
        Self {
            policy,
            numbered: 0,
            launched: Generation(0),
            builds: BuildSlot::default(),
            reactions: Reactions::default(),
            swap: Swap::default(),
            slots: Slots::default(),
            backoff: Backoff::default(),
            newest_built: None,
            numbered_jobs: 0,
            jobs: Vec::new(),
            hints: Hints::default(),
            stale_project: !loaded,
            unprepared: false,
            lock: None,
            exclusive: false,
            trial: None,
            misled: false,
            freed: false,
            said_overlap: false,
            said_streams: false,
            said_silent: false,
            opened: false,
            blocked: 0,
            slow: 0,
            hold: Hold::default(),
            reload: Reload::default(),
            paused: false,
            past: Past::default(),
            unclaimed: Vec::new(),
            uncaptured: Vec::new(),
            ending: None,
            kills: false,
            known: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Takes in an event and returns what to do, in order.
    pub fn handle(&mut self, now: Moment, event: Event) -> Vec<Action> {
        if let (Event::Quit(_), true, Some(ending)) = (&event, self.kills, self.ending) {
            // Some process has not reported its end. What still runs ends with its keeper.
            return vec![Action::End(ending)];
        }
        match event {
            Event::Begin => self.request(now, Cause::Start, false),
            Event::Changed(changes) => self.changed(now, changes),
            Event::Saved(paths) => {
                self.builds.saved(&paths);
                self.reactions.saved(&paths);
            }
            Event::Rescan => {
                self.stale_project = true;
                self.read_settings();
                // What the app reads when it starts may be among what changed.
                self.request(now, Cause::Rescan, true);
            }
            Event::Siblings(names) => self.siblings(now, names),
            Event::Addresses(policy) => self.addresses_changed(now, *policy),
            Event::Configured(read) => self.configured(now, read),
            Event::Job(id, news) => self.job_news(now, id, news),
            Event::Command(command, client) => self.command(now, command, client),
            Event::GitWorks { ago } => self.builds.git_works(now, ago),
            Event::Watching { lag } => self.builds.lag = lag,
            Event::Unwatched(problem) => self.show(View::Unwatched(problem)),
            Event::Build(generation, news) => self.build_news(now, generation, news),
            Event::App(generation, news) => self.app_news(now, generation, news),
            Event::Open(generation, open) => self.open(now, generation, open),
            Event::Signal(number) => self.signal(number, Cause::Asked),
            Event::ReopenLog => self.out.push(Action::ReopenLog),
            Event::Suspend => self.out.push(Action::Suspend),
            Event::Quit(ending) => self.quit(now, ending),
            Event::Tick => {}
        }
        self.deadlines(now);
        self.react(now);
        self.settle(now);
        self.show_build(now, false);
        self.start_build(now);
        self.hold(now);
        self.launch(now);
        self.relay();
        self.page();
        self.reload_browsers(now);
        self.discard();
        self.answer_waiting();
        if let Some(ending) = self.ending
            && self.swap.idle()
            && !self.builds.running()
            && self.jobs.is_empty()
        {
            self.out.push(Action::End(ending));
        }
        std::mem::take(&mut self.out)
    }

    /// When to send the next [`Event::Tick`].
    pub fn due(&self) -> Option<Moment> {
        let due = [
            self.builds.due(&self.policy),
            self.reactions.due(&self.policy).filter(|_| !self.paused),
            self.swap.due(),
            self.hold_due(),
            self.reload.due(),
            self.hints.next(),
        ];
        due.into_iter().flatten().min()
    }

    /// The app starts binaries that were not built with it: their sources count from now on, and a build
    /// makes up for the changes that were missed.
    fn siblings(&mut self, now: Moment, names: Vec<String>) {
        if self.ending.is_none() {
            let cause = Cause::Sibling(names.join("`, `"));
            self.show(View::Siblings(names));
            self.request(now, cause, false);
        }
    }

    /// Does what was asked for, and answers.
    fn command(&mut self, now: Moment, command: Command, client: Option<Client>) {
        match command {
            Command::Status => {}
            Command::Wait => return self.wait(client),
            Command::Rebuild => self.rebuild(now),
            Command::Restart => self.restart_asked(now),
            Command::Resume => self.resume(now),
            Command::PauseOrResume if self.paused => self.resume(now),
            Command::Pause | Command::PauseOrResume => self.pause(),
            Command::Open => self.out.push(Action::OpenBrowser),
            Command::Stop => self.quit(now, Ending::Quit),
        }
        self.answer(client);
    }

    /// Collects changes from now on. A build that runs goes on.
    fn pause(&mut self) {
        if !self.paused && self.ending.is_none() {
            self.paused = true;
            self.builds.pause();
            self.show(View::Paused);
        }
    }

    /// Reacts to changes again, first to all that were collected.
    fn resume(&mut self, now: Moment) {
        if self.paused {
            self.paused = false;
            self.show(View::Resumed {
                collected: self.collected(),
            });
            self.builds.resume(now);
            self.backoff.reset();
            self.hold_again();
        }
    }

    fn show(&mut self, view: View) {
        self.past.saw(&view);
        self.out.push(Action::Show(view));
    }

    fn number(&mut self) -> Generation {
        self.numbered += 1;
        Generation(self.numbered)
    }

    fn quit(&mut self, now: Moment, ending: Ending) {
        let again = self.ending.is_some();
        if !again {
            self.ending = Some(ending);
        }
        self.kills = again;
        if matches!(ending, Ending::Quit | Ending::Signal(_)) {
            self.show(View::Quitting { now: again });
        }
        self.reactions.close();
        // After `--once`, a hook that reports the result may finish; after a Ctrl-C, hooks are ended.
        if matches!(ending, Ending::Quit | Ending::Signal(_)) {
            self.out
                .extend(self.jobs.iter().map(|(id, _)| Action::EndJob(*id)));
        }
        self.builds.close();
        if let Some(generation) = self.builds.cancel() {
            self.out.push(Action::CancelBuild(generation));
        }
        if let Some(candidate) = self.swap.candidate.take() {
            self.stop(now, candidate);
        }
        if let Some(live) = self.swap.live.take() {
            self.stop(now, live);
        }
        let waiting = self.swap.draining.iter().map(|process| process.generation);
        for generation in waiting.collect::<Vec<_>>() {
            self.ask_to_end(now, generation);
        }
        if again {
            for process in &mut self.swap.draining {
                self.out.extend(process.kill());
            }
        }
    }

    /// Live was good until now, and has proved it if it has no deadline for that any more.
    fn good(&mut self, live: &swap::Process) {
        let artifact = &live.artifact;
        self.swap.last_good = Some(artifact.clone());
        if live.deadline.is_none() {
            self.swap.proved = Some(artifact.clone());
        }
    }

    fn remember(&mut self, artifact: &ArtifactRef) {
        if !self
            .known
            .iter()
            .any(|known| known.built_by == artifact.built_by)
        {
            self.known.push(artifact.clone());
        }
    }

    /// Discards every artifact that can't be launched any more.
    fn discard(&mut self) {
        let kept: Vec<Generation> = self
            .swap
            .artifacts()
            .chain(self.builds.baseline())
            .map(|artifact| artifact.built_by)
            .collect();
        let (known, gone) = std::mem::take(&mut self.known)
            .into_iter()
            .partition(|artifact| kept.contains(&artifact.built_by));
        self.known = known;
        self.out.extend(gone.into_iter().map(Action::Discard));
    }
}
