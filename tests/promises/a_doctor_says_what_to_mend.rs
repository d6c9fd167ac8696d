//! `hotrun doctor` tries what a session would do, and says what has to be fixed and how. It builds
//! nothing, unless it is asked how long that takes, and leaves nothing behind.

use std::fs;
use std::net::TcpListener;

use nix::libc;
use regex::Regex;

use crate::common::{Project, Run, own_address};

/// The output of the doctor, which must end with this code.
#[track_caller]
fn examined(project: &Project, args: &[&str], code: i32) -> String {
    let args = [&["doctor"], args].concat();
    let hotrun = Run::new(project, &args).start();
    hotrun.wait_code(code);
    assert_eq!(hotrun.stderr(), "");
    hotrun.stdout()
}

#[test]
fn where_all_is_well() {
    let project = Project::new("plain");
    let said = examined(&project, &["--listen", "127.0.0.1:0"], 0);
    for line in [
        "   capture   what the app listens on by itself is held\n",
        "  steering   old and new version have a socket each: a swap by itself cuts no connection\n",
        " addresses   declared: 127.0.0.1:",
        " toolchain   cargo 1.",
        " toolchain   rustc 1.",
        "   project   plain of plain in ",
        "  watching   the system tells of every change\n",
    ] {
        assert!(said.contains(line), "no `{line}` in {said}");
    }
    assert!(said.ends_with("\nnothing to mend\n"), "{said}");
    let left = std::fs::read_dir(project.path("target/hotrun"))
        .unwrap()
        .count();
    assert_eq!(left, 0);
    assert!(!project.path("target/debug").exists());
    project.configure("[handover]\nsteering = \"relay\"\n");
    let off = examined(&project, &["--no-capture"], 0);
    for line in [
        "   capture   off: only declared addresses are held\n",
        "  steering   hotrun passes connections on: a swap cuts none",
    ] {
        assert!(off.contains(line), "no `{line}` in {off}");
    }
}

/// After a killed build, or with dep-info of an unknown form, hotrun knows less, and the doctor says so.
#[test]
fn where_the_last_build_does_not_say_what_it_was_made_of() {
    let project = Project::new("plain");
    let about = " sources   not built yet: known after the first build\n";
    assert!(examined(&project, &[], 0).contains(about));
    project.add("target/debug/plain", "");
    project.add(
        "target/debug/plain.d",
        "/target/debug/plain: /src/main.rs /src/ht",
    );
    let said = examined(&project, &[], 1);
    assert!(
        said.contains("plain.d` is missing or not what cargo writes"),
        "{said}"
    );
    project.add(
        "target/debug/plain.d",
        "/target/debug/plain: /src/main.rs\n",
    );
    let said = examined(&project, &[], 0);
    assert!(
        said.contains(" sources   1, by cargo's dep-info\n"),
        "{said}"
    );
}

/// As in a container: writes through an overlay have events, so there is nothing to fix.
#[test]
fn where_the_project_is_on_an_overlay() {
    let project = Project::new("plain");
    let root = project.root();
    for dir in ["over", "merged"] {
        std::fs::create_dir(root.join(dir)).unwrap();
    }
    let mount = "cd ..
        mount -t tmpfs tmpfs over
        mkdir over/upper over/work
        mount -t overlay overlay -o lowerdir=app,upperdir=over/upper,workdir=over/work merged
        cd merged";
    let hotrun = Run::new(&project, &["doctor"])
        .in_its_own_namespaces(mount)
        .start();
    hotrun.wait_code(0);
    let said = hotrun.stdout();
    assert!(said.contains("/merged\n"), "{said}");
    assert!(said.ends_with("\nnothing to mend\n"), "{said}");
}

/// What does not depend on the file is examined all the same.
#[test]
fn where_the_configuration_is_broken() {
    let project = Project::new("plain");
    project.configure("[ap]\n");
    let said = examined(&project, &[], 1);
    for line in [
        "  settings   .reload.toml:1:2: there is no section `ap`\n             hint: ",
        "   capture   what the app listens on by itself is held\n",
        " toolchain   cargo 1.",
        "   project   not examined",
    ] {
        assert!(said.contains(line), "no `{line}` in {said}");
    }
    assert!(said.ends_with("\none thing to mend\n"), "{said}");
}

#[test]
fn where_nothing_is() {
    let project = Project::new("plain");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    project.save("Cargo.toml", "[package\n");
    let said = examined(&project, &["--listen", &address], 1);
    assert!(
        said.contains(&format!(" addresses   {address} is in use by pid ")),
        "{said}"
    );
    assert!(said.contains("   project   error: "), "{said}");
    assert!(
        said.contains("hint: mend the manifest; hotrun would wait for that\n"),
        "{said}"
    );
    assert!(said.ends_with("\n2 things to mend\n"), "{said}");
}

#[test]
fn while_a_hotrun_serves() {
    let project = Project::new("plain");
    let address = own_address().to_string();
    let live = Run::new(&project, &[]).env("ADDR", &address).start();
    live.wait_live(1);
    let said = examined(&project, &[], 1);
    let line = format!(
        "   project   a hotrun already serves this target (pid {})",
        live.pid()
    );
    assert!(said.contains(&line), "{said}");
    assert!(said.ends_with("\none thing to mend\n"), "{said}");
}

/// As in a container.
#[test]
fn where_a_sandbox_forbids_much() {
    let project = Project::new("listens");
    let built = project.command("cargo").args(["build", "--quiet"]).status();
    assert!(built.unwrap().success());
    let program = project.path("target/debug/listens");
    for (call, line) in [
        (
            libc::SYS_seccomp,
            "   capture   what the app listens on is not held: a sandbox forbids it",
        ),
        (
            libc::SYS_pidfd_getfd,
            "   capture   a container denies copies of other processes' sockets",
        ),
        // Without it, the protocol of the program's socket is not known.
        (
            libc::SYS_getxattr,
            "   capture   a program that listens was not answered in time",
        ),
    ] {
        let by = [program.to_str().unwrap(), "denies", &call.to_string()];
        let hotrun = Run::new(&project, &["doctor"]).by(&by).start();
        hotrun.wait_code(1);
        let said = hotrun.stdout();
        assert!(said.contains(line), "{said}");
        assert!(said.contains("             hint: "), "{said}");
    }
}

/// Each way is built in a copy, with as many edits, and reported with what to write to have it.
#[test]
fn how_long_builds_take() {
    let project = Project::new("plain");
    let source = fs::read_to_string(project.path("src/main.rs")).unwrap();
    let hotrun = Run::new(&project, &["doctor", "--builds"]).start();
    hotrun.wait_code(0);
    let said = hotrun.stdout();
    let figure = r"\d+\.\d\d s";
    let ratio = r"\(\d+\.\d\d\)";
    for pattern in [
        format!(
            r"builds   {figure} with the settings as they are \(median of 3 edits of src/main.rs\)"
        ),
        format!(r"builds   {figure} {ratio} with `fast = true` under \[build\] of .reload.toml"),
        format!(
            r"builds   {figure} {ratio} with `debug = false` under \[profile.dev\] of Cargo.toml"
        ),
        format!(r"builds   {figure} {ratio} with `codegen-units = 16`"),
    ] {
        let found = Regex::new(&pattern).unwrap().is_match(&said);
        assert!(found, "no `{pattern}` in {said}");
    }
    assert!(said.ends_with("\nnothing to mend\n"), "{said}");
    let steps = hotrun.stderr();
    let told = |start: &str| steps.lines().filter(|line| line.starts_with(start)).count();
    let ways = said.lines().filter(|line| line.contains(" builds   "));
    assert_eq!(told("hotrun: everything is built once: "), ways.count());
    assert_eq!(told("hotrun: edit "), 5, "{steps}");
    assert_eq!(
        fs::read_to_string(project.path("src/main.rs")).unwrap(),
        source
    );
    let left = fs::read_dir(project.path("target")).unwrap().flatten();
    let dirs = left.filter(|entry| entry.file_type().unwrap().is_dir());
    let dirs: Vec<_> = dirs.map(|entry| entry.file_name()).collect();
    assert_eq!(dirs, ["hotrun"]);
    hotrun.assert_nothing_left();
}

/// The copy would not find a package that is elsewhere, and a program that does not compile has no time.
#[test]
fn what_can_not_be_measured() {
    let project = Project::of(&[
        (
            "app/Cargo.toml",
            "[package]\nname = \"app\"\nversion = \"0.1.0\"\n[dependencies]\nnear = { path = \"../near\" }\n",
        ),
        ("app/src/main.rs", "fn main() {}"),
        (
            "near/Cargo.toml",
            "[package]\nname = \"near\"\nversion = \"0.1.0\"\n",
        ),
        ("near/src/lib.rs", ""),
    ]);
    let manifest = ["--manifest-path", "app/Cargo.toml"];
    let measured = || {
        let args = [&["doctor", "--builds"], &manifest[..]].concat();
        let hotrun = Run::new(&project, &args).start();
        hotrun.wait_code(1);
        hotrun.stdout()
    };
    let said = measured();
    assert!(
        said.contains("`near` is outside of the workspace"),
        "{said}"
    );
    project.save(
        "app/Cargo.toml",
        "[package]\nname = \"app\"\nversion = \"0.1.0\"\n",
    );
    project.save("app/src/main.rs", "fn main() { missing() }");
    let said = measured();
    assert!(said.contains("does not build: 1 error"), "{said}");
    assert!(said.contains("cannot find function `missing`"), "{said}");
}
