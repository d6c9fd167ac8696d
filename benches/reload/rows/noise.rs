//! h. Saves that change nothing, and saves that come in bursts.

use std::fs::{self, File};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::hotrun::Hotrun;
use crate::lab::Lab;
use crate::stats::{Sample, ms};
use crate::table::Table;
use crate::{Result, http, proc};

/// How long is waited for a build that should not start.
fn window(lab: &Lab) -> Duration {
    lab.span(Duration::from_millis(1500), Duration::from_millis(600))
}

/// Files of a burst, and the time from one to the next.
const FILES: u32 = 30;
const STEP: Duration = Duration::from_millis(10);
/// How far a build has come when the next save interrupts it.
const INTO_BUILD: Duration = Duration::from_millis(150);

pub(super) fn measure(lab: &Lab, table: &mut Table) -> Result<()> {
    noise(lab, table)?;
    burst(lab, table)?;
    interrupted(lab, table)
}

fn noise(lab: &Lab, table: &mut Table) -> Result<()> {
    let main = lab.hot.source("main.rs");
    let readme = lab.hot.package.join("README.md");
    let swap = lab.hot.source(".main.rs.swp");
    let ours = lab.hot.root.join("target/scratch.rs");
    let mut hotrun = Hotrun::start(lab, &[])?;
    // What was saved just before the start may be built once more.
    hotrun.listen(window(lab));
    let mut quiet = |what: &str, act: &dyn Fn() -> Result<()>| -> Result<()> {
        let since = hotrun.heard.len();
        act()?;
        hotrun.listen(window(lab));
        let building = |hotrun: &Hotrun| {
            let ends = ["live", "unchanged", "build-failed"];
            let ended: usize = ends.map(|end| hotrun.count(since, end)).iter().sum();
            hotrun.count(since, "building") > ended
        };
        while building(&hotrun) {
            hotrun.listen(Duration::from_millis(100));
        }
        let builds = hotrun.count(since, "building");
        let restarts = hotrun.count(since, "started");
        // Check that hotrun still notices saves.
        hotrun.reload()?;
        hotrun.rest()?;
        let counts = format!("{builds} / {restarts}");
        table.value(what, counts, "builds / restarts", "0 / 0");
        Ok(())
    };
    quiet("touch", &|| touch(&main))?;
    quiet("same bytes written again", &|| {
        Ok(fs::write(&main, lab.main())?)
    })?;
    quiet("README edited", &|| {
        Ok(fs::write(
            &readme,
            format!("# hello {}\n", lab.next_version()),
        )?)
    })?;
    quiet("swap file made and removed", &|| {
        fs::write(&swap, "swap")?;
        thread::sleep(STEP);
        Ok(fs::remove_file(&swap)?)
    })?;
    quiet("file below target/ written", &|| {
        Ok(fs::write(&ours, "fn main() {}\n")?)
    })?;
    hotrun.stop()
}

fn touch(path: &Path) -> Result<()> {
    let file = File::options().append(true).open(path)?;
    file.set_modified(SystemTime::now())?;
    Ok(())
}

/// Many files saved one after the other, all of them inputs.
fn burst(lab: &Lab, table: &mut Table) -> Result<()> {
    let dir = lab.hot.source("many");
    fs::create_dir_all(&dir)?;
    let file = |number: u32| dir.join(format!("m{number}.rs"));
    let mut modules = vec!["#![allow(dead_code)]".to_owned()];
    for number in 1..FILES {
        fs::write(file(number), "pub const N: u32 = 0;\n")?;
        modules.push(format!("mod m{number};"));
    }
    fs::write(lab.hot.source("many.rs"), modules.join("\n"))?;
    let main = lab.main_with("mod version;", "mod many;")?;
    fs::write(lab.hot.source("main.rs"), main)?;

    let mut hotrun = Hotrun::start(lab, &[])?;
    let address = hotrun.address()?;
    thread::sleep(window(lab));
    let since = hotrun.heard.len();
    let version = lab.next_version();
    let start = Instant::now();
    for number in 1..FILES {
        fs::write(file(number), format!("pub const N: u32 = {version};\n"))?;
        thread::sleep((start + STEP * number).saturating_duration_since(Instant::now()));
    }
    let last = Instant::now();
    lab.hot.save(version)?;
    let served = http::first_answer(address, version, last)?;
    hotrun.listen(window(lab));
    let restarts = hotrun.count(since, "started");
    let builds = hotrun.count(since, "building");
    let cancelled = hotrun.count(since, "cancelled");
    hotrun.stop()?;
    lab.reset()?;
    fs::remove_dir_all(&dir)?;
    fs::remove_file(lab.hot.source("many.rs"))?;
    let what = format!("{FILES} files in {} ms", ms(last - start).round());
    table.value(&format!("{what}: restarts"), restarts, "", "1");
    let counts = format!("{builds} / {cancelled}");
    table.value(&format!("{what}: builds / cancelled"), counts, "", "");
    let served = format!("{:.1}", ms(served));
    table.value(&format!("{what}: last save to answer"), served, "ms", "");
    Ok(())
}

/// A save while the build of an earlier one runs.
fn interrupted(lab: &Lab, table: &mut Table) -> Result<()> {
    let mut hotrun = Hotrun::start(lab, &[])?;
    let address = hotrun.address()?;
    let (mut one, mut second) = (Sample::default(), Sample::default());
    let save = || {
        let (start, version) = (Instant::now(), lab.next_version());
        lab.hot.save(version)?;
        Ok::<_, crate::Failure>((start, version))
    };
    for _ in 0..lab.rounds(7, 2) {
        proc::rest(Duration::from_millis(300));
        let (start, version) = save()?;
        one.add(ms(http::first_answer(address, version, start)?));
        hotrun.wait("live")?;
        hotrun.rest()?;
        proc::rest(Duration::from_millis(300));
        save()?;
        hotrun.wait("building")?;
        thread::sleep(INTO_BUILD);
        let (start, version) = save()?;
        second.add(ms(http::first_answer(address, version, start)?));
        hotrun.wait("live")?;
        hotrun.rest()?;
    }
    hotrun.stop()?;
    let ratio = second.median() / one.median();
    table.times("one save to answer", &one, "");
    table.times("save in mid-build to answer", &second, "");
    table.value("mid-build / one", format!("{ratio:.3}"), "ratio", "≤ 1.15");
    Ok(())
}
