//! Connections to an address that hotrun can't hold are refused while the app is replaced: a line says
//! so before clients notice.

use crate::common::{Hotrun, Project, Run, own_address, wait_until};

/// Waits for the one line that says why, with the next step.
#[track_caller]
fn says(hotrun: &Hotrun, why: &str, hint: &str) {
    let said = hotrun.wait_for("uncaptured", |_| true);
    let text = said["text"].as_str().unwrap();
    assert!(text.starts_with(why), "{text}");
    let next = said["hint"].as_str().unwrap();
    assert!(next.contains(hint), "{next}");
    // The line is not repeated for the next generation.
    let place = hotrun.here();
    hotrun.hangup();
    hotrun.wait_next_live(place);
    assert_eq!(hotrun.all("uncaptured").len(), 1);
}

#[test]
fn an_abstract_name() {
    let name = format!("hotrun-test-{}", std::process::id());
    let project = Project::new("listens");
    let hotrun = Hotrun::start(&project, &["--", "abstract", &name]);
    let why = format!("unix:@{name} is not held: only one socket can have an abstract name");
    says(&hotrun, &why, "use a path");
}

/// Root may read every process, except without the capability that is dropped here.
#[test]
fn a_program_that_can_not_be_inspected() {
    let project = Project::new("listens");
    let address = own_address().to_string();
    let args = ["--", "hides", &address];
    let mut run = Run::new(&project, &args);
    if nix::unistd::geteuid().is_root() {
        run = run.by(&["setpriv", "--bounding-set=-sys_ptrace"]);
    }
    let hotrun = run.start();
    let why = "what the app listens on is not held: the system lets no other process look into it";
    says(&hotrun, why, "declare its address with --listen");
}

#[test]
fn more_addresses_than_are_held() {
    let project = Project::new("listens");
    let address = own_address().to_string();
    let hotrun = Hotrun::start(&project, &["--", "tries-many", &address]);
    let why = "more of what the app listens on is not held: 64 addresses are";
    says(&hotrun, why, "declare its address with --listen");
    wait_until("some to be held", || {
        (hotrun.held().len() > 1).then_some(())
    });
}
