//! The output of cargo and hooks is read only as fast as it is printed: a paused terminal costs no
//! memory.

use std::io::{Read, pipe};

use procfs::process::{Process, all_processes};

use crate::common::{Project, Run, own_address, wait_until};

/// Many times more than hotrun may buffer.
const BYTES: u64 = 100_000_000;
/// How much its memory may grow, in KiB.
const GROWN: u64 = 50_000;

/// The memory of a process, in KiB.
fn memory(pid: i32) -> u64 {
    Process::new(pid).unwrap().status().unwrap().vmrss.unwrap()
}

fn written(process: &Process) -> Option<u64> {
    process.io().ok().map(|io| io.wchar)
}

#[test]
fn of_a_hook() {
    let project = Project::new("listens");
    let count = BYTES + u64::from(std::process::id());
    project.configure(&format!(
        "[hooks]\nbefore_build = [\"sh\", \"-c\", \"yes | head -c {count}; touch done\"]\n"
    ));
    let (mut nobody, stdout) = pipe().unwrap();
    let address = own_address().to_string();
    let args = ["--format", "json", "--", "tcp", &address];
    let hotrun = Run::new(&project, &args).stdout(stdout).start();
    let words = ["head".to_owned(), "-c".to_owned(), count.to_string()];
    let writer = wait_until("the hook", || {
        let mut all = all_processes().unwrap().flatten();
        all.find(|process| process.cmdline().is_ok_and(|own| own == words))
    });
    let before = memory(hotrun.pid());
    // Until the hook makes no progress for many checks in a row, or has written everything.
    let mut last = (None, 0);
    wait_until("the hook to be made to wait", || {
        assert!(!project.path("done").exists(), "all of it was taken");
        let now = written(&writer);
        last = (now, if last.0 == now { last.1 + 1 } else { 0 });
        (last.1 > 50).then_some(())
    });
    let grown = memory(hotrun.pid()).saturating_sub(before);
    assert!(grown < GROWN, "{grown} KiB more");
    // The hook goes on when the output is read.
    let reader = std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while nobody.read(&mut buffer).is_ok_and(|count| count > 0) {}
    });
    let place = last.0;
    wait_until("the hook to go on", || {
        (written(&writer) != place).then_some(())
    });
    drop(hotrun);
    reader.join().unwrap();
}
