//! Where a project has several programs, a person at a terminal chooses one, once; everybody else is told
//! what to type.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::thread::{self, JoinHandle};

use nix::fcntl::{OFlag, open};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

use crate::common::hotrun::Place;
use crate::common::terminal::Terminal;
use crate::common::{Hotrun, Project, Run, wait_until};

/// Two programs that end by themselves.
fn project() -> Project {
    let project = Project::new("once");
    std::fs::create_dir(project.path("src/bin")).unwrap();
    project.save("src/bin/other.rs", "fn main() {}");
    project
}

/// A hotrun at a terminal, and the keys of that.
fn at_a_terminal(project: &Project) -> (Hotrun, File) {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let keys = posix_openpt(flags).unwrap();
    grantpt(&keys).unwrap();
    unlockpt(&keys).unwrap();
    let name = ptsname_r(&keys).unwrap();
    let terminal = open(name.as_str(), flags, Mode::empty()).unwrap();
    let run = Run::new(project, &["--format", "terminal"]).stdin(terminal);
    let hotrun = run.after(&format!("exec 2>{name}")).start();
    (hotrun, File::from(OwnedFd::from(keys)))
}

/// Reads what is on the screen until this is there.
fn read_until(mut keys: &File, wanted: &str) -> String {
    let mut seen = Vec::new();
    wait_until(wanted, || {
        let mut piece = [0; 4096];
        let count = keys.read(&mut piece).unwrap();
        seen.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&seen).into_owned();
        text.contains(wanted).then_some(text)
    })
}

/// Nothing waits for the screen from here on.
fn look_away(keys: &File) -> JoinHandle<()> {
    let mut keys = keys.try_clone().unwrap();
    thread::spawn(move || while keys.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {})
}

#[test]
fn once_and_by_number() {
    let project = project();
    let (hotrun, mut keys) = at_a_terminal(&project);
    let asked = read_until(&keys, "number or name: ");
    assert!(
        asked.contains("there are 2 binaries, and none was chosen:"),
        "{asked}"
    );
    assert!(asked.contains("   2  other  (once)"), "{asked}");
    std::io::Write::write_all(&mut keys, b"7\n").unwrap();
    read_until(&keys, "there is no `7` in the list");
    std::io::Write::write_all(&mut keys, b"2\n").unwrap();
    let screen = look_away(&keys);
    let chosen = hotrun.wait_for("chosen", |_| true);
    assert_eq!(
        (&chosen["target"], &chosen["before"]),
        (&"other".into(), &false.into())
    );
    hotrun.wait_for("finished", |_| true);
    // A save is built for the same program.
    let place = hotrun.here();
    project.save("src/bin/other.rs", "fn main() { std::process::exit(0) }");
    hotrun.wait_after(place, "finished", |_| true);
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    drop(hotrun);
    drop((keys, screen));
    // The next one knows it.
    let (hotrun, keys) = at_a_terminal(&project);
    let _screen = look_away(&keys);
    let chosen = hotrun.wait_for("chosen", |_| true);
    assert_eq!(
        (&chosen["target"], &chosen["before"]),
        (&"other".into(), &true.into())
    );
    let session = hotrun.wait_after(Place(0), "session", |_| true);
    assert_eq!(session["target"], "other");
    drop(hotrun);
    // Other commands know it, too.
    let doctor = Run::new(&project, &["doctor"]).start();
    doctor.wait_exit();
    let said = doctor.stdout();
    let about = "   project   other of once in ";
    let line = said.lines().find(|line| line.starts_with(about));
    assert!(
        line.is_some_and(|line| line.ends_with(", chosen before")),
        "{said}"
    );
    // Without a person, nothing is taken for granted.
    let hotrun = Hotrun::start(&project, &[]);
    hotrun.wait_code(2);
    let said = hotrun.stderr();
    let hint = "`default-run` in Cargo.toml:\n  hotrun --bin once\n  hotrun --bin other\n";
    assert!(said.ends_with(hint), "{said}");
    // What is written is what was chosen.
    let mut init = project.command(env!("CARGO_BIN_EXE_hotrun"));
    assert!(init.arg("init").output().unwrap().status.success());
    let written = std::fs::read_to_string(project.path(".reload.toml")).unwrap();
    assert!(written.contains("\nbin = \"other\"\n"), "{written}");
}

/// What the settings say counts more than what was chosen; without them, the choice counts again.
#[test]
fn settings_win_over_a_choice() {
    let project = project();
    let (hotrun, mut keys) = at_a_terminal(&project);
    read_until(&keys, "number or name: ");
    std::io::Write::write_all(&mut keys, b"other\n").unwrap();
    let _screen = look_away(&keys);
    hotrun.wait_for("finished", |_| true);
    let place = hotrun.here();
    project.configure("[build]\nbin = \"once\"\n");
    let configured = hotrun.wait_after(place, "configured", |_| true);
    assert_eq!(configured["changed"], serde_json::json!(["build.bin"]));
    let session = hotrun.wait_after(place, "session", |_| true);
    assert_eq!(session["target"], "once");
    hotrun.wait_after(place, "finished", |_| true);
    assert!(hotrun.stdout().contains("done"), "{}", hotrun.stdout());
    let place = hotrun.here();
    std::fs::remove_file(project.path(".reload.toml")).unwrap();
    let session = hotrun.wait_after(place, "session", |_| true);
    assert_eq!(session["target"], "other");
    hotrun.wait_after(place, "finished", |_| true);
    // Nothing else was said to be run.
    let targets = hotrun.values("session", "target");
    assert_eq!(targets, ["other", "once", "other"]);
}

/// As fingers do it, at a terminal of hotrun's own: each key is shown, and can be taken back, until Enter.
#[test]
fn by_name_key_by_key() {
    let project = project();
    let terminal = Terminal::open(24, 80);
    let hotrun = Run::new(&project, &[]).at(&terminal).start();
    let question = "number or name: ";
    terminal.wait_screen("the question", |screen| {
        screen.trim_end().ends_with(question.trim_end())
    });
    let mut line = question.to_owned();
    for key in ["o", "t", "x"] {
        terminal.press(key);
        line.push_str(key);
        terminal.wait_screen("the key", |screen| screen.trim_end().ends_with(&line));
    }
    terminal.press("\u{7f}her\n");
    let chosen = hotrun.wait_for("chosen", |_| true);
    assert_eq!(chosen["target"], "other");
    hotrun.wait_for("finished", |_| true);
    // From now on they are keys of hotrun.
    terminal.wait_keys(true);
    let place = hotrun.here();
    terminal.press("r");
    hotrun.wait_after(place, "building", |event| event["asked"] == true);
}

#[test]
fn who_does_not_want_to_may_go() {
    let project = project();
    let (hotrun, keys) = at_a_terminal(&project);
    read_until(&keys, "number or name: ");
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    hotrun.assert_nothing_left();
    // Ctrl-D.
    let (hotrun, mut keys) = at_a_terminal(&project);
    read_until(&keys, "number or name: ");
    std::io::Write::write_all(&mut keys, &[4]).unwrap();
    hotrun.wait_code(2);
}
