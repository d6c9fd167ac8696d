//! The watching thread as a whole.

use std::fs;

use tokio::sync::mpsc::unbounded_channel;

use super::*;
use crate::sys::testing::{is_wine, lacks};

/// The user is told that the settings are used, and saves a file in a directory that has just become one
/// that counts, while the thread is busy with something else.
#[tokio::test]
async fn what_is_saved_before_settings_are_used_is_told() {
    if lacks(!is_wine(), "way to remove a watched directory, under Wine") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (base, data) = (dir.path().to_owned(), dir.path().join("data"));
    fs::create_dir_all(base.join("src")).unwrap();
    fs::create_dir(&data).unwrap();
    fs::write(data.join("x"), "one").unwrap();
    let lock = base.join(".git/index.lock");
    fs::create_dir(base.join(".git")).unwrap();
    fs::write(&lock, "").unwrap();
    let (events, mut told) = unbounded_channel();
    let watch = Watch::start(&config::Watch::default(), events).unwrap();
    let scope = Scope {
        base: base.clone(),
        packages: vec![base.clone()],
        ..Scope::default()
    };
    watch.rewatch(scope.clone()).await.unwrap();
    // It waits until git is done.
    let something = notify::Event::new(EventKind::Any);
    watch.messages.send(Message::Found(Ok(something))).unwrap();
    watch.configure(config::Watch {
        paths: vec![data.clone()],
        ..config::Watch::default()
    });
    fs::write(data.join("x"), "two").unwrap();
    fs::remove_file(&lock).unwrap();
    // It answers this once it has used the settings.
    watch.rewatch(scope).await.unwrap();
    let mut changed = Vec::new();
    while let Ok(event) = told.try_recv() {
        if let Event::Changed(changes) = event {
            changed.extend(changes.into_iter().map(|change| change.path));
        }
    }
    assert!(changed.contains(&"data/x".into()), "{changed:?}");
}
