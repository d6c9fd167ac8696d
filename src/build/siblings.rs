//! Sibling executables: other binaries of the package, which the program starts from beside its own.
//!
//! Cargo builds only the binary that is run, so the others are what some earlier build has left. Once
//! the program was seen to start a sibling, or the user has named it, it is built with the program, and
//! an edit of it counts. Pure.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::project::Project;

/// The siblings that are built with the program: those that the user has named, else those that the
/// program was seen to start and the package still has.
pub(super) fn built_with(
    named: Option<&[String]>,
    seen: &BTreeSet<String>,
    project: &Project,
) -> BTreeSet<String> {
    if let Some(named) = named {
        let is_other = |name: &&String| **name != project.target.name;
        return named.iter().filter(is_other).cloned().collect();
    }
    let known = |name: &&String| project.bins.contains(*name);
    seen.iter().filter(known).cloned().collect()
}

/// The siblings among the executables that the app's processes run.
pub(super) fn started(
    running: &[PathBuf],
    project: &Project,
    is_beside: impl Fn(&Path) -> bool,
) -> BTreeSet<String> {
    let beside = running
        .iter()
        .filter(|path| path.parent().is_some_and(&is_beside));
    let names = beside.filter_map(|path| path.file_name()?.to_str());
    names
        .filter(|name| project.bins.iter().any(|bin| bin == name))
        .map(str::to_owned)
        .collect()
}
