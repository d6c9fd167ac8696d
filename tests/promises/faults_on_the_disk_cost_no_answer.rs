//! Whatever happens to files while hotrun runs (deleted, moved away, replaced, no space left, names that
//! nobody expects): live answers all of it, and a save is served once the fault is over.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::common::load::Kind;
use crate::common::{ANY, Hotrun, LIMIT, Load, Project, Run, wait_until, wait_within};

/// Removes a directory that a build may be writing to.
fn remove(dir: &Path) {
    wait_within(
        LIMIT,
        "a directory to be removed",
        || match fs::remove_dir_all(dir) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => None,
            Err(error) if error.kind() != ErrorKind::NotFound => panic!("{error}"),
            _ => Some(()),
        },
    );
}

/// The file that runs as this generation.
fn pinned(hotrun: &Hotrun, generation: u64) -> PathBuf {
    fs::read_link(format!("/proc/{}/exe", hotrun.app(generation).pid)).unwrap()
}

/// `cargo clean`, or a script that frees space, with everything that hotrun keeps there too.
#[test]
fn the_target_directory_is_deleted() {
    let project = Project::new("slow-drain");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let load = Load::start(hotrun.address(), 50, Kind::Get);
    remove(&project.path("target"));
    load.wait_more(20);
    project.set_version("2");
    hotrun.wait_version("2");
    // In the middle of a build too, which may fail by it.
    let place = hotrun.here();
    project.set_version("3");
    hotrun.wait_after(place, "building", |_| true);
    remove(&project.path("target"));
    hotrun.wait_any(place, &["live", "build-failed"], |_| true);
    project.set_version("4");
    hotrun.wait_version("4");
    load.stop().assert_all_answered();
}

/// The program that would be started again is gone as well when the app dies: the next save is served,
/// and clients wait until then.
#[test]
fn the_app_dies_after_the_target_directory_was_deleted() {
    let project = Project::new("slow-drain");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    remove(&project.path("target"));
    hotrun.app(1).signal(nix::sys::signal::Signal::SIGKILL);
    hotrun.wait_for("ended", |event| event["generation"] == 1);
    let load = Load::start(hotrun.address(), 20, Kind::Get);
    project.set_version("2");
    hotrun.wait_version("2");
    load.stop().assert_all_answered();
}

/// Something else has taken the name under which cargo links the program.
#[test]
fn a_directory_is_where_cargo_puts_the_program() {
    let project = Project::new("slow-drain");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let load = Load::start(hotrun.address(), 50, Kind::Get);
    let program = project.path("target/debug/slow-drain");
    fs::remove_file(&program).unwrap();
    fs::create_dir(&program).unwrap();
    let place = hotrun.here();
    project.set_version("2");
    hotrun.wait_after(place, "build-failed", |_| true);
    load.wait_more(10);
    fs::remove_dir(&program).unwrap();
    project.set_version("3");
    hotrun.wait_version("3");
    load.stop().assert_all_answered();
}

/// Something else has taken the place of the program that was set aside.
#[test]
fn a_directory_is_where_the_program_was_set_aside() {
    let project = Project::new("slow-drain");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let load = Load::start(hotrun.address(), 50, Kind::Get);
    let program = pinned(&hotrun, 1);
    assert!(program.parent() != Some(&project.path("target/debug")));
    fs::remove_file(&program).unwrap();
    fs::create_dir(&program).unwrap();
    // A build of the same program: there is nothing to compare it with.
    let place = hotrun.here();
    hotrun.hangup();
    hotrun.wait_any(place, &["live", "build-failed", "start-failed"], |_| true);
    project.set_version("2");
    hotrun.wait_version("2");
    load.stop().assert_all_answered();
}

/// The directory is renamed while hotrun runs in it, and comes back.
#[test]
fn the_project_is_moved_away_and_restored() {
    let project = Project::new("slow-drain");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let load = Load::start(hotrun.address(), 50, Kind::Get);
    let away = project.root().join("away");
    fs::rename(project.dir(), &away).unwrap();
    load.wait_more(20);
    fs::rename(&away, project.dir()).unwrap();
    project.set_version("2");
    hotrun.wait_version("2");
    // What was saved elsewhere counts when it is back.
    fs::rename(project.dir(), &away).unwrap();
    let version = away.join("src/version.rs");
    fs::write(version, "pub const VERSION: &str = \"3\";\n").unwrap();
    load.wait_more(20);
    fs::rename(&away, project.dir()).unwrap();
    hotrun.wait_version("3");
    project.set_version("4");
    hotrun.wait_version("4");
    load.stop().assert_all_answered();
}

/// A new clone takes the place of a project that was deleted.
#[test]
fn the_project_is_deleted_and_cloned_again() {
    let project = Project::new("slow-drain");
    let copy = project.root().join("copy");
    let copied = std::process::Command::new("cp")
        .args(["-r", "--"])
        .args([project.dir(), &copy])
        .status();
    assert!(copied.unwrap().success());
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let load = Load::start(hotrun.address(), 50, Kind::Get);
    remove(project.dir());
    load.wait_more(20);
    let version = copy.join("src/version.rs");
    fs::write(version, "pub const VERSION: &str = \"2\";\n").unwrap();
    fs::rename(&copy, project.dir()).unwrap();
    hotrun.wait_version("2");
    project.set_version("3");
    hotrun.wait_version("3");
    load.stop().assert_all_answered();
}

/// A branch on which the program has another name and a dependency more.
#[test]
fn branches_have_other_binaries_and_dependencies() {
    let manifest = |bin: &str, more: &str| {
        format!(
            "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
             [[bin]]\nname = \"{bin}\"\npath = \"src/main.rs\"\n{more}"
        )
    };
    let project = Project::of(&[
        (".gitignore", "target\n"),
        ("Cargo.toml", &manifest("one", "")),
        ("src/main.rs", "fn main() { println!(\"said 1\"); }\n"),
    ]);
    project.run("git init -q -b main; git add -A; git commit -qm 1; git checkout -qb other");
    let part = "[dependencies]\npart = { path = \"part\" }\n";
    project.add("Cargo.toml", &manifest("two", part));
    project.add(
        "part/Cargo.toml",
        "[package]\nname = \"part\"\nversion = \"0.1.0\"\nedition = \"2024\"\n",
    );
    project.add("part/src/lib.rs", "pub const SAID: &str = \"said 2\";\n");
    project.add(
        "src/main.rs",
        "fn main() { println!(\"{}\", part::SAID); }\n",
    );
    project.run("git add -A; git commit -qm 2; git checkout -q main");
    let hotrun = Hotrun::start(&project, &[]);
    hotrun.wait_line(|line| line == "said 1");
    project.run("git checkout -q other");
    hotrun.wait_line(|line| line == "said 2");
    project.edit("part/src/lib.rs", "said 2", "said 3");
    hotrun.wait_line(|line| line == "said 3");
    project.run("git checkout -q part; git checkout -q main");
    project.edit("src/main.rs", "said 1", "said 4");
    hotrun.wait_line(|line| line == "said 4");
}

/// Fills a file system up to the last byte, as the process with this pid sees it.
fn fill(pid: i32, dir: &Path) -> PathBuf {
    let path = dir.strip_prefix("/").unwrap().join("filler");
    let path = Path::new(&format!("/proc/{pid}/root")).join(path);
    let mut file = File::create(&path).unwrap();
    for size in [1 << 16, 1 << 8, 1] {
        let block = vec![b'x'; size];
        let full = loop {
            if let Err(error) = file.write_all(&block) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
    }
    path
}

/// Runs on a small file system that this script mounts at `target`, which is full for a while.
fn is_full_for_a_while(mount: &str) {
    let project = Project::new("slow-drain");
    fs::create_dir_all(project.path("target")).unwrap();
    let hotrun = Run::new(&project, &ANY)
        .in_its_own_namespaces(mount)
        .start();
    hotrun.wait_live(1);
    let load = Load::start(hotrun.address(), 50, Kind::Get);
    let filler = fill(hotrun.pid(), &project.path("target"));
    let place = hotrun.here();
    project.set_version("2");
    hotrun.wait_after(place, "build-failed", |_| true);
    load.wait_more(10);
    let said = hotrun.stderr();
    assert!(said.contains("No space left on device"), "{said}");
    fs::remove_file(filler).unwrap();
    project.set_version("3");
    hotrun.wait_version("3");
    load.stop().assert_all_answered();
}

#[test]
fn the_disk_is_full_while_it_builds() {
    is_full_for_a_while("mount -t tmpfs -o size=96m tmpfs target");
}

/// There is space for what cargo makes, and none where hotrun sets it aside.
#[test]
fn the_disk_is_full_while_it_pins() {
    is_full_for_a_while(
        "mount -t tmpfs -o size=16m tmpfs target
        mkdir target/debug
        mount -t tmpfs tmpfs target/debug",
    );
}

/// A log that can't be written costs one line, and goes on once it can.
#[test]
fn the_disk_is_full_while_it_logs() {
    let project = Project::new("slow-drain");
    project.configure("[log]\nfile = \"logs/app.log\"\n");
    fs::create_dir(project.path("logs")).unwrap();
    let hotrun = Run::new(&project, &ANY)
        .in_its_own_namespaces("mount -t tmpfs -o size=1m tmpfs logs")
        .start();
    hotrun.wait_live(1);
    let load = Load::start(hotrun.address(), 50, Kind::Get);
    let filler = fill(hotrun.pid(), &project.path("logs"));
    let log = filler.with_file_name("app.log");
    // The file system has given the log more space than it needs.
    let mut file = File::options().append(true).open(&log).unwrap();
    while file.write_all(b"\n").is_ok() {}
    for version in ["2", "3"] {
        project.set_version(version);
        hotrun.wait_version(version);
    }
    let failed = "cannot write to the log file `";
    wait_until("a word on the log", || {
        hotrun.stderr().contains(failed).then_some(())
    });
    fs::remove_file(filler).unwrap();
    project.set_version("4");
    hotrun.wait_live(4);
    wait_until("the mark of the fourth", || {
        let text = fs::read_to_string(&log).unwrap();
        text.contains("--- hotrun: g4 live").then_some(())
    });
    let said = hotrun.stderr();
    assert_eq!(said.matches(failed).count(), 1, "{said}");
    load.stop().assert_all_answered();
}

/// Spaces, quotes, a line end, bytes that are no text, and the longest name that there is: a source
/// of any such name is built, and in a directory of any such name.
#[test]
fn sources_have_odd_names() {
    let project = Project::new("slow-drain");
    let longest = format!("{}.txt", "n".repeat(251));
    let names = [
        "with a space.txt",
        "with 'single' and \"double\" quotes.txt",
        "with # $HOME and %41.txt",
        "caf\u{e9} \u{202e}txt",
        &longest,
    ];
    let dir = "parts of 'this' \"app\"";
    fs::create_dir(project.path("src").join(dir)).unwrap();
    for name in names {
        project.save_in_place(&format!("src/{dir}/{name}"), "1");
    }
    let included: Vec<String> = names
        .iter()
        .map(|name| format!("include_str!({:?})", format!("{dir}/{name}")))
        .collect();
    let version = format!(
        "pub const VERSION: &str = concat!({});\n",
        included.join(", ")
    );
    project.save("src/version.rs", &version);
    let hotrun = Hotrun::start(&project, &ANY);
    let mut expected = ["1"; 5];
    hotrun.wait_version(&expected.concat());
    for (number, name) in names.iter().enumerate() {
        expected[number] = "2";
        // The name itself is as long as a name may be: it is written in place.
        project.save_in_place(&format!("src/{dir}/{name}"), "2");
        hotrun.wait_version(&expected.concat());
    }
    // Neither does a name that nothing depends on end anything.
    for name in [&b"a\nline end"[..], b"no text \xff\xfe", b"\x1b[2Jescape"] {
        fs::write(project.path("src").join(OsStr::from_bytes(name)), "").unwrap();
    }
    expected[0] = "3";
    project.save_in_place(&format!("src/{dir}/{}", names[0]), "3");
    hotrun.wait_version(&expected.concat());
    let said = hotrun.stderr();
    assert!(!said.contains("\u{1b}[2J"), "{said:?}");
}
