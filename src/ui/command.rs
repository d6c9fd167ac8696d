//! What is said outside of a session: why hotrun can't go on, and what a command reports.

use std::io::{self, Write};

use super::screen::make_room;
use super::style::Style;
use crate::defect::Defect;
use crate::exit::{ExitKind, Failure};
use crate::report::text::{Level, Text};

/// Prints why hotrun can't go on.
pub fn failure(failure: &Failure, style: Style) {
    let mut stderr = io::stderr().lock();
    writeln!(
        stderr,
        "{} {}",
        style.paint(Level::Bad, "error:"),
        failure.message
    )
    .ok();
    if let Some(hint) = &failure.hint {
        writeln!(stderr, "{} {hint}", style.paint(Level::Good, "hint:")).ok();
    }
}

/// Prints a line of hotrun's own.
pub fn say(line: &Text, style: Style) {
    let name = style.paint(line.level, "hotrun:");
    writeln!(io::stderr().lock(), "{name} {}", line.text).ok();
}

/// Prints that a part of hotrun has panicked: where, why, and what to do.
pub fn defect(defect: &Defect) {
    let Defect {
        part,
        place,
        message,
    } = defect;
    let issues = concat!(env!("CARGO_PKG_REPOSITORY"), "/issues");
    let at = if issues.starts_with("http") {
        format!(" at {issues}")
    } else {
        String::new()
    };
    let told = format!(
        "hotrun: a defect of hotrun, in `{part}` at {place}: {message}\nhint: please report it{at}\n"
    );
    // At once: other threads print too.
    let whole = [&make_room()[..], told.as_bytes()].concat();
    io::stderr().lock().write_all(&whole).ok();
}

/// Prints the lines of another hotrun.
pub fn pass_on(lines: &[String]) {
    let mut stderr = io::stderr().lock();
    for line in lines {
        writeln!(stderr, "{line}").ok();
    }
}

/// Prints what was asked for, for another program to read.
pub fn pass(bytes: &[u8]) -> ExitKind {
    // A reader that has enough is no error.
    io::stdout().lock().write_all(bytes).ok();
    ExitKind::Ok
}

/// Prints what a command was asked for. Only its first line stands out, and what is not as it should
/// be.
pub fn report(lines: &[Text], style: Style) {
    let mut stdout = io::stdout().lock();
    for line in lines {
        let text = match line.level {
            Level::Detail | Level::Info => line.text.clone(),
            level => style.paint(level, &line.text),
        };
        writeln!(stdout, "{text}").ok();
    }
}
