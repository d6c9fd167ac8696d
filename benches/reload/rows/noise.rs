//! h. Saves that change nothing.

use std::fs::{self, File};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use crate::Result;
use crate::hotrun::Hotrun;
use crate::lab::Lab;
use crate::table::Table;

/// How long is waited for a build that should not start.
fn window(lab: &Lab) -> Duration {
    lab.span(Duration::from_millis(1500), Duration::from_millis(600))
}

/// Between making a file and removing it.
const MOMENT: Duration = Duration::from_millis(10);

pub(super) fn measure(lab: &Lab, table: &mut Table) -> Result<()> {
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
        thread::sleep(MOMENT);
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
