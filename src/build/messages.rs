//! Parses what cargo prints, line by line. Pure, except that the recorded output of build scripts is
//! read.
//!
//! Each line is parsed on its own: stray output between two messages must not end the stream.

use std::path::{Path, PathBuf};

use cargo_metadata::Message;
use cargo_metadata::diagnostic::{Diagnostic, DiagnosticLevel};
use serde::Deserialize;

use super::project::Project;
use crate::session::reason::Reason;

/// One line of cargo's stdout, as far as hotrun uses it.
#[derive(Debug)]
pub enum Told {
    /// A message of the compiler.
    Diagnostic(Remark),
    /// Cargo has built a target.
    Artifact(Box<cargo_metadata::Artifact>),
    /// A build script ran, or ran before: the message, on which the surroundings depend.
    Script(String),
    /// The compiler has written the metadata of a crate.
    Metadata,
    /// The build succeeded or failed.
    Finished(bool),
    /// A message that hotrun does not use.
    Nothing,
    /// No message of cargo.
    Text(String),
}

/// A message of the compiler.
#[derive(Debug)]
pub struct Remark {
    /// It is an error, or a remark that belongs below errors ("try `rustc --explain E0425`").
    pub error: bool,
    /// It counts as an error or warning: it is not one of rustc's closing remarks.
    pub counts: bool,
    /// The number of the error, like `E0425`.
    pub code: Option<String>,
    /// As rustc renders it.
    pub rendered: String,
    /// The files that an error is about, as the compiler names them.
    pub named: Vec<PathBuf>,
    /// The root file of the crate.
    pub root: PathBuf,
    /// The compiler's own JSON object, of an error that counts.
    pub detail: Option<Box<str>>,
}

impl Remark {
    fn of(message: Diagnostic, root: PathBuf) -> Self {
        let level = message.level;
        let error = matches!(
            level,
            DiagnosticLevel::Error | DiagnosticLevel::Ice | DiagnosticLevel::FailureNote
        );
        // "aborting due to 2 previous errors", "3 warnings emitted" have no place in the code.
        let counts = (error || level == DiagnosticLevel::Warning) && !message.spans.is_empty();
        let detail = || serde_json::to_string(&message).ok().map(String::into);
        Self {
            error,
            counts,
            detail: (error && counts).then(detail).flatten(),
            named: if error { named(&message) } else { Vec::new() },
            code: message.code.map(|code| code.code),
            rendered: message.rendered.unwrap_or(message.message),
            root,
        }
    }
}

/// Reads a line of cargo's stdout.
pub fn stdout(line: &str) -> Told {
    let Ok(message) = serde_json::from_str::<Message>(line) else {
        return Told::Text(line.to_owned());
    };
    match message {
        Message::CompilerMessage(message) => {
            let root = message.target.src_path.into_std_path_buf();
            Told::Diagnostic(Remark::of(message.message, root))
        }
        Message::CompilerArtifact(artifact) => Told::Artifact(Box::new(artifact)),
        Message::BuildScriptExecuted(_) => Told::Script(line.to_owned()),
        Message::BuildFinished(finished) => Told::Finished(finished.success),
        _ => Told::Nothing,
    }
}

/// Reads a line of the stderr of a compiler that compiles the crate with this root file, as cargo does.
pub(super) fn compiler(line: &str, root: &Path) -> Told {
    #[derive(Deserialize)]
    struct Message {
        #[serde(rename = "$message_type")]
        kind: String,
        /// Of an artifact: what it is.
        emit: Option<String>,
    }
    match serde_json::from_str::<Message>(line) {
        Ok(message) if message.kind == "diagnostic" => match serde_json::from_str(line) {
            Ok(diagnostic) => Told::Diagnostic(Remark::of(diagnostic, root.to_owned())),
            Err(_) => Told::Text(line.to_owned()),
        },
        Ok(message) if message.emit.as_deref() == Some("metadata") => Told::Metadata,
        Ok(_) => Told::Nothing,
        Err(_) => Told::Text(line.to_owned()),
    }
}

/// The files that a diagnostic is about: those of its spans, and one that could not be read.
fn named(diagnostic: &Diagnostic) -> Vec<PathBuf> {
    let spans = diagnostic.spans.iter().map(|span| span.file_name.as_str());
    let unread = diagnostic.message.split_once("couldn't read `");
    let unread = unread.and_then(|(_, rest)| rest.split_once('`'));
    let unread = unread.map(|(path, _)| path);
    // `<core macros>` and the like are not files.
    let names = spans.chain(unread).filter(|name| !name.starts_with('<'));
    names.map(PathBuf::from).collect()
}

/// What a build script says of what it reads.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Script {
    /// The directory of its package.
    pub(super) package: PathBuf,
    /// The paths that it names; `None`: it says nothing, and cargo takes it to read the whole package.
    pub(super) reads: Option<Vec<PathBuf>>,
}

/// The build script that has run, by the output that cargo records. `None`: it is not of a package of this
/// project.
pub(super) fn script(line: &str, project: &Project) -> Option<Script> {
    let Ok(Message::BuildScriptExecuted(script)) = serde_json::from_str(line) else {
        return None;
    };
    let local = project
        .locals
        .iter()
        .find(|local| local.id == script.package_id)?;
    let said = script.out_dir.as_std_path().with_file_name("output");
    let said = std::fs::read_to_string(said).unwrap_or_default();
    let declared = said.lines().filter_map(|line| {
        let line = line
            .strip_prefix("cargo::")
            .or(line.strip_prefix("cargo:"))?;
        line.strip_prefix("rerun-if-")
    });
    let declared: Vec<&str> = declared.collect();
    let paths = declared
        .iter()
        .filter_map(|declared| declared.strip_prefix("changed="));
    let reads = paths.map(|path| local.dir.join(path)).collect();
    Some(Script {
        package: local.dir.clone(),
        reads: (!declared.is_empty()).then_some(reads),
    })
}

/// One piece of cargo's stderr.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// Finished units and all units.
    Progress(u32, u32),
    /// Cargo waits for another cargo's lock on this.
    Blocked(String),
    /// A line for the user.
    Line(String),
    /// Nothing.
    Nothing,
}

/// Reads a piece of cargo's stderr, which ends in a line end or, for progress, a carriage return.
pub fn stderr(piece: &str) -> Said {
    let text = piece.trim_start_matches("\u{1b}[K").trim_end();
    if text.is_empty() {
        return Said::Nothing;
    }
    if piece.ends_with('\r') {
        return progress(text).map_or(Said::Nothing, |(done, total)| Said::Progress(done, total));
    }
    match text
        .split_once("Blocking")
        .and_then(|(_, rest)| rest.split_once("waiting for file lock on "))
    {
        Some((_, what)) => Said::Blocked(what.to_owned()),
        None => Said::Line(text.to_owned()),
    }
}

/// Whether cargo, or a program that it started, says by this line that it could not ask at a terminal.
fn wants_terminal(line: &str) -> bool {
    /// What git, ssh and sudo print when they can't ask for a secret.
    const ASKERS: [&str; 6] = [
        "terminal prompts disabled",
        "could not read Username for ",
        "could not read Password for ",
        "Host key verification failed",
        "Permission denied (publickey",
        "a terminal is required to read the password",
    ];
    // The error of opening /dev/tty without a terminal, as Rust and C word it.
    let missing = line.contains("No such device or address");
    let is_opened = ["(os error 6)", "code: 6,", "/dev/tty"];
    ASKERS.iter().any(|asker| line.contains(asker))
        || (missing && is_opened.iter().any(|how| line.contains(how)))
}

/// What keeps cargo from its work, where no edit of the sources can help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// A program that it started wanted to ask at a terminal.
    Terminal,
    /// The toolchain that is asked for is not installed.
    Toolchain,
    /// A package is not here, and cargo may not download it.
    Offline,
    /// Packages cannot be downloaded.
    Network,
    /// The target needs features that are off: as they are given to `--features`.
    Features(String),
}

/// How what does not come by an edit is tried again. `once`: hotrun ends with this build.
const fn again(once: bool) -> &'static str {
    if once {
        "then start hotrun again"
    } else {
        "then `hotrun ctl rebuild` tries again"
    }
}

impl Obstacle {
    /// The one that a line of cargo's output tells of.
    pub fn of(line: &str) -> Option<Self> {
        /// What cargo, git and curl print without a network.
        const NO_NETWORK: [&str; 6] = [
            "spurious network error",
            "failed to download from",
            "Could not resolve host",
            "Couldn't resolve host",
            "network failure seems to have happened",
            "failed to query replaced source registry",
        ];
        if let Some((_, features)) = line.split_once(" requires the features: ") {
            return Some(Self::Features(features.replace(['`', ' '], "")));
        }
        if line.contains("toolchain '") && line.contains("is not installed") {
            return Some(Self::Toolchain);
        }
        if line.contains("you're using offline mode") || line.contains("--offline was specified") {
            return Some(Self::Offline);
        }
        if NO_NETWORK.iter().any(|text| line.contains(text)) {
            return Some(Self::Network);
        }
        wants_terminal(line).then_some(Self::Terminal)
    }

    /// Why `what` did not work, and what to do; `command` does the same by hand. `once`: hotrun ends with
    /// this build.
    pub fn reason(&self, what: impl Into<String>, command: &str, once: bool) -> Reason {
        let again = again(once);
        match self {
            Self::Terminal => Reason::new(
                what,
                format!(
                    "something wanted to ask at a terminal, and cargo has none here: run `{command}` \
                     once by hand, or set up what it asks for (a credential helper, ssh-agent, a \
                     variable); {again}"
                ),
            ),
            Self::Toolchain => Reason::new(
                "its toolchain is not installed",
                format!("run `rustup toolchain install` there; {again}"),
            ),
            Self::Offline => Reason::new(
                "a package is not here, and cargo is offline",
                format!(
                    "run `cargo fetch` with a network; {again}; or start hotrun without `--offline`"
                ),
            ),
            Self::Network => Reason::new(
                "packages cannot be downloaded",
                format!("see to the network; {again}"),
            ),
            Self::Features(features) => {
                let written = features.replace(',', "\", \"");
                Reason::new(
                    format!("this target needs `--features {features}`"),
                    format!(
                        "start hotrun with that, or write `features = [\"{written}\"]` into [build] of \
                         .reload.toml"
                    ),
                )
            }
        }
    }
}

/// Finds in cargo's output why it could not read the project.
#[derive(Debug, Default)]
pub struct Unread {
    obstacle: Option<Obstacle>,
    compiler: bool,
}

impl Unread {
    /// Takes in a line of output.
    pub fn hear(&mut self, line: &str) {
        self.obstacle = self.obstacle.take().or_else(|| Obstacle::of(line));
        self.compiler |= line.contains("failed to run `rustc` to learn about target");
    }

    /// The reason, with a hint where there is one.
    pub fn reason(&self, once: bool) -> Reason {
        let reason = if self.compiler {
            "the compiler can't say anything about the target"
        } else {
            "the manifest cannot be read"
        };
        match &self.obstacle {
            Some(obstacle) => obstacle.reason(reason, "cargo fetch", once),
            None => reason.into(),
        }
    }
}

/// The numbers of `Building [====>   ] 12/57: names`.
fn progress(text: &str) -> Option<(u32, u32)> {
    let (_, counts) = text.split_once("] ")?;
    let (done, rest) = counts.split_once('/')?;
    let total: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((done.parse().ok()?, total.parse().ok()?))
}

#[cfg(any(test, fuzzing))]
pub(crate) mod hostile_tests {
    use super::*;
    use crate::hostile::Target;

    /// As cargo and rustc write them, shortened.
    const MESSAGES: &[&str] = &[
        r#"{"reason":"compiler-artifact","package_id":"path+file:///w/app#0.1.0","manifest_path":"/w/app/Cargo.toml","target":{"kind":["bin"],"crate_types":["bin"],"name":"app","src_path":"/w/app/src/main.rs","edition":"2024","doc":true,"doctest":false,"test":true},"profile":{"opt_level":"0","debuginfo":2,"debug_assertions":true,"overflow_checks":true,"test":false},"features":["a"],"filenames":["/w/target/debug/app"],"executable":"/w/target/debug/app","fresh":false}"#,
        r#"{"reason":"build-script-executed","package_id":"registry+https://github.com/rust-lang/crates.io-index#libc@0.2.1","linked_libs":["static=z"],"linked_paths":["native=/w/l"],"cfgs":["freebsd11"],"env":[["A","b c"]],"out_dir":"/w/target/debug/build/libc-1/out"}"#,
        r#"{"reason":"compiler-message","package_id":"path+file:///w/app#0.1.0","manifest_path":"/w/app/Cargo.toml","target":{"kind":["bin"],"crate_types":["bin"],"name":"app","src_path":"/w/app/src/main.rs","edition":"2024"},"message":{"rendered":"error[E0425]: cannot find value `x`\n","$message_type":"diagnostic","children":[{"children":[],"code":null,"level":"help","message":"try","rendered":null,"spans":[]}],"code":{"code":"E0425","explanation":"An"},"level":"error","message":"cannot find value `x`","spans":[{"byte_end":19,"byte_start":18,"column_end":8,"column_start":7,"expansion":null,"file_name":"src/main.rs","is_primary":true,"label":"not found","line_end":1,"line_start":1,"suggested_replacement":null,"suggestion_applicability":null,"text":[{"highlight_end":8,"highlight_start":7,"text":"    x"}]}]}}"#,
        r#"{"$message_type":"diagnostic","message":"couldn't read `src/a.txt`: No such file","code":null,"level":"error","spans":[{"file_name":"<core macros>","byte_start":0,"byte_end":1,"line_start":1,"line_end":1,"column_start":1,"column_end":2,"is_primary":true,"text":[],"label":null,"suggested_replacement":null,"suggestion_applicability":null,"expansion":null}],"children":[],"rendered":"error"}"#,
        r#"{"$message_type":"artifact","artifact":"/w/target/debug/deps/libapp.rmeta","emit":"metadata"}"#,
        r#"{"reason":"build-finished","success":true}"#,
        "hello",
    ];

    pub(crate) fn any_line_of_stdout_is_a_message_or_text() -> Target {
        Target::text(MESSAGES, 10, |line| {
            for told in [stdout(line), compiler(line, Path::new("src/main.rs"))] {
                match told {
                    Told::Text(text) | Told::Script(text) => assert_eq!(text, line),
                    Told::Diagnostic(remark) => {
                        assert!(remark.rendered.len() <= line.len());
                        if let Some(detail) = remark.detail {
                            let read: Diagnostic = serde_json::from_str(&detail).unwrap();
                            assert_eq!(named(&read), remark.named);
                        }
                    }
                    _ => {}
                }
            }
        })
    }

    pub(crate) fn any_piece_of_stderr_is_read() -> Target {
        let corpus = [
            "\u{1b}[K    Building [====>   ] 12/57: serde, nom      \r",
            "    Blocking waiting for file lock on build directory\n",
            "error: target `a` in package `b` requires the features: `x`, `y`\n",
            "error: toolchain '1.61.0-x86_64-unknown-linux-gnu' is not installed\n",
            "error: failed to run `rustc` to learn about target-specific information\n",
        ];
        Target::text(&corpus, 5, |piece| {
            match stderr(piece) {
                Said::Line(text) | Said::Blocked(text) => assert!(piece.contains(&text)),
                Said::Progress(..) | Said::Nothing => {}
            }
            let mut unread = Unread::default();
            unread.hear(piece);
            assert!(!unread.reason(piece.len() % 2 == 0).text.is_empty());
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn says(piece: &str, expected: &Said) {
        assert_eq!(stderr(piece), *expected);
    }

    #[test]
    fn stderr_is_progress_lock_or_a_line() {
        says(
            "    Building [====>   ] 12/57: serde, nom      \r",
            &Said::Progress(12, 57),
        );
        says(
            "\u{1b}[1m    Building\u{1b}[0m [=> ] 1/2: a(build.rs)\r",
            &Said::Progress(1, 2),
        );
        says("    Updating crates.io index\r", &Said::Nothing);
        says(
            "    Blocking waiting for file lock on build directory\n",
            &Said::Blocked("build directory".into()),
        );
        let line = Said::Line("   Compiling a v0.1.0".into());
        says("\u{1b}[K   Compiling a v0.1.0\n", &line);
        says("\n", &Said::Nothing);
    }

    #[test]
    fn what_rustc_says_at_last_belongs_below_the_errors() {
        let message = |level: &str, spans: &str| {
            let line = format!(
                r#"{{"reason":"compiler-message","package_id":"path+file:///a#0.1.0","manifest_path":"",
                "target":{{"name":"a","kind":["bin"],"crate_types":["bin"],"src_path":"src/main.rs"}},
                "message":{{"message":"m","level":"{level}","code":null,"spans":[{spans}],"children":[],
                "rendered":"m"}}}}"#
            );
            match stdout(&line) {
                Told::Diagnostic(remark) => (remark.error, remark.counts),
                other => panic!("{other:?}"),
            }
        };
        let span = r#"{"file_name":"a.rs","byte_start":0,"byte_end":1,"line_start":1,"line_end":1,
            "column_start":1,"column_end":2,"is_primary":true,"text":[],"label":null,
            "suggested_replacement":null,"suggestion_applicability":null,"expansion":null}"#;
        assert_eq!(message("error", span), (true, true));
        assert_eq!(message("warning", span), (false, true));
        assert_eq!(message("error", ""), (true, false));
        assert_eq!(message("failure-note", ""), (true, false));
    }

    #[test]
    fn a_missing_terminal_is_told_from_other_errors() {
        for line in [
            "  thread 'main' panicked at build.rs:2:50: called `Result::unwrap()` on an `Err` value: \
             Os { code: 6, kind: Uncategorized, message: \"No such device or address\" }",
            "Error: No such device or address (os error 6)",
            "sh: 1: cannot open /dev/tty: No such device or address",
            "  fatal: could not read Username for 'https://x': terminal prompts disabled",
            "Host key verification failed.",
            "git@x: Permission denied (publickey).",
            "sudo: a terminal is required to read the password; either use the -S option",
        ] {
            assert!(wants_terminal(line), "{line}");
        }
        for line in [
            "error: No such file or directory (os error 2)",
            "Connection refused (os error 61)",
            "error: could not read /dev/ttyUSB0: Permission denied (os error 13)",
            "open /dev/nvme0: No such device or address",
            "error[E0425]: cannot find value `os error 6` in this scope",
            "   Compiling terminal v1.0.0",
        ] {
            assert!(!wants_terminal(line), "{line}");
        }
    }

    #[test]
    fn stdout_that_is_no_message_is_text() {
        assert!(matches!(stdout("hello"), Told::Text(text) if text == "hello"));
        assert!(matches!(
            stdout(r#"{"reason":"build-finished","success":false}"#),
            Told::Finished(false)
        ));
    }

    #[test]
    fn what_no_edit_mends_has_its_next_step() {
        let features = "error: target `a` in package `b` requires the features: `x`, `y`";
        let again = "; then `hotrun ctl rebuild` tries again";
        for (line, text, hint) in [
            (
                "error: toolchain '1.61.0-x86_64-unknown-linux-gnu' is not installed",
                "its toolchain is not installed",
                again,
            ),
            (
                "As a reminder, you're using offline mode (--offline) which can sometimes cause",
                "a package is not here, and cargo is offline",
                again,
            ),
            (
                "  [6] Couldn't resolve host name (Could not resolve host: index.crates.io)",
                "packages cannot be downloaded",
                again,
            ),
            (
                features,
                "this target needs `--features x,y`",
                "`features = [\"x\", \"y\"]`",
            ),
        ] {
            let mut unread = Unread::default();
            unread.hear("error: x");
            unread.hear(line);
            let reason = unread.reason(false);
            assert_eq!(reason.text, text);
            assert!(reason.hint.unwrap().contains(hint), "{line}");
            // Nobody can be asked to try again where hotrun has ended by then.
            let once = unread.reason(true).hint.unwrap();
            let other = once.contains("; then start hotrun again");
            assert!(!once.contains(again) && other == (hint == again), "{once}");
        }
        let mut broken = Unread::default();
        broken.hear("error: invalid table header");
        assert_eq!(broken.reason(false), "the manifest cannot be read".into());
    }
}
