//! Color, decided once; the output makes sense without it.

use crate::report::text::Level;

/// Whether and how text is colored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// It is.
    pub color: bool,
}

impl Style {
    /// Text in the color of a level.
    pub fn paint(self, level: Level, text: &str) -> String {
        let code = match level {
            Level::Detail => "2",
            Level::Info => "36",
            Level::Good => "1;32",
            Level::Warn => "1;33",
            Level::Bad => "1;31",
        };
        self.with(code, text)
    }

    /// Text that stays in the background.
    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.color {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::strip;

    #[test]
    fn color_goes_on_and_off() {
        let painted = Style { color: true }.paint(Level::Bad, "error");
        assert_eq!(painted, "\u{1b}[1;31merror\u{1b}[0m");
        assert_eq!(strip(&painted), "error");
        assert_eq!(Style { color: false }.paint(Level::Bad, "error"), "error");
        assert_eq!(
            strip("\u{1b}[1m\u{1b}[92m   Compiling\u{1b}[0m a"),
            "   Compiling a"
        );
    }
}
