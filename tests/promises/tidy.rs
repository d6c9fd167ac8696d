//! The rules of the code that a compiler does not check: which module may use which, and what a module
//! must not do; see the map in `src/lib.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which modules of the crate a module may use, apart from itself: a whole module, or a part of it.
/// Everything else is not allowed; a new module is added with what it needs.
///
/// All but the session and the command line may use `sys`, which is left out here.
///
/// Effects that wait or touch the system use the types of the session and their own settings, and never
/// each other: what one learns reaches another as a value in an action.
const KNOWS: &[(&str, &[&str])] = &[
    ("main", &[]),
    ("cli", &[]),
    ("defect", &["session::reason"]),
    ("tls", &[]),
    ("digest", &["session::model"]),
    ("lines", &[]),
    ("session", &[]),
    ("sys", &[]),
    ("exit", &["session::model", "session::reason"]),
    ("sink", &["lines", "session::model"]),
    ("config", &["cli", "exit", "session", "sockets"]),
    ("keeper", &["defect", "session::model"]),
    (
        "helper",
        &[
            "defect",
            "keeper",
            "lines",
            "session::model",
            "session::reason",
            "sink",
        ],
    ),
    (
        "hooks",
        &[
            "defect",
            "config",
            "helper",
            "keeper::protocol",
            "session::event",
            "session::model",
            "session::reason",
        ],
    ),
    ("clock", &[]),
    (
        "signals",
        &[
            "defect",
            "session::command",
            "session::event",
            "session::model",
        ],
    ),
    (
        "sockets",
        &["defect", "exit", "session::claims", "session::slots"],
    ),
    // Has to answer at once, so it reads the held addresses itself.
    (
        "capture",
        &["defect", "session::reason", "session::slots", "sockets"],
    ),
    (
        "watch",
        &[
            "clock",
            "defect",
            "config",
            "digest",
            "exit",
            "session::event",
            "session::model",
            "session::reason",
            "session::seen",
        ],
    ),
    (
        "browser",
        &["defect", "config", "exit", "session", "sockets::front"],
    ),
    (
        "build",
        &[
            "clock",
            "defect",
            "config",
            "digest",
            "exit",
            "helper",
            "keeper::protocol",
            "lines",
            "session::event",
            "session::model",
            "session::reason",
            "session::seen",
        ],
    ),
    (
        "app",
        &[
            "defect",
            "capture",
            "config",
            "keeper",
            "lines",
            "session::event",
            "session::model",
            "session::reason",
            "sink",
            "sockets::activation",
            "sockets::address",
            "tls",
        ],
    ),
    (
        "ui",
        &[
            "clock",
            "defect",
            "config",
            "exit",
            "lines",
            "report",
            "session::action",
            "session::command",
            "session::event",
            "session::model",
            "session::status",
            "sink",
            "doctor",
            "init",
            "verify::facts",
        ],
    ),
    // What is told, as values.
    (
        "report",
        &[
            "config",
            "lines",
            "session::action",
            "session::event",
            "session::model",
            "session::reason",
            "sink",
        ],
    ),
    // Tries what the others would do.
    (
        "doctor",
        &[
            "defect",
            "app",
            "build",
            "capture",
            "config",
            "digest",
            "exit",
            "keeper",
            "lines",
            "session::event",
            "session::model",
            "session::reason",
            "sockets",
            "watch",
        ],
    ),
    // Says what the others would find.
    (
        "init",
        &[
            "build",
            "config",
            "exit",
            "session::model",
            "sockets::remembered",
            "watch::cures",
        ],
    ),
    // A client of the public interface; of the session it only uses types.
    (
        "verify",
        &[
            "clock",
            "defect",
            "exit",
            "helper",
            "keeper::protocol",
            "lines",
            "report",
            "session::action",
            "session::command",
            "session::event",
            "session::model",
            "sockets::address",
            "tls",
        ],
    ),
    // Sends commands the way that changes take, so that they stay in order.
    (
        "control",
        &[
            "defect",
            "browser",
            "exit",
            "lines",
            "report",
            "session::action",
            "session::command",
            "session::event",
            "session::model",
            "session::status",
            "sink",
            "watch",
        ],
    ),
    ("driver", &["clock", "defect", "session"]),
    // Carries out actions, so it uses all modules that do the work.
    (
        "effects",
        &[
            "defect", "app", "browser", "build", "capture", "config", "control", "driver", "exit",
            "hooks", "keeper", "report", "session", "sockets", "ui", "watch",
        ],
    ),
];

/// Files that may read the environment: settings are read in one place; the others pass it on to a
/// child, or look up the directory for this user's sockets.
const READS_ENVIRONMENT: &[&str] = &[
    "build/recorder.rs",
    "build/surroundings.rs",
    "config/output.rs",
    "config/resolve.rs",
    "run/control.rs",
    "run/load.rs",
    "run/mod.rs",
    "run/serve.rs",
    "sys/mod.rs",
    // What `listenfd` reads elsewhere.
    "sys/windows/offer.rs",
];

/// A source file of the crate.
struct Source {
    /// From `src/`.
    path: String,
    /// The first part of the path: the module.
    module: String,
    /// The comment at its top.
    doc: String,
    /// Without comments and unit tests.
    code: String,
    lines: usize,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut files = Vec::new();
    let mut open = vec![src.clone()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(
        files.len() > 20,
        "the sources are not where they are looked for"
    );
    let tests: BTreeSet<PathBuf> = files.iter().flat_map(|file| test_modules(file)).collect();
    let files = files.into_iter().filter(|file| !tests.contains(file));
    files.map(|file| source(&src, &file)).collect()
}

/// What is only in unit tests, and what is in a build for a fuzzer too.
const FOR_TESTS: [&str; 2] = ["#[cfg(test)]", "#[cfg(any(test, fuzzing))]"];

/// The files of modules that are only for unit tests: a file each, or a directory.
fn test_modules(file: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(file).unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let names = lines
        .windows(2)
        .filter(|pair| FOR_TESTS.contains(&pair[0]))
        .filter_map(|pair| pair[1].strip_suffix(';')?.split("mod ").nth(1));
    let files = names.flat_map(|name| {
        let dir = fs::read_dir(file.with_file_name(name));
        let inside = dir.into_iter().flatten();
        let inside = inside.map(|entry| entry.unwrap().path());
        inside.chain([file.with_file_name(format!("{name}.rs"))])
    });
    files.collect()
}

fn source(src: &Path, file: &Path) -> Source {
    let text = fs::read_to_string(file).unwrap();
    let path = file.strip_prefix(src).unwrap().to_str().unwrap().to_owned();
    let module = path.split('/').next().unwrap();
    let module = module.strip_suffix(".rs").unwrap_or(module).to_owned();
    // Unit tests are at the end of the file, behind those that have to hold of any input.
    let tests = ["mod tests {", "pub(crate) mod hostile_tests {"];
    let starts = FOR_TESTS.iter().zip(tests);
    let starts = starts.filter_map(|(only, module)| text.find(&format!("\n{only}\n{module}")));
    let program = &text[..starts.min().unwrap_or(text.len())];
    let without_comment = |line: &str| {
        let (code, _) = line.split_once("// ").unwrap_or((line, ""));
        code.trim().to_owned()
    };
    let code: Vec<String> = program
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(without_comment)
        .collect();
    let doc: Vec<&str> = text
        .lines()
        .take_while(|line| line.starts_with("//!"))
        .collect();
    Source {
        path,
        module,
        doc: doc.join("\n"),
        code: code.join("\n"),
        lines: text.lines().count(),
    }
}

/// The rest of the path after each occurrence of `start`.
fn paths<'a>(code: &'a str, start: &str) -> Vec<&'a str> {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    code.split(start)
        .skip(1)
        .map(|rest| {
            let end = rest.find(|c| !is_path(c)).unwrap_or(rest.len());
            &rest[..end]
        })
        .collect()
}

#[track_caller]
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn modules_import_only_what_they_need() {
    let mut wrong = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| source.module != "lib" && source.module != "run")
    {
        let Some((_, allowed)) = KNOWS.iter().find(|(module, _)| *module == source.module) else {
            wrong.push(format!("{}: this module is not in the table", source.path));
            continue;
        };
        for used in paths(&source.code, "crate::") {
            let first = used.split("::").next();
            let is_pure = ["session", "cli"].contains(&&*source.module);
            let is_own = first == Some(&source.module) || (first == Some("sys") && !is_pure);
            let is_allowed =
                |known: &&str| used == *known || used.starts_with(&format!("{known}::"));
            if !is_own && !allowed.iter().any(is_allowed) {
                wrong.push(format!("{} uses `{used}`", source.path));
            }
        }
        // A glob, or a group at the root, would hide which modules are used.
        if source.code.contains("crate::{") || source.code.contains("crate::*") {
            wrong.push(format!("{} uses the whole crate", source.path));
        }
    }
    none(
        "add it to KNOWS if it has to be, or pass a value instead",
        &wrong,
    );
}

/// What only `sys` names: crates and modules of one system or another, and its special files.
const OF_A_SYSTEM: &[&str] = &[
    "nix::",
    "libc::",
    "procfs::",
    "rustix::",
    "windows_sys::",
    "std::os::",
    "tokio::net::Unix",
    "tokio::net::unix",
    "tokio::io::unix",
    "tokio::signal",
    "tokio::fs::symlink",
    "OwnedFd",
    "OwnedSocket",
    "\"/proc/",
];

/// Another system has other files in `sys`, and nothing else that differs.
#[test]
fn only_sys_names_an_operating_system() {
    let depends_on_one = |line: &str| {
        let systems = ["unix", "windows", "target_os"];
        line.contains("cfg") && systems.iter().any(|system| line.contains(system))
    };
    let names = |source: &Source| {
        let is_named = OF_A_SYSTEM.iter().any(|name| source.code.contains(name));
        is_named || source.code.lines().any(depends_on_one)
    };
    let all = sources();
    let outside = all.iter().filter(|source| source.module != "sys");
    let found = outside.filter(|source| names(source));
    let found: Vec<String> = found.map(|source| source.path.clone()).collect();
    none("move it to `sys`", &found);
}

/// What the standard library returns is no path that events of files have, on Windows (`\\?\C:\`).
#[test]
fn real_paths_are_in_the_usual_form() {
    let is_other = |source: &&Source| source.code.contains(".canonicalize(");
    let all = sources();
    let found = all.iter().filter(is_other);
    let found: Vec<String> = found.map(|source| source.path.clone()).collect();
    none("use `dunce::canonicalize`", &found);
}

#[test]
fn only_the_settings_read_the_command_line() {
    let reads =
        |source: &&Source| source.code.contains("crate::cli") || source.code.contains("cli::Args");
    let found: Vec<String> = sources()
        .iter()
        .filter(reads)
        .map(|source| source.path.clone())
        .collect();
    let settings = [
        "config/browser.rs",
        "config/control.rs",
        "config/output.rs",
        "config/resolve.rs",
        "config/typed.rs",
        "config/verification.rs",
    ];
    assert_eq!(
        found,
        [&settings[..], &["run/ctl.rs", "run/mod.rs"]].concat()
    );
}

#[test]
fn the_environment_is_read_where_it_is_known_to_be() {
    let reads = |source: &Source| {
        let ways = ["env::var", "sys::variables"];
        ways.iter().any(|way| source.code.contains(way))
    };
    let known = |source: &Source| READS_ENVIRONMENT.contains(&&*source.path);
    let all = sources();
    let found: Vec<String> = all
        .iter()
        .filter(|source| reads(source) && !known(source))
        .map(|source| source.path.clone())
        .collect();
    none("read it in `config::resolve` and pass it on", &found);
}

/// The session only sees values. Code that reads a clock, a file or a socket can't be tested by all
/// orders of events.
#[test]
fn the_session_is_pure() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.module == "session") {
        for word in [
            "std::fs",
            "std::process",
            "std::net",
            "std::env",
            "std::thread",
            "std::io",
            "Instant",
            "::now()",
            "async ",
            ".await",
            "tokio",
            "crate::",
            "unwrap()",
            "expect(\"",
            "panic!",
        ] {
            if source.code.contains(word) {
                wrong.push(format!("{} has `{word}`", source.path));
            }
        }
        let uses = source
            .code
            .lines()
            .filter_map(|line| line.strip_prefix("use "));
        for used in uses {
            let first = used.split("::").next().unwrap();
            let own = root().join("src/session").join(format!("{first}.rs"));
            if !["std", "super", "self"].contains(&first) && !own.exists() {
                wrong.push(format!("{} uses `{used}`", source.path));
            }
        }
    }
    none("not in the session", &wrong);
}

/// Which slot is whose, and which gets new connections, is decided by the session's table alone: what
/// carries its orders out names no slot by itself, and asks for none.
#[test]
fn effects_decide_nothing_about_slots() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.module == "effects") {
        for word in [
            "Slot::First",
            "Slot::Second",
            "Slot::BOTH",
            ".other()",
            ".active()",
            "slot ==",
            "slot !=",
            "== slot",
            "!= slot",
        ] {
            if source.code.contains(word) {
                wrong.push(format!("{} has `{word}`", source.path));
            }
        }
    }
    none("decided outside of the session", &wrong);
}

/// A file that calls itself pure can be tested by its arguments alone.
#[test]
fn what_says_that_it_is_pure_is() {
    let mut pure = 0;
    let mut wrong = Vec::new();
    for source in sources() {
        let says = source.doc.replace("\n//!", " ").contains("Pure.");
        pure += usize::from(says);
        for word in [
            "async ",
            ".await",
            "tokio",
            "std::fs",
            "std::thread",
            "Instant",
            "::now()",
        ] {
            if says && source.code.contains(word) {
                wrong.push(format!("{} has `{word}`", source.path));
            }
        }
    }
    assert!(pure > 5, "no file says so any more");
    none("not pure", &wrong);
}

#[test]
fn unsafe_stays_in_sys() {
    let is_unsafe = |source: &&Source| {
        let words = source
            .code
            .split(|c: char| !c.is_alphanumeric() && c != '_');
        words.clone().any(|word| word == "unsafe")
    };
    let all = sources();
    let found: Vec<String> = all
        .iter()
        .filter(is_unsafe)
        .filter(|source| source.module != "sys")
        .map(|source| source.path.clone())
        .collect();
    none("put it into `sys`, with a reason and a test", &found);
    assert!(
        all.iter().any(|source| is_unsafe(&source)),
        "it is not found at all"
    );
}

/// Output has one order because one module prints. Others may only ask whether a stream is a terminal.
#[test]
fn only_the_ui_prints() {
    let mut wrong = Vec::new();
    for source in sources() {
        for word in ["println!", "print!(", "dbg!"] {
            if source.code.contains(word) {
                wrong.push(format!("{} has `{word}`", source.path));
            }
        }
        if ["ui", "run"].contains(&&*source.module) {
            continue;
        }
        for stream in ["stdout()", "stderr()"] {
            let uses = source.code.split(stream).skip(1);
            if uses
                .into_iter()
                .any(|rest| !rest.starts_with(".is_terminal()"))
            {
                wrong.push(format!("{} uses `{stream}`", source.path));
            }
        }
    }
    none("let the ui say it", &wrong);
}

/// What is published is the program with its documents, and not what tests it.
#[test]
fn the_published_crate_has_what_it_needs() {
    let mut cargo = Command::new("cargo");
    let cargo = cargo.args(["package", "--list", "--allow-dirty", "--offline"]);
    let output = cargo.current_dir(root()).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let outside: Vec<&str> = text
        .lines()
        .filter(|path| !path.starts_with("src/"))
        .collect();
    // Those that cargo adds are left out.
    let ours = outside
        .iter()
        .filter(|path| !path.starts_with(".cargo") && !path.starts_with("Cargo."));
    let expected = [
        "CHANGELOG.md",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "clippy.toml",
        "docs/browser.md",
        "docs/comparison.md",
        "docs/configuration.md",
        "docs/control.md",
        "docs/editors.md",
        "docs/events.md",
        "docs/guide.md",
        "docs/how-it-works.md",
        "docs/pictures/capture.svg",
        "docs/pictures/failures.svg",
        "docs/pictures/generations.svg",
        "docs/pictures/holding.svg",
        "docs/pictures/session.svg",
        "docs/platforms.md",
        "docs/recipes.md",
        "docs/reload.schema.json",
        "docs/troubleshooting.md",
    ];
    assert!(ours.copied().eq(expected), "{outside:?}");
}

/// What is released is looked for, and checked, under the same names.
#[test]
fn releases_are_described_alike() {
    let read = |name: &str| {
        let text = fs::read_to_string(root().join(name)).unwrap();
        text.parse::<toml::Table>().unwrap()
    };
    let (cargo, dist, deny) = (
        read("Cargo.toml"),
        read("dist-workspace.toml"),
        read("deny.toml"),
    );
    assert_eq!(dist["dist"]["targets"], deny["graph"]["targets"]);
    let installed = &cargo["package"]["metadata"]["binstall"];
    for target in dist["dist"]["targets"].as_array().unwrap() {
        let target = target.as_str().unwrap();
        let overrides = installed["overrides"].get(target);
        let kind = overrides.unwrap_or(installed)["pkg-fmt"].as_str().unwrap();
        let archive = if target.contains("windows") {
            "windows-archive"
        } else {
            "unix-archive"
        };
        let suffix = dist["dist"][archive].as_str().unwrap();
        assert!(
            [("txz", ".tar.xz"), ("zip", ".zip")].contains(&(kind, suffix)),
            "{target}"
        );
    }
}

/// A page that links to a file or a section that is not there leads a reader nowhere; a page that no
/// other one links to is never found.
#[test]
fn links_in_documents_lead_somewhere() {
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    let of_text = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    let others = ["README.md", "CHANGELOG.md", "SECURITY.md"].map(|name| root().join(name));
    let pages: Vec<PathBuf> = docs.filter(of_text).chain(others).collect();
    let mut linked = BTreeSet::new();
    let mut wrong = Vec::new();
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        for link in links(&text) {
            let (file, section) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                page.clone()
            } else {
                page.with_file_name(file)
            };
            let Ok(target) = target.canonicalize() else {
                wrong.push(format!("{}: {link}", page.display()));
                continue;
            };
            if !section.is_empty()
                && !sections(&fs::read_to_string(&target).unwrap()).contains(section)
            {
                wrong.push(format!("{}: {link}", page.display()));
            }
            linked.insert(target);
        }
    }
    none("there is no such file or section", &wrong);
    let pictures = fs::read_dir(root().join("docs/pictures")).unwrap();
    let pictures = pictures.map(|entry| entry.unwrap().path());
    let below_docs = pages
        .into_iter()
        .filter(|page| page.starts_with(root().join("docs")));
    let lost: Vec<String> = below_docs
        .chain(pictures)
        .filter(|path| !linked.contains(&path.canonicalize().unwrap()))
        .map(|path| path.display().to_string())
        .collect();
    none("nothing links to it", &lost);
}

/// The targets of links and pictures that are files of the repository.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1);
    let targets = targets.filter_map(|rest| Some(rest.split_once(')')?.0));
    targets.filter(|target| !target.contains("://")).collect()
}

/// The names by which a page's sections are linked to.
fn sections(text: &str) -> BTreeSet<String> {
    let titles = text.lines().filter_map(|line| {
        let title = line.trim_start_matches('#');
        (title.len() < line.len()).then(|| title.trim().to_lowercase())
    });
    let is_kept = |c: &char| c.is_alphanumeric() || ['-', '_', ' '].contains(c);
    let names = titles.map(|title| title.chars().filter(is_kept).collect::<String>());
    names.map(|name| name.replace(' ', "-")).collect()
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut wrong = Vec::new();
    for source in sources() {
        if source.lines > 600 {
            wrong.push(format!("{} has {} lines", source.path, source.lines));
        }
        if source.doc.is_empty() {
            wrong.push(format!("{} does not say what it is", source.path));
        }
    }
    none("split it, or write it", &wrong);
}

/// A forgotten file is a promise that is not checked; so is an ignored test.
#[test]
fn every_promise_is_checked() {
    let dir = root().join("tests/promises");
    let main = fs::read_to_string(dir.join("main.rs")).unwrap();
    let off = format!("#[{}", "ignore");
    let mut wrong = Vec::new();
    for (dir, modules) in [
        (dir.clone(), main),
        (
            dir.join("common"),
            fs::read_to_string(dir.join("common/mod.rs")).unwrap(),
        ),
    ] {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                continue;
            }
            let name = path.file_stem().unwrap().to_str().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let listed = modules.contains(&format!("mod {name};"));
            if !listed && !["main", "mod"].contains(&name) {
                wrong.push(format!("{name}.rs is not listed"));
            }
            if text.contains(&off) {
                wrong.push(format!("{name}.rs has a test that is switched off"));
            }
            if !text.starts_with("//! ") {
                wrong.push(format!("{name}.rs does not say what it promises"));
            }
        }
    }
    none("tests/promises", &wrong);
}

/// What starts a task or a thread, apart from `defect`.
const STARTS: [&str; 8] = [
    "tokio::spawn",
    "task::spawn",
    "thread::spawn",
    "thread::scope",
    "thread::Builder",
    "spawn_local",
    "JoinSet",
    "Handle::current",
];

/// The doors of `defect`: each takes the name of its part.
const DOORS: [&str; 7] = [
    "spawn(\"",
    "spawn_blocking(\"",
    "spawn_thread(\"",
    "again(\"",
    "repeat(\"",
    "guarded(\"",
    "caught(\"",
];

/// A task or thread that panics unnoticed may leave hotrun waiting for ever.
#[test]
fn every_task_and_thread_is_supervised() {
    let all = sources();
    let others = || all.iter().filter(|source| source.module != "defect");
    let mut wrong = Vec::new();
    for source in others() {
        // The threads of a keeper there only wait for the system, and decide nothing.
        if source.path.starts_with("sys/windows/") {
            continue;
        }
        for word in STARTS.iter().filter(|word| source.code.contains(**word)) {
            wrong.push(format!("{} has `{word}`", source.path));
        }
    }
    none("start it by a function of `defect`", &wrong);
    // Without white space, since a call may be broken into lines.
    let dense = |text: &str| text.split_whitespace().collect::<String>();
    let code: Vec<String> = others().map(|source| dense(&source.code)).collect();
    let named = |door: &str| -> BTreeSet<String> {
        let calls = code.iter().flat_map(|code| code.split(door).skip(1));
        calls
            .filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()))
            .collect()
    };
    let parts: BTreeSet<String> = DOORS.iter().flat_map(|door| named(door)).collect();
    assert!(parts.len() > 20, "the parts are not found: {parts:?}");
    let panics = named("point(\"");
    let missing: Vec<String> = parts.difference(&panics).cloned().collect();
    none("give it a `defect::point`", &missing);
    let test = root().join("tests/promises/defects_of_hotrun_are_survived.rs");
    let test = dense(&fs::read_to_string(test).unwrap());
    let untested = panics
        .iter()
        .filter(|part| !test.contains(&format!("\"{part}\"")));
    let untested: Vec<String> = untested.filter(|part| *part != "copy").cloned().collect();
    none(
        "have it panic in defects_of_hotrun_are_survived.rs",
        &untested,
    );
}
