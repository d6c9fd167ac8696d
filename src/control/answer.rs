//! An answer as lines for people, and as an exit code. Pure.

use super::{ASKS, Answer};
use crate::exit::ExitKind;
use crate::report::text::{Level, Text};
use crate::session::command::Command;
use crate::session::model::Occasion;
use crate::session::status::{Failed, State};

/// How `hotrun ctl` ends after this answer.
pub fn exit(command: Command, answer: &Answer) -> ExitKind {
    if command != Command::Wait {
        return ExitKind::Ok;
    }
    let status = &answer.status;
    match (status.state, status.problem.as_ref().map(|one| one.kind)) {
        // What became of these is not known yet.
        _ if status.collected > 0 => ExitKind::Failed,
        (State::Live | State::Idle, None) => ExitKind::Ok,
        (State::Failed, Some(Failed::Build)) => ExitKind::BuildFailed,
        _ => ExitKind::Failed,
    }
}

/// What is printed: what is wrong comes last, so that it is in view.
pub fn lines(command: Command, answer: &Answer) -> Vec<Text> {
    let status = &answer.status;
    let mut lines = Vec::new();
    let plain = |text: String| Text {
        level: Level::Info,
        text,
    };
    let wants_all = matches!(command, Command::Status | Command::Wait);
    if wants_all && status.collected == 0 {
        let rendered = answer
            .errors
            .iter()
            .filter_map(|error| error["rendered"].as_str());
        lines.extend(rendered.map(|text| plain(text.trim_end().to_owned() + "\n")));
        lines.extend(answer.output.iter().cloned().map(plain));
    }
    lines.push(Text {
        level: level(answer),
        text: summary(answer),
    });
    if status.paused {
        let collected = match status.collected {
            0 => "nothing has changed since".into(),
            1 => "1 changed file waits for `hotrun ctl resume`".into(),
            many => format!("{many} changed files wait for `hotrun ctl resume`"),
        };
        lines.push(plain(format!("paused; {collected}")));
    }
    lines
}

fn level(answer: &Answer) -> Level {
    match answer.status.state {
        State::Failed => Level::Bad,
        State::Live => Level::Good,
        _ => Level::Info,
    }
}

/// What hotrun is doing, in one line.
pub fn summary(answer: &Answer) -> String {
    let status = &answer.status;
    let name = answer.session.target.as_deref().unwrap_or("the program");
    let addresses: Vec<&str> = answer
        .addresses
        .iter()
        .map(|held| held.address.as_str())
        .collect();
    let at = if addresses.is_empty() {
        String::new()
    } else {
        format!(" at {}", addresses.join(", "))
    };
    let meanwhile = match status.live {
        Some(live) => format!("; {live} serves{at}"),
        None => String::new(),
    };
    match status.state {
        State::Live => {
            let live = status.live.map(|live| format!(" ({live})"));
            format!("{name}{} is live{at}", live.unwrap_or_default())
        }
        State::Idle => format!("{name} does not run"),
        State::Preparing => "hotrun starts: the project is being read".into(),
        State::Asking => format!("hotrun starts: {ASKS}"),
        State::Building => match &status.building {
            Some(one) => {
                let progress = match (&one.waits_for, one.progress) {
                    (Some(lock), _) => format!(", which waits for another cargo ({lock})"),
                    (None, Some((done, total))) => format!(": {done}/{total}"),
                    (None, None) => String::new(),
                };
                format!("building {}{progress}{meanwhile}", one.generation)
            }
            None => match status.running.filter(|one| *one == Occasion::BeforeBuild) {
                Some(hook) => format!("running {hook}{meanwhile}"),
                None => format!("about to build{meanwhile}"),
            },
        },
        State::Starting => match status.starting {
            Some(starting) => format!("starting {starting}{meanwhile}"),
            None => match status.running.filter(|one| *one == Occasion::BeforeStart) {
                Some(hook) => format!("running {hook}{meanwhile}"),
                None => format!("about to start {name}{meanwhile}"),
            },
        },
        State::Failed => {
            let Some(problem) = &status.problem else {
                return format!("{name} has failed{meanwhile}");
            };
            let of = problem.generation.map(|of| format!("{of}: "));
            let what = match problem.kind {
                Failed::Build => "the build failed: ",
                Failed::Hook | Failed::App | Failed::Debugged => "",
            };
            format!(
                "{}{what}{}{meanwhile}",
                of.unwrap_or_default(),
                problem.text
            )
        }
        State::Ending => "hotrun ends".into(),
    }
}
