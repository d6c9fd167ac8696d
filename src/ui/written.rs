//! What `hotrun init` wrote, in words: the files, what was found, and the next step. Pure.

use crate::init::Report;
use crate::report::text::{Level, Text};

/// The lines of a report.
pub fn report(report: &Report) -> Vec<Text> {
    let line = |level| move |text: String| Text { level, text };
    let files = report.files.iter().map(|file| format!("wrote {file}"));
    let notes = report.notes.iter().map(|note| format!("  {note}"));
    let next = format!("next: {}", report.next);
    let files = files.map(line(Level::Good));
    let rest = notes.chain([next]).map(line(Level::Info));
    files.chain(rest).collect()
}
