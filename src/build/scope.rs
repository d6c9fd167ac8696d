//! What to watch for a project: what cargo and rustc have said the program is made of, and until
//! then, or while the last build failed, what they may look at. Pure but for the directories above
//! the project, which are looked through for the files that cargo and rustup read there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::cargo_config;
use super::dep_info;
use super::project::Project;
use crate::config::{Build, Settings};
use crate::session::model::{Scope, Script, Seen};

/// Files that cargo or rustup look for in a directory and all above it.
const UPWARD: [&str; 4] = [
    ".cargo/config.toml",
    ".cargo/config",
    "rust-toolchain.toml",
    "rust-toolchain",
];

/// Files that programs read their environment from (dotenv).
const ENV: [&str; 2] = [".env", ".env.local"];

/// What builds have said so far of what the program is made of.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// What the dep-info of the last good build names.
    pub sources: Option<Vec<PathBuf>>,
    /// Directories of packages whose build scripts have said what they read.
    pub declared: BTreeSet<PathBuf>,
    /// The last build failed.
    pub failed: bool,
    /// What the compiler's messages about that name.
    pub named: Vec<PathBuf>,
    /// Where cargo keeps what it knows of the units of this profile.
    pub profile: Option<PathBuf>,
}

/// Everything a known project is made of, as far as it is known.
pub fn of_project(project: &Project, settings: &Settings, known: &Known, seen: Seen) -> Scope {
    let mut without = vec![project.target_dir.clone(), project.build_dir.clone()];
    without.extend(project.others.iter().cloned());
    // A package inside another one's directory is that one's neighbour, unless it is needed too.
    without.retain(|path| !project.packages.contains(path));
    let mut files = vec![
        project.workspace.join("Cargo.toml"),
        project.workspace.join("Cargo.lock"),
    ];
    // Cargo reads all members, whichever is broken.
    let members = project.others.iter().chain(&project.packages);
    files.extend(members.map(|dir| dir.join("Cargo.toml")));
    // A configuration that is not there yet may come.
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
    }
}

/// Where cargo keeps its records before it has named an executable.
pub fn default_profile(project: &Project, build: &Build) -> PathBuf {
    let dir = match (build.profile.as_deref(), build.release) {
        (None | Some("dev" | "test"), false) => "debug",
        (None | Some("bench"), _) => "release",
        (Some(name), _) => name,
    };
    match &build.target {
        Some(triple) => project.build_dir.join(triple).join(dir),
        None => project.build_dir.join(dir),
    }
}

/// Where the app would find a file with its environment: in its directory or that of its package,
/// or above them, up to the workspace.
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
        packages: vec![base.clone()],
        base,
        open: true,
        without: vec![target],
        files,
        ..Scope::default()
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
