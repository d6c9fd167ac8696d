//! Most servers can run beside the next generation. Those that can't are recognised once, by a conflict.

use serde_json::Value;

use crate::common::{ANY, Hotrun, Project};

/// A server that needs something exclusively, and ends at once if it can't have it.
fn project(take: &str) -> Project {
    let project = Project::new("slow-drain");
    project.edit(
        "src/main.rs",
        "    let listener = listen::listen()?;",
        &format!("    {take}\n    let listener = listen::listen()?;"),
    );
    project
}

/// A database file, locked by the program that has it open. A program that finds it locked waits for a
/// moment, as databases do.
const LOCK: &str = r#"
    let database = std::fs::File::create("data.db")?;
    let start = std::time::Instant::now();
    while database.try_lock().is_err() {
        if start.elapsed().as_millis() > 500 {
            eprintln!("cannot open");
            std::process::exit(1);
        }
        thread::sleep(std::time::Duration::from_millis(20));
    }"#;

/// The same with a PID file, of which the kernel knows nothing.
const PID_FILE: &str = r#"
    static NAME: &str = "server.pid";
    if std::path::Path::new(NAME).exists() {
        eprintln!("error: server already running, see {NAME}");
        std::process::exit(1);
    }
    std::fs::write(NAME, "pid")?;"#;

fn place(events: &[Value], name: &str, generation: u64) -> usize {
    let is = |event: &Value| event["event"] == name && event["generation"] == generation;
    events.iter().position(is).unwrap()
}

/// The first reload costs an additional start; from then on live is stopped first.
fn learns(project: &Project, evidence: &str, says: &str) {
    let args = [&ANY[..], &["--ignore", "data.db", "--ignore", "*.pid"]].concat();
    let hotrun = Hotrun::start(project, &args);
    hotrun.wait_live(1);
    project.set_version("2");
    let ended = hotrun.wait_for("ended", |_| true);
    assert_eq!(ended["generation"], 2);
    assert_eq!(ended["live"], false);
    assert_eq!(ended["next"], "alone");
    let learned = hotrun.wait_for("learned", |_| true);
    let text = learned["because"][evidence].as_str().unwrap();
    assert!(text.contains(says), "{learned}");
    let live = hotrun.wait_live(3);
    assert_eq!(live["cause"], "g2 could not run beside live");
    hotrun.wait_version("2");

    project.set_version("4");
    hotrun.wait_live(4);
    hotrun.wait_version("4");
    let events = hotrun.events();
    assert!(place(&events, "gone", 3) < place(&events, "starting", 4));
    assert_eq!(hotrun.all("learned").len(), 1);
    assert_eq!(hotrun.all("ended").len(), 1);
    assert!(
        hotrun
            .stderr()
            .contains("from now on live is stopped first")
    );
}

/// The program prints no evidence; the kernel's list of locks has it.
#[test]
fn from_a_lock_that_live_has() {
    learns(&project(LOCK), "lock", "data.db");
}

#[test]
fn from_what_it_says() {
    let project = project(PID_FILE);
    // The PID file is only removed by an orderly end.
    project.edit(
        "src/main.rs",
        "    drop(listener);",
        "    let _ = std::fs::remove_file(\"server.pid\");\n    drop(listener);",
    );
    learns(&project, "line", "already running");
}

/// With `overlap`, live is never stopped for a candidate that can't run beside it.
#[test]
fn nothing_is_learned_where_overlap_was_asked_for() {
    let project = project(LOCK);
    let args = ["--handover", "overlap", "--ignore", "data.db"];
    let hotrun = Hotrun::start(&project, &[&ANY[..], &args].concat());
    hotrun.wait_live(1);
    for generation in [2, 3] {
        project.set_version(&generation.to_string());
        let ended = hotrun.wait_for("ended", |event| event["generation"] == generation);
        assert_eq!(ended["next"]["keeps"], 1);
    }
    hotrun.wait_version("1");
    assert_eq!(hotrun.all("learned").len(), 0);
    assert_eq!(hotrun.all("draining").len(), 0);
}

/// A crash that has nothing to do with live is no reason to stop live.
#[test]
fn nothing_is_learned_from_an_ordinary_crash() {
    let project = Project::new("crash-at-start");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    project.set_version("crash");
    let ended = hotrun.wait_for("ended", |_| true);
    assert_eq!(ended["next"]["keeps"], 1);
    project.set_version("3");
    hotrun.wait_version("3");
    let beside = hotrun.values("starting", "beside");
    assert_eq!(beside, ["null", "1", "1"]);
    assert_eq!(hotrun.all("learned").len(), 0);
}

/// A log may say anything, and of what a program says only its last error counts.
#[test]
fn nothing_is_learned_from_a_line_of_log() {
    let project = project(
        "if version::VERSION == \"2\" {
        eprintln!(\"TRACE mio::poll: read: would block, the reactor is already running\");
        panic!(\"no such table\");
    }",
    );
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    project.set_version("2");
    let ended = hotrun.wait_for("ended", |_| true);
    assert_eq!(ended["next"]["keeps"], 1);
    hotrun.wait_version("1");
    assert_eq!(hotrun.all("draining").len(), 0);
}

/// The candidate blames live, and fails in the same way without it: last-good serves again, and what the
/// program says is not believed any more.
#[test]
fn a_lesson_that_proves_wrong_is_dropped() {
    let project = project(
        "if version::VERSION != \"1\" {
        eprintln!(\"error: already running\");
        std::process::exit(1);
    }",
    );
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    project.set_version("2");
    let ended = hotrun.wait_for("ended", |event| event["generation"] == 3);
    assert_eq!(ended["next"]["rollback"], 1);
    let live = hotrun.wait_live(4);
    assert_eq!(live["cause"], "rollback from g3");
    hotrun.wait_version("1");
    project.set_version("3");
    let ended = hotrun.wait_for("ended", |event| event["generation"] == 5);
    assert_eq!(ended["next"]["keeps"], 4);
    assert_eq!(hotrun.all("learned").len(), 0);
}

/// With `stop-first`, nothing has to be learned.
#[test]
fn stop_first_never_runs_two() {
    let project = project(LOCK);
    let args = ["--handover", "stop-first", "--ignore", "data.db"];
    let hotrun = Hotrun::start(&project, &[&ANY[..], &args].concat());
    hotrun.wait_live(1);
    for generation in [2, 3] {
        project.set_version(&generation.to_string());
        hotrun.wait_live(generation);
        let events = hotrun.events();
        assert!(place(&events, "gone", generation - 1) < place(&events, "starting", generation));
    }
    assert_eq!(hotrun.all("ended").len(), 0);
}
