//! The first build begins as soon as the project was read, however many directories there are to watch,
//! and what is saved before they are watched is built too.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;

use crate::common::{ANY, Project, Run, own_address, wait_until};

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

/// What is saved before the first build begins is in it, and is no reason for a second one.
#[test]
fn a_save_just_before_is_built_once() {
    let project = Project::new("slow-drain");
    let root = project.root();
    let cargo = root.join("cargo");
    let script = format!(
        "#!/bin/sh\n\
         if [ \"$1\" = metadata ]; then\n\
             touch '{0}/reads'\n\
             until [ -e '{0}/go' ]; do sleep 0.01; done\n\
         fi\n\
         exec cargo \"$@\"\n",
        root.display()
    );
    fs::write(&cargo, script).unwrap();
    fs::set_permissions(&cargo, Permissions::from_mode(0o755)).unwrap();
    let run = Run::new(&project, &ANY).env("CARGO", cargo.to_str().unwrap());
    let hotrun = run.start();
    wait_until("the project is being read", || {
        root.join("reads").exists().then_some(())
    });
    project.set_version("2");
    project.wait_until_old();
    fs::write(root.join("go"), "").unwrap();
    hotrun.wait_version("2");
    project.set_version("3");
    hotrun.wait_version("3");
    assert_eq!(hotrun.all("building").len(), 2);
}
