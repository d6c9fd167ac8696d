//! A verification in words: each step as a line, and in the end what clients saw. Pure.

use super::advice::{advice, unasked};
use crate::report::phrases::ms;
use crate::report::text::{Level, Text};
use crate::verify::facts::{
    CLIENTS, EVERY, Facts, How, Loaded, Loss, Lost, PATIENCE, Phase, Progress, Slowest, WebSockets,
};

/// More ways in which requests were lost are summed up.
const MOST_LOSSES: usize = 20;

/// The line for a step.
pub fn step(progress: &Progress) -> Text {
    let (level, text) = match progress {
        Progress::Building(generation) => (Level::Info, format!("building {generation}")),
        Progress::Blocked(on) => (Level::Warn, format!("waiting for another cargo: {on}")),
        Progress::Loading {
            generation,
            took,
            loaded,
        } => {
            let each = if loaded.len() > 1 { "each of " } else { "" };
            let what = if are_all(loaded, How::Open) {
                "each with a WebSocket that stays open".into()
            } else {
                let most = u128::from(CLIENTS) * 1000 / EVERY.as_millis();
                format!("up to {most} connections a second")
            };
            let text = format!(
                "{generation} live in {}; {CLIENTS} clients begin at {each}{}, {what}",
                ms(*took),
                names(loaded),
            );
            (Level::Info, text)
        }
        Progress::Reload {
            number,
            of,
            generation,
            took,
            build,
            requests,
            lost,
        } => {
            let build = build.map(|build| format!(" (build {})", build.as_millis()));
            let lost = match lost {
                0 => String::new(),
                lost => format!(", {lost} lost"),
            };
            let level = if lost.is_empty() {
                Level::Good
            } else {
                Level::Bad
            };
            let text = format!(
                "reload {number} of {of}: {generation} live in {}{}, {requests} requests{lost}",
                ms(*took),
                build.unwrap_or_default()
            );
            (level, text)
        }
    };
    Text { level, text }
}

/// The report: its first line says it all.
pub fn report(facts: &Facts) -> Vec<Text> {
    let line = |level, text| Text { level, text };
    let mut lines = vec![headline(facts)];
    for (name, count, more) in counts(facts) {
        let level = if count == 0 { Level::Info } else { Level::Bad };
        lines.push(line(level, format!("{name:>20}  {count}{more}")));
    }
    if facts.statuses.count() > 0 {
        let text = format!("{:>20}  {}", "statuses", facts.statuses);
        lines.push(line(Level::Info, text));
    }
    let websockets = facts.websockets.iter().flat_map(websocket_counts);
    lines.extend(websockets.map(|(name, text)| line(Level::Info, format!("{name:>20}  {text}"))));
    if let Some(slowest) = &facts.slowest {
        lines.push(line(
            Level::Info,
            format!("{:>20}  {}", "slowest", slow(slowest)),
        ));
    }
    let (first, rest) = facts.lost.split_at(facts.lost.len().min(MOST_LOSSES));
    let first = first.iter().map(loss_in_words);
    lines.extend(first.map(|text| line(Level::Bad, text)));
    if !rest.is_empty() {
        let count: usize = rest.iter().map(|lost| lost.count).sum();
        lines.push(line(Level::Bad, format!("{count} more at other times")));
    }
    let hints = unasked(facts)
        .into_iter()
        .chain(facts.advice.iter().map(advice));
    lines.extend(hints.map(|text| line(Level::Warn, format!("hint: {text}"))));
    lines
}

fn headline(facts: &Facts) -> Text {
    let gone = facts.websockets.map_or(0, WebSockets::gone);
    let what = match (facts.losses(), facts.stale) {
        (0, 0) if gone == 1 => "1 WebSocket not reopened".into(),
        (0, 0) if gone > 0 => format!("{gone} WebSockets not reopened"),
        (0, 0) => "nothing lost".into(),
        (lost, 0) => format!("{lost} lost"),
        (0, stale) => format!("nothing lost, {stale} stale"),
        (lost, stale) => format!("{lost} lost, {stale} stale"),
    };
    let reloads = match facts.reloads {
        1 => "1 reload".into(),
        many => format!("{many} reloads"),
    };
    let connect = are_all(&facts.loaded, How::Connect);
    let what_of = match (are_all(&facts.loaded, How::Open), connect) {
        (true, _) => "WebSockets",
        (_, true) => "connections",
        _ => "requests",
    };
    let over = if facts.loaded.iter().all(|loaded| loaded.tls) {
        " over TLS"
    } else {
        ""
    };
    let path = if connect {
        String::new()
    } else {
        format!(" for `{}`", facts.path)
    };
    let requests = format!("{what_of}{over}{path}");
    Text {
        level: if facts.is_good() {
            Level::Good
        } else {
            Level::Bad
        },
        text: format!(
            "{what}: {reloads}, {} {requests} at {}",
            facts.requests,
            names(&facts.loaded)
        ),
    }
}

fn are_all(loaded: &[Loaded], how: How) -> bool {
    loaded.iter().all(|loaded| loaded.how == how)
}

fn names(loaded: &[Loaded]) -> String {
    let names: Vec<&str> = loaded
        .iter()
        .map(|loaded| loaded.address.as_str())
        .collect();
    names.join(", ")
}

/// Each count with its name, and what else there is to say of it.
fn counts(facts: &Facts) -> Vec<(String, usize, String)> {
    let of = |is: fn(&Loss) -> bool| {
        let these = facts.lost.iter().filter(|lost| is(&lost.loss));
        these.map(|lost| lost.count).sum::<usize>()
    };
    let plain = |name: &str, count: usize| (name.to_owned(), count, String::new());
    let mut counts = vec![
        plain("refused", of(|loss| *loss == Loss::Refused)),
        plain("reset", of(|loss| *loss == Loss::Reset)),
        plain("closed unanswered", of(|loss| *loss == Loss::Closed)),
        plain(
            &format!("no answer in {} s", PATIENCE.as_secs()),
            of(|loss| *loss == Loss::TimedOut),
        ),
    ];
    if facts.websockets.is_some() {
        counts.push(plain(
            "not opened",
            of(|loss| matches!(loss, Loss::Declined(_))),
        ));
    }
    let others = of(|loss| matches!(loss, Loss::Tls | Loss::NoTls | Loss::Other(_)));
    if others > 0 {
        counts.push(plain("failed otherwise", others));
    }
    let unseen = match facts.unattributed {
        0 => String::new(),
        count => format!("; for {count} it was not seen which version gave them"),
    };
    let beside = format!(
        " of {} answers while two versions ran{unseen}",
        facts.beside
    );
    counts.push(("stale".into(), facts.stale, beside));
    let at_work = match facts.errors_at_work {
        0 => String::new(),
        count => format!(", {count} of them during a reload"),
    };
    counts.push(("answered with 5xx".into(), facts.errors, at_work));
    counts
}

fn websocket_counts(all: &WebSockets) -> Vec<(&'static str, String)> {
    let newer = match (all.reopened, all.newer) {
        (0, _) => String::new(),
        (reopened, newer) if reopened == newer => ", all of them on a newer version".into(),
        (_, newer) => format!(", {newer} of them on a newer version"),
    };
    vec![
        ("opened", all.opened.to_string()),
        ("ended by close frame", all.closed.to_string()),
        ("cut without a word", all.cut.to_string()),
        ("reopened", format!("{}{newer}", all.reopened)),
    ]
}

fn slow(slowest: &Slowest) -> String {
    let when = match (slowest.phase, slowest.calm) {
        (Phase::Calm, _) => "in calm times".into(),
        (phase, Some(calm)) => format!("{}; {} in calm times", phase_in_words(phase), ms(calm)),
        (phase, None) => phase_in_words(phase),
    };
    format!("{} {when}", ms(slowest.took))
}

fn phase_in_words(phase: Phase) -> String {
    match phase {
        Phase::Calm => "in calm times".into(),
        Phase::Building(generation) => format!("while {generation} was built"),
        Phase::Swap(generation) => format!("at the swap to {generation}"),
    }
}

fn loss_in_words(lost: &Lost) -> String {
    let Lost {
        phase,
        version,
        loss,
        count,
    } = lost;
    let how = match loss {
        Loss::Refused => "refused".into(),
        Loss::Reset => "reset".into(),
        Loss::Closed => "closed before the answer was whole".into(),
        Loss::TimedOut => format!("not answered in {} s", PATIENCE.as_secs()),
        Loss::Tls => "answered with TLS".into(),
        Loss::NoTls => "answered without TLS".into(),
        Loss::Declined(status) => format!("not opened (answered {status})"),
        Loss::Other(kind) => format!("failed ({kind})"),
    };
    let whose = match version {
        Some(generation) => format!(" (connections of {generation})"),
        None => String::new(),
    };
    format!("{count} {how} {}{whose}", phase_in_words(*phase))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::session::model::Generation;
    use crate::verify::facts::{Advice, Note, Statuses};

    const MS: Duration = Duration::from_millis(1);

    fn facts() -> Facts {
        Facts {
            reloads: 10,
            path: "/".into(),
            loaded: vec![Loaded {
                address: "127.0.0.1:3000".into(),
                twins: true,
                how: How::Ask,
                tls: false,
                notes: Vec::new(),
            }],
            requests: 2143,
            statuses: Statuses::of([200; 2100].into_iter().chain([404; 43])),
            beside: 312,
            slowest: Some(Slowest {
                took: 41 * MS,
                phase: Phase::Swap(Generation(4)),
                calm: Some(12 * MS),
            }),
            ..Facts::default()
        }
    }

    #[track_caller]
    fn says(facts: &Facts, expected: &[&str]) {
        let lines: Vec<String> = report(facts).into_iter().map(|line| line.text).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn steps_are_lines() {
        let reload = |lost| {
            let reload = Progress::Reload {
                number: 3,
                of: 10,
                generation: Generation(4),
                took: 412 * MS,
                build: Some(391 * MS),
                requests: 95,
                lost,
            };
            step(&reload).text
        };
        let line = "reload 3 of 10: g4 live in 412 ms (build 391), 95 requests";
        assert_eq!(reload(0), line);
        assert_eq!(reload(2), format!("{line}, 2 lost"));
        let loading = Progress::Loading {
            generation: Generation(1),
            took: 1145 * MS,
            loaded: facts().loaded,
        };
        assert_eq!(
            step(&loading).text,
            "g1 live in 1145 ms; 4 clients begin at 127.0.0.1:3000, up to 200 connections a second"
        );
    }

    #[test]
    fn a_good_run_says_what_was_looked_for() {
        says(
            &facts(),
            &[
                "nothing lost: 10 reloads, 2143 requests for `/` at 127.0.0.1:3000",
                "             refused  0",
                "               reset  0",
                "   closed unanswered  0",
                "   no answer in 10 s  0",
                "               stale  0 of 312 answers while two versions ran",
                "   answered with 5xx  0",
                "            statuses  200 (2100), 404 (43)",
                "             slowest  41 ms at the swap to g4; 12 ms in calm times",
            ],
        );
    }

    #[test]
    fn a_bad_run_says_when_whose_and_what_to_do() {
        let lost = |phase, version, loss, count| Lost {
            phase,
            version,
            loss,
            count,
        };
        let swap = Phase::Swap(Generation(2));
        let facts = Facts {
            lost: vec![
                lost(swap, Some(Generation(1)), Loss::Reset, 3),
                lost(Phase::Building(Generation(3)), None, Loss::TimedOut, 1),
            ],
            stale: 2,
            unattributed: 4,
            errors: 5,
            errors_at_work: 1,
            unloaded: vec!["udp:127.0.0.1:53".into()],
            advice: vec![Advice::DiesOfSignal {
                number: 15,
                versions: 10,
            }],
            ..facts()
        };
        assert!(!facts.is_good());
        says(
            &facts,
            &[
                "4 lost, 2 stale: 10 reloads, 2143 requests for `/` at 127.0.0.1:3000",
                "             refused  0",
                "               reset  3",
                "   closed unanswered  0",
                "   no answer in 10 s  1",
                "               stale  2 of 312 answers while two versions ran; for 4 it was not seen which version gave them",
                "   answered with 5xx  5, 1 of them during a reload",
                "            statuses  200 (2100), 404 (43)",
                "             slowest  41 ms at the swap to g4; 12 ms in calm times",
                "3 reset at the swap to g2 (connections of g1)",
                "1 not answered in 10 s while g3 was built",
                "hint: udp:127.0.0.1:53 had no clients: nothing connects to it",
                "hint: signal 15 (SIGTERM) ended 10 versions at once: what a version has not answered by then is cut; answer faster, give it more time with `stop_timeout` of [app], or have the app catch the signal and finish (most frameworks call it a graceful shutdown)",
            ],
        );
    }

    #[test]
    fn a_run_of_losses_has_an_end() {
        let lost = |generation| Lost {
            phase: Phase::Swap(Generation(generation)),
            version: None,
            loss: Loss::Reset,
            count: 2,
        };
        let facts = Facts {
            lost: (0..50).map(lost).collect(),
            ..facts()
        };
        let lines = report(&facts);
        assert_eq!(lines.len(), 9 + MOST_LOSSES + 1);
        assert_eq!(lines[29].text, "60 more at other times");
    }

    #[test]
    fn what_speaks_no_http_is_named() {
        let mut facts = facts();
        facts.loaded[0].how = How::Connect;
        facts.statuses = Statuses::default();
        facts.loaded[0].notes = vec![Note::Silent];
        let lines = report(&facts);
        assert_eq!(
            lines[0].text,
            "nothing lost: 10 reloads, 2143 connections at 127.0.0.1:3000"
        );
        assert_eq!(
            lines[8].text,
            "hint: 127.0.0.1:3000 gave no answer to `GET /`: clients only connected there and waited to be accepted; --path may name what it answers"
        );
    }

    #[test]
    fn what_became_of_websockets_is_counted() {
        let mut facts = facts();
        facts.path = "/live".into();
        facts.loaded[0].how = How::Open;
        facts.loaded[0].tls = true;
        facts.requests = 44;
        let websockets = WebSockets {
            opened: 44,
            closed: 1,
            cut: 39,
            reopened: 40,
            newer: 40,
        };
        facts.websockets = Some(websockets);
        facts.advice = vec![Advice::CutWebSockets(39)];
        assert!(facts.is_good());
        let lines: Vec<String> = report(&facts).into_iter().map(|line| line.text).collect();
        let first =
            "nothing lost: 10 reloads, 44 WebSockets over TLS for `/live` at 127.0.0.1:3000";
        assert_eq!(lines[0], first);
        let expected = [
            "          not opened  0",
            "              opened  44",
            "ended by close frame  1",
            "  cut without a word  39",
            "            reopened  40, all of them on a newer version",
        ];
        for line in expected {
            assert!(lines.iter().any(|told| told == line), "{lines:#?}");
        }
        let hint = "hint: 39 WebSockets were cut without a word (1006 in a browser): ";
        assert!(lines.last().unwrap().starts_with(hint));
        facts.websockets = Some(WebSockets {
            reopened: 39,
            ..websockets
        });
        assert!(!facts.is_good());
        let first = &report(&facts)[0].text;
        assert!(
            first.starts_with("1 WebSocket not reopened: 10 reloads"),
            "{first}"
        );
    }
}
