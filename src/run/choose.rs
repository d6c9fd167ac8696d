//! The choice of a target by a person at a terminal, who is asked once for a project.

use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::sync::Arc;

use crate::build;
use crate::build::choice::{Candidate, Choice};
use crate::build::project::TargetKind;
use crate::config::chosen::Chosen;
use crate::config::resolve::Sources;
use crate::config::{Format, Settings};
use crate::control::desk::Desk;
use crate::exit::Failure;
use crate::report::Note;
use crate::sys;
use crate::sys::files;
use crate::ui::Reporter;
use crate::ui::keys::Asking;

/// The longest line that is read.
const LONGEST: usize = 256;

/// Has the user choose, or recalls what the user has chosen before. The settings with that choice, and
/// what to tell of it.
pub(super) async fn choose(
    choice: &Choice,
    sources: &mut Sources,
    settings: &Settings,
    reporter: &Reporter,
    desk: &Desk,
) -> Result<(Settings, Note), Failure> {
    let is_person = io::stdin().is_terminal() && io::stderr().is_terminal();
    if !is_person || settings.output.format != Format::Terminal || settings.once {
        return Err(choice.failure());
    }
    let recalled = build::recalled(choice);
    let before = recalled.is_some();
    let chosen = if let Some(chosen) = recalled {
        chosen
    } else {
        let _paused = reporter.pause();
        let _asking = Asking::begin();
        desk.asks(true);
        let chosen = ask(choice).await.ok_or_else(|| choice.failure())?;
        desk.asks(false);
        remember(choice, &chosen);
        chosen
    };
    let Candidate {
        package,
        kind,
        name,
        ..
    } = chosen;
    sources.choose(Chosen {
        package: package.clone(),
        is_example: kind == TargetKind::Example,
        name: name.clone(),
    });
    let note = Note::Chosen {
        package,
        target: name,
        before,
    };
    Ok((sources.settings()?, note))
}

/// Writes the memory. If that fails, the user is asked again next time.
fn remember(choice: &Choice, chosen: &Candidate) {
    let path = choice.memory();
    let memory = std::fs::read_to_string(path).unwrap_or_default();
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).ok();
    }
    std::fs::write(path, choice.remember(&memory, chosen)).ok();
}

/// Asks until one is named; `None`: the input has ended. Safe to drop while it waits.
async fn ask(choice: &Choice) -> Option<Candidate> {
    let stdin = Arc::new(files::copy(&io::stdin()).ok()?);
    let stdin = sys::readable(stdin).ok()?;
    let lines = choice.list();
    let mut question = lines.join("\n");
    loop {
        write!(io::stderr(), "{question}\nnumber or name: ").ok();
        let mut ready = stdin.readable().await.ok()?;
        // A terminal hands over a line at once.
        let mut line = [0; LONGEST];
        let count = match stdin.get_ref().as_ref().read(&mut line) {
            Ok(0) => return None,
            Ok(count) => count,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                ready.clear_ready();
                continue;
            }
            Err(_) => return None,
        };
        ready.clear_ready();
        let typed = String::from_utf8_lossy(&line[..count]);
        if let Some(chosen) = choice.pick(&typed) {
            return Some(chosen.clone());
        }
        question = format!("there is no `{}` in the list", typed.trim());
    }
}
