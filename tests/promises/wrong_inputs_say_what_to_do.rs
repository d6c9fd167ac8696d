//! Every wrong option, setting or project is answered with what is wrong, where, and the next step. The
//! complete answers are in `wrong_inputs/*.txt`.
//!
//! A case is the text of `.reload.toml` (`| line`, if there is one), the command for a shell (`$
//! command`), everything on its stderr, and its exit code (`[2]`); `#` starts a comment. `{app}` is the
//! directory of the project, `{taken}` a port that the tests occupy (`$TAKEN` in a command), `...` any
//! lines, or any part of one, for cargo's own texts. With `BLESS=1` in the environment the answers are
//! written anew; read them before you believe them.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::Path;

use crate::common::Project;

/// One wrong input.
#[derive(Default)]
struct Case {
    /// The comments above it.
    notes: Vec<String>,
    configuration: Vec<String>,
    command: String,
    said: Vec<String>,
    code: String,
}

impl Case {
    /// Runs a hotrun with this input. Returns its output and how it ended.
    fn run(&self) -> (Vec<String>, String) {
        let project = Project::empty();
        let manifest = "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
        fs::write(project.path("Cargo.toml"), manifest).unwrap();
        fs::create_dir(project.path("src")).unwrap();
        fs::write(project.path("src/main.rs"), "fn main() {}\n").unwrap();
        if !self.configuration.is_empty() {
            project.configure(&(self.configuration.join("\n") + "\n"));
        }
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = taken.local_addr().unwrap().port().to_string();
        // An input that is not refused starts a session, which has to be ended.
        let mut command = project.command("timeout");
        let path = command.get_envs().find(|(name, _)| *name == "PATH");
        let path = path.and_then(|(_, path)| path).unwrap_or_default();
        let hotrun = Path::new(env!("CARGO_BIN_EXE_hotrun")).parent().unwrap();
        let dirs = [hotrun.to_owned()]
            .into_iter()
            .chain(env::split_paths(path));
        let path = env::join_paths(dirs).unwrap();
        command
            .args(["--kill-after=5", "60", "/bin/sh", "-c", &self.command])
            .env("PATH", path)
            .env("TAKEN", &taken);
        let output = command.output().unwrap();
        let own = format!("pid {} ({})", std::process::id(), command_line());
        let said = String::from_utf8_lossy(&output.stderr)
            .replace(&*project.dir().to_string_lossy(), "{app}")
            .replace(&*project.root().to_string_lossy(), "{root}")
            .replace(&format!(":{taken} "), ":{taken} ")
            .replace(&own, "pid {pid} ({command})");
        let code = output
            .status
            .code()
            .map_or_else(String::new, |code| code.to_string());
        // Other tests run cargo too, and all share one package cache.
        let is_ours = |line: &&str| !line.contains("waiting for another cargo: package cache");
        (
            said.lines().filter(is_ours).map(str::to_owned).collect(),
            code,
        )
    }

    fn write(&self, text: &mut String) {
        for note in &self.notes {
            writeln!(text, "{note}").unwrap();
        }
        for line in &self.configuration {
            writeln!(text, "{}", format!("| {line}").trim_end()).unwrap();
        }
        writeln!(text, "$ {}", self.command).unwrap();
        for line in &self.said {
            writeln!(text, "{line}").unwrap();
        }
        writeln!(text, "[{}]", self.code).unwrap();
    }
}

/// How these tests were started.
fn command_line() -> String {
    let words = procfs::process::Process::myself().unwrap().cmdline();
    words.unwrap().join(" ")
}

fn cases(text: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = Case::default();
    for line in text.lines() {
        let code = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'));
        if let Some(code) = code.filter(|code| code.bytes().all(|byte| byte.is_ascii_digit())) {
            code.clone_into(&mut case.code);
            cases.push(std::mem::take(&mut case));
        } else if let Some(command) = line.strip_prefix("$ ") {
            command.clone_into(&mut case.command);
        } else if !case.command.is_empty() {
            case.said.push(line.to_owned());
        } else if let Some(line) = line.strip_prefix('|') {
            case.configuration
                .push(line.strip_prefix(' ').unwrap_or(line).to_owned());
        } else {
            case.notes.push(line.to_owned());
        }
    }
    cases
}

/// Whether the lines are those that were expected.
fn matches(expected: &[String], lines: &[String]) -> bool {
    match expected.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first == "..." => {
            (0..=lines.len()).any(|at| matches(rest, &lines[at..]))
        }
        Some((first, rest)) => lines
            .split_first()
            .is_some_and(|(line, others)| fits(first, line) && matches(rest, others)),
    }
}

/// Whether the line is the one that was expected.
fn fits(expected: &str, line: &str) -> bool {
    let Some((start, rest)) = expected.split_once("...") else {
        return expected == line;
    };
    let ends =
        |line: &str| (0..=line.len()).any(|at| line.get(at..).is_some_and(|end| fits(rest, end)));
    line.strip_prefix(start).is_some_and(ends)
}

/// Every case of a file.
#[track_caller]
fn check(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/promises/wrong_inputs")
        .join(name);
    let text = fs::read_to_string(&path).unwrap();
    let mut found = String::new();
    let mut wrong = String::new();
    for mut case in cases(&text) {
        let (said, code) = case.run();
        if case.code != code || !matches(&case.said, &said) {
            (case.said, case.code) = (said, code);
            case.write(&mut wrong);
        }
        case.write(&mut found);
    }
    if env::var_os("BLESS").is_some() {
        fs::write(&path, &found).unwrap();
    }
    assert!(wrong.is_empty(), "not as in {name}:\n{wrong}");
    assert_eq!(found, text, "a case of {name} has no end");
}

#[test]
fn on_the_command_line() {
    check("command_line.txt");
}

#[test]
fn in_the_configuration_file() {
    check("configuration.txt");
}

#[test]
fn in_values_of_settings() {
    check("values.txt");
}

#[test]
fn in_addresses() {
    check("addresses.txt");
}

#[test]
fn in_the_project() {
    check("project.txt");
}

#[test]
fn in_the_surroundings() {
    check("surroundings.txt");
}
