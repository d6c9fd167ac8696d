//! Watching the file system: one non-recursive watch per directory that holds an input.
//!
//! # Theory of operation
//!
//! A thread of its own owns the watcher, the filter and the set of watched directories, since
//! walking and watching can block. It takes in raw events and new scopes through one channel and
//! sends [`Event::Changed`] or [`Event::Rescan`]. Where the system tells of changes, events are
//! taken as they come, since the session keeps the quiet period; where it has to be polled,
//! notify's debouncer stitches what was found. Directories are watched, never files, because
//! editors save by renaming. Deliberately absent: any waiting for quiet, any look at content.

pub mod classify;
pub mod filter;

use std::collections::HashSet;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

use notify::{ErrorKind, PollWatcher, RecommendedWatcher, RecursiveMode, Watcher as _};
use notify_debouncer_full::{DebounceEventResult, Debouncer, NoCache, new_debouncer_opt};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use classify::classify;
use filter::Filter;

use crate::config;
use crate::exit::Failure;
use crate::session::event::Event;
use crate::session::model::{Change, ChangeKind, Presence, Scope};

/// Time stamps of files are as coarse as the kernel's tick; this much is taken for equal.
const TICK: Duration = Duration::from_millis(20);

/// What reaches the watching thread.
enum Message {
    Found(notify::Result<notify::Event>),
    Scope(Box<Scope>, oneshot::Sender<Vec<String>>),
}

/// The handle of the watching thread, which lives as long as the program.
#[derive(Debug)]
pub struct Watch {
    messages: mpsc::Sender<Message>,
}

enum Backend {
    Native(RecommendedWatcher),
    Polled(Debouncer<PollWatcher, NoCache>),
}

impl Watch {
    /// Starts watching nothing.
    pub fn start(
        settings: &config::Watch,
        events: UnboundedSender<Event>,
    ) -> Result<Self, Failure> {
        let (messages, inbox) = mpsc::channel();
        let backend = backend(settings, messages.clone()).map_err(|error| {
            Failure::failed(format!("cannot watch files: {error}"))
                .hint("try `--poll`, or free some inotify instances")
        })?;
        let ignore = settings.ignore.clone();
        let mut watcher = Watcher {
            polled: matches!(backend, Backend::Polled(_)),
            backend,
            scope: Scope::default(),
            filter: Filter::new(&Scope::default(), ignore.clone()),
            ignore,
            watched: HashSet::new(),
            problems: Vec::new(),
            events,
        };
        let run = move || {
            for message in inbox {
                watcher.take(message);
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
}

fn backend(settings: &config::Watch, messages: mpsc::Sender<Message>) -> notify::Result<Backend> {
    let Some(interval) = settings.poll else {
        let found = move |event| {
            messages.send(Message::Found(event)).ok();
        };
        return Ok(Backend::Native(notify::recommended_watcher(found)?));
    };
    let found = move |result: DebounceEventResult| match result {
        Ok(events) => {
            for event in events {
                messages.send(Message::Found(Ok(event.event))).ok();
            }
        }
        Err(errors) => {
            for error in errors {
                messages.send(Message::Found(Err(error))).ok();
            }
        }
    };
    // Time stamps are compared by the second; two saves within one are told apart by content only.
    let config = notify::Config::default()
        .with_poll_interval(interval)
        .with_compare_contents(true);
    let debouncer = new_debouncer_opt(settings.debounce, None, found, NoCache, config)?;
    Ok(Backend::Polled(debouncer))
}

struct Watcher {
    backend: Backend,
    polled: bool,
    scope: Scope,
    filter: Filter,
    ignore: globset::GlobSet,
    watched: HashSet<PathBuf>,
    /// What could not be watched since the last scope.
    problems: Vec<String>,
    events: UnboundedSender<Event>,
}

impl Watcher {
    fn take(&mut self, message: Message) {
        match message {
            Message::Scope(scope, done) => {
                self.scope = *scope;
                let missed = self.watch_scope();
                done.send(std::mem::take(&mut self.problems)).ok();
                self.tell(missed);
            }
            Message::Found(Ok(event)) if event.need_rescan() => self.rescan(),
            Message::Found(Ok(event)) => self.found(&event),
            // A poll finds what can't be read (a link to nowhere) anew each time.
            Message::Found(Err(_)) if self.polled => {}
            Message::Found(Err(_)) => self.rescan(),
        }
        for problem in std::mem::take(&mut self.problems) {
            self.events.send(Event::Unwatched(problem)).ok();
        }
    }

    /// Events were lost: every directory may be another one than the one that is watched.
    fn rescan(&mut self) {
        for dir in std::mem::take(&mut self.watched) {
            unwatch(&mut self.backend, &dir);
        }
        self.watch_scope();
        self.events.send(Event::Rescan).ok();
    }

    fn tell(&self, changes: Vec<Change>) {
        if !changes.is_empty() {
            self.events.send(Event::Changed(changes)).ok();
        }
    }

    fn found(&mut self, event: &notify::Event) {
        let Some(presence) = classify(event.kind, self.polled) else {
            return;
        };
        let mut changes = Vec::new();
        for path in &event.paths {
            if is_ignore_file(path) {
                changes.extend(self.watch_scope());
                continue;
            }
            // What is there now under the name of a watched directory may be another one. A poll
            // tells of a directory whenever something in it comes or goes.
            if self.watched.contains(path) && (presence != Presence::There || !self.polled) {
                self.forget(path);
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
        if self.filter.enters(dir) {
            return self.walk_below(dir, &HashSet::new(), |_| true);
        }
        // One that is hidden may hold a single file that is an input (`.cargo/config.toml`).
        let inside: Vec<PathBuf> = self
            .scope
            .files
            .iter()
            .filter(|file| file.parent() == Some(dir))
            .cloned()
            .collect();
        if !inside.is_empty() {
            self.watch_dir(dir, &HashSet::new());
        }
        let there = inside.iter().filter(|file| file.is_file());
        there
            .filter_map(|file| self.filter.change(file, Presence::Appeared))
            .collect()
    }

    /// Watches what the scope needs and nothing else. Returns what was written since the project
    /// was read in directories that were not watched before.
    fn watch_scope(&mut self) -> Vec<Change> {
        self.filter = Filter::new(&self.scope, self.ignore.clone());
        let before = std::mem::take(&mut self.watched);
        let mut changes = Vec::new();
        for root in self.scope.roots.clone() {
            let since = self.scope.read_at;
            // Cargo itself has just written the lock file.
            let newer = self.walk_new(&root, &before, since).into_iter();
            changes.extend(newer.filter(|change| change.kind != ChangeKind::Lock));
        }
        for file in self.scope.files.clone() {
            if let Some(dir) = file.parent().filter(|dir| dir.is_dir()) {
                self.watch_dir(dir, &before);
            }
        }
        for gone in before.difference(&self.watched) {
            unwatch(&mut self.backend, gone);
        }
        changes
    }

    fn walk_new(
        &mut self,
        root: &Path,
        before: &HashSet<PathBuf>,
        since: Option<SystemTime>,
    ) -> Vec<Change> {
        self.walk_below(root, before, |path| {
            let written = path.metadata().and_then(|metadata| metadata.modified());
            matches!((since, written), (Some(since), Ok(written)) if written + TICK >= since)
        })
    }

    /// Watches `root` and every directory below it that can hold inputs. Files in directories
    /// that are not in `before` are changes where `fresh` says so.
    fn walk_below(
        &mut self,
        root: &Path,
        before: &HashSet<PathBuf>,
        fresh: impl Fn(&Path) -> bool,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for entry in self.filter.walk(root).flatten() {
            let path = entry.path();
            if entry.file_type().is_some_and(|kind| kind.is_dir()) {
                self.watch_dir(path, before);
                continue;
            }
            if entry.path_is_symlink() {
                self.watch_target(path);
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
        if kind.is_ok_and(|kind| kind.is_socket() || kind.is_fifo()) {
            return None;
        }
        self.filter.change(path, presence)
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

    fn watch_dir(&mut self, dir: &Path, before: &HashSet<PathBuf>) {
        if !self.watched.insert(dir.to_owned()) || before.contains(dir) {
            return;
        }
        let mode = RecursiveMode::NonRecursive;
        let result = match &mut self.backend {
            Backend::Native(watcher) => watcher.watch(dir, mode),
            Backend::Polled(debouncer) => debouncer.watch(dir, mode),
        };
        if let Err(error) = result {
            self.watched.remove(dir);
            // A directory that went away between the look and the watch is no problem.
            if dir.is_dir() {
                self.problems.push(explain(dir, &error));
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
            unwatch(&mut self.backend, &gone);
        }
    }
}

fn unwatch(backend: &mut Backend, dir: &Path) {
    // The system drops the watch of a directory that is gone by itself.
    match backend {
        Backend::Native(watcher) => watcher.unwatch(dir).ok(),
        Backend::Polled(debouncer) => debouncer.unwatch(dir).ok(),
    };
}

fn is_ignore_file(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name == ".gitignore" || name == ".ignore")
}

fn explain(dir: &Path, error: &notify::Error) -> String {
    match error.kind {
        ErrorKind::MaxFilesWatch => format!(
            "cannot watch `{}`: the system's limit of watches is reached; raise it with `sysctl \
             fs.inotify.max_user_watches=524288`, or use `--poll`",
            dir.display()
        ),
        _ => format!("cannot watch `{}`: {error}", dir.display()),
    }
}
