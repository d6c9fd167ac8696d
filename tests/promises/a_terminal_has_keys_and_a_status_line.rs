//! At a terminal hotrun has one line at the bottom that says what it is doing, and takes single keys; what
//! the app writes is never torn by that, and the terminal is afterwards as it was before.

use std::ffi::OsStr;
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procfs::process::{Process, all_processes};

use crate::common::terminal::Terminal;
use crate::common::{ANY, Hotrun, Project, Run, get, most_memory, say, size_of_test, wait_until};

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

/// Closing the window ends hotrun and all that it has started.
#[test]
fn a_window_that_is_closed_ends_everything() {
    let project = Project::new("slow-drain");
    let terminal = Terminal::open(24, 80);
    let hotrun = start(&project, &terminal, &[]);
    hotrun.wait_live(1);
    terminal.wait_keys(true);
    terminal.close();
    // The shell, which may end before hotrun does.
    hotrun.wait_killed_by(Signal::SIGHUP);
    hotrun.assert_nothing_left();
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
    let before = terminal.settings();
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
    say(&format!(
        "{failed} builds beside 200,000 lines: {} KiB at most",
        most_memory(pid(&hotrun).as_raw())
    ));
    terminal.press("q");
    assert_eq!(wait_back(&terminal, 1), "0");
    assert_eq!(terminal.settings(), before);
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

/// How much the app writes to each stream, and a build script, while the terminal is paused.
fn much() -> usize {
    size_of_test("HOTRUN_TEST_PAUSED_LINES", 20_000)
}

/// A line has so many bytes.
const LONG: usize = 250;

/// What hotrun's memory may grow by meanwhile, in KiB: less than half of what is written at least.
const GROWN: u64 = 5_000;

/// Ctrl-S stops the terminal, and not what is behind it: what is saved is built and served, what is
/// written waits without filling the memory, and Ctrl-Q shows all of it.
#[test]
fn a_paused_terminal_holds_up_no_reload_and_loses_nothing() {
    let project = Project::new("slow-drain");
    let lines = much();
    let text = "x".repeat(LONG);
    project.add(
        "build.rs",
        &format!(
            r#"fn main() {{
                println!("cargo::rerun-if-changed=src/version.rs");
                if std::fs::read_to_string("src/version.rs").unwrap().contains("chatty") {{
                    (0..{lines}).for_each(|n| println!("cargo::warning=script {{n}} {text}"));
                }}
            }}"#
        ),
    );
    let write = |stream: &str, name: &str| {
        format!(
            r#"thread::spawn(|| {{
                while std::env::var("HOTRUN_GENERATION").as_deref() != Ok("2")
                    || !std::path::Path::new("go").exists()
                {{
                    thread::sleep(std::time::Duration::from_millis(5));
                }}
                (0..{lines}).for_each(|n| {stream}!("{name} {{n}} {text}"));
            }});"#
        )
    };
    let both = write("println", "out") + &write("eprintln", "err");
    let main = "fn main() -> io::Result<()> {";
    project.edit("src/main.rs", main, &format!("{main}{both}"));
    let terminal = Terminal::open(30, 100);
    let before = terminal.settings();
    let hotrun = start(&project, &terminal, &[]);
    hotrun.wait_live(1);
    let (address, hotruns) = (hotrun.address(), pid(&hotrun).as_raw());
    terminal.wait_screen("the live app", |screen| {
        status_line(screen).starts_with(" ● live g1")
    });
    let answers = |times| (0..times).for_each(|_| _ = get(address).answer());
    terminal.press("\u{13}");
    // The printer waits from now on, and the events with it.
    project.set_version("2");
    wait_until("the second version", || {
        (get(address).answer().version == "2").then_some(())
    });
    assert!(!terminal.text().contains("g2 live"), "it is not paused");
    let memory = most_memory(hotruns);
    project.add("go", "");
    wait_until_it_stops_writing(&wait_process(&project, |process| {
        let environment = process.environ().unwrap_or_default();
        environment.get(OsStr::new("HOTRUN_GENERATION")) == Some(&"2".into())
    }));
    answers(100);
    assert!(!terminal.text().contains("g2 live"), "it is not paused");
    terminal.press("\u{11}");
    hotrun.wait_live(2);
    let last = |name: &str| format!("{name} {} {text}", lines - 1);
    wait_until("the app's lines", || {
        let lines = terminal.lines();
        let is_out = |name| lines.iter().any(|line| line.ends_with(&last(name)));
        (is_out("out") && is_out("err")).then_some(())
    });
    terminal.press("\u{13}");
    project.set_version("chatty");
    wait_until_it_stops_writing(&wait_process(&project, |process| {
        let words = process.cmdline().unwrap_or_default();
        words.first().is_some_and(|word| word.ends_with("cargo"))
            && words.get(1).is_some_and(|word| word == "build")
    }));
    answers(100);
    let grown = most_memory(hotruns) - memory;
    say(&format!("{grown} KiB more"));
    assert!(grown < GROWN, "{grown} KiB more");
    assert!(
        !terminal.text().contains(&last("script")),
        "it is not paused"
    );
    terminal.press("\u{11}");
    hotrun.wait_version("chatty");
    terminal.press("q");
    assert_eq!(wait_back(&terminal, 1), "0");
    assert_eq!(terminal.settings(), before);
    let all = terminal.lines();
    for name in ["out", "err", "script"] {
        let found = all.iter().filter_map(|line| {
            let (number, rest) = line.split_once(&format!("{name} "))?.1.split_once(' ')?;
            assert_eq!(rest, text, "torn");
            Some(number)
        });
        let found: Vec<&str> = found.collect();
        let expected: Vec<String> = (0..lines).map(|number| number.to_string()).collect();
        assert!(found == expected, "{name}: {} lines", found.len());
    }
}

/// Waits for such a process in the project's directory.
fn wait_process(project: &Project, is: impl Fn(&Process) -> bool) -> Process {
    wait_until("a process", || {
        let is_here = |process: &Process| process.cwd().is_ok_and(|dir| dir == project.dir());
        let mut all = all_processes().unwrap().flatten();
        all.find(|process| is_here(process) && is(process))
    })
}

/// Waits until this process has written nothing for many looks in a row: it is made to wait.
fn wait_until_it_stops_writing(process: &Process) {
    let mut last = (None, 0);
    wait_until("the writer to be made to wait", || {
        let now = process.io().ok().map(|io| io.wchar);
        assert!(now.is_some(), "all of it was taken");
        last = (now, if last.0 == now { last.1 + 1 } else { 0 });
        (last.1 > 50).then_some(())
    });
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
