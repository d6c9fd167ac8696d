//! Tests of what the words mean.

use super::*;

fn changed(path: &str, used: Option<u64>, now: u64) -> Changed {
    Changed {
        path: path.into(),
        kind: ChangeKind::Source,
        used: used.map(Content::Digest),
        now: Content::Digest(now),
    }
}

#[test]
fn what_was_used_can_be_forgotten() {
    let mut changes = Changes(vec![changed("a", Some(1), 2), changed("b", Some(1), 3)]);
    changes.forget_all_used();
    let unknown = vec![changed("a", None, 2), changed("b", None, 3)];
    assert_eq!(changes, Changes(unknown));
}

#[test]
fn what_is_taken_back_has_other_bytes_by_now() {
    let changes = Changes(vec![changed("a", Some(1), 2), changed("b", Some(1), 3)]);
    let back = changes.taken_back(|path| {
        let is_a = path == Path::new("a");
        Content::Digest(if is_a { 1 } else { 3 })
    });
    assert_eq!(back, Changes(vec![changed("a", None, 1)]));
}

#[test]
fn a_handover_is_called_what_its_setting_is() {
    let all = [Handover::Auto, Handover::Overlap, Handover::StopFirst];
    let names = all.map(|handover| handover.to_string());
    assert_eq!(names, ["auto", "overlap", "stop-first"]);
}
