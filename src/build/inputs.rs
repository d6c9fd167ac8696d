//! What builds have reported of the program's sources, and the scope that is to be watched because of
//! it.

use std::io;
use std::path::{Path, PathBuf};

use super::dep_info;
use super::invalidate;
use super::messages;
use super::project::{Project, TargetKind};
use super::scope::{self, Known};
use crate::config::{Build, Settings};
use crate::defect::{point, spawn_blocking};
use crate::digest;
use crate::helper::Stopped;
use crate::session::model::{Changes, Content, Scope};
use crate::session::seen::{Began, Seen};

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
    ran: Option<Began>,
    /// What changed since cargo last built the program.
    unseen: Changes,
    /// What the last build was for.
    last: Changes,
    /// The scope that was last asked to be watched.
    watched: Option<Scope>,
}

impl Inputs {
    /// Works on them in a thread: after a checkout many files are read and written for that.
    pub(super) async fn in_thread<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Self) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let mut inputs = std::mem::take(self);
        let mut done = spawn_blocking("inputs", move || {
            point("inputs");
            let result = work(&mut inputs);
            (inputs, result)
        });
        let failed = |error: io::Error| Stopped::Failed(error.to_string().into());
        let (inputs, result) = done.done().await.map_err(failed)?;
        *self = inputs;
        Ok(result)
    }

    /// A build begins for these changes. Returns them with what the last build has seen and was taken
    /// back since: if its result was not wanted, nothing else knows of that.
    pub(super) fn note(&mut self, workspace: &Path, changed: &Changes) -> Changes {
        let now = |path: &Path| digest::of(&workspace.join(path)).unwrap_or(Content::Unreadable);
        let mut all = self.last.taken_back(now);
        all.extend(changed.clone());
        self.unseen.extend(all.clone());
        self.last = all.clone();
        all
    }

    /// A build without cargo begins.
    pub(super) fn begin_without_cargo(&mut self, began: Began) {
        self.ran = Some(began);
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

    /// A build with cargo begins: makes changes visible to it that it would miss.
    pub(super) fn begin(&mut self, project: &Project, settings: &Settings, began: Began) {
        if let Some(ran) = self.ran {
            let profile = self.known.profile.clone();
            let profile =
                profile.unwrap_or_else(|| scope::default_profile(project, &settings.build));
            let sources = self.known.sources.as_deref().unwrap_or_default();
            invalidate::make_seen(
                &project.workspace,
                &project.locals,
                &profile,
                sources,
                &self.unseen,
                ran.stamp,
            );
        }
        // If it fails or is cancelled, it may have compiled any of them.
        self.unseen.forget_all_used();
        self.ran = Some(began);
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
        let began = self.ran.unwrap_or(seen.began);
        let seen = Seen { began, ..seen };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::model::{Change, ChangeKind, Save};

    fn change(path: &str, before: Content, now: Content) -> Changes {
        let mut changes = Changes::default();
        changes.add(&Change {
            path: path.into(),
            kind: ChangeKind::Source,
            before: Some(before),
            now,
            save: Save::Unknown,
            script: None,
        });
        changes
    }

    /// The paths of these changes, with whether it is known what was used.
    fn shown(changes: &Changes) -> Vec<(String, bool)> {
        let changes = changes.iter();
        changes
            .map(|change| (change.path.display().to_string(), change.used.is_some()))
            .collect()
    }

    #[test]
    fn what_the_last_build_has_seen_and_is_gone_is_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            digest::of(&path).unwrap()
        };
        let mut inputs = Inputs::default();
        let (a, b) = (write("a", "1"), write("b", "1"));
        let seen = inputs.note(dir.path(), &change("a", a, write("a", "2")));
        assert_eq!(shown(&seen), [("a".into(), true)]);
        // Its result was dropped, since the file is as before.
        write("a", "1");
        let seen = inputs.note(dir.path(), &change("b", b, write("b", "2")));
        assert_eq!(shown(&seen), [("a".into(), false), ("b".into(), true)]);
        // Now it has been seen as it is.
        let seen = inputs.note(dir.path(), &Changes::default());
        assert_eq!(shown(&seen), []);
    }

    #[test]
    fn what_a_failed_build_may_have_compiled_is_a_change_if_it_is_taken_back() {
        let [one, two] = [1, 2].map(Content::Digest);
        let mut unseen = change("a", one, two);
        unseen.forget_all_used();
        unseen.extend(change("a", two, one));
        assert_eq!(shown(&unseen), [("a".into(), false)]);
    }
}
