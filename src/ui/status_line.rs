//! The line at the bottom of a terminal: what hotrun is doing now, as text that never wraps. What there is
//! no room for is left out, the least important first. Pure.

use std::net::SocketAddr;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::style::Style;
use crate::config::Screen;
use crate::report::text::Level;
use crate::session::model::{Generation, Occasion};
use crate::session::status::{Failed, LastBuild, State, Status};

/// What the line says besides the status.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// The held addresses.
    pub(super) addresses: &'a [String],
    /// Keys are read.
    pub(super) keys: bool,
}

/// Between two parts.
const GAP: usize = 2;

/// A part of the line.
struct Part {
    /// The lower, the more important.
    rank: u8,
    /// Without color.
    text: String,
    /// As it is written.
    painted: String,
}

impl Part {
    fn new(rank: u8, text: String, paint: impl FnOnce(&str) -> String) -> Self {
        Self {
            rank,
            painted: paint(&text),
            text,
        }
    }

    fn width(&self) -> usize {
        width(&self.text)
    }
}

/// The columns that a text takes at most: some terminals show some characters in two.
fn width(text: &str) -> usize {
    text.width_cjk()
}

/// The rank of the addresses, the only part that has a shorter form.
const ADDRESSES: u8 = 3;

/// The line for a terminal with so many columns, without a line end. Its first column is left to the cursor,
/// and its last one stays free, since a full line would wrap.
pub(super) fn line(
    status: &Status,
    facts: &Facts<'_>,
    columns: usize,
    screen: Screen,
    style: Style,
) -> String {
    let room = columns.saturating_sub(2);
    let mut parts: Vec<Part> = [
        Some(state(status, room, screen, style)),
        paused(status, style),
        running(status, style),
        live(status),
        addresses(facts.addresses, false, screen, style),
        built(status, style),
        counts(status, style),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|index| parts[*index].rank);
    let mut used = 0;
    let mut is_shown = vec![false; parts.len()];
    for index in order {
        let needed = parts[index].width() + if used == 0 { 0 } else { GAP };
        is_shown[index] = used + needed <= room;
        used += if is_shown[index] { needed } else { 0 };
    }
    let at = parts.iter().position(|part| part.rank == ADDRESSES);
    if let Some(at) = at.filter(|at| is_shown[*at])
        && let Some(all) = addresses(facts.addresses, true, screen, style)
        && used - parts[at].width() + all.width() <= room
    {
        used = used - parts[at].width() + all.width();
        parts[at] = all;
    }
    let shown = parts.iter().zip(is_shown).filter(|(_, is_shown)| *is_shown);
    let shown: Vec<&str> = shown.map(|(part, _)| part.painted.as_str()).collect();
    let mut line = format!(" {}", shown.join("  "));
    let help = "h help";
    if facts.keys && used + GAP + 1 + help.len() <= room {
        line.push_str(&" ".repeat(room - used - help.len()));
        line.push_str(&style.dim(help));
    }
    line
}

/// The command of the user that is all there is to say of a build or a start to come.
fn awaited(status: &Status) -> Option<Occasion> {
    let occasion = status.running?;
    let is_awaited = match occasion {
        Occasion::BeforeBuild => status.state == State::Building && status.building.is_none(),
        Occasion::BeforeStart => status.state == State::Starting && status.starting.is_none(),
        Occasion::AfterLive | Occasion::OnError | Occasion::Rule => false,
    };
    is_awaited.then_some(occasion)
}

/// What hotrun is doing, which is shown in any case, even if it is cut.
fn state(status: &Status, room: usize, screen: Screen, style: Style) -> Part {
    let one = |what: &str, generation: Option<Generation>| match generation {
        Some(generation) => format!("{what} {generation}"),
        None => what.to_owned(),
    };
    let (level, signs, text) = match status.state {
        _ if awaited(status).is_some() => (Level::Info, ('◐', '~'), running_words(status)),
        State::Preparing => (Level::Info, ('◐', '~'), "reading the project".into()),
        State::Asking => (Level::Info, ('◐', '~'), "asking".into()),
        State::Idle => (Level::Detail, ('○', '-'), "idle".into()),
        State::Building => {
            let building = status.building.as_ref();
            let mut text = one("building", building.map(|building| building.generation));
            if building.is_some_and(|building| building.waits_for.is_some()) {
                text += ": waits for another cargo";
            } else if let Some((done, total)) = building.and_then(|building| building.progress) {
                text = format!("{text} {done}/{total}");
            }
            (Level::Info, ('◐', '~'), text)
        }
        State::Starting => (Level::Info, ('◐', '~'), one("starting", status.starting)),
        State::Live => (Level::Good, ('●', '*'), one("live", status.live)),
        State::Failed => (Level::Bad, ('✗', '!'), problem(status)),
        State::Ending => (Level::Info, ('○', '-'), "stopping".into()),
    };
    let sign = if screen.unicode { signs.0 } else { signs.1 };
    let text = cut(&format!("{sign} {text}"), room, screen);
    Part::new(0, text, |text| style.paint(level, text))
}

fn problem(status: &Status) -> String {
    let Some(problem) = &status.problem else {
        return "failed".into();
    };
    let generation = problem.generation.map(|generation| generation.to_string());
    let generation = generation.unwrap_or_else(|| "the app".into());
    let text = match problem.kind {
        Failed::Build => format!("{generation} failed to build"),
        Failed::Hook | Failed::Debugged => problem.text.clone(),
        Failed::App => format!("{generation} failed: {}", problem.text),
    };
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// The text, or as much of it as there is room for.
fn cut(text: &str, room: usize, screen: Screen) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let end = if screen.unicode { "…" } else { "..." };
    let room = room.saturating_sub(width(end));
    let mut used = 0;
    let fits = |c: &char| {
        used += c.width_cjk().unwrap_or(0);
        used <= room
    };
    let kept: String = text.chars().take_while(fits).collect();
    format!("{kept}{}", if room == 0 { "" } else { end })
}

fn paused(status: &Status, style: Style) -> Option<Part> {
    let text = match status.collected {
        _ if !status.paused || status.state == State::Ending => return None,
        0 => "paused".into(),
        1 => "paused, 1 file changed".into(),
        many => format!("paused, {many} files changed"),
    };
    let paint = |text: &str| style.paint(Level::Warn, text);
    Some(Part::new(1, text, paint))
}

/// The command of the user that runs beside something else.
fn running(status: &Status, style: Style) -> Option<Part> {
    if status.running.is_none() || awaited(status).is_some() {
        return None;
    }
    let paint = |text: &str| style.paint(Level::Info, text);
    Some(Part::new(2, running_words(status), paint))
}

fn running_words(status: &Status) -> String {
    match status.running {
        Some(Occasion::Rule) => "running a rule's command".into(),
        Some(hook) => format!("running {hook}"),
        None => String::new(),
    }
}

/// The generation that serves meanwhile.
fn live(status: &Status) -> Option<Part> {
    let live = status.live.filter(|_| status.state != State::Live)?;
    Some(Part::new(2, format!("{live} live"), str::to_owned))
}

fn addresses(addresses: &[String], all: bool, screen: Screen, style: Style) -> Option<Part> {
    let (first, rest) = addresses.split_first()?;
    let link = |address: &String| match url(address) {
        Some(url) if screen.links && style.color => {
            format!("\u{1b}]8;;{url}\u{1b}\\{address}\u{1b}]8;;\u{1b}\\")
        }
        _ => address.clone(),
    };
    let (text, painted) = match rest.len() {
        _ if all => {
            let links: Vec<String> = addresses.iter().map(link).collect();
            (addresses.join(", "), links.join(", "))
        }
        0 => (first.clone(), link(first)),
        more => (
            format!("{first} +{more}"),
            format!("{} +{more}", link(first)),
        ),
    };
    if text.contains(char::is_control) {
        return None;
    }
    Some(Part::new(ADDRESSES, text, |_| painted))
}

/// Where a browser would look, if the address is one for it.
fn url(address: &str) -> Option<String> {
    let address: SocketAddr = address.parse().ok()?;
    Some(if address.ip().is_unspecified() {
        format!("http://localhost:{}", address.port())
    } else {
        format!("http://{address}")
    })
}

/// The last build that was not cancelled.
fn last_build(status: &Status) -> Option<(LastBuild, u64)> {
    let last = status.last_build?;
    Some((last, last.took_ms?))
}

fn built(status: &Status, style: Style) -> Option<Part> {
    let (last, took_ms) = last_build(status)?;
    let kind = status.problem.as_ref().map(|problem| problem.kind);
    let is_failed = last.errors > 0 || kind == Some(Failed::Build);
    let verb = if is_failed { "failed" } else { "built" };
    // To tenths, and never none at all.
    let tenths = (took_ms.saturating_add(50) / 100).max(1);
    let text = format!("{verb} in {}.{} s", tenths / 10, tenths % 10);
    Some(Part::new(5, text, |text| style.dim(text)))
}

fn counts(status: &Status, style: Style) -> Option<Part> {
    let (last, _) = last_build(status)?;
    let count = |count: u32, name: &str, level| {
        let ending = if count == 1 { "" } else { "s" };
        (count > 0).then(|| (format!("{count} {name}{ending}"), level))
    };
    let counts = [
        count(last.errors, "error", Level::Bad),
        count(last.warnings, "warning", Level::Warn),
    ];
    let counts: Vec<(String, Level)> = counts.into_iter().flatten().collect();
    let texts: Vec<&str> = counts.iter().map(|(text, _)| text.as_str()).collect();
    let painted = counts.iter().map(|(text, level)| style.paint(*level, text));
    let painted: Vec<String> = painted.collect();
    (!counts.is_empty()).then(|| Part::new(4, texts.join(", "), |_| painted.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::status::{Building, Problem};

    const PLAIN: Screen = Screen {
        status_line: true,
        unicode: true,
        links: true,
    };

    fn idle() -> Status {
        Status {
            state: State::Idle,
            live: None,
            building: None,
            starting: None,
            draining: Vec::new(),
            running: None,
            paused: false,
            collected: 0,
            problem: None,
            last_build: None,
        }
    }

    fn calm() -> Status {
        Status {
            state: State::Live,
            live: Some(Generation(3)),
            last_build: Some(LastBuild {
                generation: Generation(3),
                took_ms: Some(412),
                errors: 0,
                warnings: 2,
            }),
            ..idle()
        }
    }

    fn building() -> Status {
        Status {
            state: State::Building,
            building: Some(Building {
                generation: Generation(4),
                progress: Some((12, 20)),
                waits_for: None,
            }),
            ..calm()
        }
    }

    fn failed(kind: Failed, text: &str, errors: u32) -> Status {
        Status {
            state: State::Failed,
            problem: Some(Problem {
                kind,
                generation: Some(Generation(4)),
                text: text.into(),
            }),
            last_build: Some(LastBuild {
                generation: Generation(4),
                took_ms: Some(312),
                errors,
                warnings: 1,
            }),
            ..calm()
        }
    }

    fn runs(state: State, occasion: Occasion) -> Status {
        Status {
            state,
            running: Some(occasion),
            ..calm()
        }
    }

    fn paused() -> Status {
        Status {
            paused: true,
            collected: 3,
            ..calm()
        }
    }

    fn addresses(addresses: &[&str]) -> Vec<String> {
        addresses.iter().map(ToString::to_string).collect()
    }

    fn shown(status: &Status, held: &[&str], columns: usize, screen: Screen) -> String {
        let facts = Facts {
            addresses: &addresses(held),
            keys: true,
        };
        let style = Style { color: false };
        let line = line(status, &facts, columns, screen, style);
        assert!(width(&line) < columns.max(2), "{line:?}");
        assert!(!line.contains('\u{1b}'), "{line:?}");
        line
    }

    #[track_caller]
    fn is(status: &Status, columns: usize, expected: &str) {
        let line = shown(status, &["127.0.0.1:3000"], columns, PLAIN);
        assert_eq!(line, expected);
    }

    #[test]
    fn a_wide_terminal_has_room_for_everything() {
        for (status, expected) in [
            (
                calm(),
                " ● live g3  127.0.0.1:3000  built in 0.4 s  2 warnings",
            ),
            (
                building(),
                " ◐ building g4 12/20  g3 live  127.0.0.1:3000  built in 0.4 s  2 warnings",
            ),
            (
                failed(Failed::Build, "30 errors", 30),
                " ✗ g4 failed to build  g3 live  127.0.0.1:3000  failed in 0.3 s  30 errors, 1 warning",
            ),
            (
                failed(Failed::App, "exit status 1", 0),
                " ✗ g4 failed: exit status 1  g3 live  127.0.0.1:3000  built in 0.3 s  1 warning",
            ),
            (
                failed(Failed::Hook, "before_build: exit\nstatus 1", 0),
                " ✗ before_build: exit status 1  g3 live  127.0.0.1:3000  built in 0.3 s  1 warning",
            ),
            (
                paused(),
                " ● live g3  paused, 3 files changed  127.0.0.1:3000  built in 0.4 s  2 warnings",
            ),
            (idle(), " ○ idle  127.0.0.1:3000"),
            (
                runs(State::Building, Occasion::BeforeBuild),
                " ◐ running before_build  g3 live  127.0.0.1:3000  built in 0.4 s  2 warnings",
            ),
            (
                runs(State::Starting, Occasion::BeforeStart),
                " ◐ running before_start  g3 live  127.0.0.1:3000  built in 0.4 s  2 warnings",
            ),
            (
                runs(State::Live, Occasion::Rule),
                " ● live g3  running a rule's command  127.0.0.1:3000  built in 0.4 s  2 warnings",
            ),
            (
                Status {
                    running: Some(Occasion::AfterLive),
                    ..building()
                },
                " ◐ building g4 12/20  running after_live  g3 live  127.0.0.1:3000  built in 0.4 s  2 warnings",
            ),
            (
                Status {
                    state: State::Starting,
                    starting: Some(Generation(4)),
                    ..calm()
                },
                " ◐ starting g4  g3 live  127.0.0.1:3000  built in 0.4 s  2 warnings",
            ),
        ] {
            let line = shown(&status, &["127.0.0.1:3000"], 120, PLAIN);
            let (parts, help) = line.split_at(line.len() - "h help".len());
            assert_eq!((parts.trim_end(), help), (expected, "h help"));
        }
    }

    #[test]
    fn at_80_columns_the_least_important_gives_way() {
        let calm_80 =
            " ● live g3  127.0.0.1:3000  built in 0.4 s  2 warnings                  h help";
        is(&calm(), 80, calm_80);
        let building_80 =
            " ◐ building g4 12/20  g3 live  127.0.0.1:3000  built in 0.4 s  2 warnings";
        is(&building(), 80, building_80);
        let failed_80 =
            " ✗ g4 failed to build  g3 live  127.0.0.1:3000  30 errors, 1 warning     h help";
        is(&failed(Failed::Build, "", 30), 80, failed_80);
    }

    #[test]
    fn at_40_columns_the_state_is_left() {
        is(&calm(), 40, " ● live g3  127.0.0.1:3000  2 warnings");
        is(&building(), 40, " ◐ building g4 12/20  g3 live   h help");
        is(&paused(), 40, " ● live g3  paused, 3 files changed");
        let long = failed(
            Failed::App,
            "it cannot be started: no such file or directory",
            0,
        );
        is(&long, 40, " ✗ g4 failed: it cannot be started: n…");
        // Whatever the size.
        for columns in 0..12 {
            shown(&long, &["127.0.0.1:3000"], columns, PLAIN);
        }
    }

    #[test]
    fn many_addresses_are_counted_and_long_ones_left_out() {
        let held = [
            "127.0.0.1:3000",
            "[::1]:3000",
            "udp:127.0.0.1:5353",
            "0.0.0.0:80",
        ];
        let all = " ● live g3  127.0.0.1:3000, [::1]:3000, udp:127.0.0.1:5353, 0.0.0.0:80  built in 0.4 s  2 warnings";
        let line = shown(&calm(), &held, 120, PLAIN);
        assert!(line.starts_with(all), "{line}");
        let counted = " ● live g3  127.0.0.1:3000 +3  built in 0.4 s  2 warnings";
        let line = shown(&calm(), &held, 80, PLAIN);
        assert!(line.starts_with(counted), "{line}");
        let path = format!("unix:/run/{}/app.sock", "long".repeat(20));
        let line = shown(&calm(), &[&path], 80, PLAIN);
        assert!(
            line.starts_with(" ● live g3  built in 0.4 s  2 warnings  "),
            "{line}"
        );
    }

    #[test]
    fn without_unicode_there_is_none() {
        let ascii = Screen {
            unicode: false,
            ..PLAIN
        };
        let long = failed(
            Failed::App,
            "it cannot be started: no such file or directory",
            0,
        );
        for status in [calm(), building(), paused(), idle(), long] {
            for columns in [40, 80, 120] {
                let line = shown(&status, &["127.0.0.1:3000"], columns, ascii);
                assert!(line.is_ascii(), "{line}");
            }
        }
        let line = shown(&calm(), &[], 40, ascii);
        assert_eq!(line, " * live g3  built in 0.4 s  2 warnings");
    }

    #[test]
    fn color_and_links_take_no_room() {
        let facts = Facts {
            addresses: &addresses(&["0.0.0.0:3000"]),
            keys: false,
        };
        let style = Style { color: true };
        let colored = line(&calm(), &facts, 80, PLAIN, style);
        assert_eq!(
            colored,
            " \u{1b}[1;32m● live g3\u{1b}[0m  \u{1b}]8;;http://localhost:3000\u{1b}\\0.0.0.0:3000\
             \u{1b}]8;;\u{1b}\\  \u{1b}[2mbuilt in 0.4 s\u{1b}[0m  \u{1b}[1;33m2 warnings\u{1b}[0m"
        );
    }
}
