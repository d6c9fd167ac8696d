//! An edit without an event of the file system is found all the same, and the user is told once why that
//! takes longer.
//!
//! Limits are lowered, and file systems mounted, in a user namespace of their own: that affects no other
//! process on the machine, and needs no privilege.

use std::fs;

use nix::sys::signal::Signal;

use crate::common::{ANY, Hotrun, Project, Run};

/// Edits a known file, then one in a new directory.
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

/// The one warning, which must be the only one.
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
    // The package, `src` and the directories in it.
    assert_eq!(
        said(&hotrun),
        [
            "the limit of 8 inotify watches is reached (hotrun needs 14): looking for changes every 1s",
            "raise it with `sudo sysctl user.max_inotify_watches=524288`"
        ]
    );
}

/// The limit is reached by a directory that is created during the session. Polling replaces the events
/// of all directories then, so a save at that moment has to be found.
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

/// Every editor, language server and file manager has an instance; the usual limit is 128 for a user.
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

/// A container image with the sources in a lower layer, which the host edits: an overlay has no events
/// for that.
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

/// More events at once than the kernel's queue holds; the save may be among those dropped.
#[test]
fn a_save_that_the_system_forgot_is_served() {
    let project = Project::new("slow-drain");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: u32 = limit.trim().parse().unwrap();
    // hotrun can't read its queue meanwhile.
    hotrun.signal(Signal::SIGSTOP);
    // Creating a file is at least three events, and files with such a name don't count.
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
