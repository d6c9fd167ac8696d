//! m. What projects of any size cost: at the start, while nothing happens, and at a save.

use std::time::{Duration, Instant};

use crate::hotrun::Hotrun;
use crate::lab::{Lab, Project};
use crate::proc::Usage;
use crate::server::Server;
use crate::stats::{Sample, ms};
use crate::table::Table;
use crate::trees::TREES;
use crate::{Result, proc};

use super::pairs::{by_hand, by_hotrun};

pub(super) fn measure(lab: &Lab, table: &mut Table) -> Result<()> {
    for project in [&lab.hot, &lab.bare] {
        lab.keep(project)?;
    }
    for (name, make) in TREES {
        eprintln!("   {name}");
        for project in [&lab.hot, &lab.bare] {
            make(project)?;
            lab.cargo_build(project)?;
        }
        start(lab, table, name)?;
        run(lab, table, name)?;
        for project in [&lab.hot, &lab.bare] {
            lab.restore(project)?;
        }
    }
    Ok(())
}

/// From the start to the first build, above what `cargo metadata` takes.
fn start(lab: &Lab, table: &mut Table, name: &str) -> Result<()> {
    let mut above = Sample::default();
    for round in 0..=lab.rounds(5, 1) {
        let args = ["metadata", "--format-version", "1", "--color", "never"];
        let metadata = lab.cargo(&lab.hot, &args)?;
        let start = Instant::now();
        let mut hotrun = Hotrun::spawn(lab, &[])?;
        let building = hotrun.wait("building")?.at - start;
        hotrun.wait("live")?;
        hotrun.stop()?;
        // The first round warms the caches.
        if round > 0 {
            above.add(ms(building) - ms(metadata));
        }
    }
    let what = format!("{name}: start to first build above cargo metadata");
    table.times(&what, &above, "median ≤ 100");
    Ok(())
}

/// A morning's work in short: saves, and a long rest.
fn run(lab: &Lab, table: &mut Table, name: &str) -> Result<()> {
    let mut server = Server::start(lab, &lab.bare)?;
    let mut hotrun = Hotrun::start(lab, &[])?;
    let (mut detection, mut hand, mut above) =
        (Sample::default(), Sample::default(), Sample::default());
    for round in 0..=lab.rounds(5, 1) {
        let by_hand = by_hand(lab, &mut server, Project::save)?;
        let by_hotrun = by_hotrun(lab, &mut hotrun, Project::save)?;
        if round > 0 {
            detection.add(ms(by_hotrun.building));
            hand.add(ms(by_hand.total));
            above.add(ms(by_hotrun.total) - ms(by_hand.total));
        }
    }
    // Every probation is over then, and every thread that helped has ended.
    hotrun.listen(lab.span(Duration::from_secs(15), Duration::from_secs(1)));
    let span = lab.span(Duration::from_mins(1), Duration::from_secs(2));
    let own = proc::own(hotrun.pid());
    let before = Usage::of(&own);
    hotrun.listen(span);
    let (cpu, sleeps) = Usage::of(&own).since(&before);
    let (memory, watches) = (proc::memory(&own), proc::watches(hotrun.pid()));
    hotrun.stop()?;
    let percent = 100.0 * cpu.as_secs_f64() / span.as_secs_f64();
    let whole = format!("{}.{}", memory / 1024, memory % 1024 * 10 / 1024);
    let of = |what: &str| format!("{name}: {what}");
    table.times(&of("by hand, save to first new answer"), &hand, "");
    table.times(&of("save to build begins"), &detection, "≤ 3");
    table.times(&of("hotrun above by hand"), &above, "");
    table.value(&of("watches"), watches, "directories", "source directories");
    table.value(
        &of("idle: CPU"),
        format!("{percent:.4}"),
        "percent",
        "≤ 0.01",
    );
    let seconds = span.as_secs();
    let what = format!("idle: wake-ups in {seconds} s");
    table.value(&of(&what), sleeps, "", "0");
    table.value(&of("idle: memory"), whole, "MiB (Pss)", "≤ 10");
    Ok(())
}
