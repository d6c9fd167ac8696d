//! The rows of the table: each measures one promise.

mod bursts;
mod doubles;
mod fast;
mod idle;
mod ignored;
mod inject;
mod noise;
mod pairs;
mod scale;
mod serving;
mod trouble;

use crate::Result;
use crate::lab::Lab;
use crate::table::Table;

/// One row.
#[derive(Debug)]
pub(crate) struct Row {
    /// The letter by which it is chosen.
    pub(crate) letter: char,
    /// The title in the table.
    pub(crate) title: &'static str,
    /// Measures it.
    pub(crate) measure: fn(&Lab, &mut Table) -> Result<()>,
}

/// All rows, in order.
pub(crate) const ALL: [Row; 13] = [
    Row {
        letter: 'a',
        title: "save to first new answer",
        measure: pairs::measure,
    },
    Row {
        letter: 'b',
        title: "200 new connections/s over reloads",
        measure: serving::connections,
    },
    Row {
        letter: 'c',
        title: "keep-alive, 200 requests/s over reloads",
        measure: serving::keep_alive,
    },
    Row {
        letter: 'd',
        title: "requests of 300 ms in flight over reloads, 10 at a time",
        measure: serving::in_flight,
    },
    Row {
        letter: 'e',
        title: "broken for a while, 100 new connections/s",
        measure: trouble::measure,
    },
    Row {
        letter: 'f',
        title: "idle, hotrun and keepers",
        measure: idle::measure,
    },
    Row {
        letter: 'g',
        title: "5,000 ignored directories",
        measure: ignored::measure,
    },
    Row {
        letter: 'h',
        title: "noise",
        measure: noise::measure,
    },
    Row {
        letter: 'i',
        title: "two saves within 60 ms",
        measure: doubles::measure,
    },
    Row {
        letter: 'j',
        title: "the fast profile",
        measure: fast::measure,
    },
    Row {
        letter: 'k',
        title: "hotrun in front of the app (--inject)",
        measure: inject::measure,
    },
    Row {
        letter: 'l',
        title: "bursts, and saves in the middle of a build",
        measure: bursts::measure,
    },
    Row {
        letter: 'm',
        title: "large projects",
        measure: scale::measure,
    },
];

/// There is a row with this letter.
pub(crate) fn exists(letter: char) -> bool {
    ALL.iter().any(|row| row.letter == letter)
}
