//! The last lines that the app has written, for `hotrun ctl logs`: bounded by their size, and numbered, so
//! that a reader that is too slow knows what it has missed.

use std::collections::VecDeque;

use crate::lines::Stream;
use crate::session::model::Generation;
use crate::sink::Chunk;

/// The most bytes that are kept.
const MOST: usize = 1 << 20;

/// The most lines without an end that are kept beside the newest.
const MOST_OPEN: usize = 7;

/// The most lines that tell why a program failed, and the most for one that has panicked.
const LAST_WORDS: usize = 20;
const LONGEST_PANIC: usize = 200;

/// A line, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) generation: Generation,
    pub(super) stream: Stream,
    pub(super) bytes: Vec<u8>,
}

/// The lines.
#[derive(Debug, Default)]
pub(super) struct Logs {
    lines: VecDeque<Line>,
    /// Lines without an end so far, at most one for each stream of a generation.
    open: Vec<Line>,
    bytes: usize,
    /// How many lines were dropped, which is the number of the first one.
    dropped: u64,
}

impl Logs {
    /// Adds what an app has written.
    pub(super) fn add(&mut self, chunk: &Chunk) {
        for piece in chunk.bytes.split_inclusive(|byte| *byte == b'\n') {
            self.add_piece(chunk, piece);
        }
        while self.bytes > MOST
            && let Some(oldest) = self.lines.pop_front()
        {
            self.bytes -= oldest.bytes.len() + 1;
            self.dropped += 1;
        }
    }

    fn add_piece(&mut self, chunk: &Chunk, piece: &[u8]) {
        let is_its =
            |line: &mut Line| (line.generation, line.stream) == (chunk.generation, chunk.stream);
        let begun = self.open.extract_if(.., is_its).next();
        let mut line = begun.unwrap_or(Line {
            generation: chunk.generation,
            stream: chunk.stream,
            bytes: Vec::new(),
        });
        let (text, ends) = match piece.strip_suffix(b"\n") {
            Some(text) => (text, true),
            None => (piece, false),
        };
        line.bytes.extend_from_slice(text);
        // The beginning of a line that is longer than all that is kept.
        line.bytes.drain(..line.bytes.len().saturating_sub(MOST));
        if ends {
            self.bytes += line.bytes.len() + 1;
            self.lines.push_back(line);
        } else {
            self.open.truncate(MOST_OPEN);
            self.open.insert(0, line);
        }
    }

    /// The lines from this number on, and the number that comes next.
    pub(super) fn since(&self, number: u64) -> (Vec<Line>, u64) {
        let skip = usize::try_from(number.saturating_sub(self.dropped)).unwrap_or(usize::MAX);
        let lines = self.lines.iter().skip(skip).cloned().collect();
        (lines, self.dropped + self.lines.len() as u64)
    }

    /// The last lines that a generation has written to stderr: from its last panic on, whose backtrace
    /// may be long.
    pub(super) fn last_words(&self, generation: Generation) -> Vec<String> {
        let own = |line: &&Line| line.generation == generation && line.stream == Stream::Stderr;
        let last = self.open.iter().chain(self.lines.iter().rev());
        let last = last.filter(own).take(LONGEST_PANIC);
        let mut words: Vec<String> = last
            .map(|line| String::from_utf8_lossy(&line.bytes).into_owned())
            .collect();
        let panic = words.iter().position(|line| line.contains(" panicked at "));
        words.truncate(panic.map_or(LAST_WORDS, |at| LAST_WORDS.max(at + 1)));
        words.reverse();
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(generation: u32, text: &str) -> Chunk {
        Chunk {
            generation: Generation(generation),
            stream: Stream::Stderr,
            bytes: text.into(),
            room: None,
        }
    }

    #[test]
    fn the_oldest_lines_go_and_the_numbers_stay() {
        let mut logs = Logs::default();
        logs.add(&chunk(1, "a\nb\n"));
        assert_eq!(logs.since(0).1, 2);
        assert_eq!(logs.since(1).0[0].bytes, b"b");
        let long = "x".repeat(MOST - 2);
        logs.add(&chunk(2, &format!("{long}\n")));
        let (lines, next) = logs.since(0);
        assert_eq!((lines.len(), next), (1, 3));
        logs.add(&chunk(2, &"x".repeat(2 * MOST)));
        assert_eq!(logs.since(0).1, 3);
        logs.add(&chunk(2, "\n"));
        assert_eq!(logs.since(0).1, 4);
        assert!(logs.bytes <= MOST + 1, "{}", logs.bytes);
        assert_eq!(logs.since(4).0, []);
        assert_eq!(logs.since(9).0, []);
    }

    #[test]
    fn the_last_words_are_those_of_one_generation() {
        let mut logs = Logs::default();
        logs.add(&chunk(1, "a\nb\nc"));
        logs.add(&chunk(2, "d\n"));
        assert_eq!(logs.last_words(Generation(1)), ["a", "b", "c"]);
        logs.add(&chunk(1, "c\n"));
        assert_eq!(logs.last_words(Generation(1)), ["a", "b", "cc"]);
        logs.add(&chunk(1, &"x\n".repeat(LAST_WORDS)));
        assert_eq!(logs.last_words(Generation(1)), ["x"; LAST_WORDS]);
    }

    #[test]
    fn a_panic_is_seen_from_its_beginning() {
        let mut logs = Logs::default();
        logs.add(&chunk(1, "thread 'old' panicked at a.rs:1:1:\n"));
        logs.add(&chunk(1, "thread 'main' panicked at b.rs:1:1:\nmessage\n"));
        logs.add(&chunk(1, &"frame\n".repeat(100)));
        let words = logs.last_words(Generation(1));
        assert_eq!(words.len(), 102);
        assert_eq!(
            words[..2],
            ["thread 'main' panicked at b.rs:1:1:", "message"]
        );
        logs.add(&chunk(1, &"frame\n".repeat(LONGEST_PANIC)));
        assert_eq!(logs.last_words(Generation(1)), ["frame"; LAST_WORDS]);
    }
}
