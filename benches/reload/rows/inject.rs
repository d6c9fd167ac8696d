//! k. What `--inject` costs: hotrun passes on all requests, and puts the script into pages.

use std::time::Duration;

use crate::Result;
use crate::hotrun::Hotrun;
use crate::lab::Lab;
use crate::load;
use crate::server::Server;
use crate::stats::Sample;
use crate::table::Table;

/// Clients that ask again at once.
const CLIENTS: usize = 8;

/// How long they do.
const WINDOW: Duration = Duration::from_secs(2);

pub(super) fn measure(lab: &Lab, table: &mut Table) -> Result<()> {
    let hotrun = Hotrun::start(lab, &["--inject"])?;
    // The same program, by itself.
    let server = Server::start(lab, &lab.bare)?;
    let through = hotrun.address()?;
    let browser = "Accept: text/html\r\nSec-Fetch-Dest: document\r\n";
    for (what, path, fields) in [("small answers", "/", ""), ("pages", "/page", browser)] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        let mut rates = [Sample::default(), Sample::default()];
        let mut kept = Sample::default();
        for _ in 0..lab.rounds(5, 1) {
            let mut round = [0.0; 2];
            for (rate, address) in round.iter_mut().zip([server.address, through]) {
                *rate = load::saturate(address, request.as_bytes(), CLIENTS, WINDOW)?;
            }
            let [direct, passed] = round;
            rates[0].add(direct);
            rates[1].add(passed);
            kept.add(passed / direct);
        }
        let [direct, passed] = rates.map(|rate| format!("{:.0}", rate.median()));
        table.value(&format!("{what}, direct"), direct, "per second", "");
        table.value(&format!("{what}, passed on"), passed, "per second", "");
        let kept = format!("{:.2}", kept.median());
        table.value(&format!("{what}, of direct"), kept, "times", "");
    }
    hotrun.stop()?;
    Ok(())
}
