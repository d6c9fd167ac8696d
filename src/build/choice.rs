//! The targets among which the user has to choose: in what order and in which words they are offered.
//! Pure.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::project::TargetKind;
use crate::config::Build;
use crate::exit::Failure;

/// So many are named in an error.
const NAMED: usize = 8;

/// A target that can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its package.
    pub package: String,
    /// The directory of that.
    pub dir: PathBuf,
    /// Binary or example.
    pub kind: TargetKind,
    /// Its name.
    pub name: String,
}

impl Candidate {
    /// The settings that choose this one.
    #[must_use]
    pub fn of(&self, build: &Build) -> Build {
        let mut build = build.clone();
        build.package = Some(self.package.clone());
        let target = match self.kind {
            TargetKind::Bin => &mut build.bin,
            TargetKind::Example => &mut build.example,
        };
        *target = Some(self.name.clone());
        build
    }
}

/// There is a target to choose, and none was chosen.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The targets, those that are nearest to the user first, and those of a package together.
    candidates: Vec<Candidate>,
    /// Why there is one to choose.
    text: String,
    place: Place,
}

/// Where a choice is to be made.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The directory in which the user stands.
    pub dir: PathBuf,
    /// The manifest in use.
    pub manifest: PathBuf,
    /// The user has named it, and has to do so again.
    pub named_manifest: bool,
    /// A package has to be named with the target.
    pub names_package: bool,
    /// The file that remembers choices.
    pub memory: PathBuf,
}

impl Choice {
    /// Among these. `text` says why, with `{}` for them.
    pub fn new(mut candidates: Vec<Candidate>, text: &str, place: Place) -> Self {
        candidates.sort_by_cached_key(|one| (distance(&place.dir, &one.dir), one.package.clone()));
        let mut choice = Self {
            candidates,
            text: String::new(),
            place,
        };
        choice.text = text.replace("{}", &choice.count());
        choice
    }

    /// The file that remembers choices.
    pub fn memory(&self) -> &Path {
        &self.place.memory
    }

    /// `3 binaries in 2 packages`.
    fn count(&self) -> String {
        let count = self.candidates.len();
        let is_example = |one: &Candidate| one.kind == TargetKind::Example;
        let kind = match (self.candidates.iter().all(is_example), count) {
            (true, 1) => "example",
            (true, _) => "examples",
            (false, 1) => "binary",
            (false, _) => "binaries",
        };
        match self.packages() {
            1 => format!("{count} {kind}"),
            packages => format!("{count} {kind} in {packages} packages"),
        }
    }

    fn packages(&self) -> usize {
        let mut names: Vec<&str> = self.candidates.iter().map(|one| &*one.package).collect();
        names.dedup();
        names.len()
    }

    /// Why hotrun can't go on without a choice: with what to type for the nearest ones.
    pub fn failure(&self) -> Failure {
        let is_binary = |one: &Candidate| one.kind == TargetKind::Bin;
        let mut hint = String::from("start one of them");
        if self.packages() == 1 && self.candidates.iter().all(is_binary) {
            hint += ", or set `default-run` in Cargo.toml";
        }
        hint += ":";
        for candidate in self.candidates.iter().take(NAMED) {
            hint += "\n  ";
            hint += &self.command(candidate);
        }
        if let Some(more @ 1..) = self.candidates.len().checked_sub(NAMED) {
            let _ = write!(hint, "\n  and {more} more");
        }
        Failure::usage(self.text.clone()).hint(hint)
    }

    /// What to type for this one.
    fn command(&self, candidate: &Candidate) -> String {
        let mut words = String::from("hotrun");
        if self.place.named_manifest {
            let manifest = &self.place.manifest;
            let shown = manifest.strip_prefix(&self.place.dir).unwrap_or(manifest);
            let _ = write!(words, " --manifest-path {}", shown.display());
        }
        let names_package = self.place.names_package || self.packages() > 1;
        if names_package {
            let _ = write!(words, " -p {}", candidate.package);
        }
        let same = self.candidates.iter();
        let same = same.filter(|other| other.package == candidate.package);
        if candidate.kind == TargetKind::Example || same.count() > 1 || !names_package {
            let _ = write!(words, " {} {}", candidate.kind.flag(), candidate.name);
        }
        words
    }

    /// The lines of a list with numbers, from 1 on.
    pub fn list(&self) -> Vec<String> {
        let names = self.candidates.iter();
        let longest = names.clone().map(|one| one.name.len()).max();
        let longest = longest.unwrap_or_default();
        let lines = names.enumerate().map(|(index, one)| {
            let Candidate { name, package, .. } = one;
            let number = index + 1;
            let kind = match one.kind {
                TargetKind::Bin => "",
                TargetKind::Example => ", example",
            };
            format!("{number:>4}  {name:longest$}  ({package}{kind})")
        });
        [format!("{}:", self.text)]
            .into_iter()
            .chain(lines)
            .collect()
    }

    /// The one that was typed: its number in the list, or its name, if no other has that.
    pub fn pick(&self, typed: &str) -> Option<&Candidate> {
        let typed = typed.trim();
        if let Ok(number) = typed.parse::<usize>() {
            return self.candidates.get(number.checked_sub(1)?);
        }
        let mut named = self.candidates.iter().filter(|one| one.name == typed);
        named.next().filter(|_| named.next().is_none())
    }

    /// The one that the user has chosen here before, by the text of the memory: if it is still there.
    pub fn recall(&self, memory: &str) -> Option<&Candidate> {
        let manifest = self.place.manifest.to_str()?;
        let mut lines = memory.lines().filter_map(|line| line.split_once('\t'));
        let (known, _) = lines.find(|(_, of)| *of == manifest)?;
        self.candidates.iter().find(|one| words(one) == known)
    }

    /// The text of the memory from now on.
    pub fn remember(&self, memory: &str, chosen: &Candidate) -> String {
        let manifest = self.place.manifest.to_string_lossy();
        let is_other = |line: &&str| !line.ends_with(&format!("\t{manifest}"));
        let new = format!("{}\t{manifest}", words(chosen));
        let lines = memory.lines().filter(is_other).chain([&*new, ""]);
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn words(candidate: &Candidate) -> String {
    let Candidate { package, name, .. } = candidate;
    format!("{package} {} {name}", candidate.kind.flag())
}

/// How many directories one goes up and down from one to the other.
fn distance(from: &Path, to: &Path) -> usize {
    let parts = |path: &Path| path.components().count();
    let shared = from.components().zip(to.components());
    let shared = shared.take_while(|(a, b)| a == b).count();
    parts(from) + parts(to) - 2 * shared
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(package: &str, name: &str) -> Candidate {
        Candidate {
            package: package.into(),
            dir: Path::new("/w/crates").join(package),
            kind: TargetKind::Bin,
            name: name.into(),
        }
    }

    const SEVERAL: &str = "there are {}, and none was chosen";

    fn choice(candidates: Vec<Candidate>, dir: &str) -> Choice {
        let place = Place {
            dir: dir.into(),
            manifest: "/w/Cargo.toml".into(),
            ..Place::default()
        };
        Choice::new(candidates, SEVERAL, place)
    }

    fn workspace() -> Vec<Candidate> {
        vec![
            candidate("client", "client"),
            candidate("server", "api"),
            candidate("server", "worker"),
        ]
    }

    #[test]
    fn the_nearest_come_first_and_can_be_copied() {
        let near = choice(workspace(), "/w/crates/server/src");
        let text = "there are 3 binaries in 2 packages, and none was chosen\nhint: start one of them:\n  \
                    hotrun -p server --bin api\n  hotrun -p server --bin worker\n  hotrun -p client";
        assert_eq!(near.failure().to_string(), text);
        let list = [
            "there are 3 binaries in 2 packages, and none was chosen:",
            "   1  api     (server)",
            "   2  worker  (server)",
            "   3  client  (client)",
        ];
        assert_eq!(near.list(), list);
        let own = choice(workspace()[1..].to_vec(), "/w/crates/server");
        let text = own.failure().to_string();
        assert!(text.ends_with(":\n  hotrun --bin api\n  hotrun --bin worker"));
        let named = Place {
            manifest: "/w/Cargo.toml".into(),
            dir: "/".into(),
            named_manifest: true,
            names_package: true,
            ..Place::default()
        };
        let example = Candidate {
            kind: TargetKind::Example,
            ..candidate("lib", "demo")
        };
        let named = Choice::new(vec![example], "there is only {}", named);
        let text = "there is only 1 example\nhint: start one of them:\n  hotrun --manifest-path \
                    w/Cargo.toml -p lib --example demo";
        assert_eq!(named.failure().to_string(), text);
    }

    #[test]
    fn of_many_only_some_are_named() {
        let many = (0..300).map(|number| candidate("tools", &format!("tool{number}")));
        let text = choice(many.collect(), "/w").failure().to_string();
        assert!(text.starts_with("there are 300 binaries, and"), "{text}");
        assert!(text.ends_with("--bin tool7\n  and 292 more"), "{text}");
        assert_eq!(text.lines().count(), 2 + NAMED + 1);
    }

    #[test]
    fn one_is_picked_by_number_or_name_and_remembered() {
        let choice = choice(workspace(), "/w");
        let name = |typed| choice.pick(typed).map(|one| &*one.name);
        assert_eq!(name("2\n"), Some("api"));
        assert_eq!(name(" worker \n"), Some("worker"));
        for wrong in ["0", "4", "", "work", "-1"] {
            assert_eq!(name(wrong), None, "{wrong}");
        }
        let others = "x --bin x\t/v/Cargo.toml\n";
        let memory = choice.remember(others, choice.pick("1").unwrap());
        let memory = choice.remember(&memory, choice.pick("3").unwrap());
        assert_eq!(
            memory,
            format!("{others}server --bin worker\t/w/Cargo.toml\n")
        );
        assert_eq!(choice.recall(&memory), choice.pick("worker"));
        assert_eq!(choice.recall(others), None);
        assert_eq!(choice.recall("gone --bin gone\t/w/Cargo.toml\n"), None);
    }
}
