//! Hooks run when they should, know what they are about, and can't harm live.

use std::fs;
use std::path::Path;

use crate::common::load::Kind;
use crate::common::{ANY, Hotrun, Load, Project, Run, wait_until};

fn project_with(hooks: &str) -> Project {
    let project = Project::new("slow-drain");
    project.configure(&format!("[hooks]\n{hooks}"));
    project
}

/// Code is generated from a file that the compiler does not know: the program served is made from that
/// file.
#[test]
fn before_build_generates_what_is_built() {
    let generate = r#"before_build = '''printf 'pub const VERSION: &str = "%s";\n' "$(cat version.txt)" > src/version.rs'''
[watch]
paths = ["version.txt"]
"#;
    let project = project_with(generate);
    fs::write(project.path("version.txt"), "a").unwrap();
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_version("a");
    for version in ["b", "c", "d"] {
        let builds = hotrun.all("building").len();
        project.save("version.txt", version);
        hotrun.wait_version(version);
        // The file that the hook writes is a source too, and no reason for another build; but on a busy
        // machine its event may come late, and cause one.
        let more = hotrun.all("building").len() - builds;
        assert!((1..=2).contains(&more), "{version}");
    }
    let causes = hotrun.values("building", "cause");
    assert_eq!(causes.last().unwrap(), "version.txt");
    // An edit of the user is built like any other.
    project.edit("src/main.rs", "println!(\"", "println!(\"now ");
    hotrun.wait_line(|line| line.starts_with("now listening"));
}

#[test]
fn a_hook_that_fails_or_hangs_costs_nobody_an_answer() {
    let project = project_with("before_build = \"sh hook.sh\"\ntimeout = \"700ms\"\n");
    let hook = |script: &str| fs::write(project.path("hook.sh"), script).unwrap();
    hook("true");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let load = Load::start(hotrun.address(), 100, Kind::Get);
    for (script, reason) in [
        ("echo broken >&2; exit 7", "exit status 7"),
        ("sleep 60 & sleep 60", "it did not end within 700ms"),
        ("kill -9 $$", "exit status 137"),
    ] {
        let place = hotrun.here();
        hook(script);
        project.set_version("2");
        let failed = hotrun.wait_after(place, "job-failed", |_| true);
        let said = failed["reason"].as_str().unwrap();
        assert!(said.starts_with(reason), "{said}");
        assert_eq!(failed["occasion"], "before_build");
        assert_eq!(failed["next"]["keeps"], 1);
    }
    let sleeps =
        |process: &crate::common::processes::Running| process.to_string().contains("sleep");
    assert!(
        !hotrun.survivors().iter().any(sleeps),
        "a hook was left running"
    );
    let outcomes = load.stop();
    outcomes.assert_all_answered();
    assert!(
        outcomes
            .0
            .iter()
            .all(|exchange| exchange.answer().unwrap().generation == 1)
    );
    hook("true");
    project.set_version("3");
    hotrun.wait_version("3");
}

/// After a failed migration, the program that needs it is not started; live still fits the database.
#[test]
fn a_migration_that_fails_keeps_live() {
    for handover in ["auto", "stop-first"] {
        let project = project_with("before_start = \"test ! -e broken\"\n");
        let hotrun = Hotrun::start(&project, &[&ANY[..], &["--handover", handover]].concat());
        hotrun.wait_live(1);
        let load = Load::start(hotrun.address(), 100, Kind::Get);
        fs::write(project.path("broken"), "").unwrap();
        project.set_version("2");
        let failed = hotrun.wait_for("job-failed", |_| true);
        assert_eq!(failed["next"]["keeps"], 1, "{handover}");
        load.wait_more(50);
        let outcomes = load.stop();
        outcomes.assert_all_answered();
        assert!(
            outcomes
                .0
                .iter()
                .all(|exchange| exchange.answer().unwrap().version == "1")
        );
        fs::remove_file(project.path("broken")).unwrap();
        project.set_version("3");
        hotrun.wait_version("3");
    }
}

/// Each line: the hook, the generation, the error.
fn told(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn hooks_know_what_they_are_about() {
    let project = Project::new("slow-drain");
    let note = "echo \"$HOTRUN_HOOK|$HOTRUN_GENERATION|$HOTRUN_ERROR|$FROM_FILE\" >> ../told";
    let line = |name: &str| format!("{name} = '''{note}'''\n");
    let names = ["before_build", "before_start", "after_live", "on_error"];
    let hooks: String = names.map(line).concat();
    let file = "[app]\nenv_files = [\"vars\"]\n";
    project.configure(&format!("{file}[hooks]\n{hooks}"));
    fs::write(project.path("vars"), "FROM_FILE=yes\n").unwrap();
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let path = project.root().join("told");
    let wait = |count: usize| {
        wait_until("the hooks", || {
            Some(told(&path)).filter(|told| told.len() >= count)
        })
    };
    assert_eq!(
        wait(3),
        [
            "before_build|||yes",
            "before_start|1||yes",
            "after_live|1||yes"
        ]
    );
    project.edit("src/version.rs", ";", "; }");
    let lines = wait(5);
    assert_eq!(lines[3..], ["before_build|||yes", "on_error|2|1 error|yes"]);
}

/// A hotrun that is started by an app or a hook of another hotrun: its hooks don't get the other one's
/// generation.
#[test]
fn a_hook_knows_nothing_of_an_outer_hotrun() {
    let note = "echo \"$HOTRUN_GENERATION|$HOTRUN_ERROR\" > ../told";
    let project = project_with(&format!("before_build = '{note}'\n"));
    let hotrun = Run::new(&project, &ANY)
        .env("HOTRUN_GENERATION", "7")
        .env("HOTRUN_ERROR", "1 error")
        .start();
    hotrun.wait_live(1);
    assert_eq!(told(&project.root().join("told")), ["|"]);
}

/// A daemon that a hook starts must not keep the port, nor get the variables of activation.
#[test]
fn a_hook_has_nothing_of_the_apps_sockets() {
    let project = project_with(
        "before_start = \"ls -l /proc/self/fd > ../descriptors; env > ../environment\"\n",
    );
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let read = |name: &str| fs::read_to_string(project.root().join(name)).unwrap();
    assert!(
        !read("descriptors").contains("socket:"),
        "{}",
        read("descriptors")
    );
    assert!(
        !read("environment").contains("LISTEN_"),
        "{}",
        read("environment")
    );
}

#[test]
fn a_hook_ends_with_hotrun() {
    let project = project_with("before_build = \"touch ../started; sleep 60\"\n");
    let hotrun = Hotrun::start(&project, &ANY);
    let started = project.root().join("started");
    wait_until("the hook", || started.exists().then_some(()));
    hotrun.interrupt();
    hotrun.wait_killed_by(nix::sys::signal::Signal::SIGINT);
    hotrun.assert_nothing_left();
    fs::remove_file(&started).unwrap();
    let hotrun = Hotrun::start(&project, &ANY);
    wait_until("the hook", || started.exists().then_some(()));
    hotrun.kill();
    hotrun.wait_exit();
    hotrun.assert_nothing_left();
}
