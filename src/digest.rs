//! The digest of a file's content, to tell whether it has changed.

use std::fs::{File, Metadata};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use crate::session::model::Content;
use crate::sys::files;

/// The digest of a larger file is of its size and times: reading it at every save would take longer than
/// an unnecessary build now and then.
const LARGE: u64 = 64 << 20;

/// The content at this path, following links. `None`: it is no regular file (a directory, a socket, a
/// pipe).
pub fn of(path: &Path) -> Option<Content> {
    match read(path) {
        Ok(content) => content,
        Err(error) if is_missing(&error) => Some(Content::Missing),
        Err(_) => Some(Content::Unreadable),
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename
    )
}

fn read(path: &Path) -> io::Result<Option<Content>> {
    // Opening a pipe would block until a process writes to it.
    let found = path.metadata()?;
    if !found.is_file() {
        return Ok(None);
    }
    if found.len() > LARGE {
        return Ok(Some(Content::Digest(by_its_times(&found))));
    }
    let mut hasher = DefaultHasher::new();
    let mut file = File::open(path)?;
    let mut block = vec![0; 64 * 1024];
    let mut empty = true;
    loop {
        let count = match file.read(&mut block) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        empty = false;
        hasher.write(&block[..count]);
    }
    Ok(Some(if empty {
        Content::Empty
    } else {
        Content::Digest(hasher.finish())
    }))
}

fn by_its_times(found: &Metadata) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(found.len());
    hasher.write_u64(files::number(found));
    let (seconds, nanos) = files::modified(found);
    hasher.write_i64(seconds);
    hasher.write_i64(nanos);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_decides() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert_eq!(of(&path), Some(Content::Missing));
        assert_eq!(of(&path.join("below")), Some(Content::Missing));
        assert_eq!(of(dir.path()), None);
        std::fs::write(&path, "").unwrap();
        assert_eq!(of(&path), Some(Content::Empty));
        std::fs::write(&path, "one").unwrap();
        let one = of(&path);
        std::fs::write(&path, "two").unwrap();
        assert_ne!(of(&path), one);
        std::fs::write(&path, "one").unwrap();
        assert!(matches!(one, Some(Content::Digest(_))) && of(&path) == one);
    }
}
