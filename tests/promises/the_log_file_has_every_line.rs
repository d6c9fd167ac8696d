//! The app's output can also be kept in a file, as it was printed, with a mark where a generation begins
//! and ends; rotating the file loses no line, and the file is no input.

use std::fs;

use nix::sys::signal::Signal;

use crate::common::{ANY, Hotrun, Project, wait_until};

/// The log is in a watched directory: if it were an input, hotrun would build for ever.
#[test]
fn the_log_lies_in_the_project_and_starts_no_build() {
    let project = Project::new("slow-drain");
    project.configure("[log]\nfile = \"app.log\"\n");
    let log = |name: &str| fs::read_to_string(project.path(name)).unwrap_or_default();
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    project.set_version("2");
    hotrun.wait_live(2);
    hotrun.wait_for("gone", |event| event["generation"] == 1);
    let listening = format!("listening on {}", hotrun.address());
    wait_until("the last mark", || {
        log("app.log")
            .contains("--- hotrun: g1 gone ---\n")
            .then_some(())
    });
    let lines: Vec<String> = log("app.log").lines().map(str::to_owned).collect();
    // A candidate may be seen to be ready before its first line is read.
    assert_eq!(lines.iter().filter(|line| **line == listening).count(), 2);
    let marks: Vec<&String> = lines.iter().filter(|line| **line != listening).collect();
    let expected = [
        "--- hotrun: g1 live (first start) ---",
        "--- hotrun: g2 live (src/version.rs) ---",
        "--- hotrun: g1 gone ---",
    ];
    assert_eq!(marks, expected);

    // logrotate: move it away, then say so.
    fs::rename(project.path("app.log"), project.path("app.log.1")).unwrap();
    hotrun.signal(Signal::SIGUSR1);
    wait_until("the new file", || {
        project.path("app.log").exists().then_some(())
    });
    project.set_version("3");
    hotrun.wait_live(3);
    wait_until("its first mark", || {
        log("app.log")
            .contains("g3 live (src/version.rs)")
            .then_some(())
    });
    assert!(!log("app.log.1").contains("g3 "));
    assert_eq!(hotrun.all("building").len(), 3);
    // The printed output is unaffected, and the next run appends to the file.
    hotrun.interrupt();
    hotrun.wait_exit();
    let before = log("app.log");
    assert!(before.contains("--- hotrun: g3 gone ---\n"), "{before}");
    assert_eq!(hotrun.stdout().matches(&listening).count(), 3);
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    wait_until("more", || (log("app.log") != before).then_some(()));
    assert!(log("app.log").starts_with(&before));
}

/// A file that can't be opened is reported at the start, not at the first line.
#[test]
fn a_log_in_no_directory_is_refused() {
    let project = Project::new("slow-drain");
    for (file, says) in [
        ("logs/app.log", "log.file: there is no directory `"),
        ("src", "log.file: cannot write `"),
    ] {
        project.configure(&format!("[log]\nfile = \"{file}\"\n"));
        let hotrun = Hotrun::start(&project, &ANY);
        hotrun.wait_code(2);
        let said = hotrun.stderr();
        assert!(said.contains(says) && said.contains("hint: "), "{said}");
    }
}
