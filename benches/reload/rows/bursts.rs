//! l. Many saves at once, and saves in the middle of a build: what the last one costs, compared with one alone.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::hotrun::Hotrun;
use crate::lab::Lab;
use crate::stats::{Sample, ms};
use crate::table::Table;
use crate::{Result, http, proc};

/// Files of a burst, and the time from one to the next.
const FILES: u32 = 30;
const STEP: Duration = Duration::from_millis(10);
/// How far a build has come when the next save interrupts it, in percent of the time from a save to its
/// answer.
const PERCENT: [u32; 5] = [1, 5, 10, 50, 90];
/// Between two tries.
const REST: Duration = Duration::from_millis(250);
/// Longer than this, compared with a save alone, is too long.
const LIMIT: f64 = 1.15;

/// What is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One save.
    Alone,
    /// Two, the second when the build for the first has come so far.
    Interrupted(u32),
    /// One of many files.
    Burst,
}

/// One try.
struct Try {
    /// From the last save to its first answer.
    took: Duration,
    builds: usize,
    /// How long its build took, which varies most, in milliseconds.
    build: f64,
}

pub(super) fn measure(lab: &Lab, table: &mut Table) -> Result<()> {
    let modules = Modules::add(lab)?;
    let mut hotrun = Hotrun::start(lab, &[])?;
    // The first ones warm the caches, and say how long a build takes.
    let mut one = Sample::default();
    for _ in 0..3 {
        one.add(ms(once(lab, &mut hotrun, &modules, Kind::Alone, 0.0)?.took));
    }
    let kinds: Vec<Kind> = [Kind::Alone, Kind::Burst]
        .into_iter()
        .chain(PERCENT.map(Kind::Interrupted))
        .collect();
    let mut tries: Vec<Vec<Try>> = kinds.iter().map(|_| Vec::new()).collect();
    for _ in 0..lab.rounds(50, 2) {
        // In turn: the machine is as busy for the ones as for the others.
        for (kind, tries) in kinds.iter().zip(&mut tries) {
            tries.push(once(lab, &mut hotrun, &modules, *kind, one.median())?);
        }
    }
    hotrun.stop()?;
    modules.remove(lab)?;
    let alone = sample(&tries[0]);
    table.times("one save to its answer", &alone, "");
    for (kind, tries) in kinds.iter().zip(&tries) {
        report(*kind, tries, alone.median(), table);
    }
    Ok(())
}

/// `one`: from a save to its answer, in milliseconds.
fn once(lab: &Lab, hotrun: &mut Hotrun, modules: &Modules, kind: Kind, one: f64) -> Result<Try> {
    proc::rest(REST);
    let address = hotrun.address()?;
    let since = hotrun.heard.len();
    let first = Instant::now();
    let until = |time: Duration| thread::sleep(time.saturating_sub(first.elapsed()));
    match kind {
        Kind::Alone => {}
        Kind::Interrupted(percent) => {
            lab.hot.save(lab.next_version())?;
            until(Duration::from_secs_f64(
                one / 1e3 * f64::from(percent) / 100.0,
            ));
        }
        Kind::Burst => {
            for number in 1..FILES {
                modules.save(number, lab.next_version())?;
                until(STEP * number);
            }
        }
    }
    let version = lab.next_version();
    let start = Instant::now();
    lab.hot.save(version)?;
    let took = http::first_answer(address, version, start)?;
    // The build of the first save may have been live just before, and is told first.
    let over = ["live", "unchanged", "build-failed", "cancelled"];
    loop {
        hotrun.listen(Duration::from_millis(100));
        let ended: usize = over.iter().map(|name| hotrun.count(since, name)).sum();
        if hotrun.count(since, "live") > 0 && hotrun.count(since, "building") <= ended {
            break;
        }
    }
    hotrun.rest()?;
    let mut heard = hotrun.heard[since..].iter().rev();
    let live = heard.find(|event| event.name() == "live");
    Ok(Try {
        took,
        builds: hotrun.count(since, "building"),
        build: live.map_or(0.0, |live| live.ms("/phases/build_ms")),
    })
}

fn sample(tries: &[Try]) -> Sample {
    let mut sample = Sample::default();
    sample.extend(tries.iter().map(|one| ms(one.took)));
    sample
}

fn report(kind: Kind, tries: &[Try], alone: f64, table: &mut Table) {
    let what = match kind {
        Kind::Alone => "one save".to_owned(),
        Kind::Interrupted(percent) => format!("a save at {percent} % of a build"),
        Kind::Burst => format!("{FILES} files in 290 ms"),
    };
    let ratio = |one: &Try| ms(one.took) / alone;
    let above = tries.iter().filter(|one| ratio(one) > LIMIT).count();
    let builds: usize = tries.iter().map(|one| one.builds).sum();
    let all = sample(tries);
    let figures = format!(
        "{:.3} / {:.3} / {:.3}",
        all.min() / alone,
        all.median() / alone,
        all.max() / alone
    );
    table.value(&what, figures, "of one (min / median / max)", "≤ 1.15");
    let counts = format!("{above} of {}; {builds}", tries.len());
    table.value("  above that; builds shown", counts, "", "");
    let mut beside = Sample::default();
    beside.extend(tries.iter().map(|one| ms(one.took) - one.build));
    table.times("  beside the last build", &beside, "");
}

/// Modules of the app, each a file.
struct Modules(PathBuf);

impl Modules {
    fn add(lab: &Lab) -> Result<Self> {
        let modules = Self(lab.hot.source("many"));
        fs::create_dir_all(&modules.0)?;
        let mut lines = vec!["#![allow(dead_code)]".to_owned()];
        for number in 1..FILES {
            modules.save(number, 0)?;
            lines.push(format!("mod m{number};"));
        }
        fs::write(lab.hot.source("many.rs"), lines.join("\n"))?;
        let main = lab.main_with("mod version;", "mod many;")?;
        fs::write(lab.hot.source("main.rs"), main)?;
        Ok(modules)
    }

    fn save(&self, number: u32, version: u32) -> Result<()> {
        let text = format!("pub const N: u32 = {version};\n");
        Ok(fs::write(self.0.join(format!("m{number}.rs")), text)?)
    }

    fn remove(self, lab: &Lab) -> Result<()> {
        lab.reset()?;
        fs::remove_dir_all(self.0)?;
        Ok(fs::remove_file(lab.hot.source("many.rs"))?)
    }
}
