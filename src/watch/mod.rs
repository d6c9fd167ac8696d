//! Watches the file system: one non-recursive watch per directory that holds a source or a guess.
//!
//! # Theory of operation
//!
//! A thread of its own owns the watcher, the filter, the set of watched directories and the last content
//! of each file, since walking, watching and reading can block. It takes in raw events and new scopes
//! through one channel, reads the paths that they name, and sends [`Event::Changed`] with the contents
//! before and now. The kind of an event does not matter: the content decides. Native events are taken as
//! they come, with what they tell of writers that are done: the session keeps the quiet period. Where
//! there are none, or inotify's limits are reached (`silence`), everything is polled from then on, and
//! changes in between are looked for. Directories are watched, never files, because editors save by
//! renaming. A wanted path may not exist yet, or vanish and come back: the nearest existing directory
//! above it is watched too. Deliberately absent: any quiet period, any decision about what to do.

mod backend;
mod barrier;
pub mod classify;
mod contents;
pub mod cures;
pub mod filter;
mod git;
mod places;
mod silence;
#[cfg(test)]
mod tests;
mod tree;
mod writers;

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use ignore::WalkBuilder;
use notify::EventKind;
use notify::event::ModifyKind;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use backend::{Backend, sender};
use barrier::Barrier;
use classify::{decides_about_others, is_code, is_link, leaves, matters};
use contents::{Contents, Found};
use filter::{Counts, Filter};
use git::Git;
use places::Places;
use writers::Writers;

use crate::clock;
use crate::config;
use crate::defect::{self, point};
use crate::exit::Failure;
use crate::session::event::Event;
use crate::session::model::{Change, ChangeKind, Save, Scope};
use crate::session::reason::Reason;
use crate::session::seen::Began;
use crate::sys::ABLE;

/// Once the content of so many files is remembered, no more are that are not sources.
const OTHERS: usize = 4096;

/// A message to the watching thread.
enum Message {
    Found(notify::Result<notify::Event>),
    /// An event was lost.
    Lost,
    Scope(Box<Scope>, oneshot::Sender<Vec<Reason>>),
    Barrier(barrier::Done),
    /// The same, but only for what the system tells of by itself.
    Settle(barrier::Done),
    Settings(config::Watch, Began),
}

/// The handle of the watching thread, which lives as long as the program.
#[derive(Clone, Debug)]
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
        let backend = Backend::chosen(settings, &mut problems, || sender(&messages))
            .map_err(|error| Failure::failed(format!("cannot watch files: {error}")))?;
        let lag = backend.lag();
        events.send(Event::Watching { lag }).ok();
        let watcher = Watcher {
            places: Places::new(backend, problems),
            scope: Scope::default(),
            filter: Filter::new(&Scope::default(), settings),
            settings: settings.clone(),
            contents: Contents::default(),
            writers: Writers::default(),
            git: None,
            barrier: Barrier::default(),
            messages: messages.clone(),
            events,
        };
        let mut next = None;
        let step = move |watcher: &mut Watcher| {
            let Some(message) = next.take().or_else(|| inbox.recv().ok()) else {
                return ControlFlow::Break(());
            };
            next = watcher.take(message, &inbox);
            ControlFlow::Continue(())
        };
        // A message is lost to a panic: everything may have changed.
        let run = move || defect::repeat("watch", watcher, step, Watcher::rescan);
        let failed = |error| Failure::failed(format!("cannot start a thread: {error}"));
        defect::spawn_thread("watch", None, run).map_err(failed)?;
        Ok(Self { messages })
    }

    /// Watches this scope from now on. The receiver gets what could not be watched, once everything else
    /// is.
    pub fn rewatch(&self, scope: Scope) -> oneshot::Receiver<Vec<Reason>> {
        let (done, watching) = oneshot::channel();
        self.messages
            .send(Message::Scope(Box::new(scope), done))
            .ok();
        watching
    }

    /// Waits until everything that was written before this call has been reported to the session;
    /// `Err`: why that can't be found out. Safe to drop while it waits.
    pub async fn caught_up(&self) -> Result<(), Reason> {
        let (done, reported) = oneshot::channel();
        self.messages.send(Message::Barrier(done)).ok();
        let ended = |_| Err("hotrun ends".into());
        reported.await.unwrap_or_else(ended)
    }

    /// The same, except that no poll is waited for. Safe to drop while it waits.
    pub async fn settled(&self) {
        let (done, reported) = oneshot::channel();
        self.messages.send(Message::Settle(done)).ok();
        reported.await.ok();
    }

    /// Uses these settings. What is written from now on to files that were not watched before is reported,
    /// also if that happens before they are.
    pub fn configure(&self, settings: config::Watch) {
        let now = Began {
            stamp: clock::stamp(),
            clock: clock::steady(),
        };
        self.messages.send(Message::Settings(settings, now)).ok();
    }
}

struct Watcher {
    places: Places,
    scope: Scope,
    filter: Filter,
    settings: config::Watch,
    contents: Contents,
    writers: Writers,
    /// The repository that the project is in.
    git: Option<Git>,
    /// The callers of [`Watch::caught_up`].
    barrier: Barrier,
    /// The channel for the events of further backends.
    messages: mpsc::Sender<Message>,
    events: UnboundedSender<Event>,
}

/// Why the set of watched directories is computed anew, which decides what is reported of files that
/// were not watched before.
#[derive(Clone, Copy, Debug)]
enum Why<'a> {
    /// The scope has changed; files written since then may have been missed.
    Scope(Option<Began>),
    /// This directory has appeared, with its files.
    Came(&'a Path),
    /// Events were lost, or the backend was replaced: anything may have changed.
    Lost,
}

impl Watcher {
    /// Takes in one message, together with all events that have come by then. Returns the next message,
    /// if it came meanwhile and is no event.
    fn take(&mut self, message: Message, inbox: &mpsc::Receiver<Message>) -> Option<Message> {
        if matches!(message, Message::Found(_)) {
            point("watch");
        }
        let mut next = None;
        match message {
            Message::Scope(scope, done) => {
                let since = scope.seen.map(|seen| seen.began);
                self.scope = *scope;
                self.git = Git::of(&self.scope.base);
                let first = self.places.is_empty();
                let mut missed = self.watch_scope(Why::Scope(since));
                // No event has come yet, so none can be lost.
                if first && self.poll_if_silent() {
                    missed = self.watch_scope(Why::Scope(since));
                    self.barrier.looked_at_all(&mut self.places);
                }
                done.send(self.places.take_problems()).ok();
                self.tell(missed);
            }
            Message::Settings(settings, since) => self.configure(settings, since),
            Message::Settle(done) if self.places.is_polled() => _ = done.send(Ok(())),
            Message::Barrier(done) | Message::Settle(done) => {
                self.barrier.begin(&mut self.places, done);
            }
            Message::Lost => self.rescan(),
            Message::Found(event) => {
                let mut events = vec![event];
                // All that git writes becomes one change.
                let git = self.git.as_ref();
                let by_git = git.is_some_and(Git::wait_until_unlocked);
                for message in inbox.try_iter() {
                    match message {
                        Message::Found(event) => events.push(event),
                        other => {
                            next = Some(other);
                            break;
                        }
                    }
                }
                let passed = self.barrier.take(&mut events);
                self.found(events, by_git);
                self.barrier.passed(&mut self.places, &passed);
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

    /// Switches to polling if native events turned out not to work. Returns whether it did; then
    /// everything has to be watched anew.
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

    /// Uses other settings. If the backend is replaced, changes in between are looked for.
    fn configure(&mut self, settings: config::Watch, since: Began) {
        let other_backend = settings.poll != self.settings.poll;
        self.settings = settings;
        if !other_backend {
            let missed = self.watch_scope(Why::Scope(Some(since)));
            return self.tell(missed);
        }
        let mut problems = Vec::new();
        match Backend::chosen(&self.settings, &mut problems, || sender(&self.messages)) {
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

    /// Events were lost: any directory may have been replaced since it was watched.
    fn rescan(&mut self) {
        self.places.clear();
        let changes = self.watch_scope(Why::Lost);
        self.tell(changes);
        self.events.send(Event::Rescan).ok();
        self.barrier.looked_at_all(&mut self.places);
    }

    fn tell(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        if let Some(ago) = self.git.as_ref().and_then(|git| git.works(clock::wall())) {
            self.events.send(Event::GitWorks { ago }).ok();
        }
        self.events.send(Event::Changed(changes)).ok();
    }

    /// Looks at every path that these events name. `by_git`: git held its lock while it was written.
    fn found(&mut self, events: Vec<notify::Result<notify::Event>>, by_git: bool) {
        let polled = self.places.is_polled();
        let lost = |event: &notify::Result<notify::Event>| match event {
            Ok(event) => event.need_rescan(),
            // A poll reports what can't be read (a dangling link) each time.
            Err(_) => !polled,
        };
        if events.iter().any(lost) {
            return self.rescan();
        }
        let events: Vec<notify::Event> = events.into_iter().flatten().collect();
        let closes = ABLE.tells_of_closes && !polled;
        let done = self.writers.take(&events, closes, contents::is_written);
        let comes = |event: &&notify::Event| matters(event.kind, polled) && !leaves(event.kind);
        let came = events.iter().filter(comes);
        let came: HashSet<&PathBuf> = came.flat_map(|event| &event.paths).collect();
        let mut changes = Vec::new();
        let mut looked = HashSet::new();
        let mut scanned = false;
        for event in events.iter().filter(|event| matters(event.kind, polled)) {
            // A poll reports a directory whenever an entry of it appears or vanishes.
            let moved = !polled
                || matches!(
                    event.kind,
                    EventKind::Create(_)
                        | EventKind::Remove(_)
                        | EventKind::Modify(ModifyKind::Name(_))
                );
            for path in &event.paths {
                let is_dir = path.is_dir();
                // One scan reads all of them: they were there when these events were taken out.
                let mut is_read = || std::mem::replace(&mut scanned, true);
                if moved && !(decides_about_others(path) && is_read()) {
                    changes.extend(self.moved(path, is_dir));
                }
                if !is_dir && looked.insert(path) {
                    // Where something left and a file is there, the file has an event of its own: another
                    // one, in the order of renameat2(2) that exchanges two.
                    let counts = |change: &Change| came.contains(path) || !change.is_same();
                    changes.extend(self.look(path).into_iter().filter(counts));
                }
            }
        }
        // What they have written since the last look is a change, too.
        let mut saved = Vec::new();
        for path in done.iter().filter(|path| !looked.contains(*path)) {
            for change in self.look(path) {
                if change.is_same() {
                    saved.push(change.path);
                } else {
                    changes.push(change);
                }
            }
        }
        let away = |change: &&mut Change| by_git && change.is_same();
        for change in changes.iter_mut().filter(away) {
            change.save = Save::ByGit;
        }
        self.tell(changes);
        if !saved.is_empty() {
            self.events.send(Event::Saved(saved)).ok();
        }
    }

    /// A path appeared, vanished, or was moved: a watched directory may have been replaced.
    fn moved(&mut self, path: &Path, is_dir: bool) -> Vec<Change> {
        let mut changes = Vec::new();
        if places::is_manifest(path, &self.scope.base) && !path.exists() {
            // The whole project may go. While a process works in it, only the directory above tells.
            self.places.forget(&self.scope.base);
            return self.watch_scope(Why::Lost);
        }
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
        } else if (was_watched && self.filter.leads(path)) || is_link(path) {
            // A wanted path may come back, which only the directory above it tells. A new link may lead
            // to a directory that is not watched.
            changes.extend(self.watch_scope(Why::Came(path)));
        }
        changes
    }

    /// A directory appeared: watches it, and reports the files that are already in it as changes.
    fn new_dir(&mut self, dir: &Path) -> Vec<Change> {
        if self.places.has(dir) {
            return Vec::new();
        }
        // A directory that does not count itself may hold a wanted path (`.cargo/config.toml`), or lead
        // to one.
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
        // A rule may be about files in it that git ignores.
        if self.filter.reaches(dir) {
            changes.extend(self.watch_rules(Why::Came(dir)));
        }
        // A directory for modules beside sources: its files are noticed before they are part of the
        // program.
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

    /// Looks at one path. Returns the changes, also of sources that are links to it.
    fn look(&mut self, path: &Path) -> Vec<Change> {
        let mut changes = Vec::new();
        let sources = self.filter.linked(path);
        for source in sources.iter().map(PathBuf::as_path).chain([path]) {
            if self.filter.kind(source).is_some() {
                let found = self.contents.look(source);
                let save = self.writers.save(path);
                changes.extend(found.and_then(|found| self.change(source, found, save)));
            } else if is_code(source) && self.contents.len() < OTHERS {
                // The file may be part of the program with the next build.
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
            // A change of anything may have been missed.
            Why::Lost => self
                .contents
                .look(path)
                .filter(|found| found.before != Some(found.now)),
            Why::Scope(since) => {
                let seen = self.scope.seen.filter(|_| kind.is_source());
                let first_build = seen.and_then(|seen| seen.first_build);
                self.contents.look_first(path, since, first_build)
            }
            Why::Came(_) => self.contents.look_first(path, None, None),
        };
        // A file that starts no build is not reported when it is only seen for the first time.
        let told = kind.builds() || matches!(why, Why::Came(_) | Why::Lost);
        found
            .filter(|_| told)
            .and_then(|found| self.change(path, found, Save::Unknown))
    }

    fn change(&mut self, path: &Path, found: Found, save: Save) -> Option<Change> {
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
            save,
            script,
        })
    }

    /// Watches what the scope needs and nothing else. Returns changes that may have been missed, of
    /// files that were not watched before.
    fn watch_scope(&mut self, why: Why) -> Vec<Change> {
        let filter = Filter::new(&self.scope, &self.settings);
        let mut known = std::mem::replace(&mut self.filter, filter);
        self.places.begin();
        // Any cargo that reads the project may write `Cargo.lock`, not only hotrun's.
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
            self.places.watch_file(&file, self.filter.base());
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
                    self.places.watch_file(path, self.filter.base());
                    first(self, path);
                }
            }
        }
        for path in self.filter.tracked() {
            if self.filter.kind(&path).is_some() {
                self.places.watch_file(&path, self.filter.base());
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

    /// Watches everything that rules can match, even where it is ignored otherwise.
    fn watch_rules(&mut self, why: Why) -> Vec<Change> {
        let mut changes = Vec::new();
        for (walk, deepest) in self.filter.walk_rules() {
            for entry in walk.flatten() {
                let path = entry.path();
                if entry.file_type().is_some_and(|kind| kind.is_dir()) {
                    // Below the deepest level nothing can match.
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
}
