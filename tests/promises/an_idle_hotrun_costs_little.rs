//! While nothing happens hotrun does nothing, and it keeps little memory of the work before.

use std::time::Duration;

use procfs::process::{MMPermissions, Process};

use crate::common::{Hotrun, Project, now, wait_until};

/// Longer than any pause after which hotrun could look at something again and again.
const QUIET: Duration = Duration::from_secs(2);

/// How often threads of hotrun have gone to sleep.
fn sleeps(pid: i32) -> u64 {
    let tasks = Process::new(pid).unwrap().tasks().unwrap();
    // A thread may end meanwhile.
    let of_each = tasks.filter_map(|task| task.ok()?.status().ok()?.voluntary_ctxt_switches);
    of_each.sum()
}

fn wait_until_nothing_wakes(hotrun: &Hotrun) {
    let mut last = (sleeps(hotrun.pid()), now());
    wait_until("two seconds without a wake-up", || {
        let sleeps = sleeps(hotrun.pid());
        if sleeps != last.0 {
            last = (sleeps, now());
        }
        (last.1.elapsed() >= QUIET).then_some(())
    });
}

#[test]
fn nothing_wakes_it_up() {
    let project = Project::hello();
    let hotrun = Hotrun::start(&project, &["--listen", "127.0.0.1:0"]);
    hotrun.wait_live(1);
    let place = hotrun.here();
    project.set_version("2");
    hotrun.wait_after(place, "gone", |_| true);
    wait_until_nothing_wakes(&hotrun);
    // Nor while a fix is awaited.
    project.save("src/main.rs", "fn main( {");
    hotrun.wait_after(place, "build-failed", |_| true);
    wait_until_nothing_wakes(&hotrun);
}

/// An arena of its own for each thread that allocates, as glibc has it otherwise, keeps what that thread
/// once needed.
#[test]
fn its_threads_share_one_heap() {
    const ARENA: u64 = 64 << 20;
    let project = Project::hello();
    let hotrun = Hotrun::start(&project, &["--listen", "127.0.0.1:0"]);
    hotrun.wait_live(1);
    let maps = Process::new(hotrun.pid()).unwrap().maps().unwrap();
    // What an arena may grow into is reserved up to its end.
    let arenas = maps.iter().filter(|map| {
        let (begin, end) = map.address;
        map.perms == MMPermissions::PRIVATE && end % ARENA == 0 && end - begin > ARENA / 2
    });
    assert_eq!(arenas.count(), 0);
}
