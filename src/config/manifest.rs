//! Finds the manifest in use, and the root of its workspace.

use std::path::{Component, Path, PathBuf};

use crate::exit::Failure;

/// The manifest that cargo would find, or the one named by `--manifest-path`.
pub(super) fn find(dir: &Path, named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(named) = named {
        let path = straight(&dir.join(named));
        if path.is_dir() {
            let inside = named.join("Cargo.toml");
            return Err(Failure::usage(format!(
                "--manifest-path: `{}` is a directory",
                named.display()
            ))
            .hint(format!("name the manifest itself: `{}`", inside.display())));
        }
        if !path.is_file() {
            return Err(Failure::usage(format!(
                "--manifest-path: there is no `{}`",
                named.display()
            ))
            .hint("name the Cargo.toml of the project to run"));
        }
        if path.file_name().is_none_or(|name| name != "Cargo.toml") {
            return Err(Failure::usage(format!(
                "--manifest-path: `{}` is no Cargo.toml",
                named.display()
            ))
            .hint("name the Cargo.toml of the project to run"));
        }
        return Ok(path);
    }
    dir.ancestors()
        .map(|dir| dir.join("Cargo.toml"))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            Failure::usage(format!("no Cargo.toml in `{}` or above it", dir.display()))
                .hint("start hotrun in a Cargo project, or name one with --manifest-path")
        })
}

/// A path without `.` and `..`, resolved by its text alone, as cargo does it, so that equal files have
/// equal paths.
pub(super) fn straight(path: &Path) -> PathBuf {
    let mut straight = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => _ = straight.pop(),
            part => straight.push(part),
        }
    }
    straight
}

/// The directory of the nearest manifest that has a `[workspace]`, else that of the manifest. Found by
/// the lines of the manifest, which may be broken right now.
pub(super) fn workspace_root(manifest: &Path) -> PathBuf {
    let is_root = |dir: &&Path| {
        let text = std::fs::read_to_string(dir.join("Cargo.toml")).unwrap_or_default();
        text.lines()
            .any(|line| line.trim_start().starts_with("[workspace"))
    };
    let own = manifest.parent().unwrap_or(manifest);
    own.ancestors().find(is_root).unwrap_or(own).to_owned()
}
