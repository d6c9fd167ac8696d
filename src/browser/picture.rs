//! What a person at a browser is shown of hotrun. Pure.

use std::path::Path;

use serde::Serialize;

use super::ansi::{Span, spans};
use super::links::link;
use crate::session::status::Status;

/// What hotrun does, and why the newest sources are not served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Picture {
    /// The name of the program; `None`: the project is being read.
    pub target: Option<String>,
    /// What hotrun is doing.
    #[serde(flatten)]
    pub status: Status,
    /// The errors of the compiler if the newest build failed, as it renders them.
    pub errors: Vec<Vec<Span>>,
    /// The last lines of the program if it failed.
    pub output: Vec<Span>,
}

/// How places in sources are opened in the user's editor.
#[derive(Clone, Copy, Debug)]
pub struct Editor<'a> {
    /// A URL with `{path}`, `{line}` and `{column}`.
    pub url: &'a str,
    /// Where relative paths start from.
    pub root: &'a Path,
}

impl Picture {
    /// Before anything is known.
    pub fn preparing() -> Self {
        Self::of(None, Status::preparing(), &[], &[], None)
    }

    /// A picture with the colors that the compiler and the program have written.
    pub fn of(
        target: Option<String>,
        status: Status,
        errors: &[&str],
        output: &[String],
        editor: Option<Editor<'_>>,
    ) -> Self {
        let shown = |text: &str| match editor {
            Some(Editor { url, root }) => link(spans(text), root, url),
            None => spans(text),
        };
        Self {
            target,
            status,
            errors: errors.iter().map(|text| shown(text.trim_end())).collect(),
            output: shown(output.join("\n").trim_end()),
        }
    }
}
