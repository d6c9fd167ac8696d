//! Records the calls of the compiler that cargo makes for the crates of the workspace.
//!
//! Cargo calls a `rustc-workspace-wrapper` with the compiler's path and arguments in its place. Under the
//! fast profile that is a link to hotrun itself, beside the directory for the records: this process
//! writes down how it was called, and becomes the compiler. It is found by the path of the link alone, so
//! that no variable of hotrun's shows up in what the compiler, a build script or the program sees. The
//! path is the same in every session, since cargo builds anew for another one.

use std::env;
use std::env::consts::EXE_SUFFIX;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde::{Deserialize, Serialize};

use super::linker::{self, Linkers};
use crate::sys;
use crate::sys::files;
use crate::sys::host::own_program;

/// How the names of the link and of the directory beside it end.
const LINK: &str = "rustc";
const RECORDS: &str = "calls";

/// One call of the compiler.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Call {
    /// The compiler.
    pub(super) program: OsString,
    /// Its arguments.
    pub(super) args: Vec<OsString>,
    /// The whole environment.
    pub(super) env: Vec<(OsString, OsString)>,
    /// The working directory.
    pub(super) dir: OsString,
}

impl Call {
    /// The first value of this option.
    pub(super) fn option(&self, name: &str) -> Option<&OsStr> {
        self.options(name).next()
    }

    /// All values of this option.
    pub(super) fn options(&self, name: &str) -> impl Iterator<Item = &OsStr> {
        let pairs = self.args.iter().zip(self.args.iter().skip(1));
        pairs
            .filter(move |(key, _)| *key == name)
            .map(|(_, value)| value.as_os_str())
    }

    /// The value of a setting of code generation (`-C key=value`).
    pub(super) fn codegen(&self, key: &str) -> Option<&str> {
        let settings = self.options("-C").filter_map(OsStr::to_str);
        let mut settings = settings.filter_map(|setting| setting.split_once('='));
        settings
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    }

    /// A variable of its environment.
    pub(super) fn variable(&self, name: &str) -> Option<&OsStr> {
        let found = self.env.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_os_str())
    }
}

/// Where the calls of one session are recorded.
#[derive(Clone, Debug)]
pub(super) struct Recorder {
    link: PathBuf,
    records: PathBuf,
    linkers: Linkers,
}

impl Recorder {
    /// Makes the link and an empty directory: `<stem>rustc` and `<stem>calls`.
    pub(super) fn create(stem: &Path) -> io::Result<Self> {
        let recorder = Self::at(stem);
        recorder.remove();
        recorder.restore()?;
        Ok(recorder)
    }

    /// Makes what is missing, as after `cargo clean`: without the link cargo could build nothing.
    pub(super) fn restore(&self) -> io::Result<()> {
        fs::create_dir_all(&self.records)?;
        match files::link_program(own_program().as_ref(), &self.link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    fn at(stem: &Path) -> Self {
        let with = |ending: &str| {
            let mut path = stem.as_os_str().to_owned();
            path.push(ending);
            PathBuf::from(path)
        };
        Self {
            link: with(&format!("{LINK}{EXE_SUFFIX}")),
            records: with(RECORDS),
            linkers: Linkers::at(with("linker"), with(linker::LINK)),
        }
    }

    /// Removes both, and what was compiled. The choice of the linker is kept for the next session.
    pub(super) fn remove(&self) {
        fs::remove_file(&self.link).ok();
        fs::remove_dir_all(&self.records).ok();
        fs::remove_dir_all(self.output()).ok();
        self.linkers.tidy();
    }

    /// Where the choice of the linker is noted.
    pub(super) fn linkers(&self) -> &Linkers {
        &self.linkers
    }

    /// The arguments that make cargo call it. `None`: cargo's configuration can't hold its path.
    pub(super) fn arguments(&self) -> Option<[OsString; 2]> {
        // JSON's strings are valid TOML.
        let path = serde_json::to_string(self.link.to_str()?).ok()?;
        let setting = format!("build.rustc-workspace-wrapper={path}");
        Some(["--config".into(), setting.into()])
    }

    /// The last call for each crate. What can't be read is left out.
    pub(super) fn calls(&self) -> Vec<Call> {
        let entries = fs::read_dir(&self.records).into_iter().flatten().flatten();
        let texts = entries.filter_map(|entry| fs::read(entry.path()).ok());
        texts
            .filter_map(|bytes| postcard::from_bytes(&bytes).ok())
            .collect()
    }

    /// Forgets all calls.
    pub(super) fn clear(&self) {
        fs::remove_dir_all(&self.records).ok();
        fs::create_dir_all(&self.records).ok();
    }

    /// A directory beside the records, for what is compiled.
    pub(super) fn output(&self) -> PathBuf {
        self.records.with_extension("direct")
    }
}

/// The path of a program without the ending that programs have.
fn without_suffix(path: OsString) -> PathBuf {
    let bare = path.to_str().and_then(|text| text.strip_suffix(EXE_SUFFIX));
    bare.map(PathBuf::from).unwrap_or(path.into())
}

/// If this process was started by one of the links: records the call and becomes the compiler, with the
/// linker that is chosen; or links, so that one can be chosen. `Some(Err)`: that can't be started.
pub fn requested() -> Option<Result<ExitCode, String>> {
    let mut arguments = env::args_os();
    let own = PathBuf::from(arguments.next()?);
    if own.parent()?.file_name()? != "hotrun" {
        return None;
    }
    let link = without_suffix(own.clone().into());
    // Cargo's configuration holds no other paths than those of UTF-8.
    let name = link.to_str()?;
    let (stem, role) = name.split_at(name.rfind('.')? + 1);
    match role {
        LINK => Some(Err(compile(&own, stem.as_ref(), arguments)?)),
        linker::LINK => {
            let args: Vec<OsString> = arguments.collect();
            Some(Recorder::at(stem.as_ref()).linkers.requested(&args))
        }
        _ => None,
    }
}

/// Becomes the compiler; returns only if that can't be started.
fn compile(own: &Path, stem: &Path, mut arguments: env::ArgsOs) -> Option<String> {
    let call = Call {
        program: arguments.next()?,
        args: arguments.collect(),
        env: sys::variables().collect(),
        dir: env::current_dir().ok()?.into_os_string(),
    };
    let recorder = Recorder::at(stem);
    // Without a record cargo is called the next time too.
    record(&call, &recorder.records).ok();
    let mut compiler = Command::new(&call.program);
    compiler.args(&call.args);
    compiler.args(recorder.linkers.arguments(&call, own));
    let error = sys::replace_by(&mut compiler);
    Some(format!(
        "cannot start `{}`: {error}",
        call.program.display()
    ))
}

/// Writes down a call that compiles a crate. Calls that ask for something name no directory for output.
fn record(call: &Call, records: &Path) -> io::Result<()> {
    let (Some(name), Some(_)) = (call.option("--crate-name"), call.option("--out-dir")) else {
        return Ok(());
    };
    let Some(extra) = call.codegen("extra-filename") else {
        return Ok(());
    };
    let mut file = name.to_owned();
    file.push(extra);
    let bytes = postcard::to_stdvec(call).map_err(io::Error::other)?;
    // Never seen half written.
    let new = records.join(format!("{}.new", std::process::id()));
    fs::write(&new, bytes)?;
    fs::rename(&new, records.join(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(args: &[&str]) -> Call {
        Call {
            program: "rustc".into(),
            args: args.iter().map(Into::into).collect(),
            ..Call::default()
        }
    }

    #[test]
    fn the_last_call_of_each_crate_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let recorder = Recorder::create(&dir.path().join("key.of.this.")).unwrap();
        let of = |name: &str, extra: &str, flag: &str| {
            call(&["--crate-name", name, "--out-dir", "deps", "-C", extra, flag])
        };
        let calls = [
            of("app", "extra-filename=-1", "old"),
            of("app", "extra-filename=-1", "new"),
            of("app", "extra-filename=-2", "other"),
            call(&["-vV"]),
            call(&["-", "--crate-name", "___", "--print=file-names"]),
        ];
        for call in &calls {
            record(call, &recorder.records).unwrap();
        }
        let mut found = recorder.calls();
        found.sort_by_key(|call| call.args.clone());
        assert_eq!(found, calls[1..3]);
        std::fs::write(recorder.records.join("odd"), "no call").unwrap();
        assert_eq!(recorder.calls().len(), 2);
        recorder.clear();
        assert_eq!(recorder.calls(), []);
    }

    #[test]
    fn what_was_removed_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let stem = dir.path().join("hotrun/key.");
        let recorder = Recorder::create(&stem).unwrap();
        fs::remove_dir_all(dir.path().join("hotrun")).unwrap();
        recorder.restore().unwrap();
        recorder.restore().unwrap();
        let length = |path: &Path| path.metadata().unwrap().len();
        assert_eq!(length(&recorder.link), length(own_program().as_ref()));
        let bare = without_suffix(recorder.link.clone().into());
        assert_eq!(bare.extension(), Some(OsStr::new(LINK)));
        assert_eq!(bare.with_extension(RECORDS), recorder.records);
        assert!(recorder.records.is_dir());
    }

    #[test]
    fn cargo_is_given_the_path_as_it_writes_text() {
        let path = "/tmp/a \"b\" \\c/key.";
        let arguments = Recorder::at(Path::new(path)).arguments().unwrap();
        let setting = arguments[1].to_str().unwrap();
        let table: toml::Table = setting.parse().unwrap();
        let link = table["build"]["rustc-workspace-wrapper"].as_str();
        assert_eq!(link, Some(&*format!("{path}rustc{EXE_SUFFIX}")));
    }

    #[test]
    fn options_are_found_by_name() {
        let call = call(&[
            "-C",
            "opt-level=1",
            "-C",
            "extra-filename=-7",
            "--extern",
            "a=b",
            "--extern",
            "c",
        ]);
        assert_eq!(call.codegen("extra-filename"), Some("-7"));
        assert_eq!(call.codegen("metadata"), None);
        assert_eq!(call.options("--extern").collect::<Vec<_>>(), ["a=b", "c"]);
        assert_eq!(call.option("--out-dir"), None);
    }
}
