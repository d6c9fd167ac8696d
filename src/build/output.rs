//! Collects what one run of cargo produced, from its messages.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{Artifact, CrateType};

use super::artifact::ArtifactStore;
use super::messages::{Obstacle, Remark, Told};
use super::pin::{Pins, is_shared_object};
use super::project::{Local, Project, TargetKind};
use crate::helper::Rest;
use crate::session::event::BuildNews;
use crate::session::model::{Generation, Line};
use crate::session::reason::Reason;

/// What one run of cargo produced.
#[derive(Debug, Default)]
pub(super) struct CargoOutput {
    /// The pinned files, or why they can't be pinned; `None` before cargo names the executable.
    pub(super) pins: Option<Result<Pins, Reason>>,
    /// The executables that cargo has built, the program's own first.
    pub(super) executables: Vec<PathBuf>,
    /// The messages of build scripts.
    pub(super) scripts: Vec<String>,
    /// The files that the compiler's errors name.
    pub(super) named: Vec<PathBuf>,
    /// The number of the compiler's errors.
    pub(super) errors: u32,
    /// The number of its warnings, by the root files of the crates.
    pub(super) warnings: BTreeMap<PathBuf, u32>,
    /// The crates of local packages.
    pub(super) crates: Vec<LocalCrate>,
    /// What kept cargo from its work.
    pub(super) obstacle: Option<Obstacle>,
    /// Files of the program that cargo named before its executable.
    before: Vec<PathBuf>,
}

/// A crate of a local package, compiled in one way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LocalCrate {
    /// Its name, as the compiler has it.
    pub(super) name: String,
    /// The directories in which its files are.
    pub(super) dirs: Vec<PathBuf>,
}

/// A successful run of cargo.
pub(super) struct Finished {
    pub(super) generation: Generation,
    /// The program's own first; cargo writes the dep-info of each beside it.
    pub(super) executables: Vec<PathBuf>,
    /// The messages of build scripts.
    pub(super) scripts: Vec<String>,
    pub(super) crates: Vec<LocalCrate>,
    /// The number of warnings, by the root files of the crates.
    pub(super) warnings: BTreeMap<PathBuf, u32>,
    /// The executable is all that there is of the program.
    pub(super) is_alone: bool,
    /// The cargo, if it has not exited yet.
    pub(super) rest: Option<Rest>,
}

/// What is to be built.
pub(super) struct Wanted<'a> {
    pub(super) project: &'a Project,
    /// Siblings that are built with the program.
    pub(super) siblings: &'a BTreeSet<String>,
    pub(super) store: &'a ArtifactStore,
    pub(super) generation: Generation,
}

impl CargoOutput {
    /// Takes in one message, which this line is; returns what to report of it.
    pub(super) fn told(&mut self, line: &Line, told: Told, wanted: &Wanted) -> Option<BuildNews> {
        match told {
            Told::Diagnostic(remark) => {
                let workspace = &wanted.project.workspace;
                let named = remark.named.iter();
                self.named.extend(named.map(|path| workspace.join(path)));
                let Remark {
                    error,
                    counts,
                    detail,
                    ..
                } = remark;
                self.errors += u32::from(error && counts);
                *self.warnings.entry(remark.root).or_default() += u32::from(!error && counts);
                return Some(BuildNews::Diagnostic {
                    error,
                    counts,
                    detail,
                    rendered: line.with(remark.rendered),
                });
            }
            Told::Artifact(artifact) => self.artifact(&artifact, wanted),
            Told::Script(line) => self.scripts.push(line),
            Told::Text(text) if !text.is_empty() => return Some(BuildNews::Line(line.with(text))),
            Told::Text(_) | Told::Metadata | Told::Finished(_) | Told::Nothing => {}
        }
        None
    }

    /// Pins an artifact of cargo's if it is part of the program. At once: cargo holds its lock until it
    /// ends, so no other cargo can have replaced the files yet.
    fn artifact(&mut self, artifact: &Artifact, wanted: &Wanted) {
        let Wanted {
            project, siblings, ..
        } = wanted;
        let executable = artifact.executable.as_ref();
        let executable = executable.map(|path| path.as_std_path());
        let (name, kind) = (&artifact.target.name, &project.target.kind);
        let is_own = artifact.package_id == project.id;
        let is_local = |local: &Local| local.id == artifact.package_id;
        let is_local = project.locals.iter().any(is_local);
        if is_local {
            let dirs = artifact.filenames.iter().filter_map(|file| file.parent());
            self.crates.push(LocalCrate {
                name: name.replace('-', "_"),
                dirs: dirs.map(|dir| dir.as_std_path().to_owned()).collect(),
            });
        }
        match executable {
            Some(path)
                if is_own && *name == project.target.name && kind.is_of(&artifact.target) =>
            {
                self.executables.insert(0, path.to_owned());
                self.pins = Some(self.begin(path, wanted));
            }
            Some(path)
                if is_own && TargetKind::Bin.is_of(&artifact.target) && siblings.contains(name) =>
            {
                self.executables.push(path.to_owned());
                self.add(path);
            }
            None if is_local => {
                for path in shared_objects(artifact) {
                    self.add(path);
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, path: &Path, wanted: &Wanted) -> Result<Pins, Reason> {
        let failed = |error| cannot_pin(path, &error);
        let dir = path.parent().unwrap_or(path);
        let profile_dir = match wanted.project.target.kind {
            TargetKind::Bin => dir,
            TargetKind::Example => dir.parent().unwrap_or(dir),
        };
        let place = wanted.store.place(profile_dir, wanted.generation);
        let mut pins = Pins::new(place, profile_dir, path).map_err(failed)?;
        pins.add(path).map_err(failed)?;
        for path in self.before.drain(..) {
            pins.add(&path).map_err(|error| cannot_pin(&path, &error))?;
        }
        Ok(pins)
    }

    fn add(&mut self, path: &Path) {
        match &mut self.pins {
            None => self.before.push(path.to_owned()),
            Some(Ok(pins)) => {
                if let Err(error) = pins.add(path) {
                    self.pins = Some(Err(cannot_pin(path, &error)));
                }
            }
            Some(Err(_)) => {}
        }
    }
}

/// The shared objects that programs load; procedural macros are only loaded by the compiler.
fn shared_objects(artifact: &Artifact) -> impl Iterator<Item = &Path> {
    let crate_types = &artifact.target.crate_types;
    let is_loaded = [CrateType::DyLib, CrateType::CDyLib]
        .iter()
        .any(|kind| crate_types.contains(kind));
    let files = artifact.filenames.iter().map(|path| path.as_std_path());
    files.filter(move |path| is_loaded && is_shared_object(path))
}

/// Why there is no artifact.
pub(super) fn cannot_pin(path: &Path, error: &std::io::Error) -> Reason {
    Reason::new(
        format!("cannot pin `{}`: {error}", path.display()),
        "make the target directory writable, free some space, or choose another one with --target-dir",
    )
}
