//! What hotrun promises on Windows, kept under Wine with the native cargo, where the kernel of sockets is
//! still this one. `docs/platforms.md` says what that can't show.

use std::process::Command;

use crate::common::load::Kind;
use crate::common::wine::Wine;
use crate::common::{ANY, Load, Project, say, size_of_test, wait_until};

/// New connections in a second: Wine's server is one thread, and each costs it dozens of calls.
const RATE: u32 = 25;

/// What makes `hello` start itself once more, detached from its console and in a group of its own.
const GRANDCHILD: &str = "
    use std::os::windows::process::CommandExt;
    if std::env::args().nth(1).is_some() {
        std::thread::sleep(std::time::Duration::from_secs(3600));
    }
    let own = std::env::current_exe()?;
    std::process::Command::new(own).arg(\"grandchild\").creation_flags(0x8 | 0x200).spawn()?;
";

/// With a reload after each of several saves under load, half of them in place, and one that does not
/// compile among them.
fn reload(args: &[&str]) {
    let Some(wine) = Wine::find() else { return };
    let project = wine.hello();
    let hotrun = wine.run(&project, &[&ANY, args].concat()).start();
    hotrun.wait_live(1);
    let load = Load::start(hotrun.address(), RATE, Kind::Mixed);
    let reloads = size_of_test("HOTRUN_TEST_RELOADS", 4);
    for number in 2..reloads + 2 {
        if number == 3 {
            let place = hotrun.here();
            project.set_version("broken\" + \"");
            hotrun.wait_after(place, "build-failed", |_| true);
            load.wait_more(20);
        }
        if number % 2 == 0 {
            project.set_version(&number.to_string());
        } else {
            project.set_version_in_place(&number.to_string());
        }
        hotrun.wait_version(&number.to_string());
    }
    load.wait_more(50);
    let outcomes = load.stop();
    say(&format!(
        "{args:?}: {reloads} reloads, {} stale; {}",
        outcomes.stale(),
        outcomes.summary()
    ));
    outcomes.assert_all_answered();
    assert_eq!(outcomes.stale(), 0);
    let last = outcomes.0.last().and_then(|last| last.answer()).unwrap();
    assert_eq!(last.version, (reloads + 1).to_string());
    // Each save was built once.
    let live = hotrun.all("live").len();
    assert_eq!(live, usize::try_from(reloads + 1).unwrap());
    assert_eq!(hotrun.all("building").len(), live + 1);
}

#[test]
fn saves_are_served_and_nobody_is_refused() {
    reload(&[]);
}

#[test]
fn with_live_stopped_first_nobody_is_refused() {
    reload(&["--handover", "stop-first"]);
}

#[test]
fn a_crash_at_start_costs_no_answer() {
    let Some(wine) = Wine::find() else { return };
    let project = wine.hello();
    let hotrun = wine.run(&project, &ANY).start();
    hotrun.wait_live(1);
    let load = Load::start(hotrun.address(), RATE, Kind::Get);
    let listen = "let listener = listen().await?;";
    let crash = "let listener: TcpListener = panic!(\"crash at start\");";
    project.edit("src/main.rs", listen, crash);
    let ended = hotrun.wait_for("ended", |_| true);
    assert_eq!(
        (&ended["live"], &ended["next"]["keeps"]),
        (&false.into(), &1.into())
    );
    load.wait_more(50);
    let outcomes = load.stop();
    outcomes.assert_all_answered();
    assert!(hotrun.stderr().contains("crash at start"));
    project.edit("src/main.rs", crash, listen);
    project.set_version("3");
    hotrun.wait_version("3");
}

/// While one build runs, a second and a third save are made.
#[test]
fn the_last_save_wins() {
    let Some(wine) = Wine::find() else { return };
    let project = wine.hello();
    let hotrun = wine.run(&project, &ANY).start();
    hotrun.wait_live(1);
    for version in ["2", "3", "4"] {
        let place = hotrun.here();
        project.set_version(version);
        if version != "4" {
            hotrun.wait_after(place, "building", |_| true);
        }
    }
    hotrun.wait_version("4");
    assert!(hotrun.all("live").len() <= 3);
}

#[test]
fn ctrl_c_leaves_nothing() {
    let Some(wine) = Wine::find() else { return };
    let project = with_grandchild(&wine);
    let hotrun = wine.run(&project, &ANY).start();
    hotrun.wait_live(1);
    assert!(running(&project) > 0);
    hotrun.interrupt();
    let status = hotrun.wait_exit();
    assert!(!status.success(), "{status}");
    nothing_is_left(&project);
    // The app was asked, and has finished.
    let gone = hotrun.wait_for("gone", |_| true);
    assert_eq!(gone["exit"]["status"], 0);
}

#[test]
fn a_kill_leaves_nothing() {
    let Some(wine) = Wine::find() else { return };
    let project = with_grandchild(&wine);
    let hotrun = wine.run(&project, &ANY).start();
    hotrun.wait_live(1);
    assert!(running(&project) > 0);
    hotrun.kill();
    hotrun.wait_exit();
    nothing_is_left(&project);
}

fn with_grandchild(wine: &Wine) -> Project {
    let project = wine.hello();
    let begin = "async fn main() -> io::Result<()> {";
    project.edit("src/main.rs", begin, &format!("{begin}{GRANDCHILD}"));
    project
}

/// How many processes run the program of this project.
fn running(project: &Project) -> usize {
    let root = project.root();
    let root = root.file_name().unwrap().display();
    let found = Command::new("pgrep")
        .args(["-fc", &format!("{root}.*hello[.]exe")])
        .output();
    let found = String::from_utf8(found.unwrap().stdout).unwrap();
    found.trim().parse().unwrap()
}

#[track_caller]
fn nothing_is_left(project: &Project) {
    wait_until("no process of the app is left", || {
        (running(project) == 0).then_some(())
    });
}
