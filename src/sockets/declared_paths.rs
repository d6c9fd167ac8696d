//! Declared unix sockets: their files, and what else is at their paths.

use std::io::Read;
use std::net::UdpSocket;
use std::path::Path;

use super::held::HeldSet;
use super::spec::{self, Spec};
use super::steering::Steering;
use crate::exit::{ExitKind, Failure};
use crate::session::slots::Slot;
use crate::sys::sockets::{connect_unix, listen_unix, send_unix};
use crate::sys::testing::lacks;
use crate::sys::{ABLE, files};

fn specs(texts: &[&str], base: &Path) -> Vec<Spec> {
    let spec = |text: &&str| spec::parse(text, base).unwrap();
    texts.iter().map(spec).collect()
}

#[test]
fn datagrams_to_a_path_are_held_too() {
    if lacks(ABLE.unix_sockets, "unix sockets") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut set = HeldSet::default();
    let wanted = specs(&["unix-dgram:d"], dir.path());
    assert!(set.adapt(&wanted, Steering::best()).unwrap());
    let sockets = set.share(Slot::First);
    send_unix(&dir.path().join("d"), b"four").unwrap();
    let mut buffer = [0; 8];
    assert_eq!((&*sockets[0]).read(&mut buffer).unwrap(), 4);
}

#[test]
fn a_socket_file_goes_with_its_socket_and_replaces_a_stale_one() {
    if lacks(ABLE.unix_sockets, "unix sockets") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let wanted = specs(&["unix:s"], dir.path());
    let hold = || {
        let mut set = HeldSet::default();
        set.adapt(&wanted, Steering::best()).map(|_| set)
    };
    let mut set = hold().unwrap();
    connect_unix(&path).unwrap();
    let failure = Failure::from(hold().unwrap_err());
    assert_eq!(failure.kind, ExitKind::InUse);
    let own = format!("is in use by pid {} (", std::process::id());
    assert!(failure.message.contains(&own), "{}", failure.message);
    connect_unix(&path).unwrap();
    // The failure removed nothing of the first set.
    set.switch(Slot::Second).unwrap();
    set.switch(Slot::First).unwrap();
    connect_unix(&path).unwrap();
    drop(set);
    assert!(!path.exists());
    drop(listen_unix(&path).unwrap());
    assert!(path.exists());
    let set = hold().unwrap();
    connect_unix(&path).unwrap();
    drop(set);
}

#[track_caller]
fn no_path(text: &str, base: &Path, expected: &str) {
    let refused = HeldSet::default().adapt(&specs(&[text], base), Steering::best());
    let failure = Failure::from(refused.unwrap_err());
    assert_eq!(failure.kind, ExitKind::Usage);
    let message = failure.message.replace(&base.display().to_string(), "BASE");
    assert_eq!(message, expected);
    assert!(failure.hint.is_some());
}

#[test]
fn what_is_no_socket_stays() {
    if lacks(ABLE.unix_sockets, "unix sockets") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    std::fs::write(base.join("file"), "precious").unwrap();
    std::fs::create_dir(base.join("dir")).unwrap();
    files::symlink("nowhere", base.join("link")).unwrap();
    for text in ["unix:file", "unix-dgram:file"] {
        no_path(
            text,
            base,
            "`BASE/file` is a file and no socket, which stays as it is",
        );
    }
    no_path(
        "unix:dir",
        base,
        "`BASE/dir` is a directory, which stays as it is",
    );
    no_path(
        "unix:link",
        base,
        "`BASE/link` is a link, which stays as it is",
    );
    no_path("unix:no/s", base, "there is no directory `BASE/no`");
    no_path("unix:file/s", base, "`BASE/file` is no directory");
    assert_eq!(std::fs::read(base.join("file")).unwrap(), b"precious");
}

#[test]
fn socket_files_of_a_set_that_can_not_be_changed_are_as_they_were() {
    if lacks(ABLE.unix_sockets, "unix sockets") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = format!("udp:{}", other.local_addr().unwrap());
    let mut set = HeldSet::default();
    set.adapt(&specs(&["unix:s"], dir.path()), Steering::best())
        .unwrap();
    let broken = specs(&["unix:new", &taken], dir.path());
    set.adapt(&broken, Steering::best()).unwrap_err();
    connect_unix(&dir.path().join("s")).unwrap();
    assert!(!dir.path().join("new").exists());
}

#[test]
fn a_unix_socket_can_become_one_of_another_kind() {
    if lacks(ABLE.unix_sockets, "unix sockets") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let wanted = |text: &str| specs(&[text], dir.path());
    let mut set = HeldSet::default();
    set.adapt(&wanted("unix:s"), Steering::best()).unwrap();
    let of_app = set.share(Slot::First);
    assert!(
        set.adapt(&wanted("unix-dgram:s"), Steering::best())
            .unwrap()
    );
    send_unix(&dir.path().join("s"), b"one").unwrap();
    assert!(set.adapt(&wanted("unix:s"), Steering::best()).unwrap());
    connect_unix(&dir.path().join("s")).unwrap();
    // If something else can't be opened, the first stays where it is.
    let broken = specs(&["unix-dgram:s", "unix:no/t"], dir.path());
    set.adapt(&broken, Steering::best()).unwrap_err();
    connect_unix(&dir.path().join("s")).unwrap();
    drop((set, of_app));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
