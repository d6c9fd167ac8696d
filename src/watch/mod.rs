//! Watching the file system: one non-recursive watch per directory that holds a source or a guess.
//!
//! # Theory of operation
//!
//! A thread of its own owns the watcher, the filter, the set of watched directories and what was
//! last found in each file, since walking, watching and reading can block. It takes in raw events and
//! new scopes through one channel, looks at the paths that are named, and sends [`Event::Changed`]
//! with what it found there now and before. What kind of event it was does not matter: the content
//! decides. Where the system tells of changes, events are taken as they come, since the session keeps
//! the quiet period. Where it tells of nothing or can tell no more (`silence`), all of it is polled
//! from then on, and what happened in between is looked for. Directories are watched, never files,
//! because editors save by renaming. What is wanted by its path may come later, or go and come back:
//! the nearest directory above it that is there is watched too.
//! Deliberately absent: any waiting for quiet, any decision about what to do.

mod backend;
pub mod classify;
mod contents;
mod cures;
pub mod filter;
mod git;
mod places;
mod silence;
mod tree;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

use ignore::WalkBuilder;
use notify::EventKind;
use notify::event::ModifyKind;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use backend::Backend;
use classify::matters;
use contents::{Contents, Found};
use filter::{Counts, Filter};
use git::Git;
use places::Places;
use silence::Silence;

use crate::config;
use crate::defect::{caught, point};
use crate::exit::Failure;
use crate::session::event::Event;
use crate::session::model::{Change, ChangeKind, Scope};
use crate::session::reason::Reason;

/// So many files that are no sources are remembered at most.
const OTHERS: usize = 4096;
/// Git has its lock for so long at most before it counts as an operation that goes on.
const LOCKED: Duration = Duration::from_secs(1);
/// The pause between two looks at that lock.
const LOOK: Duration = Duration::from_millis(2);

/// What reaches the watching thread.
enum Message {
    Found(notify::Result<notify::Event>),
    Scope(Box<Scope>, oneshot::Sender<Vec<Reason>>),
    Settings(config::Watch),
}

/// The handle of the watching thread, which lives as long as the program.
#[derive(Debug)]
pub struct Watch {
    messages: mpsc::Sender<Message>,
}

impl Watch {
    /// Starts watching nothing.
    pub fn start(
        settings: &config::Watch,
        events: UnboundedSender<Event>,
    ) -> Result<Self, Failure> {
        let (messages, inbox) = mpsc::channel();
        let mut problems = Vec::new();
        let backend = backend(settings, &messages, &mut problems)
            .map_err(|error| Failure::failed(format!("cannot watch files: {error}")))?;
        let lag = backend.lag();
        events.send(Event::Watching { lag }).ok();
        let mut watcher = Watcher {
            places: Places::new(backend, problems),
            scope: Scope::default(),
            filter: Filter::new(&Scope::default(), settings),
            settings: settings.clone(),
            contents: Contents::default(),
            git: None,
            messages: messages.clone(),
            events,
        };
        let run = move || {
            let mut next = inbox.recv().ok();
            while let Some(message) = next {
                let taken = caught(|| watcher.take(message, &inbox));
                // What it was about is not known: everything may have changed.
                let more = taken.unwrap_or_else(|_| {
                    watcher.rescan();
                    None
                });
                next = more.or_else(|| inbox.recv().ok());
            }
        };
        let failed = |error| Failure::failed(format!("cannot start a thread: {error}"));
        thread::Builder::new()
            .name("watch".into())
            .spawn(run)
            .map_err(failed)?;
        Ok(Self { messages })
    }

    /// Watches this from now on. The receiver gets what could not be watched, once the rest is.
    pub fn rewatch(&self, scope: Scope) -> oneshot::Receiver<Vec<Reason>> {
        let (done, watching) = oneshot::channel();
        self.messages
            .send(Message::Scope(Box::new(scope), done))
            .ok();
        watching
    }

    /// Goes by these settings from now on.
    pub fn configure(&self, settings: config::Watch) {
        self.messages.send(Message::Settings(settings)).ok();
    }
}

/// The system's events, unless the user wants none or there are none to be had.
fn backend(
    settings: &config::Watch,
    messages: &mpsc::Sender<Message>,
    problems: &mut Vec<Reason>,
) -> notify::Result<Backend> {
    if let Some(interval) = settings.poll {
        return Backend::polled(interval, sender(messages));
    }
    let error = match Backend::native(sender(messages)) {
        Ok(backend) => return Ok(backend),
        Err(error) => error,
    };
    let Some(silence) = Silence::of_error(&error) else {
        return Err(error);
    };
    problems.push(silence.explain(1, settings.poll_by_itself));
    Backend::polled(settings.poll_by_itself, sender(messages))
}

fn sender(messages: &mpsc::Sender<Message>) -> impl Fn(notify::Result<notify::Event>) + use<> {
    let messages = messages.clone();
    move |event| {
        messages.send(Message::Found(event)).ok();
    }
}

struct Watcher {
    places: Places,
    scope: Scope,
    filter: Filter,
    settings: config::Watch,
    contents: Contents,
    /// The repository that the project is in.
    git: Option<Git>,
    /// For another backend than the first.
    messages: mpsc::Sender<Message>,
    events: UnboundedSender<Event>,
}

/// Why everything is watched anew, and so what is told of files that were not watched before.
#[derive(Clone, Copy, Debug)]
enum Why<'a> {
    /// The program is made of something else; what was written since then may have been missed.
    Scope(Option<SystemTime>),
    /// This directory has come, and what is in it.
    Came(&'a Path),
    /// Events were lost, or come from elsewhere now: anything may have changed.
    Lost,
}

impl Watcher {
    /// Takes in one message, and with it what else has happened by then. Returns another message that
    /// came meanwhile.
    fn take(&mut self, message: Message, inbox: &mpsc::Receiver<Message>) -> Option<Message> {
        if matches!(message, Message::Found(_)) {
            point("watch");
        }
        let mut next = None;
        match message {
            Message::Scope(scope, done) => {
                let since = scope.seen.map(|seen| seen.at);
                self.scope = *scope;
                self.git = Git::of(&self.scope.base);
                let first = self.places.is_empty();
                let mut missed = self.watch_scope(Why::Scope(since));
                // Nothing was heard yet, so there is nothing that could be lost.
                if first && self.poll_if_silent() {
                    missed = self.watch_scope(Why::Scope(since));
                }
                done.send(self.places.take_problems()).ok();
                self.tell(missed);
            }
            Message::Settings(settings) => self.configure(settings),
            Message::Found(event) => {
                let mut events = vec![event];
                self.wait_for_git();
                for message in inbox.try_iter() {
                    match message {
                        Message::Found(event) => events.push(event),
                        other => {
                            next = Some(other);
                            break;
                        }
                    }
                }
                self.found(events);
            }
        }
        if self.poll_if_silent() {
            self.rescan();
        }
        for problem in self.places.take_problems() {
            self.events.send(Event::Unwatched(problem)).ok();
        }
        next
    }

    /// Where the system turned out to be silent: looks for changes from now on, and says so.
    /// Everything is to be watched anew then.
    fn poll_if_silent(&mut self) -> bool {
        let Some((silence, wanted)) = self.places.take_silence() else {
            return false;
        };
        let interval = self.settings.poll_by_itself;
        match Backend::polled(interval, sender(&self.messages)) {
            Ok(backend) => {
                self.use_backend(backend);
                self.places.add_problem(silence.explain(wanted, interval));
            }
            Err(error) => self
                .places
                .add_problem(format!("cannot watch files: {error}").into()),
        }
        true
    }

    fn use_backend(&mut self, backend: Backend) {
        self.places.replace(backend);
        let lag = self.places.lag();
        self.events.send(Event::Watching { lag }).ok();
    }

    /// Other settings. What changed between the two backends is looked for.
    fn configure(&mut self, settings: config::Watch) {
        let other_backend = settings.poll != self.settings.poll;
        self.settings = settings;
        if !other_backend {
            let missed = self.watch_scope(Why::Scope(None));
            return self.tell(missed);
        }
        let mut problems = Vec::new();
        match backend(&self.settings, &self.messages, &mut problems) {
            Ok(backend) => {
                self.use_backend(backend);
                self.rescan();
            }
            Err(error) => problems.push(format!("cannot watch files: {error}").into()),
        }
        for problem in problems {
            self.places.add_problem(problem);
        }
    }

    /// Events were lost: every directory may be another one than the one that is watched.
    fn rescan(&mut self) {
        self.places.clear();
        let changes = self.watch_scope(Why::Lost);
        self.tell(changes);
        self.events.send(Event::Rescan).ok();
    }

    fn tell(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        if let Some(ago) = self.git.as_ref().and_then(|git| git.works(contents::now())) {
            self.events.send(Event::GitWorks { ago }).ok();
        }
        self.events.send(Event::Changed(changes)).ok();
    }

    /// Git has a lock for as long as it writes: what it has written by then is one change.
    fn wait_for_git(&self) {
        let Some(git) = &self.git else {
            return;
        };
        let mut waited = Duration::ZERO;
        while git.is_locked(contents::now()) && waited < LOCKED {
            thread::sleep(LOOK);
            waited += LOOK;
        }
    }

    /// Looks at everything that these events name.
    fn found(&mut self, events: Vec<notify::Result<notify::Event>>) {
        let polled = self.places.is_polled();
        let lost = |event: &notify::Result<notify::Event>| match event {
            Ok(event) => event.need_rescan(),
            // A poll finds what can't be read (a link to nowhere) anew each time.
            Err(_) => !polled,
        };
        if events.iter().any(lost) {
            return self.rescan();
        }
        let mut changes = Vec::new();
        let mut looked = HashSet::new();
        for event in events.into_iter().flatten() {
            if !matters(event.kind, polled) {
                continue;
            }
            // A poll tells of a directory whenever something in it comes or goes.
            let moved = !polled
                || matches!(
                    event.kind,
                    EventKind::Create(_)
                        | EventKind::Remove(_)
                        | EventKind::Modify(ModifyKind::Name(_))
                );
            for path in event.paths {
                let is_dir = path.is_dir();
                if moved {
                    changes.extend(self.moved(&path, is_dir));
                }
                if !is_dir && looked.insert(path.clone()) {
                    changes.extend(self.look(&path));
                }
            }
        }
        self.tell(changes);
    }

    /// Something came, went, or was moved here: what is watched may be another directory now.
    fn moved(&mut self, path: &Path, is_dir: bool) -> Vec<Change> {
        let mut changes = Vec::new();
        let was_watched = self.places.has_below(path);
        if was_watched {
            self.places.forget(path);
            for gone in self.contents.below(path) {
                changes.extend(self.look(&gone));
            }
        }
        if decides_about_others(path) {
            changes.extend(self.watch_scope(Why::Came(path)));
        } else if is_dir {
            changes.extend(self.new_dir(path));
        } else if (was_watched && self.filter.leads(path)) || path.is_symlink() {
            // What is wanted there may come back: what is above it now tells of that. A link that has
            // come may lead to where nothing is watched.
            changes.extend(self.watch_scope(Why::Came(path)));
        }
        changes
    }

    /// A directory appeared: watches it, and takes the files that are there already for changes.
    fn new_dir(&mut self, dir: &Path) -> Vec<Change> {
        if self.places.has(dir) {
            return Vec::new();
        }
        // One that is of no use itself may hold what is (`.cargo/config.toml`), or lead to it.
        if self.filter.leads(dir) || self.filter.is_whole(dir) {
            return self.watch_scope(Why::Came(dir));
        }
        let mut changes = Vec::new();
        for entry in self.filter.walks_from(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_some_and(|kind| kind.is_dir()) {
                self.places.watch(path);
            } else {
                changes.extend(self.look(path));
            }
        }
        // What git ignores below it may be what a rule is about.
        if self.filter.reaches(dir) {
            changes.extend(self.watch_rules(Why::Came(dir)));
        }
        // A directory for modules: what comes there is seen before it is part of the program.
        let beside_sources = dir.parent().is_some_and(|dir| self.filter.has_sources(dir));
        let has_place = self.filter.places().iter().any(|place| place == dir);
        if beside_sources || has_place {
            self.places.watch(dir);
            let entries = dir.read_dir().into_iter().flatten().flatten();
            for entry in entries {
                changes.extend(self.look(&entry.path()));
            }
        }
        changes
    }

    /// Looks at one path. The change that this is, if it is any.
    fn look(&mut self, path: &Path) -> Vec<Change> {
        let mut changes = Vec::new();
        let sources = self.filter.linked(path);
        for source in sources.iter().map(PathBuf::as_path).chain([path]) {
            if self.filter.kind(source).is_some() {
                let found = self.contents.look(source);
                changes.extend(found.and_then(|found| self.change(source, found)));
            } else if is_code(source) && self.contents.len() < OTHERS {
                // It may be part of the program with the next build.
                self.contents.look(source);
            }
        }
        changes
    }

    /// Looks at a path that was not watched before.
    fn look_first(&mut self, path: &Path, why: Why) -> Option<Change> {
        let kind = self.filter.kind(path)?;
        let found = match why {
            Why::Came(dir) if path.starts_with(dir) => self.contents.look(path),
            // Anything may have been missed.
            Why::Lost => self
                .contents
                .look(path)
                .filter(|found| found.before != Some(found.now)),
            Why::Scope(since) => self.contents.look_first(path, since),
            Why::Came(_) => self.contents.look_first(path, None),
        };
        // What nobody builds for is no news when it is first seen.
        let told = kind.builds() || matches!(why, Why::Came(_) | Why::Lost);
        found
            .filter(|_| told)
            .and_then(|found| self.change(path, found))
    }

    fn change(&mut self, path: &Path, found: Found) -> Option<Change> {
        let kind = self.filter.kind(path)?;
        let script = kind
            .is_source()
            .then(|| contents::script(path, &self.scope.scripts))
            .flatten();
        Some(Change {
            path: self.filter.shown(path),
            kind,
            before: found.before,
            now: found.now,
            script,
        })
    }

    /// Watches what the scope needs and nothing else. Returns what may have been missed of what was
    /// not watched before.
    fn watch_scope(&mut self, why: Why) -> Vec<Change> {
        let filter = Filter::new(&self.scope, &self.settings);
        let mut known = std::mem::replace(&mut self.filter, filter);
        self.places.begin();
        // Each cargo that reads the project may write it, other ones than ours as well.
        if let Some(lock) = self.scope.seen.and_then(|seen| seen.lock)
            && matches!(why, Why::Scope(_))
        {
            self.contents
                .assume(&self.scope.base.join("Cargo.lock"), lock);
        }
        let mut changes = Vec::new();
        let mut looked = HashSet::new();
        let mut first = |watcher: &mut Self, path: &Path| {
            if !looked.insert(path.to_owned()) {
                return;
            }
            let was_watched = path.parent().is_some_and(|dir| watcher.places.had(dir));
            let heard = was_watched && known.kind(path).is_some();
            if !heard {
                changes.extend(watcher.look_first(path, why));
            }
        };
        let roots = self.scope.packages.iter().chain(self.filter.dirs());
        let wanted: Vec<PathBuf> = roots.chain(self.filter.reach_roots()).cloned().collect();
        for dir in &wanted {
            self.places.watch_above(dir, *dir == self.scope.base);
        }
        for package in &self.scope.packages {
            self.places.watch_near(package);
        }
        let files: Vec<PathBuf> = self.filter.files().cloned().collect();
        for file in files {
            self.watch_file(&file);
            first(self, &file);
        }
        for dir in self.filter.dirs().cloned().collect::<Vec<_>>() {
            let mut whole = WalkBuilder::new(&dir);
            for entry in whole.standard_filters(false).build().flatten() {
                let is_dir = entry.file_type().is_some_and(|kind| kind.is_dir());
                if is_dir {
                    self.places.watch(entry.path());
                } else {
                    first(self, entry.path());
                }
            }
        }
        for (walk, counts) in self.filter.walks() {
            for entry in walk.flatten() {
                let path = entry.path();
                let is_dir = entry.file_type().is_some_and(|kind| kind.is_dir());
                let builds = |watcher: &mut Self| {
                    let kind = watcher.filter.kind(path);
                    kind.is_some_and(ChangeKind::builds)
                };
                if is_dir && counts == Counts::All {
                    self.places.watch(path);
                } else if !is_dir && builds(self) {
                    self.watch_file(path);
                    first(self, path);
                }
            }
        }
        for path in self.filter.tracked() {
            if self.filter.kind(&path).is_some() {
                self.watch_file(&path);
                first(self, &path);
            }
        }
        for place in self.filter.places() {
            self.places.watch(&place);
        }
        changes.extend(self.watch_rules(why));
        self.places.settle();
        let places = &self.places;
        self.contents
            .retain(|path| path.parent().is_some_and(|dir| places.has(dir)));
        changes
    }

    /// Watches everything that rules reach, where it is ignored otherwise too.
    fn watch_rules(&mut self, why: Why) -> Vec<Change> {
        let mut changes = Vec::new();
        for (walk, deepest) in self.filter.walk_rules() {
            for entry in walk.flatten() {
                let path = entry.path();
                if entry.file_type().is_some_and(|kind| kind.is_dir()) {
                    // At the end of the way there is nothing that could match below.
                    if deepest.is_none_or(|deepest| entry.depth() < deepest) {
                        self.places.watch(path);
                    }
                } else if !path.parent().is_some_and(|dir| self.places.had(dir)) {
                    changes.extend(self.look_first(path, why));
                }
            }
        }
        changes
    }

    /// Watches where this file is or may come: its directory, and those above it in the project.
    fn watch_file(&mut self, file: &Path) {
        let Some(dir) = file.parent() else {
            return;
        };
        self.places.watch_near(dir);
        if dir.is_dir() {
            self.places.watch_up_to(dir, self.filter.base());
        }
    }
}

/// What is in it decides which other files count.
fn decides_about_others(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name == ".gitignore" || name == "CACHEDIR.TAG")
}

/// A file of which a program may be made.
fn is_code(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| ending == "rs" || cures::is_read(ending))
}
