//! Text with ANSI colors, in pieces that a web page can show: each with names of styles, which are classes
//! of its style sheet. Whatever else a terminal would do is left out. Pure.

use anstyle_parse::{DefaultCharAccumulator, Params, Parser, Perform};
use serde::Serialize;

/// A piece of text that looks the same throughout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Span {
    /// The text.
    pub text: String,
    /// The names of its styles, separated by spaces: `bold`, `dim`, and one of the colors.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub style: String,
    /// Where it leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

impl Span {
    /// Text without any style.
    pub fn plain(text: &str) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }
}

const COLORS: [&str; 8] = [
    "black", "red", "green", "yellow", "blue", "magenta", "cyan", "white",
];

/// The text in pieces.
pub(super) fn spans(text: &str) -> Vec<Span> {
    let mut screen = Screen::default();
    let mut parser = Parser::<DefaultCharAccumulator>::new();
    for byte in text.bytes() {
        parser.advance(&mut screen, byte);
    }
    screen.end_span();
    screen.spans
}

#[derive(Debug, Default)]
struct Screen {
    spans: Vec<Span>,
    text: String,
    is_bold: bool,
    is_dim: bool,
    color: Option<&'static str>,
}

impl Screen {
    fn style(&self) -> String {
        let bold = self.is_bold.then_some("bold");
        let dim = self.is_dim.then_some("dim");
        let names = [bold, dim, self.color].into_iter().flatten();
        names.collect::<Vec<_>>().join(" ")
    }

    fn end_span(&mut self) {
        let style = self.style();
        let text = std::mem::take(&mut self.text);
        match self.spans.last_mut() {
            _ if text.is_empty() => {}
            Some(last) if last.style == style => last.text += &text,
            _ => self.spans.push(Span {
                text,
                style,
                link: None,
            }),
        }
    }

    /// "Select graphic rendition" (ECMA-48, 8.3.117).
    fn select(&mut self, numbers: &[u16]) {
        let mut numbers = numbers.iter();
        while let Some(number) = numbers.next() {
            match number {
                0 => (self.is_bold, self.is_dim, self.color) = (false, false, None),
                1 => self.is_bold = true,
                2 => self.is_dim = true,
                22 => (self.is_bold, self.is_dim) = (false, false),
                30..=37 => self.color = Some(COLORS[usize::from(number - 30)]),
                90..=97 => self.color = Some(COLORS[usize::from(number - 90)]),
                39 => self.color = None,
                // A color of 256, of which the first 16 have names, or one by its parts.
                38 | 48 => {
                    let kind = numbers.next();
                    let color = match kind {
                        Some(5) => numbers.next().copied(),
                        Some(2) => {
                            numbers.nth(2);
                            None
                        }
                        _ => None,
                    };
                    if *number == 38 {
                        let named = color.filter(|color| *color < 16);
                        self.color = named.map(|color| COLORS[usize::from(color % 8)]);
                    }
                }
                _ => {}
            }
        }
    }
}

impl Perform for Screen {
    fn print(&mut self, char: char) {
        self.text.push(char);
    }

    fn execute(&mut self, byte: u8) {
        if byte == b'\n' || byte == b'\t' {
            self.text.push(char::from(byte));
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], _: bool, action: u8) {
        if action == b'm' && intermediates.is_empty() {
            let numbers: Vec<u16> = params.iter().flatten().copied().collect();
            self.end_span();
            self.select(&numbers);
        }
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod hostile_tests {
    use super::*;
    use crate::hostile::Target;

    pub(crate) fn any_text_becomes_no_longer() -> Target {
        let corpus = [
            "\x1b[1m\x1b[38;5;9merror\x1b[0m: it\n\t\x1b[38;2;1;2;3mrgb\x1b[48;5;300m",
            "\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\ \u{9b}31m caf\u{e9}",
            "plain <b>\n",
        ];
        Target::text(&corpus, 10, |text| {
            let shown: String = spans(text).into_iter().map(|span| span.text).collect();
            assert!(shown.len() <= text.len());
            if !text.contains(char::is_control) {
                assert_eq!(shown, text);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<(String, String)> {
        let spans = spans(text).into_iter();
        spans.map(|span| (span.text, span.style)).collect()
    }

    fn expected(spans: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(text, style): &(&str, &str)| ((*text).into(), (*style).into());
        spans.iter().map(owned).collect()
    }

    #[test]
    fn colors_become_names() {
        for (text, spans) in [
            ("", &[][..]),
            ("plain <b>\n", &[("plain <b>\n", "")]),
            (
                "\x1b[1m\x1b[38;5;9merror\x1b[0m: it",
                &[("error", "bold red"), (": it", "")],
            ),
            (
                "\x1b[1;94m-->\x1b[22;39m a",
                &[("-->", "bold blue"), (" a", "")],
            ),
            (
                "\x1b[38;2;1;2;3ma\x1b[48;5;1mb\x1b[2mc",
                &[("ab", ""), ("c", "dim")],
            ),
            ("\x1b[38;5;200ma\x1b[m", &[("a", "")]),
        ] {
            assert_eq!(shown(text), expected(spans), "{text:?}");
        }
    }

    #[test]
    fn whatever_else_a_terminal_does_is_left_out() {
        for text in [
            "a\x1b[2Jb",
            "a\x1b]8;;http://evil.example\x1b\\b\x1b]8;;\x1b\\",
            "a\x07b",
            "a\x1b[?25lb",
            "a\rb",
        ] {
            assert_eq!(shown(text), expected(&[("ab", "")]), "{text:?}");
        }
        // What is cut off in the middle.
        assert_eq!(shown("a\x1b[3"), expected(&[("a", "")]));
    }
}
