//! What hotrun is doing now, as one value: the status line, `hotrun ctl` and the events are made of it.
//!
//! What has become of the newest program is kept from what was told: so that a status never says
//! something else than the lines before it.

use std::time::Duration;

use super::Session;
use super::action::{Action, View};
use super::command::Client;
use super::event::BuildNews;
use super::model::{Cause, Generation, Occasion};
use super::swap::Debugger;

/// What hotrun is doing.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Status {
    /// In one word.
    pub state: State,
    /// The generation that serves, or runs if no address is held.
    pub live: Option<Generation>,
    /// The build that runs.
    pub building: Option<Building>,
    /// The generation that was started and is not ready yet.
    pub starting: Option<Generation>,
    /// The generations that finish their work.
    pub draining: Vec<Generation>,
    /// What the command of the user that runs is run for; of several, what a build or a start waits for.
    pub running: Option<Occasion>,
    /// Changes are collected, and start no build.
    pub paused: bool,
    /// So many changed files wait for `resume`.
    pub collected: usize,
    /// Why the newest state of the sources is not served.
    pub problem: Option<Problem>,
    /// The last build that has ended.
    pub last_build: Option<LastBuild>,
}

/// What hotrun is doing, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The project is being read.
    Preparing,
    /// A person is asked at the terminal which program is meant.
    Asking,
    /// Nothing runs: the program has ended, or nothing was built yet.
    Idle,
    /// A build runs or is about to begin.
    Building,
    /// A generation is started and not ready yet, or waits to be started.
    Starting,
    /// The newest state of the sources is served.
    Live,
    /// It is not, for the reason that `problem` tells; an older generation may serve.
    Failed,
    /// hotrun was told to end.
    Ending,
}

/// A build that runs.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Building {
    /// Its generation.
    pub generation: Generation,
    /// How many of its units are finished, and how many there are, as far as cargo has said.
    pub progress: Option<(u32, u32)>,
    /// The lock of another cargo that it waits for, and the process that holds it.
    pub waits_for: Option<String>,
}

/// A build that has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LastBuild {
    /// Its generation.
    pub generation: Generation,
    /// How long it took, in milliseconds; `None` for one that was cancelled.
    pub took_ms: Option<u64>,
    /// Errors of the compiler.
    pub errors: u32,
    /// Warnings of the compiler.
    pub warnings: u32,
}

/// Why the newest state of the sources is not served.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Problem {
    /// What failed.
    pub kind: Failed,
    /// The generation that it concerns, if it has got that far.
    pub generation: Option<Generation>,
    /// What happened, in a phrase.
    pub text: String,
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failed {
    /// The build.
    Build,
    /// A command of the user that has to succeed before a build or a start.
    Hook,
    /// The program: it ended by itself, could not be started, or was not ready in time.
    App,
    /// Nothing: a debugger is attached to live, which is not replaced meanwhile.
    Debugged,
}

/// What a status says of the past.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    problem: Option<Problem>,
    /// The build that runs, and its messages so far.
    current: LastBuild,
    progress: Option<(u32, u32)>,
    waits_for: Option<String>,
    last: Option<LastBuild>,
    /// The clients that wait until everything that was saved is live or has failed.
    waiting: Vec<Client>,
}

impl Past {
    /// Takes in what is told.
    pub(super) fn saw(&mut self, view: &View) {
        match view {
            View::Building { generation, .. } => self.begins(*generation),
            View::Build(generation, news) => self.build(*generation, news),
            View::BuildCancelled { .. } => self.ended(None),
            View::BuildFailed {
                generation,
                reason,
                took,
                ..
            } => {
                self.begins(*generation);
                self.ended(Some(*took));
                self.failed(Failed::Build, Some(*generation), &reason.text);
            }
            // After a rollback, what was built last still does not serve.
            View::Live { cause, .. } if !matches!(cause, Cause::Rollback(_)) => {
                self.problem = None;
            }
            View::Unchanged { .. } | View::Finished { .. } => self.problem = None,
            View::JobFailed {
                occasion, reason, ..
            } => {
                if matches!(occasion, Occasion::BeforeBuild | Occasion::BeforeStart) {
                    self.failed(Failed::Hook, None, &format!("{occasion}: {}", reason.text));
                }
            }
            View::Ended {
                generation, exit, ..
            } => self.failed(Failed::App, Some(*generation), &exit.to_string()),
            View::NotReady { generation, .. } => {
                self.failed(Failed::App, Some(*generation), "not ready in time");
            }
            View::CannotStart {
                generation, error, ..
            } => self.failed(Failed::App, Some(*generation), &error.text),
            _ => {}
        }
    }

    fn begins(&mut self, generation: Generation) {
        if self.current.generation != generation {
            self.progress = None;
            self.waits_for = None;
            self.current = LastBuild {
                generation,
                ..LastBuild::default()
            };
        }
    }

    fn build(&mut self, generation: Generation, news: &BuildNews) {
        self.begins(generation);
        match news {
            BuildNews::Diagnostic { error, counts, .. } => {
                self.current.errors += u32::from(*error && *counts);
                self.current.warnings += u32::from(!*error && *counts);
            }
            BuildNews::Blocked(on) => self.waits_for.clone_from(on),
            BuildNews::Progress { done, total } => self.progress = Some((*done, *total)),
            _ => {}
        }
    }

    /// The build of this generation has made a program.
    pub(super) fn built(&mut self, generation: Generation, took: Duration) {
        self.begins(generation);
        self.ended(Some(took));
    }

    fn ended(&mut self, took: Option<Duration>) {
        let took_ms = took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        self.last = Some(LastBuild {
            took_ms,
            ..self.current
        });
    }

    fn failed(&mut self, kind: Failed, generation: Option<Generation>, text: &str) {
        self.problem = Some(Problem {
            kind,
            generation,
            text: text.into(),
        });
    }
}

impl Status {
    /// What hotrun is doing before there is a session.
    pub fn preparing() -> Self {
        Self::before_session(State::Preparing)
    }

    /// The same while it asks which program is meant.
    pub fn asking() -> Self {
        Self::before_session(State::Asking)
    }

    fn before_session(state: State) -> Self {
        Self {
            state,
            live: None,
            building: None,
            starting: None,
            draining: Vec::new(),
            running: None,
            paused: false,
            collected: 0,
            problem: None,
            last_build: None,
        }
    }
}

impl Session {
    /// What hotrun is doing now.
    pub fn status(&self) -> Status {
        let debugged = self.debugger_is_awaited().then(|| Problem {
            kind: Failed::Debugged,
            generation: None,
            text: "a debugger is attached to live".into(),
        });
        let problem = debugged.or_else(|| self.past.problem.clone());
        let live = self.swap.live.as_ref().map(|live| live.generation);
        let building = self.builds.generation().map(|generation| {
            let past = &self.past;
            let is_known = past.current.generation == generation;
            Building {
                generation,
                progress: past.progress.filter(|_| is_known),
                waits_for: past.waits_for.clone().filter(|_| is_known),
            }
        });
        let starts = self.swap.candidate.is_some() || self.swap.pending.is_some();
        let state = match () {
            () if self.ending.is_some() => State::Ending,
            () if self.debugger_is_awaited() => State::Failed,
            () if self.builds.busy() => State::Building,
            () if starts => State::Starting,
            () if problem.is_some() => State::Failed,
            () if live.is_some() => State::Live,
            () => State::Idle,
        };
        let candidate = self.swap.candidate.as_ref();
        let draining = self.swap.draining.iter();
        Status {
            state,
            live,
            building,
            starting: candidate.map(|candidate| candidate.generation),
            draining: draining.map(|process| process.generation).collect(),
            running: self.running_job(),
            paused: self.paused,
            collected: if self.paused { self.collected() } else { 0 },
            problem,
            last_build: self.past.last,
        }
    }

    fn running_job(&self) -> Option<Occasion> {
        let all = || self.jobs.iter().map(|(_, occasion)| *occasion);
        let waited_for = all().find(|occasion| occasion.is_waited_for());
        waited_for.or_else(|| all().next_back())
    }

    /// How many changed files wait for a build or a reaction.
    pub(super) fn collected(&self) -> usize {
        self.builds.collected() + self.reactions.collected()
    }

    /// The pending launch waits until a debugger detaches from live.
    fn debugger_is_awaited(&self) -> bool {
        let pending = self.swap.pending.as_ref();
        pending.is_some_and(|launch| launch.debugger == Debugger::Awaited)
    }

    /// Everything that was saved is live or has failed, as far as the session knows; or that has to wait
    /// until the user does something.
    fn is_settled(&self) -> bool {
        if self.debugger_is_awaited() {
            return true;
        }
        let starts = self.swap.candidate.is_some() || self.swap.pending.is_some();
        let reacts = !self.paused && self.reactions.busy();
        !self.builds.busy() && !starts && !reacts
    }

    /// Has this client answered once that is so.
    pub(super) fn wait(&mut self, client: Option<Client>) {
        self.past.waiting.extend(client);
    }

    /// Answers a client at once.
    pub(super) fn answer(&mut self, client: Option<Client>) {
        if let Some(client) = client {
            let status = Box::new(self.status());
            self.out.push(Action::Answer(client, status));
        }
    }

    /// Answers the clients that wait, once everything is settled or hotrun ends.
    pub(super) fn answer_waiting(&mut self) {
        if self.past.waiting.is_empty() || !(self.is_settled() || self.ending.is_some()) {
            return;
        }
        for client in std::mem::take(&mut self.past.waiting) {
            self.answer(Some(client));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::command::Command;
    use crate::session::event::{Event, JobNews};
    use crate::session::model::{Hooks, JobId, Moment};
    use crate::session::scenarios::{Files, event, policy};

    /// What a session has come to, told as scenarios tell it.
    fn told(session: &mut Session, story: &[(u64, &str)]) -> Status {
        let mut files = Files::default();
        for (at, line) in story {
            session.handle(Moment::from_millis(*at), event(line, &mut files));
        }
        session.status()
    }

    #[test]
    fn messages_are_counted_for_the_build_that_runs() {
        let mut session = Session::new(policy(), true);
        let status = told(
            &mut session,
            &[
                (0, "begin"),
                (10, "progress g1 1 3"),
                (20, "blocked g1 \"build directory\""),
                (30, "error g1"),
                (31, "error g1"),
                (32, "warning g1"),
                (33, "warning g1"),
                (34, "warning g1"),
                (35, "remark g1 of error"),
                (36, "remark g1 of warning"),
            ],
        );
        let building = Building {
            generation: Generation(1),
            progress: Some((1, 3)),
            waits_for: Some("build directory".into()),
        };
        assert_eq!(status.building, Some(building));
        assert_eq!(status.last_build, None);
        let status = told(&mut session, &[(100, "failed g1")]);
        let failed = LastBuild {
            generation: Generation(1),
            took_ms: Some(100),
            errors: 2,
            warnings: 3,
        };
        assert_eq!(status.last_build, Some(failed));
        // Nothing is known of the next build, whether it is shown already or not.
        let unknown = Some(Building {
            generation: Generation(2),
            progress: None,
            waits_for: None,
        });
        let status = told(&mut session, &[(1000, "saved src/a.rs")]);
        assert_eq!(status.building, unknown);
        let status = told(&mut session, &[(1200, "tick")]);
        assert_eq!(
            (status.building, status.last_build),
            (unknown, Some(failed))
        );
        let status = told(&mut session, &[(1300, "saved src/b.rs")]);
        let cancelled = LastBuild {
            generation: Generation(2),
            ..LastBuild::default()
        };
        assert_eq!(status.last_build, Some(cancelled));
        let status = told(&mut session, &[(1310, "cancelled g2"), (1410, "built g3")]);
        let built = LastBuild {
            generation: Generation(3),
            took_ms: Some(100),
            ..LastBuild::default()
        };
        assert_eq!((status.building, status.last_build), (None, Some(built)));
    }

    /// A build or a start that waits for a command of the user says so.
    #[test]
    fn a_hook_that_is_waited_for_is_named_before_others() {
        let command = || Some(vec!["make".to_owned()]);
        let mut policy = policy();
        policy.hooks = Hooks {
            before_build: command(),
            on_error: command(),
            ..Hooks::default()
        };
        let mut session = Session::new(policy, true);
        session.handle(Moment::ZERO, Event::Begin);
        let status = session.status();
        let state = (status.state, status.building, status.running);
        let expected = (State::Building, None, Some(Occasion::BeforeBuild));
        assert_eq!(state, expected);
        let failed = JobNews::Ended(Err("exit status 1".into()));
        session.handle(Moment::ZERO, Event::Job(JobId(1), failed));
        assert_eq!(session.status().running, Some(Occasion::OnError));
        let problem = session.status().problem.map(|problem| problem.kind);
        assert_eq!(problem, Some(Failed::Hook));
        session.handle(Moment::ZERO, Event::Command(Command::Rebuild, None));
        assert_eq!(session.status().running, Some(Occasion::BeforeBuild));
        session.handle(Moment::ZERO, Event::Job(JobId(2), JobNews::Ended(Ok(()))));
        session.handle(Moment::ZERO, Event::Job(JobId(3), JobNews::Ended(Ok(()))));
        let status = session.status();
        assert_eq!((status.state, status.running), (State::Building, None));
    }
}
