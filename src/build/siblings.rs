//! Other executables of the package that the program starts from beside its own.
//!
//! Cargo builds the one that is run and no other. So the others are what some earlier build has
//! left, until the program was seen to start one, or the user has named it: that one is built with
//! the program from then on, and an edit of it counts. Pure.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::project::Project;

/// The binaries that are built with the program: those that the user has named, else those that it
/// was seen to start, as far as the package still has them.
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

/// The binaries of the package among the executables that its processes run.
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
