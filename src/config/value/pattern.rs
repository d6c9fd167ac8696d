//! Paths by pattern. Pure.

use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use globset::{Glob, GlobBuilder};
use serde::de::{Deserialize, Deserializer};
use serde_json::{Value as Json, json};

use super::super::Reach;
use super::{Shape, Text, TextVisitor, Value, wrong};
use crate::sockets::spec::Wrong;

/// A glob: `*`, `?`, `[a-z]`, `{a,b}` and `**`. Without a slash it matches names anywhere, as in a
/// `.gitignore`; with a slash it is a path from the directory of the file; with a slash at its end, a
/// directory and everything in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    dir: PathBuf,
}

impl Pattern {
    /// The globs of whole paths; none if the pattern did not come from [`Text::read`].
    pub fn globs(&self) -> impl Iterator<Item = Glob> {
        let (dir, text) = self.place();
        let dir = dir.display().to_string();
        let dir = globset::escape(dir.trim_end_matches('/'));
        let path = if text.starts_with('/') {
            text.to_owned()
        } else if self.text.contains('/') {
            format!("{dir}/{text}")
        } else {
            format!("{dir}/**/{text}")
        };
        let itself = path.trim_end_matches('/').to_owned();
        let inside = self.text.ends_with('/').then(|| format!("{itself}/**"));
        let globs = [Some(itself), inside].into_iter().flatten();
        globs.filter_map(|text| glob(&text).ok())
    }

    /// The directory from which it starts, and the rest, without any leading `./` and `../`.
    fn place(&self) -> (&Path, &str) {
        let (mut dir, mut text) = (self.dir.as_path(), self.text.as_str());
        loop {
            if let Some(rest) = text.strip_prefix("./") {
                text = rest;
            } else if let Some(rest) = text.strip_prefix("../") {
                text = rest;
                dir = dir.parent().unwrap_or(dir);
            } else {
                return (dir, text);
            }
        }
    }

    /// Where it can match, if it is a path; a name only matches in directories that are watched anyway.
    pub fn reach(&self) -> Option<Reach> {
        if !self.text.contains('/') {
            return None;
        }
        let (dir, text) = self.place();
        let (dirs, name) = match text.rsplit_once('/').unwrap_or(("", text)) {
            (dirs, "") => (dirs, "**"),
            named => named,
        };
        let dirs: Vec<&str> = dirs.split('/').filter(|part| !part.is_empty()).collect();
        let plain = |part: &&&str| !part.contains(['*', '?', '[', '{']);
        let fixed = dirs.iter().take_while(plain).count();
        let further = dirs[fixed..].iter().chain([&name]);
        let anywhere = further.clone().any(|part| part.contains("**"));
        let absolute = if text.starts_with('/') { "/" } else { "" };
        let inside = dirs[..fixed].join("/");
        Some(Reach {
            root: dir.join(format!("{absolute}{}", inside.trim_start_matches('/'))),
            depth: (!anywhere).then(|| further.count()),
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A `*` stays within a name; `**` does not.
fn glob(text: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(text).literal_separator(true).build()
}

impl Text for Pattern {
    fn read(text: &str) -> Result<Self, Wrong> {
        let hint = "write a pattern like `*.tmp` or `assets/**`";
        if text.is_empty() {
            return wrong("an empty pattern matches nothing".into(), hint);
        }
        match glob(text) {
            Ok(_) => Ok(Self {
                text: text.to_owned(),
                dir: PathBuf::new(),
            }),
            Err(error) => wrong(format!("`{text}` is no pattern: {}", error.kind()), hint),
        }
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor(PhantomData))
    }
}

impl Value for Pattern {
    const SHAPE: Shape = Shape::Text;

    fn kind() -> String {
        "pattern".into()
    }

    fn schema() -> Json {
        json!({ "type": "string", "minLength": 1 })
    }

    fn rebase(&mut self, dir: &Path) {
        dir.clone_into(&mut self.dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn pattern(
        text: &str,
        dir: &str,
        matches: &[&str],
        not: &[&str],
        reach: Option<(&str, Option<usize>)>,
    ) {
        let mut pattern = Pattern::read(text).unwrap();
        pattern.rebase(Path::new(dir));
        let globs: Vec<Glob> = pattern.globs().collect();
        let is_match = |path: &&str| {
            globs
                .iter()
                .any(|glob| glob.compile_matcher().is_match(path))
        };
        for path in matches {
            assert!(is_match(path), "`{text}` should match {path}");
        }
        for path in not {
            assert!(!is_match(path), "`{text}` should not match {path}");
        }
        let reach = reach.map(|(root, depth)| Reach {
            root: root.into(),
            depth,
        });
        assert_eq!(pattern.reach(), reach);
    }

    #[test]
    fn patterns_are_paths_or_names() {
        pattern(
            "*.tmp",
            "/a",
            &["/a/x.tmp", "/a/b/x.tmp"],
            &["/x.tmp"],
            None,
        );
        pattern(
            "assets/**",
            "/a",
            &["/a/assets/x/y"],
            &["/a/b/assets/x", "/a/src/assets.rs"],
            Some(("/a/assets", None)),
        );
        pattern(
            "config/*.toml",
            "/a[1]",
            &["/a[1]/config/x.toml"],
            &["/a1/config/x.toml", "/a[1]/config/y/x.toml"],
            Some(("/a[1]/config", Some(1))),
        );
        pattern(
            "/etc/{a,b}.conf",
            "/a",
            &["/etc/b.conf"],
            &["/etc/c.conf"],
            Some(("/etc", Some(1))),
        );
        pattern("./x", "/a", &["/a/x"], &["/a/b/x"], Some(("/a", Some(1))));
        pattern(
            ".sqlx/**",
            "/a",
            &["/a/.sqlx/x"],
            &["/a/sqlx/x"],
            Some(("/a/.sqlx", None)),
        );
        pattern(
            "../shared/*.sql",
            "/a/b",
            &["/a/shared/x.sql"],
            &["/a/b/shared/x.sql"],
            Some(("/a/shared", Some(1))),
        );
        pattern("a/*/c", "/", &["/a/b/c"], &["/a/c"], Some(("/a", Some(2))));
    }

    #[test]
    fn a_slash_at_the_end_means_a_directory_and_all_in_it() {
        pattern(
            "uploads/",
            "/a",
            &["/a/uploads", "/a/uploads/x", "/a/uploads/x/y"],
            &["/a/uploads.rs", "/a/b/uploads/x"],
            Some(("/a/uploads", None)),
        );
        pattern(
            "*/raw/",
            "/a",
            &["/a/b/raw/x"],
            &["/a/raw/x"],
            Some(("/a", None)),
        );
        pattern("./", "/a", &["/a/x/y"], &["/b/x"], Some(("/a", None)));
        pattern(
            "/srv/",
            "/a",
            &["/srv/x"],
            &["/a/srv/x"],
            Some(("/srv", None)),
        );
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let wrong = Pattern::read("a{").unwrap_err();
        assert_eq!(
            wrong.reason,
            "`a{` is no pattern: unclosed alternate group; missing '}' \
             (maybe escape '{' with '[{]'?)"
        );
    }
}
