//! A script, a test or an agent asks hotrun over its control socket, and never has to guess: `ctl wait`
//! returns when everything that was saved before is live or has failed, and not earlier.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::common::terminal::Terminal;
use crate::common::{
    Hotrun, Numbers, Project, Run, get, own_address, say, size_of_test, wait_until,
};

const BUILD_FAILED: i32 = 101;

/// What `hotrun ctl` printed, and its exit code.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Said {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("{self:?}"))
    }
}

/// Runs `hotrun ctl` in this directory of the project.
fn ctl_in(project: &Project, dir: &Path, words: &[&str]) -> Said {
    let mut command = project.command(env!("CARGO_BIN_EXE_hotrun"));
    command.current_dir(dir).arg("ctl").args(words);
    // Hotruns of others may have their sockets in the directory for all.
    command.env("TMPDIR", project.root());
    command.stdin(Stdio::null()).output().unwrap().into()
}

fn ctl(project: &Project, words: &[&str]) -> Said {
    ctl_in(project, project.dir(), words)
}

/// A server whose version file also says how it starts.
fn project() -> Project {
    let project = Project::new("plain");
    project.edit(
        "src/main.rs",
        "    let addr",
        "    version::start();\n    let addr",
    );
    project.save("src/version.rs", &State::Good(1).source());
    let address = own_address();
    project.configure(&format!("[app]\nenv = {{ ADDR = \"{address}\" }}\n"));
    project
}

/// What is saved.
#[derive(Clone, Copy, Debug)]
enum State {
    Good(u64),
    Broken(u64),
    Crashes(u64),
}

impl State {
    fn source(self) -> String {
        let version = |number: u64, does: &str| {
            format!("pub const VERSION: &str = \"{number}\";\npub fn start() {{ {does} }}\n")
        };
        match self {
            Self::Good(number) => version(number, ""),
            Self::Broken(number) => version(number, "nothing_of_this_name()"),
            Self::Crashes(number) => version(number, "panic!(\"the program's last words\")"),
        }
    }
}

#[test]
fn a_script_drives_a_session() {
    let project = project();
    // It may ask before the project was read.
    let hotrun = Hotrun::start(&project, &[]);
    wait_until("the control socket", || sockets(&project).first().cloned());
    let first = ctl(&project, &["wait"]);
    assert_eq!(first.code, 0, "{first:?}");
    let address = hotrun.address();
    assert!(first.out.contains(&address.to_string()), "{first:?}");
    // Changes are collected.
    assert_eq!(ctl(&project, &["pause"]).code, 0);
    project.save("src/version.rs", &State::Good(2).source());
    let waited = ctl(&project, &["wait"]);
    assert_eq!(waited.code, 1, "{waited:?}");
    assert!(waited.out.contains("hotrun ctl resume"), "{waited:?}");
    let status = ctl(&project, &["status", "--json"]).json();
    assert_eq!(
        (&status["paused"], &status["collected"]),
        (&true.into(), &1.into())
    );
    assert_eq!(get(address).answer().version, "1");
    assert_eq!(hotrun.all("building").len(), 1);
    assert_eq!(ctl(&project, &["resume"]).code, 0);
    assert_eq!(ctl(&project, &["wait"]).code, 0);
    assert_eq!(get(address).answer().version, "2");
    // A start without a build, and a build without a change.
    hotrun.wait_live(2);
    let place = hotrun.here();
    ctl(&project, &["restart"]);
    assert_eq!(ctl(&project, &["wait"]).code, 0);
    hotrun.wait_live(3);
    let events = hotrun.events_after(place);
    let named = |name: &str| events.iter().filter(|event| event["event"] == name).count();
    assert_eq!((named("building"), named("live")), (0, 1));
    ctl(&project, &["rebuild"]);
    let status = ctl(&project, &["wait", "--json"]).json();
    assert_eq!(
        (&status["state"], &status["live"]),
        (&"live".into(), &4.into())
    );
    // The lines of all generations, or of one.
    let logs = ctl(&project, &["logs"]);
    assert_eq!(logs.out.matches("listening on").count(), 4, "{logs:?}");
    let logs = ctl(&project, &["logs", "--generation", "g3", "--json"]);
    assert_eq!(logs.json()["generation"], 3);
    for generation in ["99", "0"] {
        let unknown = ctl(&project, &["logs", "-g", generation]);
        assert_eq!((unknown.code, &*unknown.out), (1, ""));
        let error = format!("error: there was no g{generation}: the newest is g");
        assert!(unknown.err.starts_with(&error), "{unknown:?}");
    }
    let end = ctl(&project, &["stop"]);
    assert_eq!((end.code, &*end.out), (0, "hotrun has ended\n"));
    hotrun.wait_code(0);
    hotrun.assert_nothing_left();
    assert_eq!(sockets(&project), [] as [PathBuf; 0]);
}

/// Their profiles alone tell them apart: the hint has a line to paste for each.
#[test]
fn two_runs_of_one_program_are_told_apart() {
    let project = Project::new("worker");
    let first = Hotrun::start(&project, &[]);
    let second = Hotrun::start(&project, &["--release"]);
    for (hotrun, profile) in [(&first, "dev"), (&second, "release")] {
        first.wait_live(1);
        second.wait_live(1);
        let said = ctl(&project, &["status", "--json", "--bin", "worker"]);
        assert_eq!((said.code, &*said.out), (1, ""), "{said:?}");
        let about = format!("  # -p worker --bin worker --profile {profile}\n");
        let line = said
            .err
            .lines()
            .find_map(|line| format!("{line}\n").strip_suffix(&about).map(str::to_owned));
        let line = line.unwrap_or_else(|| panic!("{said:?}"));
        let words: Vec<&str> = line.split_whitespace().collect();
        let own = hotrun.pid().to_string();
        assert_eq!(words, ["hotrun", "ctl", "status", "--json", "--pid", &own]);
        // Wherever one stands.
        let status = ctl_in(&project, Path::new("/"), &words[2..]).json();
        assert_eq!(status["session"]["pid"], hotrun.pid());
        assert_eq!(status["session"]["profile"], profile);
    }
    let nobody = ctl(&project, &["stop", "--pid", "1"]);
    assert_eq!(nobody.code, 1);
    assert!(
        nobody
            .err
            .contains("no hotrun of yours has the process id 1"),
        "{nobody:?}"
    );
}

/// The control sockets of this test.
fn sockets(project: &Project) -> Vec<PathBuf> {
    let dir = project.runtime_dir().join("hotrun").read_dir();
    let found = dir.into_iter().flatten().map(|entry| entry.unwrap().path());
    found.collect()
}

/// Saves and waits, again and again: what is answered is what is served.
fn races(args: &[&str], count: u64) {
    let project = project();
    let hotrun = Hotrun::start(&project, args);
    hotrun.wait_live(1);
    let address = hotrun.address();
    let mut numbers = Numbers(7);
    let mut served = 1;
    let mut codes = [0; 3];
    for number in 2..count + 2 {
        let mut state = State::Good(number);
        // Sometimes another save comes first, and its build may be running.
        for _ in 0..=numbers.below(2) {
            state = match numbers.below(4) {
                0 => State::Broken(number),
                1 => State::Crashes(number),
                _ => State::Good(number),
            };
            project.save("src/version.rs", &state.source());
            thread::sleep(Duration::from_millis(numbers.below(50)));
        }
        let said = ctl(&project, &["wait"]);
        let (at, code, says) = match state {
            State::Good(_) => (0, 0, "is live"),
            State::Broken(_) => (1, BUILD_FAILED, "nothing_of_this_name"),
            State::Crashes(_) => (2, 1, "the program's last words"),
        };
        assert_eq!(said.code, code, "{state:?}: {said:?}");
        assert!(said.out.contains(says), "{state:?}: {said:?}");
        codes[at] += 1;
        if let State::Good(number) = state {
            served = number;
        }
        // At once, without waiting for anything.
        let answer = get(address).answer();
        assert_eq!(answer.version, served.to_string(), "{state:?}: {said:?}");
    }
    say(&format!("{args:?}: live, failed and crashed: {codes:?}"));
}

#[test]
fn what_is_answered_is_what_is_served() {
    races(&[], size_of_test("HOTRUN_TEST_RACES", 20));
}

#[test]
fn what_is_answered_is_what_is_served_where_files_are_polled() {
    races(&["--poll=200ms"], size_of_test("HOTRUN_TEST_RACES", 4));
}

#[test]
fn who_waits_is_told_that_hotrun_ends() {
    let project = project();
    let hotrun = Hotrun::start(&project, &[]);
    hotrun.wait_live(1);
    project.save(
        "build.rs",
        "fn main() { std::thread::sleep(std::time::Duration::from_secs(60)) }",
    );
    hotrun.wait_for("building", |event| event["generation"] == 2);
    let late = ctl(&project, &["wait", "--timeout", "100ms"]);
    assert_eq!(late.code, 1);
    assert!(late.err.contains("building g2"), "{late:?}");
    let waiting = thread::spawn({
        let project = project.clone();
        move || ctl(&project, &["wait"])
    });
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    let said = waiting.join().unwrap();
    assert_eq!(said.code, 1, "{said:?}");
}

/// Cargo may wait for another one, or for the network, as long as it likes.
#[test]
fn who_asks_while_the_project_is_read_is_answered() {
    let project = project();
    project.run("mkdir ../bin && printf '#!/bin/sh\\nexec sleep 600\\n' >../bin/cargo && chmod +x ../bin/cargo");
    let own = project.root().join("bin");
    let path = format!("{}:{}", own.display(), std::env::var("PATH").unwrap());
    let hotrun = Run::new(&project, &[]).env("PATH", &path).start();
    wait_until("the control socket", || sockets(&project).first().cloned());
    let status = ctl(&project, &["status"]);
    assert_eq!(
        (status.code, &*status.out),
        (0, "hotrun starts: the project is being read\n")
    );
    let waited = ctl(&project, &["wait", "--timeout", "100ms"]);
    assert_eq!(waited.code, 1);
    assert!(
        waited.err.contains("the project is being read"),
        "{waited:?}"
    );
    assert_eq!(ctl(&project, &["stop"]).code, 0);
    hotrun.wait_code(0);
    hotrun.assert_nothing_left();
}

/// The person may be away, so nobody waits for the answer.
#[test]
fn who_asks_while_a_person_is_asked_is_told() {
    let project = Project::new("once");
    std::fs::create_dir(project.path("src/bin")).unwrap();
    project.save("src/bin/other.rs", "fn main() {}");
    let terminal = Terminal::open(24, 80);
    let _hotrun = Run::new(&project, &[]).at(&terminal).start();
    terminal.wait_screen("the question", |screen| screen.contains("number or name:"));
    let asks = "it asks at its terminal which program to run";
    let status = ctl(&project, &["status"]);
    assert_eq!(
        (status.code, &*status.out),
        (0, &*format!("hotrun starts: {asks}\n"))
    );
    for command in ["wait", "rebuild", "pause"] {
        let said = ctl(&project, &[command]);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.contains(asks), "{said:?}");
    }
    assert_eq!(ctl(&project, &["stop"]).code, 0);
}

#[test]
fn the_hotrun_that_is_meant_is_found() {
    let manifest = |name: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nedition = \"2024\"\n")
    };
    let main = "fn main() { loop { std::thread::park(); } }";
    let project = Project::of(&[
        (
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"a\", \"b\"]\n",
        ),
        ("a/Cargo.toml", &manifest("a")),
        ("a/src/main.rs", main),
        ("b/Cargo.toml", &manifest("b")),
        ("b/src/main.rs", main),
    ]);
    let none = ctl(&project, &["status"]);
    assert_eq!(none.code, 1);
    assert!(none.err.contains("no hotrun runs in"), "{none:?}");
    assert!(none.err.contains("hint: `hotrun` starts one"), "{none:?}");
    let first = Hotrun::start(&project, &["-p", "a"]);
    first.wait_live(1);
    let deep = project.path("b/src");
    let status = ctl_in(&project, &deep, &["status", "--json"]).json();
    assert_eq!(status["session"]["package"], "a");
    let second = Hotrun::start(&project, &["-p", "b"]);
    second.wait_live(1);
    let several = ctl(&project, &["status"]);
    assert_eq!(several.code, 1);
    assert!(
        several.err.contains("-p a") && several.err.contains("-p b"),
        "{several:?}"
    );
    let status = ctl(&project, &["status", "-p", "b", "--json"]).json();
    assert_eq!(status["session"]["pid"], second.pid());
    // From elsewhere, only by name or process id.
    let outside = project.root();
    let other = ctl_in(&project, &outside, &["status", "-p", "b"]);
    assert_eq!(other.code, 1);
    let pid = second.pid().to_string();
    let line = format!("  hotrun ctl status --pid {pid}  # -p b ");
    assert!(other.err.contains(&line), "{other:?}");
    let by_pid = ctl_in(&project, &outside, &["status", "--pid", &pid, "--json"]).json();
    assert_eq!(by_pid["session"]["package"], "b");
    let manifest = project.path("Cargo.toml");
    let words = ["status", "-p", "b", "--manifest-path"];
    let words = [&words[..], &[manifest.to_str().unwrap()]].concat();
    assert_eq!(ctl_in(&project, &outside, &words).code, 0);
    // One that was killed leaves a socket behind, on which nobody listens.
    second.kill();
    second.wait_exit();
    assert_eq!(sockets(&project).len(), 2);
    assert_eq!(ctl(&project, &["status"]).code, 0);
    assert_eq!(sockets(&project).len(), 1);
    // One that is stopped does not answer.
    first.signal(Signal::SIGSTOP);
    let stopped = ctl(&project, &["status"]);
    first.signal(Signal::SIGCONT);
    assert_eq!(stopped.code, 1);
    assert!(
        stopped.err.contains(&first.pid().to_string()),
        "{stopped:?}"
    );
}

#[test]
fn another_version_is_named() {
    let project = project();
    let dir = project.runtime_dir().join("hotrun");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    let newer = UnixListener::bind(dir.join("1-1.sock")).unwrap();
    let greeting = format!(
        "{{\"protocol\":99,\"hotrun\":\"9.0.0\",\"session\":{{\"pid\":1,\"workspace\":{:?}}},\"more\":1}}\n",
        project.dir()
    );
    let serving = thread::spawn(move || {
        let (mut client, _) = newer.accept().unwrap();
        client.write_all(greeting.as_bytes()).unwrap();
    });
    let said = ctl(&project, &["status"]);
    serving.join().unwrap();
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("9.0.0") && said.err.contains("\nhint: "),
        "{said:?}"
    );
}

/// Somebody else could read what is in such a directory, or put a socket there.
#[test]
fn a_directory_of_others_is_not_used() {
    let project = project();
    let dir = project.runtime_dir().join("hotrun");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    let temporary = project.root().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let run = Run::new(&project, &[]);
    let hotrun = run.env("TMPDIR", temporary.to_str().unwrap()).start();
    hotrun.wait_live(1);
    assert_eq!(dir.read_dir().unwrap().count(), 0);
    let own = temporary
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let own = own.filter(|path| path.is_dir()).find(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("hotrun-")
    });
    let own = own.unwrap();
    assert_eq!(
        fs::metadata(&own).unwrap().permissions().mode() & 0o777,
        0o700
    );
    assert_eq!(own.read_dir().unwrap().count(), 1);
}
