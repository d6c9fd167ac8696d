//! a. The same save for a bare cargo and for hotrun, in turns.

use std::thread;
use std::time::{Duration, Instant};

use crate::hotrun::{Event, Hotrun};
use crate::lab::{Lab, Project};
use crate::server::Server;
use crate::stats::{Sample, ms};
use crate::table::Table;
use crate::{Result, http, proc};

/// How a version is saved.
pub(super) type Save = fn(&Project, u32) -> Result<()>;

/// The phases of one save by hand.
pub(super) struct ByHand {
    pub(super) total: Duration,
    build: Duration,
}

/// The phases of one save with hotrun.
pub(super) struct ByHotrun {
    pub(super) total: Duration,
    /// Until the build began, by the event that tells of it.
    pub(super) building: Duration,
    /// Until the event that the generation is live.
    live: Duration,
    event: Event,
}

pub(super) fn measure(lab: &Lab, table: &mut Table) -> Result<()> {
    let mut server = Server::start(lab, &lab.bare)?;
    let mut hotrun = Hotrun::start(lab, &[])?;
    // The first round of both warms the caches.
    by_hand(lab, &mut server, Project::save)?;
    by_hotrun(lab, &mut hotrun, Project::save)?;
    let mut pairs = Vec::new();
    for round in 0..lab.rounds(20, 3) {
        pairs.push(if round % 2 == 0 {
            let hand = by_hand(lab, &mut server, Project::save)?;
            (hand, by_hotrun(lab, &mut hotrun, Project::save)?)
        } else {
            let hotrun = by_hotrun(lab, &mut hotrun, Project::save)?;
            (by_hand(lab, &mut server, Project::save)?, hotrun)
        });
    }
    hotrun.stop()?;
    report(&pairs, table);
    Ok(())
}

/// Build, kill, start: the least that a user could do.
pub(super) fn by_hand(lab: &Lab, server: &mut Server, save: Save) -> Result<ByHand> {
    proc::rest(REST);
    let version = lab.next_version();
    let address = server.address;
    let start = Instant::now();
    save(&lab.bare, version)?;
    thread::scope(|scope| {
        let client = scope.spawn(|| http::first_answer(address, version, start));
        lab.cargo_build(&lab.bare)?;
        let build = start.elapsed();
        server.replace()?;
        let total = client.join().map_err(|_| "the client broke down")??;
        Ok(ByHand { total, build })
    })
}

/// The same with hotrun.
pub(super) fn by_hotrun(lab: &Lab, hotrun: &mut Hotrun, save: Save) -> Result<ByHotrun> {
    proc::rest(REST);
    let version = lab.next_version();
    let address = hotrun.address()?;
    let start = Instant::now();
    save(&lab.hot, version)?;
    let total = http::first_answer(address, version, start)?;
    let building = hotrun.wait("building")?;
    let ago = Duration::from_secs_f64(building.ms("/ago_ms") / 1000.0);
    let building = (building.at - start).saturating_sub(ago);
    let event = hotrun.wait("live")?;
    hotrun.rest()?;
    Ok(ByHotrun {
        total,
        building,
        live: event.at - start,
        event,
    })
}

/// Between two saves.
const REST: Duration = Duration::from_millis(250);

fn report(pairs: &[(ByHand, ByHotrun)], table: &mut Table) {
    let hand = |of: fn(&ByHand) -> Duration| sample(pairs.iter().map(|(hand, _)| ms(of(hand))));
    let hot = |of: fn(&ByHotrun) -> Duration| sample(pairs.iter().map(|(_, hot)| ms(of(hot))));
    let phase = |pointer: &str| sample(pairs.iter().map(|(_, hot)| hot.event.ms(pointer)));
    let above = sample(
        pairs
            .iter()
            .map(|(hand, hot)| ms(hot.total) - ms(hand.total)),
    );
    let ratio = hot(|hot| hot.total).median() / hand(|hand| hand.total).median();
    table.value("pairs", pairs.len(), "", "");
    table.times(
        "by hand: save to first new answer",
        &hand(|hand| hand.total),
        "",
    );
    table.times("by hand: cargo build", &hand(|hand| hand.build), "");
    let start = |hand: &ByHand| hand.total.saturating_sub(hand.build);
    table.times("by hand: kill, start, first answer", &hand(start), "");
    table.times(
        "hotrun: save to first new answer",
        &hot(|hot| hot.total),
        "",
    );
    table.times("hotrun above by hand, pair by pair", &above, "median ≤ 5");
    table.value(
        "hotrun / by hand, medians",
        format!("{ratio:.3}"),
        "ratio",
        "",
    );
    table.times(
        "save to the begin of the build",
        &hot(|hot| hot.building),
        "median ≤ 3",
    );
    table.times(
        "phase detect (first event to build)",
        &phase("/phases/detect_ms"),
        "",
    );
    table.times("phase build", &phase("/phases/build_ms"), "");
    table.times("phase swap", &phase("/phases/swap_ms"), "");
    table.times(
        "phase start (launch to ready)",
        &phase("/phases/start_ms"),
        "",
    );
    table.times("save to `live` heard", &hot(|hot| hot.live), "");
}

fn sample(values: impl Iterator<Item = f64>) -> Sample {
    let mut sample = Sample::default();
    sample.extend(values);
    sample
}
