//! Watching the file system: one non-recursive watch per directory that holds an input.
//!
//! # Theory of operation
//!
//! A thread of its own owns the watcher, the filter and the set of watched directories, since
//! walking and watching can block. It takes in raw events and new scopes through one channel and
//! sends [`Event::Changed`] or [`Event::Rescan`]. Where the system tells of changes, events are
//! taken as they come, since the session keeps the quiet period. Where it tells of nothing or can
//! tell no more (`silence`), all of it is polled from then on, and what happened in between is
//! looked for. Directories are watched, never files, because editors save by renaming. What is
//! wanted by its path may come later, or go and come back: the nearest directory above it that is
//! there is watched too.
//! Deliberately absent: any waiting for quiet, any look at content.

mod backend;
pub mod classify;
pub mod filter;
mod silence;

use std::collections::HashSet;
use std::fs::FileType;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ignore::Walk;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use backend::Backend;
use classify::classify;
use filter::Filter;
use silence::Silence;

use crate::config;
use crate::defect::{caught, point};
use crate::digest;
use crate::exit::Failure;
use crate::session::event::Event;
use crate::session::model::{Change, ChangeKind, Presence, Scope};

/// Time stamps of files are as coarse as the kernel's tick; this much is taken for equal.
const TICK: Duration = Duration::from_millis(20);

/// What reaches the watching thread.
enum Message {
    Found(notify::Result<notify::Event>),
    Scope(Box<Scope>, oneshot::Sender<Vec<String>>),
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
            backend,
            silence: None,
            scope: Scope::default(),
            filter: Filter::new(&Scope::default(), settings),
            settings: settings.clone(),
            watched: HashSet::new(),
            specials: HashSet::new(),
            problems,
            messages: messages.clone(),
            events,
        };
        let run = move || {
            for message in inbox {
                // What it was about is not known: everything may have changed.
                if caught(|| watcher.take(message)).is_err() {
                    watcher.rescan();
                }
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
    pub fn rewatch(&self, scope: Scope) -> oneshot::Receiver<Vec<String>> {
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
    problems: &mut Vec<String>,
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
    backend: Backend,
    /// The system does not tell of everything: what has to be polled from here on.
    silence: Option<Silence>,
    scope: Scope,
    filter: Filter,
    settings: config::Watch,
    watched: HashSet<PathBuf>,
    /// Sockets and pipes that were seen: no inputs, not even when they go.
    specials: HashSet<PathBuf>,
    /// What could not be watched since the last scope.
    problems: Vec<String>,
    /// For another backend than the first.
    messages: mpsc::Sender<Message>,
    events: UnboundedSender<Event>,
}

impl Watcher {
    fn take(&mut self, message: Message) {
        if matches!(message, Message::Found(_)) {
            point("watch");
        }
        match message {
            Message::Scope(scope, done) => {
                self.scope = *scope;
                let first = self.watched.is_empty();
                let mut missed = self.watch_scope(|_| false);
                // Nobody has heard anything yet, so there is nothing that could be lost.
                if first && self.poll_if_silent() {
                    missed = self.watch_scope(|_| false);
                }
                done.send(std::mem::take(&mut self.problems)).ok();
                self.tell(missed);
            }
            Message::Settings(settings) => self.configure(settings),
            Message::Found(Ok(event)) if event.need_rescan() => self.rescan(),
            Message::Found(Ok(event)) => self.found(&event),
            // A poll finds what can't be read (a link to nowhere) anew each time.
            Message::Found(Err(_)) if self.backend.is_polled() => {}
            Message::Found(Err(_)) => self.rescan(),
        }
        if self.poll_if_silent() {
            self.rescan();
        }
        for problem in std::mem::take(&mut self.problems) {
            self.events.send(Event::Unwatched(problem)).ok();
        }
    }

    /// Where the system turned out to be silent: looks for changes from now on, and says so.
    /// Everything is to be watched anew then.
    fn poll_if_silent(&mut self) -> bool {
        let Some(silence) = self.silence.take() else {
            return false;
        };
        let wanted = std::mem::take(&mut self.watched).len();
        let interval = self.settings.poll_by_itself;
        match Backend::polled(interval, sender(&self.messages)) {
            Ok(backend) => {
                self.use_backend(backend);
                self.problems.push(silence.explain(wanted, interval));
            }
            Err(error) => self.problems.push(format!("cannot watch files: {error}")),
        }
        true
    }

    fn use_backend(&mut self, backend: Backend) {
        self.backend = backend;
        let lag = self.backend.lag();
        self.events.send(Event::Watching { lag }).ok();
    }

    /// Other settings. What changed between the two backends is looked for.
    fn configure(&mut self, settings: config::Watch) {
        let other_backend = settings.poll != self.settings.poll;
        self.settings = settings;
        if !other_backend {
            let missed = self.watch_scope(|_| false);
            return self.tell(missed);
        }
        match backend(&self.settings, &self.messages, &mut self.problems) {
            Ok(backend) => {
                self.use_backend(backend);
                self.watched.clear();
                self.rescan();
            }
            Err(error) => self.problems.push(format!("cannot watch files: {error}")),
        }
    }

    /// Events were lost: every directory may be another one than the one that is watched.
    fn rescan(&mut self) {
        for dir in std::mem::take(&mut self.watched) {
            self.backend.unwatch(&dir);
        }
        self.watch_scope(|_| false);
        self.events.send(Event::Rescan).ok();
    }

    fn tell(&self, changes: Vec<Change>) {
        if !changes.is_empty() {
            self.events.send(Event::Changed(changes)).ok();
        }
    }

    fn found(&mut self, event: &notify::Event) {
        let polled = self.backend.is_polled();
        let Some(presence) = classify(event.kind, polled) else {
            return;
        };
        let mut changes = Vec::new();
        for path in &event.paths {
            if is_ignore_file(path) {
                changes.extend(self.watch_scope(|_| false));
                continue;
            }
            // What is there now under the name of a watched directory may be another one. A poll
            // tells of a directory whenever something in it comes or goes.
            let known = self.watched.contains(path) && (presence != Presence::There || !polled);
            if known {
                self.forget(path);
            }
            if known && self.filter.leads(path) && !path.is_dir() {
                // What is wanted there may come back: what is above it now tells of that.
                changes.extend(self.watch_scope(|_| false));
            }
            if path.is_dir() {
                changes.extend(self.new_dir(path));
            } else {
                if path.is_symlink() {
                    self.watch_target(path);
                }
                changes.extend(self.change(path, presence));
            }
        }
        self.tell(changes);
    }

    /// A directory appeared: watches it, and takes the files that are there already for changes.
    fn new_dir(&mut self, dir: &Path) -> Vec<Change> {
        if self.watched.contains(dir) {
            return Vec::new();
        }
        // One that is of no use itself may hold what is (`.cargo/config.toml`), or lead to it.
        if self.filter.leads(dir) {
            return self.watch_scope(|path| path.starts_with(dir));
        }
        let (enters, reaches) = (self.filter.enters(dir), self.filter.reaches(dir));
        let mut changes = Vec::new();
        if enters {
            changes.extend(self.walk_below(dir, &HashSet::new(), |_| true));
        }
        // What git ignores below it may be what a rule is about.
        if reaches {
            let more = self.walk_rules(&HashSet::new(), |path| path.starts_with(dir));
            changes.extend(more);
        }
        changes
    }

    /// Watches what the scope needs and nothing else. Returns what `came`, and what was written
    /// since the project was read, where nobody listened before.
    fn watch_scope(&mut self, came: impl Fn(&Path) -> bool) -> Vec<Change> {
        let filter = Filter::new(&self.scope, &self.settings);
        let mut known = std::mem::replace(&mut self.filter, filter);
        let before = std::mem::take(&mut self.watched);
        let since = self.scope.seen.map(|seen| seen.at);
        let fresh = |path: &Path| {
            let written = path.metadata().and_then(|metadata| metadata.modified());
            let newer =
                matches!((since, written), (Some(since), Ok(written)) if written + TICK >= since);
            newer || came(path)
        };
        let presence = |path: &Path| {
            if came(path) {
                Presence::Appeared
            } else {
                Presence::There
            }
        };
        let mut changes = Vec::new();
        let roots = self.filter.roots();
        let reaches = self.filter.reach_roots().cloned();
        let wanted: Vec<PathBuf> = roots.iter().cloned().chain(reaches).collect();
        for dir in &wanted {
            self.watch_above(dir, &before);
        }
        for root in &roots {
            changes.extend(self.walk_below(root, &before, fresh));
        }
        changes.extend(self.walk_rules(&before, fresh));
        let files: Vec<PathBuf> = self.filter.files().cloned().collect();
        for file in files {
            if let Some(dir) = file.parent() {
                self.watch_near(dir, &before);
                let heard = before.contains(dir) && known.is_input(&file);
                if !heard && file.is_file() && fresh(&file) {
                    changes.extend(self.change(&file, presence(&file)));
                }
            }
        }
        // Cargo itself may have written it, and somebody else after that.
        changes.retain(|change| change.kind != ChangeKind::Lock);
        let lock = self.scope.base.join("Cargo.lock");
        if self.scope.seen.is_some() {
            changes.extend(self.change(&lock, Presence::There));
        }
        for gone in before.difference(&self.watched) {
            self.backend.unwatch(gone);
        }
        changes
    }

    /// Watches `root` and every directory below it that can hold inputs. Files in directories
    /// that are not in `before` are changes where `fresh` says so.
    fn walk_below(
        &mut self,
        root: &Path,
        before: &HashSet<PathBuf>,
        fresh: impl Fn(&Path) -> bool,
    ) -> Vec<Change> {
        let walk = self.filter.walk(root);
        self.walk(walk, None, before, fresh)
    }

    /// The same for what rules reach, where it is ignored otherwise too.
    fn walk_rules(
        &mut self,
        before: &HashSet<PathBuf>,
        fresh: impl Fn(&Path) -> bool,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for (walk, deepest) in self.filter.walk_rules() {
            changes.extend(self.walk(walk, deepest, before, &fresh));
        }
        changes
    }

    fn walk(
        &mut self,
        walk: Walk,
        deepest: Option<usize>,
        before: &HashSet<PathBuf>,
        fresh: impl Fn(&Path) -> bool,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for entry in walk.flatten() {
            let path = entry.path();
            if entry.file_type().is_some_and(|kind| kind.is_dir()) {
                // At the end of the way there is nothing that could match below.
                if deepest.is_none_or(|deepest| entry.depth() < deepest) {
                    self.watch_dir(path, before);
                }
                continue;
            }
            if entry.path_is_symlink() {
                self.watch_target(path);
            }
            if entry.file_type().is_some_and(is_special) {
                self.specials.insert(path.to_owned());
            }
            let seen = path.parent().is_some_and(|dir| before.contains(dir));
            if !seen && fresh(path) {
                changes.extend(self.change(path, Presence::Appeared));
            }
        }
        changes
    }

    /// The change that an event on this path means, if any. Sockets and pipes are no inputs: the
    /// app's own may well be in its project.
    fn change(&mut self, path: &Path, presence: Presence) -> Option<Change> {
        let kind = path.symlink_metadata().map(|found| found.file_type());
        if kind.as_ref().is_ok_and(|kind| is_special(*kind)) {
            self.specials.insert(path.to_owned());
            return None;
        }
        if self.specials.remove(path) && kind.is_err() {
            return None;
        }
        let change = self.filter.change(path, presence)?;
        // Each cargo that reads the project may write it, other ones than ours as well.
        let known = self.scope.seen.and_then(|seen| seen.lock);
        let again = change.kind == ChangeKind::Lock && digest::of(path) == known;
        (!again).then_some(change)
    }

    /// A file behind a link is edited where it is.
    fn watch_target(&mut self, link: &Path) {
        if !self.filter.is_input(link) {
            return;
        }
        if let Ok(target) = link.canonicalize()
            && let Some(dir) = target.parent().map(Path::to_owned)
        {
            self.filter.add_file(target);
            self.watch_dir(&dir, &HashSet::new());
        }
    }

    /// Nothing tells of what comes, or comes back, but the directory that it comes to.
    fn watch_above(&mut self, dir: &Path, before: &HashSet<PathBuf>) {
        // A poll finds what was away by itself, and reads whatever lies beside it. As long as the
        // project is there, what is above it is nobody's business.
        let is_enough = self.backend.is_polled() || *dir == self.scope.base;
        if is_enough && dir.is_dir() {
            return;
        }
        if let Some(parent) = dir.parent() {
            self.watch_near(parent, before);
        }
    }

    /// Watches this directory, or else the nearest one above it.
    fn watch_near(&mut self, dir: &Path, before: &HashSet<PathBuf>) {
        if self.watched.contains(dir) {
            return;
        }
        let nearest = || dir.ancestors().find(|dir| dir.is_dir());
        let mut last = None;
        // What came while it was looked for is not told any more.
        while let Some(found) = nearest()
            && last != Some(found)
        {
            self.watch_dir(found, before);
            last = Some(found);
        }
    }

    fn watch_dir(&mut self, dir: &Path, before: &HashSet<PathBuf>) {
        if !self.watched.insert(dir.to_owned()) || before.contains(dir) {
            return;
        }
        if !self.backend.is_polled() {
            self.silence = self.silence.take().or_else(|| Silence::of_dir(dir));
        }
        // Then the rest is only counted.
        if self.silence.is_some() {
            return;
        }
        if let Err(error) = self.backend.watch(dir) {
            self.silence = Silence::of_error(&error).filter(|_| !self.backend.is_polled());
            if self.silence.is_some() {
                return;
            }
            self.watched.remove(dir);
            // A directory that went away between the look and the watch is no problem.
            if dir.is_dir() {
                let problem = format!("cannot watch `{}`: {error}", dir.display());
                self.problems.push(problem);
            }
        }
    }

    fn forget(&mut self, dir: &Path) {
        let below: Vec<PathBuf> = self
            .watched
            .iter()
            .filter(|watched| watched.starts_with(dir))
            .cloned()
            .collect();
        for gone in below {
            self.watched.remove(&gone);
            self.backend.unwatch(&gone);
        }
    }
}

fn is_special(kind: FileType) -> bool {
    kind.is_socket() || kind.is_fifo()
}

fn is_ignore_file(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name == ".gitignore" || name == ".ignore")
}
