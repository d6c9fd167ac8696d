//! The hints of a verification: what was found out before the clients began, and what to do about what
//! they saw. Pure.

use crate::report::phrases::{evidence_words, ms};
use crate::session::model::Exit;
use crate::verify::facts::{Advice, Facts, Note};

/// Addresses of which less is known than one may think.
pub(super) fn unasked(facts: &Facts) -> Vec<String> {
    let path = &facts.path;
    let noted = facts.loaded.iter().flat_map(|loaded| {
        let notes = loaded.notes.iter();
        notes.map(move |note| format!("{} {}", loaded.address, note_in_words(*note, path)))
    });
    let unloaded = facts.unloaded.iter();
    let unloaded =
        unloaded.map(|address| format!("{address} had no clients: nothing connects to it"));
    noted.chain(unloaded).collect()
}

fn note_in_words(note: Note, path: &str) -> String {
    const CONNECTED: &str = "clients only connected there and waited to be accepted";
    match note {
        Note::Silent => {
            format!("gave no answer to `GET {path}`: {CONNECTED}; --path may name what it answers")
        }
        Note::NoHttp => format!(
            "answered `GET {path}` with something else than HTTP: {CONNECTED}; --path may name what \
             it answers"
        ),
        Note::SpeaksTls => format!("speaks TLS: {CONNECTED}; --tls has them ask over it"),
        Note::NoTls => "speaks no TLS: clients asked without".into(),
        Note::NoWebSocket(status) => {
            let instead = match status {
                Some(status) => format!(", but answered {status}"),
                None => String::new(),
            };
            format!("opened no WebSocket{instead}; --path may name where it opens one")
        }
    }
}

/// What was seen, and what to do about it.
pub(super) fn advice(advice: &Advice) -> String {
    match advice {
        Advice::DiesOfSignal { number, versions } => format!(
            "{} ended {} at once: what a version has not answered by then is cut; answer faster, give \
             it more time with `stop_timeout` of [app], or have the app catch the signal and finish \
             (most frameworks call it a graceful shutdown)",
            Exit::Signal(*number),
            versions_in_words(*versions)
        ),
        Advice::Cut {
            versions,
            connections,
            after,
        } => {
            let connections = match connections {
                1 => "1 open connection was cut".into(),
                many => format!("{many} open connections were cut"),
            };
            format!(
                "{} did not end within {}, and {connections}; answer faster, or give it more \
                 time with `stop_timeout` of [app]",
                versions_in_words(*versions),
                ms(*after)
            )
        }
        Advice::StoppedFirst { because, wait } => {
            let why = match because {
                Some(because) => {
                    let because = evidence_words(because);
                    format!("this program cannot run beside itself ({because})")
                }
                None => "the old version is stopped before the new one starts".into(),
            };
            format!(
                "{why}: at each reload clients wait for both, up to {} here",
                ms(*wait)
            )
        }
        Advice::SlowStart(start) => format!(
            "a version takes up to {} from its start to being ready, and so does each save; do what \
             can wait after it listens",
            ms(*start)
        ),
        Advice::Unclaimed(addresses) => format!(
            "the app does not accept on `{}`: take every socket that is handed over, or hold only \
             what it serves",
            addresses.join("`, `")
        ),
        Advice::Shared(addresses) => format!(
            "old and new version accept from one socket at {}, so an old answer can follow a new one; \
             leave `twins` of [handover] on",
            addresses.join(", ")
        ),
        Advice::OnlyErrors => {
            "every answer was an error; --path may name something that works".into()
        }
        Advice::CutWebSockets(count) => {
            let were = match count {
                1 => "1 WebSocket was".into(),
                many => format!("{many} WebSockets were"),
            };
            format!(
                "{were} cut without a word (1006 in a browser): have the page connect again, or the \
                 app send a close frame when it is asked to end"
            )
        }
        Advice::Warning(text) => text.clone(),
    }
}

fn versions_in_words(versions: usize) -> String {
    match versions {
        1 => "1 version".into(),
        many => format!("{many} versions"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::session::action::Evidence;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn advice_names_what_was_seen_and_the_next_step() {
        let alone = |because| Advice::StoppedFirst {
            because,
            wait: 1700 * MS,
        };
        let locked = Evidence::Line("database is locked".into());
        let cut = Advice::Cut {
            versions: 1,
            connections: 2,
            after: 5011 * MS,
        };
        let address = || vec!["127.0.0.1:3000".to_owned()];
        for (given, expected) in [
            (
                cut,
                "1 version did not end within 5011 ms, and 2 open connections were cut; answer \
                 faster, or give it more time with `stop_timeout` of [app]",
            ),
            (
                alone(None),
                "the old version is stopped before the new one starts: at each reload clients wait \
                 for both, up to 1700 ms here",
            ),
            (
                alone(Some(locked)),
                "this program cannot run beside itself (it said `database is locked`): at each \
                 reload clients wait for both, up to 1700 ms here",
            ),
            (
                Advice::SlowStart(1520 * MS),
                "a version takes up to 1520 ms from its start to being ready, and so does each save; \
                 do what can wait after it listens",
            ),
            (
                Advice::Unclaimed(address()),
                "the app does not accept on `127.0.0.1:3000`: take every socket that is handed over, \
                 or hold only what it serves",
            ),
            (
                Advice::Shared(address()),
                "old and new version accept from one socket at 127.0.0.1:3000, so an old answer can \
                 follow a new one; leave `twins` of [handover] on",
            ),
            (Advice::Warning("as it is".into()), "as it is"),
        ] {
            assert_eq!(advice(&given), expected);
        }
    }
}
