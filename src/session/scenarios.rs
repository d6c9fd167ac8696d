//! Runs the scenarios of the session: `scenarios/*.txt`, one story a file. The files document what
//! hotrun does when; here is how they are read.
//!
//! A line is `<ms> <event>` or `-> <action>`; `#` starts a comment; `policy <key> <value>` comes first.
//! `saved` are finished changes, `written` those of files that are still open, and `changed` those of
//! which that is not known; `closed` ends both.
//! In all of them, a path has bytes that it never had before; `=path` has the same as before, `path@7`
//! those of this number (`@0`: none), `+path` appears, `-path` is gone, `?path` is a guess, nothing
//! depends on `~path` (`~+path` appears, and so on), `0:path` belongs to a rule, and `path!50` was written 50 ms after a build script
//! began. Between two events the session is woken at every moment for which it asks; its actions then
//! stand under a line `<ms> tick`. A story names every tick and every action, in order, except three
//! kinds: `Look` is answered at once, with what the story last said of a debugger; and actions on slots
//! and reloads of browsers are only named under `policy slots told` and `policy browsers told`. Artifacts are named by the generation that built them. With
//! `BLESS=1` in the environment the ticks and actions are written anew; read them before you believe
//! them.

mod written;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::action::Action;
use super::command::{Client, Command};
use super::event::{
    Answer, AppNews, BuildNews, Conflict, Effect, Event, Holder, JobNews, Open, Reconfigured, Taken,
};
use super::model::{
    Artifact, ArtifactRef, BuildOutcome, Change, ChangeKind, Content, Cure, Ending, Exit,
    Generation, Handover, Hooks, JobId, Moment, Proof, Reaction, Save, Scope, Surroundings,
};
use super::reason::Reason;
use super::seen::{Began, Seen};
use super::{OnChange, Policy, Session};
use written::{RELOAD, SLOTS, action};

/// The policy of a server with one held address and the default settings.
pub(crate) fn policy() -> Policy {
    Policy {
        debounce: Duration::from_millis(8),
        max_wait: Duration::from_millis(500),
        rules: Vec::new(),
        hooks: Hooks::default(),
        on_change: OnChange::Cancel,
        handover: Handover::Auto,
        serving: true,
        ready_timeout: Some(Duration::from_secs(30)),
        stop_timeout: Duration::from_secs(5),
        quiesce_max: None,
        hold: None,
        probation: Duration::from_secs(5),
        once: false,
        fast: false,
        page: true,
        open: false,
    }
}

pub(crate) fn artifact(built_by: u32) -> ArtifactRef {
    Arc::new(Artifact {
        built_by: Generation(built_by),
        path: PathBuf::new(),
        dir: PathBuf::new(),
        files: BTreeSet::new(),
        absent: Vec::new(),
        libraries: false,
        surroundings: Surroundings::default(),
    })
}

struct Story {
    policy: Policy,
    loaded: bool,
    /// The story names the actions on slots.
    slots: bool,
    /// It names the reloads of browsers.
    browsers: bool,
}

impl Story {
    fn set(&mut self, key: &str, value: &str) {
        let ms = || Duration::from_millis(value.parse().unwrap());
        match key {
            "handover" => {
                self.policy.handover = match value {
                    "auto" => Handover::Auto,
                    "overlap" => Handover::Overlap,
                    "stop-first" => Handover::StopFirst,
                    _ => panic!("handover {value}"),
                }
            }
            "on_change" => {
                self.policy.on_change = if value == "queue" {
                    OnChange::Queue
                } else {
                    OnChange::Cancel
                };
            }
            "serving" => self.policy.serving = value == "yes",
            "once" => self.policy.once = value == "yes",
            "open" => self.policy.open = value == "yes",
            "fast" => self.policy.fast = value == "yes",
            "loaded" => self.loaded = value == "yes",
            "slots" => self.slots = value == "told",
            "browsers" => self.browsers = value == "told",
            "ready_timeout" if value == "none" => self.policy.ready_timeout = None,
            "ready_timeout" => self.policy.ready_timeout = Some(ms()),
            "stop_timeout" => self.policy.stop_timeout = ms(),
            "hold" => self.policy.hold = Some(ms()),
            "quiesce_max" => self.policy.quiesce_max = Some(ms()),
            "probation" => self.policy.probation = ms(),
            "max_wait" => self.policy.max_wait = ms(),
            "rule" => self.policy.rules.push(reactions(value)),
            "before_build" => self.policy.hooks.before_build = Some(vec![value.into()]),
            "before_start" => self.policy.hooks.before_start = Some(vec![value.into()]),
            "after_live" => self.policy.hooks.after_live = Some(vec![value.into()]),
            "on_error" => self.policy.hooks.on_error = Some(vec![value.into()]),
            _ => panic!("no policy `{key}`"),
        }
    }
}

/// `rebuild`, `restart`, `reload-browser`, `signal=NUMBER` and `run=COMMAND`, in order.
fn reactions(value: &str) -> Vec<Reaction> {
    let reaction = |word: &str| match word.split_once('=') {
        None if word == "rebuild" => Reaction::Rebuild,
        None if word == "restart" => Reaction::Restart,
        None if word == "reload-browser" => Reaction::ReloadBrowser,
        Some(("signal", number)) => Reaction::Signal(number.parse().unwrap()),
        Some(("run", command)) => Reaction::Run(vec![command.into()]),
        _ => panic!("no reaction `{word}`"),
    };
    value.split_whitespace().map(reaction).collect()
}

fn generation(word: &str) -> Generation {
    Generation(word.trim_start_matches('g').parse().unwrap())
}

/// The contents of the files in a story.
#[derive(Default)]
pub(crate) struct Files {
    contents: BTreeMap<PathBuf, Content>,
    written: u64,
}

impl Files {
    fn changes(&mut self, words: &[&str], save: Save) -> Event {
        let changes = words.iter().map(|word| self.change(word, save));
        Event::Changed(changes.collect())
    }

    fn change(&mut self, word: &str, save: Save) -> Change {
        let (mark, path) = match word.chars().next() {
            Some(mark @ ('+' | '-' | '=' | '?' | '~')) => (Some(mark), &word[1..]),
            _ => (None, word),
        };
        // The mark of a change may follow the one of a kind.
        let (change, path) = match (mark, path.chars().next()) {
            (Some('~' | '?'), Some(mark @ ('+' | '-' | '='))) => (Some(mark), &path[1..]),
            _ => (mark, path),
        };
        let (path, script) = match path.split_once('!') {
            Some((path, ms)) => (path, Some(Duration::from_millis(ms.parse().unwrap()))),
            None => (path, None),
        };
        let (path, content) = match path.split_once('@') {
            Some((path, "0")) => (path, Some(Content::Empty)),
            Some((path, number)) => (path, Some(Content::Digest(number.parse().unwrap()))),
            None => (path, None),
        };
        // A number and a colon in front: the number of a rule.
        let (rule, path) = match path.split_once(':') {
            Some((number, path)) => (Some(number.parse().unwrap()), path),
            None => (None, path),
        };
        let kind = match path.rsplit('/').next() {
            _ if rule.is_some() => ChangeKind::Rule(rule.unwrap()),
            _ if mark == Some('?') => ChangeKind::Guess,
            Some(".reload.toml") => ChangeKind::Config,
            Some(".env") => ChangeKind::Env,
            Some("Cargo.toml") => ChangeKind::Manifest,
            Some("Cargo.lock") => ChangeKind::Lock,
            _ if mark == Some('~') && path.starts_with("migrations/") => {
                ChangeKind::Rest(Cure::CompiledIn("sqlx"))
            }
            _ if mark == Some('~') => ChangeKind::Rest(Cure::Restart),
            _ => ChangeKind::Source,
        };
        let path = PathBuf::from(path);
        self.written += 1;
        let other = Content::Digest(1000 + self.written);
        let known = self.contents.get(&path).copied();
        // A path that the story has not named before exists, unless it appears now.
        let there = Content::Digest(1);
        let before = known.unwrap_or(if change == Some('+') {
            Content::Missing
        } else {
            there
        });
        let now = content.unwrap_or(match change {
            Some('-') => Content::Missing,
            Some('=') => before,
            _ => other,
        });
        self.contents.insert(path.clone(), now);
        Change {
            path,
            kind,
            before: Some(before),
            now,
            save,
            script,
        }
    }
}

fn exit(words: &[&str]) -> Exit {
    match words {
        ["status", code] => Exit::Status(code.parse().unwrap()),
        ["signal", number] => Exit::Signal(number.parse().unwrap()),
        _ => panic!("exit {words:?}"),
    }
}

fn taken(by: String) -> Taken {
    let address = "127.0.0.1:3000".into();
    let by = match &*by {
        "live" => Holder::Live,
        _ => Holder::Other(by),
    };
    Taken { address, by }
}

/// The conflict: a `lock` on the quoted file, an address `taken` by the quoted owner, or that the
/// program `asked` by a connection whether it already runs.
fn conflict<'a>(how: &'a [&'a str], quoted: Option<&str>) -> (&'a [&'a str], Conflict) {
    let mut conflict = Conflict::default();
    let by = quoted.unwrap_or_default().to_owned();
    let (word, rest) = how.split_last().unwrap();
    match *word {
        "lock" => conflict.lock = Some(by),
        "taken" => conflict.taken = Some(taken(by)),
        "asked" => conflict.asked = Some("127.0.0.1:3000".into()),
        _ => return (how, conflict),
    }
    (rest, conflict)
}

/// The event that a line of a story stands for.
#[expect(clippy::too_many_lines, reason = "one arm for each kind of event")]
pub(crate) fn event(text: &str, files: &mut Files) -> Event {
    let (text, quoted) = match text.split_once('"') {
        Some((text, rest)) => (text.trim(), Some(rest.trim_end_matches('"').to_owned())),
        None => (text, None),
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let app = |which: &str, news: AppNews| Event::App(generation(which), news);
    let build = |which: &str, news: BuildNews| Event::Build(generation(which), news);
    let done = |which: &str, by: &str, unchanged| {
        let artifact = artifact(generation(by).0);
        build(
            which,
            BuildNews::Done(BuildOutcome::Built {
                artifact,
                unchanged,
                warnings: 0,
            }),
        )
    };
    match words.as_slice() {
        ["begin"] => Event::Begin,
        ["tick"] => Event::Tick,
        ["changed", paths @ ..] => files.changes(paths, Save::Unknown),
        ["written", paths @ ..] => files.changes(paths, Save::Open),
        ["saved", paths @ ..] => files.changes(paths, Save::Finished),
        ["by-git", paths @ ..] => files.changes(paths, Save::ByGit),
        ["closed", paths @ ..] => Event::Saved(paths.iter().map(PathBuf::from).collect()),
        ["git-works", ago] => Event::GitWorks {
            ago: Duration::from_millis(ago.parse().unwrap()),
        },
        ["writes", which, paths @ ..] => {
            let paths = paths.iter().map(PathBuf::from).collect();
            app(which, AppNews::Writes(paths))
        }
        ["polling", lag] => Event::Watching {
            lag: Duration::from_millis(lag.parse().unwrap()),
        },
        ["unwatched"] => Event::Unwatched(quoted.unwrap_or_default().into()),
        ["rescan"] => Event::Rescan,
        [command] if command.parse::<Command>().is_ok() => {
            Event::Command(command.parse().unwrap(), None)
        }
        [command, "for", client] => {
            let client = Client(client.parse().unwrap());
            Event::Command(command.parse().unwrap(), Some(client))
        }
        ["addresses", held] => addresses_changed(*held != "nothing"),
        ["siblings", names @ ..] => {
            Event::Siblings(names.iter().map(ToString::to_string).collect())
        }
        ["listening", which] => app(which, AppNews::Listening),
        ["unclaimed", which, addresses @ ..] => {
            let addresses = addresses.iter().map(ToString::to_string).collect();
            app(which, AppNews::Unclaimed(addresses))
        }
        ["answered", which, status] => {
            let answer = Answer::Status(status.parse().unwrap());
            app(which, AppNews::Answered(answer))
        }
        ["uncaptured", which] => app(
            which,
            AppNews::Uncaptured(quoted.unwrap_or_default().into()),
        ),
        ["taken", which] => app(which, AppNews::Taken(taken(quoted.unwrap_or_default()))),
        ["configured", effect, changed @ ..] => configured(effect, changed),
        ["job", number, "says"] => Event::Job(
            JobId(number.parse().unwrap()),
            JobNews::Line(quoted.unwrap_or_default().into()),
        ),
        ["job", number, "ended"] => job(number, quoted.map_or(Ok(()), |reason| Err(reason.into()))),
        ["quit"] => Event::Quit(Ending::Quit),
        ["signal", number] => Event::Quit(Ending::Signal(number.parse().unwrap())),
        ["pass-on", number] => Event::Signal(number.parse().unwrap()),
        ["reopen-log"] => Event::ReopenLog,
        ["suspend"] => Event::Suspend,
        ["built", which] => done(which, which, false),
        ["unchanged", which, "like", by] => done(which, by, true),
        ["blocked", which] => build(which, BuildNews::Blocked(quoted)),
        ["command", which] => build(which, BuildNews::Command(quoted.unwrap_or_default())),
        ["says", which] => build(which, BuildNews::Line(quoted.unwrap_or_default().into())),
        ["error", which] => build(which, diagnostic(true, true)),
        ["warning", which] => build(which, diagnostic(false, true)),
        ["remark", which, "of", kind] => build(which, diagnostic(*kind == "error", false)),
        ["progress", which, done, total] => {
            let (done, total) = (done.parse().unwrap(), total.parse().unwrap());
            build(which, BuildNews::Progress { done, total })
        }
        ["inputs", which] => build(which, BuildNews::Inputs(Box::default())),
        ["loaded", which] => build(which, BuildNews::Loaded(Box::default())),
        ["loaded", which, "lock", number] => {
            let lock = Some(Content::Digest(number.parse().unwrap()));
            let began = Began {
                stamp: SystemTime::UNIX_EPOCH,
                clock: Duration::ZERO,
            };
            let scope = Scope {
                seen: Some(Seen {
                    began,
                    lock,
                    first_build: None,
                }),
                ..Scope::default()
            };
            build(which, BuildNews::Loaded(Box::new(scope)))
        }
        ["failed", which] => {
            let reason = quoted.map_or_else(|| "1 error".into(), Reason::from);
            build(which, BuildNews::Done(BuildOutcome::Failed { reason }))
        }
        ["cancelled", which] => build(which, BuildNews::Done(BuildOutcome::Cancelled)),
        ["started", which] => app(which, AppNews::Started(100)),
        ["cannot-start", which] => app(which, AppNews::CannotStart("no such file".into())),
        ["ready", which] => app(which, AppNews::Ready(Proof::Accepting)),
        ["traced", which, pid] => app(which, AppNews::Traced(Some(pid.parse().unwrap()))),
        ["untraced", which] => app(which, AppNews::Traced(None)),
        ["suspended", which] => app(which, AppNews::Suspended(true)),
        ["exited", which, how @ ..] => {
            let (how, conflict) = conflict(how, quoted.as_deref());
            let says = conflict.lock.is_none() && conflict.taken.is_none();
            let last_lines = quoted.filter(|_| says).into_iter().collect();
            app(
                which,
                AppNews::Exited {
                    exit: exit(how),
                    last_lines,
                    conflict,
                },
            )
        }
        ["background", which, listens] => {
            let listens = match *listens {
                "listens" => Some(true),
                "silent" => Some(false),
                "unseen" => None,
                _ => panic!("`{listens}` is neither `listens`, `silent` nor `unseen`"),
            };
            app(which, AppNews::Background(listens))
        }
        ["drained", which] => Event::Open(generation(which), Some(Open::default())),
        ["unknown", which] => Event::Open(generation(which), None),
        ["open", which, "busy", busy, "streams", streams, rest @ ..] => {
            let open = Open {
                dies: rest == ["dies"],
                busy: busy.parse().unwrap(),
                streams: streams.parse().unwrap(),
            };
            Event::Open(generation(which), Some(open))
        }
        ["gone", which] => app(
            which,
            AppNews::Gone {
                cut: 0,
                survivors: vec![],
            },
        ),
        ["gone", which, "cut", count] => app(
            which,
            AppNews::Gone {
                cut: count.parse().unwrap(),
                survivors: vec![],
            },
        ),
        _ => panic!("no event `{text}`"),
    }
}

/// Addresses are held, with two slots behind each, or none is any more.
fn addresses_changed(serving: bool) -> Event {
    let known = policy();
    Event::Addresses(Box::new(Policy {
        serving,
        ready_timeout: known.ready_timeout.filter(|_| serving),
        quiesce_max: serving.then_some(Duration::from_millis(250)),
        ..known
    }))
}

fn diagnostic(error: bool, counts: bool) -> BuildNews {
    BuildNews::Diagnostic {
        error,
        counts,
        detail: None,
        rendered: "what the compiler says\n".into(),
    }
}

fn job(number: &str, ended: Result<(), Reason>) -> Event {
    Event::Job(JobId(number.parse().unwrap()), JobNews::Ended(ended))
}

/// Settings that were read: the default policy with the names of what changed, or an error. A hook has
/// its command after a `=`.
fn configured(effect: &str, changed: &[&str]) -> Event {
    let effect = match effect {
        "nothing" => Effect::Nothing,
        "restart" => Effect::Restart,
        "rebuild" => Effect::Rebuild,
        "badly" => return Event::Configured(Err(changed.join(" ").into())),
        _ => panic!("no effect `{effect}`"),
    };
    let mut policy = policy();
    let names = changed.iter().map(|word| {
        let (name, command) = word.split_once('=').unwrap_or((word, ""));
        let command = Some(vec![command.to_owned()]).filter(|_| !command.is_empty());
        match name {
            "hooks.before_build" => policy.hooks.before_build = command,
            "hooks.before_start" => policy.hooks.before_start = command,
            _ => {}
        }
        name.to_owned()
    });
    let changed = names.collect();
    Event::Configured(Ok(Box::new(Reconfigured {
        policy,
        changed,
        effect,
    })))
}

/// The story as it really goes: its comments, policies and events, with the ticks and actions that
/// follow from them.
fn play(text: &str) -> String {
    let mut story = Story {
        policy: policy(),
        loaded: true,
        slots: false,
        browsers: false,
    };
    let mut session = None;
    let mut traced = Traced::new();
    let mut files = Files::default();
    let mut told = String::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("->") || line.ends_with(" tick") {
            continue;
        }
        if line.is_empty() || line.starts_with('#') || line.starts_with("policy ") {
            if let Some((key, value)) = line
                .strip_prefix("policy ")
                .and_then(|line| line.split_once(' '))
            {
                story.set(key, value);
            }
            writeln!(told, "{line}").unwrap();
            continue;
        }
        let session =
            session.get_or_insert_with(|| Session::new(story.policy.clone(), story.loaded));
        let (at, what) = line.split_once(' ').unwrap();
        let now = Duration::from_millis(at.parse().unwrap());
        while let Some(due) = session.due().filter(|due| *due <= now) {
            tell(&mut told, session, &mut traced, due, Event::Tick, "tick");
        }
        let event = event(what, &mut files);
        tell(&mut told, session, &mut traced, now, event, what);
    }
    let untold = [(story.slots, SLOTS), (story.browsers, RELOAD)];
    let untold = untold.map(|(is_told, start)| (!is_told).then(|| format!("-> {start}")));
    let is_told = |line: &&str| !untold.iter().flatten().any(|start| line.starts_with(start));
    let told = told.lines().filter(is_told);
    told.fold(String::new(), |all, line| all + line + "\n")
}

/// The generations that have a debugger.
type Traced = BTreeMap<Generation, Option<i32>>;

fn tell(
    told: &mut String,
    session: &mut Session,
    traced: &mut Traced,
    now: Moment,
    mut event: Event,
    what: &str,
) {
    writeln!(told, "{} {what}", now.as_millis()).unwrap();
    if let Event::Addresses(policy) = &mut event {
        policy.once = session.policy.once;
    }
    if let Event::App(generation, AppNews::Traced(pid)) = event {
        traced.insert(generation, pid);
        if pid.is_some() {
            return;
        }
    }
    let mut open = VecDeque::from([event]);
    while let Some(event) = open.pop_front() {
        for done in session.handle(now, event) {
            if let Action::Look(generation) = done {
                let pid = traced.get(&generation).copied().flatten();
                open.push_back(Event::App(generation, AppNews::Traced(pid)));
            } else {
                writeln!(told, "-> {}", action(&done)).unwrap();
            }
        }
    }
}

#[test]
fn every_scenario_goes_as_it_is_written() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/session/scenarios");
    let mut wrong = String::new();
    let mut count = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "txt") {
            continue;
        }
        let written = std::fs::read_to_string(&path).unwrap();
        let played = play(&written);
        if written != played {
            let name = path.file_name().unwrap().display();
            writeln!(
                wrong,
                "==== {name}\n---- written\n{written}---- played\n{played}"
            )
            .unwrap();
            if std::env::var_os("BLESS").is_some() {
                std::fs::write(&path, played).unwrap();
            }
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= 20, "only {count} stories were found");
}
