//! Looks at the disk for what a configuration file would say about this project.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;

use super::reload::{Found, Input};
use crate::build::project::{Project, TargetKind};
use crate::build::{Survey, scope};
use crate::config::{Build, Settings};
use crate::session::model::Cure;
use crate::sockets::remembered;
use crate::watch::cures;

/// At most this many files are looked at in one directory.
const MOST: usize = 2_000;

/// Everything that was found; where the schema is, is for the caller to say.
pub(super) fn found(settings: &Settings, survey: &Survey) -> Found {
    let Survey {
        project,
        build,
        others,
        memory,
    } = survey;
    let base = directory(&settings.file);
    let ports = memory.as_deref().map(remembered::read);
    let ports = ports.unwrap_or_default();
    Found {
        schema: String::new(),
        package: build.package.clone(),
        bin: build.bin.clone(),
        example: build.example.clone(),
        others: others.clone(),
        addresses: ports.iter().map(|port| port.at.to_string()).collect(),
        inputs: inputs(project, base),
        env_files: env_files(project, base),
    }
}

/// Directories of the program's packages with files that look like its inputs, from `base`.
fn inputs(project: &Project, base: &Path) -> Vec<Input> {
    let mut inputs = BTreeMap::new();
    for package in project.packages.iter().chain([&project.workspace]) {
        let entries = std::fs::read_dir(package).into_iter().flatten().flatten();
        let dirs = entries.filter(|entry| {
            let name = entry.file_name();
            let is_package = entry.path().join("Cargo.toml").exists();
            name.to_str().is_some_and(cures::is_place) && entry.path().is_dir() && !is_package
        });
        for dir in dirs.map(|entry| entry.path()) {
            if let (Some(cure), Some(shown)) = (cure(&dir, package, project), from(base, &dir)) {
                inputs.insert(shown, cure);
            }
        }
    }
    let inputs = inputs.into_iter();
    inputs.map(|(dir, cure)| Input { dir, cure }).collect()
}

/// The cure for the files in a directory of a package: that a crate compiles some of them in counts
/// more than that others may be read.
fn cure(dir: &Path, package: &Path, project: &Project) -> Option<Cure> {
    let files = WalkBuilder::new(dir).max_depth(Some(6)).build().flatten();
    let cures = files.take(MOST).filter_map(|file| {
        let path = file.path().strip_prefix(package).ok()?;
        cures::cure(path, &project.crates)
    });
    cures.max_by_key(|cure| matches!(cure, Cure::CompiledIn(_)))
}

/// Files that the program may read its environment from, from `base`.
fn env_files(project: &Project, base: &Path) -> Vec<String> {
    let source = project.target.source.as_path();
    let above = source.ancestors().skip(1);
    let dirs = above.take_while(|dir| dir.starts_with(&project.workspace));
    let mut dirs: Vec<&Path> = dirs.chain([base]).collect();
    dirs.sort_unstable();
    dirs.dedup();
    let files = dirs
        .into_iter()
        .flat_map(|dir| scope::ENV.map(|name| dir.join(name)));
    let files = files.filter(|path| path.is_file());
    files.filter_map(|path| from(base, &path)).collect()
}

/// The directory of a file.
pub(super) fn directory(file: &Path) -> &Path {
    file.parent().unwrap_or(file)
}

/// A path as it is written in a file in `base`.
fn from(base: &Path, path: &Path) -> Option<String> {
    super::editors::relative(base, path)?
        .to_str()
        .map(str::to_owned)
}

/// The executable that cargo writes.
pub(super) fn program(project: &Project, build: &Build) -> PathBuf {
    let profile = build.profile();
    let mut path = project.target_dir.clone();
    path.extend(build.target.as_deref());
    path.push(match &*profile {
        "dev" | "test" => "debug",
        "bench" => "release",
        named => named,
    });
    if project.target.kind == TargetKind::Example {
        path.push("examples");
    }
    path.join(&project.target.name)
}
