//! The scope to watch for a project: the sources that cargo and rustc have named, and before that, or
//! while the last build failed, everything they may look at. Pure, except that directories above the
//! project are searched for the files that cargo and rustup read there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::cargo_config;
use super::dep_info;
use super::project::Project;
use crate::config::{Build, Settings};
use crate::session::model::{Scope, Script};
use crate::session::seen::Seen;

/// Files that cargo or rustup look for in a directory and in all directories above.
const UPWARD: [&str; 4] = [
    ".cargo/config.toml",
    ".cargo/config",
    "rust-toolchain.toml",
    "rust-toolchain",
];

/// Files that programs read their environment from (dotenv).
pub const ENV: [&str; 2] = [".env", ".env.local"];

/// What builds have reported so far of the program's sources.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The sources that the dep-info of the last successful build names.
    pub sources: Option<Vec<PathBuf>>,
    /// Directories of packages whose build scripts declare what they read.
    pub declared: BTreeSet<PathBuf>,
    /// The last build failed.
    pub failed: bool,
    /// The files that the errors of the failed build name.
    pub named: Vec<PathBuf>,
    /// The directory in which cargo keeps its fingerprints for this profile.
    pub profile: Option<PathBuf>,
}

/// The scope of a project that could be read.
pub fn of_project(project: &Project, settings: &Settings, known: &Known, seen: Seen) -> Scope {
    let mut without = vec![project.target_dir.clone(), project.build_dir.clone()];
    without.extend(project.others.iter().cloned());
    // A package inside another one's directory is left out, unless the program depends on it too.
    without.retain(|path| !project.packages.contains(path));
    let mut files = vec![
        project.workspace.join("Cargo.toml"),
        project.workspace.join("Cargo.lock"),
    ];
    // Cargo reads the manifests of all members, and fails if any of them is broken.
    let members = project.others.iter().chain(&project.packages);
    files.extend(members.map(|dir| dir.join("Cargo.toml")));
    // Cargo finds a build script by its name, and a new one is in no dep-info yet.
    let locals = project.locals.iter();
    files.extend(locals.map(|local| local.dir.join("build.rs")));
    // A configuration file that does not exist yet may be created.
    files.extend(UPWARD.map(|name| project.workspace.join(name)));
    files.extend(upward(&settings.build.dir));
    files.extend(configuration(&settings.build));
    files.extend(dep_info::sources(&known.named, project));
    files.push(project.target.source.clone());
    let sources = known.sources.iter().flatten().cloned();
    let (dirs, sources) = sources.partition::<Vec<PathBuf>, _>(|path| path.is_dir());
    files.extend(sources);
    files.sort_unstable();
    files.dedup();
    let scripted = project.locals.iter().filter(|local| local.has_script);
    let undeclared = scripted
        .clone()
        .filter(|local| !known.declared.contains(&local.dir));
    let profile = known.profile.clone();
    let profile = profile.unwrap_or_else(|| default_profile(project, &settings.build));
    Scope {
        base: project.workspace.clone(),
        files,
        dirs,
        packages: project.packages.clone(),
        open: known.sources.is_none() || known.failed,
        guesses: undeclared.map(|local| local.dir.clone()).collect(),
        without,
        env: env_files(project, settings),
        crates: project.crates.clone(),
        scripts: scripted
            .map(|local| Script {
                package: local.dir.clone(),
                name: local.name.clone(),
                records: profile.join("build"),
            })
            .collect(),
        seen: Some(seen),
        program: None,
    }
}

/// Where cargo keeps its fingerprints, as long as it has not named an executable.
pub fn default_profile(project: &Project, build: &Build) -> PathBuf {
    let profile = build.profile();
    let dir = match &*profile {
        "dev" | "test" => "debug",
        "bench" => "release",
        name => name,
    };
    match &build.target {
        Some(triple) => project.build_dir.join(triple).join(dir),
        None => project.build_dir.join(dir),
    }
}

/// Where the app may read its environment from: files in its directory or that of its package, or above
/// them, up to the workspace.
fn env_files(project: &Project, settings: &Settings) -> Vec<PathBuf> {
    let manifest = settings.build.manifest.parent();
    let dirs = manifest.into_iter().chain([settings.app.dir.as_path()]);
    let mut found: Vec<PathBuf> = dirs
        .flat_map(|dir| {
            let inside =
                move |above: &&Path| *above == dir || above.starts_with(&project.workspace);
            dir.ancestors().take_while(inside)
        })
        .flat_map(|dir| ENV.map(|name| dir.join(name)))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The scope of a project that can't be read: everything below the topmost manifest, since the broken
/// one is not known.
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
        packages: vec![base.clone()],
        base,
        open: true,
        without: vec![target],
        files,
        ..Scope::default()
    }
}

/// The files of cargo's configuration, with what they include.
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
