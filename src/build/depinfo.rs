//! What cargo found a program to be made of: the `.d` file beside the executable. It names what
//! crates include and build scripts read, wherever that is. Pure but for the names of files.

use std::path::{Component, Path, PathBuf};

use super::project::Project;

/// Where cargo writes it for this executable, at the very end of a build.
pub(super) fn beside(executable: &Path) -> PathBuf {
    executable.with_extension("d")
}

/// The inputs that matter by their names, sorted: what none of its packages holds, and what is hidden
/// in one.
/// Everything else below packages is an input anyway, but for what git ignores: a build script may
/// have written it just now, which would be a reason to build once more, and again.
pub(super) fn named(inputs: &[PathBuf], project: &Project) -> Vec<PathBuf> {
    let packages = with_real(&project.packages);
    let written = with_real([&project.target_dir, &project.build_dir]);
    // A version stamp of the repository is no reason to build at each of its commands.
    let of_git = |path: &PathBuf| path.iter().any(|part| part == ".git");
    let mut named: Vec<PathBuf> = inputs
        .iter()
        .filter_map(|path| {
            // Nearly all are below a package, and need not be looked up.
            let is_straight = !goes_up(path) && is_below(&packages, path);
            is_straight.then(|| path.clone()).or_else(|| straight(path))
        })
        .filter(|path| {
            let own = is_below(&packages, path) && !is_below(&project.others, path);
            !own || is_hidden_below(&packages, path)
        })
        .filter(|path| !of_git(path) && !is_below(&written, path))
        .collect();
    named.sort_unstable();
    named.dedup();
    named
}

/// These directories, and what they are called where a link leads to them.
fn with_real<'a>(dirs: impl IntoIterator<Item = &'a PathBuf>) -> Vec<PathBuf> {
    dirs.into_iter()
        .flat_map(|dir| [Some(dir.clone()), dir.canonicalize().ok()])
        .flatten()
        .collect()
}

fn is_below(dirs: &[PathBuf], path: &Path) -> bool {
    dirs.iter().any(|dir| path.starts_with(dir))
}

fn is_hidden_below(dirs: &[PathBuf], path: &Path) -> bool {
    let mut below = dirs.iter().filter_map(|dir| path.strip_prefix(dir).ok());
    below.any(|path| {
        let mut parts = path.iter();
        parts.any(|part| part.as_encoded_bytes().starts_with(b"."))
    })
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
