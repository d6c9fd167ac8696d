//! What a terminal can show, by the variables that say so. Pure.

/// What a terminal can show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Screen {
    /// A line can be kept at its bottom.
    pub status_line: bool,
    /// Characters beyond ASCII.
    pub unicode: bool,
    /// Links (OSC 8).
    pub links: bool,
}

impl Screen {
    /// `is_terminal`: output is for a person; `chosen`: because the user says so.
    pub(super) fn by(
        variable: impl Fn(&str) -> Option<String>,
        is_terminal: bool,
        chosen: bool,
    ) -> Self {
        let value = |name: &'static str| variable(name).filter(|value| !value.is_empty());
        // What is not even named can be asked for nothing but lines, unless the user knows better.
        let moves = value("TERM").map_or(chosen, |name| name != "dumb");
        let status_line = is_terminal && moves;
        Self {
            status_line,
            unicode: is_unicode(value),
            links: status_line && has_links(value),
        }
    }
}

fn is_unicode(value: impl Fn(&'static str) -> Option<String>) -> bool {
    let mut locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(value);
    let locale = locale.next().unwrap_or_default().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// Only where it is known: elsewhere a link may be shown as garbage. tmux and screen pass on what they
/// know themselves, whatever they run in.
fn has_links(value: impl Fn(&'static str) -> Option<String>) -> bool {
    const TERMS: [&str; 4] = ["xterm-kitty", "xterm-ghostty", "alacritty", "foot"];
    const PROGRAMS: [&str; 4] = ["iTerm.app", "WezTerm", "ghostty", "vscode"];
    let term = value("TERM").unwrap_or_default();
    if ["screen", "tmux", "linux"]
        .iter()
        .any(|name| term.starts_with(name))
    {
        return false;
    }
    let vte = value("VTE_VERSION").and_then(|version| version.parse().ok());
    let program = value("TERM_PROGRAM").unwrap_or_default();
    TERMS.contains(&&*term)
        || PROGRAMS.contains(&&*program)
        || vte.is_some_and(|version: u32| version >= 5000)
        || value("KONSOLE_VERSION").is_some()
        || value("WT_SESSION").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(variables: &[(&str, &str)], chosen: bool) -> Screen {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Screen::by(variable, true, chosen)
    }

    #[test]
    fn a_terminal_without_cursor_control_gets_lines() {
        assert!(screen(&[("TERM", "xterm")], false).status_line);
        assert!(!screen(&[("TERM", "dumb")], false).status_line);
        assert!(!screen(&[("TERM", "dumb")], true).status_line);
        assert!(!screen(&[], false).status_line);
        assert!(screen(&[], true).status_line);
        let none = Screen::by(|_| Some("xterm".into()), false, false);
        assert!(!none.status_line && !none.links);
    }

    #[test]
    fn the_locale_says_which_characters_there_are() {
        for (variables, expected) in [
            (&[("LANG", "en_US.UTF-8")][..], true),
            (&[("LANG", "en_US.UTF-8"), ("LC_ALL", "C")], false),
            (
                &[("LANG", "C"), ("LC_ALL", ""), ("LC_CTYPE", "C.utf8")],
                true,
            ),
            (&[], false),
        ] {
            assert_eq!(screen(variables, false).unicode, expected, "{variables:?}");
        }
    }

    #[test]
    fn links_are_for_terminals_that_are_known_to_have_them() {
        for (variables, expected) in [
            (&[("TERM", "xterm-256color")][..], false),
            (&[("TERM", "xterm-kitty")], true),
            (&[("TERM", "xterm-256color"), ("VTE_VERSION", "7600")], true),
            (
                &[("TERM", "xterm-256color"), ("VTE_VERSION", "4800")],
                false,
            ),
            (&[("TERM", "tmux-256color"), ("VTE_VERSION", "7600")], false),
            (&[("TERM", "dumb"), ("TERM_PROGRAM", "vscode")], false),
        ] {
            assert_eq!(screen(variables, false).links, expected, "{variables:?}");
        }
    }
}
