//! j. The fast profile against a bare cargo with the user's own profile, on the example and on a
//! workspace with twenty crates: a save of the program's own source, and one of a library that only the
//! program uses.

use std::fs;

use crate::Result;
use crate::hotrun::Hotrun;
use crate::lab::{Lab, Project, version_text};
use crate::server::Server;
use crate::stats::{Sample, ms};
use crate::table::Table;
use crate::trees::{LIBRARIES, enlarge};

use super::pairs::{Save, by_hand, by_hotrun};

/// Roughly the lines of each library of the large workspace.
const LINES: usize = 600;

pub(super) fn measure(lab: &Lab, table: &mut Table) -> Result<()> {
    let manifest = fs::read_to_string(lab.hot.root.join("Cargo.toml"))?;
    let profile = manifest
        .find("[profile.dev]")
        .ok_or("no profile in the manifest")?;
    for project in [&lab.hot, &lab.bare] {
        // With cargo's own profile, as most projects have it.
        fs::write(project.root.join("Cargo.toml"), &manifest[..profile])?;
    }
    compare(lab, table, "example, program", Project::save)?;
    for project in [&lab.hot, &lab.bare] {
        enlarge(project, &manifest[..profile], LINES)?;
    }
    compare(lab, table, "20 crates, program", Project::save)?;
    for project in [&lab.hot, &lab.bare] {
        let last = LIBRARIES - 1;
        fs::write(
            project.source("version.rs"),
            format!("pub const VERSION: &str = c{last}::VERSION;\n"),
        )?;
    }
    compare(lab, table, "20 crates, library", |project, version| {
        let last = project.root.join(format!("c{}", LIBRARIES - 1));
        fs::write(last.join("src/version.rs"), version_text(version))?;
        Ok(())
    })
}

fn compare(lab: &Lab, table: &mut Table, what: &str, save: Save) -> Result<()> {
    lab.cargo_build(&lab.bare)?;
    for (how, args, target) in [
        ("--fast", &["--fast"][..], "≤ 0.65"),
        (
            "--fast, no debug information",
            &["--fast", "--config", "profile.dev.debug=0"],
            "≤ 0.5",
        ),
    ] {
        let mut server = Server::start(lab, &lab.bare)?;
        let mut hotrun = Hotrun::start(lab, args)?;
        // The first rounds warm the caches; hotrun hears the calls of the compiler meanwhile.
        for _ in 0..2 {
            by_hand(lab, &mut server, save)?;
            by_hotrun(lab, &mut hotrun, save)?;
        }
        let before = without_cargo(&hotrun);
        let (mut ratios, mut hand, mut hot) =
            (Sample::default(), Sample::default(), Sample::default());
        let rounds = lab.rounds(20, 3);
        for round in 0..rounds {
            let (by_hand, by_hotrun) = if round % 2 == 0 {
                let by_hand = by_hand(lab, &mut server, save)?;
                (by_hand, by_hotrun(lab, &mut hotrun, save)?)
            } else {
                let by_hotrun = by_hotrun(lab, &mut hotrun, save)?;
                (by_hand(lab, &mut server, save)?, by_hotrun)
            };
            hand.add(ms(by_hand.total));
            hot.add(ms(by_hotrun.total));
            ratios.add(by_hotrun.total.as_secs_f64() / by_hand.total.as_secs_f64());
        }
        let direct = without_cargo(&hotrun) - before;
        hotrun.stop()?;
        table.times(&format!("{what}: by hand"), &hand, "");
        table.times(&format!("{what}: {how}"), &hot, "");
        table.value(
            &format!("{what}: ratio, pair by pair"),
            format!(
                "{:.2} / {:.2} / {:.2}",
                ratios.min(),
                ratios.median(),
                ratios.max()
            ),
            "ratio (min / median / max)",
            target,
        );
        table.value(
            &format!("{what}: without cargo"),
            format!("{direct} of {rounds}"),
            "builds",
            "",
        );
    }
    Ok(())
}

/// The number of builds so far for which cargo was not called.
fn without_cargo(hotrun: &Hotrun) -> usize {
    let commands = hotrun
        .heard
        .iter()
        .filter(|event| event.name() == "command");
    let lines = commands.filter_map(|event| event.value["command"].as_str());
    lines.filter(|line| line.starts_with("rustc ")).count()
}
