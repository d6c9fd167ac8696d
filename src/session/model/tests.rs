//! Tests of what the words mean.

use super::*;

#[test]
fn a_handover_is_called_what_its_setting_is() {
    let all = [Handover::Auto, Handover::Overlap, Handover::StopFirst];
    let names = all.map(|handover| handover.to_string());
    assert_eq!(names, ["auto", "overlap", "stop-first"]);
}
