//! Invariants of the session: every order of events to a bounded depth, and seeded random orders far
//! beyond it, against a model of the world that answers actions as the real one would.

use std::collections::BTreeMap;
use std::time::Duration;

use super::action::Action;
use super::event::{AppNews, BuildNews, Conflict, Effect, Event, JobNews, Open, Reconfigured};
use super::model::{
    BuildOutcome, Change, ChangeKind, Content, Ending, Exit, Generation, Handover, Hooks, JobId,
    Moment, Occasion, Proof, Reaction,
};
use super::scenarios::{artifact, policy};
use super::slots::{Relay, Slot};
use super::{OnChange, Policy, Session};

/// A generation's process in the model.
#[expect(
    clippy::struct_excessive_bools,
    reason = "what is the case and what is not"
)]
#[derive(Clone, Debug)]
struct Process {
    built_by: Generation,
    slot: Slot,
    ended: bool,
    /// It is being quiesced, and has not got the stop signal yet.
    quiescing: bool,
    stopped: bool,
    killed: bool,
}

/// A session and the state that its actions have caused.
#[derive(Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "what is the case and what is not"
)]
struct World {
    session: Session,
    policy: Policy,
    now: Moment,
    /// The running build: its generation, whether it reads the project, whether it was cancelled, and
    /// its baseline.
    build: Option<(Generation, bool, bool, Option<Generation>)>,
    processes: BTreeMap<Generation, Process>,
    /// The user's commands that run, and whether a `Reconfigure` is not answered yet.
    jobs: BTreeMap<JobId, Occasion>,
    reading_settings: bool,
    /// The generation whose `Look` is not answered yet, and the one that is known to have a debugger.
    looked_at: Option<Generation>,
    debugged: Option<Generation>,
    /// The active slot, and the relay that runs.
    active: Slot,
    relay: Option<Relay>,
    /// Whether addresses are captured, and whether a `ReadAddresses` is not answered yet.
    captures: bool,
    reading_addresses: bool,
    launched: Generation,
    discarded: Vec<Generation>,
    /// The user asked for a restart, which does not wait for a debugger.
    asked: bool,
    /// How often files were written.
    written: u64,
    /// A change that no finished build has seen.
    unseen_change: bool,
    ended: bool,
    /// hotrun was asked a third time to end, and waits for nothing.
    leaves: bool,
    story: Vec<String>,
}

impl World {
    fn new(policy: Policy) -> Self {
        Self {
            session: Session::new(policy.clone(), true),
            now: Duration::ZERO,
            build: None,
            processes: BTreeMap::new(),
            jobs: BTreeMap::new(),
            reading_settings: false,
            looked_at: None,
            debugged: None,
            active: Slot::default(),
            relay: None,
            captures: !policy.serving,
            reading_addresses: false,
            launched: Generation(0),
            discarded: Vec::new(),
            asked: false,
            written: 0,
            unseen_change: false,
            ended: false,
            leaves: false,
            story: Vec::new(),
            policy,
        }
    }

    #[track_caller]
    fn must(&self, holds: bool, what: &str) {
        assert!(
            holds,
            "{what}\n{}\n{:#?}",
            self.story.join("\n"),
            self.session.swap
        );
    }

    /// All events that may come next.
    #[expect(clippy::too_many_lines, reason = "one clause for each kind of event")]
    fn possible(&self) -> Vec<Event> {
        let mut events = vec![
            changed("src/a.rs", ChangeKind::Source, self.written),
            Event::Rebuild,
            Event::Quit(Ending::Signal(2)),
        ];
        if !self.policy.rules.is_empty() {
            events.push(changed("x", ChangeKind::Rule(0), self.written));
            events.push(changed("y", ChangeKind::Config, self.written));
        }
        for id in self.jobs.keys() {
            for ended in [Ok(()), Err("x".into())] {
                events.push(Event::Job(*id, JobNews::Ended(ended)));
            }
        }
        if self.reading_settings {
            events.push(Event::Configured(Err("x".into())));
            events.push(Event::Configured(Ok(Box::new(Reconfigured {
                policy: self.policy.clone(),
                changed: vec!["x".into()],
                effect: Effect::Restart,
            }))));
        }
        if self.reading_addresses {
            for serving in [false, true] {
                let timeout = Duration::from_millis(50);
                events.push(Event::Addresses(Box::new(Policy {
                    serving,
                    ready_timeout: serving.then_some(timeout),
                    quiesce_max: serving.then_some(timeout),
                    ..self.policy.clone()
                })));
            }
        }
        if self.session.due().is_some() {
            events.push(Event::Tick);
        }
        if let Some((generation, reading, cancelled, baseline)) = self.build {
            let news = |news| Event::Build(generation, news);
            let built = |by: Generation, unchanged| {
                let artifact = artifact(by.0);
                news(BuildNews::Done(BuildOutcome::Built {
                    artifact,
                    unchanged,
                    warnings: 0,
                }))
            };
            if reading {
                events.push(news(BuildNews::Loaded(Box::default())));
            } else {
                events.push(built(generation, false));
                events.extend(baseline.map(|baseline| built(baseline, true)));
            }
            events.push(news(BuildNews::Done(BuildOutcome::Failed {
                reason: "x".into(),
            })));
            if cancelled {
                events.push(news(BuildNews::Done(BuildOutcome::Cancelled)));
            }
        }
        for (generation, process) in &self.processes {
            let news = |news| Event::App(*generation, news);
            if !process.ended {
                events.push(news(AppNews::Ready(Proof::Accepting)));
                if self.captures && !self.reading_addresses {
                    events.push(news(AppNews::Listening));
                }
                if self.looked_at == Some(*generation) {
                    events.push(news(AppNews::Traced(Some(7))));
                }
                if self.looked_at.or(self.debugged) == Some(*generation) {
                    events.push(news(AppNews::Traced(None)));
                }
                if process.quiescing {
                    events.extend(open(*generation));
                }
                for listens in [true, false] {
                    events.push(news(AppNews::Background(Some(listens))));
                }
                for (status, line, asked) in [
                    (0, "", false),
                    (1, "database is locked", false),
                    (1, "already running", true),
                ] {
                    let conflict = Conflict {
                        asked: asked.then(|| "127.0.0.1:3000".into()),
                        ..Conflict::default()
                    };
                    events.push(news(AppNews::Exited {
                        exit: Exit::Status(status),
                        last_lines: vec![line.to_owned()],
                        conflict,
                    }));
                }
            }
            if process.ended || process.killed {
                events.push(news(AppNews::Gone {
                    cut: 0,
                    survivors: vec![],
                }));
            }
        }
        events
    }

    /// Gives the session an event, carries out its actions, and checks the invariants.
    fn happen(&mut self, event: Event) {
        match &event {
            Event::Tick => self.now = self.now.max(self.session.due().unwrap_or_default()),
            _ => self.now += Duration::from_millis(3),
        }
        self.story
            .push(format!("{} {event:?}", self.now.as_millis()));
        match &event {
            Event::Changed(changes) => {
                self.written += 1;
                let builds = changes.iter().any(|change| change.kind.builds());
                self.unseen_change |= builds;
            }
            Event::Configured(_) => self.reading_settings = false,
            Event::Quit(_) => self.leaves = self.session.kills,
            Event::Addresses(_) => self.reading_addresses = false,
            Event::Job(id, news) => {
                let occasion = self.jobs.remove(id);
                // After a failed `before_build`, nothing is built before the next change.
                if occasion == Some(Occasion::BeforeBuild) && *news != JobNews::Ended(Ok(())) {
                    self.unseen_change = false;
                }
            }
            Event::Rebuild => self.asked = true,
            Event::Build(_, BuildNews::Loaded(_)) => {
                self.build = self
                    .build
                    .map(|(generation, _, cut, base)| (generation, false, cut, base));
            }
            Event::Build(_, BuildNews::Done(_)) => self.build = None,
            Event::App(generation, AppNews::Exited { .. }) => {
                self.processes.get_mut(generation).unwrap().ended = true;
            }
            Event::App(generation, AppNews::Traced(pid)) => {
                self.looked_at = None;
                self.debugged = pid.map(|_| *generation);
            }
            Event::App(generation, AppNews::Gone { .. }) => {
                self.processes.remove(generation);
            }
            _ => {}
        }
        for action in self.session.handle(self.now, event) {
            self.story.push(format!("-> {action:?}"));
            self.carry_out(action);
        }
        self.check();
    }

    /// Goes on without a failure until the first generation is live.
    fn get_live(&mut self) {
        let is_ready = |event: &Event| matches!(event, Event::App(_, AppNews::Ready(_)));
        let well = |event: &Event| matches!(event, Event::Job(_, JobNews::Ended(Ok(()))));
        loop {
            let possible = self.possible();
            if let Some(ready) = possible.iter().find(|event| is_ready(event)) {
                return self.happen(ready.clone());
            }
            let next = possible.iter().find(|event| is_built(event) || well(event));
            self.happen(next.cloned().unwrap_or(Event::Tick));
        }
    }

    #[expect(
        clippy::too_many_lines,
        reason = "one arm per action, each with its rules"
    )]
    fn carry_out(&mut self, action: Action) {
        self.must(!self.ended, "an action comes after the end");
        match action {
            Action::StartBuild {
                generation,
                load,
                baseline,
                ..
            } => {
                self.must(self.build.is_none(), "two builds");
                let baseline = baseline.map(|baseline| baseline.built_by);
                let kept = baseline.is_none_or(|baseline| !self.discarded.contains(&baseline));
                self.must(kept, "the baseline was discarded");
                self.build = Some((generation, load, false, baseline));
                self.unseen_change = false;
            }
            Action::Reconfigure => {
                self.must(!self.reading_settings, "settings are read twice at once");
                self.reading_settings = true;
            }
            Action::Free => {
                let served = self.session.swap.live.is_some();
                self.must(!served, "an address of live is released");
            }
            Action::Run(id, job) => {
                let one_at_a_time = [Occasion::BeforeBuild, Occasion::BeforeStart, Occasion::Rule];
                let beside = self.jobs.values().any(|running| *running == job.occasion);
                let twice = beside && one_at_a_time.contains(&job.occasion);
                self.must(!twice, "two runs of one command");
                let preparing = job.occasion == Occasion::BeforeBuild;
                self.must(
                    !(preparing && self.build.is_some()),
                    "`before_build` runs beside a build",
                );
                self.jobs.insert(id, job.occasion);
            }
            Action::EndJob(id) => {
                self.must(self.jobs.contains_key(&id), "a job that is over is ended");
            }
            Action::CancelBuild(generation) => {
                let running =
                    matches!(self.build, Some((running, _, false, _)) if running == generation);
                self.must(running, "a stale build is cancelled, or one twice");
                self.build = self
                    .build
                    .map(|(generation, load, _, base)| (generation, load, true, base));
            }
            Action::Launch {
                generation,
                artifact,
                slot,
                ..
            } => {
                let all = self.processes.values();
                let taken = all.filter(|process| process.slot == slot).count();
                self.must(taken == 0, "two generations have one slot");
                let relayed = self.relay.is_some_and(|relay| relay.from == slot);
                self.must(!relayed, "the relay takes a candidate's connections");
                let live = self.session.swap.live.as_ref();
                let live = live.map(|live| live.generation);
                let free = live.is_none() || (self.debugged != live && self.looked_at != live);
                self.must(free || self.asked, "live is replaced under a debugger");
                let goes_on = self.session.ending.is_none();
                self.must(
                    goes_on,
                    "something is launched after hotrun was asked to end",
                );
                self.must(generation > self.launched, "an older number is launched");
                self.must(self.processes.len() < 2, "three generations have processes");
                let kept = !self.discarded.contains(&artifact.built_by);
                self.must(kept, "a discarded artifact is launched");
                self.launched = generation;
                let built_by = artifact.built_by;
                let process = Process {
                    built_by,
                    slot,
                    ended: false,
                    quiescing: false,
                    stopped: false,
                    killed: false,
                };
                self.processes.insert(generation, process);
            }
            Action::Look(generation) => self.looked_at = Some(generation),
            Action::Stop(generation) => {
                let process = self.processes.get(&generation).cloned();
                let once = process.is_some_and(|process| !process.stopped && !process.killed);
                self.must(once, "a stale generation is stopped, or one twice");
                let process = self.processes.get_mut(&generation).unwrap();
                (process.stopped, process.quiescing) = (true, false);
            }
            Action::Activate(slot) => {
                self.active = slot;
                self.relay = None;
            }
            Action::Relay(relay) => self.relay = relay,
            Action::ReleaseUnclaimed => {
                let live = self.session.swap.live.as_ref();
                let proved = live.is_some_and(|live| live.deadline.is_none());
                self.must(proved, "addresses are released that live may still claim");
            }
            Action::Quiesce(generation) => {
                let unasked = |process: &&mut Process| !process.stopped && !process.killed;
                let process = self.processes.get_mut(&generation).filter(unasked);
                process.unwrap().quiescing = true;
            }
            Action::Kill(generation) => {
                // The generation may have gone with this event, without an exit.
                if let Some(process) = self.processes.get(&generation).cloned() {
                    self.must(!process.killed, "a generation is killed twice");
                    self.processes.get_mut(&generation).unwrap().killed = true;
                }
            }
            Action::Discard(artifact) => {
                let by = artifact.built_by;
                let used = self
                    .processes
                    .values()
                    .any(|process| process.built_by == by);
                self.must(!used, "the artifact of a process is discarded");
                self.must(
                    !self.discarded.contains(&by),
                    "an artifact is discarded twice",
                );
                self.discarded.push(by);
            }
            Action::End(_) => {
                // Keepers end what is left.
                let waits = !self.leaves;
                let processes = !waits || self.processes.is_empty();
                self.must(processes, "hotrun ends and leaves processes");
                let build = !waits || self.build.is_none();
                self.must(build, "hotrun ends and leaves a build");
                let jobs = !waits || self.jobs.is_empty();
                self.must(jobs, "hotrun ends and leaves a command");
                self.ended = true;
            }
            Action::Signal { generation, .. } => {
                let live = self.session.swap.live.as_ref();
                let live = live.is_some_and(|live| live.generation == generation);
                self.must(live, "a signal for a generation that is not live");
            }
            Action::Serving(generation) => {
                let is_active = self.processes[&generation].slot == self.active;
                self.must(is_active, "new connections don't go to live");
            }
            Action::ReadAddresses => self.reading_addresses = true,
            Action::Proved(generation) => {
                let live = self.session.swap.live.as_ref();
                let live = live.is_some_and(|live| live.generation == generation);
                self.must(live, "a generation that is not live has passed probation");
            }
            Action::Rewatch(_)
            | Action::FindWriter { .. }
            | Action::Left { .. }
            | Action::Show(_)
            | Action::ReopenLog
            | Action::Suspend => {}
        }
    }

    /// New connections reach live, or are queued on the slot that the next generation gets; and so are
    /// stragglers on the standby slot.
    fn check_slots(&self) {
        let swap = &self.session.swap;
        let live = swap.live.as_ref().map(|live| live.slot);
        let standby = self.active.other();
        let owners = || {
            self.processes
                .values()
                .filter(|process| process.slot == standby)
        };
        let parked = live == Some(standby);
        if parked {
            let ends = self.session.hold_due().is_some();
            self.must(ends, "connections are parked beside live without a limit");
        }
        let told = owners().all(|process| process.stopped || process.killed);
        match self.relay {
            None => self.must(!told, "stragglers on the standby slot are not relayed"),
            Some(relay) => {
                self.must(
                    relay.from == standby,
                    "the active slot is relayed to itself",
                );
                let unowned = owners().next().is_none();
                self.must(
                    relay.unowned == unowned,
                    "the owner of the standby slot is not known",
                );
                let over = told || self.session.slots.is_unparked();
                self.must(over, "the relay takes a running generation's connections");
            }
        }
    }

    fn check(&self) {
        self.check_slots();
        let swap = &self.session.swap;
        self.must(
            self.processes.len() <= 2,
            "three generations have processes",
        );
        let unasked = self
            .processes
            .values()
            .filter(|process| !process.stopped && !process.killed && !process.quiescing);
        let serving = usize::from(swap.live.is_some()) + usize::from(swap.candidate.is_some());
        self.must(
            unasked.count() == serving,
            "a process is not accounted for, or twice",
        );
        let proved = swap.live.as_ref().and_then(|live| live.live_since);
        let good = proved.is_none_or(|since| {
            self.now < since + self.policy.probation || swap.last_good.is_some()
        });
        self.must(good, "live passed its probation and there is no last-good");
        let waits = self.session.due().is_none() && self.build.is_none() && self.jobs.is_empty();
        if waits && self.session.ending.is_none() {
            self.must(!self.unseen_change, "a change is forgotten");
            let stuck = swap.pending.is_some() && self.processes.is_empty();
            self.must(!stuck, "a launch waits for nothing");
        }
        let due = self.session.due().filter(|due| *due <= self.now);
        self.must(due.is_none(), "the session asks to be woken in the past");
        let nothing = self.processes.is_empty() && self.build.is_none() && self.jobs.is_empty();
        if self.session.ending.is_some() && nothing {
            self.must(self.ended, "nothing is left but hotrun does not end");
        }
    }
}

/// What may be reported of the connections of a generation that is being quiesced.
fn open(generation: Generation) -> impl Iterator<Item = Event> {
    let open = |(dies, busy)| Open {
        dies,
        busy,
        streams: busy,
    };
    let known = [(false, 0), (false, 1), (true, 1)].map(|of| Some(open(of)));
    let all = known.into_iter().chain([None]);
    all.map(move |open| Event::Open(generation, open))
}

/// A file with bytes that it never had before.
fn changed(path: &str, kind: ChangeKind, number: u64) -> Event {
    Event::Changed(vec![Change {
        path: path.into(),
        kind,
        before: Some(Content::Digest(number)),
        now: Content::Digest(number + 1),
        saved: number.is_multiple_of(2),
        script: None,
    }])
}

fn policies() -> Vec<Policy> {
    let base = Policy {
        ready_timeout: Some(Duration::from_millis(50)),
        ..policy()
    };
    let worker = Policy {
        serving: false,
        ready_timeout: None,
        ..base.clone()
    };
    let mut all = vec![base.clone(), worker.clone()];
    all.push(Policy {
        handover: Handover::StopFirst,
        ..base.clone()
    });
    all.push(Policy {
        quiesce_max: Some(Duration::from_millis(250)),
        ..base.clone()
    });
    for handover in [Handover::Auto, Handover::StopFirst] {
        all.push(Policy {
            quiesce_max: Some(Duration::from_millis(250)),
            hold: Some(Duration::from_millis(100)),
            handover,
            ..base.clone()
        });
    }
    all.push(Policy {
        handover: Handover::Overlap,
        on_change: OnChange::Queue,
        ..base.clone()
    });
    let command = |name: &str| Some(vec![name.to_owned()]);
    all.push(Policy {
        rules: vec![vec![
            Reaction::Run(vec!["run".into()]),
            Reaction::Restart,
            Reaction::Signal(1),
        ]],
        hooks: Hooks {
            before_build: command("build"),
            before_start: command("start"),
            after_live: None,
            on_error: command("error"),
        },
        ..base.clone()
    });
    all.extend([base, worker].map(|policy| Policy {
        once: true,
        ..policy
    }));
    all
}

fn every_order(world: &World, depth: usize) -> usize {
    if depth == 0 || world.ended {
        return 1;
    }
    let mut count = 0;
    for event in world.possible() {
        let mut next = world.clone();
        next.happen(event);
        count += every_order(&next, depth - 1);
    }
    count
}

#[test]
fn every_order_of_events_to_a_bounded_depth() {
    let mut count = 0;
    for policy in policies() {
        let mut world = World::new(policy);
        world.happen(Event::Begin);
        // From the start, and from where sessions are most of the time: one generation is live.
        let depth = if world.policy.rules.is_empty() { 5 } else { 4 };
        count += every_order(&world, depth);
        world.get_live();
        count += every_order(&world, depth);
    }
    assert!(count > 50_000, "only {count} orders");
}

fn is_built(event: &Event) -> bool {
    matches!(
        event,
        Event::Build(_, BuildNews::Done(BuildOutcome::Built { .. }))
    )
}

/// A small generator (xorshift64*), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(value).unwrap() % end
    }
}

#[test]
fn long_random_orders() {
    for (number, policy) in policies().into_iter().cycle().take(600).enumerate() {
        let mut random = Random(u64::try_from(number).unwrap() + 1);
        let mut world = World::new(policy);
        world.happen(Event::Begin);
        for _ in 0..200 {
            let mut possible = world.possible();
            // An end in every order would keep all of them short.
            if random.below(40) != 0 {
                possible.retain(|event| !matches!(event, Event::Quit(_)));
            }
            world.happen(possible.swap_remove(random.below(possible.len())));
            if world.ended {
                break;
            }
        }
    }
}
