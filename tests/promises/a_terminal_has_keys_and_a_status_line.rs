//! At a terminal hotrun has one line at the bottom that says what it is doing, and takes single keys; what
//! the app writes is never torn by that, and the terminal is afterwards as it was before.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::terminal::Terminal;
use crate::common::{ANY, Hotrun, Project, Run, wait_until};

fn start(project: &Project, terminal: &Terminal, args: &[&str]) -> Hotrun {
    let run = Run::new(project, &[&ANY[..], args].concat());
    run.at(terminal).start()
}

/// The pid of hotrun, which is a child of the shell.
fn pid(hotrun: &Hotrun) -> Pid {
    let session = hotrun.wait_for("session", |_| true);
    Pid::from_raw(i32::try_from(session["pid"].as_i64().unwrap()).unwrap())
}

/// Waits until the shell has the terminal again, and returns the status of its job.
fn wait_back(terminal: &Terminal, times: usize) -> String {
    wait_until("the shell", || {
        let text = terminal.text();
        let mut backs = text.split("back ").skip(times);
        let (status, _) = backs.next()?.split_once('\r')?;
        Some(status.to_owned())
    })
}

/// The last line of the screen that is not empty.
fn status_line(screen: &str) -> &str {
    screen
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or_default()
}

#[test]
fn keys_do_what_ctl_does() {
    let project = Project::new("slow-drain");
    let terminal = Terminal::open(24, 80);
    let hotrun = start(&project, &terminal, &[]);
    hotrun.wait_live(1);
    terminal.wait_screen("the status line", |screen| {
        let line = status_line(screen);
        line.starts_with(" ● live g1  127.0.0.1:") && line.ends_with("h help")
    });
    terminal.press("r");
    let building = hotrun.wait_for("building", |event| event["generation"] == 2);
    assert_eq!(building["asked"], true);
    hotrun.wait_live(2);
    let place = hotrun.here();
    terminal.press("s");
    hotrun.wait_after(place, "live", |_| true);
    assert!(
        hotrun
            .events_after(place)
            .iter()
            .all(|event| event["event"] != "building")
    );
    // Neither a key that means nothing nor an escape sequence.
    terminal.press("x\u{1b}[q\u{1b}Oq");
    terminal.press("p");
    hotrun.wait_for("paused", |_| true);
    project.set_version("2");
    terminal.wait_screen("what is collected", |screen| {
        status_line(screen).contains("paused, 1 file changed")
    });
    terminal.press("p");
    let resumed = hotrun.wait_for("resumed", |_| true);
    assert_eq!(resumed["collected"], 1);
    hotrun.wait_version("2");
    terminal.press("h");
    terminal.wait_screen("the help", |screen| screen.contains("q  quit"));
    terminal.press("c");
    terminal.wait_screen("the status line alone", |screen| {
        screen.trim_start().starts_with("● live") && screen.lines().count() == 1
    });
    terminal.press("\r\r");
    terminal.wait_screen("two empty lines", |screen| screen.lines().count() == 3);
    terminal.press("e");
    terminal.wait_screen("no errors", |screen| screen.contains("there are no errors"));
    terminal.press("q");
    assert_eq!(wait_back(&terminal, 1), "0");
    let screen = terminal.screen();
    assert!(!screen.contains("h help"), "{screen}");
}

/// Has hotrun end.
type Ends = fn(&Terminal, &Hotrun);

/// The settings before and after are the same, whatever ends hotrun, or stops it.
#[test]
fn the_terminal_is_afterwards_as_it_was() {
    let project = Project::new("slow-drain");
    let ways: [(&str, &str, Ends); 6] = [
        ("q", "0", |terminal, _| terminal.press("q")),
        ("Ctrl-C", "130", |terminal, _| terminal.press("\u{3}")),
        ("Ctrl-\\", "131", |terminal, _| terminal.press("\u{1c}")),
        ("SIGTERM", "143", |_, hotrun| {
            kill(pid(hotrun), Signal::SIGTERM).unwrap();
        }),
        ("an app that was killed", "0", |terminal, hotrun| {
            kill(Pid::from_raw(hotrun.app(1).pid), Signal::SIGKILL).unwrap();
            hotrun.wait_for("ended", |_| true);
            terminal.press("q");
        }),
        ("three Ctrl-C", "130", |terminal, hotrun| {
            terminal.press("\u{3}");
            hotrun.wait_for("quitting", |_| true);
            terminal.press("\u{3}\u{3}");
        }),
    ];
    for (way, status, end) in ways {
        let terminal = Terminal::open(24, 80);
        let before = terminal.settings();
        let hotrun = start(&project, &terminal, &[]);
        terminal.wait_keys(true);
        hotrun.wait_live(1);
        end(&terminal, &hotrun);
        assert_eq!(wait_back(&terminal, 1), status, "{way}");
        assert_eq!(terminal.settings(), before, "{way}");
    }
}

#[test]
fn the_terminal_is_as_it_was_after_a_panic() {
    let project = Project::new("slow-drain");
    let terminal = Terminal::open(24, 80);
    let before = terminal.settings();
    let run = Run::new(&project, &ANY).env("HOTRUN_PANIC", "session");
    let hotrun = run.at(&terminal).start();
    hotrun.wait_live(1);
    terminal.wait_keys(true);
    project.set_version("2");
    assert_eq!(wait_back(&terminal, 1), "1");
    assert_eq!(terminal.settings(), before);
    let screen = terminal.screen();
    assert!(
        screen.contains("a defect of hotrun, in `session`"),
        "{screen}"
    );
    assert!(!screen.contains("● live"), "{screen}");
}

/// Ctrl-Z gives the shell its terminal, `fg` takes the keys again; in the background none is taken.
#[test]
fn a_stopped_hotrun_leaves_the_terminal_to_the_shell() {
    let project = Project::new("slow-drain");
    let terminal = Terminal::open(24, 80);
    let before = terminal.settings();
    let hotrun = start(&project, &terminal, &[]);
    hotrun.wait_live(1);
    terminal.wait_keys(true);
    terminal.press("\u{1a}");
    wait_back(&terminal, 1);
    assert_eq!(terminal.settings(), before);
    terminal.press("fg\n");
    terminal.wait_keys(true);
    terminal.press("s");
    hotrun.wait_live(2);
    terminal.press("\u{1a}");
    wait_back(&terminal, 2);
    terminal.press("bg\n");
    wait_back(&terminal, 3);
    // It goes on, and leaves what is typed to the shell.
    project.set_version("2");
    hotrun.wait_version("2");
    assert_eq!(terminal.settings(), before);
    terminal.press("echo typed\n");
    wait_back(&terminal, 4);
    let lines = terminal.lines();
    assert!(lines.iter().any(|line| line == "typed"), "{lines:#?}");
    // It was not stopped, so no signal tells it that it is in the foreground.
    terminal.press("fg\n");
    project.set_version("3");
    hotrun.wait_version("3");
    terminal.wait_keys(true);
    terminal.press("q");
    assert_eq!(wait_back(&terminal, 5), "0");
    assert_eq!(terminal.settings(), before);
}

/// How many lines the app writes to each stream.
const LINES: usize = 100_000;

/// Everything that the app writes arrives, in order, while the status line is erased and drawn around it.
#[test]
fn no_line_of_the_app_is_torn_by_the_status_line() {
    let project = Project::new("slow-drain");
    project.edit(
        "src/main.rs",
        "fn main() -> io::Result<()> {",
        &format!(
            r#"fn main() -> io::Result<()> {{
                thread::spawn(|| (0..{LINES}).for_each(|number| println!("out {{number}}")));
                thread::spawn(|| (0..{LINES}).for_each(|number| eprintln!("err {{number}}")));"#
        ),
    );
    let terminal = Terminal::open(30, 100);
    let hotrun = start(&project, &terminal, &[]);
    hotrun.wait_for("started", |_| true);
    let is_out = |terminal: &Terminal| {
        let lines = terminal.lines();
        let last = |name: &str| format!("{name} {}", LINES - 1);
        ["out", "err"]
            .iter()
            .all(|name| lines.contains(&last(name)))
    };
    // Builds that fail, so that the app goes on, and keys.
    let version = fs::read_to_string(project.path("src/version.rs")).unwrap();
    let mut failed = 0;
    wait_until("all lines", || {
        let place = hotrun.here();
        project.save("src/version.rs", &format!("{version}wrong {failed}\n"));
        hotrun.wait_after(place, "build-failed", |_| true);
        failed += 1;
        terminal.press("h\re");
        is_out(&terminal).then_some(())
    });
    terminal.press("q");
    assert_eq!(wait_back(&terminal, 1), "0");
    let lines = terminal.lines();
    for name in ["out", "err"] {
        let found = lines
            .iter()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let found: Vec<&str> = found.collect();
        let expected: Vec<String> = (0..LINES).map(|number| number.to_string()).collect();
        assert!(found == expected, "{name}: {} lines", found.len());
    }
    let escaped = |line: &&String| {
        let is_apps = line.contains("out ") || line.contains("err ");
        is_apps && line.contains('\u{1b}')
    };
    assert_eq!(lines.iter().find(escaped), None);
}

/// An app that begins to write before it listens.
fn chatty() -> Project {
    let project = Project::new("slow-drain");
    project.edit(
        "src/main.rs",
        "fn main() -> io::Result<()> {",
        r#"fn main() -> io::Result<()> {
            thread::spawn(|| loop {
                println!("tick");
                thread::sleep(std::time::Duration::from_millis(20));
            });
            thread::sleep(std::time::Duration::from_secs(1));"#,
    );
    project
}

/// What is on the screen after builds with many errors, at every size.
#[test]
fn a_long_list_of_errors_is_folded() {
    let project = Project::new("slow-drain");
    let version = fs::read_to_string(project.path("src/version.rs")).unwrap();
    let wrong = |number| format!("const WRONG_{number}: u8 = \"x\";\n");
    let all: String = (1..=30).map(wrong).collect();
    for (rows, columns) in [(30, 120), (24, 80), (10, 40)] {
        let terminal = Terminal::open(rows, columns);
        let hotrun = start(&project, &terminal, &[]);
        hotrun.wait_live(1);
        terminal.wait_keys(true);
        project.save("src/version.rs", &format!("{version}{all}"));
        hotrun.wait_for("build-failed", |_| true);
        let screen = terminal.wait_screen("the failure", |screen| {
            status_line(screen).starts_with(" ✗ g2 failed to build  g1 live")
        });
        let folded = screen.lines().find(|line| line.starts_with("… and "));
        assert!(
            folded.is_some_and(|line| line.ends_with(" more errors (press u)")),
            "{screen}"
        );
        if columns > 40 {
            assert!(status_line(&screen).contains("30 errors"), "{screen}");
            // The first error is whole, and nothing of what follows is missing.
            let first = screen.lines().find(|line| line.contains("WRONG_1:"));
            assert!(first.is_some(), "{screen}");
        }
        assert!(!screen.contains("WRONG_30"), "{screen}");
        terminal.press("u");
        terminal.wait_screen("the last error", |screen| screen.contains("WRONG_30"));
        let lines = terminal.lines();
        for number in 1..=30 {
            let name = format!("WRONG_{number}:");
            let times = lines.iter().filter(|line| line.contains(&name)).count();
            assert_eq!(times, 1, "{name}");
        }
        terminal.press("e");
        let again = |screen: &str| {
            let folds = terminal
                .lines()
                .iter()
                .filter(|line| line.starts_with("… and "))
                .count();
            folds == 2 && status_line(screen).starts_with(" ✗")
        };
        terminal.wait_screen("the errors again", again);
        project.save("src/version.rs", &version);
        hotrun.wait_for("unchanged", |_| true);
        terminal.wait_screen("the app", |screen| {
            status_line(screen).starts_with(" ● live g1")
        });
        terminal.press("q");
        assert_eq!(wait_back(&terminal, 1), "0");
    }
}

#[test]
fn while_two_generations_write_each_line_says_whose_it_is() {
    let project = chatty();
    let terminal = Terminal::open(24, 80);
    let hotrun = start(&project, &terminal, &[]);
    hotrun.wait_live(1);
    terminal.press("s");
    hotrun.wait_live(2);
    hotrun.wait_for("gone", |_| true);
    let place = terminal.lines().len();
    wait_until("more lines", || {
        (terminal.lines().len() > place + 10).then_some(())
    });
    let lines = terminal.lines();
    for generation in ["g1", "g2"] {
        let line = format!("{generation} │ tick");
        assert!(lines.contains(&line), "{lines:#?}");
    }
    // Before and after that there is nothing to tell apart.
    let alone = |lines: &[String]| lines.iter().all(|line| !line.contains('│'));
    let first = lines.iter().position(|line| line.contains('│')).unwrap();
    let last = lines.iter().rposition(|line| line.contains('│')).unwrap();
    assert!(lines[..first].contains(&"tick".to_owned()), "{lines:#?}");
    assert!(alone(&lines[last + 1..]) && lines[last + 1..].contains(&"tick".to_owned()));
    terminal.press("q");
    assert_eq!(wait_back(&terminal, 1), "0");
}

/// Whatever a crash says is in view, above the status line.
#[test]
fn a_crash_is_in_view() {
    let project = Project::new("slow-drain");
    let terminal = Terminal::open(24, 80);
    let hotrun = start(&project, &terminal, &[]);
    hotrun.wait_live(1);
    project.edit(
        "src/main.rs",
        "fn main() -> io::Result<()> {",
        "fn main() -> io::Result<()> {
            (0..200).for_each(|frame| eprintln!(\"frame {frame}\"));
            if std::env::args().count() < 9 { panic!(\"oh no\") }",
    );
    hotrun.wait_for("ended", |_| true);
    let screen = terminal.wait_screen("the crash", |screen| {
        status_line(screen).starts_with(" ✗ g2 failed: exit status 101  g1 live")
    });
    assert!(
        screen.contains("oh no") && screen.contains("frame 199"),
        "{screen}"
    );
    terminal.press("q");
    assert_eq!(wait_back(&terminal, 1), "0");
}

/// What has scrolled out of the screen is nobody's to delete.
#[test]
fn the_screen_is_cleared_before_each_build_if_wanted() {
    let project = Project::new("slow-drain");
    for (args, is_wanted) in [(&["--clear"][..], true), (&[], false)] {
        let terminal = Terminal::open(24, 80);
        let hotrun = start(&project, &terminal, args);
        hotrun.wait_live(1);
        terminal.press("r");
        hotrun.wait_live(2);
        let screen = terminal.wait_screen("the second one", |screen| {
            status_line(screen).starts_with(" ● live g2")
        });
        assert_eq!(!screen.contains("building g1"), is_wanted, "{screen}");
        assert!(screen.contains("building g2"), "{screen}");
        terminal.press("q");
        assert_eq!(wait_back(&terminal, 1), "0");
        assert!(!terminal.text().contains("\u{1b}[3J"));
    }
}

/// The line follows the size of the window, and never takes two rows.
#[test]
fn the_status_line_follows_the_size_of_the_window() {
    let project = Project::new("slow-drain");
    let terminal = Terminal::open(24, 120);
    let hotrun = start(&project, &terminal, &[]);
    hotrun.wait_live(1);
    // Nothing that was drawn for this width is still to come.
    terminal.wait_screen("the wide line", |screen| {
        let line = status_line(screen);
        line.starts_with(" ● live g1") && line.len() > 100
    });
    for columns in [40, 20, 80] {
        terminal.resize(24, columns);
        terminal.wait_screen("another width", |screen| {
            let line = status_line(screen);
            let width = line.chars().count();
            line.starts_with(" ● live g1") && width < columns.into() && width + 6 > columns.into()
                || columns < 30 && line == " ● live g1"
        });
    }
    terminal.press("q");
    assert_eq!(wait_back(&terminal, 1), "0");
}
