//! i. Two saves within a moment, and one alone: what the second one costs.

use std::thread;
use std::time::{Duration, Instant};

use crate::hotrun::Hotrun;
use crate::lab::Lab;
use crate::stats::{Sample, ms};
use crate::table::Table;
use crate::{Result, http, proc};

/// Of each group, so many are double saves, and the others single ones: the machine is as busy for the
/// ones as for the others.
const DOUBLES: usize = 10;
const SINGLES: usize = 3;
/// The longest time between the two saves, in milliseconds. Any other step than one that divides it
/// goes through all of them, in an order that looks random.
const LONGEST: usize = 60;
const STEP: usize = 37;
/// Longer than this, compared with the median of single saves, is too long.
const LIMIT: f64 = 1.3;
/// Between two of them.
const REST: Duration = Duration::from_millis(250);

/// What came of one or two saves.
struct Saved {
    /// From the last one to its first answer.
    took: Duration,
    /// Between the two saves.
    gap: Option<Duration>,
    builds: usize,
    cancelled: usize,
    /// How the time was spent, as hotrun tells it.
    phases: String,
}

pub(super) fn measure(lab: &Lab, table: &mut Table) -> Result<()> {
    let mut hotrun = Hotrun::start(lab, &[])?;
    // The first one warms the caches.
    save(lab, &mut hotrun, None)?;
    let (mut singles, mut doubles) = (Vec::new(), Vec::new());
    for number in 0..lab.rounds(200, 10) {
        let gap = number * STEP % (LONGEST + 1);
        let gap = Duration::from_millis(u64::try_from(gap)?);
        doubles.push(save(lab, &mut hotrun, Some(gap))?);
        if number % DOUBLES < SINGLES {
            singles.push(save(lab, &mut hotrun, None)?);
        }
    }
    hotrun.stop()?;
    report(&singles, &doubles, table);
    Ok(())
}

/// Saves once, or twice with this time in between.
fn save(lab: &Lab, hotrun: &mut Hotrun, gap: Option<Duration>) -> Result<Saved> {
    proc::rest(REST);
    let address = hotrun.address()?;
    let since = hotrun.heard.len();
    let mut between = None;
    if let Some(gap) = gap {
        let first = Instant::now();
        lab.hot.save(lab.next_version())?;
        thread::sleep(gap.saturating_sub(first.elapsed()));
        between = Some(first.elapsed());
    }
    let version = lab.next_version();
    let start = Instant::now();
    lab.hot.save(version)?;
    let took = http::first_answer(address, version, start)?;
    let live = hotrun.wait("live")?;
    hotrun.rest()?;
    Ok(Saved {
        took,
        gap: between,
        builds: hotrun.count(since, "building"),
        cancelled: hotrun.count(since, "cancelled"),
        phases: live.value["phases"].to_string(),
    })
}

fn report(singles: &[Saved], doubles: &[Saved], table: &mut Table) {
    let sample = |all: &[Saved]| {
        let mut sample = Sample::default();
        sample.extend(all.iter().map(|saved| ms(saved.took)));
        sample
    };
    let (single, double) = (sample(singles), sample(doubles));
    let ratio = |saved: &Saved| ms(saved.took) / single.median();
    let sum = |of: fn(&Saved) -> usize| doubles.iter().map(of).sum::<usize>();
    let counts = format!("{} / {}", singles.len(), doubles.len());
    table.value("saves: single / double", counts, "", "");
    for (what, sample) in [("single", &single), ("double", &double)] {
        table.times(&format!("{what}: last save to answer"), sample, "");
        let late = format!("{:.1}", sample.percentile(95));
        table.value(&format!("{what}: 95th percentile"), late, "ms", "");
    }
    let counts = format!(
        "{} / {}",
        sum(|saved| saved.builds),
        sum(|saved| saved.cancelled)
    );
    table.value("double: builds / cancelled", counts, "", "");
    let mut ratios = Sample::default();
    ratios.extend(doubles.iter().map(ratio));
    table.value(
        "double / median of single",
        &ratios,
        "ratio (min / median / max)",
        "max ≤ 1.3",
    );
    let slow = doubles.iter().filter(|saved| ratio(saved) > LIMIT);
    table.value("double: above 1.3", slow.clone().count(), "", "0");
    let slow_alone = singles.iter().filter(|saved| ratio(saved) > LIMIT);
    table.value("single: above 1.3", slow_alone.clone().count(), "", "");
    for saved in slow.chain(slow_alone) {
        let gap = saved
            .gap
            .map_or("alone".into(), |gap| format!("{:.1} ms apart", ms(gap)));
        table.note(&format!(
            "{:.2} ({:.0} ms, {gap}): {} builds, {} cancelled, {}",
            ratio(saved),
            ms(saved.took),
            saved.builds,
            saved.cancelled,
            saved.phases
        ));
    }
}
