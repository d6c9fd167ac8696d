//! What a reload costs and what its clients see, measured on real projects with a real cargo.
//!
//! `cargo bench --bench reload [-- [--quick] [ROW…]]`, a row being one of the letters `a` to `m`.
//! One table at the end; absolute times belong to the machine, so ratios, counts and differences
//! to a bare cargo in the same run are what counts. Fails only if something could not be measured.
//! Nothing is downloaded: `cargo fetch --manifest-path fixtures/hello/Cargo.toml` must have run
//! once.

#![expect(clippy::print_stdout, reason = "the numbers")]
#![expect(clippy::print_stderr, reason = "how far it is")]
#![expect(
    clippy::disallowed_methods,
    reason = "whoever measures reads the clock"
)]

mod guard;
mod hotrun;
mod http;
mod lab;
mod load;
mod proc;
mod rows;
mod server;
mod stats;
mod table;
mod trees;

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use lab::Lab;
use table::Table;

/// The reason why something could not be measured.
type Failure = Box<dyn Error + Send + Sync>;
type Result<T, E = Failure> = std::result::Result<T, E>;

/// The command line.
#[derive(Debug, Default)]
struct Options {
    /// Few rounds: to see that everything can still be measured.
    quick: bool,
    /// The rows to measure; empty: all.
    rows: Vec<char>,
}

impl Options {
    fn parse(args: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self::default();
        for arg in args {
            match arg.as_str() {
                "--quick" => options.quick = true,
                // Passed by cargo.
                "--bench" => {}
                rows if !rows.is_empty() && rows.chars().all(rows::exists) => {
                    options.rows.extend(rows.chars());
                }
                _ => return Err(format!("unknown argument `{arg}`: --quick, or a to m").into()),
            }
        }
        Ok(options)
    }

    fn wants(&self, row: char) -> bool {
        self.rows.is_empty() || self.rows.contains(&row)
    }
}

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether every row could be measured.
fn run(options: &Options) -> Result<bool> {
    let (start, before) = (Instant::now(), proc::load());
    eprintln!("preparing two copies of the project …");
    let lab = Lab::prepare(options.quick)?;
    let mut table = Table::default();
    let mut complete = true;
    for row in rows::ALL.iter().filter(|row| options.wants(row.letter)) {
        eprintln!("{}: {} …", row.letter, row.title);
        table.open(row.letter, row.title);
        if let Err(error) = lab.reset().and_then(|()| (row.measure)(&lab, &mut table)) {
            complete = false;
            table.note(&format!("NOT MEASURED: {error}"));
            eprintln!("{}: not measured: {error}", row.letter);
        }
    }
    println!("{table}");
    let took = start.elapsed().as_secs_f64();
    println!(
        "took {took:.0} s; load of this machine before and after: {before}, {}",
        proc::load()
    );
    Ok(complete)
}
