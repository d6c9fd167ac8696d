//! Collects bytes into whole lines. Pure.

/// An output stream of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Text without color codes (`ESC [ … m`), as cargo writes them.
pub fn strip(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(
            part.split_once(|c: char| c.is_ascii_alphabetic())
                .map_or("", |(_, rest)| rest),
        );
    }
    plain
}

/// A longer line is passed on in parts, so that an app that writes no newlines can't fill the memory.
const LONGEST: usize = 64 * 1024;

/// The same for pieces, which have to be whole: `cargo metadata` is one line of some megabytes.
const LONGEST_PIECE: usize = 64 * 1024 * 1024;

/// The most bytes of one read.
const READ: usize = 16 * 1024;

/// Collects bytes until a line is whole.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// The bytes before this index were handed on. They are removed only when more is read: a read may
    /// have thousands of lines.
    start: usize,
    /// There is no line end in the bytes between that index and this one.
    searched: usize,
    /// The last piece ended in a carriage return.
    returned: bool,
}

impl Lines {
    /// Adds bytes that were read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer().extend_from_slice(bytes);
    }

    /// The buffer to read into, with spare capacity.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.bytes.reserve(READ);
        &mut self.bytes
    }

    /// All whole lines so far, as one block with their newlines; empty if there are none.
    pub fn whole(&mut self) -> Vec<u8> {
        let left = self.left();
        match left.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => self.take(at + 1),
            None if left.len() >= LONGEST => self.rest(),
            None => Vec::new(),
        }
    }

    /// The next piece that ends in a newline or a carriage return, with that. A newline right after a
    /// carriage return belongs to that piece, and is dropped.
    pub fn piece(&mut self) -> Option<Vec<u8>> {
        if let Some(first) = self.left().first().copied()
            && std::mem::take(&mut self.returned)
            && first == b'\n'
        {
            self.take(1);
        }
        let end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let Some(at) = self.bytes[self.searched..].iter().position(end) else {
            self.searched = self.bytes.len();
            let too_long = self.left().len() >= LONGEST_PIECE;
            return too_long.then(|| self.rest());
        };
        let piece = self.take(self.searched + at + 1 - self.start);
        self.returned = piece.ends_with(b"\r");
        Some(piece)
    }

    /// A line has begun without a newline yet.
    pub fn is_within_a_line(&self) -> bool {
        !self.left().is_empty()
    }

    /// The bytes left at the end of the input.
    pub fn rest(&mut self) -> Vec<u8> {
        self.take(self.left().len())
    }

    fn left(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let end = self.start + length;
        if self.start == 0 && end == self.bytes.len() {
            self.searched = 0;
            return std::mem::take(&mut self.bytes);
        }
        let taken = self.bytes[self.start..end].to_vec();
        (self.start, self.searched) = (end, end);
        taken
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod hostile_tests {
    use super::*;
    use crate::hostile::Target;

    pub(crate) fn no_byte_of_any_output_is_lost() -> Target {
        let corpus = [&b"one\ntwo\r\nthree\r\r\n\n"[..], b"1/2\r2/2\rdone", b""];
        Target::bytes(&corpus, 10, |bytes| {
            // Each part is searched with what is before it.
            let bytes = &bytes[..bytes.len().min(2048)];
            let size = 1 + bytes.len() % 7;
            let (mut lines, mut pieces) = (Lines::default(), Lines::default());
            let (mut by_lines, mut by_pieces) = (Vec::new(), Vec::new());
            for part in bytes.chunks(size) {
                lines.push(part);
                let whole = lines.whole();
                assert!(whole.is_empty() || whole.ends_with(b"\n") || whole.len() >= LONGEST);
                by_lines.extend(whole);
                pieces.push(part);
                by_pieces.extend(std::iter::from_fn(|| pieces.piece()));
            }
            by_lines.extend(lines.rest());
            assert!(by_lines == bytes);
            let mut at_once = Lines::default();
            at_once.push(bytes);
            let all: Vec<Vec<u8>> = std::iter::from_fn(|| at_once.piece()).collect();
            assert!(all == by_pieces && at_once.rest() == pieces.rest());
            let text = String::from_utf8_lossy(bytes);
            assert!(strip(&text).len() <= text.len());
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_whole_and_nothing_is_lost() {
        let mut lines = Lines::default();
        lines.push(b"one\ntw");
        assert_eq!(lines.whole(), b"one\n");
        assert_eq!(lines.whole(), b"");
        lines.push(b"o\nthree\nfo");
        assert_eq!(lines.whole(), b"two\nthree\n");
        assert_eq!(lines.rest(), b"fo");
        assert_eq!(lines.rest(), b"");
    }

    /// If each moved what is behind it, this would take minutes.
    #[test]
    fn a_read_may_have_many_short_lines() {
        const LINES: usize = 1_000_000;
        let mut lines = Lines::default();
        lines.push(&b"y\n".repeat(LINES));
        lines.push(b"n");
        let pieces = std::iter::from_fn(|| lines.piece());
        assert_eq!(pieces.filter(|piece| piece == b"y\n").count(), LINES);
        lines.push(b"o\n");
        assert_eq!(lines.piece().as_deref(), Some(&b"no\n"[..]));
        assert!(!lines.is_within_a_line());
    }

    #[test]
    fn a_line_without_end_is_handed_on_in_parts() {
        let mut lines = Lines::default();
        lines.push(&vec![b'x'; LONGEST]);
        assert_eq!(lines.whole().len(), LONGEST);
    }

    #[test]
    fn pieces_end_at_carriage_returns_too() {
        let mut lines = Lines::default();
        lines.push(b"1/2\r2/2\rdone");
        assert_eq!(lines.piece().as_deref(), Some(&b"1/2\r"[..]));
        assert_eq!(lines.piece().as_deref(), Some(&b"2/2\r"[..]));
        assert_eq!(lines.piece(), None);
        lines.push(b"\n");
        assert_eq!(lines.piece().as_deref(), Some(&b"done\n"[..]));
        // A carriage return and a newline are one end, also if the newline comes later.
        lines.push(b"a\r\n\nb\r");
        for piece in [&b"a\r"[..], b"\n", b"b\r"] {
            assert_eq!(lines.piece().as_deref(), Some(piece));
        }
        assert_eq!(lines.piece(), None);
        lines.push(b"\nc");
        assert_eq!(lines.piece(), None);
        assert_eq!(lines.rest(), b"c");
        lines.push(&vec![b'x'; LONGEST_PIECE]);
        assert_eq!(lines.piece().map(|piece| piece.len()), Some(LONGEST_PIECE));
    }

    #[test]
    fn an_empty_line_behind_a_line_end_that_came_in_parts_is_not_lost() {
        let mut lines = Lines::default();
        for (part, piece) in [("a\r", Some("a\r")), ("\n", None), ("\n", Some("\n"))] {
            lines.push(part.as_bytes());
            assert_eq!(lines.piece().as_deref(), piece.map(str::as_bytes));
        }
    }
}
