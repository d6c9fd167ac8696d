//! The errors of the newest build: printed last, so that they are in view, and the long list folded where
//! a key can unfold it. Pure.

use unicode_width::UnicodeWidthStr;

use crate::lines::strip;

/// So many are printed at most before the rest is folded.
const MOST: usize = 10;

/// What a screen has room for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// What is to be printed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// As the compiler renders them.
    pub(super) errors: Vec<String>,
    /// So many more were left out.
    pub(super) folded: usize,
}

/// The errors of the newest build.
#[derive(Debug, Default)]
pub(super) struct Errors {
    /// Those that are not printed yet, in a build that runs.
    waiting: Vec<String>,
    /// All that were printed or folded since the newest build with errors began.
    told: Vec<String>,
    /// How many of these were printed.
    shown: usize,
    /// The next one is the first of a build.
    begins: bool,
}

impl Errors {
    /// A build begins.
    pub(super) fn begin(&mut self) {
        self.waiting.clear();
        self.begins = true;
    }

    /// Adds an error as the compiler renders it. A closing remark belongs to the last one.
    pub(super) fn add(&mut self, rendered: String) {
        let is_remark = !strip(&rendered).starts_with("error");
        match self.waiting.last_mut().filter(|_| is_remark) {
            Some(last) => last.push_str(&rendered),
            None => self.waiting.push(rendered),
        }
    }

    /// A build ended without errors: those before are mended.
    pub(super) fn are_mended(&mut self) {
        self.told.clear();
        self.shown = 0;
    }

    /// What is to be printed now. `room`: if the rest can be unfolded.
    pub(super) fn tell(&mut self, room: Option<Room>) -> Told {
        if self.waiting.is_empty() {
            return Told::default();
        }
        if std::mem::take(&mut self.begins) {
            self.are_mended();
        }
        self.told.append(&mut self.waiting);
        let shown = self.shown;
        self.some_after(shown, room)
    }

    /// All errors once more, folded like the first time; nothing if there are none.
    pub(super) fn again(&mut self, room: Option<Room>) -> Told {
        self.some_after(0, room)
    }

    /// Those that were folded.
    pub(super) fn unfold(&mut self) -> Told {
        let shown = self.shown;
        self.some_after(shown, None)
    }

    /// Those from this one on, as far as there is room.
    fn some_after(&mut self, first: usize, room: Option<Room>) -> Told {
        let all = self.told.len();
        let end = match room {
            Some(room) if all > MOST => self.fitting(first, room),
            _ => all,
        };
        self.shown = end;
        Told {
            errors: self.told[first.min(end)..end].to_vec(),
            folded: all - end,
        }
    }

    /// The end of those that fit: at least one in all, and never more than [`MOST`].
    fn fitting(&self, first: usize, room: Room) -> usize {
        let rows = |text: &String| rows(text, room.columns);
        let mut used: usize = self.told[..first].iter().map(rows).sum();
        let mut end = first;
        for text in &self.told[first..] {
            used += rows(text);
            if end >= MOST || (end > 0 && used > room.rows) {
                break;
            }
            end += 1;
        }
        end
    }
}

/// The rows that a text takes, with long lines wrapped.
fn rows(text: &str, columns: usize) -> usize {
    let rows = |line: &str| line.width().div_ceil(columns.max(1)).max(1);
    strip(text).lines().map(rows).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(count: usize) -> Errors {
        let mut errors = Errors::default();
        errors.begin();
        for number in 0..count {
            errors.add(format!("error {number}\n --> src/main.rs\n\n"));
        }
        errors
    }

    fn room(rows: usize) -> Room {
        Room { rows, columns: 80 }
    }

    #[test]
    fn what_is_wrapped_takes_more_rows() {
        assert_eq!(rows("\u{1b}[1merror\u{1b}[0m: x\n\n", 8), 2);
        assert_eq!(rows("error: x\n --> src/main.rs\n", 7), 5);
    }

    #[test]
    fn a_closing_remark_is_no_error() {
        let mut errors = failed(2);
        errors.add("For more information, try `rustc --explain E0308`.\n".into());
        let told = errors.tell(None);
        assert_eq!(told.errors.len(), 2);
        assert!(told.errors[1].ends_with("E0308`.\n"));
    }

    #[test]
    fn a_short_list_is_printed_as_it_is() {
        let mut errors = failed(10);
        let told = errors.tell(Some(room(5)));
        assert_eq!((told.errors.len(), told.folded), (10, 0));
        assert_eq!(errors.tell(Some(room(5))), Told::default());
        assert_eq!(errors.unfold(), Told::default());
    }

    #[test]
    fn a_long_list_is_folded_and_unfolded() {
        for (rows, expected) in [(0, 1), (10, 3), (100, 10)] {
            let mut errors = failed(30);
            let told = errors.tell(Some(room(rows)));
            assert_eq!((told.errors.len(), told.folded), (expected, 30 - expected));
            let rest = errors.unfold();
            assert_eq!((rest.errors.len(), rest.folded), (30 - expected, 0));
            assert!(rest.errors[0].starts_with(&format!("error {expected}\n")));
            assert_eq!(errors.unfold(), Told::default());
            assert_eq!(errors.again(Some(room(rows))), told);
        }
        // Without keys it could not be unfolded.
        assert_eq!(failed(30).tell(None).errors.len(), 30);
    }

    #[test]
    fn those_of_an_older_build_are_forgotten() {
        let mut errors = failed(3);
        errors.tell(None);
        errors.begin();
        // They still stand while the next build runs.
        assert_eq!(errors.again(None).errors.len(), 3);
        errors.add("another\n".into());
        assert_eq!(errors.tell(None).errors, ["another\n"]);
        assert_eq!(errors.again(None).errors, ["another\n"]);
        errors.are_mended();
        assert_eq!(errors.again(None), Told::default());
    }
}
