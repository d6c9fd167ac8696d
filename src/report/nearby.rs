//! Paths from where the user stands: hotrun's own lines, other than its events and what cargo prints,
//! name files so that they can be opened from there. Pure.

use std::path::{Component, Path, PathBuf};

use super::context::Context;
use super::event::Event;
use crate::session::action::View;
use crate::session::model::Cause;

impl Context {
    /// Paths of views start from another directory than the one in which the user stands, which is
    /// inside of it.
    pub fn is_elsewhere(&self) -> bool {
        self.dir != self.base && self.dir.starts_with(&self.base)
    }

    /// The event for a view as it is told to the user.
    pub fn of_view_from_here(&mut self, mut view: View) -> Option<Event> {
        let inside = match self.dir.strip_prefix(&self.base) {
            Ok(inside) => inside.to_owned(),
            Err(_) => PathBuf::new(),
        };
        if let Some(Cause::Changed(paths)) = cause(&mut view) {
            for path in paths {
                *path = from(&inside, path);
            }
        }
        let mut event = self.of_view(view)?;
        if let Event::NoDependents { path, .. }
        | Event::OwnWriting { path, .. }
        | Event::Loop { path, .. } = &mut event
        {
            path.0 = from(&inside, &path.0);
        }
        Some(event)
    }
}

/// Why what is shown was started.
fn cause(view: &mut View) -> Option<&mut Cause> {
    match view {
        View::Building { cause, .. }
        | View::BuildCancelled { cause, .. }
        | View::BuildFailed { cause, .. }
        | View::Unchanged { cause, .. }
        | View::Starting { cause, .. }
        | View::Signalled { cause, .. }
        | View::Live { cause, .. }
        | View::NotReady { cause, .. }
        | View::Ended { cause, .. }
        | View::CannotStart { cause, .. } => Some(cause),
        _ => None,
    }
}

/// This path as it is named from a directory; both start from the same place.
fn from(dir: &Path, path: &Path) -> PathBuf {
    if path.is_absolute() {
        return path.to_owned();
    }
    let mut rest = path.components();
    let mut up = dir.components();
    loop {
        let (mut next, mut deeper) = (rest.clone(), up.clone());
        match (next.next(), deeper.next()) {
            (Some(part), Some(other)) if part == other => (rest, up) = (next, deeper),
            _ => break,
        }
    }
    let up = up.map(|_| Component::ParentDir);
    up.chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::text;
    use super::*;
    use crate::session::model::{Cure, Generation};
    use crate::sys::testing::native;

    #[test]
    fn paths_start_where_the_user_stands() {
        for (dir, path, expected) in [
            ("crates/api", "crates/api/src/a.rs", "src/a.rs"),
            ("crates/api", "crates/db/src/a.rs", "../db/src/a.rs"),
            ("crates/api", "Cargo.toml", "../../Cargo.toml"),
            ("crates/api/src", "crates/api/src/a.rs", "a.rs"),
            ("crates/api", "/etc/a", "/etc/a"),
            ("", "src/a.rs", "src/a.rs"),
        ] {
            assert_eq!(from(Path::new(dir), Path::new(path)), Path::new(expected));
        }
    }

    #[test]
    fn only_the_line_names_them_like_that() {
        let mut context = Context {
            base: "/w".into(),
            dir: "/w/api".into(),
            patterns: "/w/api".into(),
            ..Context::default()
        };
        assert!(context.is_elsewhere());
        let view = View::Building {
            generation: Generation(2),
            cause: Cause::Changed(vec!["api/src/a.rs".into(), "db/b.rs".into()]),
            ago: Duration::ZERO,
        };
        let mut says = |view: View| text::of(&context.of_view_from_here(view).unwrap()).unwrap();
        let paths = native("src/a.rs, ../db/b.rs");
        assert_eq!(says(view).text, format!("building g2 ({paths})"));
        // What is to be written into the configuration starts there, as always.
        let view = View::NoDependents {
            path: "api/pages/a.html".into(),
            cure: Cure::Restart,
        };
        let text = says(view).text;
        let said = format!("depends on `{}`", native("pages/a.html"));
        assert!(text.contains(&said), "{text}");
        assert!(text.contains("`paths = [\"pages/**/*.html\"]`"), "{text}");
    }
}
