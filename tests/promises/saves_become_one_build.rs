//! Each real change becomes part of exactly one build, and nothing else starts a build.
//!
//! "Nothing happens" can't be waited for. So each test that expects nothing makes a real edit
//! afterwards, whose build names its cause: if the other change had counted, it would be named too, or
//! would have had a build of its own.

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::common::{ANY, Hotrun, Project, Run, wait_until};

/// A quiet period in which a test makes a burst of saves even on a busy machine.
const QUIET: [&str; 4] = ["--listen", "127.0.0.1:0", "--debounce", "250ms"];

fn start(project: &Project) -> Hotrun {
    let hotrun = Hotrun::start(project, &QUIET);
    hotrun.wait_live(1);
    hotrun
}

/// The causes of all builds after the first.
fn causes(hotrun: &Hotrun) -> Vec<String> {
    hotrun.values("building", "cause").split_off(1)
}

/// "Save all" in an editor, or a checkout: watchers without a quiet period over the whole set
/// build once for the first file and once more for the rest.
#[test]
fn several_files_saved_at_once_are_one_build_and_one_restart() {
    let project = Project::new("slow-drain");
    let hotrun = start(&project);
    for path in ["src/http.rs", "src/listen.rs", "src/main.rs"] {
        let text = fs::read_to_string(project.path(path)).unwrap();
        project.save(path, &(text + "\n// edited\n"));
    }
    project.set_version("2");
    hotrun.wait_version("2");
    // A second build for the same burst would come before, or with, the build of this save.
    project.set_version("3");
    hotrun.wait_version("3");
    assert_eq!(
        causes(&hotrun),
        ["src/http.rs and 3 more", "src/version.rs"]
    );
    assert_eq!(hotrun.all("live").len(), 3);
    assert_eq!(hotrun.all("cancelled").len(), 0);
}

/// A formatter or a generator that writes for longer than the quiet period: the builds that start
/// meanwhile are stale and are cancelled, and the app is restarted once.
#[test]
fn saves_that_go_on_are_one_restart() {
    let project = Project::new("slow-drain");
    // No build ends before the last save, however fast or slow the machine is.
    let waits = "fn main() {
        while !std::path::Path::new(\"../go\").exists() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }";
    project.save("build.rs", waits);
    project.add("../go", "");
    let hotrun = Hotrun::start(&project, &["--listen", "127.0.0.1:0"]);
    hotrun.wait_live(1);
    fs::remove_file(project.path("../go")).unwrap();
    fs::create_dir(project.path("src/words")).unwrap();
    for number in 0..29 {
        project.save(
            &format!("src/words/{}.txt", number % 7),
            &number.to_string(),
        );
        thread::sleep(Duration::from_millis(10));
    }
    project.set_version("2");
    project.add("../go", "");
    hotrun.wait_version("2");
    project.set_version("3");
    hotrun.wait_version("3");
    assert_eq!(hotrun.all("live").len(), 3);
}

/// `touch`, `chmod` and programs that read a file (a backup, an indexer) leave its content alone. So
/// does opening it for writing, as long as nothing is written.
#[test]
fn what_does_not_change_a_file_builds_nothing() {
    let project = Project::new("slow-drain");
    let hotrun = start(&project);
    let path = project.path("src/http.rs");
    let file = File::options().append(true).open(&path).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the time that `touch` sets")]
    let now = SystemTime::now();
    let times = FileTimes::new().set_accessed(now).set_modified(now);
    file.set_times(times).unwrap();
    drop(file);
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    fs::read(&path).unwrap();
    project.set_version("2");
    hotrun.wait_version("2");
    assert_eq!(causes(&hotrun), ["src/version.rs"]);
}

/// Saved with the same bytes, the program is the same, so no client has to reconnect.
#[test]
fn the_same_bytes_restart_nothing() {
    let project = Project::new("slow-drain");
    let hotrun = start(&project);
    let text = fs::read_to_string(project.path("src/http.rs")).unwrap();
    project.save("src/http.rs", &text);
    // A change that the compiler does not see restarts nothing either.
    let text = fs::read_to_string(project.path("src/listen.rs")).unwrap();
    project.save("src/listen.rs", &text.replace("//! ", "//!  "));
    project.set_version("1");
    let unchanged = hotrun.wait_for("unchanged", |_| true);
    assert_eq!(unchanged["running"], 1);
    project.set_version("2");
    hotrun.wait_version("2");
    assert_eq!(hotrun.all("live").len(), 2);
}

/// Editors write a file beside the one they save and rename it, or test whether they may write at all. A
/// file that appeared and vanished between two readings was never there.
#[test]
fn a_file_that_came_and_went_builds_nothing() {
    let project = Project::new("slow-drain");
    let hotrun = start(&project);
    for name in ["src/scratch.rs", "src/4913", "src/main.rs~", "scratch.rs"] {
        fs::write(project.path(name), "not rust").unwrap();
        fs::remove_file(project.path(name)).unwrap();
    }
    // A safe write by a name that is on no list of editors' names.
    fs::write(project.path("src/new"), "pub const VERSION: &str = \"2\";").unwrap();
    fs::rename(project.path("src/new"), project.path("src/version.rs")).unwrap();
    hotrun.wait_version("2");
    assert_eq!(causes(&hotrun), ["src/version.rs"]);
}

/// Files that git or the user ignores, that editors leave and that cargo writes are no inputs.
#[test]
fn ignored_files_build_nothing() {
    let project = Project::new("slow-drain");
    fs::write(
        project.path(".gitignore"),
        "/generated.rs\n/cache/\n*.log\n",
    )
    .unwrap();
    fs::create_dir(project.path("cache")).unwrap();
    let hotrun = Hotrun::start(&project, &[&QUIET[..], &["--ignore", "*.sql"]].concat());
    hotrun.wait_live(1);
    fs::create_dir(project.path("cache/new")).unwrap();
    for name in [
        "generated.rs",
        "cache/a.rs",
        "cache/new/b.rs",
        "src/debug.log",
        "src/query.sql",
        "src/.main.rs.swp",
        "src/main.rs~",
        "target/c.rs",
        "target/debug/d.rs",
    ] {
        fs::write(project.path(name), "not rust").unwrap();
    }
    project.set_version("2");
    hotrun.wait_version("2");
    assert_eq!(causes(&hotrun), ["src/version.rs"]);
}

/// `mod` and its file are added, the file is removed, restored, and renamed: each time the program
/// changes, or does not build.
#[test]
fn new_deleted_and_renamed_files_build() {
    let project = Project::new("slow-drain");
    let hotrun = start(&project);
    let part = "pub const VERSION: &str = \"2\";\n";
    project.save(
        "src/version.rs",
        "#[path = \"part.rs\"]\nmod part;\npub use part::VERSION;\n",
    );
    project.save("src/part.rs", part);
    hotrun.wait_version("2");

    let place = hotrun.here();
    fs::remove_file(project.path("src/part.rs")).unwrap();
    let failed = hotrun.wait_after(place, "build-failed", |_| true);
    assert_eq!(failed["cause"], "src/part.rs");

    let place = hotrun.here();
    project.save("src/part.rs", &part.replace('2', "3"));
    let live = hotrun.wait_next_live(place);
    assert_eq!(live["cause"], "src/part.rs");

    let place = hotrun.here();
    fs::rename(project.path("src/part.rs"), project.path("src/other.rs")).unwrap();
    let failed = hotrun.wait_after(place, "build-failed", |_| true);
    let cause = failed["cause"].as_str().unwrap();
    assert!(cause.contains("src/part.rs"), "{cause}");

    project.edit("src/version.rs", "part.rs", "other.rs");
    project.edit("src/other.rs", "3", "4");
    hotrun.wait_version("4");
}

/// A directory that is created, filled, edited in, and renamed: it has to be watched from the moment it
/// exists, under any name.
#[test]
fn new_and_renamed_directories_are_watched() {
    let project = Project::new("slow-drain");
    let hotrun = start(&project);
    // rustc looks for the module in `src/version/part.rs`.
    fs::create_dir(project.path("src/version")).unwrap();
    project.save("src/version/part.rs", "pub const VERSION: &str = \"2\";\n");
    project.save("src/version.rs", "mod part;\npub use part::VERSION;\n");
    hotrun.wait_version("2");

    let place = hotrun.here();
    project.edit("src/version/part.rs", "2", "3");
    let live = hotrun.wait_next_live(place);
    assert_eq!(live["cause"], "src/version/part.rs");
    hotrun.wait_version("3");

    fs::rename(project.path("src/version"), project.path("src/parts")).unwrap();
    project.edit("src/version.rs", "mod", "#[path = \"parts/part.rs\"]\nmod");
    project.edit("src/parts/part.rs", "3", "4");
    hotrun.wait_version("4");

    let place = hotrun.here();
    project.edit("src/parts/part.rs", "4", "5");
    let live = hotrun.wait_next_live(place);
    assert_eq!(live["cause"], "src/parts/part.rs");
    hotrun.wait_version("5");
}

/// A directory that is removed and created again has another inode: the watch on the old one has no
/// events any more.
#[test]
fn a_directory_that_was_made_again_is_watched() {
    let project = Project::new("slow-drain");
    let hotrun = start(&project);
    let files = ["main.rs", "http.rs", "listen.rs"];
    let texts = files.map(|name| fs::read(project.path("src").join(name)).unwrap());
    fs::remove_dir_all(project.path("src")).unwrap();
    fs::create_dir(project.path("src")).unwrap();
    for (name, text) in files.iter().zip(texts) {
        fs::write(project.path("src").join(name), text).unwrap();
    }
    project.set_version("2");
    hotrun.wait_version("2");
    project.set_version("3");
    hotrun.wait_version("3");
}

/// A linked source is edited at its real path, in a directory that has nothing to do with the project.
#[test]
fn a_file_behind_a_link_builds() {
    let project = Project::new("slow-drain");
    let outside = project.root().join("outside");
    fs::create_dir(&outside).unwrap();
    let target = outside.join("version.rs");
    fs::rename(project.path("src/version.rs"), &target).unwrap();
    symlink(&target, project.path("src/version.rs")).unwrap();
    let hotrun = start(&project);
    fs::write(&target, "pub const VERSION: &str = \"2\";\n").unwrap();
    hotrun.wait_version("2");
    // Another file beside the link's target is no input.
    fs::write(outside.join("other.rs"), "not rust").unwrap();
    fs::write(&target, "pub const VERSION: &str = \"3\";\n").unwrap();
    hotrun.wait_version("3");
    assert_eq!(hotrun.all("building").len(), 3);
    assert!(!causes(&hotrun).join(" ").contains("other.rs"));
    // A link that is created during the session is followed too.
    let second = project.root().join("second");
    fs::create_dir(&second).unwrap();
    let target = second.join("version.rs");
    fs::write(&target, "pub const VERSION: &str = \"4\";\n").unwrap();
    symlink(&target, project.path("src/link")).unwrap();
    fs::rename(project.path("src/link"), project.path("src/version.rs")).unwrap();
    hotrun.wait_version("4");
    fs::write(&target, "pub const VERSION: &str = \"5\";\n").unwrap();
    hotrun.wait_version("5");
}

/// Network and shared file systems have no events; there, files are polled.
#[test]
fn an_edit_is_found_where_the_system_tells_of_none() {
    let project = Project::new("slow-drain");
    let hotrun = Hotrun::start(&project, &["--listen", "127.0.0.1:0", "--poll=50ms"]);
    hotrun.wait_live(1);
    project.set_version("2");
    hotrun.wait_version("2");
    project.set_version_in_place("three");
    hotrun.wait_version("three");
}

/// `hotrun > hotrun.log` in the project: each line would be a change, and cause more lines.
#[test]
fn its_own_output_is_no_input() {
    let project = Project::new("slow-drain");
    let script = "exec >hotrun.log 2>&1";
    let events = ["--events", "hotrun.events"];
    let hotrun = Run::new(&project, &[&ANY[..], &events].concat());
    let hotrun = hotrun.after(script).start();
    let log = || fs::read_to_string(project.path("hotrun.log")).unwrap_or_default();
    wait_until("live", || log().contains("g1 live").then_some(()));
    project.set_version("2");
    wait_until("live again", || log().contains("g2 live").then_some(()));
    hotrun.terminate();
    hotrun.wait_exit();
    assert_eq!(log().matches("building").count(), 2, "{}", log());
}
