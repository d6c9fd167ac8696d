//! Tells the two meanings of `--config` apart: hotrun's configuration file, and cargo's own flag. Pure.
//!
//! `KEY=VALUE` is cargo's. A file is cargo's if it has a section or key that only cargo knows; any other
//! file is taken for hotrun's, whose parser then reports what is wrong with it.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::layer::SECTIONS;
use crate::exit::Failure;

/// Sections that cargo reads and hotrun does not have.
const SECTIONS_OF_CARGO: [&str; 19] = [
    "alias",
    "cache",
    "cargo-new",
    "credential-alias",
    "doc",
    "future-incompat-report",
    "http",
    "include",
    "install",
    "net",
    "patch",
    "paths",
    "profile",
    "registries",
    "registry",
    "resolver",
    "source",
    "target",
    "term",
];

/// Keys that cargo reads in `[build]` and hotrun does not have.
const BUILD_OF_CARGO: [&str; 14] = [
    "analysis",
    "artifact-dir",
    "build-dir",
    "dep-info-basedir",
    "incremental",
    "rustc",
    "rustc-workspace-wrapper",
    "rustc-wrapper",
    "rustdoc",
    "rustdocflags",
    "rustflags",
    "sbom",
    "target-dir",
    "warnings",
];

/// The values of `--config`, for either of the two.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Split {
    /// Hotrun's own file.
    pub(super) own: Option<PathBuf>,
    /// The values for cargo, in order.
    pub(super) cargos: Vec<String>,
}

/// Tells the values apart; `read` returns the text of a file.
pub(super) fn split(
    typed: &[String],
    read: impl Fn(&Path) -> Option<String>,
) -> Result<Split, Failure> {
    let mut split = Split::default();
    for typed in typed {
        let text = read(Path::new(typed));
        // As in cargo, an existing file comes first.
        let is_cargos = match &text {
            Some(text) => text.parse().is_ok_and(|table| is_cargos(&table)),
            None => typed.contains('='),
        };
        if is_cargos {
            split.cargos.push(typed.clone());
        } else if let Some(first) = split.own.replace(typed.into()) {
            return Err(Failure::usage(format!(
                "--config: `{}` and `{typed}` are both configuration files of hotrun",
                first.display()
            ))
            .hint("name one; an overlay of it is chosen with --env"));
        }
    }
    Ok(split)
}

fn is_cargos(table: &Table) -> bool {
    table.iter().any(|(name, value)| match name.as_str() {
        "build" => value
            .as_table()
            .is_some_and(|keys| keys.keys().any(|key| BUILD_OF_CARGO.contains(&&**key))),
        // In hotrun's file, `[env.NAME]` is an overlay with sections; in cargo's, a variable is a string
        // or has a `value`.
        "env" => value.as_table().is_some_and(|env| {
            let is_variable =
                |value: &Value| value.as_table().is_none_or(|it| it.contains_key("value"));
            env.values().any(is_variable)
        }),
        name => SECTIONS_OF_CARGO.contains(&name),
    }) && !table.keys().any(|name| is_own(name))
}

/// A section that hotrun has and cargo does not.
fn is_own(name: &str) -> bool {
    let own = SECTIONS.0.iter().chain(SECTIONS.1);
    own.filter(|section| section.name != "build")
        .any(|section| section.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(typed: &[&str], files: &[(&str, &str)], own: Option<&str>, cargos: &[&str]) {
        let typed: Vec<String> = typed.iter().map(ToString::to_string).collect();
        let read = |path: &Path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        };
        let split = split(&typed, read).unwrap();
        assert_eq!(split.own, own.map(PathBuf::from));
        assert_eq!(split.cargos, cargos);
    }

    #[test]
    fn keys_with_values_are_cargos() {
        case(&["net.offline=true"], &[], None, &["net.offline=true"]);
        case(&["a.toml"], &[], Some("a.toml"), &[]);
        let keys = ["build.jobs=1", "x.toml", "env.A='1'"];
        case(&keys, &[], Some("x.toml"), &["build.jobs=1", "env.A='1'"]);
    }

    #[test]
    fn a_file_is_cargos_by_what_only_cargo_has() {
        for text in [
            "[profile.dev]\ndebug = 0",
            "[env]\nA = '1'",
            "[env]\nA = { value = '1', force = true }",
            "[build]\nrustflags = []",
            "include = ['a.toml']",
            "[target.'cfg(unix)']\nrunner = 'x'\n[build]\ntarget = 'x'",
        ] {
            case(&["c.toml"], &[("c.toml", text)], None, &["c.toml"]);
        }
        for text in [
            "",
            "[build]\nrelease = true",
            "[build]\ntarget = 'x'",
            "[app]\nargs = []\n[profile.dev]\n",
            "[env.ci.app]\nargs = []",
            "[env.ci]\n",
            "no toml",
            "[no_section]",
        ] {
            case(&["c.toml"], &[("c.toml", text)], Some("c.toml"), &[]);
        }
    }

    #[test]
    fn one_file_is_hotruns() {
        let typed = ["a.toml".to_owned(), "b.toml".to_owned()];
        let failure = split(&typed, |_| None).unwrap_err();
        assert!(failure.to_string().contains("both"), "{failure}");
    }
}
