//! What cargo found a program to be made of: the `.d` file beside the executable. It names what
//! crates include and build scripts read, wherever that is. Pure but for the names of files.

use std::path::{Component, Path, PathBuf};

use super::project::Project;

/// Where cargo writes it for this executable, at the very end of a build.
pub(super) fn beside(executable: &Path) -> PathBuf {
    executable.with_extension("d")
}

/// The inputs that no package holds, sorted. What is below a package is an input anyway.
pub(super) fn outside(inputs: &[PathBuf], project: &Project) -> Vec<PathBuf> {
    let real = |path: &PathBuf| path.canonicalize().ok();
    let held: Vec<PathBuf> = project
        .packages
        .iter()
        .chain([&project.target_dir])
        .flat_map(|dir| [Some(dir.clone()), real(dir)])
        .flatten()
        .collect();
    let is_held = |path: &PathBuf| held.iter().any(|dir| path.starts_with(dir));
    // A version stamp of the repository is no reason to build at each of its commands.
    let of_git = |path: &PathBuf| path.iter().any(|part| part == ".git");
    let mut outside: Vec<PathBuf> = inputs
        .iter()
        // Nearly all are below a package, and need not be looked up.
        .filter(|path| goes_up(path) || !is_held(path))
        .filter_map(|path| straight(path))
        .filter(|path| !of_git(path) && !is_held(path))
        .collect();
    outside.sort_unstable();
    outside.dedup();
    outside
}

fn goes_up(path: &Path) -> bool {
    path.components().any(|part| part == Component::ParentDir)
}

/// Without a way up and down again; a link at its end stays one.
fn straight(path: &Path) -> Option<PathBuf> {
    let dir = path.parent().filter(|_| path.is_absolute())?;
    match path.file_name() {
        Some(name) => Some(dir.canonicalize().ok()?.join(name)),
        None => path.canonicalize().ok(),
    }
}

/// What stands behind the colon of the one rule in it; spaces in names are escaped.
pub(super) fn inputs(text: &str) -> Vec<PathBuf> {
    let rule = text.lines().next().unwrap_or_default();
    let (_, names) = rule.split_once(": ").unwrap_or_default();
    let names = names.replace("\\ ", "\0");
    names
        .split_ascii_whitespace()
        .map(|name| name.replace('\0', " ").into())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_by_spaces() {
        let names = |text: &str| -> Vec<String> {
            let shown = |path: PathBuf| path.display().to_string();
            inputs(text).into_iter().map(shown).collect()
        };
        assert_eq!(
            names("/w/target/debug/app: /w/build.rs /w/a\\ b.txt /w/src/main.rs\n\n/w/build.rs:\n"),
            ["/w/build.rs", "/w/a b.txt", "/w/src/main.rs"]
        );
        assert!(names("").is_empty() && names("/w/app:").is_empty());
    }
}
