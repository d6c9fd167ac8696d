//! Large projects, each made of the example.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::Result;
use crate::lab::{Project, version_text};

/// The libraries of the large workspace; the last one is used by the program alone.
pub(crate) const LIBRARIES: usize = 19;

/// What makes the example a large project, in words, and how it is done.
pub(crate) type Tree = (&'static str, fn(&Project) -> Result<()>);

/// All of them.
pub(crate) const TREES: [Tree; 9] = [
    ("as it is", |_| Ok(())),
    ("50,000 files in 5,000 directories", |project| {
        files(&project.package.join("assets"), 5000)
    }),
    ("the same, which cargo guesses to be sources", |project| {
        // A build script that declares nothing may read any file of its package.
        fs::write(project.package.join("build.rs"), "fn main() {}\n")?;
        files(&project.package.join("assets"), 5000)
    }),
    ("the same, ignored", |project| {
        fs::write(project.package.join("build.rs"), "fn main() {}\n")?;
        files(&project.package.join("node_modules"), 5000)
    }),
    ("50,000 files in target/", |project| {
        files(&project.root.join("target/debug/many"), 5000)
    }),
    ("20 crates with 60,000 lines", |project| {
        let manifest = fs::read_to_string(project.root.join("Cargo.toml"))?;
        enlarge(project, &manifest, 3000)
    }),
    ("500 crates in the workspace", members),
    ("one crate with 60,000 lines", |project| {
        let mut text = String::new();
        for item in 0..60_000 / ITEM_LINES {
            self::item(&mut text, item)?;
        }
        fs::write(project.source("many.rs"), text)?;
        mention(project, "#[allow(dead_code)]\nmod many;\n")
    }),
    ("a source of 50 MB", |project| {
        let bytes: Vec<u8> = (0..50_000_000_u32)
            .map(|at| (at / 7).to_le_bytes()[0])
            .collect();
        fs::write(project.source("large.bin"), bytes)?;
        mention(
            project,
            "#[used]\nstatic LARGE: &[u8] = include_bytes!(\"large.bin\");\n",
        )
    }),
];

/// Ten small files in each of so many directories.
fn files(dir: &Path, directories: usize) -> Result<()> {
    for number in 0..directories {
        let dir = dir.join(format!("{}/{number}", number % 50));
        fs::create_dir_all(&dir)?;
        for file in 0..10 {
            fs::write(dir.join(format!("{file}.txt")), "")?;
        }
    }
    Ok(())
}

/// More members of the workspace, which the program does not use.
fn members(project: &Project) -> Result<()> {
    let manifest = project.root.join("Cargo.toml");
    let text = fs::read_to_string(&manifest)?;
    fs::write(
        manifest,
        text.replacen("\"hello\"", "\"hello\", \"m/*\"", 1),
    )?;
    for number in 0..500 {
        let dir = project.root.join(format!("m/m{number}"));
        fs::create_dir_all(dir.join("src"))?;
        let own =
            format!("[package]\nname = \"m{number}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
        fs::write(dir.join("Cargo.toml"), own)?;
        fs::write(dir.join("src/lib.rs"), "")?;
    }
    Ok(())
}

/// Appends this to the program's root.
fn mention(project: &Project, code: &str) -> Result<()> {
    let main = project.source("main.rs");
    let text = fs::read_to_string(&main)?;
    Ok(fs::write(main, text + code)?)
}

/// Makes the example the top of a workspace of twenty crates.
pub(crate) fn enlarge(project: &Project, manifest: &str, lines: usize) -> Result<()> {
    let names: Vec<String> = (0..LIBRARIES).map(|number| format!("c{number}")).collect();
    let members = names.iter().fold(String::new(), |mut members, name| {
        write!(members, ", \"{name}\"").ok();
        members
    });
    let (start, rest) = manifest
        .split_once("\"hello\"")
        .ok_or("no member `hello`")?;
    let manifest = format!("{start}\"hello\"{members}{rest}");
    fs::write(project.root.join("Cargo.toml"), manifest)?;
    for number in 0..LIBRARIES {
        library(&project.root.join(format!("c{number}")), number, lines)?;
    }
    let own = project.package.join("Cargo.toml");
    let mut text = fs::read_to_string(&own)?;
    for name in &names {
        writeln!(text, "{name} = {{ path = \"../{name}\" }}")?;
    }
    fs::write(own, text)?;
    // Each of them is linked in.
    let main = project.source("main.rs");
    let mut text = fs::read_to_string(&main)?;
    text.push_str("\n#[unsafe(no_mangle)]\npub extern \"C\" fn all_crates() -> usize {\n    0");
    for name in &names {
        write!(text, "\n        + {name}::call().len()")?;
    }
    text.push_str("\n}\n");
    fs::write(main, text)?;
    Ok(())
}

/// Writes a library that uses up to three others, except for the last one.
fn library(dir: &Path, number: usize, lines: usize) -> Result<()> {
    fs::create_dir_all(dir.join("src"))?;
    let mut manifest = format!(
        "[package]\nname = \"c{number}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[dependencies]\n"
    );
    let mut calls = String::new();
    for other in [4, 7, 11]
        .iter()
        .filter_map(|distance| number.checked_sub(*distance))
    {
        if number + 1 < LIBRARIES {
            writeln!(manifest, "c{other} = {{ path = \"../c{other}\" }}")?;
            write!(calls, " + &c{other}::call()")?;
        }
    }
    fs::write(dir.join("Cargo.toml"), manifest)?;
    fs::write(dir.join("src/version.rs"), version_text(1000))?;
    let mut text = format!(
        "mod version;\npub use version::VERSION;\n\
         pub fn call() -> String {{ VERSION.to_owned(){calls} }}\n"
    );
    for number in 0..lines / ITEM_LINES {
        item(&mut text, number)?;
    }
    fs::write(dir.join("src/lib.rs"), text)?;
    Ok(())
}

/// Roughly the lines of what `item` writes.
const ITEM_LINES: usize = 12;

/// Code as people write it, with what macros make of it.
fn item(text: &mut String, item: usize) -> Result<()> {
    write!(
        text,
        "#[derive(Clone, Debug, Default, PartialEq)]\n\
         pub struct Item{item} {{ pub id: u64, pub name: String, pub tags: Vec<String> }}\n\
         impl Item{item} {{\n\
         pub fn render(&self) -> String {{\n\
         let mut map = std::collections::BTreeMap::new();\n\
         for tag in &self.tags {{ map.entry(tag.len()).or_insert_with(Vec::new).push(tag.as_str()); }}\n\
         let parts: Vec<String> = map.iter().map(|(k, v)| format!(\"{{k}}:{{}}\", v.join(\",\"))).collect();\n\
         format!(\"{{}}-{{}}-{{}}\", self.id, self.name, parts.join(\";\"))\n\
         }}\n\
         pub fn id(text: &str) -> Result<u64, std::num::ParseIntError> {{ text.parse() }}\n\
         }}\n"
    )?;
    Ok(())
}
