//! Removes from hotrun's environment what a cargo that started hotrun has set for another package. Pure.
//!
//! The project is built by the cargo that typing `cargo` in its directory starts. Hotrun may have been
//! started by another cargo, which (with rustup before it) has set variables for the package that hotrun
//! was run from:
//!
//! - `CARGO` and `CARGO_MANIFEST_DIR`: by `cargo run`, of hotrun itself or of a tool that starts it.
//!   What cargo sets for a program is removed, including its library path, and so is the toolchain that
//!   rustup has chosen for that package, unless the user is known to have chosen it (`RUSTUP_TOOLCHAIN=X
//!   cargo run`).
//! - `CARGO` alone: as a subcommand of cargo (`cargo hotrun`), or set by the user. That cargo is used.
//!   Only if rustup is known to have chosen it by the directory, rustup chooses anew each time, since
//!   `rust-toolchain.toml` may change.
//! - None of them: started by hand, by `rustup run X hotrun`, or with `RUSTUP_TOOLCHAIN=X`. Nothing is
//!   removed.

use std::env::consts::EXE_SUFFIX;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::sys::host::LIBRARY_PATH;

/// The cargo to call, and the environment to call it with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Called {
    /// Its name or its path.
    pub(super) cargo: OsString,
    /// Its environment.
    pub(super) env: Vec<(OsString, OsString)>,
}

/// Variables that cargo sets for programs that it runs, beside those of the package.
const OF_CARGO: [&str; 8] = [
    "CARGO",
    "CARGO_BIN_NAME",
    "CARGO_CRATE_NAME",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_LINKS",
    "CARGO_MANIFEST_PATH",
    "CARGO_PRIMARY_PACKAGE",
    "OUT_DIR",
];

/// The library paths, which cargo and rustup extend.
const LIBRARIES: [&str; 3] = [
    "LD_LIBRARY_PATH",
    "DYLD_FALLBACK_LIBRARY_PATH",
    LIBRARY_PATH,
];

/// Variables that rustup sets for programs that it starts.
const OF_RUSTUP: [&str; 3] = [
    "RUSTUP_TOOLCHAIN",
    "RUSTUP_TOOLCHAIN_SOURCE",
    "RUST_RECURSION_COUNT",
];

/// Determines both from hotrun's environment; `is_program` says whether a path is that of a program.
pub(super) fn called(env: Vec<(OsString, OsString)>, is_program: impl Fn(&Path) -> bool) -> Called {
    let value = |name: &str| {
        let found = env.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone())
    };
    let Some(parent) = value("CARGO").filter(|cargo| !cargo.is_empty()) else {
        let cargo = "cargo".into();
        return Called { cargo, env };
    };
    let by_run = value("CARGO_MANIFEST_DIR").is_some();
    let source = value("RUSTUP_TOOLCHAIN_SOURCE");
    let is_users = |source: &OsString| source == "env" || source == "cli";
    let keeps_toolchain = match &source {
        // With `cargo +X run`, the toolchain was chosen for the program that was run.
        Some(source) if by_run => source == "env",
        Some(source) => is_users(source),
        None => !by_run,
    };
    if !by_run && keeps_toolchain {
        return Called { cargo: parent, env };
    }
    let path = value("PATH").unwrap_or_default();
    let program = format!("cargo{EXE_SUFFIX}");
    let mut dirs = std::env::split_paths(&path);
    let is_found = dirs.any(|dir| is_program(&dir.join(&program)));
    let libraries = Libraries::of(&parent);
    let kept = env.into_iter().filter_map(|(key, value)| {
        let is = |names: &[&str]| names.iter().any(|name| key == *name);
        if (by_run && is_of_package(&key)) || key == "CARGO" || (!keeps_toolchain && is(&OF_RUSTUP))
        {
            return None;
        }
        if !is(&LIBRARIES) {
            return Some((key, value));
        }
        let value = libraries.without(&value)?;
        Some((key, value))
    });
    Called {
        env: kept.collect(),
        // Without a cargo in PATH, typing `cargo` would start none.
        cargo: if is_found { "cargo".into() } else { parent },
    }
}

fn is_of_package(key: &OsStr) -> bool {
    let starts = |start: &str| key.as_encoded_bytes().starts_with(start.as_bytes());
    OF_CARGO.iter().any(|name| key == *name) || starts("CARGO_PKG_") || starts("CARGO_BIN_EXE_")
}

/// The library directories that a cargo has added.
struct Libraries {
    /// Its toolchain.
    toolchain: Option<PathBuf>,
}

impl Libraries {
    fn of(cargo: &OsStr) -> Self {
        let toolchain = Path::new(cargo).parent().and_then(Path::parent);
        Self {
            toolchain: toolchain.map(|dir| dir.join("lib")),
        }
    }

    /// The list without these directories; `None` if nothing is left.
    fn without(&self, list: &OsStr) -> Option<OsString> {
        let dirs: Vec<PathBuf> = std::env::split_paths(list).collect();
        // The directories that cargo builds into: it lists both the directory and the `deps` in it.
        let built: Vec<&Path> = dirs
            .iter()
            .filter(|dir| dir.ends_with("deps"))
            .filter_map(|dir| dir.parent())
            .filter(|dir| dirs.iter().any(|other| other == dir))
            .collect();
        let toolchain = self.toolchain.as_deref();
        let mut theirs = built.into_iter().chain(toolchain).collect::<Vec<_>>();
        theirs.retain(|dir| !dir.as_os_str().is_empty());
        let is_theirs = |dir: &&PathBuf| theirs.iter().any(|their| dir.starts_with(their));
        let rest: Vec<&PathBuf> = dirs.iter().filter(|dir| !is_theirs(dir)).collect();
        let joined = std::env::join_paths(rest).ok()?;
        (!joined.is_empty()).then_some(joined)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN: &str = "/r/toolchains/a/bin/cargo";

    /// A list of directories.
    fn list(dirs: &[&str]) -> String {
        let list = std::env::join_paths(dirs).unwrap();
        list.into_string().unwrap()
    }

    fn owned(env: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        env.iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect()
    }

    #[track_caller]
    fn case(env: &[(&str, &str)], cargo: &str, expected: &[(&str, &str)]) {
        let program = Path::new("/bin").join(format!("cargo{EXE_SUFFIX}"));
        let called = called(owned(env), |path| path == program);
        assert_eq!(called.cargo, cargo);
        assert_eq!(called.env, owned(expected));
    }

    #[test]
    fn what_is_typed_holds() {
        for env in [
            &[("PATH", "/bin")][..],
            &[("RUSTUP_TOOLCHAIN", "x")],
            // `rustup run`.
            &[
                ("RUSTUP_TOOLCHAIN", "x"),
                ("RUST_RECURSION_COUNT", "1"),
                ("LD_LIBRARY_PATH", "/r/toolchains/x/lib"),
            ],
            // Some systems set these for all users.
            &[("CARGO_HOME", "/c"), ("CARGO_TARGET_DIR", "/t")],
        ] {
            case(env, "cargo", env);
        }
    }

    #[test]
    fn a_subcommand_is_of_the_cargo_that_runs_it() {
        let plain = [("CARGO", "/opt/cargo"), ("PATH", "/bin")];
        case(&plain, "/opt/cargo", &plain);
        for source in ["cli", "env"] {
            let env = [
                ("CARGO", CHAIN),
                ("PATH", "/bin"),
                ("RUSTUP_TOOLCHAIN", "a"),
                ("RUSTUP_TOOLCHAIN_SOURCE", source),
            ];
            case(&env, CHAIN, &env);
        }
        // Chosen by the directory: rustup chooses again.
        let libraries = list(&["/r/toolchains/a/lib", "/own"]);
        let env = [
            ("CARGO", CHAIN),
            ("PATH", "/bin"),
            ("RUSTUP_TOOLCHAIN", "a"),
            ("RUSTUP_TOOLCHAIN_SOURCE", "toolchain-file"),
            ("LD_LIBRARY_PATH", &*libraries),
        ];
        case(
            &env,
            "cargo",
            &[("PATH", "/bin"), ("LD_LIBRARY_PATH", "/own")],
        );
    }

    #[test]
    fn what_cargo_run_sets_is_of_the_package_that_it_ran() {
        let libraries = list(&[
            "/h/target/debug/build/x/out",
            "/h/target/debug",
            "/h/target/debug/deps",
            "/r/toolchains/a/lib/rustlib/t/lib",
            "/r/toolchains/a/lib",
            "/own/deps",
        ]);
        let path = list(&["/usr/bin", "/bin"]);
        let env = [
            ("CARGO", CHAIN),
            ("CARGO_HOME", "/c"),
            ("CARGO_MANIFEST_DIR", "/h"),
            ("CARGO_MANIFEST_PATH", "/h/Cargo.toml"),
            ("CARGO_NET_OFFLINE", "true"),
            ("CARGO_PKG_NAME", "hotrun"),
            ("LD_LIBRARY_PATH", &*libraries),
            ("PATH", &*path),
            ("RUSTUP_TOOLCHAIN", "a"),
            ("RUSTUP_TOOLCHAIN_SOURCE", "default"),
            ("RUST_RECURSION_COUNT", "1"),
        ];
        let kept = [
            ("CARGO_HOME", "/c"),
            ("CARGO_NET_OFFLINE", "true"),
            ("LD_LIBRARY_PATH", "/own/deps"),
            ("PATH", &*path),
        ];
        case(&env, "cargo", &kept);
        let cli = [
            env[0],
            env[2],
            env[7],
            env[8],
            ("RUSTUP_TOOLCHAIN_SOURCE", "cli"),
        ];
        case(&cli, "cargo", &[env[7]]);
        // An older rustup does not set the source of its choice.
        case(&[env[0], env[2], env[7], env[8]], "cargo", &[env[7]]);
        // Chosen by the user.
        let own = [
            env[0],
            env[2],
            env[7],
            env[8],
            ("RUSTUP_TOOLCHAIN_SOURCE", "env"),
        ];
        case(&own, "cargo", &own[2..]);
        // There is no other cargo.
        case(&[env[0], env[2], ("PATH", "/x")], CHAIN, &[("PATH", "/x")]);
    }
}
