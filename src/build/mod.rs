//! Builds: reads the project, runs `cargo build`, and pins the executable.
//!
//! # Theory of operation
//!
//! One task carries out one order at a time. The steps of a build: read the project with `cargo
//! metadata`, if it has to be read; make changes visible to cargo that it would miss by time stamps; run
//! `cargo build` with JSON messages; pin the executable when cargo names it; compare it with the
//! baseline; and, if the last answer may be outdated, ask cargo what the program is started with. A
//! cancel ends whichever step runs. `Done` is sent when no process of the build is left, except for a
//! cargo that has sent `build-finished` and is about to end: it writes the dep-info at its very end,
//! which is read once it has. Under the fast profile, `direct` takes the place of cargo where only the
//! compiler has to look at what changed. Deliberately absent: deciding when to build or what to do with
//! the result.

pub mod artifact;
mod beside;
pub mod cargo_config;
pub mod choice;
pub mod command;
mod compiler;
mod dep_info;
mod direct;
mod fast;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile_tests;
pub mod inputs;
mod invalidate;
mod linker;
mod lock_holder;
pub mod messages;
mod output;
mod pin;
pub mod project;
mod reader;
pub mod recorder;
pub mod scope;
mod siblings;
pub mod surroundings;
mod survey;
mod toolchain;
mod units;
mod versions;
mod work;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use artifact::ArtifactStore;
use choice::{Candidate, Choice};
#[cfg(any(test, fuzzing))]
pub(crate) use dep_info::hostile_tests::any_dep_info_is_none_or_can_be_written_again;
use lock_holder::Tell;
use project::{Problem, Project};
use reader::{Unread, read_project};
pub use survey::{Survey, survey};
pub use versions::versions;
use work::Work;

use crate::config::{Build, Settings};
use crate::defect;
use crate::exit::Failure;
use crate::helper::{Cancel, Stopped};
use crate::session::event::Event;
use crate::session::model::{ArtifactRef, BuildOutcome, Changes, Generation, Line, Program};
use crate::session::reason::Reason;
use crate::session::seen::Seen;

/// An order to the builder.
#[derive(Debug)]
enum Order {
    Start {
        generation: Generation,
        load: bool,
        baseline: Option<ArtifactRef>,
        changed: Changes,
    },
    Cancel(Generation),
    Configure(Arc<Settings>),
    Running(Vec<PathBuf>),
    Prepare,
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
        changed: Changes,
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

    /// Tells which executables the processes of the live app run.
    pub fn running(&self, executables: Vec<PathBuf>) {
        self.orders.send(Order::Running(executables)).ok();
    }

    /// Makes ready what the next build need not wait for, while nothing is waited for.
    pub fn prepare(&self) {
        self.orders.send(Order::Prepare).ok();
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
    /// When it was read.
    pub seen: Seen,
    /// Where its artifacts are kept.
    pub store: Arc<ArtifactStore>,
}

impl Loaded {
    /// What is built and run.
    pub fn program(&self, build: &Build) -> Program {
        let target = &self.project.target;
        Program {
            package: target.package.clone(),
            target: target.name.clone(),
            source: target.source.clone(),
            profile: build.profile().into_owned(),
            platform: build.target.clone(),
            memory: self.store.memory(),
        }
    }
}

/// Why there is nothing to begin with.
#[derive(Debug)]
pub enum Unusable {
    /// hotrun can't go on.
    Failure(Failure),
    /// Not without a choice.
    Choice(Box<Choice>),
}

impl From<Failure> for Unusable {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<Unusable> for Failure {
    fn from(unusable: Unusable) -> Self {
        match unusable {
            Unusable::Failure(failure) => failure,
            Unusable::Choice(choice) => choice.failure(),
        }
    }
}

/// Reads the project for the first time. `Ok(None)`: a manifest is broken, and `line` was called with
/// how; a later build reads it again. `waiting` is called with the lock that cargo waits for, and its
/// holder.
pub async fn load(
    settings: &Settings,
    mut line: impl FnMut(Line),
    waiting: impl Fn(Option<String>) + Send + Sync + 'static,
) -> Result<Option<Loaded>, Unusable> {
    let (_keep, mut cancel) = watch::channel(false);
    let waiting: Tell = Arc::new(waiting);
    match read_project(&settings.build, &mut cancel, &mut line, &waiting).await {
        Ok((project, seen)) => {
            let store = Arc::new(ArtifactStore::open(&project, &settings.build)?);
            Ok(Some(Loaded {
                project,
                seen,
                store,
            }))
        }
        Err(Unread::Problem(Problem::Choice(choice))) => Err(Unusable::Choice(choice)),
        Err(Unread::Problem(Problem::Usage(failure))) => Err(failure.into()),
        Err(Unread::Stopped(Stopped::Failed(reason))) => Err(no_cargo(reason).into()),
        Err(Unread::Problem(Problem::Broken) | Unread::Stopped(Stopped::Cancelled)) => Ok(None),
    }
}

/// The same for a command that asks no question: where there is a program to choose, it is the one that was chosen
/// at the terminal before, and `settings` name it from then on. Returns that one, if so.
pub async fn load_as_chosen(
    settings: &mut Settings,
    mut line: impl FnMut(Line),
) -> Result<(Option<Loaded>, Option<Candidate>), Unusable> {
    let choice = match load(settings, &mut line, |_| {}).await {
        Err(Unusable::Choice(choice)) => choice,
        loaded => return Ok((loaded?, None)),
    };
    let Some(chosen) = recalled(&choice) else {
        return Err(Unusable::Choice(choice));
    };
    settings.build = chosen.of(&settings.build);
    let loaded = load(settings, line, |_| {}).await?;
    Ok((loaded, Some(chosen)))
}

/// The program that was chosen here at the terminal before, if it still exists.
pub fn recalled(choice: &Choice) -> Option<Candidate> {
    let memory = std::fs::read_to_string(choice.memory()).ok()?;
    choice.recall(&memory).cloned()
}

fn no_cargo(reason: Reason) -> Failure {
    let other = "leave `CARGO` unset, or let it name a cargo";
    let hint = reason.hint.unwrap_or_else(|| other.into());
    Failure::failed(reason.text).hint(hint)
}

/// Waits until every change of a file so far has been reported to the session.
pub type Settle = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// How a build has ended. What it was made of, or failed for, may have been there for a moment only, as while
/// git writes: all that was written meanwhile is reported before the outcome is.
async fn settled(
    outcome: Result<BuildOutcome, Stopped>,
    settle: &Settle,
    cancel: &mut Cancel,
) -> Result<BuildOutcome, Stopped> {
    if let Err(Stopped::Cancelled) = outcome {
        return outcome;
    }
    tokio::select! {
        biased;
        _ = cancel.wait_for(|cancelled| *cancelled) => {
            if let Ok(BuildOutcome::Built { artifact, unchanged: false, .. }) = outcome {
                artifact::discard(&artifact.dir);
            }
            Err(Stopped::Cancelled)
        }
        () = settle() => outcome,
    }
}

/// Starts the builder. `settle` is called before an outcome is reported.
pub fn spawn(
    settings: Arc<Settings>,
    loaded: Option<Loaded>,
    settle: Settle,
    events: mpsc::UnboundedSender<Event>,
) -> Builder {
    let (orders, mut inbox) = mpsc::unbounded_channel();
    let mut work = Work::new(settings, loaded, settle, events);
    // Each order is taken once, also after a panic.
    let run = async move || Box::pin(work.run(&mut inbox)).await;
    defect::spawn("builder", defect::again("builder", run));
    Builder { orders }
}
