//! The first build begins as soon as the project was read, however many directories there are to watch,
//! and what is saved before they are watched is built too.

use std::collections::BTreeSet;
use std::fs;

use nix::sys::signal::Signal;

use crate::common::{Project, Run, own_address, wait_until};

/// Some of the files are saved before hotrun watches their directories: nothing tells of them but their
/// times.
#[test]
fn files_saved_before_all_directories_are_watched() {
    let project = Project::new("listens");
    let dir = |number: usize| format!("data/{}/{number}", number % 50);
    for number in 0..3000 {
        fs::create_dir_all(project.path(&dir(number))).unwrap();
    }
    let address = own_address();
    let args = ["--watch", "data", "--", "tcp", &address.to_string()];
    let hotrun = Run::new(&project, &args).start();
    hotrun.wait_for("building", |_| true);
    let saved: BTreeSet<String> = (0..3000)
        .step_by(10)
        .map(|number| format!("{}/new.txt", dir(number)))
        .collect();
    for path in &saved {
        project.add(path, "text");
    }
    wait_until("a build for each of them", || {
        let events = hotrun.events();
        let builds = events.iter().filter(|event| event["event"] == "building");
        let paths = builds.flat_map(|event| event["paths"].as_array().into_iter().flatten());
        let built: BTreeSet<&str> = paths.filter_map(|path| path.as_str()).collect();
        saved
            .iter()
            .all(|path| built.contains(&**path))
            .then_some(())
    });
    project.set_version("2");
    hotrun.wait_version("2");
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    hotrun.assert_nothing_left();
}
