//! The one table at the end.

use std::fmt::{self, Write};

use crate::stats::Sample;

#[derive(Debug)]
enum Line {
    Title(char, String),
    Value {
        what: String,
        value: String,
        unit: &'static str,
        target: &'static str,
    },
    Note(String),
}

/// The measured values, row by row.
#[derive(Debug, Default)]
pub(crate) struct Table {
    lines: Vec<Line>,
}

impl Table {
    /// Opens a row.
    pub(crate) fn open(&mut self, letter: char, title: &str) {
        self.lines.push(Line::Title(letter, title.into()));
    }

    /// A value and its target; `""`: no target.
    pub(crate) fn value(
        &mut self,
        what: &str,
        value: impl fmt::Display,
        unit: &'static str,
        target: &'static str,
    ) {
        self.lines.push(Line::Value {
            what: what.into(),
            value: value.to_string(),
            unit,
            target,
        });
    }

    /// Times in milliseconds: least, median, most.
    pub(crate) fn times(&mut self, what: &str, times: &Sample, target: &'static str) {
        self.value(what, times, "ms (min / median / max)", target);
    }

    /// A line without a value.
    pub(crate) fn note(&mut self, text: &str) {
        self.lines.push(Line::Note(text.into()));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = ["what", "value", "unit", "target"];
        let mut widths = heads.map(str::len);
        for line in &self.lines {
            if let Line::Value {
                what, value, unit, ..
            } = line
            {
                for (width, text) in widths.iter_mut().zip([&**what, &**value, *unit]) {
                    *width = text.chars().count().max(*width);
                }
            }
        }
        let [what, value, unit, _] = widths;
        let mut row = |cells: [&str; 4]| {
            let mut line = String::new();
            for (cell, width) in cells.iter().zip([what, value, unit, 0]) {
                write!(line, "  {cell:<width$}")?;
            }
            writeln!(f, "{}", line.trim_end())
        };
        row(heads)?;
        for line in &self.lines {
            match line {
                Line::Title(letter, title) => {
                    row([""; 4])?;
                    row([&format!("{letter}. {title}"), "", "", ""])?;
                }
                Line::Value {
                    what,
                    value,
                    unit,
                    target,
                } => row([what, value, unit, target])?,
                Line::Note(text) => row([text, "", "", ""])?,
            }
        }
        Ok(())
    }
}
