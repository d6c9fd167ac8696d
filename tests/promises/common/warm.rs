//! The dependencies of the fixtures that have some, built once and shared by every test that needs
//! them.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::project::fixtures;

/// The variables by which cargo and rustc are found, the same for all commands of the tests.
pub(super) fn toolchain() -> Vec<(OsString, OsString)> {
    let home = PathBuf::from(env::var_os("HOME").unwrap_or_default());
    let or_default = |key: &str, default: &str| {
        let value = env::var_os(key).unwrap_or_else(|| home.join(default).into_os_string());
        (key.into(), value)
    };
    let mut variables = vec![
        or_default("CARGO_HOME", ".cargo"),
        or_default("RUSTUP_HOME", ".rustup"),
        ("CARGO_NET_OFFLINE".into(), "true".into()),
        ("TERM".into(), "dumb".into()),
    ];
    // The compiler that builds the tests also builds the projects.
    let passed = ["PATH", "RUSTUP_TOOLCHAIN", "TMPDIR"];
    variables.extend(
        passed
            .into_iter()
            .filter_map(|key| Some((key.into(), env::var_os(key)?))),
    );
    variables
}

/// Copies the target directory with the built dependencies into a workspace of fixtures.
///
/// The output of rustc is hard-linked, since it is not written to again; cargo's own files, which it
/// overwrites in place, are copied. Time stamps stay, since cargo goes by them.
pub(super) fn copy_target(of: Packages, to: &Path) {
    let target = built(of);
    // Another run of the tests may be building now.
    let lock = lock(target);
    for part in ["build", "deps", ".fingerprint"] {
        let from = target.join("debug").join(part);
        copy(&from, &to.join("debug").join(part), part == "deps");
    }
    drop(lock);
}

/// Makes a target directory with the answers of the compiler about itself, which cargo asks for again and
/// again until its first build: the project was built before, and cleaned.
pub(super) fn copy_answers(to: &Path) {
    const ANSWERS: &str = ".rustc_info.json";
    let target = built(Packages::One);
    fs::create_dir_all(to).unwrap();
    fs::copy(target.join(ANSWERS), to.join(ANSWERS)).unwrap();
    // Cargo writes this into a directory that it creates itself.
    let tag = "Signature: 8a477f597d28d172789f06886806bc55\n";
    fs::write(to.join("CACHEDIR.TAG"), tag).unwrap();
}

/// The fixtures that are built into one directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packages {
    /// `hello` and `readers`, which most tests need, and whose dependencies are much the same.
    Few,
    /// `frameworks`, with so many dependencies that other tests should not have to copy them.
    Frameworks,
    /// `tls`, with its cryptography.
    Tls,
    /// One without dependencies.
    One,
}

/// The directory with everything built.
fn built(packages: Packages) -> &'static Path {
    static BUILT: [OnceLock<PathBuf>; 4] = [const { OnceLock::new() }; 4];
    BUILT[packages as usize].get_or_init(|| {
        let shared = fixtures().join("target");
        let (target, packages) = match packages {
            Packages::Few => (shared, &["hello", "readers"][..]),
            Packages::Frameworks => (shared.join("frameworks"), &["frameworks"][..]),
            Packages::Tls => (shared.join("tls"), &["tls"][..]),
            Packages::One => (shared.join("once"), &["once"][..]),
        };
        fs::create_dir_all(&target).unwrap();
        let _lock = lock(&target);
        // One after the other, as hotrun builds them: cargo unifies the features of packages that it
        // builds together, and would build the dependencies again for a single package.
        for package in packages {
            let manifest = fixtures().join(package).join("Cargo.toml");
            build(package, &manifest, &target);
        }
        target
    })
}

#[track_caller]
fn build(package: &str, manifest: &Path, target: &Path) {
    let output = Command::new("cargo")
        .args(["build", "--offline", "--bins", "--package", package])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(target)
        .env_clear()
        .envs(toolchain())
        .env("HOME", env::var_os("HOME").unwrap_or_default())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "the fixtures do not build offline; run `cargo fetch` in `fixtures` and in `fixtures/hello` \
         once\n{said}"
    );
}

fn lock(target: &Path) -> File {
    let file = File::create(target.join(".promises.lock")).unwrap();
    file.lock().unwrap();
    file
}

fn copy(from: &Path, to: &Path, of_rustc: bool) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() {
            copy(&path, &to, of_rustc);
            continue;
        }
        let library = ["rlib", "rmeta", "so"].map(Some);
        let extension = path.extension().and_then(|extension| extension.to_str());
        let linked = of_rustc && library.contains(&extension) && fs::hard_link(&path, &to).is_ok();
        if !linked {
            let written = path.metadata().unwrap().modified().unwrap();
            fs::copy(&path, &to).unwrap();
            let copy = File::options().append(true).open(&to).unwrap();
            copy.set_modified(written).unwrap();
        }
    }
}
