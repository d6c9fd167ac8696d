//! The files that `hotrun init` writes for an editor start hotrun, lead to each error in its source file,
//! and find the process of the live app.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde_json::Value;

use crate::common::{Hotrun, Project, Run};

/// The patterns of rust-analyzer's `$rustc-watch`, as in its `package.json`.
const BEGINS: &str = r"^\[Running\b";
const ENDS: &str = r"^\[Finished running\b";
const MESSAGE: &str = r"^(warning|warn|error)(?:\[(.*?)\])?: (.*)$";
const PLACE: &str = r"^[\s\->=]*(.*?):(\d*):(\d*)\s*$";

/// A repository with a cargo workspace in a directory of it, and a package outside of that.
fn repository() -> Project {
    let package = |name: &str, more: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{more}")
    };
    let workspace = "[workspace]\nresolver = \"3\"\nmembers = [\"api\", \"shared\"]\n";
    let depends =
        "[dependencies]\nshared = { path = \"../shared\" }\nnear = { path = \"../../near\" }\n";
    let main =
        "fn main() {\n    shared::go();\n    near::go();\n    loop { std::thread::park(); }\n}\n";
    let project = Project::of(&[
        ("back/Cargo.toml", workspace),
        ("back/api/Cargo.toml", &package("api", depends)),
        ("back/api/src/main.rs", main),
        ("back/shared/Cargo.toml", &package("shared", "")),
        ("back/shared/src/lib.rs", "pub fn go() {}\n"),
        ("near/Cargo.toml", &package("near", "[workspace]\n")),
        ("near/src/lib.rs", "pub fn go() {}\n"),
    ]);
    project.run("git init --quiet");
    project
}

/// Runs `hotrun init` in a directory.
#[track_caller]
fn init(project: &Project, dir: &str, editor: &str) -> String {
    let output = project
        .command(env!("CARGO_BIN_EXE_hotrun"))
        .current_dir(project.path(dir))
        .args(["init", editor])
        .output()
        .unwrap();
    let problems = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{problems}");
    String::from_utf8(output.stdout).unwrap()
}

/// A file of an editor, without its comments.
fn file(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines();
    let lines = lines.filter(|line| !line.trim_start().starts_with("//"));
    serde_json::from_str(&lines.collect::<String>()).unwrap()
}

/// The folder, in place of the editor's variable.
fn resolved(text: &Value, folder: &Path) -> PathBuf {
    let folder = folder.to_str().unwrap();
    let text = text.as_str().unwrap();
    let text = text.replace("${workspaceFolder}", folder);
    text.replace("$ZED_WORKTREE_ROOT", folder).into()
}

/// The errors that the matcher finds since the last build began: the file and the line of each.
fn errors(output: &str, location: &Value, folder: &Path) -> Vec<(PathBuf, u32)> {
    let [begins, ends, message, place] =
        [BEGINS, ENDS, MESSAGE, PLACE].map(|pattern| Regex::new(pattern).unwrap());
    let lines: Vec<&str> = output.lines().collect();
    let all = |pattern: &Regex| lines.iter().filter(|line| pattern.is_match(line)).count();
    assert_eq!(all(&begins), all(&ends), "{output}");
    let begin = lines
        .iter()
        .rposition(|line| begins.is_match(line))
        .unwrap();
    let mut errors = Vec::new();
    for pair in lines[begin..].windows(2) {
        let (Some(said), Some(place)) = (message.captures(pair[0]), place.captures(pair[1])) else {
            continue;
        };
        if &said[1] == "error" {
            // `autoDetect`: from the directory if such a file is there, else as it is.
            assert_eq!(location[0], "autoDetect");
            let inside = resolved(&location[1], folder).join(&place[1]);
            let path = if inside.exists() {
                inside
            } else {
                PathBuf::from(&place[1])
            };
            errors.push((path, place[2].parse().unwrap()));
        }
    }
    errors
}

/// The names of the executables of all processes that hotrun started.
fn executables(hotrun: &Hotrun) -> Vec<String> {
    let links = hotrun.survivors().into_iter().filter_map(|process| {
        let link = fs::read_link(format!("/proc/{}/exe", process.pid)).ok()?;
        Some(link.file_name()?.to_string_lossy().into_owned())
    });
    links.collect()
}

/// In the editor, a folder above the workspace is open: that of the repository.
#[test]
fn in_vs_code() {
    let project = repository();
    let said = init(&project, "back/api", "--vscode");
    let folder = project.dir();
    let expected = format!(
        "  for VS Code opened in {} (the root of the git repository);",
        folder.display()
    );
    assert!(said.contains(&expected), "{said}");
    assert!(!project.path("back/api/.reload.toml").exists());
    let task = file(&folder.join(".vscode/tasks.json"))["tasks"][0].take();
    assert_eq!(task["problemMatcher"]["base"], "$rustc-watch");
    assert_eq!(task["command"], "hotrun");
    let location = &task["problemMatcher"]["fileLocation"];
    let dir = resolved(&task["options"]["cwd"], folder);
    let args = task["args"].as_array().unwrap().iter();
    let args: Vec<&str> = args.map(|arg| arg.as_str().unwrap()).collect();
    let run = Run::new(&project, &args).below(dir.to_str().unwrap());
    let hotrun = run.merged().start();
    hotrun.wait_live(1);
    assert_eq!(errors(&hotrun.stdout(), location, folder), []);
    for (path, broken, line) in [
        ("back/api/src/main.rs", "\nfn broken() -> u8 { \"\" }\n", 7),
        ("back/shared/src/lib.rs", "fn broken() -> u8 { \"\" }\n", 2),
        ("near/src/lib.rs", "fn broken( {}\n", 2),
    ] {
        let good = fs::read_to_string(project.path(path)).unwrap();
        let here = hotrun.here();
        project.save(path, &format!("{good}{broken}"));
        hotrun.wait_after(here, "build-failed", |_| true);
        let found = errors(&hotrun.stdout(), location, folder);
        let (found_at, found_line) = &found[0];
        assert_eq!(found_at.canonicalize().unwrap(), project.path(path));
        assert_eq!(*found_line, line);
        let here = hotrun.here();
        project.save(path, &format!("{good}\n"));
        hotrun.wait_any(here, &["live", "unchanged"], |_| true);
        assert_eq!(errors(&hotrun.stdout(), location, folder), []);
    }
    // The debugger looks for a process with the name of the program, and there is one.
    let launch = file(&folder.join(".vscode/launch.json"));
    let program = resolved(&launch["configurations"][0]["program"], folder);
    assert!(program.exists(), "{}", program.display());
    let name = program.file_name().unwrap().to_str().unwrap();
    let all = executables(&hotrun);
    let found = all.iter().filter(|other| *other == name);
    assert_eq!(found.count(), 1, "{all:?}");
    hotrun.interrupt();
    hotrun.wait_exit();
}

/// What a person would have to choose is chosen in the task.
#[test]
fn with_several_binaries() {
    let project = repository();
    project.add("back/api/src/bin/tool.rs", "fn main() {}");
    let said = init(&project, "back", "--vscode");
    assert!(
        said.contains("\n  runs `api`; there is also `tool`\n"),
        "{said}"
    );
    let task = file(&project.path(".vscode/tasks.json"))["tasks"][0].take();
    assert_eq!(
        task["args"],
        serde_json::json!(["--format", "plain", "--bin", "api"])
    );
}

/// In the editor, the folder of the workspace is open.
#[test]
fn in_the_folder_that_has_the_editors_directory() {
    let project = repository();
    for dir in ["back/.vscode", "back/api/.zed"] {
        fs::create_dir(project.path(dir)).unwrap();
    }
    init(&project, "back/api", "--vscode");
    let task = file(&project.path("back/.vscode/tasks.json"))["tasks"][0].take();
    assert_eq!(task["options"]["cwd"], "${workspaceFolder}/api");
    assert_eq!(
        task["problemMatcher"]["fileLocation"][1],
        "${workspaceFolder}"
    );
    init(&project, "back/api", "--zed");
    let task = file(&project.path("back/api/.zed/tasks.json"))[0].take();
    let folder = project.path("back/api");
    assert_eq!(resolved(&task["cwd"], &folder), folder);
    assert_eq!(task["command"], "hotrun");
}
