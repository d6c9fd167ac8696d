//! A target has one hotrun: a second one is refused at once, and is no trouble to the first.

use crate::common::{ANY, Hotrun, Project};

const IN_USE: i32 = 3;

/// Two of them would take turns in ending each other's builds.
#[test]
fn a_second_hotrun_for_the_same_target() {
    let project = Project::new("slow-drain");
    let first = Hotrun::start(&project, &ANY);
    first.wait_live(1);
    let own = format!("pid {}", first.pid());
    refused_beside(&first, &project, &own);
    // It was no trouble to the first.
    project.set_version("2");
    first.wait_version("2");
    first.kill();
    first.wait_exit();
    // A killed one leaves no lock behind.
    let third = Hotrun::start(&project, &ANY);
    third.wait_version("2");
}

#[track_caller]
fn refused_beside(first: &Hotrun, project: &Project, own: &str) {
    let second = Hotrun::start(project, &ANY);
    second.wait_code(IN_USE);
    let said = second.stderr();
    assert!(said.contains(own) && said.contains("\nhint: "), "{said}");
    assert_eq!(second.all("building").len(), 0);
    assert_eq!(first.exited(), None);
}
