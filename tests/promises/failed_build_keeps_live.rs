//! Code that does not compile costs clients nothing: live answers all of them, for as long as it takes.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::common::load::Kind;
use crate::common::{ANY, Hotrun, Load, Project, Run, get};

/// Code is half-written most of the day. A usual watcher stops the server before it builds, so a missing
/// semicolon is an outage.
#[test]
fn a_syntax_error_costs_no_answer() {
    let project = Project::new("slow-drain");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let load = Load::start(hotrun.address(), 100, Kind::Get);
    project.edit("src/version.rs", "\"1\";", "\"2\"; }");
    let failed = hotrun.wait_for("build-failed", |_| true);
    assert_eq!(failed["generation"], 2);
    assert_eq!(failed["reason"], "1 error");
    assert_eq!(failed["cause"], "src/version.rs");
    assert_eq!(failed["next"]["keeps"], 1);
    let diagnostic = hotrun.wait_for("diagnostic", |event| event["level"] == "error");
    let rendered = diagnostic["rendered"].as_str().unwrap();
    assert!(rendered.contains("src/version.rs"), "{rendered}");
    load.wait_more(150);
    let outcomes = load.stop();
    outcomes.assert_all_answered();
    for exchange in &outcomes.0 {
        let answer = exchange.answer().unwrap();
        assert_eq!((&*answer.version, answer.generation), ("1", 1));
    }
    project.set_version("3");
    hotrun.wait_version("3");
    let live = hotrun.wait_live(3);
    assert_eq!(live["cause"], "src/version.rs");
}

/// A manifest is read by cargo, not by rustc: a broken one fails earlier, before there is any build.
#[test]
fn a_broken_manifest_costs_no_answer() {
    let project = Project::new("slow-drain");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let load = Load::start(hotrun.address(), 100, Kind::Get);
    project.edit("Cargo.toml", "[package]", "[package");
    let failed = hotrun.wait_for("build-failed", |_| true);
    assert_eq!(failed["reason"], "the manifest cannot be read");
    assert_eq!(failed["cause"], "Cargo.toml");
    assert_eq!(failed["next"]["keeps"], 1);
    let said = hotrun.values("cargo", "line").join("\n");
    assert!(
        said.contains("Cargo.toml"),
        "cargo did not say where: {said}"
    );
    load.wait_more(150);
    let outcomes = load.stop();
    outcomes.assert_all_answered();
    assert_eq!(hotrun.all("live").len(), 1);
    // A save while the manifest is broken is served once the manifest is mended.
    project.set_version("2");
    let place = hotrun.here();
    project.edit("Cargo.toml", "[package", "[package]");
    hotrun.wait_next_live(place);
    hotrun.wait_version("2");
}

/// Cargo reads the manifests of all members of a workspace, also of those that the app does not depend
/// on: it can't build the app while one of them is broken.
#[test]
fn a_broken_manifest_of_another_member_is_mended() {
    let manifest = |name: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n")
    };
    let main = "fn main() { println!(\"said 1\"); }\n";
    let project = Project::of(&[
        (
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"app\", \"other\"]\n\
             default-members = [\"app\"]\n",
        ),
        ("app/Cargo.toml", &manifest("app")),
        ("app/src/main.rs", main),
        ("other/Cargo.toml", &manifest("other")),
        ("other/src/lib.rs", ""),
    ]);
    let hotrun = Hotrun::start(&project, &[]);
    hotrun.wait_line(|line| line == "said 1");
    project.edit("other/Cargo.toml", "[package]", "[package");
    let failed = hotrun.wait_for("build-failed", |_| true);
    assert_eq!(failed["reason"], "the manifest cannot be read");
    assert_eq!(failed["cause"], "other/Cargo.toml");
    let place = hotrun.here();
    project.edit("app/src/main.rs", "said 1", "said 2");
    hotrun.wait_after(place, "build-failed", |_| true);
    project.edit("other/Cargo.toml", "[package", "[package]");
    hotrun.wait_line(|line| line == "said 2");
}

/// A broken manifest at the start does not end hotrun: the user is told and mends it. The address is
/// held from the first moment, so a client that connects before is answered too.
#[test]
fn a_broken_manifest_at_the_start_is_waited_for() {
    let project = Project::new("slow-drain");
    project.edit("Cargo.toml", "[package]", "[package");
    let hotrun = Hotrun::start(&project, &ANY);
    let failed = hotrun.wait_for("build-failed", |_| true);
    assert_eq!(failed["reason"], "the manifest cannot be read");
    assert_eq!(failed["next"], "wait");
    let early = Load::start(hotrun.address(), 20, Kind::Get);
    project.edit("Cargo.toml", "[package", "[package]");
    hotrun.wait_for("live", |_| true);
    hotrun.wait_version("1");
    early.stop().assert_all_answered();
    // From here on it is a session like any other.
    project.set_version("2");
    hotrun.wait_version("2");
}

/// Git takes files away before it writes them anew, and holds its lock meanwhile. A build that has begun a
/// moment before fails for want of them, and is made up for once they are back, though each file is then as
/// it was when the build began.
#[test]
fn a_manifest_that_is_away_for_a_moment_is_waited_for() {
    let project = Project::new("slow-drain");
    let hotrun = built_while_git_works(&project, "mv Cargo.toml .git/away", 101);
    project.run("mv .git/away Cargo.toml; rm .git/index.lock");
    hotrun.wait_version("2");
}

/// The same, but the build succeeds, with what is there for a moment only.
#[test]
fn a_source_that_is_another_for_a_moment_is_not_served() {
    let project = Project::new("slow-drain");
    let others = "cp src/version.rs .git/away; sed -i s/2/3/ src/version.rs";
    let hotrun = built_while_git_works(&project, others, 0);
    let place = hotrun.here();
    project.run("cat .git/away >src/version.rs; rm .git/index.lock");
    hotrun.wait_next_live(place);
    assert_eq!(get(hotrun.address()).answer().version, "2");
}

/// Saves version 2, has git hold its lock and do this in the moment in which its build begins, and waits until
/// cargo has ended with this status.
fn built_while_git_works(project: &Project, does: &str, status: u32) -> Hotrun {
    project.run("git init --quiet");
    let cargo = project.root().join("cargo");
    let script = format!(
        "#!/bin/sh\n\
         if [ -e '{0}/take' ] && [ \"$1\" = build ]; then\n\
             rm '{0}/take'\n\
             touch .git/index.lock\n\
             {does}\n\
         fi\n\
         exec cargo \"$@\"\n",
        project.root().display()
    );
    fs::write(&cargo, script).unwrap();
    fs::set_permissions(&cargo, Permissions::from_mode(0o755)).unwrap();
    let run = Run::new(project, &ANY).env("CARGO", cargo.to_str().unwrap());
    let hotrun = run.start();
    hotrun.wait_live(1);
    project.wait_until_old();
    let place = hotrun.here();
    fs::write(project.root().join("take"), "").unwrap();
    project.set_version("2");
    hotrun.wait_after(place, "build-ended", |event| {
        event["exit"]["status"] == status
    });
    hotrun
}

/// Moved away, as with `git worktree remove`, while hotrun runs in it.
#[test]
fn a_project_that_is_gone_is_named() {
    let project = Project::new("slow-drain");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let away = project.root().join("away");
    fs::rename(project.dir(), &away).unwrap();
    let failed = hotrun.wait_for("build-failed", |_| true);
    let reason = format!("the directory `{}` is gone", project.dir().display());
    assert_eq!(failed["reason"], reason);
    let hint = failed["hint"].as_str().unwrap();
    assert!(hint.starts_with("put it back, and hotrun "), "{hint}");
    assert_eq!(failed["next"]["keeps"], 1);
    fs::rename(&away, project.dir()).unwrap();
    project.set_version("2");
    hotrun.wait_version("2");
}
