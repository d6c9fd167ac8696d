//! Chooses the linker under the fast profile: whichever of those that are installed is the fastest one for
//! this program on this machine.
//!
//! It is tried once, with a real link: where nothing is known yet, the compiler is told to call hotrun as
//! its linker. That links the program with each of them, leaves what the fastest one has made, and notes
//! which that was. From then on, and in later sessions, the compiler is told to use that one, until another
//! compiler or other linkers are installed. Where the user has chosen a linker, or passes arguments to it, all
//! stays as it is.
//!
//! The C compiler, by which Rust's compiler links, finds its linker as `ld` in a directory that it is given
//! by `-B` (gcc(1), clang(1)).

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::recorder::Call;
use super::units::{self, Kind};
use crate::clock;
use crate::sys::ABLE;
use crate::sys::files;

/// What the compiler calls to link by default.
const DEFAULT: &str = "cc";
/// The linker that comes with Rust, where the compiler uses that one by default.
const OWN_LINKER: &str = "-fuse-ld=lld";
/// The name by which the C compiler looks for a linker.
const LINKER: &str = "ld";
/// How the name of the link ends by which hotrun is called as a linker.
pub(super) const LINK: &str = "cc";
/// A program that is linked slower than this is linked but once by each linker.
const SLOW: Duration = Duration::from_secs(1);
/// Another linker is worth it if it needs at most this part of the default one's time.
const GAIN: f64 = 0.9;
/// Settings of code generation by which the user has chosen how to link.
const CHOICES: [&str; 7] = [
    "linker",
    "linker-flavor",
    "linker-features",
    "linker-plugin-lto",
    "link-arg",
    "link-args",
    "link-self-contained",
];

/// The place where the choice for one program is noted.
#[derive(Clone, Debug)]
pub(super) struct Linkers {
    dir: PathBuf,
    link: PathBuf,
}

/// What there is to choose from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Choice {
    /// The compiler, which brings the default linker, and the linkers that are installed.
    of: Vec<Program>,
    made: Option<Made>,
}

/// A program, and what tells it from another one at the same path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Program {
    path: PathBuf,
    modified: Option<SystemTime>,
    length: u64,
}

/// What was chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    /// The linker; `None`: the default one.
    linker: Option<PathBuf>,
    /// The compiler has to be told not to use its own linker.
    replaces_own: bool,
}

/// A linker that is used instead of the default one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    /// Where it is installed.
    pub(super) program: PathBuf,
    /// The compiler's arguments for it.
    pub(super) arguments: Vec<OsString>,
}

impl Chosen {
    /// The name of its program.
    pub(super) fn name(&self) -> String {
        let name = self.program.file_name().unwrap_or_default();
        name.display().to_string()
    }
}

impl Linkers {
    /// `dir` for what is noted, and `link` by which hotrun is called as a linker.
    pub(super) fn at(dir: PathBuf, link: PathBuf) -> Self {
        Self { dir, link }
    }

    /// The compiler's further arguments for a call that links a program: those of the chosen linker, or
    /// those by which one is chosen. `own` is a path of hotrun's program that lasts as long as the call.
    pub(super) fn arguments(&self, call: &Call, own: &Path) -> Vec<OsString> {
        let Some(of) = candidates(call, ABLE.linkers) else {
            return Vec::new();
        };
        match self.known(&of) {
            Some(made) => self.chosen_by(made).map(|chosen| chosen.arguments),
            None => self.trial(of, own).ok(),
        }
        .unwrap_or_default()
    }

    /// The linker that calls like this one use.
    pub(super) fn chosen(&self, call: &Call) -> Option<Chosen> {
        self.chosen_by(self.known(&candidates(call, ABLE.linkers)?)?)
    }

    /// Removes what a trial that was broken off has left.
    pub(super) fn tidy(&self) {
        fs::remove_file(&self.link).ok();
    }

    fn known(&self, of: &[Program]) -> Option<Made> {
        let choice = self.read()?;
        choice.made.filter(|_| choice.of == of)
    }

    fn read(&self) -> Option<Choice> {
        postcard::from_bytes(&fs::read(self.dir.join("choice")).ok()?).ok()
    }

    fn write(&self, choice: &Choice) -> io::Result<()> {
        let bytes = postcard::to_stdvec(choice).map_err(io::Error::other)?;
        let new = self.dir.join("new");
        fs::write(&new, bytes)?;
        fs::rename(new, self.dir.join("choice"))
    }

    fn chosen_by(&self, made: Made) -> Option<Chosen> {
        let mut arguments: Vec<OsString> = Vec::new();
        if made.replaces_own {
            arguments.extend(["-C".into(), "linker-features=-lld".into()]);
        }
        let mut setting = OsString::from("link-arg=");
        setting.push(search_in(&self.dir));
        arguments.extend(["-C".into(), setting]);
        Some(Chosen {
            program: made.linker?,
            arguments,
        })
    }

    /// Has the compiler call hotrun, which is `own`, as its linker.
    fn trial(&self, of: Vec<Program>, own: &Path) -> io::Result<Vec<OsString>> {
        fs::remove_dir_all(&self.dir).ok();
        fs::create_dir_all(&self.dir)?;
        self.write(&Choice { of, made: None })?;
        self.tidy();
        files::link_program(own, &self.link)?;
        let mut setting = OsString::from("linker=");
        setting.push(&self.link);
        Ok(vec!["-C".into(), setting])
    }

    /// This process was started as a linker: links. The error says what could not be started.
    pub(super) fn requested(&self, args: &[OsString]) -> Result<ExitCode, String> {
        match self.link(args) {
            Ok(status) => {
                let code = status.code().and_then(|code| u8::try_from(code).ok());
                Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
            }
            Err(error) => Err(format!("cannot start `{DEFAULT}`: {error}")),
        }
    }

    /// Links with these arguments, with each linker, and chooses one. The status is that of the default
    /// linker, which comes first and says what there is to say.
    fn link(&self, args: &[OsString]) -> io::Result<ExitStatus> {
        let (status, first) = time(Command::new(DEFAULT).args(args))?;
        // What is left of a trial that fails has the next link be another one.
        if status.success()
            && let Some(choice) = self.read()
        {
            self.choose(choice, args, first).ok();
        }
        self.tidy();
        Ok(status)
    }

    fn choose(&self, mut choice: Choice, args: &[OsString], first: Duration) -> io::Result<()> {
        let output = output(args).ok_or(io::ErrorKind::InvalidInput)?;
        let rounds = if first < SLOW { 3 } else { 1 };
        let mut best: Option<(Duration, usize, PathBuf)> = None;
        let mut default = first;
        for round in 0..rounds {
            if round > 0 {
                let made = beside(output, "0");
                let took = try_link(args, output, &made, None);
                fs::remove_file(made).ok();
                default = took.map_or(default, |took| default.min(took));
            }
            for (at, linker) in choice.of.iter().enumerate().skip(1) {
                let dir = self.dir.join(at.to_string());
                offer(&linker.path, &dir)?;
                let made = beside(output, &at.to_string());
                match try_link(args, output, &made, Some(&dir)) {
                    Some(took) if best.as_ref().is_none_or(|(least, ..)| took < *least) => {
                        best = Some((took, at, made));
                    }
                    _ => {}
                }
            }
        }
        let is_better = |(took, ..): &(Duration, usize, PathBuf)| *took <= default.mul_f64(GAIN);
        let best = best.filter(is_better);
        if let Some((_, at, made)) = &best {
            offer(&choice.of[*at].path, &self.dir)?;
            fs::rename(made, output)?;
        }
        for at in 1..choice.of.len() {
            fs::remove_file(beside(output, &at.to_string())).ok();
            fs::remove_dir_all(self.dir.join(at.to_string())).ok();
        }
        choice.made = Some(Made {
            replaces_own: args.iter().any(|arg| arg == OWN_LINKER),
            linker: best.map(|(_, at, _)| choice.of[at].path.clone()),
        });
        self.write(&choice)
    }
}

/// The compiler of this call, and the linkers that are installed beside its default one. `None`: there is
/// nothing to choose.
fn candidates(call: &Call, names: &[&str]) -> Option<Vec<Program>> {
    if units::kind(call) != Kind::Program || has_chosen(&call.args) {
        return None;
    }
    let path = call.variable("PATH")?;
    let found = |name: &&str| {
        let mut files = env::split_paths(path).map(|dir| dir.join(name));
        files.find(|file| file.is_absolute() && file.is_file())
    };
    let linkers: Vec<PathBuf> = names.iter().filter_map(found).collect();
    let compiler = (!linkers.is_empty()).then(|| PathBuf::from(&call.program))?;
    let all = std::iter::once(compiler).chain(linkers);
    Some(all.map(Program::at).collect())
}

/// The user has chosen how to link, or builds for another machine than this one.
fn has_chosen(args: &[OsString]) -> bool {
    let mut previous = "";
    args.iter().any(|arg| {
        let arg = arg.to_str().unwrap_or_default();
        let setting = match previous {
            "-C" | "--codegen" => Some(arg),
            _ => arg
                .strip_prefix("-C")
                .or_else(|| arg.strip_prefix("--codegen=")),
        };
        previous = arg;
        let key = setting.and_then(|setting| setting.split('=').next());
        key.is_some_and(|key| CHOICES.contains(&key))
            || arg == "--target"
            || arg.starts_with("--target=")
    })
}

impl Program {
    fn at(path: PathBuf) -> Self {
        let found = path.metadata().ok();
        Self {
            modified: found.as_ref().and_then(|found| found.modified().ok()),
            length: found.map_or(0, |found| found.len()),
            path,
        }
    }
}

/// Puts the linker into a directory in which the C compiler looks for it.
fn offer(linker: &Path, dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let at = dir.join(LINKER);
    fs::remove_file(&at).ok();
    files::link_program(linker, &at)
}

/// The C compiler's argument to look into this directory.
fn search_in(dir: &Path) -> OsString {
    let mut argument = OsString::from("-B");
    argument.push(dir);
    // Without it, this is the beginning of a name.
    argument.push("/");
    argument
}

/// The file that these arguments of a linker name for its output.
fn output(args: &[OsString]) -> Option<&Path> {
    let at = args.iter().position(|arg| arg == "-o")?;
    args.get(at + 1).map(Path::new)
}

/// A name for a trial's output: in the same directory, so that the file can take that one's place.
fn beside(output: &Path, ending: &str) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".trial");
    name.push(ending);
    name.into()
}

/// How long it takes to link into `made`, with the linker in this directory. `None`: it fails.
fn try_link(
    args: &[OsString],
    output: &Path,
    made: &Path,
    linker: Option<&Path>,
) -> Option<Duration> {
    let mut command = Command::new(DEFAULT);
    command.args(linker.map(search_in));
    let is_replaced = |arg: &&OsString| linker.is_none() || *arg != OWN_LINKER;
    for arg in args.iter().filter(is_replaced) {
        let is_output = arg.as_os_str() == output.as_os_str();
        command.arg(if is_output { made.as_os_str() } else { arg });
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    fs::remove_file(made).ok();
    let (status, took) = time(&mut command).ok()?;
    let is_made = || made.metadata().is_ok_and(|found| found.len() > 0);
    (status.success() && is_made()).then_some(took)
}

/// Runs this, and tells how long that took.
fn time(command: &mut Command) -> io::Result<(ExitStatus, Duration)> {
    let started = clock::steady();
    let status = command.status()?;
    Ok((status, clock::steady().saturating_sub(started)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(args: &[&str], path: &Path) -> Call {
        let usual = ["--crate-name", "app", "--crate-type", "bin", "--emit=link"];
        Call {
            program: "rustc".into(),
            args: usual.iter().chain(args).map(Into::into).collect(),
            env: vec![("PATH".into(), path.into())],
            ..Call::default()
        }
    }

    #[test]
    fn what_the_user_has_chosen_stays() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("mold"), "").unwrap();
        let is_open = |args: &[&str]| candidates(&call(args, dir.path()), &["mold"]).is_some();
        for open in [
            &["-C", "debuginfo=1"][..],
            &["-Cdebuginfo=1", "--cfg", "linker"],
            &["-L", "native=/link-arg", "-l", "z"],
        ] {
            assert!(is_open(open), "{open:?}");
        }
        for chosen in [
            &["-Clinker=clang"][..],
            &["-C", "linker=clang"],
            &["--codegen=link-arg=-fuse-ld=mold"],
            &["--codegen", "link-args=-s"],
            &["-C", "link-self-contained=-linker"],
            &["-Clinker-features=-lld"],
            &["--target", "wasm32-wasip1"],
            &["--target=wasm32-wasip1"],
        ] {
            assert!(!is_open(chosen), "{chosen:?}");
        }
    }

    #[test]
    fn only_programs_are_linked_by_another_one() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("mold"), "").unwrap();
        let mut library = call(&[], dir.path());
        library.args[3] = "lib".into();
        assert_eq!(candidates(&library, &["mold"]), None);
        let mut script = call(&[], dir.path());
        script.args[1] = "build_script_build".into();
        assert_eq!(candidates(&script, &["mold"]), None);
    }

    #[test]
    fn a_choice_holds_for_what_it_was_made_of() {
        let dir = tempfile::tempdir().unwrap();
        let mold = dir.path().join("mold");
        std::fs::write(&mold, "").unwrap();
        let linkers = Linkers::at(dir.path().join("linker"), dir.path().join("cc"));
        let link = call(&[], dir.path());
        let of = || candidates(&link, &["wild", "mold"]).unwrap();
        let asked = linkers.trial(of(), &mold).unwrap();
        assert_eq!(asked.len(), 2);
        assert_eq!(linkers.known(&of()), None, "it is not made yet");
        let made = Made {
            linker: Some(mold.clone()),
            replaces_own: true,
        };
        let choice = Choice {
            of: of(),
            made: Some(made.clone()),
        };
        linkers.write(&choice).unwrap();
        assert_eq!(linkers.known(&of()), Some(made.clone()));
        let chosen = linkers.chosen_by(made).unwrap();
        assert_eq!(chosen.name(), "mold");
        assert_eq!(chosen.arguments[1], "linker-features=-lld");
        std::fs::write(&mold, "another one").unwrap();
        assert_eq!(linkers.known(&of()), None, "it was replaced");
        std::fs::remove_file(&mold).unwrap();
        assert_eq!(candidates(&link, &["wild", "mold"]), None);
    }

    #[test]
    fn the_output_is_where_the_compiler_wants_it() {
        let args = ["-m64", "a.o", "-o", "deps/app-1"].map(OsString::from);
        let output = output(&args).unwrap();
        assert_eq!(output, Path::new("deps/app-1"));
        assert_eq!(beside(output, "2"), Path::new("deps/app-1.trial2"));
        assert_eq!(super::output(&args[..3]), None);
    }
}
