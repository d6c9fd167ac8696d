//! The output of cargo and hooks is read only as fast as it is printed: neither a paused terminal nor more
//! lines than can be handled cost memory.

use std::fs;
use std::io::{Read, pipe};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use procfs::process::{Process, all_processes};

use crate::common::{Project, Run, most_memory, own_address, wait_until};

/// Many times more than hotrun may buffer.
const BYTES: u64 = 100_000_000;
/// How much its memory may grow, in KiB.
const GROWN: u64 = 50_000;

/// So many bytes in the shortest lines are as much work as many more bytes in others.
const SHORT: u64 = 1_000_000;

/// The memory of a process, in KiB.
fn memory(pid: i32) -> u64 {
    Process::new(pid).unwrap().status().unwrap().vmrss.unwrap()
}

/// The process with these arguments, once it runs.
fn writer(words: &[&str]) -> Process {
    wait_until("the writer", || {
        let mut all = all_processes().unwrap().flatten();
        all.find(|process| process.cmdline().is_ok_and(|own| own == words))
    })
}

fn written(process: &Process) -> Option<u64> {
    process.io().ok().map(|io| io.wchar)
}

/// Runs hotrun until the process with these arguments, which writes [`BYTES`] as a part of a build, is
/// made to wait by a terminal that nobody reads; then reads it.
fn is_made_to_wait(project: &Project, run: impl Fn(Run) -> Run, words: &[&str]) {
    let (mut nobody, stdout) = pipe().unwrap();
    let address = own_address().to_string();
    let args = ["--format", "json", "--", "tcp", &address];
    let hotrun = run(Run::new(project, &args)).stdout(stdout).start();
    let writer = writer(words);
    let before = memory(hotrun.pid());
    // Until it makes no progress for many checks in a row, or has written everything.
    let mut last = (None, 0);
    wait_until("the writer to be made to wait", || {
        let now = written(&writer);
        assert!(now.is_some(), "all of it was taken");
        last = (now, if last.0 == now { last.1 + 1 } else { 0 });
        (last.1 > 50).then_some(())
    });
    let grown = memory(hotrun.pid()).saturating_sub(before);
    assert!(grown < GROWN, "{grown} KiB more");
    // It goes on when the output is read.
    let reader = std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while nobody.read(&mut buffer).is_ok_and(|count| count > 0) {}
    });
    let place = last.0;
    wait_until("the writer to go on", || {
        (written(&writer) != place).then_some(())
    });
    drop(hotrun);
    reader.join().unwrap();
}

/// A size that no other test asks for.
fn own_size(number: u64) -> String {
    (BYTES + number * 10_000_000 + u64::from(std::process::id())).to_string()
}

#[test]
fn of_a_hook() {
    let project = Project::new("listens");
    let count = own_size(0);
    project.configure(&format!(
        "[hooks]\nbefore_build = [\"sh\", \"-c\", \"yes | head -c {count}\"]\n"
    ));
    is_made_to_wait(&project, |run| run, &["head", "-c", &count]);
}

/// A file is never full, so nothing stops the printer; but the lines wait for the session before.
#[test]
fn of_a_hook_that_writes_short_lines_into_a_file() {
    let project = Project::new("listens");
    let count = (SHORT + u64::from(std::process::id())).to_string();
    project.configure(&format!(
        "[hooks]\nbefore_build = [\"sh\", \"-c\", \"yes | head -c {count}\"]\n"
    ));
    let address = own_address();
    let app = address.to_string();
    let args = [
        "--events",
        "/dev/null",
        "--format",
        "json",
        "--",
        "tcp",
        &app,
    ];
    let hotrun = Run::new(&project, &args).start();
    writer(&["head", "-c", &count]);
    let before = memory(hotrun.pid());
    wait_until("the app", || TcpStream::connect(address).ok());
    let grown = most_memory(hotrun.pid()).saturating_sub(before);
    assert!(grown < GROWN, "{grown} KiB more");
}

/// What the compiler, a macro or a build script writes comes by cargo, as lines of its own.
#[test]
fn of_cargo() {
    let project = Project::new("listens");
    let count = own_size(1);
    let wrapper = project.path("wrapper");
    // Cargo also asks the compiler for its version.
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--crate-name\\ listens*) yes | head -c {count} >&2 ;; esac\n\
         exec \"$@\"\n"
    );
    fs::write(&wrapper, script).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let wrapper = wrapper.to_str().unwrap();
    let run = |run: Run| run.env("RUSTC_WORKSPACE_WRAPPER", wrapper);
    is_made_to_wait(&project, run, &["head", "-c", &count]);
}
