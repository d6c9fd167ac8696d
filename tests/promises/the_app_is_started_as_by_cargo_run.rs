//! The app gets what `cargo run` would give it, and hotrun's own additions; nothing is missing and
//! nothing leaks into it, however often it is started.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;

use crate::common::hotrun::Place;
use crate::common::processes::{size_of, zombies_of};
use crate::common::project::REFUSES_SOCKETS;
use crate::common::{ANY, Hotrun, Project, Run, wait_until};

/// The block that the `surroundings` fixture prints.
fn blocks(text: &str) -> Vec<BTreeSet<String>> {
    let blocks = text.split("begin surroundings\n").skip(1);
    blocks
        .map(|block| {
            let (block, _) = block.split_once("end surroundings\n").unwrap();
            block.lines().map(comparable).collect()
        })
        .collect()
}

/// The line, without the two signals that the C library reserves (32 and 33): children of a program with
/// threads have them ignored.
fn comparable(line: &str) -> String {
    const INTERNAL: u64 = 0b11 << 31;
    match line.strip_prefix("signal ignored ") {
        Some(mask) => {
            let mask = u64::from_str_radix(mask, 16).unwrap();
            format!("signal ignored {:016x}", mask & !INTERNAL)
        }
        None => line.to_owned(),
    }
}

fn starts<'a>(lines: &'a BTreeSet<String>, start: &str) -> Vec<&'a str> {
    let lines = lines.iter().map(String::as_str);
    lines.filter(|line| line.starts_with(start)).collect()
}

/// Descriptors by number and kind: the inode of a pipe or a socket differs each time.
fn descriptors(lines: &BTreeSet<String>) -> Vec<String> {
    let kind = |line: &&str| line.split(":[").next().unwrap().to_owned();
    starts(lines, "fd ").iter().map(kind).collect()
}

const ARGS: [&str; 4] = ["first", "--flag", "with space", ""];

#[test]
fn only_what_is_hotruns_own_differs() {
    let project = Project::new("surroundings");
    let mark = "surroundings";
    let mut cargo = project.command("cargo");
    cargo.args(["run", "--quiet", "--"]).args(ARGS);
    // Hotrun's environment reaches the app, except for variables about sockets of other programs.
    cargo.env("PASSED_ON", mark);
    let Output { stdout, status, .. } = cargo.output().unwrap();
    assert!(status.success(), "{status}");
    let by_cargo = blocks(&String::from_utf8(stdout).unwrap()).remove(0);

    let hotrun = Run::new(&project, &[&ANY[..], &["--"], &ARGS].concat())
        .env("PASSED_ON", mark)
        .env("LISTEN_FDS", "7")
        .env("LISTEN_PID", "1")
        .env("LISTEN_FDNAMES", "others")
        .env("NOTIFY_SOCKET", "/nowhere")
        .start();
    hotrun.wait_live(1);
    let by_hotrun = blocks(&hotrun.stdout()).remove(0);

    let added: Vec<&str> = by_hotrun
        .difference(&by_cargo)
        .map(String::as_str)
        .collect();
    let missing: Vec<&str> = by_cargo
        .difference(&by_hotrun)
        .map(String::as_str)
        .collect();
    // The beginnings of the lines that may differ, which are checked below.
    let allowed = ["exe ", "fd ", "sid-is-own ", "tty "];
    // The lines that are added, sorted as by the fixture (the mark is this test's).
    let own = [
        "env HOTRUN_GENERATION=1",
        "env HOTRUN_PROMISE=",
        "env HOTRUN_SESSION=",
        "env LISTEN_FDNAMES=unknown",
        "env LISTEN_FDS=1",
        "env LISTEN_FDS_FIRST_FD=3",
        "env LISTEN_PID=",
        "env NOTIFY_SOCKET=",
    ];
    let is_of = |starts: &[&str], line: &str| starts.iter().any(|start| line.starts_with(start));
    let added: Vec<&str> = added
        .into_iter()
        .filter(|line| !is_of(&allowed, line))
        .collect();
    let missing: Vec<&str> = missing
        .into_iter()
        .filter(|line| !is_of(&allowed, line))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
    assert_eq!(added.len(), own.len(), "{added:#?}");
    for (line, start) in added.iter().zip(own) {
        assert!(line.starts_with(start), "{line} is not {start}");
    }
    let app = hotrun.app(1);
    assert!(by_hotrun.contains(&format!("env LISTEN_PID={}", app.pid)));
    let notify = starts(&by_hotrun, "env NOTIFY_SOCKET=").remove(0);
    assert!(
        notify.contains(project.runtime_dir().to_str().unwrap()),
        "{notify}"
    );

    // The executable is the pinned one.
    let exe = starts(&by_hotrun, "exe ").remove(0);
    assert!(exe.contains("/target/hotrun."), "{exe}");
    // The app has no terminal (it is in its keeper's session), and no descriptor but its own.
    assert_eq!(app.session, app.parent);
    assert_ne!(app.parent, hotrun.pid());
    assert_eq!(starts(&by_hotrun, "tty "), ["tty false"]);
    assert_eq!(descriptors(&by_hotrun), DESCRIPTORS);
}

/// What the app has open when it starts.
const DESCRIPTORS: [&str; 4] = ["fd 0 /dev/null", "fd 1 pipe", "fd 2 pipe", "fd 3 socket"];

/// Editors and shells leave descriptors open in their children. An app that inherits them would keep a
/// file, a terminal or a pipe open all day.
#[test]
fn what_leaked_into_hotrun_does_not_reach_the_app() {
    let project = Project::new("surroundings");
    let hotrun = Run::new(&project, &ANY).after("exec 9</dev/null").start();
    hotrun.wait_live(1);
    let leaked = format!("/proc/{}/fd/9", hotrun.pid());
    assert!(Path::new(&leaked).exists(), "nothing leaked");
    assert_eq!(descriptors(&blocks(&hotrun.stdout())[0]), DESCRIPTORS);
}

/// Each build script, hook and compiler may leave a daemon behind (a compile cache), which keeps what it
/// inherited. That must not include the held sockets, nor variables about them.
#[test]
fn cargo_gets_nothing_of_the_sockets() {
    let project = Project::new("slow-drain");
    project.save("build.rs", REFUSES_SOCKETS);
    let hotrun = Run::new(&project, &ANY)
        .env("LISTEN_FDS", "7")
        .env("LISTEN_FDNAMES", "others")
        .env("LISTEN_PID", "1")
        .env("NOTIFY_SOCKET", "/nowhere")
        .start();
    let (_, event) = hotrun.wait_any(Place(0), &["live", "build-failed"], |_| true);
    assert_eq!(event["event"], "live", "cargo got something");
}

/// A descriptor, a thread or a zombie that leaks with each reload adds up during a day.
#[test]
fn reloads_leave_nothing_open() {
    let project = Project::new("surroundings");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let mut after_three = None;
    for number in 2..=11 {
        project.set_version(&number.to_string());
        let live = hotrun.wait_live(number);
        assert_eq!(live["generation"], number);
        hotrun.wait_for("gone", |event| event["generation"] == number - 1);
        if number == 4 {
            hotrun.wait_calm();
            after_three = Some(size(&hotrun));
        }
    }
    let (descriptors_then, threads_then) = after_three.unwrap();
    wait_until(
        "as many descriptors and threads as after three reloads",
        || {
            let (descriptors, threads) = size_of(hotrun.pid()).unwrap();
            (descriptors <= descriptors_then && threads <= threads_then).then_some(())
        },
    );
    wait_until("everybody who has ended to be reaped", || {
        (zombies_of(hotrun.pid()) == 0).then_some(())
    });
    let blocks = blocks(&hotrun.stdout());
    assert_eq!(blocks.len(), 11);
    for block in &blocks {
        assert_eq!(descriptors(block), descriptors(&blocks[0]));
    }
    hotrun.wait_calm();
}

/// The number of descriptors and threads, once it does not change any more.
fn size(hotrun: &Hotrun) -> (usize, i64) {
    let mut last = size_of(hotrun.pid()).unwrap();
    let mut same = 0;
    wait_until("a number of descriptors that stays", || {
        let now = size_of(hotrun.pid()).unwrap();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        (same > 25).then_some(())
    });
    last
}
