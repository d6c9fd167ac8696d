//! Mutations of inputs, each from a seed of its own.
//!
//! `HOTRUN_TEST_MUTATIONS` has each test try that many, or fewer where one takes long.
//! `HOTRUN_TEST_SEED` begins with another seed: with the one that a failure names, that input is the first.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::Target;

/// So many inputs are tried.
const USUAL: u64 = 20_000;
/// The longest input, in bytes.
const LONGEST: usize = 64 * 1024;
/// No input takes this long, on the busiest machine.
const LIMIT: Duration = Duration::from_mins(1);

/// What is inserted: what means something to one of the readers, and what means nothing to any.
const PIECES: &[&[u8]] = &[
    b"\0",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"\\",
    b"\\ ",
    b"\"",
    b"'",
    b"`",
    b"=",
    b":",
    b": ",
    b";",
    b",",
    b".",
    b"/",
    b"../",
    b"@",
    b"%",
    b"*",
    b"**/",
    b"[",
    b"]",
    b"[[",
    b"{",
    b"}",
    b"(",
    b"|",
    b"<",
    b">",
    b"#",
    b"-",
    b"+",
    b"\x1b[",
    b"\x1b[31m",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98\x80",
    b"\xc3\xa9",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xe2\x80\xae",
    b"\xc4\xb0",
];

/// Numbers at the ends of types.
const NUMBERS: &[&str] = &[
    "0",
    "-0",
    "-1",
    "1",
    "255",
    "256",
    "65535",
    "65536",
    "2147483647",
    "-2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "1e309",
    "0.1",
    "nan",
    "0x7fffffff",
    "007",
];

/// The same as bytes, of which the first are taken.
const BYTES: [u64; 10] = [
    0,
    1,
    u64::MAX,
    0x7fff_ffff_ffff_ffff,
    0x7fff_ffff,
    0x7fff,
    0x8000_0000_0000_0000,
    0x8000_0000,
    0x8000,
    0x80,
];

/// Numbers that look random and are the same in each run (splitmix64).
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    pub(crate) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// A place in so many bytes, or at their end.
    fn place(&mut self, length: usize) -> usize {
        self.below(length + 1)
    }

    /// A piece of so many bytes, mostly a short one.
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.place(length);
        let most = self.one(&[4, 16, 64, length]);
        start..length.min(start + self.place(most))
    }
}

/// Has the target read this, which is shown if it panics.
pub(super) fn shown(target: &Target, input: &[u8]) {
    let _shown = Shown(0, input);
    (target.read)(input);
}

/// Has the target read its inputs, and mutations of them: the usual number divided by its slowness. What
/// it panics or hangs at is shown.
pub(super) fn each(target: &Target) {
    let corpus: &Vec<Vec<u8>> = &target.corpus;
    for input in corpus {
        shown(target, input);
    }
    let first = number_of("HOTRUN_TEST_SEED").unwrap_or(1);
    let count = number_of("HOTRUN_TEST_MUTATIONS").unwrap_or(USUAL) / target.slowness;
    let at = AtomicU64::new(first);
    let (running, ended) = mpsc::channel();
    thread::scope(|scope| {
        let at = &at;
        scope.spawn(move || look_for_hangs(corpus, at, &ended));
        // Ends with this block, also by a panic.
        let _running: mpsc::Sender<()> = running;
        for seed in (first..).take(usize::try_from(count).unwrap()) {
            at.store(seed, Ordering::Relaxed);
            let input = mutation(corpus, seed);
            let _shown = Shown(seed, &input);
            (target.read)(&input);
        }
    });
}

fn number_of(key: &str) -> Option<u64> {
    std::env::var(key).ok().map(|text| text.parse().unwrap())
}

/// Shows the input if the test fails.
struct Shown<'a>(u64, &'a [u8]);

impl Shown<'_> {
    fn text(&self) -> String {
        let Self(seed, input) = self;
        let lossy = String::from_utf8_lossy(input);
        let bytes = input.escape_ascii();
        format!("HOTRUN_TEST_SEED={seed}: {lossy:?}\nb\"{bytes}\"")
    }
}

impl Drop for Shown<'_> {
    #[expect(clippy::print_stdout, reason = "what led to the failure")]
    fn drop(&mut self) {
        if thread::panicking() {
            println!("{}", self.text());
        }
    }
}

/// Ends all tests if no input has come to its end for long: one that hangs can't be stopped otherwise.
fn look_for_hangs(corpus: &[Vec<u8>], at: &AtomicU64, ended: &Receiver<()>) {
    let mut before = None;
    while ended.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
        let seed = at.load(Ordering::Relaxed);
        if before.replace(seed) == Some(seed) {
            let input = mutation(corpus, seed);
            // Not by `eprintln!`: what that prints is lost with the process.
            let text = Shown(seed, &input).text();
            writeln!(io::stderr(), "a reader hangs at\n{text}").ok();
            std::process::abort();
        }
    }
}

fn mutation(corpus: &[Vec<u8>], seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(6) {
        change(&mut input, corpus, &mut random);
        input.truncate(LONGEST);
    }
    input
}

fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let other = &corpus[random.below(corpus.len())];
    let at = random.place(input.len());
    match random.below(12) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = random.byte(),
        2 => drop(input.drain(random.range(input.len()))),
        3 => input.truncate(at),
        4 => {
            let range = random.range(input.len());
            let times = random.one(&[1, 2, 8, 300]);
            let repeated = input[range].repeat(times);
            insert(input, at, &repeated);
        }
        5 => {
            input.truncate(at);
            input.extend_from_slice(&other[random.place(other.len())..]);
        }
        6 => insert(input, at, &other[random.range(other.len())]),
        7 => {
            let bytes = random.one(&BYTES);
            let bytes = random.one(&[bytes.to_le_bytes(), bytes.to_be_bytes()]);
            let width = random.one(&[1, 2, 4, 8]).min(input.len() - at);
            input[at..at + width].copy_from_slice(&bytes[..width]);
        }
        // In the place of a number, if there is one behind.
        8 => {
            let is_digit = |byte: &u8| byte.is_ascii_digit();
            let start = input[at..].iter().position(is_digit);
            let start = start.map_or(at, |start| at + start);
            let length = input[start..].iter().take_while(|byte| is_digit(byte));
            let end = start + length.count();
            let number = random.one(NUMBERS).bytes();
            drop(input.splice(start..end, number));
        }
        9 => {
            let byte = random.one(PIECES)[0];
            let count = random.one(&[16, 130, 300, 5000]);
            insert(input, at, &vec![byte; count]);
        }
        _ => insert(input, at, random.one(PIECES)),
    }
}

fn insert(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    drop(input.splice(at..at, piece.iter().copied()));
}
