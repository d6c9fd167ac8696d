//! Writes a new file whole or not at all, and never over another one.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::New;
use crate::config::schema;
use crate::exit::Failure;
use crate::sys::files;

/// Refuses a file that exists with other content.
pub(super) fn check(file: &New, dir: &Path) -> Result<(), Failure> {
    if file.path.symlink_metadata().is_ok() && !is_written(file) {
        return Err(exists(file, dir));
    }
    Ok(())
}

/// Writes a file, with its directory, unless it is there already.
pub(super) fn write(file: &New, dir: &Path) -> Result<(), Failure> {
    if is_written(file) {
        return Ok(());
    }
    create(&file.path, &file.text).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(file, dir),
        _ => Failure::failed(format!(
            "cannot write `{}`: {error}",
            shown(&file.path, dir)
        ))
        .hint("make its directory writable, and try again"),
    })
}

/// The file has the very same content: so has the schema, if another configuration file was here before.
fn is_written(file: &New) -> bool {
    let is_schema = file.text == schema::schema();
    is_schema && fs::read(&file.path).is_ok_and(|bytes| bytes == file.text.as_bytes())
}

fn create(path: &Path, text: &str) -> io::Result<()> {
    let dir = path.parent().unwrap_or(path);
    fs::create_dir_all(dir)?;
    // Under another name until it is whole: an editor, or a hotrun that watches, reads it at once.
    let mut new = tempfile::Builder::new();
    new.prefix(".hotrun-init.");
    if let Some(permissions) = files::usual_permissions() {
        new.permissions(permissions);
    }
    let mut new = new.tempfile_in(dir)?;
    new.write_all(text.as_bytes())?;
    new.persist_noclobber(path)?;
    Ok(())
}

fn exists(file: &New, dir: &Path) -> Failure {
    let path = shown(&file.path, dir);
    Failure::usage(format!("`{path}` exists: nothing was written"))
        .hint("edit it, or move it away to have one written anew")
}

/// A path as seen from a directory, if it is in there.
pub(super) fn shown(path: &Path, dir: &Path) -> String {
    let inside = path.strip_prefix(dir).unwrap_or(path);
    inside.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::{can_link, lacks};

    #[test]
    fn what_exists_stays() {
        let dir = tempfile::tempdir().unwrap();
        let new = |name: &str| New {
            path: dir.path().join(name),
            text: "new".into(),
        };
        let file = new("deep/file");
        check(&file, dir.path()).unwrap();
        write(&file, dir.path()).unwrap();
        assert_eq!(fs::read_to_string(&file.path).unwrap(), "new");
        let other = dir.path().join("other");
        fs::write(&other, "").unwrap();
        let permissions = |path: &Path| path.metadata().unwrap().permissions();
        assert_eq!(permissions(&file.path), permissions(&other));
        is_refused(&file, dir.path());
        let left = fs::read_dir(dir.path().join("deep")).unwrap();
        assert_eq!(left.count(), 1);
    }

    #[track_caller]
    fn is_refused(file: &New, dir: &Path) {
        for result in [check(file, dir), write(file, dir)] {
            let failure = result.unwrap_err();
            assert!(failure.message.ends_with(" exists: nothing was written"));
        }
    }

    #[test]
    fn a_link_that_leads_nowhere_stays() {
        if lacks(can_link(), "links that this user may make") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let dangling = New {
            path: dir.path().join("link"),
            text: "new".into(),
        };
        files::symlink("nowhere", &dangling.path).unwrap();
        is_refused(&dangling, dir.path());
        assert!(!dir.path().join("nowhere").exists());
    }
}
