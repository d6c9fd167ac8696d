//! The messages of `LiveReload`'s protocol 7, and one more for our own script. Pure.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::browser::Picture;
use crate::browser::ansi::Span;
use crate::session::model::Generation;
use crate::session::status::{Failed, State};

/// The protocol.
pub(super) const PROTOCOL: &str = "http://livereload.com/protocols/official-7";

/// The most errors, and the most characters of one, that a browser is shown.
const MOST_ERRORS: usize = 20;
const MOST_TEXT: usize = 16 * 1024;

/// Files that a page can load anew while it stays.
const SWAPPED: [&str; 17] = [
    "css", "less", "pcss", "postcss", "sass", "scss", "styl", "avif", "bmp", "cur", "gif", "ico",
    "jpeg", "jpg", "png", "svg", "webp",
];

/// What a server says.
#[derive(Serialize)]
#[serde(tag = "command", rename_all = "camelCase")]
enum Message<'a> {
    Hello {
        protocols: [&'static str; 1],
        #[serde(rename = "serverName")]
        server_name: &'static str,
        /// For our own script.
        #[serde(skip_serializing_if = "Option::is_none")]
        reloads: Option<u64>,
    },
    Reload {
        path: &'a str,
        #[serde(rename = "liveCSS")]
        live_css: bool,
    },
    /// For our own script: so many reloads there were.
    Reloads { count: u64 },
    /// For our own script: what is wrong, if something is.
    Picture(&'a Overlay),
}

/// What a client says.
#[derive(Deserialize)]
#[serde(tag = "command", rename_all = "camelCase")]
enum Said {
    Hello {
        #[serde(default)]
        protocols: Vec<String>,
    },
    #[serde(other)]
    Other,
}

/// What the overlay shows of a picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Overlay {
    target: Option<String>,
    state: State,
    live: Option<Generation>,
    problem: Option<Problem>,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Problem {
    kind: Failed,
    generation: Option<Generation>,
    text: String,
    errors: Vec<Vec<Span>>,
    /// So many errors are left out.
    more: usize,
    output: Vec<Span>,
}

impl Overlay {
    /// What a debugger does is no error.
    pub(super) fn of(picture: &Picture) -> Self {
        let problem = picture.status.problem.as_ref();
        let problem = problem.filter(|problem| problem.kind != Failed::Debugged);
        let problem = problem.map(|problem| Problem {
            kind: problem.kind,
            generation: problem.generation,
            text: problem.text.chars().take(MOST_TEXT).collect(),
            errors: picture
                .errors
                .iter()
                .take(MOST_ERRORS)
                .map(|error| shortened(error))
                .collect(),
            more: picture.errors.len().saturating_sub(MOST_ERRORS),
            output: shortened(&picture.output),
        });
        Self {
            target: picture.target.clone(),
            state: picture.status.state,
            live: picture.status.live,
            problem,
        }
    }

    pub(super) fn message(&self) -> String {
        written(&Message::Picture(self))
    }
}

/// The beginning of a text that is too long.
fn shortened(spans: &[Span]) -> Vec<Span> {
    let mut left = MOST_TEXT;
    let mut short = Vec::new();
    for span in spans {
        let text: String = span.text.chars().take(left).collect();
        let is_whole = text.len() == span.text.len();
        left -= text.chars().count();
        short.push(Span {
            text,
            ..span.clone()
        });
        if !is_whole {
            short.push(Span::plain("…"));
            break;
        }
    }
    short
}

/// Nothing in a message is refused by JSON.
fn written(message: &Message<'_>) -> String {
    serde_json::to_string(message).unwrap_or_default()
}

/// The server's greeting. `reloads`: for our own script, which has to know how many there were.
pub(super) fn hello(reloads: Option<u64>) -> String {
    written(&Message::Hello {
        protocols: [PROTOCOL],
        server_name: "hotrun",
        reloads,
    })
}

/// So many reloads there were, for our own script.
pub(super) fn counted(count: u64) -> String {
    written(&Message::Reloads { count })
}

/// The client greets, and speaks this protocol.
pub(super) fn is_hello(text: &str) -> bool {
    match serde_json::from_str(text) {
        Ok(Said::Hello { protocols }) => protocols.iter().any(|known| known == PROTOCOL),
        _ => false,
    }
}

/// The messages that have a browser load these files anew: one for each, or one for the whole page if
/// there is a file among them that a page can't swap, or none.
pub(super) fn reloads(paths: &[PathBuf]) -> Vec<String> {
    let is_swapped = |path: &PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        ending.is_some_and(|ending| SWAPPED.contains(&ending.to_ascii_lowercase().as_str()))
    };
    let whole = paths.iter().find(|path| !is_swapped(path));
    match whole.map(PathBuf::as_path) {
        Some(path) => vec![reload(path)],
        None if paths.is_empty() => vec![reload(Path::new("/"))],
        None => paths.iter().map(|path| reload(path)).collect(),
    }
}

/// The whole page.
pub(super) fn reload_all() -> String {
    reload(Path::new("/"))
}

fn reload(path: &Path) -> String {
    written(&Message::Reload {
        path: &path.to_string_lossy(),
        live_css: true,
    })
}

#[cfg(any(test, fuzzing))]
pub(crate) mod hostile_tests {
    use serde_json::Value;

    use super::*;
    use crate::hostile::Target;

    pub(crate) fn any_message_of_a_client_greets_or_does_not() -> Target {
        let hello = hello(Some(7));
        let corpus = [
            &*hello,
            r#"{"command":"hello","protocols":["http://livereload.com/protocols/official-7","x"]}"#,
            r#"{"command":"info","plugins":{"less":{"version":"1.0"}},"url":"http://localhost/"}"#,
        ];
        Target::text(&corpus, 10, |text| {
            is_hello(text);
            for message in reloads(&[PathBuf::from(text)]) {
                let message: Value = serde_json::from_str(&message).unwrap();
                assert_eq!(message["path"], text);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::session::status;

    fn paths(paths: &[&str]) -> Vec<Value> {
        let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
        let messages = reloads(&paths).into_iter();
        messages
            .map(|message| serde_json::from_str(&message).unwrap())
            .collect()
    }

    #[test]
    fn only_what_a_page_can_swap_is_named_one_by_one() {
        let reload = |path| json!({ "command": "reload", "path": path, "liveCSS": true });
        assert_eq!(paths(&[]), [reload("/")]);
        assert_eq!(
            paths(&["static/a.css", "b.PNG"]),
            [reload("static/a.css"), reload("b.PNG")]
        );
        assert_eq!(paths(&["a.css", "b.js", "c.html"]), [reload("b.js")]);
        assert_eq!(paths(&["css"]), [reload("css")]);
    }

    #[test]
    fn a_client_has_to_greet() {
        let hello = hello(None);
        assert!(is_hello(&hello), "{hello}");
        let monitoring = r#"{"command":"hello","protocols":["http://livereload.com/protocols/connection-check-1"]}"#;
        assert!(!is_hello(monitoring));
        for text in [
            "",
            "hello",
            "[]",
            r#"{"command":"info"}"#,
            r#"{"command":"hello"}"#,
        ] {
            assert!(!is_hello(text), "{text}");
        }
    }

    #[test]
    fn an_overlay_has_a_bounded_size() {
        let mut picture = Picture {
            errors: vec![vec![Span::plain(&"é".repeat(100_000))]; 50],
            ..Picture::preparing()
        };
        assert_eq!(Overlay::of(&picture).problem, None);
        picture.status.problem = Some(status::Problem {
            kind: Failed::Build,
            generation: Some(Generation(2)),
            text: "50 errors".into(),
        });
        let overlay = Overlay::of(&picture);
        assert!(overlay.message().len() < 2 * MOST_TEXT * MOST_ERRORS + 1000);
        let message: Value = serde_json::from_str(&overlay.message()).unwrap();
        assert_eq!(message["command"], "picture");
        assert_eq!(message["problem"]["more"], 30);
        assert_eq!(message["problem"]["generation"], 2);
        picture.status.problem.as_mut().unwrap().kind = Failed::Debugged;
        assert_eq!(Overlay::of(&picture).problem, None);
    }
}
