//! Changes of the program's sources are built, wherever they are and whatever ignore files say; other
//! changes are not.
//!
//! "Nothing happens" can't be waited for, so each row of the tables is followed by a plain edit, the
//! fence: it has to be built and served, and all events of the row come before it in the stream. Where
//! the app writes by itself, a test waits until it has done so a number of times, which the app prints.

use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::common::client::get;
use crate::common::row::{self, NONE, ONE};
use crate::common::{ANY, Hotrun, Project, Run, size_of_test, wait_until};

/// A row: its name, what is done, and the builds and restarts that it may cost.
struct Row(
    &'static str,
    fn(&Project),
    RangeInclusive<usize>,
    RangeInclusive<usize>,
);

/// What a user does in a project whose dep-info is known.
const ROWS: &[Row] = &[
    // ---- no source
    Row(
        "touch",
        |p| p.run("touch src/main.rs src/http.rs"),
        NONE,
        NONE,
    ),
    Row("touch -m", |p| p.run("touch -m src/main.rs"), NONE, NONE),
    Row(
        "the same bytes",
        |p| p.run("cat src/http.rs > t; cat t > src/http.rs; rm t"),
        NONE,
        NONE,
    ),
    Row("README", |p| p.add("README.md", "words"), NONE, NONE),
    Row(
        "a log",
        |p| p.run("for i in 1 2 3; do echo $i >> dev.log; done"),
        NONE,
        NONE,
    ),
    Row(
        "a database",
        |p| {
            p.run("for i in 1 2 3; do echo $i > a.db; echo $i > a.db-wal; done");
        },
        NONE,
        NONE,
    ),
    Row(
        "a swap file",
        |p| p.run("echo > src/.main.rs.swp; rm src/.main.rs.swp"),
        NONE,
        NONE,
    ),
    Row(
        "a file in target",
        |p| p.add("target/debug/x.rs", "not rust"),
        NONE,
        NONE,
    ),
    Row(
        "uploads",
        |p| {
            p.run("mkdir -p uploads; for i in 1 2 3 4 5; do echo $i > uploads/$i.json; done");
        },
        NONE,
        NONE,
    ),
    Row(
        "a Rust file that is no module",
        |p| p.add("src/scratch.rs", "not rust"),
        NONE,
        NONE,
    ),
    Row(
        "an integration test",
        |p| p.add("tests/it.rs", "not rust"),
        NONE,
        NONE,
    ),
    Row(
        "an example",
        |p| p.add("examples/ex.rs", "fn main() {}"),
        NONE,
        NONE,
    ),
    Row(
        "a directory that comes and goes",
        |p| p.run("mkdir src/x; rmdir src/x"),
        NONE,
        NONE,
    ),
    Row(
        "a file that comes and goes",
        |p| p.run("echo > src/y.rs; rm src/y.rs"),
        NONE,
        NONE,
    ),
    Row(
        "a link to a large directory",
        |p| p.run("ln -s /usr result"),
        NONE,
        NONE,
    ),
    Row(
        "an editor's cargo check",
        |p| p.run("cargo check --quiet --offline --target-dir target-ra"),
        NONE,
        NONE,
    ),
    Row(
        "cargo build by hand",
        |p| p.run("cargo build --quiet --offline"),
        NONE,
        NONE,
    ),
    Row(
        "a crash report of the compiler",
        |p| p.add("rustc-ice-2026-01-01T00_00_00-1.txt", "ICE"),
        NONE,
        NONE,
    ),
    Row(
        "an ignore file",
        |p| p.add(".ignore", "*.sql\n"),
        NONE,
        NONE,
    ),
    Row(
        "git commit",
        |p| p.run("git add --all; git commit --quiet -m x"),
        NONE,
        NONE,
    ),
    Row(
        "there and back",
        |p| {
            in_steps(p, || {
                p.run("cp src/http.rs t; echo // >> src/http.rs; cat t > src/http.rs; rm t");
            });
        },
        NONE,
        NONE,
    ),
    Row(
        "away and back",
        |p| in_steps(p, || p.run("mv src ../away; mv ../away src")),
        NONE,
        NONE,
    ),
    Row(
        "git stash and pop",
        |p| {
            in_steps(p, || {
                p.run("echo '//' >> src/listen.rs; git stash -q; git stash pop -q");
            });
        },
        ONE,
        NONE,
    ),
    // ---- sources, without a change of the program
    Row(
        "a comment",
        |p| p.run("echo '// words' >> src/http.rs"),
        ONE,
        NONE,
    ),
    Row(
        "a comment in the manifest",
        |p| p.run("echo '# words' >> Cargo.toml"),
        ONE,
        NONE,
    ),
    // ---- sources, with a change of the program
    Row(
        "an included file that git ignores",
        |p| p.save("src/ignored.sql", "select 2"),
        ONE,
        ONE,
    ),
    Row(
        "the same, moved there with an old time",
        |p| {
            p.run(
                "echo 'select 3' > ../old.sql; touch -d 2020-01-01 ../old.sql; mv ../old.sql src/ignored.sql",
            );
        },
        ONE,
        ONE,
    ),
    Row(
        "an included file that is hidden",
        |p| p.save("src/.well-known", "hidden 2"),
        ONE,
        ONE,
    ),
    Row(
        "an included file outside",
        |p| p.save("../outside/text", "outside 2"),
        ONE,
        ONE,
    ),
    Row(
        "a file behind a link",
        |p| p.save("../outside/linked.txt", "linked 2"),
        ONE,
        ONE,
    ),
    Row(
        "a file in a directory behind a link",
        |p| p.save("../outside/dir/text", "dir 2"),
        ONE,
        ONE,
    ),
    Row(
        "a path dependency",
        |p| p.save("part/src/lib.rs", "pub const PART: &str = \"part 2\";"),
        ONE,
        ONE,
    ),
    Row(
        "a comment in a path dependency",
        |p| p.run("echo '// words' >> part/src/lib.rs"),
        ONE,
        NONE,
    ),
    Row(
        "what a build script declares",
        |p| p.save("schema/deep/a.sql", "schema 2"),
        ONE,
        ONE,
    ),
    Row(
        "a new file where a build script declares a directory",
        |p| p.add("schema/deep/b.sql", "b"),
        ONE,
        ONE,
    ),
    Row(
        "a manifest's profile",
        |p| {
            p.edit(
                "Cargo.toml",
                "[profile.dev]",
                "[profile.dev]\nopt-level = 1",
            );
        },
        ONE,
        ONE,
    ),
    Row(
        "a new module, then its name",
        |p| {
            in_steps(p, || {
                p.add("src/new.rs", "pub const NEW: &str = \"new 1\";");
                p.edit("src/made.rs", "\"no new\"", "crate::new::NEW");
                p.edit("src/main.rs", "mod made;", "mod made;\nmod new;");
            });
        },
        ONE,
        ONE,
    ),
    Row(
        "that module",
        |p| p.save("src/new.rs", "pub const NEW: &str = \"new 2\";"),
        ONE,
        ONE,
    ),
    Row(
        "a name that differs in case",
        |p| {
            in_steps(p, || {
                p.run(
                    "mv src/new.rs src/New.rs
                     sed -i 's/^mod new;/#[path = \"New.rs\"] mod new;/' src/main.rs",
                );
            });
        },
        ONE,
        0..=1,
    ),
    Row(
        "git checkout of 200 files and back",
        |p| {
            in_steps(p, || {
                p.run(
                    "git add --all; git commit --quiet -m y
                     git checkout --quiet many; git checkout --quiet -",
                );
            });
        },
        NONE,
        NONE,
    ),
];

/// Does this while hotrun is paused, so that it sees only what there is in the end. Otherwise a build
/// starts with the first step, and it is a matter of time whether the next one comes before cargo says
/// something: on a busy machine, git takes longer than that.
#[track_caller]
fn in_steps(project: &Project, steps: impl FnOnce()) {
    let ctl = |word| {
        let mut command = project.command(env!("CARGO_BIN_EXE_hotrun"));
        command.args(["ctl", word]).output().unwrap()
    };
    assert!(ctl("pause").status.success());
    steps();
    // Everything is noticed, and all of it is undone or collected.
    let noticed = ctl("wait");
    let said = String::from_utf8_lossy(&noticed.stdout);
    assert!(
        noticed.status.success() || said.contains("hotrun ctl resume"),
        "{noticed:?}"
    );
    assert!(ctl("resume").status.success());
}

/// A server made of all that cargo knows of: included files of every kind, a path dependency, and a
/// build script that declares what it reads.
fn made_of_everything() -> Project {
    let project = Project::new("slow-drain");
    let made = "#[used]\npub static MADE: [&str; 9] = [\n\
        include_str!(\"ignored.sql\"), include_str!(\".well-known\"),\n\
        include_str!(\"../../outside/text\"), include_str!(\"linked.txt\"),\n\
        include_str!(\"dir/text\"), part::PART, env!(\"SCHEMA\"), \"no new\", \"made\",\n];\n";
    for (path, text) in [
        ("src/made.rs", made),
        ("src/ignored.sql", "select 1"),
        ("src/.well-known", "hidden 1"),
        ("../outside/text", "outside 1"),
        ("../outside/linked.txt", "linked 1"),
        ("../outside/dir/text", "dir 1"),
        ("schema/deep/a.sql", "schema 1"),
        (
            "part/Cargo.toml",
            "[package]\nname = \"part\"\nversion = \"1.0.0\"\nedition = \"2024\"\n",
        ),
        ("part/src/lib.rs", "pub const PART: &str = \"part 1\";"),
        (
            "build.rs",
            "fn main() {\n    println!(\"cargo::rerun-if-changed=schema\");\n    let mut all = String::new();\n    \
             for file in std::fs::read_dir(\"schema/deep\").unwrap() {\n        \
             all += &std::fs::read_to_string(file.unwrap().path()).unwrap();\n    }\n    \
             println!(\"cargo::rustc-env=SCHEMA={}\", all.replace('\\n', \" \"));\n}\n",
        ),
        (".gitignore", "/target\nignored.sql\nresult\n"),
        // Its existence is part of the app's environment (`CARGO_PKG_README`).
        ("README.md", ""),
    ] {
        project.add(path, text);
    }
    symlink("../../outside/linked.txt", project.path("src/linked.txt")).unwrap();
    symlink("../../outside/dir", project.path("src/dir")).unwrap();
    let manifest = fs::read_to_string(project.path("Cargo.toml")).unwrap();
    project.add(
        "Cargo.toml",
        &format!("{manifest}\n[dependencies]\npart = {{ path = \"part\" }}\n"),
    );
    project.edit("src/main.rs", "mod http;", "mod http;\nmod made;");
    // A branch with other files, to check out and leave again.
    project.run(
        "cargo metadata --offline --format-version 1 >/dev/null
         git init --quiet; git add --all; git commit --quiet -m start
         git checkout --quiet -b many; mkdir many; for i in $(seq 200); do echo $i > many/$i.rs; done
         echo '// many' >> src/http.rs; git add --all; git commit --quiet -m many
         git checkout --quiet -",
    );
    project
}

/// Does one row, then a plain save. Returns the counts if they are not as expected.
fn try_one(project: &Project, hotrun: &Hotrun, number: usize, row: &Row) -> Option<String> {
    let Row(name, done, builds, restarts) = row;
    let start = hotrun.here();
    done(project);
    let row = row::Row {
        name,
        number,
        builds,
        restarts,
    };
    row.check(project, hotrun, start)
}

#[test]
fn what_is_no_part_of_the_program_builds_nothing_and_what_is_does() {
    let project = made_of_everything();
    project.wait_until_old();
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let rows = ROWS.iter().enumerate();
    let wrong: Vec<String> = rows
        .filter_map(|(number, row)| try_one(&project, &hotrun, number, row))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let hinted = hotrun.values("no-dependents", "path");
    assert_eq!(hinted, [] as [String; 0]);
}

// ---- own writing of the app and the build

/// A server that runs this in a thread of its own when it starts, and prints how often it has written.
fn that_writes(body: &str) -> Project {
    let project = Project::new("slow-drain");
    let spawn = format!(
        "std::thread::spawn(|| {{\n        for number in 0u32.. {{\n            {body}\n            \
         println!(\"written {{number}}\");\n        }}\n    }});\n    println!(\"listening"
    );
    project.edit("src/main.rs", "println!(\"listening", &spawn);
    project
}

/// Waits until the newest generation has written so often.
fn wait_written(hotrun: &Hotrun, often: u32) {
    let line = format!("written {often}");
    let before = hotrun.stdout().matches(&line).count();
    wait_until(&line, || {
        (hotrun.stdout().matches(&line).count() > before).then_some(())
    });
}

/// Each save is one build and one restart, while the app writes.
#[track_caller]
fn one_build_a_save(project: &Project, hotrun: &Hotrun, versions: &[&str], often: u32) {
    for version in versions {
        let (builds, lives) = (hotrun.all("building").len(), hotrun.all("live").len());
        project.set_version(version);
        hotrun.wait_version(version);
        wait_written(hotrun, often);
        assert_eq!(hotrun.all("building").len() - builds, 1, "{version}");
        assert_eq!(hotrun.all("live").len() - lives, 1, "{version}");
    }
}

/// There is no build script here, so there are no guesses: no file that the app writes counts.
#[test]
fn databases_and_uploads_of_the_app_build_nothing() {
    for (pause, often) in [(40, 50), (400, 6)] {
        let project = that_writes(&format!(
            "let name = [\"a.db\", \"b.db-wal\", \"c.db-journal\"][number as usize % 3];\n            \
             std::fs::write(name, number.to_string()).unwrap();\n            \
             std::fs::create_dir_all(\"uploads\").unwrap();\n            \
             std::fs::write(format!(\"uploads/{{number}}.json\"), \"{{}}\").unwrap();\n            \
             std::thread::sleep(std::time::Duration::from_millis({pause}));"
        ));
        let hotrun = Hotrun::start(&project, &ANY);
        hotrun.wait_live(1);
        wait_written(&hotrun, often);
        assert_eq!(hotrun.all("building").len(), 1);
        one_build_a_save(&project, &hotrun, &["2", "3"], often);
        assert_eq!(hotrun.values("no-dependents", "path"), [] as [String; 0]);
    }
}

/// Every file of the package is a guess here, so hotrun has to recognise the app's own writing. Then a
/// save is one build, and a generation gets live, however slow the compiler is.
#[test]
fn what_the_app_writes_where_cargo_looks_at_everything_is_found_out() {
    let project = that_writes(
        "let name = [\"a.db\", \"b.db\", \"c.db\"][number as usize % 3];\n            \
         std::fs::write(name, number.to_string()).unwrap();\n            \
         std::thread::sleep(std::time::Duration::from_millis(40));",
    );
    let slow = "fn main() { std::thread::sleep(std::time::Duration::from_millis(500)); }";
    project.add("build.rs", slow);
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    wait_until("own writing", || {
        (hotrun.values("own-writing", "path").len() == 3).then_some(())
    });
    let builds = hotrun.all("building").len();
    wait_written(&hotrun, 50);
    assert_eq!(hotrun.all("building").len(), builds, "it goes on");
    one_build_a_save(&project, &hotrun, &["2", "3"], 30);
    assert_eq!(hotrun.all("cancelled").len(), 0);
}

/// A file that a process of the app has open for writing is its own writing from the first change on.
#[test]
fn what_the_app_has_open_builds_nothing() {
    let project = that_writes(
        "use std::io::Write;\n            let mut file = std::fs::OpenOptions::new();\n            \
         let mut file = file.create(true).append(true).open(\"data.db\").unwrap();\n            \
         loop {\n                writeln!(file, \"more\").unwrap();\n                \
         std::thread::sleep(std::time::Duration::from_millis(300));\n                \
         println!(\"written more\");\n            }\n            #[allow(unreachable_code)]",
    );
    project.add("build.rs", "fn main() {}");
    fs::write(project.path("data.db"), "").unwrap();
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let written = |times| hotrun.stdout().matches("written more").count() >= times;
    wait_until("ten rows", || written(10).then_some(()));
    let builds = hotrun.all("building").len();
    // The app may write first while it starts, when its open files are not looked at yet.
    assert!(builds <= 2, "{builds}");
    project.set_version("2");
    hotrun.wait_version("2");
    wait_until("more rows", || written(20).then_some(()));
    assert_eq!(hotrun.all("building").len(), builds + 1);
}

/// The app writes a file when it starts, and the build script embeds the time and declares nothing:
/// once, this was a restart every half second, for ever.
#[test]
fn what_the_app_writes_when_it_starts_is_one_more_restart() {
    let project = Project::new("slow-drain");
    // It has more to do before it listens, so that what it writes is written during its start.
    project.edit(
        "src/main.rs",
        "let listener",
        "std::fs::write(\"openapi.json\", format!(\"{:?}\", std::time::SystemTime::now()))?;\n    \
         std::thread::sleep(std::time::Duration::from_millis(300));\n    let listener",
    );
    project.add(
        "build.rs",
        "fn main() { println!(\"cargo::rustc-env=AT={:?}\", std::time::SystemTime::now()); }",
    );
    project.edit(
        "src/main.rs",
        "mod http;",
        "mod http;\n#[used]\nstatic AT: &str = env!(\"AT\");",
    );
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let told = hotrun.wait_for("own-writing", |_| true);
    assert_eq!(told["path"], "openapi.json");
    // One more start has shown it.
    let lives = hotrun.all("live").len();
    assert_eq!(lives, 2);
    for version in ["2", "3", "4"] {
        project.set_version(version);
        hotrun.wait_version(version);
    }
    assert_eq!(hotrun.all("live").len(), lives + 3);
}

/// A build script that writes two sources beside the code, which git does not ignore: the build gets
/// live, and a save is one build. The files are the same each time, or have the time in them.
#[test]
fn what_a_build_script_writes_beside_the_code_is_its_own() {
    for text in ["1", "{:?}"] {
        let project = Project::new("slow-drain");
        project.add(
            "build.rs",
            &format!(
                "fn main() {{\n    let now = std::time::SystemTime::now();\n    let _ = now;\n    \
                 for name in [\"one\", \"two\"] {{\n        \
                 let text = format!(\"// {text}\\npub const {{}}: u8 = 1;\\n\"{}, name.to_uppercase());\n        \
                 std::fs::write(format!(\"src/{{name}}.rs\"), text).unwrap();\n    }}\n}}\n",
                if text == "1" { "" } else { ", now" }
            ),
        );
        project.edit(
            "src/main.rs",
            "mod http;",
            "mod http;\n#[allow(dead_code)]\nmod one;\n#[allow(dead_code)]\nmod two;",
        );
        let hotrun = Hotrun::start(&project, &ANY);
        hotrun.wait_for("live", |_| true);
        if text != "1" {
            wait_until("own writing", || {
                (hotrun.values("own-writing", "path").len() == 2).then_some(())
            });
        }
        // Files written with the same bytes are known as own writing after the first of these.
        for version in ["2", "3"] {
            project.set_version(version);
            hotrun.wait_version(version);
        }
        for version in ["4", "5", "6"] {
            let builds = hotrun.all("building").len();
            project.set_version(version);
            hotrun.wait_version(version);
            assert_eq!(hotrun.all("building").len() - builds, 1, "{text} {version}");
        }
    }
}

/// The other way round: a template that a build script reads without declaring it is built at each save.
#[test]
fn what_a_person_saves_is_built_each_time() {
    let project = Project::new("slow-drain");
    project.add(
        "build.rs",
        "fn main() { println!(\"cargo::rustc-env=PAGE={}\", std::fs::read_to_string(\"page.html\").unwrap()); }",
    );
    project.add("page.html", "page-0");
    project.save(
        "src/version.rs",
        "pub const VERSION: &str = env!(\"PAGE\");\n",
    );
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_version("page-0");
    for number in 1..=3 {
        let page = format!("page-{number}");
        project.save("page.html", &page);
        hotrun.wait_version(&page);
    }
}

/// A log of hotrun itself in the package, where every file is a guess.
#[test]
fn its_own_output_in_the_package_builds_nothing() {
    let project = Project::new("slow-drain");
    project.add("build.rs", "fn main() {}");
    let hotrun = Run::new(&project, &ANY);
    let hotrun = hotrun.after("exec >dev.log 2>&1").start();
    hotrun.wait_live(1);
    for version in ["2", "3"] {
        project.set_version(version);
        hotrun.wait_version(version);
    }
    assert_eq!(hotrun.all("building").len(), 3);
}

// ---- what is hidden from other tools

/// A `.gitignore` above the package's own repository ignores everything (a home directory under git):
/// git does not read it here.
#[test]
fn what_is_ignored_above_the_repository_is_built() {
    let project = Project::new("slow-drain");
    fs::write(project.root().join(".gitignore"), "*\n").unwrap();
    project.run("git init --quiet");
    // Also before there is any dep-info.
    project.edit("src/main.rs", "fn main()", "fn main(");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_for("build-failed", |_| true);
    project.edit("src/main.rs", "fn main(", "fn main()");
    hotrun.wait_for("live", |_| true);
    project.set_version("2");
    hotrun.wait_version("2");
}

/// A module is created before the line that declares it, and the other way round, with a failed build in
/// between.
#[test]
fn what_a_failed_build_lacks_is_built_when_it_comes() {
    let project = Project::new("slow-drain");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    project.save("src/version.rs", "mod part;\npub use part::VERSION;\n");
    hotrun.wait_for("build-failed", |_| true);
    project.add(
        "src/version/part.rs",
        "pub const VERSION: &str = include_str!(\"text\");\n",
    );
    let failed = |event: &serde_json::Value| event["generation"].as_u64() > Some(2);
    hotrun.wait_for("build-failed", failed);
    // Not a Rust file: the compiler's error has named it.
    project.add("src/version/text", "2");
    hotrun.wait_version("2");
}

// ---- files around the program

/// Apps look for `.env` in their directory and above; here it is in the workspace, and hotrun is started
/// in the member.
#[test]
fn an_environment_file_of_the_workspace_restarts() {
    let project = Project::new("slow-drain");
    let manifest = fs::read_to_string(project.path("Cargo.toml")).unwrap();
    project.run("mkdir member; mv src Cargo.toml member/; rm -f Cargo.lock");
    project.add("member/Cargo.toml", &manifest.replace("[workspace]", ""));
    project.add(
        "Cargo.toml",
        "[workspace]\nmembers = [\"member\"]\nresolver = \"3\"\n",
    );
    project.add(".env", "A=1\n");
    let hotrun = Run::new(&project, &ANY).below("member").start();
    hotrun.wait_live(1);
    let place = hotrun.here();
    fs::write(project.path(".env"), "A=1\n").unwrap();
    fs::write(project.path(".env"), "A=2\n").unwrap();
    let live = hotrun.wait_after(place, "live", |_| true);
    assert_eq!(
        (live["generation"].as_u64(), live["cause"].as_str()),
        (Some(2), Some(".env"))
    );
    assert_eq!(hotrun.all("building").len(), 1);
}

/// `.env` is a source here: the build script embeds it.
#[test]
fn an_environment_file_that_is_compiled_in_is_built() {
    let project = Project::new("slow-drain");
    project.add(
        "build.rs",
        "fn main() {\n    println!(\"cargo::rerun-if-changed=.env\");\n    \
         let text = std::fs::read_to_string(\".env\").unwrap();\n    \
         println!(\"cargo::rustc-env=BAKED={}\", text.trim());\n}\n",
    );
    project.add(".env", "one");
    project.save(
        "src/version.rs",
        "pub const VERSION: &str = env!(\"BAKED\");\n",
    );
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_version("one");
    project.save(".env", "two");
    hotrun.wait_version("two");
}

/// A new migration of a program that embeds them: a restart would embed nothing.
#[test]
fn a_hint_has_the_cure_for_what_is_compiled_in() {
    let project = Project::new("slow-drain");
    let manifest = fs::read_to_string(project.path("Cargo.toml")).unwrap();
    // A crate with the name of the one that embeds migrations is enough.
    project.add(
        "Cargo.toml",
        &format!("{manifest}\n[dependencies]\nsqlx = {{ path = \"sqlx\" }}\n"),
    );
    project.add(
        "sqlx/Cargo.toml",
        "[package]\nname = \"sqlx\"\nversion = \"1.0.0\"\nedition = \"2024\"\n",
    );
    project.add("sqlx/src/lib.rs", "");
    project.add("migrations/1_a.sql", "create table a;");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    project.add("migrations/2_b.sql", "create table b;");
    let hint = hotrun.wait_for("no-dependents", |_| true);
    assert_eq!(hint["path"], "migrations/2_b.sql");
    assert_eq!(hint["cure"]["compiled_in_by"], "sqlx");
    project.add("migrations/3_c.sql", "create table c;");
    project.set_version("2");
    hotrun.wait_version("2");
    assert_eq!(hotrun.all("no-dependents").len(), 1);
    assert_eq!(hotrun.all("building").len(), 2);
}

// ---- git

/// Twenty commits that are rebased with a command after each: the states in between need not be built.
#[test]
fn a_rebase_is_waited_for() {
    let project = Project::new("slow-drain");
    fs::write(project.path(".gitignore"), "/target\n").unwrap();
    project.run(
        "git init --quiet; git add --all; git commit --quiet -m start; git checkout --quiet -b work
         for i in $(seq 20); do
           echo \"pub const VERSION: &str = \\\"work-$i\\\";\" > src/version.rs; git commit --quiet -am $i
         done
         git checkout --quiet -b base HEAD~20; echo '// base' >> src/http.rs; git commit --quiet -am base
         git checkout --quiet work",
    );
    project.wait_until_old();
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_version("work-20");
    let place = hotrun.here();
    project.run("git rebase --quiet --exec 'sleep 0.3' base");
    // The files before and after the rebase differ only in a comment.
    hotrun.wait_after(place, "unchanged", |_| true);
    project.set_version("fence");
    hotrun.wait_version("fence");
    let events = hotrun.events().split_off(place.0);
    let count = |name: &str| events.iter().filter(|event| event["event"] == name).count();
    assert!(
        (1..=2).contains(&(count("building") - 1)),
        "{}",
        count("building")
    );
    assert_eq!(count("cancelled"), 0);
}

/// The rebase stops in the middle: that state is built, and so is the user's resolution.
#[test]
fn a_rebase_that_stops_is_built() {
    let project = Project::new("slow-drain");
    fs::write(project.path(".gitignore"), "/target\n").unwrap();
    project.run(
        "git init --quiet; git add --all; git commit --quiet -m start; git checkout --quiet -b work
         echo 'pub const VERSION: &str = \"work\";' > src/version.rs; git commit --quiet -am work
         git checkout --quiet -b base HEAD~1
         echo 'pub const VERSION: &str = \"base\";' > src/version.rs; git commit --quiet -am base
         git checkout --quiet work",
    );
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_version("work");
    project.run("git rebase --quiet base >/dev/null 2>&1 || true");
    hotrun.wait_for("build-failed", |_| true);
    project.set_version("mended");
    hotrun.wait_version("mended");
}

// ---- the last save wins

/// A save, and the old content back, at varied moments of a build: in the end, the served program is
/// always that of the files on disk.
#[test]
fn there_and_back_during_builds_ends_with_what_is_on_the_disk() {
    let project = Project::new("slow-drain");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    for round in 0..size_of_test("HOTRUN_TEST_ROUNDS", 10_u64) {
        let [one, two] = ["a", "b"].map(|name| format!("{name}-{round}"));
        project.set_version(&one);
        // The pause after the first save differs in every round.
        wait_for_a_moment(round * 37 % 400);
        project.set_version(&two);
        wait_for_a_moment(round * 101 % 500);
        project.set_version(&one);
        // The first build may have served it before, and the second one has yet to be made up for.
        let mut place = hotrun.here();
        loop {
            hotrun.wait_version(&one);
            wait_for_a_moment(500);
            let before = std::mem::replace(&mut place, hotrun.here());
            if place.0 == before.0 {
                break;
            }
        }
        let served = get(hotrun.address()).answer().version;
        assert_eq!(served, one, "round {round}");
    }
    let fence = "fence";
    project.set_version(fence);
    hotrun.wait_version(fence);
}

/// The moment is what is varied; it does not wait for anything.
fn wait_for_a_moment(milliseconds: u64) {
    std::thread::sleep(std::time::Duration::from_millis(milliseconds));
}

/// Cargo's incremental data is kept, whatever is saved: hotrun makes changes visible to cargo by the
/// times of its fingerprints.
#[test]
fn double_saves_keep_incremental_data() {
    let project = Project::new("slow-drain");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    // rustc leaves alone what it does not know in the directories of its data.
    let incremental = fs::read_dir(project.path("target/debug/incremental")).unwrap();
    let marks: Vec<PathBuf> = incremental
        .map(|dir| dir.unwrap().path().join("kept"))
        .collect();
    assert!(!marks.is_empty());
    for mark in &marks {
        fs::write(mark, "").unwrap();
    }
    for round in 0..size_of_test("HOTRUN_TEST_ROUNDS", 10_u64) {
        project.set_version_in_place(&format!("first-{round}"));
        wait_for_a_moment(round * 6 % 60);
        project.set_version_in_place(&format!("second-{round}"));
        hotrun.wait_version(&format!("second-{round}"));
    }
    for mark in &marks {
        assert!(mark.exists(), "{} is gone", mark.display());
    }
    let commands = hotrun.values("command", "command");
    assert!(commands.iter().all(|command| !command.contains("clean")));
}
