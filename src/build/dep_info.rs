//! Reads dep-info: the `.d` file beside the executable, in which cargo names the program's sources. It
//! has every file that crates include and build scripts declare, wherever it is. Pure, except that paths
//! are resolved.

use std::path::{Component, Path, PathBuf};

use super::project::Project;

/// The dep-info file of this executable, which cargo writes at the very end of a build.
pub(super) fn beside(executable: &Path) -> PathBuf {
    executable.with_extension("d")
}

/// The program's sources: the inputs without files in cargo's own directories, each path in one
/// spelling, sorted.
pub(super) fn sources(inputs: &[PathBuf], project: &Project) -> Vec<PathBuf> {
    let written = with_real([&project.target_dir, &project.build_dir]);
    // Build scripts that stamp a version declare files in `.git`, which every git command writes: those
    // are no sources.
    let of_git = |path: &PathBuf| path.iter().any(|part| part == ".git");
    let mut sources: Vec<PathBuf> = inputs
        .iter()
        .filter_map(|path| {
            // Nearly all paths are absolute and without `..`, and need not be resolved.
            let is_straight = path.is_absolute() && !goes_up(path);
            is_straight.then(|| path.clone()).or_else(|| straight(path))
        })
        .filter(|path| !of_git(path) && !is_below(&written, path))
        .collect();
    sources.sort_unstable();
    sources.dedup();
    sources
}

/// These directories, and their real paths if a link leads to them.
fn with_real<'a>(dirs: impl IntoIterator<Item = &'a PathBuf>) -> Vec<PathBuf> {
    dirs.into_iter()
        .flat_map(|dir| [Some(dir.clone()), dunce::canonicalize(dir).ok()])
        .flatten()
        .collect()
}

fn is_below(dirs: &[PathBuf], path: &Path) -> bool {
    dirs.iter().any(|dir| path.starts_with(dir))
}

fn goes_up(path: &Path) -> bool {
    path.components().any(|part| part == Component::ParentDir)
}

/// The path without `..`; if its last part is a link, that is not followed.
fn straight(path: &Path) -> Option<PathBuf> {
    let dir = path.parent().filter(|_| path.is_absolute())?;
    match (path.file_name(), dunce::canonicalize(dir)) {
        (Some(name), Ok(dir)) => Some(dir.join(name)),
        // A directory that is missing may come back: the path is resolved by its text.
        (Some(_), Err(_)) => Some(by_its_words(path)),
        (None, _) => dunce::canonicalize(path).ok(),
    }
}

/// The same by the text of the path alone, for one that does not exist.
fn by_its_words(path: &Path) -> PathBuf {
    let mut straight = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                straight.pop();
            }
            part => straight.push(part),
        }
    }
    straight
}

/// The prerequisites of the one rule in a dep-info; spaces in names are escaped. `None`: cargo did not
/// write this, or not completely.
pub(super) fn inputs(text: &str) -> Option<Vec<PathBuf>> {
    // Cargo ends the rule with a line end: a file that is cut off names too little.
    let (rule, _) = text.split_once('\n')?;
    let rule = rule.trim_end_matches('\r');
    let (_, names) = rule
        .split_once(": ")
        .or_else(|| Some((rule.strip_suffix(':')?, "")))?;
    let names = names.replace("\\ ", "\0");
    // Other white space is not escaped, and is part of a name.
    let names = names.split(' ').filter(|name| !name.is_empty());
    Some(names.map(|name| name.replace('\0', " ").into()).collect())
}

#[cfg(any(test, fuzzing))]
pub(crate) mod hostile_tests {
    use super::*;
    use crate::hostile::Target;

    pub(crate) fn any_dep_info_is_none_or_can_be_written_again() -> Target {
        let corpus = [
            "/w/target/debug/app: /w/build.rs /w/a\\ b.txt /w/src/main.rs\n\n/w/build.rs:\n",
            "C:\\w\\app.exe: C:\\w\\a\\ b.rs D:\\c.rs\r\n",
            "/w/app:\n",
        ];
        Target::text(&corpus, 1, |text| {
            let Some(paths) = inputs(text) else { return };
            let names = paths.iter().map(|path| path.to_str().unwrap());
            let names: Vec<String> = names.map(|name| name.replace(' ', "\\ ")).collect();
            let length: usize = names.iter().map(String::len).sum();
            assert!(length <= text.len() + text.matches('\0').count());
            // Before a space, that is part of the next name; the other may belong to the line end.
            if !names.iter().any(|name| name.ends_with(['\\', '\r'])) {
                let rule = format!("x: {}\n", names.join(" "));
                assert_eq!(inputs(&rule), Some(paths));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::absolute;

    #[test]
    fn what_is_away_keeps_its_place() {
        let path = absolute("/nowhere/app/src/../../shared/text");
        assert_eq!(straight(&path), Some(absolute("/nowhere/shared/text")));
        assert_eq!(straight(Path::new("shared/text")), None);
    }

    #[test]
    fn names_are_told_apart_by_spaces() {
        let names = |text: &str| -> Option<Vec<String>> {
            let shown = |path: PathBuf| path.display().to_string();
            inputs(text).map(|paths| paths.into_iter().map(shown).collect())
        };
        assert_eq!(
            names("/w/target/debug/app: /w/build.rs /w/a\\ b.txt /w/src/main.rs\n\n/w/build.rs:\n")
                .unwrap(),
            ["/w/build.rs", "/w/a b.txt", "/w/src/main.rs"]
        );
        assert_eq!(names("/w/app:\n"), Some(Vec::new()));
        assert_eq!(names("C:\\w\\app.exe:\n"), Some(Vec::new()));
        assert_eq!(
            names("C:\\w\\app.exe: C:\\w\\a\\ b.rs\r\n").unwrap(),
            ["C:\\w\\a b.rs"]
        );
        assert_eq!(names("/w/app: /w/a\tb.rs\n").unwrap(), ["/w/a\tb.rs"]);
        for broken in ["", "/w/app: /w/src/ma", "no rule\n", "\n"] {
            assert_eq!(names(broken), None, "{broken:?}");
        }
    }
}
