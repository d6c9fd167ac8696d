//! An app that reads stdin, or wants a terminal, can have hotrun's; the newest generation gets the
//! input, and one that does not read blocks nothing.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::Command;

use nix::fcntl::{OFlag, open};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

use crate::common::{ANY, Hotrun, Project, Run, wait_until};

/// A server that prints whether it has a terminal, and what it reads.
fn reading() -> Project {
    let project = Project::new("slow-drain");
    project.edit(
        "src/main.rs",
        "fn main() -> io::Result<()> {",
        r#"fn main() -> io::Result<()> {
            use std::io::IsTerminal;
            let name = format!("g{}", std::env::var("HOTRUN_GENERATION").unwrap());
            let has = [io::stdin().is_terminal(), io::stdout().is_terminal(),
                io::stderr().is_terminal(), std::fs::File::open("/dev/tty").is_ok()];
            println!("{name} has {has:?}");
            thread::spawn(move || {
                let mut line = String::new();
                while io::stdin().read_line(&mut line).unwrap() > 0 {
                    if line == "size\n" {
                        std::process::Command::new("stty").arg("size").status().unwrap();
                    }
                    println!("{name} reads {line:?}");
                    line.clear();
                }
                println!("{name} reads the end");
            });"#,
    );
    project
}

/// Waits for this line of the app's.
#[track_caller]
fn says(hotrun: &Hotrun, expected: &str) {
    hotrun.wait_line(|line| line == expected);
}

/// `generator | hotrun --stdin app`: the input goes on where a reload cut it, and so does its end.
#[test]
fn what_is_piped_in_reaches_the_newest_generation() {
    piped_in(false);
}

/// The same, where the app wants a terminal.
#[test]
fn what_is_piped_in_can_come_from_a_terminal() {
    piped_in(true);
}

fn piped_in(tty: bool) {
    let project = reading();
    project.configure(&format!("[app]\ntty = {tty}\n"));
    let (reader, mut writer) = std::io::pipe().unwrap();
    let run = Run::new(&project, &[&ANY[..], &["--stdin", "app"]].concat()).stdin(reader);
    // Written before any generation can read it.
    writer.write_all(b"zero\n").unwrap();
    let hotrun = run.start();
    says(&hotrun, &format!("g1 has {:?}", [tty; 4]));
    says(&hotrun, r#"g1 reads "zero\n""#);
    project.set_version("2");
    hotrun.wait_version("2");
    writer.write_all(b"one\ntwo").unwrap();
    says(&hotrun, r#"g2 reads "one\n""#);
    drop(writer);
    says(&hotrun, r#"g2 reads "two""#);
    says(&hotrun, "g2 reads the end");
    project.set_version("3");
    hotrun.wait_version("3");
    says(&hotrun, "g3 reads the end");
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    hotrun.assert_nothing_left();
}

/// The user types; the app has a terminal of its own.
#[test]
fn what_is_typed_reaches_the_app_at_a_terminal_of_its_own() {
    let project = reading();
    let (mut keys, terminal, name) = terminal();
    resize(&name, "33", "101");
    let run = Run::new(&project, &[&ANY[..], &["--stdin", "app"]].concat()).stdin(terminal);
    let hotrun = run.start();
    says(&hotrun, "g1 has [true, true, true, true]");
    keys.write_all(b"hello\nsize\n").unwrap();
    says(&hotrun, r#"g1 reads "hello\n""#);
    says(&hotrun, "33 101");
    // The window is resized: SIGWINCH goes to hotrun, which resizes the app's terminal.
    resize(&name, "44", "102");
    hotrun.signal(Signal::SIGWINCH);
    project.set_version("2");
    hotrun.wait_version("2");
    hotrun.wait_for("gone", |event| event["generation"] == 1);
    keys.write_all(b"size\n").unwrap();
    says(&hotrun, "44 102");
    // Ctrl-D, twice: on a line that was begun, and on an empty one.
    keys.write_all(b"half\x04").unwrap();
    keys.write_all(b"\nmore\n\x04").unwrap();
    says(&hotrun, r#"g2 reads "half\n""#);
    says(&hotrun, r#"g2 reads "more\n""#);
    says(&hotrun, "g2 reads the end");
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    hotrun.assert_nothing_left();
}

/// A question has no line end until it is answered.
#[test]
fn a_question_is_seen_before_it_is_answered() {
    for tty in [false, true] {
        let project = Project::new("slow-drain");
        project.edit(
            "src/main.rs",
            "fn main() -> io::Result<()> {",
            r#"fn main() -> io::Result<()> {
                print!("name? ");
                io::Write::flush(&mut io::stdout())?;
                let mut name = String::new();
                io::stdin().read_line(&mut name)?;
                println!("hello {name}");"#,
        );
        project.configure(&format!("[app]\ntty = {tty}\n"));
        let (reader, mut writer) = std::io::pipe().unwrap();
        let run = Run::new(&project, &[&ANY[..], &["--stdin", "app"]].concat()).stdin(reader);
        let hotrun = run.start();
        wait_until("the question", || {
            hotrun.stdout().ends_with("name? ").then_some(())
        });
        writer.write_all(b"Ferris\n").unwrap();
        hotrun.wait_line(|line| line.ends_with("hello Ferris"));
        hotrun.wait_live(1);
        // A line of hotrun does not continue the app's unfinished one.
        assert!(!hotrun.stderr().contains("name?"), "{}", hotrun.stderr());
    }
}

/// The size of the app's terminal follows that of hotrun's while a generation runs.
#[test]
fn the_terminal_of_the_app_is_as_large_as_hotruns() {
    let project = reading();
    let (mut keys, terminal, name) = terminal();
    let run = Run::new(&project, &[&ANY[..], &["--stdin", "app"]].concat()).stdin(terminal);
    let hotrun = run.start();
    // A terminal without a size counts as 24 by 80.
    keys.write_all(b"size\n").unwrap();
    says(&hotrun, "24 80");
    resize(&name, "44", "102");
    hotrun.signal(Signal::SIGWINCH);
    // Signals are handled some time after they were sent: asked until the size differs.
    crate::common::wait_until("another size", || {
        keys.write_all(b"size\n").unwrap();
        hotrun.stdout().contains("44 102\n").then_some(())
    });
}

/// An app that only draws: it gets no input, but colors and a width; and no line of it is lost, though
/// its terminal ends with it.
#[test]
fn an_app_at_a_terminal_loses_no_line() {
    const LINES: usize = 20_000;
    let project = Project::new("once");
    let main = format!(
        "fn main() {{
            for number in 0..{LINES} {{ println!(\"out {{number}}\"); }}
            eprint!(\"the last word\");
        }}"
    );
    project.save("src/main.rs", &main);
    project.configure("[app]\ntty = true\n");
    let hotrun = Hotrun::start(&project, &["--once"]);
    hotrun.wait_code(0);
    let numbered = (0..LINES).map(|number| format!("out {number}"));
    let expected: Vec<String> = numbered.chain(["the last word".into()]).collect();
    let text = hotrun.stdout();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines == expected, "{} lines", lines.len());
    hotrun.assert_nothing_left();
}

/// The keys of a terminal, the terminal, and its name.
fn terminal() -> (File, OwnedFd, String) {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let keys = posix_openpt(flags).unwrap();
    grantpt(&keys).unwrap();
    unlockpt(&keys).unwrap();
    let name = ptsname_r(&keys).unwrap();
    let terminal = open(name.as_str(), flags, Mode::empty()).unwrap();
    (File::from(OwnedFd::from(keys)), terminal, name)
}

fn resize(terminal: &str, rows: &str, columns: &str) {
    let words = ["-F", terminal, "rows", rows, "cols", columns];
    assert!(Command::new("stty").args(words).status().unwrap().success());
}
