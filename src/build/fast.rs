//! The fast profile: the user's own with less debug information, in a directory of its own below the
//! target directory, so that it neither waits for other cargos nor has them build anew.
//!
//! It is a profile for cargo like any other, given by `--config`, and inherits the chosen one: levels of
//! optimization, overrides of packages, checks and all else stay as they are. What is left out is what
//! takes time to write and to link and is of no use but to a debugger: panics and backtraces keep the
//! files and lines of the packages at hand. Reads the profiles as cargo does: its configuration, then the
//! manifest of the workspace.

use std::path::Path;

use toml::{Table, Value};

use super::cargo_config::CargoConfig;
use crate::config::Build;

/// The most profiles that may inherit from each other; cargo refuses circles.
const DEEPEST: usize = 8;

/// How much debug information a profile asks for, in cargo's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Debug {
    None,
    LineDirectives,
    LineTables,
    More,
}

/// The values for cargo's `--config` that make the profile, for a project with this manifest of its
/// workspace.
pub(super) fn config(build: &Build, config: &CargoConfig, workspace: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(workspace.join("Cargo.toml")).unwrap_or_default();
    // Cargo itself complains of a broken manifest.
    let manifest = text.parse().unwrap_or_default();
    let base = build.chosen_profile();
    let mut settings = vec![format!("inherits=\"{base}\"")];
    if debug(base, config, &manifest) > Debug::LineTables {
        settings.push("debug=\"line-tables-only\"".into());
    }
    settings.push("package.\"*\".debug=false".into());
    let name = build.profile();
    let of_profile = |setting| format!("profile.{name}.{setting}");
    settings.into_iter().map(of_profile).collect()
}

/// What this profile asks for, or what it inherits.
fn debug(profile: &str, config: &CargoConfig, manifest: &Table) -> Debug {
    let mut profile = profile.to_owned();
    for _ in 0..DEEPEST {
        let setting = |key: &str| {
            let written = || manifest.get("profile")?.get(&profile)?.get(key).cloned();
            config.of_profile(&profile, key).or_else(written)
        };
        if let Some(debug) = setting("debug") {
            return level(&debug);
        }
        let inherits = setting("inherits");
        profile = match (profile.as_str(), inherits.as_ref().and_then(Value::as_str)) {
            ("test", _) => "dev".into(),
            ("bench", _) => "release".into(),
            ("release", _) => return Debug::None,
            (_, Some(base)) => base.to_owned(),
            (_, None) => return Debug::More,
        };
    }
    Debug::More
}

/// The levels by their numbers and names; in the environment all of them are text.
fn level(value: &Value) -> Debug {
    match value {
        Value::Boolean(false) | Value::Integer(0) => Debug::None,
        Value::String(text) => match text.as_str() {
            "0" | "false" | "none" => Debug::None,
            "line-directives-only" => Debug::LineDirectives,
            "line-tables-only" => Debug::LineTables,
            _ => Debug::More,
        },
        _ => Debug::More,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is added to a profile `name` where the manifest, cargo's `--config` and the environment say
    /// this.
    fn added(name: &str, manifest: &str, typed: &[&str], env: &[(&str, &str)]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("Cargo.toml"), manifest).unwrap();
        let build = Build {
            dir: dir.path().to_owned(),
            profile: Some(name.into()),
            fast: true,
            config: typed.iter().map(ToString::to_string).collect(),
            env: env
                .iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
            ..Build::default()
        };
        super::config(&build, &CargoConfig::read(&build), dir.path())
    }

    #[test]
    fn the_profile_inherits_and_never_asks_for_more() {
        let custom = "[profile.quick]\ninherits = 'dev'\n[profile.dev]\n";
        let less = format!("{custom}debug = 0");
        for (name, manifest, typed, env, expected) in [
            ("dev", "", &[][..], &[][..], true),
            ("release", "", &[], &[], false),
            ("bench", "", &[], &[], false),
            ("release", "[profile.release]\ndebug = true", &[], &[], true),
            (
                "bench",
                "[profile.release]\ndebug = 'limited'",
                &[],
                &[],
                true,
            ),
            ("dev", "[profile.dev]\ndebug = 0", &[], &[], false),
            ("test", "[profile.dev]\ndebug = 'none'", &[], &[], false),
            ("quick", custom, &[], &[], true),
            ("quick", &less, &[], &[], false),
            ("quick", &less, &["profile.quick.debug=2"], &[], true),
            (
                "dev",
                "",
                &["profile.dev.debug='line-directives-only'"],
                &[],
                false,
            ),
            ("dev", "", &[], &[("CARGO_PROFILE_DEV_DEBUG", "0")], false),
            (
                "circle",
                "[profile.circle]\ninherits = 'circle'",
                &[],
                &[],
                true,
            ),
        ] {
            let added = added(name, manifest, typed, env);
            let mut all = vec![format!("profile.fast-{name}.inherits=\"{name}\"")];
            if expected {
                all.push(format!("profile.fast-{name}.debug=\"line-tables-only\""));
            }
            all.push(format!("profile.fast-{name}.package.\"*\".debug=false"));
            assert_eq!(added, all, "{manifest} {typed:?}");
        }
    }
}
