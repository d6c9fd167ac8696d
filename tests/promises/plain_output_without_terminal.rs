//! Without a terminal, output is lines, for editors, files and programs; and no line of the app is lost,
//! cut or out of order.

use crate::common::{ANY, Hotrun, Project, Run, wait_until};

/// rust-analyzer's task matcher recognises a build by these two lines, and no other line may look like
/// them; and a log file must have no escape sequences.
#[test]
fn editors_see_where_a_build_begins_and_ends() {
    let project = Project::new("slow-drain");
    let run = Run::new(&project, &[&ANY[..], &["--verbose"]].concat()).merged();
    // These variables ask for colors at a terminal only.
    let hotrun = run
        .env("CLICOLOR", "1")
        .env("TERM", "xterm-256color")
        .start();
    hotrun.wait_live(1);
    project.edit("src/version.rs", "\"1\"", "1");
    hotrun.wait_for("build-failed", |_| true);
    project.set_version("3");
    hotrun.wait_version("3");
    hotrun.interrupt();
    hotrun.wait_exit();
    let text = hotrun.stdout();
    assert!(!text.contains('\u{1b}'), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    let markers: Vec<&str> = lines
        .iter()
        .copied()
        .filter(|line| line.contains("[Running '") || line.contains("[Finished running."))
        .collect();
    let running = "[Running 'cargo build --bin slow-drain']";
    let ended = |status| format!("[Finished running. Exit status: {status}]");
    let (good, bad) = (ended(0), ended(101));
    let expected = [running, &*good, running, &*bad, running, &*good];
    assert_eq!(markers, expected);
    // The matcher looks for the error between the two lines.
    let place = |wanted: &str| lines.iter().position(|line| line.contains(wanted)).unwrap();
    let error = place("error[E0308]: mismatched types");
    let end = place("Exit status: 101");
    let start = lines[..end]
        .iter()
        .rposition(|line| *line == running)
        .unwrap();
    assert!(start < error && error < end);
    assert!(
        lines[error + 1].contains("--> src/version.rs:1:"),
        "{}",
        lines[error + 1]
    );
    let said = place("g2 failed to build in ");
    assert!(
        lines[said].contains("1 error; g1 keeps serving (src/version.rs)"),
        "{}",
        lines[said]
    );
}

/// A cancelled build has an end line too, or the matcher would wait for it for ever.
#[test]
fn a_cancelled_build_ends_for_editors_too() {
    let project = Project::new("slow-drain");
    let slow = "fn main() { std::thread::sleep(std::time::Duration::from_secs(1)); }";
    project.save("build.rs", slow);
    let hotrun = Run::new(&project, &ANY).merged().start();
    hotrun.wait_live(1);
    project.set_version("2");
    hotrun.wait_for("command", |event| event["generation"] == 2);
    project.set_version("3");
    hotrun.wait_version("3");
    hotrun.interrupt();
    hotrun.wait_exit();
    let text = hotrun.stdout();
    let is_marker = |line: &&str| line.starts_with('[') && line.ends_with(']');
    let markers: Vec<&str> = text.lines().filter(is_marker).collect();
    let pairs: Vec<(&str, &str)> = markers.chunks(2).map(|pair| (pair[0], pair[1])).collect();
    assert_eq!(pairs.len(), 3, "{markers:?}");
    for (start, end) in &pairs {
        assert!(start.starts_with("[Running '") && end.starts_with("[Finished running. "));
    }
    assert_eq!(pairs[1].1, "[Finished running. Exit status: cancelled]");
}

/// How much the app of the next two tests writes to each stream.
const LINES: usize = 20_000;

fn writer() -> Project {
    let project = Project::new("once");
    let main = format!(
        "fn main() {{
            let write = |out: &mut dyn std::io::Write, name| {{
                for number in 0..{LINES} {{ writeln!(out, \"{{name}} {{number}}\").unwrap(); }}
                write!(out, \"{{name}} without end\").unwrap();
            }};
            std::thread::scope(|scope| {{
                scope.spawn(|| write(&mut std::io::BufWriter::new(std::io::stdout()), \"out\"));
                scope.spawn(|| write(&mut std::io::stderr(), \"err\"));
            }});
        }}"
    );
    project.save("src/main.rs", &main);
    project
}

fn expected(name: &str) -> Vec<String> {
    let numbered = (0..LINES).map(|number| format!("{name} {number}"));
    numbered.chain([format!("{name} without end")]).collect()
}

/// An app says in its last lines why it ends.
#[test]
fn all_that_an_app_wrote_is_out_before_its_end_is_told() {
    let project = writer();
    let hotrun = Run::new(&project, &[]).merged().start();
    hotrun.wait_for("finished", |_| true);
    let ended = hotrun.wait_line(|line| line.starts_with("hotrun: g1 finished after "));
    let text = hotrun.stdout();
    let (before, _) = text.split_once(&ended).unwrap();
    for name in ["out", "err"] {
        let found: Vec<&str> = before
            .lines()
            .filter(|line| line.starts_with(&format!("{name} ")))
            .collect();
        assert!(found == expected(name), "{} lines of {name}", found.len());
    }
    hotrun.interrupt();
    hotrun.wait_exit();
    // With two streams, each line is in its own.
    let hotrun = Hotrun::start(&project, &["--once"]);
    hotrun.wait_code(0);
    assert_eq!(hotrun.stdout().lines().count(), LINES + 1);
    assert!(!hotrun.stdout().contains("err ") && !hotrun.stderr().contains("out 1"));
}

/// Whose line it is stands before it at a terminal alone: a program reads what the app wrote.
#[test]
fn what_goes_into_a_pipe_is_as_the_app_wrote_it() {
    let project = Project::new("slow-drain");
    let hotrun = Hotrun::start(&project, &ANY);
    let listening = format!("listening on {}\n", hotrun.address());
    hotrun.wait_live(1);
    project.set_version("2");
    hotrun.wait_live(2);
    let both = format!("{listening}{listening}");
    wait_until("both lines", || {
        let said = hotrun.stdout();
        assert!(both.starts_with(&said), "{said}");
        (said == both).then_some(())
    });
}

/// For a program: an object per line and nothing else, in one order.
#[test]
fn as_json_every_line_is_an_event() {
    let project = writer();
    let hotrun = Hotrun::start(&project, &["--format", "json", "--once"]);
    hotrun.wait_code(0);
    let events: Vec<serde_json::Value> = hotrun
        .stdout()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let is_output = |event: &&serde_json::Value| event["event"] == "output";
    for (stream, name) in [("stdout", "out"), ("stderr", "err")] {
        let found: Vec<&str> = events
            .iter()
            .filter(is_output)
            .filter(|event| event["stream"] == stream)
            .map(|event| event["line"].as_str().unwrap())
            .collect();
        assert!(found == expected(name), "{} lines of {name}", found.len());
    }
    let last = events.iter().rposition(|event| is_output(&event)).unwrap();
    let end = events
        .iter()
        .position(|event| event["event"] == "finished")
        .unwrap();
    assert!(last < end);
    // The file has the same events, but for the output.
    let rest: Vec<_> = events
        .iter()
        .filter(|event| !is_output(event))
        .cloned()
        .collect();
    assert_eq!(rest, hotrun.events());
    assert_eq!(hotrun.stderr(), "");
}

/// With two options for events on stdout, each event is printed once.
#[test]
fn as_json_no_event_comes_twice() {
    let project = Project::new("once");
    let args = ["--format", "json", "--once", "--events", "-"];
    let hotrun = Hotrun::start(&project, &args);
    hotrun.wait_code(0);
    let text = hotrun.stdout();
    let ends = text.lines().filter(|line| line.contains("\"finished\""));
    assert_eq!(ends.count(), 1, "{text}");
}

/// The reader of stdout has gone: `hotrun | head`. That must not end the session, nor block its end.
#[test]
fn a_closed_stdout_ends_nothing() {
    let project = Project::new("worker");
    let (reader, writer) = std::io::pipe().unwrap();
    let hotrun = Run::new(&project, &[]).stdout(writer).start();
    hotrun.wait_live(1);
    drop(reader);
    project.set_version("2");
    hotrun.wait_live(2);
    project.set_version("3");
    hotrun.wait_live(3);
    hotrun.interrupt();
    hotrun.wait_killed_by(nix::sys::signal::Signal::SIGINT);
    hotrun.assert_nothing_left();
}
