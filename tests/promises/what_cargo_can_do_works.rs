//! Whatever cargo is told by options, manifests, its configuration and the environment, the app is what
//! `cargo run` would start at that moment, in the same surroundings, and an edit of any of its sources
//! is noticed.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::sys::signal::Signal;
use procfs::process::{FDTarget, Process};

use crate::common::processes::Running;
use crate::common::{ANY, Hotrun, Project, Run, say, wait_until};

/// The function by which every program here prints its surroundings, without hotrun's own additions, and
/// then the line that tests wait for. The program ends then, so that it can be run with `cargo run` too.
pub(crate) const TELL: &str = r#"
pub fn tell(said: impl std::fmt::Display) {
    let own = |key: &str| key.starts_with("HOTRUN_") || key == "NOTIFY_SOCKET";
    let mut env: Vec<_> = std::env::vars().filter(|(key, _)| !own(key)).collect();
    env.sort();
    let args: Vec<_> = std::env::args().collect();
    let dir = std::env::current_dir();
    println!("args {args:?}, dir {dir:?}, env {env:#?}\nsaid {said}");
}
"#;

/// A program that prints this expression.
pub(crate) fn main_of(said: &str) -> String {
    format!("fn main() {{ tell({said}); }}\n{TELL}")
}

/// A manifest with this name, and more lines.
pub(crate) fn manifest(name: &str, more: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nedition = \"2024\"\n{more}\n")
}

/// The same arguments and variables, for hotrun and for `cargo run`.
pub(crate) struct Session<'a> {
    project: &'a Project,
    args: &'a [&'a str],
    env: &'a [(&'a str, &'a str)],
    pub(crate) hotrun: Hotrun,
}

impl<'a> Session<'a> {
    pub(crate) fn start(
        project: &'a Project,
        args: &'a [&'a str],
        env: &'a [(&'a str, &'a str)],
        said: &str,
    ) -> Self {
        let run = Run::new(project, args);
        let run = env
            .iter()
            .fold(run, |run, (key, value)| run.env(key, value));
        let session = Self {
            project,
            args,
            env,
            hotrun: run.start(),
        };
        session.says(said);
        session
    }

    /// Waits until the app prints this.
    #[track_caller]
    pub(crate) fn says(&self, said: &str) {
        let said = format!("said {said}");
        self.hotrun.wait_line(|line| line == said);
    }

    /// Makes an edit and waits until the app prints this.
    #[track_caller]
    pub(crate) fn edit(&self, path: &str, from: &str, to: &str, said: &str) {
        self.project.edit(path, from, to);
        self.says(said);
    }

    /// Checks that the app was last started as `cargo run` starts it now.
    #[track_caller]
    pub(crate) fn end(self) {
        let cargo = self.project.command("cargo");
        self.end_as(cargo);
    }

    #[track_caller]
    pub(crate) fn end_as(self, mut cargo: Command) {
        self.hotrun.interrupt();
        self.hotrun.wait_killed_by(Signal::SIGINT);
        self.hotrun.assert_nothing_left();
        cargo.args(["run", "--quiet"]).args(self.args);
        cargo.envs(self.env.iter().copied());
        let output = cargo.output().unwrap();
        let by_cargo = words(&String::from_utf8(output.stdout).unwrap());
        assert_eq!(words(&self.hotrun.stdout()), by_cargo);
    }
}

/// The last output of the app. A runner gets the path of the program, which differs.
fn words(said: &str) -> Vec<String> {
    let last = said.rfind("args [").unwrap();
    let name = |line: &str| match line.split_once("args [\"") {
        Some(("", rest)) => rest.split_once("app\"").unwrap().1.to_owned(),
        _ => line.to_owned(),
    };
    said[last..].lines().map(name).collect()
}

#[test]
fn features_and_profiles() {
    let said = r#"format_args!("1{}{}{}{}",
        if cfg!(feature = "plain") { " plain" } else { "" },
        if cfg!(feature = "alpha") { " alpha" } else { "" },
        if cfg!(feature = "beta") { " beta" } else { "" },
        if cfg!(debug_assertions) { " checked" } else { "" })"#;
    let more = "[features]\ndefault = [\"plain\"]\nplain = []\nalpha = []\nbeta = []\n\
                [profile.fast]\ninherits = \"release\"\ndebug-assertions = true\n";
    let project = Project::of(&[
        ("Cargo.toml", &manifest("app", more)),
        ("src/main.rs", &main_of(said)),
    ]);
    let cases: [(&[&str], &str); 5] = [
        (&["-F", "alpha"], " plain alpha checked"),
        (
            &["--no-default-features", "--features", "alpha,beta"],
            " alpha beta checked",
        ),
        (&["--all-features", "--release"], " plain alpha beta"),
        (
            &["--profile", "fast", "-F", "alpha", "-F", "beta"],
            " plain alpha beta checked",
        ),
        (&["-r", "--no-default-features"], ""),
    ];
    for (number, (args, features)) in cases.into_iter().enumerate() {
        let number = number + 1;
        let session = Session::start(&project, args, &[], &format!("{number}{features}"));
        let next = number + 1;
        let (from, to) = (format!("\"{number}{{}}"), format!("\"{next}{{}}"));
        session.edit("src/main.rs", &from, &to, &format!("{next}{features}"));
        session.end();
    }
}

/// The fast profile is the user's with less debug information: backtraces keep the lines of the packages
/// at hand, everything else is as it was, and another cargo's lock is not waited for.
#[test]
fn the_fast_profile() {
    let said = r#"format_args!("1 {} {} {} {}",
        std::backtrace::Backtrace::force_capture().to_string().contains("src/main.rs:"),
        option_env!("MINE").is_some() && cfg!(by_flag),
        cfg!(overflow_checks_off),
        quiet::optimized())"#;
    let more = "[profile.dev]\noverflow-checks = false\n\
                [profile.dev.package.quiet]\nopt-level = 3\n\
                [dependencies]\nquiet = { path = \"quiet\" }\n\
                [lints.rust]\nunexpected_cfgs = \"allow\"\n";
    let build = r#"fn main() {
        let set = |key: &str, value: &str| std::env::var(key).is_ok_and(|is| is == value);
        assert!(set("PROFILE", "debug"));
        println!("cargo::rerun-if-changed=build.rs");
        if set("OPT_LEVEL", "0") { println!("cargo::rustc-cfg=overflow_checks_off"); }
    }"#;
    let project = Project::of(&[
        ("Cargo.toml", &manifest("app", more)),
        ("build.rs", build),
        ("src/main.rs", &main_of(said)),
        ("quiet/Cargo.toml", &manifest("quiet", "")),
        (
            "quiet/build.rs",
            r#"fn main() {
                println!("cargo::rerun-if-changed=build.rs");
                println!("cargo::rustc-env=LEVEL={}", std::env::var("OPT_LEVEL").unwrap());
            }"#,
        ),
        (
            "quiet/src/lib.rs",
            "pub fn optimized() -> bool { env!(\"LEVEL\") == \"3\" }",
        ),
        ("target/debug/.cargo-lock", ""),
    ]);
    // As an editor's check, or a test run, would for as long as it lasts.
    let other = File::open(project.path("target/debug/.cargo-lock")).unwrap();
    other.lock().unwrap();
    let run = Run::new(&project, &["--fast"]).env("MINE", "1");
    let hotrun = run.env("RUSTFLAGS", "--cfg by_flag").start();
    let says = |said: &str| {
        let said = format!("said {said}");
        hotrun.wait_line(|line| line == said);
    };
    says("1 true true true true");
    project.edit("src/main.rs", "\"1 ", "\"2 ");
    says("2 true true true true");
    assert!(project.path("target/fast-dev/app").exists());
    assert!(!project.path("target/debug/app").exists());
    // A profile that asks for no debug information stays as it is.
    project.edit(
        "Cargo.toml",
        "[profile.dev]\n",
        "[profile.dev]\ndebug = 0\n",
    );
    says("2 false true true true");
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    hotrun.assert_nothing_left();
}

/// The host target of this machine.
pub(crate) fn host(project: &Project) -> String {
    let output = project.command("rustc").arg("-vV").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.unwrap().to_owned()
}

#[test]
fn a_target_with_a_runner() {
    let project = Project::of(&[
        ("Cargo.toml", &manifest("app", "")),
        (
            "src/main.rs",
            &main_of("format_args!(\"1 {:?}\", std::env::var(\"RAN_BY\"))"),
        ),
        // The runner gets the program and its arguments after its own.
        (
            "tools/run",
            "#!/bin/sh\nexport RAN_BY=\"$1 $(basename \"$2\") $#\"\nshift\nexec \"$@\"\n",
        ),
    ]);
    let executable = Permissions::from_mode(0o755);
    fs::set_permissions(project.path("tools/run"), executable).unwrap();
    let host = host(&project);
    let config = format!("[target.{host}]\nrunner = [\"tools/run\", \"once\"]\n");
    project.add(".cargo/config.toml", &config);
    let args = ["--target", &host, "--", "with space"];
    let session = Session::start(&project, &args, &[], "1 Ok(\"once app 3\")");
    assert!(project.path(&format!("target/{host}/debug/app")).exists());
    session.edit("src/main.rs", "\"1 ", "\"2 ", "2 Ok(\"once app 3\")");
    session.edit(
        ".cargo/config.toml",
        "once",
        "twice",
        "2 Ok(\"twice app 3\")",
    );
    session.end();
    let config = format!("{config}[build]\ntarget = \"{host}\"\n");
    project.save(".cargo/config.toml", &config);
    let session = Session::start(&project, &[], &[], "2 Ok(\"once app 2\")");
    session.edit("src/main.rs", "\"2 ", "\"3 ", "3 Ok(\"once app 2\")");
    session.end();
}

#[test]
fn variables_of_cargos_configuration() {
    let said = r#"format_args!("1{}", ["PLAIN", "KEPT", "FORCED", "RELATIVE"]
        .map(|key| format!(" {}", std::env::var(key).unwrap())).concat())"#;
    let project = Project::of(&[
        ("Cargo.toml", &manifest("app", "")),
        ("src/main.rs", &main_of(said)),
        (
            ".cargo/config.toml",
            "[env]\nPLAIN = \"config\"\nKEPT = \"config\"\n\
             FORCED = { value = \"config\", force = true }\n\
             RELATIVE = { value = \"assets\", relative = true }\n",
        ),
    ]);
    let env = [("KEPT", "outer"), ("FORCED", "outer")];
    let assets = project.path("assets");
    let expected =
        |number: u32, plain: &str| format!("{number} {plain} outer config {}", assets.display());
    let session = Session::start(&project, &[], &env, &expected(1, "config"));
    let config = ".cargo/config.toml";
    session.edit(config, "\"config\"", "\"edited\"", &expected(1, "edited"));
    session.edit("src/main.rs", "\"1", "\"2", &expected(2, "edited"));
    // An unchanged program is started again if its surroundings change.
    session.edit(config, "\"edited\"", "\"again\"", &expected(2, "again"));
    session.end();
}

/// Files that build scripts read and crates include, in their package and outside of all packages.
#[test]
fn build_scripts_and_included_files() {
    let said = r#"format_args!("{} {} {}",
        env!("READ"), quiet::DATA, include_str!("../../shared/text"))"#;
    let needs = "[dependencies]\nquiet = { path = \"quiet\" }";
    let project = Project::of(&[
        ("Cargo.toml", &manifest("app", needs)),
        ("src/main.rs", &main_of(said)),
        (
            "build.rs",
            r#"fn main() {
                println!("cargo::rerun-if-changed=schema/a.sql");
                println!("cargo::rerun-if-changed=../proto");
                let read = |path| std::fs::read_to_string(path).unwrap();
                let read = [read("schema/a.sql"), read("../proto/deep/b.proto")].join(" ");
                println!("cargo::rustc-env=READ={read}");
            }"#,
        ),
        ("schema/a.sql", "a1"),
        ("../proto/deep/b.proto", "b1"),
        ("../shared/text", "c1"),
        ("quiet/Cargo.toml", &manifest("quiet", "")),
        // This script declares nothing, so every file of its package is a guess.
        (
            "quiet/build.rs",
            r#"fn main() {
                let data = std::fs::read_to_string("some/data.txt").unwrap();
                let out = std::env::var("OUT_DIR").unwrap() + "/data.rs";
                std::fs::write(out, format!("pub const DATA: &str = {data:?};")).unwrap();
            }"#,
        ),
        (
            "quiet/src/lib.rs",
            "include!(concat!(env!(\"OUT_DIR\"), \"/data.rs\"));",
        ),
        ("quiet/some/data.txt", "d1"),
    ]);
    let session = Session::start(&project, &[], &[], "a1 b1 d1 c1");
    // At once, just after dep-info was written.
    session.edit("../proto/deep/b.proto", "b1", "b2", "a1 b2 d1 c1");
    session.edit("../shared/text", "c1", "c2", "a1 b2 d1 c2");
    session.edit("schema/a.sql", "a1", "a2", "a2 b2 d1 c2");
    session.edit("quiet/some/data.txt", "d1", "d2", "a2 b2 d2 c2");
    // A file that is included from now on is watched from now on.
    project.add("../shared/other", "c3");
    session.edit("src/main.rs", "shared/text", "shared/other", "a2 b2 d2 c3");
    session.edit("../shared/other", "c3", "c4", "a2 b2 d2 c4");
    session.end();
}

/// A directory outside of all packages vanishes and comes back, as with branches of which one lacks it.
/// The program is the same again then, so cargo reports no new dep-info, and later saves there have to
/// be noticed all the same.
#[test]
fn inputs_outside_that_were_away() {
    let said = r#"format_args!("{} {}", env!("READ"), include_str!("../../shared/deep/text"))"#;
    let project = Project::of(&[
        ("Cargo.toml", &manifest("app", "")),
        ("src/main.rs", &main_of(said)),
        (
            "build.rs",
            r#"fn main() {
                println!("cargo::rerun-if-changed=../proto");
                let read = std::fs::read_to_string("../proto/deep/b.proto").unwrap();
                println!("cargo::rustc-env=READ={read}");
            }"#,
        ),
        ("../proto/deep/b.proto", "b1"),
        ("../shared/deep/text", "c1"),
    ]);
    let session = Session::start(&project, &[], &[], "b1 c1");
    session.edit("../shared/deep/text", "c1", "c2", "b1 c2");
    session.edit("../proto/deep/b.proto", "b1", "b2", "b2 c2");
    for (dir, file, text, said) in [
        ("../shared", "../shared/deep/text", "c", "b2 c"),
        ("../proto", "../proto/deep/b.proto", "b", "b c"),
    ] {
        let place = session.hotrun.here();
        fs::remove_dir_all(project.path(dir)).unwrap();
        session.hotrun.wait_after(place, "build-failed", |_| true);
        project.add(file, text);
        session.says(said);
    }
    session.edit("../shared/deep/text", "c", "c3", "b c3");
    session.edit("../proto/deep/b.proto", "b", "b3", "b3 c3");
    session.end();
}

/// An included file is a source, even if it is hidden, ignored by git or in another package.
#[test]
fn included_files_that_look_like_no_inputs() {
    let said = r#"format_args!("{} {}", include_str!("../static/.well-known/text"),
        include_str!("../tool/text"))"#;
    let project = Project::of(&[
        (
            "Cargo.toml",
            &manifest("app", "[workspace]\nmembers = [\"tool\"]"),
        ),
        ("src/main.rs", &main_of(said)),
        ("static/.well-known/text", "h1"),
        ("tool/Cargo.toml", &manifest("tool", "")),
        ("tool/src/lib.rs", ""),
        ("tool/text", "o1"),
    ]);
    let session = Session::start(&project, &[], &[], "h1 o1");
    session.edit("static/.well-known/text", "h1", "h2", "h2 o1");
    session.edit("tool/text", "o1", "o2", "h2 o2");
    session.end();
}

/// Cargo takes the file for an input, and each build writes it anew.
#[test]
fn what_a_build_script_writes_beside_the_code_is_no_reason_to_build() {
    let writes = "fn main() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let text = format!(\"pub const AT: u128 = {};\", now.unwrap().as_nanos());
        std::fs::write(\"src/generated.rs\", text).unwrap();
    }";
    let project = Project::of(&[
        ("Cargo.toml", &manifest("app", "[workspace]")),
        (".gitignore", "/target\n/src/generated.rs\n"),
        ("build.rs", writes),
        (
            "src/main.rs",
            &format!("#[allow(dead_code)] mod generated; {}", main_of("\"1\"")),
        ),
    ]);
    let session = Session::start(&project, &[], &[], "1");
    let edit = |number: usize| {
        let (old, new) = (number.to_string(), (number + 1).to_string());
        session.edit(
            "src/main.rs",
            &format!("\"{old}\""),
            &format!("\"{new}\""),
            &new,
        );
    };
    // The first times it may have been a person, who is not kept waiting for long.
    let known = (1..10).find(|number| {
        edit(*number);
        !session.hotrun.all("own-writing").is_empty()
    });
    let known = known.expect("it becomes known");
    let place = session.hotrun.here();
    for number in known + 1..known + 4 {
        edit(number);
    }
    let after = session.hotrun.events_after(place);
    let builds = after.iter().filter(|event| event["event"] == "building");
    assert_eq!(builds.count(), 3);
    session.end();
}

#[test]
fn packages_of_every_kind() {
    let dependencies = "[dependencies]\nmacros = { path = \"../macros\" }\n\
                        outside = { path = \"../../outside\" }\npatched = \"1\"\n";
    let project = Project::of(&[
        (
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"api\", \"macros\", \"other\"]\n\
             default-members = [\"api\"]\n\
             [patch.crates-io]\npatched = { path = \"../patched\" }\n",
        ),
        ("api/Cargo.toml", &manifest("api", dependencies)),
        (
            "api/src/main.rs",
            &main_of("format_args!(\"1 {} {} {}\", macros::text!(), outside::TEXT, patched::TEXT)"),
        ),
        (
            "macros/Cargo.toml",
            &manifest("macros", "[lib]\nproc-macro = true"),
        ),
        (
            "macros/src/lib.rs",
            "#[proc_macro]\npub fn text(_: proc_macro::TokenStream) -> proc_macro::TokenStream {\n\
             \"\\\"m1\\\"\".parse().unwrap()\n}\n",
        ),
        ("other/Cargo.toml", &manifest("other", "")),
        ("other/src/main.rs", &main_of("\"other\"")),
        ("../outside/Cargo.toml", &manifest("outside", "")),
        ("../outside/src/lib.rs", "pub const TEXT: &str = \"o1\";"),
        ("../patched/Cargo.toml", &manifest("patched", "")),
        ("../patched/src/lib.rs", "pub const TEXT: &str = \"p1\";"),
    ]);
    let session = Session::start(&project, &[], &[], "1 m1 o1 p1");
    session.edit("macros/src/lib.rs", "m1", "m2", "1 m2 o1 p1");
    session.edit("../outside/src/lib.rs", "o1", "o2", "1 m2 o2 p1");
    session.edit("../patched/src/lib.rs", "p1", "p2", "1 m2 o2 p2");
    session.edit("api/src/main.rs", "\"1 ", "\"2 ", "2 m2 o2 p2");
    // The sources of the other platforms don't count here; the manifest that chooses among them does.
    session.edit(
        "Cargo.toml",
        "default-members = [\"api\"]",
        "default-members = [\"other\"]",
        "other",
    );
    session.end();
}

/// Cargo does not know the files that a procedural macro reads, so a change is built only if the user
/// has named them: by `watch.paths` or by a rule.
#[test]
fn files_that_only_a_macro_reads() {
    let read = "extern crate proc_macro;\nuse proc_macro::{TokenStream, TokenTree};\n\
                #[proc_macro]\npub fn text(path: TokenStream) -> TokenStream {\n\
                let Some(TokenTree::Literal(path)) = path.into_iter().next() else { panic!() };\n\
                let path = path.to_string();\n\
                let text = std::fs::read_to_string(path.trim_matches('\"')).unwrap();\n\
                format!(\"{:?}\", text.trim()).parse().unwrap()\n}\n";
    let project = Project::of(&[
        (
            "Cargo.toml",
            &manifest("api", "[dependencies]\nmacros = { path = \"macros\" }\n"),
        ),
        ("src/main.rs", ""),
        ("queries/one.sql", "o1"),
        ("../outside/two.sql", "t1"),
        (
            "macros/Cargo.toml",
            &manifest("macros", "[lib]\nproc-macro = true"),
        ),
        ("macros/src/lib.rs", read),
    ]);
    let at = |path: &str| project.path(path).display().to_string();
    let said = format!(
        "format_args!(\"{{}} {{}}\", macros::text!({:?}), macros::text!({:?}))",
        at("queries/one.sql"),
        at("../outside/two.sql")
    );
    project.save("src/main.rs", &main_of(&said));
    project.configure(
        "[watch]\npaths = [\"../outside\"]\n\
         [[on]]\npaths = [\"queries/*.sql\"]\ndo = \"rebuild\"\n",
    );
    let session = Session::start(&project, &[], &[], "o1 t1");
    session.edit("queries/one.sql", "o1", "o2", "o2 t1");
    session.edit("../outside/two.sql", "t1", "t2", "o2 t2");
    session.edit("queries/one.sql", "o2", "o3", "o3 t2");
    session.end();
}

/// The directory above a package is no input if the workspace has no package at its root.
#[test]
fn a_package_that_was_away() {
    let project = Project::of(&[
        (
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"api\", \"part\"]\n\
             default-members = [\"api\"]\n",
        ),
        (
            "api/Cargo.toml",
            &manifest("api", "[dependencies]\npart = { path = \"../part\" }\n"),
        ),
        ("api/src/main.rs", &main_of("part::TEXT")),
        ("part/Cargo.toml", &manifest("part", "")),
        ("part/src/lib.rs", "pub const TEXT: &str = \"p1\";"),
    ]);
    let session = Session::start(&project, &[], &[], "p1");
    let place = session.hotrun.here();
    let away = project.path("../away");
    fs::rename(project.path("part"), &away).unwrap();
    session.hotrun.wait_after(place, "build-failed", |_| true);
    let text = away.join("src/lib.rs");
    fs::write(&text, "pub const TEXT: &str = \"p2\";").unwrap();
    fs::rename(&away, project.path("part")).unwrap();
    session.says("p2");
    session.edit("part/src/lib.rs", "p2", "p3", "p3");
    session.end();
}

#[test]
fn binaries_and_examples() {
    let more = "default-run = \"one\"\n\
                [dev-dependencies]\nneeded = { path = \"needed\" }\n";
    let project = Project::of(&[
        ("Cargo.toml", &manifest("app", more)),
        ("src/bin/one.rs", &main_of("\"one 1\"")),
        ("src/bin/two.rs", &main_of("\"two 1\"")),
        (
            "examples/demo.rs",
            &main_of("format_args!(\"demo {}\", needed::TEXT)"),
        ),
        ("needed/Cargo.toml", &manifest("needed", "")),
        ("needed/src/lib.rs", "pub const TEXT: &str = \"n1\";"),
    ]);
    let session = Session::start(&project, &[], &[], "one 1");
    session.edit("src/bin/one.rs", "one 1", "one 2", "one 2");
    session.edit(
        "Cargo.toml",
        "default-run = \"one\"",
        "default-run = \"two\"",
        "two 1",
    );
    session.edit("src/bin/two.rs", "two 1", "two 2", "two 2");
    session.end();
    let session = Session::start(&project, &["--example", "demo"], &[], "demo n1");
    session.edit("needed/src/lib.rs", "n1", "n2", "demo n2");
    session.edit("examples/demo.rs", "demo", "example", "example n2");
    session.end();
}

/// With `prefer-dynamic` the program needs a library that is only found by the library path.
#[test]
fn a_dynamic_standard_library() {
    let project = Project::of(&[
        ("Cargo.toml", &manifest("app", "")),
        ("src/main.rs", &main_of("1")),
        (
            ".cargo/config.toml",
            "[build]\nrustflags = [\"-C\", \"prefer-dynamic\"]\n",
        ),
    ]);
    let session = Session::start(&project, &[], &[], "1");
    session.edit("src/main.rs", "tell(1)", "tell(2)", "2");
    session.end();
}

#[test]
fn a_target_directory_elsewhere() {
    let project = Project::of(&[
        ("Cargo.toml", &manifest("app", "")),
        ("src/main.rs", &main_of("1")),
    ]);
    let outside = project.root().join("outside").display().to_string();
    let by_variable = [("CARGO_TARGET_DIR", &*outside)];
    // The first one is relative to the directory in which hotrun is started, and lies among the sources.
    let by_option = ["--target-dir", "src/out"];
    let cases = [
        (&by_option[..], &[][..], "src/out"),
        (&[], &by_variable, &outside),
        (&[], &[], "configured"),
    ];
    for (number, (args, env, dir)) in cases.into_iter().enumerate() {
        let number = number + 1;
        if dir == "configured" {
            project.add(
                ".cargo/config.toml",
                "[build]\ntarget-dir = \"configured\"\n",
            );
        }
        let session = Session::start(&project, args, env, &number.to_string());
        let built = session.hotrun.all("building").len();
        assert_eq!(built, 1, "a build is taken for a change");
        let [from, to] = [number, number + 1].map(|number| format!("tell({number})"));
        session.edit("src/main.rs", &from, &to, &(number + 1).to_string());
        assert!(project.path(dir).join("hotrun").exists());
        session.end();
        assert!(!project.path("target").exists());
    }
}

/// Intermediate files may be outside of the target directory; they are no inputs there either.
#[test]
fn a_build_directory_elsewhere() {
    let project = Project::of(&[
        ("Cargo.toml", &manifest("app", "")),
        (
            "build.rs",
            r#"fn main() {
                println!("cargo::rerun-if-changed=data.txt");
                let data = std::fs::read_to_string("data.txt").unwrap();
                let out = std::env::var("OUT_DIR").unwrap() + "/data.rs";
                std::fs::write(out, format!("{:?}", data.trim())).unwrap();
            }"#,
        ),
        ("data.txt", "1"),
        (
            "src/main.rs",
            &main_of("include!(concat!(env!(\"OUT_DIR\"), \"/data.rs\"))"),
        ),
    ]);
    for (number, dir) in ["between", "../between"].into_iter().enumerate() {
        // Cargo creates the directory under another name first.
        fs::create_dir(project.path(dir)).unwrap();
        let env = [("CARGO_BUILD_BUILD_DIR", dir)];
        let texts: Vec<String> = (1..4).map(|text| (2 * number + text).to_string()).collect();
        let session = Session::start(&project, &[], &env, &texts[0]);
        session.edit("data.txt", &texts[0], &texts[1], &texts[1]);
        session.edit("data.txt", &texts[1], &texts[2], &texts[2]);
        let causes = session.hotrun.values("building", "cause");
        assert_eq!(causes[1..], ["data.txt"; 2]);
        let built = project.path(dir).join("debug").exists();
        assert!(built, "this cargo knows no other directory");
        session.end();
    }
}

/// The app is built by the toolchain that `rust-toolchain.toml` names, by its name or its path.
#[test]
fn a_toolchain_of_the_project() {
    let project = Project::of(&[
        ("Cargo.toml", &manifest("app", "")),
        ("src/main.rs", &main_of("1")),
    ]);
    let rustup = |args: &[&str]| {
        let output = project.command("rustup").args(args).output().ok()?;
        let text = String::from_utf8(output.stdout).unwrap();
        Some(text.split_whitespace().next()?.to_owned())
    };
    let (Some(name), Some(rustc)) = (
        rustup(&["show", "active-toolchain"]),
        rustup(&["which", "rustc"]),
    ) else {
        return say("there is no rustup here, so nobody reads `rust-toolchain.toml`");
    };
    let toolchain = |line: &str| {
        project.save("rust-toolchain.toml", &format!("[toolchain]\n{line}\n"));
    };
    toolchain(&format!("channel = \"{name}\""));
    let hotrun = Run::new(&project, &[]).by(&["env", "-u", "RUSTUP_TOOLCHAIN"]);
    let session = Session {
        project: &project,
        args: &[],
        env: &[],
        hotrun: hotrun.start(),
    };
    session.says("1");
    session.edit("src/main.rs", "tell(1)", "tell(2)", "2");
    let place = session.hotrun.here();
    toolchain("channel = \"there-is-none-of-this-name\"");
    session.hotrun.wait_after(place, "build-failed", |_| true);
    // By its path: the same toolchain under another name, which the app finds in its environment.
    let home = rustc.strip_suffix("/bin/rustc").unwrap();
    toolchain(&format!("path = \"{home}\""));
    let named = format!("\"RUSTUP_TOOLCHAIN\",\n        \"{home}\"");
    wait_until("an app of the other toolchain", || {
        let said = session.hotrun.stdout();
        let (_, rest) = said.split_once(&named)?;
        rest.contains("\nsaid 2\n").then_some(())
    });
    let mut cargo = project.command("cargo");
    cargo.env_remove("RUSTUP_TOOLCHAIN");
    session.end_as(cargo);
}

/// A compile cache starts its daemon with the first compiler that it wraps, and so below hotrun's cargo.
/// The daemon serves other projects too: it outlives hotrun, and has none of its descriptors.
#[test]
fn a_compiler_wrapper_with_a_daemon() {
    let project = Project::new("slow-drain");
    let pid_file = project.root().join("daemon.pid");
    let script = format!(
        "#!/bin/sh\n\
         if mkdir \"{0}.started\" 2>/dev/null; then\n\
         (setsid sh -c 'echo $$ >\"{0}.new\"; mv \"{0}.new\" \"{0}\"; exec sleep 600' &) \\\n\
         </dev/null >/dev/null 2>&1\n\
         fi\n\
         exec \"$@\"\n",
        pid_file.display()
    );
    let wrapper = project.root().join("wrapper");
    fs::write(&wrapper, script).unwrap();
    fs::set_permissions(&wrapper, Permissions::from_mode(0o755)).unwrap();
    let config = format!("[build]\nrustc-wrapper = \"{}\"\n", wrapper.display());
    project.add(".cargo/config.toml", &config);
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    project.set_version("2");
    hotrun.wait_version("2");
    let pid = fs::read_to_string(&pid_file).unwrap();
    let daemon = Running::find(pid.trim().parse().unwrap()).unwrap();
    assert_eq!(daemon.session, daemon.pid);
    let descriptors = Process::new(daemon.pid).unwrap().fd().unwrap();
    for descriptor in descriptors {
        let descriptor = descriptor.unwrap();
        let harmless = matches!(descriptor.target, FDTarget::Path(_));
        assert!(harmless, "{}: {:?}", descriptor.fd, descriptor.target);
    }
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    wait_until("nothing but the daemon", || {
        let left: Vec<i32> = hotrun.survivors().iter().map(|left| left.pid).collect();
        (left == [daemon.pid]).then_some(())
    });
    daemon.signal(Signal::SIGKILL);
    hotrun.assert_nothing_left();
}
