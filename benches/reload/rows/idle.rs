//! f. What hotrun costs while nothing happens.

use std::time::Duration;

use crate::hotrun::Hotrun;
use crate::lab::Lab;
use crate::proc::Usage;
use crate::table::Table;
use crate::{Result, proc};

pub(super) fn measure(lab: &Lab, table: &mut Table) -> Result<()> {
    let span = lab.span(Duration::from_secs(10), Duration::from_secs(3));
    let mut hotrun = Hotrun::start(lab, &[])?;
    // As after a morning's work: every probation is over, and every helper thread has ended.
    hotrun.reloads(3, Duration::from_millis(200))?;
    hotrun.listen(lab.span(Duration::from_secs(12), Duration::from_secs(1)));
    let own = proc::own(hotrun.pid());
    let before = Usage::of(&own);
    hotrun.listen(span);
    let (cpu, sleeps) = Usage::of(&own).since(&before);
    let percent = 100.0 * cpu.as_secs_f64() / span.as_secs_f64();
    let memory = proc::memory(&own);
    if proc::own(hotrun.pid()) != own || memory == 0 {
        return Err("hotrun was not idle, or /proc does not say".into());
    }
    hotrun.stop()?;
    let seconds = span.as_secs();
    table.value("processes", own.len(), "", "");
    table.value("CPU", format!("{percent:.4}"), "percent", "≤ 0.1, aim 0.01");
    let what = format!("voluntary context switches in {seconds} s");
    table.value(&what, sleeps, "", "");
    let whole = format!("{}.{}", memory / 1024, memory % 1024 * 10 / 1024);
    table.value("memory", whole, "MiB (Pss)", "≤ 10");
    Ok(())
}
