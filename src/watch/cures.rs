//! Hints for files that look like inputs of a program and that nothing depends on: the cure depends on
//! whether the app reads them or a crate compiles them in. Pure.

use std::collections::BTreeSet;
use std::path::Path;

use crate::session::model::Cure;

/// File extensions that apps read when they start, or while they run.
const READ: [&str; 18] = [
    "css", "csv", "ftl", "graphql", "hbs", "html", "j2", "jinja", "jinja2", "js", "json", "liquid",
    "mjs", "sql", "tera", "toml", "yaml", "yml",
];

/// Names of directories in which projects keep such files.
const PLACES: [&str; 18] = [
    "assets",
    "config",
    "conf",
    "i18n",
    "locales",
    "migrations",
    "proto",
    "protos",
    "public",
    "queries",
    "resources",
    "schema",
    "sql",
    "static",
    "templates",
    "translations",
    "views",
    "web",
];

/// Crates that compile files in without telling cargo of all of them: the directory names or extensions
/// of those files.
const COMPILED: [(&str, &[&str], &[&str]); 14] = [
    ("sqlx", &["migrations"], &[]),
    ("refinery", &["migrations"], &[]),
    ("diesel_migrations", &["migrations"], &[]),
    ("sea-orm-migration", &["migrations"], &[]),
    ("tonic-build", &[], &["proto"]),
    ("tonic-prost-build", &[], &["proto"]),
    ("prost-build", &[], &["proto"]),
    ("protobuf-codegen", &[], &["proto"]),
    ("askama", &["templates"], &[]),
    ("rinja", &["templates"], &[]),
    ("sailfish", &["templates"], &["stpl"]),
    ("cynic-codegen", &[], &["graphql"]),
    ("graphql_client", &[], &["graphql"]),
    ("rust-i18n", &["locales"], &[]),
];

/// A directory of this name may hold such files.
pub fn is_place(name: &str) -> bool {
    PLACES.contains(&name)
}

/// Apps read files with this extension.
pub(super) fn is_read(ending: &str) -> bool {
    READ.contains(&ending)
}

/// The cure for this file of a package with these `crates`, if it looks like an input. `path` is
/// relative to the package.
pub fn cure(path: &Path, crates: &BTreeSet<String>) -> Option<Cure> {
    let ending = path.extension()?.to_str()?;
    let dirs: Vec<&str> = path
        .parent()?
        .iter()
        .filter_map(|dir| dir.to_str())
        .collect();
    let compiled = COMPILED.iter().find(|(name, places, endings)| {
        let here = dirs.iter().any(|dir| places.contains(dir)) || endings.contains(&ending);
        here && crates.contains(*name)
    });
    if let Some((name, ..)) = compiled {
        return Some(Cure::CompiledIn(name));
    }
    // These crates compile in a whole directory, of any name.
    let whole = ["include_dir", "rust-embed"];
    let whole = whole.into_iter().find(|name| crates.contains(*name));
    let is_asset = dirs.iter().any(|dir| is_place(dir));
    if let Some(name) = whole.filter(|_| is_asset) {
        return Some(Cure::CompiledIn(name));
    }
    // Only a file in a directory for such files looks like an input, not one at the root of the package.
    let looks = READ.contains(&ending) && !path.ends_with("Cargo.toml");
    (looks && is_asset).then_some(Cure::Restart)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compiled_in_is_told_from_what_is_read() {
        for (path, crates, expected) in [
            (
                "migrations/2_b.sql",
                &["sqlx"][..],
                Some(Cure::CompiledIn("sqlx")),
            ),
            (
                "migrations/2_b.sql",
                &["refinery"],
                Some(Cure::CompiledIn("refinery")),
            ),
            (
                "migrations/2_b.sql",
                &["tokio-postgres"],
                Some(Cure::Restart),
            ),
            (
                "templates/a.html",
                &["askama"],
                Some(Cure::CompiledIn("askama")),
            ),
            (
                "templates/a.html",
                &["tera", "minijinja"],
                Some(Cure::Restart),
            ),
            (
                "static/a.css",
                &["rust-embed"],
                Some(Cure::CompiledIn("rust-embed")),
            ),
            (
                "deep/x.proto",
                &["tonic-build"],
                Some(Cure::CompiledIn("tonic-build")),
            ),
            ("deep/x.proto", &[], None),
            ("uploads/a.json", &["sqlx", "tera"], None),
            ("openapi.json", &[], None),
            ("README.md", &["tera"], None),
            ("static/photo.jpg", &[], None),
        ] {
            let crates = crates.iter().map(ToString::to_string).collect();
            assert_eq!(cure(Path::new(path), &crates), expected, "{path}");
        }
    }
}
