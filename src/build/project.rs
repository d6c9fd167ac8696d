//! The project from `cargo metadata`: which target is run, and which packages it is made of. Pure,
//! except that paths are resolved.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cargo_metadata::{
    DependencyKind, Metadata, Package, PackageId, Target as CargoTarget, TargetKind as CargoKind,
};

use super::choice::{Candidate, Choice, Place};
use crate::config::{Build, nearest};
use crate::exit::Failure;

/// The target that is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its package.
    pub package: String,
    /// The workspace has other members, so cargo needs `--package`.
    pub of_many: bool,
    /// Binary or example.
    pub kind: TargetKind,
    /// Its name, which is also the executable's.
    pub name: String,
    /// Its root source file.
    pub source: PathBuf,
    /// The values for cargo's `--config` that make the fast profile, if it is built with that; set by the
    /// reader.
    pub fast: Option<Vec<String>>,
}

/// What `cargo run` can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// `src/main.rs`, `src/bin/…`.
    Bin,
    /// `examples/…`.
    Example,
}

impl TargetKind {
    /// The flag that chooses a target of this kind.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Bin => "--bin",
            Self::Example => "--example",
        }
    }

    /// Where cargo looks for a target of this kind.
    fn place(self) -> &'static str {
        match self {
            Self::Bin => "`src/main.rs`",
            Self::Example => "`examples/NAME.rs`",
        }
    }

    /// The target is of this kind.
    pub(super) fn is_of(self, target: &CargoTarget) -> bool {
        target.kind.contains(&self.cargos())
    }

    fn cargos(self) -> CargoKind {
        match self {
            Self::Bin => CargoKind::Bin,
            Self::Example => CargoKind::Example,
        }
    }
}

/// What is known of a project.
#[derive(Clone, Debug)]
pub struct Project {
    /// The target that is run.
    pub target: Target,
    /// The root of its workspace.
    pub workspace: PathBuf,
    /// The target directory.
    pub target_dir: PathBuf,
    /// Where cargo keeps intermediate files: the target directory, unless `build.build-dir` is set.
    pub build_dir: PathBuf,
    /// The directories of the packages that the program is made of: its own and all path dependencies,
    /// including optional ones whose feature is off.
    pub packages: Vec<PathBuf>,
    /// The packages that are compiled: its own and all path dependencies.
    pub locals: Vec<Local>,
    /// The names of all packages that the program depends on.
    pub crates: Arc<BTreeSet<String>>,
    /// Directories of the workspace's other packages.
    pub others: Vec<PathBuf>,
    /// The compiler's host target; set by the reader, as is the next field.
    pub host: String,
    /// The digest of cargo's configuration when the project was read.
    pub configuration: u64,
    /// The id of the program's own package, to find its messages.
    pub id: PackageId,
    /// The package's other binaries, except those with `required-features`.
    pub bins: Vec<String>,
}

/// A package from a path, not from a registry or git.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Its directory.
    pub dir: PathBuf,
    /// Its name.
    pub name: String,
    /// Its id in cargo's messages.
    pub id: PackageId,
    /// It has a build script.
    pub has_script: bool,
}

/// Why there is no project.
#[derive(Debug)]
pub enum Problem {
    /// A manifest is broken, and cargo has printed how. An edit can mend it.
    Broken,
    /// There is no such target or package.
    Usage(Failure),
    /// There is a target to choose.
    Choice(Box<Choice>),
}

/// Chooses the target as `cargo run` does.
pub fn choose(metadata: &Metadata, build: &Build) -> Result<Project, Problem> {
    let (package, target) = target(metadata, build)?;
    has_all(package, build.bins.as_deref().unwrap_or_default())?;
    let is_run = |bin: &CargoTarget| target.kind.is_of(bin) && bin.name == target.name;
    let others = package.targets.iter().filter(|bin| {
        TargetKind::Bin.is_of(bin) && bin.required_features.is_empty() && !is_run(bin)
    });
    let bins = others.map(|bin| bin.name.clone()).collect();
    let closure = closure(metadata, package, target.kind == TargetKind::Example);
    let local = metadata
        .packages
        .iter()
        .filter(|package| package.source.is_none());
    let (inside, outside): (Vec<&Package>, Vec<&Package>) =
        local.partition(|package| closure.contains(&package.id));
    let local = |package: &&Package| Local {
        dir: dir(package),
        name: package.name.to_string(),
        id: package.id.clone(),
        has_script: package
            .targets
            .iter()
            .any(|target| target.kind.contains(&CargoKind::CustomBuild)),
    };
    let locals: Vec<Local> = inside.iter().map(local).collect();
    let mut packages: Vec<PathBuf> = locals.iter().map(|local| local.dir.clone()).collect();
    let crates = metadata.packages.iter();
    let crates = crates.filter(|package| closure.contains(&package.id));
    let crates = crates.map(|package| package.name.to_string()).collect();
    // An optional path dependency is always listed, but its own dependencies are only resolved once its
    // feature is on.
    let named = inside.iter().flat_map(|package| &package.dependencies);
    let named = named.filter(|dependency| dependency.kind != DependencyKind::Development);
    packages.extend(
        named.filter_map(|dependency| Some(dependency.path.as_ref()?.as_std_path().to_owned())),
    );
    packages.sort_unstable();
    packages.dedup();
    let target_dir = target_dir(metadata, build);
    let build_dir = metadata.build_directory.as_ref();
    Ok(Project {
        target,
        workspace: metadata.workspace_root.as_std_path().to_owned(),
        build_dir: build_dir.map_or_else(|| target_dir.clone(), |dir| dir.as_std_path().to_owned()),
        target_dir,
        packages,
        locals,
        crates: Arc::new(crates),
        others: outside.into_iter().map(dir).collect(),
        host: String::new(),
        configuration: 0,
        id: package.id.clone(),
        bins,
    })
}

/// Checks that the package has binaries of these names.
fn has_all(package: &Package, named: &[String]) -> Result<(), Failure> {
    let bins = package.targets.iter();
    let bins = bins.filter(|target| TargetKind::Bin.is_of(target));
    let bins: Vec<String> = bins.map(|bin| bin.name.clone()).collect();
    let Some(wrong) = named.iter().find(|name| !bins.contains(name)) else {
        return Ok(());
    };
    let problem = format!(
        "build.bins: package `{}` has no binary `{wrong}`",
        package.name
    );
    Err(Failure::usage(problem).hint(if bins.is_empty() {
        "leave `bins` of [build] out".into()
    } else {
        nearest_of(wrong, &bins)
    }))
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::Usage(failure)
    }
}

/// The packages in which `cargo run` looks for targets.
fn candidates<'a>(metadata: &'a Metadata, build: &Build) -> Result<Vec<&'a Package>, Failure> {
    let members = metadata.workspace_packages();
    if let Some(name) = &build.package {
        let wanted = name.split_once('@').map_or(name.as_str(), |(name, _)| name);
        let found: Vec<&Package> = members
            .iter()
            .copied()
            .filter(|package| package.name.as_str() == wanted)
            .collect();
        if found.is_empty() {
            let names: Vec<String> = members
                .iter()
                .map(|package| package.name.to_string())
                .collect();
            return Err(Failure::usage(format!(
                "--package: this workspace has no package `{name}`"
            ))
            .hint(nearest_of(wanted, &names)));
        }
        return Ok(found);
    }
    let root = metadata.workspace_root.as_std_path().join("Cargo.toml");
    let same =
        |a: &Path, b: &Path| a == b || dunce::canonicalize(a).ok() == dunce::canonicalize(b).ok();
    if same(&root, &build.manifest) {
        return Ok(default_packages(metadata));
    }
    let own = |package: &&Package| same(package.manifest_path.as_std_path(), &build.manifest);
    Ok(members.into_iter().filter(own).collect())
}

/// The workspace's default members. A cargo before 1.71 does not list them; then the defaults without
/// `default-members` are used: the package at the root, or else all.
fn default_packages(metadata: &Metadata) -> Vec<&Package> {
    if metadata.workspace_default_members.is_available() {
        return metadata.workspace_default_packages();
    }
    match metadata.root_package() {
        Some(root) => vec![root],
        None => metadata.workspace_packages(),
    }
}

/// The directory that cargo builds into.
fn target_dir(metadata: &Metadata, build: &Build) -> PathBuf {
    let chosen = build.target_dir.clone();
    chosen.unwrap_or_else(|| metadata.target_directory.as_std_path().to_owned())
}

/// What can be run of these packages.
fn runnable(packages: &[&Package], kind: TargetKind) -> Vec<Candidate> {
    let candidate = |package: &Package, target: &CargoTarget| Candidate {
        package: package.name.to_string(),
        dir: dir(package),
        kind,
        name: target.name.clone(),
    };
    let of = |package: &&Package| {
        let targets = package.targets.iter().filter(|target| kind.is_of(target));
        targets
            .map(|target| candidate(package, target))
            .collect::<Vec<_>>()
    };
    packages.iter().flat_map(of).collect()
}

fn dir(package: &Package) -> PathBuf {
    let dir = package.manifest_path.parent();
    dir.map(|dir| dir.as_std_path().to_owned())
        .unwrap_or_default()
}

/// There is no binary in the packages that were looked at: what else there is.
fn instead(
    metadata: &Metadata,
    packages: &[&Package],
    choice: impl Fn(Vec<Candidate>, &str, bool) -> Box<Choice>,
) -> Problem {
    let examples = runnable(packages, TargetKind::Example);
    if !examples.is_empty() {
        let text = "there is no binary to run here, only {}";
        return Problem::Choice(choice(examples, text, false));
    }
    let others = runnable(&metadata.workspace_packages(), TargetKind::Bin);
    if !others.is_empty() {
        let text = "there is no binary to run here; this workspace has {}";
        return Problem::Choice(choice(others, text, true));
    }
    let hint = "add `src/main.rs`, or choose an example with --example";
    Problem::Usage(Failure::usage("there is no binary to run here").hint(hint))
}

/// All targets of a kind among which `cargo run` chooses.
pub(super) fn all<'a>(
    metadata: &'a Metadata,
    build: &Build,
    kind: TargetKind,
) -> Result<Vec<(&'a Package, &'a CargoTarget)>, Problem> {
    let packages = candidates(metadata, build)?.into_iter();
    let all = packages
        .flat_map(|package| package.targets.iter().map(move |target| (package, target)))
        .filter(|(_, target)| kind.is_of(target));
    Ok(all.collect())
}

fn target<'a>(metadata: &'a Metadata, build: &Build) -> Result<(&'a Package, Target), Problem> {
    let packages = candidates(metadata, build)?;
    let kind = if build.example.is_some() {
        TargetKind::Example
    } else {
        TargetKind::Bin
    };
    let wanted = build.bin.as_ref().or(build.example.as_ref());
    let all = all(metadata, build, kind)?;
    let mut found: Vec<(&Package, &CargoTarget)> = match wanted {
        Some(wanted) => all
            .iter()
            .copied()
            .filter(|(_, target)| target.name == *wanted)
            .collect(),
        None => all.clone(),
    };
    if found.len() > 1 && wanted.is_none() {
        let is_default = |(package, target): &(&Package, &CargoTarget)| {
            package.default_run.as_ref() == Some(&target.name)
        };
        let defaults: Vec<_> = found.iter().copied().filter(is_default).collect();
        if defaults.len() == 1 {
            found = defaults;
        }
    }
    let choice = |candidates, text: &str, names_package| {
        let place = Place {
            dir: build.dir.clone(),
            manifest: build.manifest.clone(),
            named_manifest: build.named_manifest,
            names_package: names_package || build.package.is_some(),
            memory: target_dir(metadata, build).join("hotrun").join("choice"),
        };
        Box::new(Choice::new(candidates, text, place))
    };
    let flag = kind.flag();
    match (found.as_slice(), wanted) {
        ([(package, target)], _) => Ok((
            package,
            Target {
                package: package.name.to_string(),
                of_many: metadata.workspace_members.len() > 1,
                kind,
                name: target.name.clone(),
                source: target.src_path.as_std_path().to_owned(),
                fast: None,
            },
        )),
        ([], Some(wanted)) => {
            let names: Vec<String> = all.iter().map(|(_, target)| target.name.clone()).collect();
            let problem = Failure::usage(format!("{flag}: there is no `{wanted}` here"));
            Err(Problem::Usage(problem.hint(if names.is_empty() {
                format!("add {}, or choose a package with --package", kind.place())
            } else {
                nearest_of(wanted, &names)
            })))
        }
        ([], None) => Err(instead(metadata, &packages, choice)),
        (_, Some(wanted)) => {
            let mut those = runnable(&packages, kind);
            those.retain(|one| one.name == *wanted);
            let text = format!("{flag}: there are {{}} of the name `{wanted}`");
            Err(Problem::Choice(choice(those, &text, true)))
        }
        (_, None) => {
            let text = "there are {}, and none was chosen";
            Err(Problem::Choice(choice(
                runnable(&packages, kind),
                text,
                false,
            )))
        }
    }
}

fn nearest_of(wanted: &str, names: &[String]) -> String {
    match nearest(wanted, names.iter().map(String::as_str)) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("there is `{}`", names.join("`, `")),
    }
}

/// The package and everything it depends on; `development`: including its dev-dependencies, as for an
/// example.
fn closure(metadata: &Metadata, package: &Package, development: bool) -> BTreeSet<PackageId> {
    let mut seen = BTreeSet::new();
    let mut open = vec![package.id.clone()];
    let nodes = metadata
        .resolve
        .as_ref()
        .map_or(&[][..], |resolve| &resolve.nodes);
    while let Some(id) = open.pop() {
        let root = id == package.id;
        if let Some(node) = nodes.iter().find(|node| node.id == id) {
            let wanted =
                |kind: DependencyKind| kind != DependencyKind::Development || (root && development);
            let needed = node
                .deps
                .iter()
                .filter(|dependency| dependency.dep_kinds.iter().any(|info| wanted(info.kind)));
            open.extend(
                needed
                    .map(|dependency| dependency.pkg.clone())
                    .filter(|id| !seen.contains(id)),
            );
        }
        seen.insert(id);
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The metadata that cargo 1.70 prints for a workspace with these members.
    fn told(members: &[(&str, &str)]) -> Metadata {
        let id = |name: &str| format!("{name} 1.0.0 (path+file:///w)");
        let packages = members.iter().map(|(name, manifest)| {
            serde_json::json!({
                "name": name, "version": "1.0.0", "id": id(name), "manifest_path": manifest,
                "dependencies": [], "targets": [], "features": {},
            })
        });
        let ids: Vec<String> = members.iter().map(|(name, _)| id(name)).collect();
        serde_json::from_value(serde_json::json!({
            "packages": packages.collect::<Vec<_>>(), "workspace_members": ids,
            "resolve": null, "workspace_root": "/w", "target_directory": "/w/target", "version": 1,
        }))
        .unwrap()
    }

    #[test]
    fn an_old_cargo_does_not_tell_the_default_members() {
        let root = ("root", "/w/Cargo.toml");
        let [one, two] = [("one", "/w/one/Cargo.toml"), ("two", "/w/two/Cargo.toml")];
        for (members, expected) in [
            (vec![one, root], vec!["root"]),
            (vec![one, two], vec!["one", "two"]),
        ] {
            let metadata = told(&members);
            let found = default_packages(&metadata);
            let names: Vec<&str> = found.iter().map(|package| package.name.as_str()).collect();
            assert_eq!(names, expected);
        }
    }
}
