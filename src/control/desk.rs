//! What the server and the main loop share: the clients that wait for an answer, what the newest build and
//! program have said, and the lines of the app.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::{Notify, SetOnce, oneshot, watch};

use super::logs::{Line, Logs};
use super::{Answer, Identity};
use crate::browser::Picture;
use crate::browser::picture::Editor;
use crate::report::values::{AnyPath, HeldAddress};
use crate::session::action::View;
use crate::session::command::Client;
use crate::session::event::BuildNews;
use crate::session::model::{Generation, Program};
use crate::session::status::{Failed, Status};
use crate::sink::{Chunk, Sink};
use crate::watch::Watch;

/// The most errors of a build that are kept.
const MOST_ERRORS: usize = 100;

/// The shared part; clones are the same one.
#[derive(Clone, Debug)]
pub struct Desk {
    shared: Arc<Mutex<Shared>>,
    written: Arc<Notify>,
    /// What watches files, once the project was read; `None`: nothing does.
    watch: Arc<SetOnce<Option<Watch>>>,
    /// A person is asked which program is meant.
    asks: Arc<watch::Sender<bool>>,
}

/// A person is asked which program is meant, and may be away.
#[derive(Debug)]
pub(super) struct Asks;

#[derive(Debug)]
struct Shared {
    session: Identity,
    numbered: u64,
    waiting: HashMap<Client, oneshot::Sender<Answer>>,
    /// The build that the errors are of.
    build: Generation,
    /// The newest generation that was begun.
    newest: Generation,
    errors: Vec<Value>,
    logs: Logs,
}

impl Shared {
    /// The errors of the compiler, or the last lines of the program, if the status has a problem with
    /// that.
    fn evidence(&self, status: &Status) -> (Vec<Value>, Vec<String>) {
        let problem = status.problem.as_ref();
        match problem.map(|problem| (problem.kind, problem.generation)) {
            Some((Failed::Build, Some(of))) if of == self.build => {
                (self.errors.clone(), Vec::new())
            }
            Some((Failed::App, Some(of))) => (Vec::new(), self.logs.last_words(of)),
            _ => (Vec::new(), Vec::new()),
        }
    }
}

impl Desk {
    /// Without a client yet; `session` is what is known before the project is read.
    pub fn new(session: Identity) -> Self {
        let shared = Shared {
            session,
            numbered: 0,
            waiting: HashMap::new(),
            build: Generation(0),
            newest: Generation(0),
            errors: Vec::new(),
            logs: Logs::default(),
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
            written: Arc::default(),
            watch: Arc::default(),
            asks: Arc::default(),
        }
    }

    /// The project was read: requests are answered from now on.
    pub fn prepared(&self, session: Identity, watch: Option<Watch>) {
        self.lock().session = session;
        self.watch.set(watch).ok();
    }

    /// Another program is run from now on.
    pub fn runs(&self, program: &Program, workspace: &Path) {
        let mut shared = self.lock();
        shared.session.workspace = AnyPath(workspace.to_owned());
        shared.session.package = Some(program.package.clone());
        shared.session.target = Some(program.target.clone());
        shared.session.profile = Some(program.profile.clone());
        shared.session.platform.clone_from(&program.platform);
    }

    /// What can be said before the project is read; `None`: it was.
    pub(super) fn preparing(&self) -> Option<Answer> {
        (!self.watch.initialized()).then(|| Answer {
            session: self.session(),
            status: if *self.asks.borrow() {
                Status::asking()
            } else {
                Status::preparing()
            },
            addresses: Vec::new(),
            errors: Vec::new(),
            output: Vec::new(),
        })
    }

    /// Whether a person is asked which program is meant.
    pub fn asks(&self, asks: bool) {
        self.asks.send_replace(asks);
    }

    /// Waits until the project was read; an error if that waits for a person. Safe to drop while it
    /// waits.
    pub(super) async fn watch(&self) -> Result<Option<&Watch>, Asks> {
        let mut asks = self.asks.subscribe();
        tokio::select! {
            biased;
            watch = self.watch.wait() => Ok(watch.as_ref()),
            _ = asks.wait_for(|asks| *asks) => Err(Asks),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is run.
    pub(super) fn session(&self) -> Identity {
        self.lock().session.clone()
    }

    /// A client asks, and receives the answer.
    pub(super) fn client(&self) -> (Client, oneshot::Receiver<Answer>) {
        let (sender, answer) = oneshot::channel();
        let mut shared = self.lock();
        shared.numbered += 1;
        let client = Client(shared.numbered);
        // A client that has gone waits no more.
        shared.waiting.retain(|_, sender| !sender.is_closed());
        shared.waiting.insert(client, sender);
        (client, answer)
    }

    /// Answers a client.
    pub fn answer(&self, client: Client, status: Status, addresses: Vec<HeldAddress>) {
        let mut shared = self.lock();
        let Some(sender) = shared.waiting.remove(&client) else {
            return;
        };
        let (errors, output) = shared.evidence(&status);
        let answer = Answer {
            session: shared.session.clone(),
            status,
            addresses,
            errors,
            output,
        };
        drop(shared);
        sender.send(answer).ok();
    }

    /// What a browser is shown with this status; `editor` is the URL that opens a place in the user's.
    pub fn picture(&self, status: &Status, editor: Option<&str>) -> Picture {
        let shared = self.lock();
        let (errors, output) = shared.evidence(status);
        let rendered = errors.iter().filter_map(|error| error["rendered"].as_str());
        let root = shared.session.workspace.as_ref();
        Picture::of(
            shared.session.target.clone(),
            status.clone(),
            &rendered.collect::<Vec<_>>(),
            &output,
            editor.map(|url| Editor { url, root }),
        )
    }

    /// Takes in what is told.
    pub fn saw(&self, view: &View) {
        let (generation, news) = match view {
            View::Building { generation, .. } | View::Starting { generation, .. } => {
                let mut shared = self.lock();
                shared.newest = shared.newest.max(*generation);
                return;
            }
            View::Build(generation, news) => (generation, news),
            _ => return,
        };
        let mut shared = self.lock();
        if shared.build != *generation {
            shared.build = *generation;
            shared.errors.clear();
        }
        if let BuildNews::Diagnostic {
            detail: Some(detail),
            ..
        } = news
            && shared.errors.len() < MOST_ERRORS
        {
            shared.errors.extend(serde_json::from_str(detail).ok());
        }
    }

    /// A sink that keeps the last lines as well.
    pub fn keeping(&self, sink: Sink) -> Sink {
        let desk = self.clone();
        sink.also(move |chunk: &Chunk| {
            desk.lock().logs.add(chunk);
            desk.written.notify_waiters();
        })
    }

    /// Why nothing can have been written by this generation, if it was never begun.
    pub(super) fn unknown(&self, generation: Generation) -> Option<String> {
        let newest = self.lock().newest;
        let reason = match newest {
            Generation(0) => "no generation has begun yet".into(),
            newest => format!("the newest is {newest}"),
        };
        let begun = Generation(1) <= generation && generation <= newest;
        (!begun).then(|| format!("there was no {generation}: {reason}"))
    }

    /// The lines from this number on, and the number that comes next.
    pub(super) fn lines(&self, since: u64) -> (Vec<Line>, u64) {
        self.lock().logs.since(since)
    }

    /// Waits until there are lines from this number on.
    pub(super) async fn more(&self, since: u64) {
        loop {
            let written = self.written.notified();
            if self.lines(since).1 > since {
                return;
            }
            written.await;
        }
    }
}
