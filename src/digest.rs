//! What is in a file, as a number: another one wherever the content is another one, as far as chance
//! goes.

use std::hash::{DefaultHasher, Hasher};
use std::path::Path;

/// The content of this file; `None` if it can't be read.
pub fn of(path: &Path) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    hasher.write(&std::fs::read(path).ok()?);
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_decides() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert_eq!(of(&path), None);
        std::fs::write(&path, "one").unwrap();
        let one = of(&path);
        std::fs::write(&path, "two").unwrap();
        assert_ne!(of(&path), one);
        std::fs::write(&path, "one").unwrap();
        assert!(one.is_some() && of(&path) == one);
    }
}
