//! Whatever people and programs do to a project, in whatever order: whenever they pause, what is served
//! is what the tree on the disk says, or the last version that ran where that doesn't; each build had a
//! reason; and no client was refused meanwhile.
//!
//! The operations come from a seed. `HOTRUN_TEST_SEED` and `HOTRUN_TEST_SECONDS` try others, for longer;
//! a failure prints the seed and the last operations. What is to be served is read from the files, not
//! from a model of what was done to them.

mod told;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::client::Answer;
use crate::common::load::Kind;
use crate::common::{
    ANY, Hotrun, LIMIT, Load, Numbers, Outcome, Project, get, now, say, size_of_test,
};
use told::{Last, Told};
use tree::{CODE, OWN, SYNTAX_ERROR, Tree};

/// New connections in a second.
const RATE: u32 = 50;
/// Nothing has begun for so long: it is quiet. A burst waits up to `max_wait` of [watch], half a second, for its build.
const STILL: Duration = Duration::from_millis(800);
/// The same after git has done something, whose steps are waited for.
const STILL_AFTER_GIT: Duration = Duration::from_millis(1600);
/// A connection may be reset this much before or after live was seen to crash.
const CRASH: Duration = Duration::from_secs(1);
/// Where cargo looks at every file, what is saved faster than people save is taken for the app's own
/// writing, and rightly so.
const AS_PEOPLE_SAVE: Duration = Duration::from_secs(4);

/// What a build script may have written is built for so late, if nothing else is to be built.
const PUT_OFF: Duration = Duration::from_secs(10);
/// So many builds in a row may be for a source that the build script has written: with what it has read
/// back as it was, two builds find only this changed.
const BUILDS_FOR_SCRIPT: usize = 2;
/// The same where cargo looks at every file, with those for what the app has written, until it is known
/// that it is its own.
const BUILDS_FOR_OWN: usize = 6;

/// An operation: how often it is chosen among others, its name, and how it is done.
struct Operation(u64, &'static str, fn(&mut Day));

const OPERATIONS: &[Operation] = &[
    Operation(12, "save", save),
    Operation(8, "save twice", save_twice),
    Operation(6, "save and take back", save_and_take_back),
    Operation(4, "save several files", save_several),
    Operation(4, "save the same bytes", save_the_same),
    Operation(3, "touch", touch),
    Operation(5, "syntax error", syntax_error),
    Operation(3, "crash", crash),
    Operation(4, "mend", mend),
    Operation(3, "move the module", move_module),
    Operation(3, "remove the module", remove_module),
    Operation(3, "rename the module", rename_module),
    Operation(4, "git checkout", checkout),
    Operation(3, "git stash and pop", stash),
    Operation(2, "git commit", commit),
    Operation(5, "write what nothing depends on", write_rest),
    Operation(2, "SIGHUP", hang_up),
];

/// What was done since the last quiet moment.
#[derive(Debug, Default)]
struct Burst {
    /// Files that have had other bytes.
    changed: BTreeSet<String>,
    /// Files that were written or touched, whatever bytes they had before.
    written: BTreeSet<String>,
    /// The versions that the tree has had.
    versions: BTreeSet<String>,
    asked: bool,
    git: bool,
    /// How many builds were begun before it.
    builds: usize,
}

/// A project that is worked on, and the hotrun that serves it.
struct Day {
    seed: u64,
    numbers: Numbers,
    /// The build script says what it reads.
    declares: bool,
    project: Project,
    hotrun: Hotrun,
    told: Told,
    start: Instant,
    /// What people have written, as it was after the last operation.
    files: BTreeMap<String, Vec<u8>>,
    burst: Burst,
    /// When a person has written a file the last time before this burst.
    written: BTreeMap<String, Instant>,
    /// What was served at the last quiet moment.
    served: String,
    /// The last number that was given to a save: no two saves are the same.
    saves: u32,
    /// When a file was written that cargo looks at and that nothing depends on.
    guess: Option<Instant>,
    log: Vec<String>,
    operations: usize,
    /// The names of those that were done.
    done: BTreeSet<&'static str>,
    moments: usize,
    slowest: Duration,
}

impl Day {
    fn new(seed: u64, declares: bool) -> Self {
        let project = tree::project(declares);
        project.wait_until_old();
        let start = now();
        let hotrun = Hotrun::start(&project, &ANY);
        hotrun.wait_live(1);
        let mut day = Self {
            seed,
            numbers: Numbers(seed.max(1)),
            declares,
            files: tree::files(&project),
            project,
            hotrun,
            told: Told::new(),
            start,
            burst: Burst::default(),
            written: BTreeMap::new(),
            served: String::new(),
            saves: 0,
            guess: None,
            log: Vec::new(),
            operations: 0,
            done: BTreeSet::new(),
            moments: 0,
            slowest: Duration::ZERO,
        };
        day.saw_tree();
        day.quiet_moment();
        day
    }

    // ---- operations

    fn below(&mut self, limit: u64) -> u64 {
        self.numbers.below(limit)
    }

    /// It is so many times in a hundred.
    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// The moment is what is varied, and stands for nothing.
    fn pause(&mut self, below_ms: u64) {
        let pause = self.below(below_ms + 1);
        thread::sleep(Duration::from_millis(pause));
    }

    /// One step of an operation, after which the tree is as it is left.
    fn step(&mut self, what: &str, action: impl FnOnce(&Project)) {
        let at = self.start.elapsed().as_millis();
        self.log.push(format!("{at:>8} ms: {what}"));
        action(&self.project);
        let files = tree::files(&self.project);
        let paths: BTreeSet<&String> = self.files.keys().chain(files.keys()).collect();
        let changed = paths
            .into_iter()
            .filter(|path| self.files.get(*path) != files.get(*path));
        self.burst.changed.extend(changed.cloned());
        self.files = files;
        self.saw_tree();
    }

    fn saw_tree(&mut self) {
        match tree::read(&self.project) {
            Tree::Runs(version) | Tree::CrashesLive(version) => {
                self.burst.versions.insert(version);
            }
            Tree::Broken | Tree::CrashesAtStart => {}
        }
    }

    /// Saves a file in one of the two ways of editors.
    fn write(&mut self, path: &str, text: &str) {
        self.burst.written.insert(path.to_owned());
        let what = format!(
            "{path}: {}",
            text.lines()
                .rfind(|line| line.contains('"'))
                .unwrap_or(text)
                .trim()
        );
        if self.chance(50) {
            self.step(&what, |project| project.save(path, text));
        } else {
            self.step(&format!("in place, {what}"), |project| {
                project.save_in_place(path, text);
            });
        }
    }

    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.project.path(path)).ok()
    }

    /// One of the module's files that is there.
    fn part(&self) -> Option<&'static str> {
        let parts = &CODE[1..4];
        parts
            .iter()
            .copied()
            .find(|path| self.project.path(path).exists())
    }

    /// The file with another number in it.
    fn numbered(&mut self, path: &str) -> Option<String> {
        self.saves += 1;
        let number = self.saves;
        let text = self.text(path)?;
        let set =
            |before: &str, letter: &str| Some(set(&text, before, &format!("{letter}{number}")));
        match path {
            "src/main.rs" => set("MAIN: &str = ", "m"),
            "dep/src/lib.rs" => set("DEP: &str = ", "d"),
            "src/text" => Some(format!("t{number}")),
            "schema/a.sql" => Some(format!("s{number}")),
            "page.html" => Some(format!("p{number}")),
            "Cargo.toml" => Some(format!("{}\n# \"{number}\"\n", text.trim_end())),
            _ => set("PART: &str = ", "p"),
        }
    }

    /// One of the files that the program is made of, and that is there.
    fn any_source(&mut self) -> &'static str {
        let part = self.part().unwrap_or("src/main.rs");
        let may_guess = self.may_guess();
        match self.below(13) {
            0..=3 => "src/main.rs",
            4..=5 => part,
            8..=9 => "dep/src/lib.rs",
            10 if self.declares || may_guess => "schema/a.sql",
            11 if !self.declares && may_guess => "page.html",
            6..=7 | 10..=11 => "src/text",
            _ => "Cargo.toml",
        }
    }

    /// Only cargo's guess makes it a source.
    fn is_guess(&self, path: &str) -> bool {
        !self.declares && ["schema/a.sql", "page.html"].contains(&path)
    }

    /// A person may save such a file again.
    fn may_guess(&self) -> bool {
        self.guess
            .is_none_or(|last| last.elapsed() > AS_PEOPLE_SAVE)
    }

    fn save_number(&mut self, path: &str) {
        if self.is_guess(path) {
            self.guess = Some(now());
        }
        if let Some(text) = self.numbered(path) {
            self.write(path, &text);
        }
    }

    fn operate(&mut self) {
        let &Operation(_, name, how) = self.choose();
        self.operations += 1;
        self.done.insert(name);
        self.log.push(format!("{name}:"));
        how(self);
    }

    /// One of those that were not done yet, at every second time, so that a short day has most of them.
    fn choose(&mut self) -> &'static Operation {
        let is_new = |operation: &&Operation| !self.done.contains(operation.1);
        let new: Vec<&Operation> = OPERATIONS.iter().filter(is_new).collect();
        if !new.is_empty() && self.chance(50) {
            return new[usize::try_from(self.below(new.len() as u64)).unwrap()];
        }
        let all: u64 = OPERATIONS.iter().map(|operation| operation.0).sum();
        let mut chosen = self.below(all);
        let mut operations = OPERATIONS.iter();
        let is_chosen = |operation: &&Operation| {
            let left = chosen.checked_sub(operation.0);
            chosen = left.unwrap_or_default();
            left.is_none()
        };
        operations.find(is_chosen).unwrap()
    }

    fn burst(&mut self) {
        self.burst = Burst {
            versions: BTreeSet::from([self.served.clone()]),
            builds: self.told.builds.len(),
            ..Burst::default()
        };
        self.saw_tree();
        // Most people mend what is broken.
        let mends = self.chance(65);
        if mends && !matches!(tree::read(&self.project), Tree::Runs(_)) {
            mend(self);
        }
        for _ in 0..=self.below(4) {
            self.operate();
            self.pause(250);
        }
    }

    // ---- what hotrun makes of them

    /// Waits until nothing is built or started and the right version is served, and has been for a while.
    fn quiet_moment(&mut self) {
        let tree = tree::read(&self.project);
        let (began, address) = (now(), self.hotrun.address());
        let still = if self.burst.git {
            STILL_AFTER_GIT
        } else {
            STILL
        };
        self.log.push(format!("a quiet moment, {tree:?}"));
        let mut since = None;
        let version = loop {
            let outcome = get(address);
            self.told.hear(&self.hotrun);
            let builds = self.told.builds.len();
            let good = match &outcome {
                Outcome::Answer(answer) => !self.told.is_busy() && self.is_right(&tree, answer),
                _ => false,
            };
            since = since.filter(|(_, known)| good && *known == builds);
            if let (Outcome::Answer(answer), true) = (&outcome, good) {
                let (at, _) = since.get_or_insert((now(), builds));
                if at.elapsed() >= still {
                    let waited = *at - began;
                    self.slowest = self.slowest.max(waited);
                    break answer.version.clone();
                }
            }
            assert!(
                began.elapsed() < LIMIT,
                "it does not get quiet: {tree:?} is to be served, or what was good before; \
                 the answer is {outcome:?}, and {}",
                self.told.state()
            );
            thread::sleep(Duration::from_millis(20));
        };
        self.moments += 1;
        self.served = version;
        self.check_reasons();
        let written = std::mem::take(&mut self.burst.written);
        self.written
            .extend(written.into_iter().map(|path| (path, began)));
    }

    /// This answer is what is to be served once all is done.
    fn is_right(&self, tree: &Tree, answer: &Answer) -> bool {
        let is_last_good = self.burst.versions.contains(&answer.version)
            && self.told.live == Some(u64::from(answer.generation));
        match tree {
            Tree::Runs(version) => {
                answer.version == *version && self.told.last != Some(Last::Failed)
            }
            Tree::Broken => is_last_good && self.told.last == Some(Last::Failed),
            Tree::CrashesAtStart => is_last_good && self.told.last != Some(Last::Failed),
            Tree::CrashesLive(version) => is_last_good && answer.version != *version,
        }
    }

    /// Every build since the last quiet moment was begun for something that was done since then.
    fn check_reasons(&self) {
        let begun = &self.told.builds[self.burst.builds..];
        for (number, build) in begun.iter().enumerate() {
            let is_real = match &*build.cause {
                "first start" => build.generation == 1,
                "asked for" => self.burst.asked,
                _ => build
                    .paths()
                    .iter()
                    .all(|path| self.is_reason(path, number > 0)),
            };
            assert!(
                is_real,
                "g{} was built for no reason: {}",
                build.generation, build.cause
            );
        }
        let own = self
            .told
            .builds
            .iter()
            .rev()
            .take_while(|build| build.is_for_own());
        let limit = if self.declares {
            BUILDS_FOR_SCRIPT
        } else {
            BUILDS_FOR_OWN
        };
        let own = own.count();
        assert!(
            own <= limit,
            "{own} builds in a row for what nobody has saved"
        );
    }

    /// This path may be the cause of a build; `later`: of one that was begun after another.
    fn is_reason(&self, path: &str, later: bool) -> bool {
        let path = &*saved_as(path);
        let below = format!("{path}/");
        let names = |file: &String| file == path || file.starts_with(&below);
        let is_rest = |file: &String| REST.contains(&&**file) || file == "page.html";
        let may_be = |file: &&String| !self.declares || !is_rest(file);
        if OWN.contains(&path) {
            // The build script writes a source; what the app writes is none where it can be known.
            return !self.declares || path == OWN[3];
        }
        // What is written while it is read may have had other bytes for a moment.
        let written = self.burst.written.iter().filter(|_| later);
        let is_recent = |at: &Instant| at.elapsed() < PUT_OFF;
        let put_off = self.written.iter().filter(|(_, at)| is_recent(at));
        let put_off = put_off.map(|(path, _)| path);
        self.burst
            .changed
            .iter()
            .chain(written)
            .chain(put_off)
            .filter(may_be)
            .any(names)
    }
}

impl Drop for Day {
    #[expect(clippy::print_stderr, reason = "the output of a test that failed")]
    fn drop(&mut self) {
        if thread::panicking() {
            let last = &self.log[self.log.len().saturating_sub(60)..];
            eprintln!(
                "---- HOTRUN_TEST_SEED={}, the last operations:\n{}",
                self.seed,
                last.join("\n")
            );
        }
    }
}

/// The file as which one of these is moved into place, `.name.number`: a build script that ran just then may have
/// read the one or the other.
fn saved_as(path: &str) -> String {
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    let saved = name.strip_prefix('.').and_then(|name| {
        let (name, number) = name.rsplit_once('.')?;
        number.parse::<u32>().is_ok().then_some(name)
    });
    match saved {
        Some(name) if dir.is_empty() => name.to_owned(),
        Some(name) => format!("{dir}/{name}"),
        None => path.to_owned(),
    }
}

/// The text with another value after `before`.
fn set(text: &str, before: &str, value: &str) -> String {
    let (head, rest) = text.split_once(before).unwrap();
    let (_, rest) = rest.strip_prefix('"').unwrap().split_once('"').unwrap();
    format!("{head}{before}\"{value}\"{rest}")
}

// ---- saves

fn save(day: &mut Day) {
    let path = day.any_source();
    day.save_number(path);
}

fn save_twice(day: &mut Day) {
    let path = day.any_source();
    day.save_number(path);
    day.pause(60);
    if !day.is_guess(path) {
        day.save_number(path);
    }
}

fn save_and_take_back(day: &mut Day) {
    let path = day.any_source();
    let Some(old) = day.text(path).filter(|_| !day.is_guess(path)) else {
        return;
    };
    day.save_number(path);
    day.pause(400);
    day.write(path, &old);
}

fn save_several(day: &mut Day) {
    for _ in 0..=day.below(5) {
        let path = day.any_source();
        day.save_number(path);
        day.pause(20);
    }
}

fn save_the_same(day: &mut Day) {
    let path = day.any_source();
    if let Some(text) = day.text(path) {
        day.write(path, &text);
    }
}

#[expect(clippy::disallowed_methods, reason = "the time stamp of a file")]
fn touch(day: &mut Day) {
    let path = day.any_source();
    day.burst.written.insert(path.to_owned());
    day.step(&format!("touch {path}"), |project| {
        let file = File::options()
            .append(true)
            .open(project.path(path))
            .unwrap();
        file.set_modified(std::time::SystemTime::now()).unwrap();
    });
}

/// Of all of these, none is a part of the program where the build script says what it reads.
const REST: [&str; 4] = ["README.md", "notes.txt", "people.db", "logs/day.log"];

fn write_rest(day: &mut Day) {
    let path = REST[usize::try_from(day.below(4)).unwrap()];
    day.saves += 1;
    let number = day.saves;
    if !day.declares && !day.may_guess() {
        return;
    }
    day.guess = Some(now());
    // During a build it is taken for what that writes, and its own build is put off.
    day.burst.written.insert(path.to_owned());
    day.step(path, |project| {
        project.add(path, &format!("words {number}\n"));
    });
}

// ---- programs that do not build or run

fn syntax_error(day: &mut Day) {
    let path = match day.below(3) {
        0 => day.part().unwrap_or("src/main.rs"),
        1 => "dep/src/lib.rs",
        _ => "src/main.rs",
    };
    let Some(text) = day.text(path) else { return };
    day.write(path, &format!("{text}{SYNTAX_ERROR}"));
    if day.chance(50) {
        day.pause(500);
        day.write(path, &text);
    }
}

fn crash(day: &mut Day) {
    let how = if day.chance(50) {
        "crash-at-start"
    } else {
        "crash-live"
    };
    let text = day.numbered("src/main.rs").unwrap();
    day.write("src/main.rs", &set(&text, "DAY: &str = ", how));
    if day.chance(30) {
        day.pause(800);
        mend(day);
    }
}

/// Puts everything in order again that hinders the tree from building and running.
fn mend(day: &mut Day) {
    for path in CODE {
        let Some(text) = day.text(path) else { continue };
        let mut mended = text.replace(SYNTAX_ERROR, "");
        if path == "src/main.rs" {
            mended = set(&mended, "DAY: &str = ", "well");
        }
        if mended != text {
            day.write(path, &mended);
            day.pause(30);
        }
    }
    let [piece, one, dir] = ["src/piece.rs", "src/part.rs", "src/part/mod.rs"]
        .map(|path| day.project.path(path).exists());
    day.saves += 1;
    let part = tree::part(day.saves);
    if day.text("src/main.rs").unwrap().contains("\"piece.rs\"") {
        if !piece {
            day.write("src/piece.rs", &part);
        }
    } else if one && dir {
        day.step("rm -r src/part", |project| project.run("rm -r src/part"));
    } else if !one && !dir {
        day.write("src/part.rs", &part);
    }
}

// ---- modules

fn move_module(day: &mut Day) {
    let script = match day.part() {
        Some("src/part.rs") => "mkdir -p src/part; mv src/part.rs src/part/mod.rs",
        Some("src/part/mod.rs") => "mv src/part/mod.rs src/part.rs; rmdir src/part",
        _ => return,
    };
    day.step(script, |project| project.run(script));
}

fn remove_module(day: &mut Day) {
    let Some(path) = day.part() else { return };
    let text = day.text(path).unwrap();
    day.step(&format!("rm {path}"), |project| {
        fs::remove_file(project.path(path)).unwrap();
    });
    if day.chance(60) {
        day.pause(500);
        day.write(path, &text);
    }
}

/// Under another name, and then in the line that names it, or the other way round.
fn rename_module(day: &mut Day) {
    let main = day.text("src/main.rs").unwrap();
    let [old, new] = ["mod part;", "#[path = \"piece.rs\"]\nmod part;"];
    let (script, main) = match day.part() {
        Some("src/part.rs") => ("mv src/part.rs src/piece.rs", main.replacen(old, new, 1)),
        Some("src/piece.rs") => ("mv src/piece.rs src/part.rs", main.replacen(new, old, 1)),
        _ => return,
    };
    let file_first = day.chance(50);
    if file_first {
        day.step(script, |project| project.run(script));
        day.pause(150);
    }
    day.write("src/main.rs", &main);
    if !file_first {
        day.pause(150);
        day.step(script, |project| project.run(script));
    }
}

// ---- git, and signals

fn git(day: &mut Day, script: &str) {
    day.burst.git = true;
    day.step(script, |project| project.run(script));
}

fn checkout(day: &mut Day) {
    const SWITCH: &str = "git checkout --quiet $(git branch --format='%(refname:short)' | \
        grep -v -x $(git branch --show-current))";
    git(day, SWITCH);
    if day.chance(50) {
        day.pause(700);
        git(day, SWITCH);
    }
}

fn stash(day: &mut Day) {
    day.guess = Some(now());
    git(day, "git stash --quiet");
    day.pause(700);
    git(
        day,
        "if git rev-parse --quiet --verify refs/stash >/dev/null; then git stash pop --quiet; fi",
    );
}

fn commit(day: &mut Day) {
    git(day, "git commit --quiet --allow-empty -m nothing");
}

fn hang_up(day: &mut Day) {
    // Where these tests were started with the signal ignored, so was hotrun.
    if day.hotrun.ignores_hangup() {
        return;
    }
    day.burst.asked = true;
    day.step("SIGHUP", |_| {});
    day.hotrun.hangup();
}

// ---- the day

fn go_through_a_day(declares: bool) {
    let seed = size_of_test("HOTRUN_TEST_SEED", 0x51f1_5e3d);
    let long = Duration::from_secs(size_of_test("HOTRUN_TEST_SECONDS", 14));
    let mut day = Day::new(seed, declares);
    let load = Load::start(day.hotrun.address(), RATE, Kind::Get);
    let began = now();
    while began.elapsed() < long {
        day.burst();
        day.quiet_moment();
    }
    day.told.hear(&day.hotrun);
    let outcomes = load.stop();
    let told = &day.told;
    let resets = outcomes.count(|outcome| *outcome == Outcome::Reset);
    say(&format!(
        "seed {seed}: {} operations of {} kinds, {} saves, {} quiet moments, the slowest after {:?}; \
         {} builds, {} cancelled, {} failed, {} unchanged; {} times live, {} crashes of live; \
         own writing {:?}; {} requests, {resets} reset",
        day.operations,
        day.done.len(),
        day.saves,
        day.moments,
        day.slowest,
        told.builds.len(),
        told.cancelled,
        told.failed,
        told.unchanged,
        told.restarts,
        told.crashes.len(),
        told.own_writing,
        outcomes.0.len(),
    ));
    outcomes.assert_none_refused();
    let crashes: Vec<Instant> = told
        .crashes
        .iter()
        .map(|ms| day.start + Duration::from_secs_f64(ms / 1e3))
        .collect();
    let lost = outcomes.0.iter().filter(|exchange| {
        let crashed = |at: &Instant| *at + CRASH > exchange.opened && *at < exchange.ended + CRASH;
        exchange.outcome == Outcome::Reset && !crashes.iter().any(crashed)
    });
    let lost: Vec<u128> = lost
        .map(|exchange| (exchange.opened - day.start).as_millis())
        .collect();
    assert!(
        lost.is_empty(),
        "reset where live did not crash, at these ms: {lost:?}"
    );
    day.hotrun.interrupt();
    day.hotrun.wait_exit();
    day.hotrun.assert_nothing_left();
}

#[test]
fn where_the_build_script_says_what_it_reads() {
    go_through_a_day(true);
}

#[test]
fn where_cargo_looks_at_every_file() {
    go_through_a_day(false);
}
