//! Which crates have to be compiled for a change, where nothing but the compiler has to look at it. Pure.
//!
//! Cargo compiles a crate if one of the files that its last compilation has read is newer, and then each
//! crate that uses it. This does the same by content, and only where the whole answer follows from the
//! recorded calls; in any doubt there is none, and cargo is asked.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::recorder::Call;

/// What a crate is compiled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Library,
    Program,
    /// Something that only cargo handles: a procedural macro, a build script, a shared object, or a crate
    /// with more output than one file.
    Other,
}

/// A crate of the workspace, compiled in one way.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) call: Call,
    pub(super) name: String,
    pub(super) kind: Kind,
    /// What it is compiled to, without extension.
    pub(super) output: PathBuf,
    /// The outputs of the crates that it names, likewise, and whether their metadata is enough for it.
    uses: Vec<(PathBuf, bool)>,
    /// The files that it was compiled from.
    pub(super) inputs: Vec<PathBuf>,
}

impl Unit {
    /// The crate that this call compiles.
    pub(super) fn of(call: Call) -> Option<Self> {
        let name = call.option("--crate-name")?.to_str()?.to_owned();
        let kind = kind(&call);
        let prefix = if kind == Kind::Library { "lib" } else { "" };
        let file = format!("{prefix}{name}{}", call.codegen("extra-filename")?);
        let output = Path::new(&call.dir)
            .join(call.option("--out-dir")?)
            .join(file);
        let of_metadata = |path: &Path| path.extension().is_some_and(|ending| ending == "rmeta");
        let uses = externs(&call.args)
            .map(|path| (path.with_extension(""), of_metadata(path)))
            .collect();
        Some(Self {
            name,
            kind,
            output,
            uses,
            inputs: Vec::new(),
            call,
        })
    }

    /// It names this crate.
    fn uses(&self, other: &Self) -> bool {
        self.uses.iter().any(|(output, _)| *output == other.output)
    }

    /// The directory of its output.
    pub(super) fn dir(&self) -> &Path {
        self.output.parent().unwrap_or(&self.output)
    }

    /// The file in which the compiler names what it has read.
    pub(super) fn dep_info(&self, dir: &Path) -> PathBuf {
        let extra = self.call.codegen("extra-filename").unwrap_or_default();
        dir.join(format!("{}{extra}.d", self.name))
    }

    /// The arguments with its output in `dir`. `moved` gives the path that stands for one of cargo's
    /// directories.
    pub(super) fn arguments(
        &self,
        dir: &Path,
        moved: impl Fn(&Path) -> Option<PathBuf>,
    ) -> Vec<OsString> {
        let mut previous = OsStr::new("");
        let mut args = Vec::new();
        for arg in &self.call.args {
            let new = match previous.to_str() {
                Some("--out-dir") => Some(dir.as_os_str().to_owned()),
                Some("--extern") => extern_path(arg).and_then(|path| {
                    let inner = moved(path.parent()?)?.join(path.file_name()?);
                    Some(replaced(arg, path, &inner))
                }),
                Some("-L") => {
                    search_path(arg).and_then(|path| Some(replaced(arg, path, &moved(path)?)))
                }
                _ => None,
            };
            args.push(new.unwrap_or_else(|| arg.clone()));
            previous = arg;
        }
        args
    }
}

/// The files of the crates that these arguments name.
pub(super) fn externs(args: &[OsString]) -> impl Iterator<Item = &Path> {
    let pairs = args.iter().zip(args.iter().skip(1));
    let values = pairs.filter(|(key, _)| *key == "--extern");
    values.filter_map(|(_, value)| extern_path(value))
}

/// The path of `name=path`, which may have options before it (`priv:name=path`).
fn extern_path(value: &OsStr) -> Option<&Path> {
    // A path that is not UTF-8 is none that hotrun handles.
    let (_, path) = value.to_str()?.split_once('=')?;
    Some(Path::new(path))
}

/// The path of `dependency=path`.
fn search_path(value: &OsStr) -> Option<&Path> {
    value.to_str()?.strip_prefix("dependency=").map(Path::new)
}

/// The value with the path at its end replaced.
fn replaced(value: &OsStr, old: &Path, new: &Path) -> OsString {
    let value = value.to_string_lossy();
    let old = old.to_string_lossy();
    let mut whole = OsString::from(value.strip_suffix(&*old).unwrap_or(&value));
    whole.push(new);
    whole
}

/// What this call compiles.
pub(super) fn kind(call: &Call) -> Kind {
    let args = || call.args.iter().filter_map(|arg| arg.to_str());
    let mut emits = args().filter_map(|arg| arg.strip_prefix("--emit="));
    let emits_known = |emits: &str| {
        emits
            .split(',')
            .all(|emit| matches!(emit, "dep-info" | "metadata" | "link"))
    };
    let is_plain = emits.next().is_some_and(emits_known) && emits.next().is_none();
    // With these flags the compiler writes more than one file, or elsewhere.
    let writes_more = args().any(|arg| {
        let splits = arg.contains("split-debuginfo=") && !arg.ends_with("split-debuginfo=off");
        splits || arg.contains("save-temps") || arg == "--test" || arg == "-o"
    });
    let types: Vec<&str> = call
        .options("--crate-type")
        .filter_map(OsStr::to_str)
        .collect();
    let is_library = |kind: &&str| matches!(*kind, "lib" | "rlib");
    match &types[..] {
        _ if !is_plain || writes_more => Kind::Other,
        // A build script is a program for cargo alone.
        ["bin"]
            if call
                .option("--crate-name")
                .is_some_and(|name| !is_script(name)) =>
        {
            Kind::Program
        }
        [_, ..] if types.iter().all(is_library) => Kind::Library,
        _ => Kind::Other,
    }
}

fn is_script(name: &OsStr) -> bool {
    name.to_str()
        .is_some_and(|name| name.starts_with("build_script_"))
}

/// The units to compile for a change of these files. `unfinished`: outputs of units that were to be
/// compiled for a program that then could not be. `None`: only cargo can tell.
pub(super) fn plan(
    units: &[Unit],
    program: &str,
    unfinished: &BTreeSet<PathBuf>,
    touched: &[PathBuf],
) -> Option<Vec<usize>> {
    let program = program.replace('-', "_");
    let reads = |unit: &Unit, path: &PathBuf| unit.inputs.binary_search(path).is_ok();
    if touched.is_empty()
        || !touched
            .iter()
            .all(|path| units.iter().any(|unit| reads(unit, path)))
    {
        return None;
    }
    let is_changed = |unit: &Unit| {
        unfinished.contains(&unit.output) || touched.iter().any(|path| reads(unit, path))
    };
    let mut affected: Vec<bool> = units.iter().map(is_changed).collect();
    while let Some(next) = (0..units.len()).find(|at| {
        let uses = |other: usize| units[*at].uses(&units[other]);
        !affected[*at] && (0..units.len()).any(|other| affected[other] && uses(other))
    }) {
        affected[next] = true;
    }
    let plan: Vec<usize> = (0..units.len()).filter(|at| affected[*at]).collect();
    let programs = plan.iter().filter(|at| units[**at].kind == Kind::Program);
    let programs: Vec<&str> = programs.map(|at| units[*at].name.as_str()).collect();
    let is_known = plan.iter().all(|at| units[*at].kind != Kind::Other);
    (programs == [&program] && is_known).then_some(plan)
}

/// How far the compilation of a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Waiting,
    Running,
    /// It runs, and its metadata is written.
    Described,
    Done,
}

/// The next unit to start: like cargo, a library once the metadata of what it names is there, and the
/// program at last.
pub(super) fn next(units: &[Unit], stages: &[(usize, Stage)]) -> Option<usize> {
    let can_start = |at: usize| match units[at].kind {
        Kind::Library => units[at].uses.iter().all(|(output, metadata)| {
            let of_plan = stages
                .iter()
                .find(|(other, _)| units[*other].output == *output);
            of_plan.is_none_or(|(_, stage)| match stage {
                Stage::Done => true,
                Stage::Described => *metadata,
                Stage::Waiting | Stage::Running => false,
            })
        }),
        _ => stages
            .iter()
            .all(|(other, stage)| *other == at || *stage == Stage::Done),
    };
    let mut waiting = stages.iter().filter(|(_, stage)| *stage == Stage::Waiting);
    waiting.find(|(at, _)| can_start(*at)).map(|(at, _)| *at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: &str, kind: &str, uses: &[&str], inputs: &[&str], more: &[&str]) -> Unit {
        let mut args = vec![
            "--crate-name",
            name,
            "--crate-type",
            kind,
            "--emit=dep-info,link",
        ];
        args.extend([
            "-C",
            "extra-filename=-1",
            "--out-dir",
            "/t/deps",
            "-L",
            "dependency=/t/deps",
        ]);
        let externs: Vec<String> = uses
            .iter()
            .map(|name| format!("priv:{name}=/t/deps/lib{name}-1.rmeta"))
            .collect();
        for value in &externs {
            args.extend(["--extern", value]);
        }
        args.extend(more);
        let mut unit = Unit::of(Call {
            args: args.iter().map(Into::into).collect(),
            dir: "/w".into(),
            ..Call::default()
        })
        .unwrap();
        unit.inputs = inputs.iter().map(PathBuf::from).collect();
        unit
    }

    fn planned(units: &[Unit], unfinished: &[&str], touched: &[&str]) -> Option<String> {
        let unfinished = unfinished
            .iter()
            .map(|name| format!("/t/deps/lib{name}-1").into());
        let touched: Vec<PathBuf> = touched.iter().map(PathBuf::from).collect();
        let plan = plan(units, "my-app", &unfinished.collect(), &touched)?;
        let names: Vec<&str> = plan.iter().map(|at| units[*at].name.as_str()).collect();
        Some(names.join(" "))
    }

    #[test]
    fn what_uses_a_changed_crate_is_compiled_too() {
        let units = [
            unit("my_app", "bin", &["api"], &["main.rs", "page.html"], &[]),
            unit("api", "lib", &["core"], &["api.rs"], &[]),
            unit("core", "lib", &[], &["core.rs"], &[]),
            unit("other", "lib", &[], &["other.rs"], &[]),
        ];
        let planned = |unfinished: &[&str], touched: &[&str]| planned(&units, unfinished, touched);
        let some = |order: &str| Some(order.to_owned());
        assert_eq!(planned(&[], &["main.rs"]), some("my_app"));
        assert_eq!(planned(&[], &["page.html", "main.rs"]), some("my_app"));
        assert_eq!(planned(&[], &["core.rs"]), some("my_app api core"));
        assert_eq!(planned(&["api"], &["main.rs"]), some("my_app api"));
        // Nothing changed, no crate has read it, or the program does not use it.
        assert_eq!(planned(&[], &[]), None);
        assert_eq!(planned(&[], &["main.rs", "new.rs"]), None);
        assert_eq!(planned(&[], &["other.rs"]), None);
    }

    #[test]
    fn in_doubt_cargo_is_asked() {
        let program = || unit("my_app", "bin", &["one"], &["main.rs"], &[]);
        let with = |other: Unit| planned(&[program(), other], &[], &["one.rs"]);
        let one = |kind: &str, more: &[&str]| unit("one", kind, &[], &["one.rs"], more);
        assert!(with(one("rlib", &[])).is_some());
        for kind in ["proc-macro", "dylib", "cdylib", "bin"] {
            assert_eq!(with(one(kind, &[])), None, "{kind}");
        }
        for more in [
            "--emit=asm",
            "--test",
            "-Csave-temps",
            "-Csplit-debuginfo=packed",
        ] {
            assert_eq!(with(one("lib", &[more])), None, "{more}");
        }
        assert!(with(one("lib", &["-Csplit-debuginfo=off"])).is_some());
        // Another program is made of the same file.
        let worker = unit("worker", "bin", &[], &["main.rs"], &[]);
        assert_eq!(planned(&[program(), worker], &[], &["main.rs"]), None);
        let script = unit("build_script_main", "bin", &[], &["main.rs"], &[]);
        assert_eq!(planned(&[program(), script], &[], &["main.rs"]), None);
    }

    #[test]
    fn a_library_needs_metadata_and_the_program_everything() {
        use Stage::{Described, Done, Running, Waiting};
        let units = [
            unit("my_app", "bin", &["api"], &["main.rs"], &[]),
            unit("api", "lib", &["core", "far"], &["api.rs"], &[]),
            unit("core", "lib", &[], &["core.rs"], &[]),
        ];
        let next = |stages: [Stage; 3]| {
            let stages: Vec<(usize, Stage)> = stages.into_iter().enumerate().collect();
            super::next(&units, &stages)
        };
        assert_eq!(next([Waiting, Waiting, Waiting]), Some(2));
        assert_eq!(next([Waiting, Waiting, Running]), None);
        assert_eq!(next([Waiting, Waiting, Described]), Some(1));
        assert_eq!(next([Waiting, Done, Described]), None);
        assert_eq!(next([Waiting, Done, Done]), Some(0));
        assert_eq!(next([Running, Done, Done]), None);
    }

    #[test]
    fn the_call_is_changed_in_paths_alone() {
        let unit = unit(
            "my_app",
            "bin",
            &["api"],
            &[],
            &["-L", "native=/t/deps", "--extern", "std"],
        );
        let moved = |dir: &Path| (dir == Path::new("/t/deps")).then(|| PathBuf::from("/own"));
        let new = unit.arguments(Path::new("/new"), moved);
        let api = Path::new("/own").join("libapi-1.rmeta");
        let differ: Vec<&OsStr> = new
            .iter()
            .zip(&unit.call.args)
            .filter(|(new, old)| new != old)
            .map(|(new, _)| new.as_os_str())
            .collect();
        assert_eq!(
            differ,
            [
                "/new",
                "dependency=/own",
                &*format!("priv:api={}", api.display())
            ]
        );
        let externs: Vec<&Path> = externs(&new).collect();
        assert_eq!(externs, [Path::new("/own/libapi-1.rmeta")]);
        assert_eq!(
            unit.arguments(Path::new("/t/deps"), |_| None),
            unit.call.args
        );
        assert_eq!(unit.output, Path::new("/t/deps/my_app-1"));
        assert_eq!(
            unit.dep_info(Path::new("/new")),
            Path::new("/new/my_app-1.d")
        );
    }
}
