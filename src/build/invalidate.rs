//! Makes cargo see changes that it would miss.
//!
//! Cargo goes by time stamps: a unit is stale if one of its sources is newer than the fingerprint of its
//! last compilation. A file that was moved, copied with its time or linked to may be older than that;
//! then cargo takes everything for fresh. Nor does cargo know of files that procedural macros read and
//! the user has named. So the time of the fingerprint is set back, and cargo compiles the unit again,
//! incrementally (`cargo clean` would throw the incremental data away). The names of the fingerprint
//! files are internal to cargo; where none is found, the source itself is touched, as a user would do.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::project::Local;
use crate::clock;
use crate::session::model::{ChangeKind, Changes, Content};
use crate::sys::files::TICK;

/// How the names of the fingerprint files begin whose time says when a unit was compiled.
const COMPILED: [&str; 4] = ["dep-lib-", "dep-bin-", "dep-example-", "dep-build-script-"];

/// Makes cargo see these changes of the packages `locals`. `sources`: the files that its dep-info names; `profile`: the directory
/// of its fingerprints; `ran`: when its last run began.
pub(super) fn make_seen(
    workspace: &Path,
    locals: &[Local],
    profile: &Path,
    sources: &[PathBuf],
    changes: &Changes,
    ran: SystemTime,
) {
    let mut packages: HashMap<&str, Recorded> = HashMap::new();
    for changed in changes.iter() {
        let is_source = matches!(
            changed.kind,
            ChangeKind::Source | ChangeKind::Named | ChangeKind::Guess
        );
        // Cargo itself notices that a file is gone.
        if !is_source || changed.now == Content::Missing {
            continue;
        }
        let path = workspace.join(&changed.path);
        let Some(written) = written(&path) else {
            continue;
        };
        let known = || sources.iter().any(|source| path.starts_with(source));
        let unknown = changed.kind == ChangeKind::Named && !known();
        let mut found = false;
        for package in owners(locals, &path) {
            let new = || Recorded {
                records: records(profile, &package.name),
                written,
                unknown,
            };
            let recorded = packages.entry(&package.name).or_insert_with(new);
            recorded.written = recorded.written.min(written);
            recorded.unknown |= unknown;
            found |= !recorded.records.is_empty();
        }
        // Without a fingerprint nothing was compiled, or cargo keeps it elsewhere.
        if !found && !unknown && written <= ran {
            touch(&path);
        }
    }
    for recorded in packages.into_values() {
        for record in &recorded.records {
            set_back(record, recorded.written, recorded.unknown);
        }
    }
}

/// What cargo has recorded of a package that has changed.
struct Recorded {
    records: Vec<PathBuf>,
    /// The oldest time stamp among the files that have changed.
    written: SystemTime,
    /// One of them is none that cargo knows of.
    unknown: bool,
}

fn written(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

/// The packages that this file may belong to: the innermost one around it, else all.
fn owners<'a>(packages: &'a [Local], file: &Path) -> &'a [Local] {
    let holding = packages.iter().filter(|local| file.starts_with(&local.dir));
    let innermost = holding.max_by_key(|local| local.dir.components().count());
    innermost.map_or(packages, std::slice::from_ref)
}

/// The fingerprint files of this package's units, and the recorded output of its build script.
fn records(profile: &Path, package: &str) -> Vec<PathBuf> {
    let of_package = |dir: &PathBuf| {
        let name = dir.file_name().and_then(|name| name.to_str());
        name.and_then(|name| name.rsplit_once('-'))
            .is_some_and(|(name, _)| name == package)
    };
    let within = |dir: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let units = within(&profile.join(".fingerprint"));
    let compiled = units
        .iter()
        .filter(|dir| of_package(dir))
        .flat_map(|dir| within(dir));
    let compiled = compiled.filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| COMPILED.iter().any(|start| name.starts_with(start)))
    });
    let scripts = within(&profile.join("build"));
    let said = scripts.iter().filter(|dir| of_package(dir));
    let said = said
        .map(|dir| dir.join("output"))
        .filter(|path| path.is_file());
    compiled.chain(said).collect()
}

/// Makes this record older than what was written then, if it is not. `unknown`: whatever it is.
///
/// Older by the least that there is. What was written before the file that is to be seen is older
/// than the record then, as before, and builds nothing: a build script, say, for what it has read before
/// it wrote that file.
fn set_back(record: &Path, written: SystemTime, unknown: bool) {
    let Some(recorded) = self::written(record) else {
        return;
    };
    if !unknown && written > recorded {
        return;
    }
    let older = if unknown {
        // Older than every source that cargo knows of.
        Some(SystemTime::UNIX_EPOCH + Duration::from_hours(24))
    } else {
        written.checked_sub(TICK)
    };
    if let (Some(older), Ok(file)) = (older, File::options().append(true).open(record)) {
        file.set_modified(older).ok();
    }
}

/// Sets the time stamp to now, as `touch` does.
fn touch(path: &Path) {
    if let Ok(file) = File::options().append(true).open(path) {
        file.set_modified(clock::wall()).ok();
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;
    use crate::session::model::{Change, Save};

    fn local(dir: &str) -> Local {
        let name = dir.trim_matches('/').replace('/', "-");
        Local {
            dir: dir.into(),
            id: cargo_metadata::PackageId { repr: name.clone() },
            name,
            has_script: false,
        }
    }

    #[test]
    fn a_file_belongs_to_the_innermost_package() {
        let packages = ["/w", "/w/inner", "/other"].map(local);
        for (file, expected) in [
            ("/w/src/main.rs", vec!["w"]),
            ("/w/inner/src/lib.rs", vec!["w-inner"]),
            ("/elsewhere/a.rs", vec!["w", "w-inner", "other"]),
        ] {
            let found = owners(&packages, Path::new(file)).iter();
            let names: Vec<&str> = found.map(|local| local.name.as_str()).collect();
            assert_eq!(names, expected, "{file}");
        }
    }

    /// As after a checkout of many files that keeps their times.
    #[test]
    fn a_record_gets_older_than_each_of_many_changes() {
        let dir = tempfile::tempdir().unwrap();
        let (workspace, profile) = (dir.path().join("app"), dir.path().join("debug"));
        let unit = profile.join(".fingerprint/app-0123456789abcdef");
        fs::create_dir_all(&unit).unwrap();
        fs::create_dir(&workspace).unwrap();
        let now = clock::wall();
        let create = |path: &Path, age: u64| {
            let file = File::create(path).unwrap();
            file.set_modified(now - Duration::from_secs(age)).unwrap();
        };
        let mut changes = Changes::default();
        for age in [50, 100, 0, 70] {
            let name = format!("{age}.rs");
            create(&workspace.join(&name), age);
            changes.add(&Change {
                path: name.into(),
                kind: ChangeKind::Source,
                before: None,
                now: Content::Digest(age),
                save: Save::Finished,
                script: None,
            });
        }
        let app = Local {
            dir: workspace.clone(),
            name: "app".into(),
            ..local("app")
        };
        let record = unit.join("dep-bin-app");
        for recorded in [30, 100, 200] {
            create(&record, recorded);
            let before = written(&record).unwrap();
            make_seen(&workspace, from_ref(&app), &profile, &[], &changes, now);
            let (after, oldest) = (written(&record), written(&workspace.join("100.rs")));
            assert!(after < oldest, "{recorded}");
            assert_eq!(after == Some(before), recorded == 200);
        }
    }

    #[test]
    fn only_records_that_hide_the_change_are_set_back() {
        let dir = tempfile::tempdir().unwrap();
        let unit = dir.path().join(".fingerprint/app-0123456789abcdef");
        fs::create_dir_all(&unit).unwrap();
        fs::create_dir_all(dir.path().join(".fingerprint/app-core-0123456789abcdef")).unwrap();
        for name in ["dep-bin-app", "bin-app", "invoked.timestamp"] {
            fs::write(unit.join(name), "").unwrap();
        }
        let found = records(dir.path(), "app");
        assert_eq!(found, [unit.join("dep-bin-app")]);
        let recorded = written(&found[0]).unwrap();
        let second = Duration::from_secs(1);
        set_back(&found[0], recorded + second, false);
        assert_eq!(written(&found[0]), Some(recorded));
        set_back(&found[0], recorded, false);
        let older = written(&found[0]).unwrap();
        assert!(older < recorded && recorded - second < older);
        set_back(&found[0], recorded, true);
        assert!(written(&found[0]).unwrap() < recorded - 1000 * second);
    }
}
