//! Where the system can't or won't tell of an edit, it is found all the same, and the user is told
//! once why that takes longer.
//!
//! Limits are lowered, and file systems mounted, in a user namespace of their own: nobody else on
//! the machine is touched, and no privilege is needed.

use std::fs;

use nix::sys::signal::Signal;

use crate::common::{ANY, Hotrun, Project, Run};

/// Edits a known file, then one in a directory that is made for it.
fn edits_are_served(project: &Project, hotrun: &Hotrun) {
    project.set_version("2");
    hotrun.wait_version("2");
    fs::create_dir(project.path("src/version")).unwrap();
    project.save("src/version/part.rs", "pub const VERSION: &str = \"3\";\n");
    project.save("src/version.rs", "mod part;\npub use part::VERSION;\n");
    hotrun.wait_version("3");
    project.edit("src/version/part.rs", "3", "4");
    hotrun.wait_version("4");
}

/// It was said exactly once, with what to do.
fn said(hotrun: &Hotrun) -> [String; 2] {
    ["text", "hint"].map(|key| {
        let warnings = hotrun.values("warning", key);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        warnings.concat()
    })
}

fn with_limit(project: &Project, name: &str, limit: u32) -> Hotrun {
    Run::new(project, &ANY)
        .in_its_own_namespaces(&format!("echo {limit} >/proc/sys/user/{name}"))
        .start()
}

/// A big workspace beside an editor that watches it too: the limit is reached at once, and each
/// `watch` after that fails.
#[test]
fn without_watches_it_looks_for_changes() {
    let project = Project::new("slow-drain");
    for number in 0..12 {
        project.add(&format!("src/{number}/mod.rs"), "");
    }
    let hotrun = with_limit(&project, "max_inotify_watches", 8);
    hotrun.wait_live(1);
    edits_are_served(&project, &hotrun);
    // The package, `src` and what is in it.
    assert_eq!(
        said(&hotrun),
        [
            "the limit of 8 inotify watches is reached (hotrun needs 14): looking for changes every 1s",
            "raise it with `sudo sysctl user.max_inotify_watches=524288`"
        ]
    );
}

/// The limit is reached by a directory that is made during the session. The events of the others
/// are given up for it, so what was saved at that moment is looked for.
#[test]
fn the_watch_that_is_one_too_many_loses_nothing() {
    let project = Project::new("slow-drain");
    let hotrun = with_limit(&project, "max_inotify_watches", 2);
    hotrun.wait_live(1);
    assert_eq!(hotrun.all("warning"), [] as [serde_json::Value; 0]);
    fs::create_dir(project.path("src/parts")).unwrap();
    project.set_version("2");
    hotrun.wait_version("2");
    let [text, _] = said(&hotrun);
    assert!(
        text.contains("of 2 inotify watches") && text.contains("needs 3"),
        "{text}"
    );
    project.set_version("3");
    hotrun.wait_version("3");
    said(&hotrun);
}

/// Every editor, every language server and every file manager has an instance; the usual limit is
/// 128 for a user.
#[test]
fn without_an_instance_it_looks_for_changes() {
    let project = Project::new("slow-drain");
    let hotrun = with_limit(&project, "max_inotify_instances", 0);
    hotrun.wait_live(1);
    edits_are_served(&project, &hotrun);
    assert_eq!(
        said(&hotrun),
        [
            "the limit of 0 inotify instances is reached (hotrun needs 1): looking for changes every 1s",
            "raise it with `sudo sysctl user.max_inotify_instances=1024`"
        ]
    );
}

/// A container image with the sources in a lower layer, which the host edits: an overlay does not
/// tell of that.
#[test]
fn an_edit_below_an_overlay_is_found_with_poll() {
    let project = Project::new("slow-drain");
    let root = project.root();
    let target = root.join("target");
    let target = target.to_str().unwrap();
    for dir in ["over", "merged"] {
        fs::create_dir(root.join(dir)).unwrap();
    }
    let mount = "cd ..
        mount -t tmpfs tmpfs over
        mkdir over/upper over/work
        mount -t overlay overlay -o lowerdir=app,upperdir=over/upper,workdir=over/work merged
        cd merged";
    let args = [&ANY[..], &["--poll=100ms", "--target-dir", target]].concat();
    let hotrun = Run::new(&project, &args)
        .in_its_own_namespaces(mount)
        .start();
    hotrun.wait_live(1);
    for version in ["2", "three"] {
        project.set_version_in_place(version);
        hotrun.wait_version(version);
    }
    let said = hotrun.values("session", "workspace").concat();
    assert!(
        said.ends_with("/merged"),
        "it does not run on the overlay: {said}"
    );
}

/// More happens at once than the system remembers; what it forgets may be the save.
#[test]
fn a_save_that_the_system_forgot_is_served() {
    let project = Project::new("slow-drain");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: u32 = limit.trim().parse().unwrap();
    // It can't take anything off the queue meanwhile.
    hotrun.signal(Signal::SIGSTOP);
    // To make one is three events at least, and none of a file of an editor that counts.
    for number in 0..limit / 3 + 100 {
        fs::write(project.path(&format!("src/{number}~")), "").unwrap();
    }
    project.set_version("2");
    hotrun.signal(Signal::SIGCONT);
    hotrun.wait_version("2");
    let causes = hotrun.values("building", "cause");
    assert_eq!(
        causes[1], "many changes at once",
        "nothing was forgotten: {causes:?}"
    );
    project.set_version("3");
    hotrun.wait_version("3");
    assert_eq!(
        hotrun.values("building", "cause").last().unwrap(),
        "src/version.rs"
    );
}
