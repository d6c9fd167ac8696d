//! What builds have reported of the program's sources, and the scope that is to be watched because of
//! it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::dep_info;
use super::invalidate;
use super::messages;
use super::project::{Project, TargetKind};
use super::scope::{self, Known};
use crate::config::{Build, Settings};
use crate::session::model::{Changes, Scope, Seen};

/// The dep-info that the last build of this program has left.
#[derive(Debug, PartialEq, Eq)]
pub enum LastBuild {
    /// There is no build in this profile.
    None,
    /// Its dep-info names so many files.
    Names(usize),
    /// This dep-info is missing, cut off, or of an unknown form.
    Unusable(PathBuf),
}

/// Looks for the last build, without building anything.
pub fn last_build(project: &Project, build: &Build) -> LastBuild {
    let target = &project.target;
    let profile = scope::default_profile(project, build);
    let inside = profile.strip_prefix(&project.build_dir);
    let dir = inside.map_or_else(
        |_| profile.clone(),
        |inside| project.target_dir.join(inside),
    );
    let dir = match target.kind {
        TargetKind::Bin => dir,
        TargetKind::Example => dir.join("examples"),
    };
    let executable = dir.join(&target.name);
    if !executable.is_file() {
        return LastBuild::None;
    }
    let path = dep_info::beside(&executable);
    let text = std::fs::read_to_string(&path).ok();
    match text.and_then(|text| dep_info::inputs(&text)) {
        Some(inputs) => LastBuild::Names(dep_info::sources(&inputs, project).len()),
        None => LastBuild::Unusable(path),
    }
}

/// What is known from builds so far, and what was asked to be watched.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    known: Known,
    /// When the last build began: it has seen everything written before.
    ran: Option<SystemTime>,
    /// What changed since cargo last built the program.
    unseen: Changes,
    /// The scope that was last asked to be watched.
    watched: Option<Scope>,
}

impl Inputs {
    /// A build without cargo begins `now`.
    pub(super) fn begin_without_cargo(&mut self, changed: &Changes, now: SystemTime) {
        self.unseen.extend(changed.clone());
        self.ran = Some(now);
    }

    /// A build without cargo has compiled the program from these sources.
    pub(super) fn compiled(&mut self, sources: Vec<PathBuf>) {
        self.known.sources = Some(sources);
        self.known.failed = false;
        self.known.named.clear();
    }

    /// The sources of the program, as far as they are known.
    pub(super) fn sources(&self) -> Option<&[PathBuf]> {
        self.known.sources.as_deref()
    }

    /// A build with cargo begins `now`: makes changes visible to it that it would miss.
    pub(super) fn begin(
        &mut self,
        project: &Project,
        settings: &Settings,
        changed: &Changes,
        now: SystemTime,
    ) {
        if let Some(ran) = self.ran {
            let profile = self.known.profile.clone();
            let profile =
                profile.unwrap_or_else(|| scope::default_profile(project, &settings.build));
            let sources = self.known.sources.as_deref().unwrap_or_default();
            self.unseen.extend(changed.clone());
            invalidate::make_seen(project, &profile, sources, &self.unseen, ran);
        }
        self.ran = Some(now);
    }

    /// The build failed, and its errors name these files. What build scripts declared counts all the
    /// same.
    pub(super) fn failed(&mut self, project: &Project, named: Vec<PathBuf>, scripts: &[String]) {
        self.known.failed = true;
        self.known.named = named;
        self.note_scripts(project, scripts);
    }

    /// The build succeeded, and cargo has ended, so it has written the dep-info of these executables, of
    /// which the first is the program's own.
    pub(super) fn built(&mut self, project: &Project, executables: &[PathBuf], scripts: &[String]) {
        let inputs = |executable: &PathBuf| {
            let text = std::fs::read_to_string(dep_info::beside(executable));
            text.ok().and_then(|text| dep_info::inputs(&text))
        };
        // If one dep-info is missing, everything that may be a source is watched, as before the first
        // build.
        let inputs: Option<Vec<Vec<PathBuf>>> = executables.iter().map(inputs).collect();
        let inputs = inputs.filter(|inputs| !inputs.is_empty());
        self.known.sources = inputs.map(|inputs| dep_info::sources(&inputs.concat(), project));
        self.unseen = Changes::default();
        self.known.failed = false;
        self.known.named.clear();
        let dir = executables
            .first()
            .and_then(|executable| executable.parent());
        let of_examples = |dir: &&Path| dir.file_name().is_some_and(|name| name == "examples");
        let profile = dir.filter(of_examples).and_then(Path::parent).or(dir);
        // Intermediate files are in the same directory below `build_dir`.
        let inside = profile.and_then(|dir| dir.strip_prefix(&project.target_dir).ok());
        self.known.profile = inside.map(|inside| project.build_dir.join(inside));
        self.note_scripts(project, scripts);
    }

    /// Notes which packages' build scripts declare what they read.
    fn note_scripts(&mut self, project: &Project, scripts: &[String]) {
        for line in scripts {
            if let Some(script) = messages::script(line, project) {
                let declared = &mut self.known.declared;
                if script.reads.is_some() {
                    declared.insert(script.package);
                } else {
                    declared.remove(&script.package);
                }
            }
        }
    }

    /// The scope to watch for a project that was just read.
    pub(super) fn loaded(&mut self, project: &Project, settings: &Settings, seen: Seen) -> Scope {
        let scope = scope::of_project(project, settings, &self.known, seen);
        self.watched = Some(scope.clone());
        scope
    }

    /// The scope to watch, if it changed. Files written since the last run of cargo began may not have
    /// been seen by it.
    pub(super) fn changed(
        &mut self,
        project: &Project,
        settings: &Settings,
        seen: Seen,
    ) -> Option<Scope> {
        let at = self.ran.unwrap_or(seen.at);
        let seen = Seen { at, ..seen };
        let scope = scope::of_project(project, settings, &self.known, seen);
        let same = |known: &Scope| {
            let known = Scope {
                seen: scope.seen,
                ..known.clone()
            };
            known == scope
        };
        if self.watched.as_ref().is_some_and(same) {
            return None;
        }
        self.watched = Some(scope.clone());
        Some(scope)
    }
}
