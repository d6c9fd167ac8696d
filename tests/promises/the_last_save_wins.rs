//! Whenever a file is saved, in whatever state hotrun is, the last save is served in the end.

use std::thread;
use std::time::Duration;

use crate::common::{ANY, Hotrun, Numbers, Project, say};

fn save_on_and_on(seed: u64, handover: &str) {
    const SAVES: u32 = 40;
    let project = Project::new("slow-drain");
    let hotrun = Hotrun::start(&project, &[&ANY[..], &["--handover", handover]].concat());
    let mut numbers = Numbers(seed);
    // Saves also come before the end of the first build.
    let mut saved = 0;
    while saved < SAVES {
        for _ in 0..=numbers.below(5) {
            // From "in the quiet period" over "while cargo reads" and "while rustc runs" to "while
            // the candidate starts": a build takes some 200 ms.
            thread::sleep(Duration::from_millis(numbers.below(250)));
            saved += 1;
            let version = format!("{handover}-{saved}");
            if numbers.below(2) == 0 {
                project.set_version(&version);
            } else {
                project.set_version_in_place(&version);
            }
        }
        hotrun.wait_version(&format!("{handover}-{saved}"));
    }
    // No older version follows: the build of an earlier save would have to be later in the stream.
    project.save("src/version.rs", "pub const VERSION: &str = \"the-end\";\n");
    hotrun.wait_version("the-end");
    let builds = hotrun.all("building").len();
    let cancelled = hotrun.all("cancelled").len();
    say(&format!(
        "{saved} saves, {builds} builds, {cancelled} cancelled"
    ));
    assert!(cancelled > 0, "no save came during a build");
    hotrun.interrupt();
    hotrun.wait_exit();
    hotrun.assert_nothing_left();
}

#[test]
fn forty_saves_at_any_moment_beside_live() {
    save_on_and_on(0x9e37_79b9_7f4a_7c15, "overlap");
}

#[test]
fn forty_saves_at_any_moment_with_live_stopped_first() {
    save_on_and_on(0x2545_f491_4f6c_dd1d, "stop-first");
}
