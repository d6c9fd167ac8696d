//! Compiles without cargo, where only the compiler has to look at what changed.
//!
//! Under the fast profile, each call of the compiler that cargo makes for a crate of the workspace is
//! recorded. Where sources of these crates are all that changed since the last build, the same calls are
//! made again, which saves the time in which cargo finds that out. In any doubt, and after any failure
//! that is no error in the code, cargo is called.
//!
//! What is compiled here goes into directories of hotrun's, so that cargo's files stay what cargo's
//! records say of them. They are written anew and then moved into place: cargo links its files to each
//! other, and a file that is written in place would change them all. Once a library was compiled, the
//! crates that use it are given a directory that has cargo's other files beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::Poll;
use std::time::SystemTime;

use tokio::sync::mpsc;

use super::compiler::{self, Said};
use super::dep_info;
use super::linker::Chosen;
use super::messages;
use super::output::{Finished, LocalCrate};
use super::project::Project;
use super::recorder::{Call, Recorder};
use super::units::{self, Kind, Stage, Unit};
use crate::defect::{self, spawn_blocking};
use crate::helper::{Cancel, Prepared, Stopped};
use crate::keeper::protocol::Launch;
use crate::session::event::BuildNews;
use crate::session::model::{ChangeKind, Changes, Content, Exit};
use crate::sys::files;

/// Variables by which cargo shares its number of jobs with the compilers that it runs.
const OF_ONE_RUN: [&str; 3] = ["CARGO_MAKEFLAGS", "MAKEFLAGS", "MFLAGS"];

/// What the last run of cargo has left to build on.
#[derive(Debug)]
pub(super) struct Direct {
    recorder: Recorder,
    project: Project,
    units: Vec<Unit>,
    /// The linker with which cargo's program was linked.
    linker: Option<Chosen>,
    /// Sources of the program that none of the units has read.
    others: Vec<PathBuf>,
    /// Files that something else reads too, or all below them: a build script, or a crate whose call is
    /// not recorded.
    shared: BTreeSet<PathBuf>,
    /// The number of warnings in each crate, by its root file.
    warnings: BTreeMap<PathBuf, u32>,
    /// The identities of the files that make up the toolchain, and of those that build scripts declare:
    /// of some no change is reported.
    stamps: Vec<(PathBuf, Option<Stamp>)>,
    /// The executable in cargo's directory.
    pub(super) executable: PathBuf,
    /// Outputs of libraries that were to be compiled for a program that then could not be.
    unfinished: BTreeSet<PathBuf>,
    /// By cargo's directories, those that stand for them.
    mirrors: BTreeMap<PathBuf, PathBuf>,
}

/// What tells a file from another one at the same path: its time, length and inode.
type Stamp = (SystemTime, u64, u64);

/// The result of calls of the compiler.
pub(super) enum Compiled {
    /// The executable.
    Program(PathBuf),
    /// The code has so many errors, about these files.
    Errors(u32, Vec<PathBuf>),
    /// Only cargo can tell.
    Undecided,
}

impl Direct {
    /// What can be built on after this run of cargo, of a program with these sources; `None`: nothing.
    pub(super) fn after(
        recorder: &Recorder,
        project: &Project,
        sources: &[PathBuf],
        finished: &Finished,
    ) -> Option<Self> {
        let executable = finished.executables.first().filter(|_| finished.is_alone)?;
        let mut declared = Vec::new();
        for line in &finished.scripts {
            if let Some(script) = messages::script(line, project) {
                // A script that says nothing of what it reads runs again for each file of its package.
                declared.extend(script.reads?);
            }
        }
        let mut stamps = stamped(declared.iter().cloned());
        // And one that names what is not there runs each time.
        if stamps.iter().any(|(_, stamp)| stamp.is_none()) {
            return None;
        }
        let mut shared: BTreeSet<PathBuf> =
            dep_info::sources(&declared, project).into_iter().collect();
        let calls = recorder.calls().into_iter();
        let mut units: Vec<Unit> = calls.filter_map(Unit::of).collect();
        for unit in &mut units {
            unit.inputs = read(&unit.dep_info(unit.dir()), &unit.call, project)?;
        }
        shared.extend(of_unrecorded(&finished.crates, &units, project));
        stamps.extend(stamped(toolchain(&units.first()?.call)));
        let program = units.iter().find(|unit| unit.kind == Kind::Program);
        let linker = program.and_then(|unit| recorder.linkers().chosen(&unit.call));
        stamps.extend(stamped(linker.iter().map(|linker| linker.program.clone())));
        let is_read = |path: &&PathBuf| reads(&units, path);
        let others = sources.iter().filter(|path| !is_read(path));
        Some(Self {
            recorder: recorder.clone(),
            project: project.clone(),
            others: others.cloned().collect(),
            units,
            linker,
            shared,
            warnings: finished.warnings.clone(),
            stamps,
            executable: executable.clone(),
            unfinished: BTreeSet::new(),
            mirrors: BTreeMap::new(),
        })
    }

    /// The units to compile for these changes. `None`: only cargo can tell.
    pub(super) fn plan(&self, changed: &Changes) -> Option<Vec<usize>> {
        let mut touched = Vec::new();
        for change in changed.iter() {
            let path = self.project.workspace.join(&change.path);
            let is_shared = path.ancestors().any(|above| self.shared.contains(above));
            let is_there = matches!(change.now, Content::Digest(_));
            if change.kind != ChangeKind::Source || !is_there || is_shared {
                return None;
            }
            touched.push(path);
        }
        let is_same = |(path, known): &(PathBuf, Option<Stamp>)| stamp(path) == *known;
        if !self.stamps.iter().all(is_same) {
            return None;
        }
        units::plan(
            &self.units,
            &self.project.target.name,
            &self.unfinished,
            &touched,
        )
    }

    /// What is compiled, and how, in place of a command.
    pub(super) fn describe(&self, plan: &[usize]) -> String {
        let names = plan.iter().map(|at| self.units[*at].name.as_str());
        let names = names.collect::<Vec<_>>().join(", ");
        let linker = self.linker.as_ref().map(Chosen::name);
        let linker = linker.map_or_else(String::new, |name| format!(", and linked by {name}"));
        format!("rustc ({names}, as cargo called it{linker})")
    }

    /// The program's sources now.
    pub(super) fn sources(&self) -> Vec<PathBuf> {
        let read = self.units.iter().flat_map(|unit| &unit.inputs);
        let all: BTreeSet<&PathBuf> = self.others.iter().chain(read).collect();
        all.into_iter().cloned().collect()
    }

    /// The number of warnings in all crates.
    pub(super) fn warnings(&self) -> u32 {
        self.warnings.values().sum()
    }

    /// Compiles these units, at most `jobs` at once. What the compiler says is passed to `tell`, unless
    /// cargo has to say it.
    pub(super) async fn compile(
        &mut self,
        plan: &[usize],
        jobs: usize,
        spare: &mut Option<Prepared>,
        cancel: &Cancel,
        mut tell: impl FnMut(BuildNews),
    ) -> Result<Compiled, Stopped> {
        let new = self.recorder.output().join("new");
        if self.prepare(plan, &new).await.is_err() {
            return Ok(Compiled::Undecided);
        }
        let mut stages: Vec<(usize, Stage)> = plan.iter().map(|at| (*at, Stage::Waiting)).collect();
        let mut running: Vec<(usize, Compiler)> = Vec::new();
        let (described, mut metadata) = mpsc::unbounded_channel();
        let (mut errors, mut named) = (0, Vec::new());
        let mut program = None;
        let mut is_decided = true;
        loop {
            // After an error no other compilation is started, and those that run are let end, as by cargo.
            while errors == 0
                && is_decided
                && running.len() < jobs.max(1)
                && let Some(at) = units::next(&self.units, &stages)
            {
                set(&mut stages, at, Stage::Running);
                let dir = new.join(at.to_string());
                let launch = self.launch(&self.units[at], &dir);
                let root = root(&self.units[at].call).unwrap_or_default();
                let described = described.clone();
                let on_metadata = move || _ = described.send(at);
                let (spare, cancel) = (spare.take(), cancel.clone());
                let compiler = compiler::run(root, spare, launch, cancel, on_metadata);
                running.push((at, Box::pin(compiler)));
            }
            if running.is_empty() {
                break;
            }
            let (at, said) = tokio::select! {
                biased;
                Some(at) = metadata.recv() => {
                    // It may have ended meanwhile.
                    if stages.contains(&(at, Stage::Running))
                        && self.publish(at, &new.join(at.to_string()), true).is_ok()
                    {
                        set(&mut stages, at, Stage::Described);
                    }
                    continue;
                }
                ended = any(&mut running) => ended,
            };
            let said = match said {
                Ok(said) => said,
                Err(stopped) => {
                    while !running.is_empty() {
                        any(&mut running).await.1.ok();
                    }
                    return Err(stopped);
                }
            };
            let dir = new.join(at.to_string());
            match said.verdict() {
                Some(0) if self.finish(at, &dir, &said).is_ok() => {
                    set(&mut stages, at, Stage::Done);
                }
                // An error is none of the code where files of the named crates are gone, as after
                // `cargo clean`.
                Some(count @ 1..) if self.has_all(at, &dir) => {
                    errors += count;
                    named.extend(
                        said.named
                            .iter()
                            .map(|path| self.project.workspace.join(path)),
                    );
                }
                _ => is_decided = false,
            }
            if is_decided {
                said.news.into_iter().for_each(&mut tell);
                let done = stages.iter().filter(|(_, stage)| *stage == Stage::Done);
                let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
                tell(BuildNews::Progress {
                    done: number(done.count()),
                    total: number(plan.len()),
                });
            }
            if self.units[at].kind == Kind::Program {
                program = Some(self.program(at, &dir));
            }
        }
        if !is_decided {
            return Ok(Compiled::Undecided);
        }
        tell(BuildNews::Ended(Exit::Status(i32::from(errors > 0))));
        Ok(match program {
            _ if errors > 0 => Compiled::Errors(errors, named),
            Some(program) => {
                self.unfinished.clear();
                Compiled::Program(program)
            }
            None => Compiled::Undecided,
        })
    }

    /// Prepares the compilation of these units: an empty directory for the output of each, and
    /// directories that stand for those of cargo's to which a library belongs.
    async fn prepare(&mut self, plan: &[usize], new: &Path) -> io::Result<()> {
        match fs::remove_dir_all(new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        for at in plan {
            fs::create_dir_all(new.join(at.to_string()))?;
            let unit = &self.units[*at];
            if unit.kind != Kind::Library {
                continue;
            }
            self.unfinished.insert(unit.output.clone());
            if !self.mirrors.contains_key(unit.dir()) {
                let from = unit.dir().to_owned();
                let to = new.with_file_name(format!("deps{}", self.mirrors.len()));
                let (source, target) = (from.clone(), to.clone());
                let mut mirrored = spawn_blocking("mirror", move || {
                    defect::point("mirror");
                    mirror(&source, &target)
                });
                mirrored.done().await??;
                self.mirrors.insert(from, to);
            }
        }
        Ok(())
    }

    /// A unit was compiled into `dir`.
    fn finish(&mut self, at: usize, dir: &Path, said: &Said) -> io::Result<()> {
        let unit = &mut self.units[at];
        let inputs = read(&unit.dep_info(dir), &unit.call, &self.project);
        unit.inputs = inputs.ok_or(io::ErrorKind::InvalidData)?;
        self.warnings.insert(said.root.clone(), said.warnings);
        if unit.kind == Kind::Library {
            self.publish(at, dir, false)?;
        }
        Ok(())
    }

    /// Puts what was compiled into `dir` where the crates that use it look: its metadata alone, while it
    /// is still being compiled, or everything.
    fn publish(&self, at: usize, dir: &Path, metadata: bool) -> io::Result<()> {
        let own = self.units[at].dir();
        let to = self.mirrors.get(own).ok_or(io::ErrorKind::NotFound)?;
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let ending = path.extension().and_then(|ending| ending.to_str());
            let is_wanted = match ending {
                Some("rmeta") => true,
                Some("rlib") => !metadata,
                _ => false,
            };
            if let Some(name) = path.file_name().filter(|_| is_wanted) {
                // The compiler may still read its own file.
                let link = to.join("new");
                fs::hard_link(&path, &link)?;
                fs::rename(&link, to.join(name))?;
                // Two names of one file are left as they are (rename(2)).
                fs::remove_file(&link).ok();
            }
        }
        Ok(())
    }

    /// The files of all crates are there that the compilation of this unit names.
    fn has_all(&self, at: usize, dir: &Path) -> bool {
        let launch = self.launch(&self.units[at], dir);
        units::externs(&launch.args).all(Path::exists)
    }

    /// The program that was compiled into `dir`.
    fn program(&self, at: usize, dir: &Path) -> PathBuf {
        let name = self.units[at].output.file_name().unwrap_or_default();
        dir.join(name)
            .with_extension(std::env::consts::EXE_EXTENSION)
    }

    fn launch(&self, unit: &Unit, new: &Path) -> Launch {
        let call = &unit.call;
        let of_one_run = |name: &OsString| OF_ONE_RUN.iter().any(|known| name == known);
        let env = call.env.iter().filter(|(name, _)| !of_one_run(name));
        let mut args = unit.arguments(new, |dir| self.mirrors.get(dir).cloned());
        if unit.kind == Kind::Program {
            args.extend(
                self.linker
                    .iter()
                    .flat_map(|linker| linker.arguments.clone()),
            );
        }
        Launch {
            program: call.program.clone(),
            argv0: call.program.clone(),
            args,
            env: env.cloned().collect(),
            dir: call.dir.clone(),
            ..Launch::default()
        }
    }
}

/// A call of the compiler that runs.
type Compiler = Pin<Box<dyn Future<Output = Result<Said, Stopped>> + Send>>;

/// The first of these to end.
async fn any(running: &mut Vec<(usize, Compiler)>) -> (usize, Result<Said, Stopped>) {
    std::future::poll_fn(|context| {
        for place in 0..running.len() {
            let (at, compiler) = &mut running[place];
            if let Poll::Ready(ended) = compiler.as_mut().poll(context) {
                let at = *at;
                drop(running.swap_remove(place));
                return Poll::Ready((at, ended));
            }
        }
        Poll::Pending
    })
    .await
}

fn set(stages: &mut [(usize, Stage)], unit: usize, stage: Stage) {
    for (at, of) in stages {
        if *at == unit {
            *of = stage;
        }
    }
}

/// The files that a crate was compiled from, by what the compiler has written.
fn read(dep_info: &Path, call: &Call, project: &Project) -> Option<Vec<PathBuf>> {
    let text = fs::read_to_string(dep_info).ok()?;
    let inputs = dep_info::inputs(&text)?;
    let inputs: Vec<PathBuf> = inputs
        .iter()
        .map(|path| Path::new(&call.dir).join(path))
        .collect();
    Some(dep_info::sources(&inputs, project))
}

/// One of the units has read this file.
fn reads(units: &[Unit], path: &PathBuf) -> bool {
    units
        .iter()
        .any(|unit| unit.inputs.binary_search(path).is_ok())
}

/// The files that local crates have read whose calls are not recorded. Those of calls long ago may be
/// among them, which costs time and not more.
fn of_unrecorded(crates: &[LocalCrate], units: &[Unit], project: &Project) -> BTreeSet<PathBuf> {
    let count = |name: &str| {
        let recorded = units.iter().filter(|unit| unit.name == name).count();
        let all = crates.iter().filter(|one| one.name == name).count();
        (recorded, all)
    };
    let mut files = BTreeSet::new();
    for one in crates {
        let (recorded, all) = count(&one.name);
        if recorded >= all {
            continue;
        }
        // Cargo names the files of some crates outside of the directory in which they are compiled.
        let dirs = one
            .dirs
            .iter()
            .flat_map(|dir| [dir.clone(), dir.join("deps")]);
        let entries = dirs
            .filter_map(|dir| fs::read_dir(dir).ok())
            .flatten()
            .flatten();
        let start = format!("{}-", one.name);
        let of_crate = entries.map(|entry| entry.path()).filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            path.extension().is_some_and(|ending| ending == "d")
                && name.is_some_and(|name| name.starts_with(&start))
        });
        let known = |path: &PathBuf| units.iter().any(|unit| unit.dep_info(unit.dir()) == *path);
        for path in of_crate.filter(|path| !known(path)) {
            let call = Call {
                dir: project.workspace.clone().into_os_string(),
                ..Call::default()
            };
            files.extend(read(&path, &call, project).unwrap_or_default());
        }
    }
    files
}

/// The root file of the crate.
fn root(call: &Call) -> Option<PathBuf> {
    let paths = call.args.iter().map(Path::new);
    let mut roots = paths.filter(|path| path.extension().is_some_and(|ending| ending == "rs"));
    Some(Path::new(&call.dir).join(roots.next()?))
}

/// The files by which a change of the toolchain is seen: the compiler, as it was called, and as rustup
/// chooses it.
fn toolchain(call: &Call) -> Vec<PathBuf> {
    let program = Path::new(&call.program);
    let mut files = Vec::new();
    if program.components().count() > 1 {
        files.push(Path::new(&call.dir).join(program));
    } else {
        let dirs = call.variable("PATH").map(std::env::split_paths);
        files.extend(dirs.into_iter().flatten().map(|dir| dir.join(program)));
    }
    if let (Some(home), Some(name)) = (
        call.variable("RUSTUP_HOME"),
        call.variable("RUSTUP_TOOLCHAIN"),
    ) {
        let home = Path::new(home);
        files.push(home.join("settings.toml"));
        let compiler = home.join("toolchains").join(name).join("bin/rustc");
        files.push(compiler.with_extension(std::env::consts::EXE_EXTENSION));
    }
    files
}

fn stamped(paths: impl IntoIterator<Item = PathBuf>) -> Vec<(PathBuf, Option<Stamp>)> {
    let paths = paths.into_iter();
    paths.map(|path| (path.clone(), stamp(&path))).collect()
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = path.metadata().ok()?;
    Some((
        metadata.modified().ok()?,
        metadata.len(),
        files::number(&metadata),
    ))
}

/// Fills a new directory with links to the files of cargo's that a crate may be compiled with.
fn mirror(from: &Path, to: &Path) -> io::Result<()> {
    fs::remove_dir_all(to).ok();
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        let is_wanted = ending.is_some_and(|ending| {
            ["rlib", "rmeta", std::env::consts::DLL_EXTENSION].contains(&ending)
        });
        if let Some(name) = path.file_name().filter(|_| is_wanted) {
            fs::hard_link(&path, to.join(name))?;
        }
    }
    Ok(())
}
