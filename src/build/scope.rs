//! What to watch for a project. Pure but for the directories above it, which are looked through
//! for the files that cargo and rustup read there.

use std::path::{Path, PathBuf};

use super::cargo_config;
use super::project::Project;
use crate::config::Build;
use crate::session::model::{Scope, Seen};

/// Files that cargo or rustup look for in a directory and all above it.
const UPWARD: [&str; 4] = [
    ".cargo/config.toml",
    ".cargo/config",
    "rust-toolchain.toml",
    "rust-toolchain",
];

/// Everything a known project is made of, with the inputs that cargo has `named`.
pub fn of_project(project: &Project, build: &Build, named: &[PathBuf], seen: Seen) -> Scope {
    let mut without = vec![project.target_dir.clone(), project.build_dir.clone()];
    without.extend(project.others.iter().cloned());
    // A package inside another one's directory is that one's neighbour, unless it is needed too.
    without.retain(|path| !project.packages.contains(path));
    let mut files = vec![
        project.workspace.join("Cargo.toml"),
        project.workspace.join("Cargo.lock"),
    ];
    // Cargo reads all members, whichever is broken.
    let others = project.others.iter();
    files.extend(others.map(|dir| dir.join("Cargo.toml")));
    // A configuration that is not there yet may come.
    files.extend(UPWARD.map(|name| project.workspace.join(name)));
    files.extend(upward(&build.dir));
    files.extend(configuration(build));
    let (dirs, others) = named
        .iter()
        .cloned()
        .partition::<Vec<PathBuf>, _>(|path| path.is_dir());
    files.extend(others);
    Scope {
        base: project.workspace.clone(),
        roots: [project.packages.clone(), dirs].concat(),
        without,
        files,
        seen: Some(seen),
    }
}

/// Everything that can mend a project that can't be read: all below the topmost manifest, since
/// nobody knows which one is broken.
pub fn of_manifest(build: &Build) -> Scope {
    let dir = build.manifest.parent().unwrap_or(&build.dir).to_owned();
    let mut files: Vec<PathBuf> = dir
        .ancestors()
        .map(|dir| dir.join("Cargo.toml"))
        .filter(|path| path.is_file())
        .collect();
    let base = files
        .last()
        .and_then(|path| path.parent())
        .unwrap_or(&dir)
        .to_owned();
    files.push(base.join("Cargo.lock"));
    files.extend(upward(&build.dir));
    files.extend(configuration(build));
    let target = build
        .target_dir
        .clone()
        .unwrap_or_else(|| base.join("target"));
    Scope {
        roots: vec![base.clone()],
        base,
        without: vec![target],
        files,
        seen: None,
    }
}

/// Where cargo's configuration is, with what it includes.
fn configuration(build: &Build) -> impl Iterator<Item = PathBuf> {
    let home = cargo_config::home(build);
    let files = cargo_config::files(&build.dir, home.as_deref());
    files.into_iter().chain(cargo_config::named(build))
}

fn upward(dir: &Path) -> impl Iterator<Item = PathBuf> {
    dir.ancestors()
        .flat_map(|dir| UPWARD.map(|name| dir.join(name)))
        .filter(|path| path.is_file())
}
