//! `hotrun verify`: what clients see of a project while it is reloaded.
//!
//! # Theory of operation
//!
//! A hotrun of our own is started with what was typed (`hotrun`), and heard by its JSON events
//! like by any other program: what is verified is what everybody runs. Once its first version is live,
//! clients ask each address it holds (`load`, `talk`, `websocket`), and one reload follows the other: a newer
//! time stamp for the file that the app begins in (`source`), so that cargo compiles beside the
//! load, and SIGHUP, which builds and starts again. A reload is over when the new version is live and
//! nothing of the old one is left. While both have processes, `witness` asks the kernel whose each
//! connection is. In the end `account` puts the times of all requests beside what hotrun did then
//! (`story`).
//!
//! Whatever ends the run, the time stamp comes back and that hotrun is told to end; if this process
//! is killed, its keeper ends it. Deliberately absent: any knowledge of what the app answers.

mod account;
mod answer;
pub mod facts;
mod hotrun;
mod load;
mod source;
mod story;
mod stream;
mod talk;
mod target;
mod trouble;
mod websocket;
mod witness;

use std::ffi::OsString;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use socket2::Socket;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use crate::defect;
use crate::exit::Failure;
use crate::keeper::protocol::Order;
use crate::report::{self, Record};
use crate::session::command::Command;
use crate::session::event::Event;
use crate::session::model::{Ending, Generation};
use crate::sys::signals::{self, HANGUP, TERMINATE};
use account::facts;
use facts::{Facts, How, Loaded, PATIENCE, Progress};
use hotrun::Hotrun;
use load::Load;
use source::Source;
use story::Story;
use target::Target;
use trouble::{Trouble, Words, of_stderr, only_errors};
use witness::Witness;

pub use hotrun::ARGUMENT;

/// The load between two reloads: for the times of an app beside which nothing happens, and for the
/// watch to see that a newer time stamp is no change.
const CALM: Duration = Duration::from_millis(500);

/// What is to be done.
#[derive(Debug)]
pub struct Plan {
    /// How many reloads.
    pub reloads: u32,
    /// What is asked for, which is to work; without it, `/`, whatever that answers.
    pub path: Option<String>,
    /// How.
    pub kind: Kind,
    /// The signal that asks the app to end.
    pub stop_signal: i32,
    /// What was typed after the program's name.
    pub words: Vec<OsString>,
    /// The environment of the hotrun under load.
    pub env: Vec<(OsString, OsString)>,
    /// Its directory.
    pub dir: OsString,
    /// The sockets that it is to inherit.
    pub sockets: Vec<Arc<Socket>>,
    /// Where signals arrive.
    pub signals: UnboundedReceiver<Event>,
}

impl Plan {
    fn path(&self) -> &str {
        self.path.as_deref().unwrap_or("/")
    }
}

/// What clients do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// They do it over TLS, with any certificate.
    pub tls: bool,
    /// They open WebSockets and keep them, instead of sending requests.
    pub websocket: bool,
}

/// How it ended.
#[derive(Debug)]
pub enum Outcome {
    /// All reloads were made.
    Done(Box<Facts>),
    /// It could not be done: the last words of cargo or the app, and why.
    Failed(Vec<String>, Failure),
    /// It was asked to end by this signal.
    Signal(i32),
}

/// A panic of the clients, after which the numbers would be wrong.
fn not_counted(panic: &str) -> Failure {
    Failure::failed(format!(
        "the clients were not counted, by a defect of hotrun: {panic}"
    ))
    .hint("please report it, with the lines above")
}

/// Why it stops before its time.
enum Stop {
    Trouble(Trouble),
    Signal(i32),
}

impl<T: Into<Trouble>> From<T> for Stop {
    fn from(trouble: T) -> Self {
        Self::Trouble(trouble.into())
    }
}

/// Puts the project through its reloads. Must be called inside the runtime.
pub async fn run(plan: Plan, tell: impl FnMut(Progress)) -> Outcome {
    // Where SIGHUP is ignored (`nohup`), a child would ignore it too, and it is how we ask for a
    // reload. What is caught here is left to its default there.
    let _hangup = signals::listen(HANGUP);
    let start = Instant::now();
    let started = Hotrun::start(
        &plan.words,
        plan.env.clone(),
        plan.dir.clone(),
        &plan.sockets,
    );
    let hotrun = match started.await {
        Ok(hotrun) => hotrun,
        Err(error) => {
            let failure = Failure::failed(format!("cannot start a keeper: {error}"))
                .hint("free some processes or descriptors (`ulimit -u`, `ulimit -n`)");
            return Outcome::Failed(Vec::new(), failure);
        }
    };
    let mut run = Run {
        plan,
        start,
        hotrun,
        story: Story::default(),
        words: Words::default(),
        witness: Arc::new(Witness::default()),
        tell,
    };
    let made = run.reload_all().await;
    run.end().await;
    match made {
        Ok(facts) => Outcome::Done(Box::new(facts)),
        Err(Stop::Signal(number)) => Outcome::Signal(number),
        Err(Stop::Trouble(Trouble { mut said, failure })) => {
            said.extend(
                run.story
                    .warnings()
                    .iter()
                    .map(|text| format!("warning: {text}")),
            );
            Outcome::Failed(said, failure)
        }
    }
}

struct Run<T> {
    plan: Plan,
    /// When our clock began.
    start: Instant,
    hotrun: Hotrun,
    story: Story,
    words: Words,
    witness: Arc<Witness>,
    tell: T,
}

impl<T: FnMut(Progress)> Run<T> {
    async fn reload_all(&mut self) -> Result<Facts, Stop> {
        let (first, live) = self.until(Story::live).await?;
        let mut targets = target::all(&self.story.held, &self.plan)?;
        let Some(source) = &self.story.source else {
            let failure = Failure::failed("the manifest could not be read at the start");
            return Err(failure.hint("verify again, now that it can").into());
        };
        let mut source = Source::open(source)?;
        let asked = target::find_out_how(&mut targets, self.plan.kind);
        self.meanwhile(asked).await??;
        let loaded: Vec<Loaded> = targets.iter().map(Target::loaded).collect();
        (self.tell)(Progress::Loading {
            generation: first,
            took: live.took,
            loaded: loaded.clone(),
        });
        let load = Load::start(&targets, self.witness.clone(), self.start);
        let load = load.map_err(|error| {
            Failure::failed(format!("cannot start a client: {error}"))
                .hint("free some threads (`ulimit -u`)")
        })?;
        let mut newest = first;
        let mut counted = (0, 0);
        for number in 1..=self.plan.reloads {
            source.touch()?;
            self.meanwhile(tokio::time::sleep(CALM)).await?;
            if number == 1 {
                self.expect_good_answers(&load, &loaded).await?;
            }
            self.hotrun.reload();
            let live;
            (newest, live) = self.until(|story| story.settled(newest)).await?;
            let held = &self.story.held;
            for gone in targets.iter().filter(|target| !target.is_among(held)) {
                load.release(gone.number);
            }
            let (requests, lost) = load.count();
            (self.tell)(Progress::Reload {
                number,
                of: self.plan.reloads,
                generation: newest,
                took: live.took,
                build: live.build,
                requests: requests.saturating_sub(counted.0),
                lost: lost.saturating_sub(counted.1),
            });
            counted = (requests, lost);
        }
        self.meanwhile(tokio::time::sleep(CALM)).await?;
        let finish = || {
            defect::point("count");
            load.finish()
        };
        let mut seen = defect::spawn_blocking("count", finish);
        let seen = match self.meanwhile(seen.done()).await? {
            Ok(Ok(seen)) => seen,
            Ok(Err(panic)) => return Err(not_counted(&panic).into()),
            Err(error) => return Err(not_counted(&error.to_string()).into()),
        };
        Ok(facts(&seen, &self.story, &loaded, &self.plan))
    }

    /// Without reloads, something works at the path that the user has named. One that opens WebSockets need
    /// not answer requests.
    async fn expect_good_answers(&mut self, load: &Load, loaded: &[Loaded]) -> Result<(), Stop> {
        let Some(path) = self.plan.path.clone() else {
            return Ok(());
        };
        if loaded.iter().any(|loaded| loaded.how == How::Open) {
            return Ok(());
        }
        // Answers may take longer than the calm before the first reload.
        let patient = Instant::now() + PATIENCE;
        while load.count().0 == 0 && Instant::now() < patient {
            self.meanwhile(tokio::time::sleep(CALM)).await?;
        }
        let statuses = load.statuses();
        if statuses.are_errors() {
            return Err(only_errors(&statuses, &path).into());
        }
        Ok(())
    }

    // ---- waiting

    /// Takes in what is told until there is something to find in it.
    async fn until<U>(&mut self, find: impl Fn(&Story) -> Option<U>) -> Result<U, Stop> {
        loop {
            if let Some(found) = find(&self.story) {
                return Ok(found);
            }
            tokio::select! {
                biased;
                number = asked_to_end(&mut self.plan.signals) => return Err(Stop::Signal(number)),
                told = self.hotrun.next() => self.hear(told)?,
            }
        }
    }

    /// Takes in what is told until this is done.
    async fn meanwhile<U>(&mut self, done: impl Future<Output = U>) -> Result<U, Stop> {
        tokio::pin!(done);
        loop {
            tokio::select! {
                biased;
                number = asked_to_end(&mut self.plan.signals) => return Err(Stop::Signal(number)),
                // An app that never stops writing must not keep anybody waiting.
                done = &mut done => return Ok(done),
                told = self.hotrun.next() => self.hear(told)?,
            }
        }
    }

    fn hear(&mut self, told: Option<Record>) -> Result<(), Stop> {
        use report::event::Event;
        let Some(told) = told else {
            let (exit, said) = self.hotrun.last_words();
            return Err(of_stderr(&said, exit).into());
        };
        self.story.hear(self.start.elapsed(), &told);
        match &told.event {
            Event::BuildEnded { .. } => self.witness.expect(),
            Event::Started { generation, pid } => self.witness.started(*generation, *pid),
            Event::Gone { generation, .. } => self.witness.gone(*generation),
            // Later ones belong to a reload.
            Event::Building {
                generation: first @ Generation(1),
                ..
            } => (self.tell)(Progress::Building(*first)),
            Event::Blocked { on: Some(on), .. } => (self.tell)(Progress::Blocked(on.clone())),
            _ => {}
        }
        Ok(self.words.hear(&told.event)?)
    }

    /// Has hotrun end in good order; at once, if we are asked to end once more meanwhile.
    async fn end(&mut self) {
        let term = Order::Signal(TERMINATE);
        self.hotrun.order(&term).await;
        let mut more = [term, Order::Kill].into_iter();
        loop {
            tokio::select! {
                biased;
                _ = asked_to_end(&mut self.plan.signals) => {
                    self.hotrun.order(&more.next().unwrap_or(Order::Kill)).await;
                }
                told = self.hotrun.next() => if told.is_none() {
                    return;
                }
            }
        }
    }
}

/// Waits for a signal that ends the run. What the main job does with others makes no
/// sense here: a load that was stopped for a while would measure just that.
async fn asked_to_end(signals: &mut UnboundedReceiver<Event>) -> i32 {
    loop {
        match signals.recv().await {
            Some(Event::Quit(Ending::Signal(number))) => return number,
            Some(Event::Command(Command::Rebuild, _)) => return HANGUP,
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::{Kind, Plan};

    /// One reload, with nothing special.
    pub(super) fn plan() -> Plan {
        let (_, signals) = unbounded_channel();
        Plan {
            reloads: 1,
            path: None,
            kind: Kind::default(),
            stop_signal: 2,
            words: Vec::new(),
            env: Vec::new(),
            dir: "".into(),
            sockets: Vec::new(),
            signals,
        }
    }
}
