//! Places in sources that a text names become links that open the user's editor there. Pure.

use std::fmt::Write as _;
use std::path::{Component, Path};
use std::sync::LazyLock;

use regex::Regex;

use super::ansi::Span;

/// A file, a line and a column, as compilers and panics name them.
static PLACE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"((?:\b[A-Za-z]:[/\\])?[^\s:()'`]+\.\w+):(\d+):(\d+)").ok());

/// Makes links of the places in these spans. `template` has `{path}`, `{line}` and `{column}`; relative
/// paths start at `root`.
pub(super) fn link(spans: Vec<Span>, root: &Path, template: &str) -> Vec<Span> {
    let Some(place) = &*PLACE else {
        return spans;
    };
    let mut linked = Vec::new();
    for span in spans {
        let mut done = 0;
        for found in place.captures_iter(&span.text) {
            let (Some(whole), Some(path)) = (found.get(0), found.get(1)) else {
                continue;
            };
            // The standard library's sources are not at the place that backtraces name.
            if path.as_str().starts_with("/rustc/") {
                continue;
            }
            let path = encoded(&root.join(path.as_str().trim_start_matches("./")));
            let url = template
                .replace("{path}", &path)
                .replace("{line}", &found[2])
                .replace("{column}", &found[3]);
            let piece = |text: &str, link| Span {
                text: text.into(),
                style: span.style.clone(),
                link,
            };
            linked.push(piece(&span.text[done..whole.start()], None));
            linked.push(piece(whole.as_str(), Some(url)));
            done = whole.end();
        }
        linked.push(Span {
            text: span.text[done..].into(),
            ..span
        });
    }
    linked.retain(|span| !span.text.is_empty());
    linked
}

/// A path as a part of a URL (RFC 3986, 2.1): it starts with `/`, also where paths start with a drive.
fn encoded(path: &Path) -> String {
    let mut text = String::new();
    for part in path.components() {
        match part {
            Component::RootDir => {}
            // A drive, whose colon URLs may have.
            Component::Prefix(drive) => _ = write!(text, "/{}", drive.as_os_str().display()),
            part => {
                text.push('/');
                encode(part.as_os_str().as_encoded_bytes(), &mut text);
            }
        }
    }
    text
}

fn encode(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        match byte {
            b'.' | b'_' | b'~' | b'-' => text.push(char::from(*byte)),
            _ if byte.is_ascii_alphanumeric() => text.push(char::from(*byte)),
            // Writing to a string can't fail.
            _ => _ = write!(text, "%{byte:02X}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ansi::spans;
    use super::*;
    use crate::sys::testing::{absolute, absolute_text};

    /// The link to a file, which on some systems is on a drive.
    fn url_of(path: &str) -> String {
        let drive = absolute_text("");
        let slash = if drive.is_empty() { "" } else { "/" };
        format!("vscode://file{slash}{drive}{path}")
    }

    fn links(text: &str) -> Vec<String> {
        let template = "vscode://file{path}:{line}:{column}";
        let linked = link(spans(text), &absolute("/a b"), template);
        let whole: String = linked.iter().map(|span| &*span.text).collect();
        let plain: String = spans(text).iter().map(|span| &*span.text).collect();
        assert_eq!(whole, plain);
        linked.into_iter().filter_map(|span| span.link).collect()
    }

    #[test]
    fn places_are_links() {
        for (text, expected) in [
            (
                "\x1b[1m--> \x1b[0msrc/main.rs:96:12\n   |",
                &["/a%20b/src/main.rs:96:12"][..],
            ),
            (
                "thread 'main' (7) panicked at src/é.rs:2:5:\nat ./src/b.rs:1:1",
                &["/a%20b/src/%C3%A9.rs:2:5", "/a%20b/src/b.rs:1:1"],
            ),
            (
                "at /home/me/.cargo/x-1.0/src/lib.rs:7:9",
                &["/home/me/.cargo/x-1.0/src/lib.rs:7:9"],
            ),
            ("at /rustc/abc/library/core/src/panicking.rs:1:2", &[]),
            ("12:30:01 listening on 127.0.0.1:3000", &[]),
        ] {
            let expected = expected.iter().map(|path| url_of(path));
            assert_eq!(links(text), expected.collect::<Vec<_>>(), "{text}");
        }
        let file = absolute("/x/a.rs");
        let text = format!("at {}:7:9", file.display());
        assert_eq!(links(&text), [url_of("/x/a.rs:7:9")]);
    }
}
