//! What an app listens on and hotrun can't hold is refused while the app is replaced: that is never found
//! out by the clients alone.

use crate::common::{Hotrun, Project, Run, own_address, wait_until};

/// Waits until it is said why, with the next step; nothing else is.
#[track_caller]
fn says(hotrun: &Hotrun, why: &str, hint: &str) {
    let said = hotrun.wait_for("uncaptured", |_| true);
    let text = said["text"].as_str().unwrap();
    assert!(text.starts_with(why), "{text}");
    let next = said["hint"].as_str().unwrap();
    assert!(next.contains(hint), "{next}");
    // The next generation is no other reason to say it.
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

/// Root may look into everything, but for the one right that is taken away here.
#[test]
fn a_program_that_lets_nobody_look_into_it() {
    let project = Project::new("listens");
    let address = own_address().to_string();
    let args = ["--", "hides", &address];
    let mut run = Run::new(&project, &args);
    if nix::unistd::geteuid().is_root() {
        run = run.by(&["setpriv", "--bounding-set=-sys_ptrace"]);
    }
    let hotrun = run.start();
    let why = "what the app listens on is not held: the system lets nobody look into it";
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
