//! g. A project with far more ignored directories than sources.

use std::fs;
use std::time::{Duration, Instant};

use crate::hotrun::Hotrun;
use crate::lab::Lab;
use crate::stats::{Sample, ms};
use crate::table::Table;
use crate::{Result, proc};

pub(super) fn measure(lab: &Lab, table: &mut Table) -> Result<()> {
    let ignored = lab.hot.package.join("node_modules");
    for number in 0..5000 {
        let dir = ignored.join(format!("package-{number}"));
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("index.js"), "")?;
    }
    let watched = watched(lab, table);
    fs::remove_dir_all(&ignored)?;
    watched
}

fn watched(lab: &Lab, table: &mut Table) -> Result<()> {
    let metadata = || {
        let args = ["metadata", "--format-version", "1", "--color", "never"];
        lab.cargo(&lab.hot, &args).map(ms)
    };
    let building = || {
        let start = Instant::now();
        let mut hotrun = Hotrun::spawn(lab, &[])?;
        let building = ms(hotrun.wait("building")?.at - start);
        hotrun.wait("live")?;
        hotrun.listen(Duration::from_millis(100));
        let watches = proc::watches(hotrun.pid());
        hotrun.stop()?;
        Ok::<_, crate::Failure>((building, watches))
    };
    // Both read from warm caches.
    metadata()?;
    let (_, watches) = building()?;
    let [mut bare, mut hot, mut above] = <[Sample; 3]>::default();
    for _ in 0..lab.rounds(7, 2) {
        let (least, (ours, _)) = (metadata()?, building()?);
        bare.add(least);
        hot.add(ours);
        above.add(ours - least);
    }
    table.value(
        "inotify watches",
        watches,
        "directories",
        "source directories",
    );
    table.times("cargo metadata", &bare, "");
    table.times("start to first build", &hot, "");
    table.times("above cargo metadata", &above, "median ≤ 50");
    Ok(())
}
