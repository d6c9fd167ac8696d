//! Parts of the lines for people. Pure.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::text::Level;
use super::values::{AnyPath, Cure, HeldAddress, Millis, Next, Phases};
use crate::session::action::Evidence;
use crate::session::model::{Exit, Generation, Proof};
use crate::sys::signals;

/// Whole milliseconds, or seconds from ten on.
pub fn ms(time: Duration) -> String {
    if time >= Duration::from_secs(10) {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} ms", time.as_millis())
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(code) => write!(f, "exit status {code}"),
            Self::Signal(number) => match signals::name(*number) {
                Some(name) => write!(f, "signal {number} ({name})"),
                None => write!(f, "signal {number}"),
            },
            Self::Unknown => f.write_str("unknown exit status"),
        }
    }
}

pub(super) fn held(sockets: &[HeldAddress]) -> String {
    let shown: Vec<String> = sockets
        .iter()
        .map(|held| match &held.name {
            Some(name) => format!("{} ({name})", held.address),
            None => held.address.clone(),
        })
        .collect();
    match shown.as_slice() {
        [] => "no address is held any more".into(),
        _ => format!("holding {}", shown.join(", ")),
    }
}

pub(super) fn next_words(next: Next) -> String {
    match next {
        Next::Keeps(generation) => format!("; {generation} keeps serving"),
        Next::RestartMs(Millis(Duration::ZERO)) => "; starting it again".into(),
        Next::RestartMs(Millis(wait)) => format!("; starting it again in {}", ms(wait)),
        Next::Rollback(generation) => {
            format!("; starting the last good program again, that of {generation}")
        }
        Next::Alone => "; trying again with live stopped first".into(),
        Next::Continue | Next::End => String::new(),
        Next::Wait => "; waiting for a change".into(),
    }
}

pub(super) fn no_dependents(path: &AnyPath, cure: &Cure) -> String {
    let path = path.0.display();
    match cure {
        Cure::Restart => {
            format!("no program depends on `{path}`: nothing was started for it")
        }
        Cure::CompiledInBy(name) => format!(
            "`{path}` is compiled in by {name}, but cargo does not know of it: nothing was built for it"
        ),
    }
}

/// Browsers were told to reload. That a rule was carried out is news, that they follow live is not.
pub(super) fn reloaded(browsers: usize, paths: &[AnyPath]) -> (Level, String) {
    let who = match browsers {
        1 => "1 browser".into(),
        more => format!("{more} browsers"),
    };
    match paths {
        [] => (Level::Detail, format!("reloaded in {who}")),
        [one] => (
            Level::Info,
            format!("`{}` reloaded in {who}", one.0.display()),
        ),
        [one, rest @ ..] => {
            let (one, more) = (one.0.display(), rest.len());
            let text = format!("`{one}` and {more} more reloaded in {who}");
            (Level::Info, text)
        }
    }
}

/// Changes count again, after so many files have changed.
pub(super) fn resumed(collected: usize) -> String {
    match collected {
        0 => "goes on; nothing has changed".into(),
        1 => "goes on with 1 changed file".into(),
        more => format!("goes on with {more} changed files"),
    }
}

/// An old generation is asked to finish, and what ends with it.
pub(super) fn draining(
    generation: Generation,
    unanswered: usize,
    streams: usize,
    dies: bool,
) -> (Level, String) {
    let mut level = Level::Detail;
    let mut ends = Vec::new();
    if streams > 0 {
        level = Level::Info;
        let s = if streams == 1 { "" } else { "s" };
        ends.push(format!("{streams} open stream{s}"));
    }
    // What an app has begun that handles the signal, it may still finish.
    if dies && unanswered > 0 {
        level = Level::Warn;
        let s = if unanswered == 1 { "" } else { "s" };
        ends.push(format!("{unanswered} unanswered connection{s}"));
    }
    let mut text = format!("{generation} was asked to finish");
    if !ends.is_empty() {
        text += " with ";
        text += &ends.join(" and ");
    }
    (level, text)
}

pub(super) fn signalled(
    generation: Option<Generation>,
    number: i32,
    cause: &str,
) -> (Level, String) {
    let signal = Exit::Signal(number);
    match generation {
        Some(live) => (
            Level::Info,
            format!("{signal} passed on to {live} ({cause})"),
        ),
        None => (
            Level::Warn,
            format!("{signal} not sent: no app is live ({cause})"),
        ),
    }
}

pub(super) fn live(
    generation: Generation,
    total: Millis,
    phases: &Phases,
    proof: Proof,
    cause: &str,
) -> String {
    // A build and a start are always told; the others only where they took time.
    let parts = [
        ("detect", phases.detect_ms, false),
        ("build", phases.build_ms, true),
        ("hooks", phases.hooks_ms, false),
        ("start", Some(phases.start_ms), true),
        ("swap", Some(phases.swap_ms), false),
    ];
    let parts = parts.iter().filter_map(|(name, time, always)| {
        let ms = (*time)?.0.as_millis();
        (ms > 0 || *always).then(|| format!("{name} {ms}"))
    });
    let parts: Vec<String> = parts.collect();
    let mut line = format!(
        "{generation} live in {}: {} ({cause})",
        ms(total.0),
        parts.join(", ")
    );
    if proof == Proof::Alive {
        line += ", ready by the clock";
    }
    line
}

/// What shows that a program can't run beside itself.
pub fn evidence_words(evidence: &Evidence) -> String {
    match evidence {
        Evidence::Line(line) => format!("it said `{line}`"),
        Evidence::Lock(path) => format!("live has `{path}` locked"),
        Evidence::Address(address) => format!("live has {address}"),
    }
}

/// How a process ended that was not asked to.
pub(super) fn ended(live: bool, exit: Exit, ran: Duration, in_use: Option<&str>) -> String {
    let well = if exit.success() { " with success" } else { "" };
    let mut text = format!("ended{well} after {}", ms(ran));
    if !live {
        text += ", before it was ready";
    }
    if !exit.success() {
        let _ = write!(text, ": {exit}");
    }
    if let Some(address) = in_use {
        let _ = write!(text, ", {address} is in use");
    }
    text
}

pub(super) fn cut(
    generation: Generation,
    connections: usize,
    after: Duration,
    for_next: bool,
) -> String {
    let what = match connections {
        0 => String::new(),
        1 => ", which cut 1 open connection".into(),
        many => format!(", which cut {many} open connections"),
    };
    let why = if for_next {
        "the next version takes its place"
    } else {
        "`stop_timeout` of [app] was over"
    };
    format!("{generation} was killed after {}{what}: {why}", ms(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_with_an_old_generation_is_named() {
        let says = |dies, busy, streams| {
            let (level, text) = draining(Generation(3), busy, streams, dies);
            (level, text.replace("g3 was asked to finish", ""))
        };
        assert_eq!(says(true, 0, 0), (Level::Detail, String::new()));
        assert_eq!(says(false, 2, 0), (Level::Detail, String::new()));
        let one = " with 1 open stream".to_owned();
        assert_eq!(says(false, 1, 1), (Level::Info, one));
        let both = " with 2 open streams and 1 unanswered connection".to_owned();
        assert_eq!(says(true, 1, 2), (Level::Warn, both));
    }
}
