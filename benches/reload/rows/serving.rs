//! b, c, d. Clients of every kind while the server is replaced again and again.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::Result;
use crate::hotrun::Hotrun;
use crate::http::Loss;
use crate::lab::Lab;
use crate::load::{self, Tally};
use crate::server::Server;
use crate::table::Table;

/// Between two reloads.
const PAUSE: Duration = Duration::from_millis(400);

fn rounds(lab: &Lab) -> usize {
    lab.rounds(20, 2)
}

pub(super) fn connections(lab: &Lab, table: &mut Table) -> Result<()> {
    let shared = lab.dir.join("shared.toml");
    fs::write(&shared, "[handover]\nsteering = \"none\"\n")?;
    let shared = shared.to_string_lossy();
    let relay = lab.dir.join("relay.toml");
    fs::write(&relay, "[handover]\nsteering = \"relay\"\n")?;
    let relay = relay.to_string_lossy();
    for (mode, args, target) in [
        ("overlap", &["--handover", "overlap"][..], "0"),
        ("stop-first", &["--handover", "stop-first"], "0"),
        ("hotrun in between", &["--config", &*relay], "0"),
        ("the same with --inject", &["--inject"], "0"),
        ("one shared socket", &["--config", &*shared], ""),
    ] {
        lab.reset()?;
        let mut hotrun = Hotrun::start(lab, args)?;
        let address = hotrun.address()?;
        // The same server, the same builds at the same pace, and no generation is replaced.
        let beside = || {
            for _ in 0..rounds(lab) {
                lab.bare.save(lab.next_version())?;
                lab.cargo_build(&lab.bare)?;
                thread::sleep(PAUSE);
            }
            Ok(())
        };
        let ((), quiet) = load::connections(address, 200, load::LIMIT, beside)?;
        let ((), tally) = load::connections(address, 200, load::LIMIT, || {
            hotrun.reloads(rounds(lab), PAUSE)
        })?;
        hotrun.stop()?;
        let lost = losses(&tally);
        table.value(&format!("{mode}: lost"), lost, "requests", target);
        let stale = format!("{} of {}", tally.stale(), tally.asked());
        table.value(&format!("{mode}: stale"), stale, "answers", target);
        let slowest = format!("{:.1}", tally.slowest());
        table.value(&format!("{mode}: slowest answer"), slowest, "ms", "");
        let alone = format!("{:.1}, {} lost", quiet.slowest(), quiet.lost());
        let what = format!("{mode}: slowest beside builds, no swap");
        table.value(&what, alone, "ms", "");
        let above = format!("{:.1}", tally.slowest() - quiet.slowest());
        table.value(&format!("{mode}: slowest above that"), above, "ms", "≤ 25");
    }
    Ok(())
}

pub(super) fn keep_alive(lab: &Lab, table: &mut Table) -> Result<()> {
    let mut hotrun = Hotrun::start(lab, &[])?;
    let address = hotrun.address()?;
    let ((), tally) = load::keep_alive(address, 20, 200, || hotrun.reloads(rounds(lab), PAUSE))?;
    hotrun.stop()?;
    table.value("hotrun: lost", losses(&tally), "requests", "");
    let cut = format!("{} of {}", tally.lost_reused(), tally.asked());
    let what = "hotrun: of them over connections used before";
    table.value(what, cut, "requests", "≤ the next line");
    // The connections that the app itself cuts when it finishes; refused connections are not counted.
    let mut server = Server::start(lab, &lab.bare)?;
    let ((), own) = load::keep_alive(server.address, 20, 200, || {
        for _ in 0..rounds(lab) {
            thread::sleep(PAUSE);
            server.restart()?;
        }
        thread::sleep(PAUSE);
        Ok(())
    })?;
    let cut = format!("{} of {}", own.lost_reused(), own.asked());
    table.value("by hand: cut by the app's own closing", cut, "requests", "");
    Ok(())
}

pub(super) fn in_flight(lab: &Lab, table: &mut Table) -> Result<()> {
    let mut hotrun = Hotrun::start(lab, &[])?;
    let address = hotrun.address()?;
    let ((), tally) = load::in_flight(address, 10, "/slow?ms=300", || {
        hotrun.reloads(rounds(lab), PAUSE)
    })?;
    hotrun.stop()?;
    table.value("lost", losses(&tally), "requests", "0");
    table.value(
        "slowest answer",
        format!("{:.1}", tally.slowest()),
        "ms",
        "",
    );
    Ok(())
}

/// How many requests were lost, and how.
fn losses(tally: &Tally) -> String {
    let kinds = [
        (Loss::Refused, "refused"),
        (Loss::Reset, "reset"),
        (Loss::TimedOut, "timed out"),
        (Loss::Other, "other"),
    ];
    let named: Vec<String> = kinds
        .into_iter()
        .map(|(loss, name)| (tally.of(loss), name))
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    let total = format!("{} of {}", tally.lost(), tally.asked());
    if named.is_empty() {
        return total;
    }
    format!("{total}: {}", named.join(", "))
}
