//! Changes that cargo does not see.
//!
//! Cargo goes by time stamps. A file that was moved, copied with its time or linked to may be older
//! than what was built from the one before; then everything is fresh to cargo. Nor does it know of
//! files that procedural macros read. So it is told to forget what it built of their packages. Time
//! stamps are left alone: other programs go by them too.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cargo_metadata::PackageId;

use super::project::Project;
use crate::session::model::Changed;

/// The packages of which cargo would miss one of these changes. `inputs` is what it knows of, and
/// its last run began at `ran`.
pub(super) fn packages<'a>(
    project: &'a Project,
    changed: &Changed,
    inputs: &[PathBuf],
    ran: SystemTime,
) -> BTreeSet<&'a str> {
    if changed.anything {
        return project.ids.iter().map(|(_, id)| id.repr.as_str()).collect();
    }
    let unseen = changed.paths.iter().filter_map(|shown| {
        let path = project.workspace.join(shown);
        let known = || inputs.iter().any(|input| path.starts_with(input));
        let unseen = is_older(&path, ran) || changed.named.contains(shown) && !known();
        unseen.then_some(path)
    });
    let unseen: Vec<PathBuf> = unseen.collect();
    owners(&project.ids, &unseen)
}

/// One that is gone is missed by cargo itself.
fn is_older(path: &Path, than: SystemTime) -> bool {
    let written = path.metadata().and_then(|metadata| metadata.modified());
    written.is_ok_and(|written| written < than)
}

/// The packages that these files belong to. A file outside of all of them may belong to any.
fn owners<'a>(packages: &'a [(PathBuf, PackageId)], files: &[PathBuf]) -> BTreeSet<&'a str> {
    let owner = |file: &PathBuf| {
        let holding = packages.iter().filter(|(dir, _)| file.starts_with(dir));
        holding.max_by_key(|(dir, _)| dir.components().count())
    };
    files
        .iter()
        .flat_map(|file| owner(file).map_or(packages, std::slice::from_ref))
        .map(|(_, id)| id.repr.as_str())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_belongs_to_the_innermost_package() {
        let packages = [("/w", "w"), ("/w/inner", "inner"), ("/other", "other")]
            .map(|(dir, id)| (dir.into(), PackageId { repr: id.into() }));
        for (files, expected) in [
            (vec![], vec![]),
            (vec!["/w/src/main.rs"], vec!["w"]),
            (vec!["/w/inner/src/lib.rs"], vec!["inner"]),
            (vec!["/other/a.rs", "/other/b.rs"], vec!["other"]),
            (vec!["/elsewhere/a.rs"], vec!["inner", "other", "w"]),
        ] {
            let files: Vec<PathBuf> = files.into_iter().map(PathBuf::from).collect();
            let found: Vec<&str> = owners(&packages, &files).into_iter().collect();
            assert_eq!(found, expected, "{files:?}");
        }
    }
}
