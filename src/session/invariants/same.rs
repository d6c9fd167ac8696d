//! When two states count as the same: everything in them is equal, but for the numbers of generations,
//! commands and contents (of which only the order counts), the time at which it happened (of which only
//! the distance from now counts), and what is only told to the user.
//!
//! A state is read from its `Debug` text: so a field that is added to the session counts by itself. If
//! too much counted as the same, states would be missed, but no failure would be wrong.

use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::play::{BEGIN, Play};

/// Later than this, a moment that has passed makes no difference: the longest span of the rules.
const LONG_AGO: Duration = Duration::from_mins(1);

/// Reads states; keeps its buffers.
#[derive(Debug, Default)]
pub(super) struct Reader {
    text: Vec<u8>,
    numbers: Vec<(Word, u64)>,
    sorted: Vec<(Word, u64)>,
    /// What the last piece of text says of the next one.
    after: After,
    /// The brackets that are open in what is skipped.
    skipped: Option<usize>,
}

/// What a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    Generation,
    Job,
    Digest,
    Moment,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum After {
    #[default]
    Nothing,
    /// The name of something that is only told to the user.
    Told,
    /// The name of what is numbered, then its bracket.
    Name(Word),
    Number(Word),
    /// The seconds of a moment, its point, and all of it.
    Seconds(u64),
    Point(u64),
    Nanoseconds(u64),
}

impl Reader {
    /// A number that two states share if they count as the same.
    pub(super) fn read(&mut self, play: &Play) -> u64 {
        self.text.clear();
        self.numbers.clear();
        (self.after, self.skipped) = (After::Nothing, None);
        // Nothing here can fail.
        write!(self, "{:?}{:?}", play.session, play.world).unwrap();
        self.sorted.clone_from(&self.numbers);
        self.sorted.sort_unstable();
        self.sorted.dedup();
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.text);
        let now = u64::try_from(play.now.as_nanos()).unwrap();
        let long_ago = u64::try_from(LONG_AGO.as_nanos()).unwrap();
        for number in &self.numbers {
            let (word, value) = *number;
            if word == Word::Moment {
                let past = now.saturating_sub(value).min(long_ago);
                (past, value.saturating_sub(now)).hash(&mut hasher);
            } else {
                self.sorted.binary_search(number).hash(&mut hasher);
                let first = self.sorted.partition_point(|(known, _)| *known < word);
                first.hash(&mut hasher);
            }
        }
        hasher.finish()
    }

    fn number(&mut self, word: Word, number: u64) {
        self.text.push(b'#');
        self.numbers.push((word, number));
    }
}

/// The text comes in pieces: names, numbers and brackets each by itself.
impl Write for Reader {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        if let Some(open) = &mut self.skipped {
            match piece {
                "(" | "[" | "{" | " { " => *open += 1,
                ")" | "]" | "}" | " }" if *open > 0 => *open -= 1,
                ")" | "]" | "}" | " }" | ", " if *open == 0 => self.skipped = None,
                _ => {}
            }
            if self.skipped.is_some() {
                return Ok(());
            }
        }
        let Some(first) = piece.bytes().next() else {
            return Ok(());
        };
        let after = std::mem::take(&mut self.after);
        if first.is_ascii_digit() {
            match (after, piece.parse()) {
                (After::Number(word), Ok(number)) => {
                    self.number(word, number);
                    return Ok(());
                }
                (After::Point(whole), Ok(part)) => {
                    let digits = u32::try_from(piece.len()).unwrap();
                    let part: u64 = part;
                    let nanoseconds = part * 10_u64.pow(9 - digits);
                    self.after = After::Nanoseconds(whole * 1_000_000_000 + nanoseconds);
                    return Ok(());
                }
                (_, Ok(number)) if (BEGIN.as_secs()..2 * BEGIN.as_secs()).contains(&number) => {
                    self.after = After::Seconds(number);
                    return Ok(());
                }
                _ => {}
            }
        }
        self.after = match after {
            After::Nothing => named(first, piece),
            After::Seconds(seconds) if piece == "." => After::Point(seconds),
            After::Seconds(seconds) => {
                self.number(Word::Moment, seconds * 1_000_000_000);
                After::Nothing
            }
            After::Nanoseconds(moment) => {
                self.number(Word::Moment, moment);
                After::Nothing
            }
            After::Told if piece == ": " || piece == "(" => {
                self.skipped = Some(0);
                After::Nothing
            }
            After::Name(word) if piece == "(" => After::Number(word),
            After::Told | After::Name(_) | After::Number(_) | After::Point(_) => After::Nothing,
        };
        self.text.extend_from_slice(piece.as_bytes());
        Ok(())
    }
}

/// What a name says of what follows. Most pieces are none of these, which the first byte tells.
fn named(first: u8, piece: &str) -> After {
    let names: &[&str] = match first {
        b'G' if piece == "Generation" => return After::Name(Word::Generation),
        b'J' if piece == "JobId" => return After::Name(Word::Job),
        b'D' if piece == "Digest" => return After::Name(Word::Digest),
        b'C' => &["Changed"],
        b'a' => &["answer"],
        b'd' => &["digest"],
        b'h' => &["hints"],
        b'l' => &["launched"],
        b'n' => &["numbered", "numbered_jobs"],
        b'p' => &["past", "phases"],
        b's' => &["said_overlap", "said_streams", "since"],
        b'u' => &["uncaptured", "unclaimed"],
        _ => return After::Nothing,
    };
    if names.contains(&piece) {
        After::Told
    } else {
        After::Nothing
    }
}
