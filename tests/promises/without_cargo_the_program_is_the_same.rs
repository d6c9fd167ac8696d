//! Under `--fast`, most builds repeat calls of the compiler without cargo. Whatever is edited, in
//! whatever order: what is served is, byte for byte, what cargo builds from the same files, and a tree
//! that cargo refuses is refused.
//!
//! The edits come from a seed. `HOTRUN_TEST_SEED` and `HOTRUN_TEST_EDITS` try others, and more of them; a
//! failure prints the seed and the edits. Cargo builds a copy of the files in a directory of its own that
//! is mounted over the project's for as long as it runs, so that all paths are the same.

mod linkers;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::common::hotrun::Place;
use crate::common::{
    ANY, Hotrun, LIMIT, Numbers, Outcome, Project, Run, get, now, say, size_of_test,
};
use tree::{Broken, Tree};

/// How a build ends.
const ENDS: [&str; 5] = [
    "live",
    "unchanged",
    "build-failed",
    "not-ready",
    "cannot-start",
];
/// After so many edits cargo has to build everything anew.
const FRESH: usize = 10;

/// A kind of edit: how often it is chosen among others, its name, and how it is done.
struct Kind(u64, &'static str, fn(&mut Day));

/// Stands for the wrapper of hotrun's, and has the compiler use the linker that was chosen.
const WRAPPER: &str = r#"#!/bin/sh
dir="${0%rustc}linker"
case "$*" in
*build_script_*) ;;
*"--crate-type bin "*)
    if [ -e "$dir/ld" ]; then
        [ "$(uname -m)" != x86_64 ] || set -- "$@" -C linker-features=-lld
        set -- "$@" -C "link-arg=-B$dir/"
    fi
esac
exec "$@"
"#;

/// How the paths end of the files after whose change only cargo can build.
const WITH_CARGO: [&str; 4] = [".toml", "build.rs", "input.txt", "macros/src/lib.rs"];

const KINDS: &[Kind] = &[
    Kind(8, "main", |day| day.bump(|tree| &mut tree.main)),
    Kind(5, "a module", |day| day.bump(|tree| &mut tree.module)),
    Kind(5, "the library", |day| day.bump(|tree| &mut tree.lib)),
    Kind(6, "library one", |day| day.bump(|tree| &mut tree.one)),
    Kind(5, "library two", |day| day.bump(|tree| &mut tree.two)),
    Kind(3, "library solo", |day| day.bump(|tree| &mut tree.solo)),
    Kind(4, "several libraries", several),
    Kind(4, "a signature and its users", |day| {
        day.tree.wide ^= true;
    }),
    Kind(3, "a comment in main", |day| {
        day.bump(|tree| &mut tree.lines_main);
    }),
    Kind(3, "a comment in one", |day| {
        day.bump(|tree| &mut tree.lines_one);
    }),
    Kind(4, "a module comes or goes", |day| {
        day.tree.extra = match day.tree.extra {
            None => Some(day.number()),
            Some(_) => None,
        };
    }),
    Kind(3, "the included text", |day| {
        day.bump(|tree| &mut tree.asset);
    }),
    Kind(2, "the file of two crates", |day| {
        day.bump(|tree| &mut tree.common);
    }),
    Kind(2, "what the build script reads", |day| {
        day.bump(|tree| &mut tree.input);
    }),
    Kind(2, "the build script", |day| {
        day.bump(|tree| &mut tree.script);
    }),
    Kind(2, "the procedural macro", |day| {
        day.bump(|tree| &mut tree.macros);
    }),
    Kind(2, "a feature", |day| {
        day.tree.feature ^= true;
    }),
    Kind(2, "a dependency", |day| {
        day.tree.spare ^= true;
    }),
    Kind(2, "the profile", |day| {
        day.tree.checked ^= true;
    }),
    Kind(2, "flags of the configuration", |day| {
        day.tree.flag ^= true;
    }),
    Kind(2, "a variable of the configuration", |day| {
        day.bump(|tree| &mut tree.variable);
    }),
    Kind(1, "the toolchain", |day| {
        let toolchain = std::env::var("RUSTUP_TOOLCHAIN").ok();
        day.tree.toolchain = match day.tree.toolchain {
            None => toolchain,
            Some(_) => None,
        };
    }),
    Kind(5, "back to what was before", back),
    Kind(8, "a broken file, maybe with others", break_one),
    Kind(6, "repaired", |day| {
        day.tree.broken = None;
    }),
    Kind(2, "cargo beside it", |day| {
        day.bump(|tree| &mut tree.main);
        let what = if day.chance(50) { "build" } else { "check" };
        // It may well fail.
        let mut cargo = day.project.command("cargo");
        cargo.args([what, "--offline", "--quiet"]).output().unwrap();
    }),
    Kind(1, "cargo clean", |day| {
        day.bump(|tree| &mut tree.main);
        day.project.run("cargo clean --quiet");
    }),
];

/// Two of those that do not use each other, most often: with more of them cargo is called.
fn several(day: &mut Day) {
    let libraries: [fn(&mut Tree) -> &mut u32; 4] = [
        |tree| &mut tree.lib,
        |tree| &mut tree.solo,
        |tree| &mut tree.two,
        |tree| &mut tree.one,
    ];
    let first = usize::try_from(day.below(4)).unwrap();
    day.bump(libraries[first]);
    day.bump(libraries[(first + 1) % 2]);
    if day.chance(30) {
        day.bump(|tree| &mut tree.main);
    }
}

/// As by a checkout of an older commit, or by hand; sometimes by moving older files into place.
fn back(day: &mut Day) {
    let all = day.before.len() as u64;
    let ago = if day.chance(70) { all.min(4) } else { all };
    let ago = usize::try_from(day.below(ago)).unwrap();
    let toolchain = day.tree.toolchain.take();
    day.tree = day.before[day.before.len() - 1 - ago].clone();
    day.tree.toolchain = toolchain;
    day.moves_old = day.chance(60);
}

/// A file that does not compile, often with others that do.
fn break_one(day: &mut Day) {
    let all = Broken::ALL;
    let broken = all[usize::try_from(day.below(all.len() as u64)).unwrap()];
    day.tree.broken = Some(broken);
    if day.chance(70) {
        several(day);
    }
    if day.chance(30) {
        day.tree.spare ^= true;
    }
}

/// What builds have come to.
#[derive(Debug, Default)]
struct Counts {
    by_cargo: usize,
    without: usize,
    refused: usize,
    fresh: usize,
}

/// A project that is edited, the hotrun that serves it, and a copy for cargo.
struct Day {
    numbers: Numbers,
    project: Project,
    hotrun: Hotrun,
    /// The copy.
    same: PathBuf,
    tree: Tree,
    /// What the tree was after each edit.
    before: Vec<Tree>,
    /// When each content of each file was first written.
    written: BTreeMap<(String, String), SystemTime>,
    /// The next edit moves files into place that are as old as their content.
    moves_old: bool,
    last: u32,
    log: Vec<String>,
    counts: Counts,
}

impl Day {
    fn new(seed: u64, tree: Tree) -> Self {
        let project = project_of(&tree);
        let mut args = vec!["--fast"];
        args.extend(ANY);
        let hotrun = Run::new(&project, &args).start();
        let mut day = Self {
            numbers: Numbers(seed.max(1)),
            same: project.root().join("same"),
            hotrun,
            project,
            tree,
            before: Vec::new(),
            written: BTreeMap::new(),
            moves_old: false,
            last: 0,
            log: Vec::new(),
            counts: Counts::default(),
        };
        day.note_files();
        day.settle(Place(0));
        day.compare(false);
        day.before.push(day.tree.clone());
        day
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.numbers.below(limit)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn number(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    /// Gives a part of the tree a number that it never had.
    fn bump(&mut self, part: impl FnOnce(&mut Tree) -> &mut u32) {
        let number = self.number();
        *part(&mut self.tree) = number;
    }

    /// One of the kinds, and one that mends the tree more often than not where that is broken.
    fn choose(&mut self, done: &BTreeSet<&str>) -> &'static Kind {
        let is_open = |kind: &&Kind| match kind.1 {
            "repaired" => self.tree.broken.is_some(),
            "the toolchain" => std::env::var("RUSTUP_TOOLCHAIN").is_ok(),
            _ => true,
        };
        let open: Vec<&Kind> = KINDS.iter().filter(is_open).collect();
        if self.tree.broken.is_some() && self.chance(50) {
            return KINDS.iter().find(|kind| kind.1 == "repaired").unwrap();
        }
        let weight = |kind: &Kind| kind.0 * if done.contains(kind.1) { 1 } else { 2 };
        let mut chosen = self.below(open.iter().map(|kind| weight(kind)).sum());
        let found = open.iter().find(|kind| {
            let left = chosen.checked_sub(weight(kind));
            chosen = left.unwrap_or_default();
            left.is_none()
        });
        found.unwrap()
    }

    /// Makes the files what the tree says.
    fn write(&mut self) {
        let files = self.tree.files();
        let there = files_of(self.project.dir());
        for path in there.keys().filter(|path| !files.contains_key(*path)) {
            if path != "Cargo.lock" && path != tree::LINK[0] {
                fs::remove_file(self.project.path(path)).unwrap();
            }
        }
        for (path, text) in &files {
            if there.get(path).is_some_and(|old| old == text.as_bytes()) {
                continue;
            }
            let known = self.written.get(&(path.clone(), text.clone()));
            if let Some(written) = known.filter(|_| self.moves_old) {
                let old = self.project.root().join("old");
                fs::write(&old, text).unwrap();
                let file = File::options().append(true).open(&old).unwrap();
                file.set_modified(*written).unwrap();
                let to = self.project.path(path);
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::rename(old, to).unwrap();
            } else if there.contains_key(path) {
                self.project.save(path, text);
            } else {
                self.project.add(path, text);
            }
        }
        self.moves_old = false;
        self.note_files();
    }

    fn note_files(&mut self) {
        for (path, text) in self.tree.files() {
            let written = self.project.path(&path).metadata().unwrap().modified();
            self.written.entry((path, text)).or_insert(written.unwrap());
        }
    }

    /// Waits until this tree is built, and served if it can be.
    fn settle(&self, start: Place) {
        let expected = self.tree.answer();
        let began = now();
        let mut from = start;
        loop {
            let (place, _) = self.hotrun.wait_any(from, &["building"], |_| true);
            let (end, _) = self.hotrun.wait_any(place, &ENDS, |_| true);
            let events = self.hotrun.events_after(end);
            let more = events.iter().any(|event| event["event"] == "building");
            let ended = events.iter().rfind(|event| is_end(event)).unwrap();
            let is_right = match &expected {
                None => ended["event"] == "build-failed",
                Some(answer) => {
                    ended["event"] != "build-failed" && self.served().as_ref() == Some(answer)
                }
            };
            if is_right && !more {
                return;
            }
            assert!(began.elapsed() < LIMIT, "{expected:?} is to be served");
            from = end;
        }
    }

    fn served(&self) -> Option<String> {
        match get(self.hotrun.address()) {
            Outcome::Answer(answer) => Some(answer.version),
            _ => None,
        }
    }

    /// Compares what is served with what cargo makes of the same files. `fresh`: of nothing else.
    fn compare(&mut self, fresh: bool) {
        if fresh {
            fs::remove_dir_all(self.same.join("target")).unwrap();
            self.counts.fresh += 1;
        }
        let built = self.build_by_cargo();
        if self.tree.broken.is_some() {
            assert!(built.is_err(), "cargo builds what hotrun refuses");
            self.counts.refused += 1;
            return;
        }
        if let Err(said) = built {
            panic!("cargo refuses what hotrun serves: {said}");
        }
        let live = self.hotrun.all("live").pop().unwrap();
        let app = self.hotrun.app(live["generation"].as_u64().unwrap());
        let served = fs::read(format!("/proc/{}/exe", app.pid)).unwrap();
        let by_cargo = fs::read(self.same.join("target/fast-dev/my-app")).unwrap();
        if served != by_cargo {
            // To look at, if the test is stopped here.
            if let Ok(dir) = std::env::var("HOTRUN_TEST_KEEP") {
                fs::write(Path::new(&dir).join("served"), &served).unwrap();
                fs::write(Path::new(&dir).join("by-cargo"), &by_cargo).unwrap();
            }
            let differ = served.iter().zip(&by_cargo).filter(|(one, two)| one != two);
            panic!(
                "what is served differs from what cargo builds in {} bytes of {} and {}",
                differ.count(),
                served.len(),
                by_cargo.len()
            );
        }
    }

    /// Has cargo build the copy as hotrun has it build the project.
    fn build_by_cargo(&self) -> Result<(), String> {
        let wanted = files_of(self.project.dir());
        let there = files_of(&self.same);
        for path in there.keys().filter(|path| !wanted.contains_key(*path)) {
            fs::remove_file(self.same.join(path)).unwrap();
        }
        for (path, bytes) in &wanted {
            if there.get(path) != Some(bytes) {
                let to = self.same.join(path);
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::write(to, bytes).unwrap();
            }
        }
        // Cargo puts the path of the wrapper into the names of symbols.
        let wrapper = Path::new("target/hotrun/my-app.my-app.fast-dev.rustc");
        let own = self.same.join(wrapper);
        if !own.exists() {
            fs::create_dir_all(own.parent().unwrap()).unwrap();
            fs::write(&own, WRAPPER).unwrap();
            fs::set_permissions(&own, Permissions::from_mode(0o755)).unwrap();
        }
        // Both are linked by the same linker.
        let linker = Path::new("target/hotrun/my-app.my-app.fast-dev.linker/ld");
        let chosen = fs::read_link(self.project.dir().join(linker));
        fs::remove_file(self.same.join(linker)).ok();
        if let Ok(chosen) = chosen {
            fs::create_dir_all(self.same.join(linker).parent().unwrap()).unwrap();
            symlink(chosen, self.same.join(linker)).unwrap();
        }
        let link = self.project.dir().join(wrapper);
        let commands = self.hotrun.values("command", "command");
        let command = commands.iter().rfind(|command| is_of_cargo(command));
        let script = format!(
            "mount --bind \"$0\" \"$1\"; cd \"$1\"; exec {} --quiet --config \
             'build.rustc-workspace-wrapper=\"{}\"'",
            command.unwrap(),
            link.display()
        );
        let mut shell = self.project.command("unshare");
        shell.args(["--user", "--map-root-user", "--mount", "sh", "-ec", &script]);
        shell.args([&self.same, self.project.dir()]);
        let output = shell.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success() || said.contains("could not compile"),
            "{said}"
        );
        output.status.success().then_some(()).ok_or(said)
    }

    /// One edit or two, in a row that leaves no time for a build, and then what comes of them.
    fn edit(&mut self, done: &mut BTreeSet<&'static str>) {
        let start = self.hotrun.here();
        let (tree, mut names) = (self.tree.clone(), Vec::new());
        let edits = if self.chance(15) { 2 } else { 1 };
        for number in 0..edits {
            if number > 0 {
                self.write();
                // The moment is what is varied, and stands for nothing.
                let pause = self.below(700);
                thread::sleep(Duration::from_millis(pause));
                if self.chance(40) {
                    self.tree = tree.clone();
                    self.moves_old = self.chance(60);
                    names.push("taken back");
                    break;
                }
            }
            let Kind(_, name, how) = self.choose(done);
            how(self);
            names.push(*name);
            done.insert(name);
        }
        self.log.push(names.join(", then "));
        if self.tree.files() == tree.files() {
            if edits == 1 {
                // There is nothing that it would change.
                return;
            }
            // Without anything new no build need follow.
            self.bump(|tree| &mut tree.main);
        }
        self.finish(start, &tree);
    }

    /// One edit, and what comes of it.
    fn make(&mut self, what: &str, how: impl FnOnce(&mut Self)) {
        let (start, tree) = (self.hotrun.here(), self.tree.clone());
        self.log.push(what.to_owned());
        how(self);
        self.finish(start, &tree);
        self.compare(false);
        self.before.push(self.tree.clone());
    }

    /// Writes what is not written yet, and waits for what comes of it. `tree`: what was before.
    fn finish(&mut self, start: Place, tree: &Tree) {
        self.write();
        self.settle(start);
        let events = self.hotrun.events_after(start);
        let commands = events.iter().filter(|event| event["event"] == "command");
        let commands: Vec<&str> = commands
            .map(|event| event["command"].as_str().unwrap())
            .collect();
        let by_cargo = commands.iter().filter(|command| is_of_cargo(command));
        let by_cargo = by_cargo.count();
        if tree.differs_in(&self.tree, |path| {
            WITH_CARGO.iter().any(|end| path.ends_with(end))
        }) {
            assert!(by_cargo > 0, "only cargo can tell: {commands:?}");
        }
        self.counts.by_cargo += by_cargo;
        self.counts.without += commands.len() - by_cargo;
    }

    fn end(self) {
        self.hotrun.interrupt();
        self.hotrun.wait_exit();
        self.hotrun.assert_nothing_left();
    }
}

/// A project with these files.
fn project_of(tree: &Tree) -> Project {
    let project = Project::empty();
    for (path, text) in tree.files() {
        project.add(&path, &text);
    }
    symlink(tree::LINK[1], project.path(tree::LINK[0])).unwrap();
    project
}

fn is_end(event: &Value) -> bool {
    ENDS.iter().any(|name| event["event"] == *name)
}

fn is_of_cargo(command: &str) -> bool {
    command.starts_with("cargo ")
}

/// The files of a project by their paths, without the target directory.
fn files_of(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    fn visit(root: &Path, dir: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            if path.is_dir() && name != "target" {
                visit(root, &path, files);
            } else if path.is_file() {
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    let mut files = BTreeMap::new();
    visit(dir, dir, &mut files);
    files
}

/// Prints the edits if the test fails.
struct Log<'a>(u64, &'a mut Day);

impl Drop for Log<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            say(&format!("seed {}: {:#?}", self.0, self.1.log));
        }
    }
}

#[test]
fn whatever_is_edited() {
    let seed = size_of_test("HOTRUN_TEST_SEED", 0x5a3e);
    let edits = size_of_test("HOTRUN_TEST_EDITS", 14);
    let mut day = Day::new(seed, Tree::default());
    let log = Log(seed, &mut day);
    let mut done = BTreeSet::new();
    for number in 1..=edits {
        log.1.edit(&mut done);
        log.1.compare(number % FRESH == 0);
        let tree = log.1.tree.clone();
        log.1.before.push(tree);
    }
    let counts = &log.1.counts;
    say(&format!(
        "seed {seed}: {edits} edits of {} kinds, {} builds by cargo, {} without, none unequal; {} \
         refused by both, {} of cargo's builds of everything",
        done.len(),
        counts.by_cargo,
        counts.without,
        counts.refused,
        counts.fresh
    ));
    // While the tree is broken or a manifest was changed cargo is called, which may be most of a short
    // day; the other tests say more exactly what is built without it.
    assert!(
        counts.without * 20 >= edits,
        "cargo does it all: {counts:?}"
    );
    drop(log);
    day.end();
}

/// Of two changed libraries one is broken, and what comes after it is not compiled. Once it is repaired,
/// the other one has to be compiled too, though it did not change again.
#[test]
fn after_an_error_nothing_is_forgotten() {
    let bare = Tree {
        bare: true,
        ..Tree::default()
    };
    let mut day = Day::new(1, bare);
    let libraries: [fn(&mut Tree) -> &mut u32; 2] = [|tree| &mut tree.two, |tree| &mut tree.solo];
    for (broken, other) in [Broken::Solo, Broken::Two].into_iter().zip(libraries) {
        day.make("two libraries, one of them broken", |day| {
            day.tree.broken = Some(broken);
            day.bump(other);
        });
        day.make("repaired", |day| day.tree.broken = None);
    }
    let counts = &day.counts;
    // One that was begun at the sight of the first file may be told too.
    assert!(counts.by_cargo == 0 && counts.without >= 4, "{counts:?}");
    day.end();
}

/// What cargo has compiled for a program that it then could not build is taken back by files that are
/// older than that.
#[test]
fn after_an_error_of_cargo_older_files_are_seen() {
    let mut day = Day::new(1, Tree::default());
    let tree = day.tree.clone();
    day.make("a dependency and a library, main broken", |day| {
        day.tree.spare = true;
        day.tree.broken = Some(Broken::Main);
        day.bump(|tree| &mut tree.one);
    });
    day.make("taken back by older files", |day| {
        day.tree = tree;
        day.moves_old = true;
    });
    day.end();
}
