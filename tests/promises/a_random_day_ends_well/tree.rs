//! The project of a random day, and what its files say: whatever was done to them, by whom and in which
//! order, what has to be served follows from the tree on the disk alone.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::common::Project;

/// How many files the two branches differ in.
const MANY: u32 = 60;

/// A line that no compiler takes.
pub(super) const SYNTAX_ERROR: &str = "fn broken( {\n";

/// What the day's program writes by itself, and what its build script writes beside the sources.
pub(super) const OWN: [&str; 4] = ["dev.log", "data.db", "openapi.json", "src/generated.rs"];

/// Files with Rust code that operations change.
pub(super) const CODE: [&str; 5] = [
    "src/main.rs",
    "src/part.rs",
    "src/part/mod.rs",
    "src/piece.rs",
    "dep/src/lib.rs",
];

/// What a tree comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tree {
    /// It builds, runs and answers this version.
    Runs(String),
    /// It does not build.
    Broken,
    /// Its program ends before it serves.
    CrashesAtStart,
    /// Its program ends soon after it has begun to serve this version.
    CrashesLive(String),
}

/// A server whose version is put together from sources of every kind. The build script declares what
/// it reads, or declares nothing, so that cargo looks at every file of the package.
pub(super) fn project(declares: bool) -> Project {
    let project = Project::new("slow-drain");
    project.edit(
        "src/main.rs",
        "mod http;",
        "mod day;\nmod generated;\nmod http;",
    );
    project.edit(
        "src/main.rs",
        "mod version;",
        "mod many;\nmod part;\nmod version;\n\nconst MAIN: &str = \"m0\";\nconst DAY: &str = \"well\";",
    );
    project.edit(
        "src/main.rs",
        "    let (term, wake)",
        "    day::begins(DAY);\n    let (term, wake)",
    );
    project.edit(
        "src/main.rs",
        "    println!(\"listening",
        "    day::goes_on(DAY);\n    println!(\"listening",
    );
    project.edit(
        "src/http.rs",
        "use crate::version::VERSION;",
        "use crate::version::version;",
    );
    project.edit(
        "src/http.rs",
        "    let body = match",
        "    #[allow(non_snake_case)]\n    let VERSION = version();\n    let body = match",
    );
    let manifest = fs::read_to_string(project.path("Cargo.toml")).unwrap();
    let manifest = format!("{manifest}\n[dependencies]\ndep = {{ path = \"dep\" }}\n");
    let (declaration, page) = if declares {
        ("println!(\"cargo::rerun-if-changed=schema\");", "\"none\"")
    } else {
        ("", "std::fs::read_to_string(\"page.html\").unwrap()")
    };
    let script = BUILD_SCRIPT
        .replace("DECLARATION", declaration)
        .replace("PAGE_TEXT", page);
    let names: Vec<String> = (0..MANY)
        .map(|number| format!("    include_str!(\"many/{number}.txt\"),\n"))
        .collect();
    let many = MANY_FILES
        .replace("COUNT", &MANY.to_string())
        .replace("NAMES", &names.concat());
    for (path, text) in [
        ("src/day.rs", DAY),
        ("src/many.rs", &many),
        ("src/version.rs", VERSION),
        ("src/part.rs", &part(0)),
        ("src/text", "t0"),
        ("schema/a.sql", "s0"),
        ("page.html", if declares { "none" } else { "p0" }),
        ("dep/Cargo.toml", DEP_MANIFEST),
        ("dep/src/lib.rs", "pub const DEP: &str = \"d0\";\n"),
        ("build.rs", &script),
        ("Cargo.toml", &manifest),
        ("README.md", "words\n"),
        (".gitignore", "/target\n/src/generated.rs\n"),
        (".reload.toml", "[app]\nprobation = \"2s\"\n"),
    ] {
        project.add(path, text);
    }
    write_many(&project, 0);
    project.run(
        "cargo metadata --offline --format-version 1 >/dev/null
         git init --quiet -b one; git add --all; git commit --quiet -m one; git checkout --quiet -b other",
    );
    write_many(&project, 1);
    project.run("git commit --quiet -am other; git checkout --quiet one");
    project
}

/// The module of this number.
pub(super) fn part(number: u32) -> String {
    format!("pub const PART: &str = \"p{number}\";\n")
}

fn write_many(project: &Project, more: u32) {
    for number in 0..MANY {
        let text = format!("{}\n", number + more);
        project.add(&format!("src/many/{number}.txt"), &text);
    }
}

const DAY: &str = r#"use std::fs::{self, OpenOptions};
use std::io::Write;
use std::time::{Duration, SystemTime};
use std::{process, thread};

pub fn begins(day: &str) {
    if day == "crash-at-start" {
        process::exit(3);
    }
    fs::write("openapi.json", format!("{:?}", SystemTime::now())).unwrap();
}

pub fn goes_on(day: &'static str) {
    let mut log = OpenOptions::new().create(true).append(true).open("dev.log").unwrap();
    thread::spawn(move || {
        for number in 0u32.. {
            if day == "crash-live" && number == 4 {
                process::exit(4);
            }
            writeln!(log, "{number}").unwrap();
            if number % 8 == 0 {
                fs::write("data.db", number.to_string()).unwrap();
            }
            thread::sleep(Duration::from_millis(50));
        }
    });
}
"#;

const VERSION: &str = r#"pub fn version() -> String {
    let text = include_str!("text").trim();
    let many = crate::many::sum();
    let parts = [
        crate::MAIN, crate::part::PART, text, dep::DEP, crate::generated::SCHEMA, &many, env!("PAGE"),
    ];
    parts.join(".")
}
"#;

const MANY_FILES: &str = r"const FILES: [&str; COUNT] = [
NAMES];

pub fn sum() -> String {
    let numbers = FILES.iter().map(|text| text.trim().parse::<u32>().unwrap());
    numbers.sum::<u32>().to_string()
}
";

const DEP_MANIFEST: &str = "[package]\nname = \"dep\"\nversion = \"1.0.0\"\nedition = \"2024\"\n";

const BUILD_SCRIPT: &str = r#"fn main() {
    DECLARATION
    let schema = std::fs::read_to_string("schema/a.sql").unwrap();
    let generated = format!("pub const SCHEMA: &str = \"{}\";\n", schema.trim());
    std::fs::write("src/generated.rs", generated).unwrap();
    let page = PAGE_TEXT;
    println!("cargo::rustc-env=PAGE={}", page.trim());
}
"#;

/// What the tree on the disk comes to.
pub(super) fn read(project: &Project) -> Tree {
    let text = |path: &str| fs::read_to_string(project.path(path)).ok();
    let [Some(main), part, part_dir, piece, Some(dep)] = CODE.map(text) else {
        return Tree::Broken;
    };
    // Where no path is named, it may be at two places, and must not be at both.
    let part = match (main.contains("\"piece.rs\""), part, part_dir) {
        (true, _, _) => piece,
        (false, Some(part), None) | (false, None, Some(part)) => Some(part),
        (false, _, _) => None,
    };
    let part = part.unwrap_or_else(|| SYNTAX_ERROR.to_owned());
    if [&main, &part, &dep]
        .iter()
        .any(|code| code.contains(SYNTAX_ERROR))
    {
        return Tree::Broken;
    }
    let many = (0..MANY).filter_map(|number| text(&format!("src/many/{number}.txt")));
    let many: u32 = many.map(|text| text.trim().parse::<u32>().unwrap()).sum();
    let plain = |path: &str| text(path).unwrap().trim().to_owned();
    let version = [
        quoted(&main, "MAIN: &str = "),
        quoted(&part, "PART: &str = "),
        &plain("src/text"),
        quoted(&dep, "DEP: &str = "),
        &plain("schema/a.sql"),
        &many.to_string(),
        &plain("page.html"),
    ];
    let version = version.join(".");
    match quoted(&main, "DAY: &str = ") {
        "crash-at-start" => Tree::CrashesAtStart,
        "crash-live" => Tree::CrashesLive(version),
        _ => Tree::Runs(version),
    }
}

fn quoted<'a>(text: &'a str, before: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap();
    rest.split('"').nth(1).unwrap()
}

/// All files that people or git write, and their bytes: from their paths in the package.
pub(super) fn files(project: &Project) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    add_files(project.dir(), "", &mut files);
    files
}

fn add_files(dir: &Path, before: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let mut path = before.to_owned();
        write!(path, "{}", entry.file_name().display()).unwrap();
        if OWN.contains(&&*path) || ["target", ".git"].contains(&&*path) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            add_files(&entry.path(), &format!("{path}/"), files);
        } else {
            files.insert(path, fs::read(entry.path()).unwrap());
        }
    }
}
