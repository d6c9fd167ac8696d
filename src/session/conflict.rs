//! Reads from the last lines of a program why it ended. Pure text.

use super::action::{Evidence, Hint};
use super::event::{Conflict, Holder};

/// Phrases in the last error of a program that another process is in the way of.
const IN_THE_WAY: [&str; 7] = [
    "address already in use",
    "os error 98",
    "database is locked",
    "resource temporarily unavailable",
    // `File::try_lock`, by `Display` and by `Debug`.
    "would block",
    "wouldblock",
    "already running",
];

/// The longest error message, in lines; what follows is something else.
const LONGEST: usize = 12;

fn says(line: &str, phrases: &[&str]) -> bool {
    let line = line.to_lowercase();
    phrases.iter().any(|phrase| line.contains(phrase))
}

/// Phrases of a program that has found out that another instance runs.
const RUNS_ALREADY: [&str; 4] = ["already", "in use", "another instance", "is running"];

/// Evidence that live was why a candidate ended early. What the kernel knows counts before what the
/// program writes.
pub(super) fn evidence(last_lines: &[String], conflict: &Conflict) -> Option<Evidence> {
    if let Some(path) = &conflict.lock {
        return Some(Evidence::Lock(path.clone()));
    }
    if let Some(taken) = &conflict.taken {
        let is_live = taken.by == Holder::Live;
        return is_live.then(|| Evidence::Address(taken.address.clone()));
    }
    let error = last_error(last_lines);
    let line = error.iter().find(|line| says(line, &IN_THE_WAY))?;
    Some(Evidence::Line(line.trim().to_owned()))
}

/// The last error says that the program already runs.
pub(super) fn runs_already(last_lines: &[String]) -> bool {
    let error = last_error(last_lines);
    error.iter().any(|line| says(line, &RUNS_ALREADY))
}

/// What the user can do, going by the last lines.
pub(super) fn hint(last_lines: &[String], serving: bool, absent: &[String]) -> Option<Hint> {
    let any = |lines: &[String], phrases: &[&str]| lines.iter().any(|line| says(line, phrases));
    let in_use = ["address already in use", "os error 98"];
    if serving && any(&last_error(last_lines), &in_use) {
        Some(Hint::BindsHeld)
    } else if any(last_lines, &["/dev/tty", "os error 6)", "os { code: 6,"]) {
        Some(Hint::WantsTerminal)
    } else if !absent.is_empty() && any(last_lines, &["os error 2)", "kind: notfound"]) {
        Some(Hint::NotBuilt(absent.to_vec()))
    } else {
        None
    }
}

/// The last error or panic, with the lines that belong to it; without one, the very last line, unless
/// that is a line of a log. Lines of a log above an error are not evidence.
fn last_error(last_lines: &[String]) -> Vec<String> {
    let lines: Vec<String> = last_lines.iter().map(|line| plain(line)).collect();
    let begins = |line: &String| is_panic(line) || is_error(line);
    let Some(at) = lines.iter().rposition(begins) else {
        let mut lines = lines.into_iter().rev();
        let last = lines.find(|line| !line.trim().is_empty());
        return last.filter(|line| !is_log(line)).into_iter().collect();
    };
    let is_over = |line: &str| {
        if is_panic(&lines[at]) {
            let ends = ["note: ", "stack backtrace:"];
            is_log(line) || ends.iter().any(|end| line.starts_with(end))
        } else {
            // Causes follow, indented.
            let belongs = line.is_empty() || line.starts_with([' ', '\t']);
            !belongs && line != "Caused by:"
        }
    };
    let rest = lines[at + 1..].iter().take_while(|line| !is_over(line));
    let all = lines[at..=at].iter().chain(rest);
    all.take(LONGEST).cloned().collect()
}

fn is_panic(line: &str) -> bool {
    line.starts_with("thread ") && line.contains(" panicked at ")
}

fn is_error(line: &str) -> bool {
    let begins = |word: &str| {
        let start = line.trim_start().get(..word.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    begins("error") || begins("fatal") || has_word(line, &["ERROR", "FATAL"])
}

fn is_log(line: &str) -> bool {
    has_word(line, &["TRACE", "DEBUG", "INFO", "WARN"])
}

fn has_word(line: &str, words: &[&str]) -> bool {
    let mut found = line.split(|c: char| !c.is_ascii_alphabetic());
    found.any(|word| words.contains(&word))
}

/// The line without colors (`ESC [ … letter`).
fn plain(line: &str) -> String {
    let mut pieces = line.split('\u{1b}');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(|c: char| c.is_ascii_alphabetic());
        plain.push_str(end.map_or("", |end| &piece[end + 1..]));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::super::event::Taken;
    use super::*;

    #[track_caller]
    fn case(said: &str, expected: Option<&str>) {
        let lines: Vec<String> = said.lines().map(str::to_owned).collect();
        let expected = expected.map(|line| Evidence::Line(line.into()));
        assert_eq!(evidence(&lines, &Conflict::default()), expected, "{said}");
    }

    #[test]
    fn an_error_that_names_live_is_one() {
        for (said, line) in [
            ("Error: database is locked", "Error: database is locked"),
            (
                "error: server already running, see a.pid\n",
                "error: server already running, see a.pid",
            ),
            ("starting\nserver already running", "server already running"),
            ("Error: Kind(WouldBlock)", "Error: Kind(WouldBlock)"),
            (
                "thread 'main' (7) panicked at src/main.rs:3:10:\n\
                 called `Result::unwrap()` on an `Err` value: Os { code: 98, message: \"Address already in use\" }\n\
                 note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
                "called `Result::unwrap()` on an `Err` value: Os { code: 98, message: \"Address already in use\" }",
            ),
            (
                "Error: cannot listen\n\nCaused by:\n    0: bind\n    1: Address already in use (os error 98)",
                "1: Address already in use (os error 98)",
            ),
            (
                "\u{1b}[2m2026\u{1b}[0m \u{1b}[31mERROR\u{1b}[0m a: Resource temporarily unavailable\n\
                 \u{1b}[32mINFO\u{1b}[0m bye",
                "2026 ERROR a: Resource temporarily unavailable",
            ),
        ] {
            case(said, Some(line));
        }
    }

    #[test]
    fn a_line_of_log_is_none() {
        for said in [
            "TRACE mio: worker already running\nthread 'main' panicked at a.rs:1:1:\nindex out of bounds",
            "TRACE mio: read would block\nError: no such table",
            "thread 'main' panicked at a.rs:1:1:\nno such table\nTRACE mio: already running",
            "Error: no such table\nDEBUG pool: already running",
            "DEBUG pool: worker already running",
            "a worker is already running\nError: no such table",
            "",
        ] {
            case(said, None);
        }
    }

    /// Only a line that begins as a panic does is one, and only a word is an error.
    #[test]
    fn what_begins_an_error() {
        for said in [
            "thread pool: another one is already running\nbye",
            "a job panicked at its start: already running\nbye",
        ] {
            case(said, None);
        }
        case(
            "error: database is locked\nbye",
            Some("error: database is locked"),
        );
        case(
            "FATAL: database is locked\n\nbye",
            Some("FATAL: database is locked"),
        );
        case(
            "2026 ERROR database is locked\nbye",
            Some("2026 ERROR database is locked"),
        );
    }

    #[test]
    fn another_instance_is_recognized() {
        let says = |said: &str| runs_already(&[said.to_owned()]);
        assert!(says("Error: another instance is running"));
        assert!(!says("Error: no such table"));
        assert!(!runs_already(&[]));
    }

    #[test]
    fn hints_go_by_the_last_lines() {
        let absent = ["admin".to_owned()];
        let hint = |said: &str, serving| hint(&[said.to_owned()], serving, &absent);
        let in_use = "Error: Address already in use (os error 98)";
        assert_eq!(hint(in_use, true), Some(Hint::BindsHeld));
        assert_eq!(hint(in_use, false), None);
        let terminal = "Error: No such device or address (os error 6)";
        assert_eq!(hint(terminal, true), Some(Hint::WantsTerminal));
        let missing = "Error: No such file or directory (os error 2)";
        let not_built = Some(Hint::NotBuilt(absent.to_vec()));
        assert_eq!(hint(missing, true), not_built);
        assert_eq!(super::hint(&[missing.to_owned()], true, &[]), None);
        assert_eq!(hint("Error: no such table", true), None);
    }

    #[test]
    fn what_the_system_knows_counts_before_what_is_said() {
        let lines = ["error: already running".to_owned()];
        let lock = Conflict {
            lock: Some("a.db".into()),
            ..Conflict::default()
        };
        assert_eq!(evidence(&lines, &lock), Some(Evidence::Lock("a.db".into())));
        let taken = |by| Conflict {
            taken: Some(Taken {
                address: "127.0.0.1:80".into(),
                by,
            }),
            ..Conflict::default()
        };
        let live = Evidence::Address("127.0.0.1:80".into());
        assert_eq!(evidence(&lines, &taken(Holder::Live)), Some(live));
        let other = taken(Holder::Other("pid 7".into()));
        assert_eq!(evidence(&lines, &other), None);
    }
}
