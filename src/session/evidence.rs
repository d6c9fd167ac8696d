//! What the last words of a program say about why it ended. Pure text.

use super::action::{Evidence, Hint};

/// What a program says on its last lines when another one is in its way.
const IN_THE_WAY: [&str; 7] = [
    "address already in use",
    "os error 98",
    "database is locked",
    "resource temporarily unavailable",
    "would block",
    "wouldblock",
    "already running",
];

fn says(line: &str, phrases: &[&str]) -> bool {
    let line = line.to_lowercase();
    phrases.iter().any(|phrase| line.contains(phrase))
}

/// Whether a candidate that ended early names live as the reason.
pub(super) fn evidence(last_lines: &[String], lock: Option<String>) -> Option<Evidence> {
    if let Some(path) = lock {
        return Some(Evidence::Lock(path));
    }
    let line = last_lines
        .iter()
        .rev()
        .find(|line| says(line, &IN_THE_WAY))?;
    Some(Evidence::Line(line.trim().to_owned()))
}

/// What its last lines tell the user to do.
pub(super) fn hint(last_lines: &[String], serving: bool, absent: &[String]) -> Option<Hint> {
    let any = |phrases: &[&str]| last_lines.iter().any(|line| says(line, phrases));
    if serving && any(&["address already in use", "os error 98"]) {
        Some(Hint::BindsHeld)
    } else if any(&["/dev/tty", "os error 6)"]) {
        Some(Hint::WantsTerminal)
    } else if !absent.is_empty() && any(&["os error 2)", "kind: notfound"]) {
        Some(Hint::NotBuilt(absent.to_vec()))
    } else {
        None
    }
}
