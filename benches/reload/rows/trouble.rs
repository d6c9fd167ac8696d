//! e. What clients get while the code is broken.

use std::fs;
use std::time::Duration;

use crate::Result;
use crate::hotrun::Hotrun;
use crate::lab::Lab;
use crate::load;
use crate::table::Table;

/// An answer that takes longer counts as none.
const LIMIT: Duration = Duration::from_secs(1);

pub(super) fn measure(lab: &Lab, table: &mut Table) -> Result<()> {
    let main = lab.hot.source("main.rs");
    let broken = format!("{}\nfn broken( {{\n", lab.main());
    let start = "async fn main() -> io::Result<()> {";
    let crashing = lab.main_with(start, "    if true { panic!(\"broken\"); }")?;
    let span = lab.span(Duration::from_secs(6), Duration::from_secs(3));
    let mut hotrun = Hotrun::start(lab, &[])?;
    let address = hotrun.address()?;
    for (what, text, sign) in [
        (
            "code does not compile: answered within 1 s",
            broken,
            "build-failed",
        ),
        ("crash at start: answered within 1 s", crashing, "ended"),
    ] {
        let since = hotrun.heard.len();
        let ((), tally) = load::connections(address, 100, LIMIT, || {
            fs::write(&main, &text)?;
            hotrun.listen(span);
            Ok(())
        })?;
        if hotrun.count(since, sign) == 0 {
            return Err(format!("{what}: hotrun never said `{sign}`").into());
        }
        let answered = format!("{:.1} of {}", tally.answered(), tally.asked());
        table.value(what, answered, "percent", "100");
        fs::write(&main, lab.main())?;
        hotrun.reload()?;
        hotrun.rest()?;
    }
    hotrun.stop()
}
