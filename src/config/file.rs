//! Reads `.reload.toml`. An error names its place in the file, with the nearest known name or the next
//! step. Pure.

use std::path::Path;

use super::layer::Layer;
use super::wording::reword;
use crate::exit::Failure;

/// Reads `text` as the configuration file that is shown as `path`.
pub fn parse(path: &Path, text: &str) -> Result<Layer, Failure> {
    let layer: Layer = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let (line, column) = position(text, at);
        let place = format!("{}:{line}:{column}", path.display());
        refused(&place, error.message(), text.get(at..).unwrap_or_default())
    })?;
    let mut whole = std::iter::once(&layer).chain(layer.env.values());
    match whole.find_map(incomplete) {
        Some((problem, hint)) => {
            Err(Failure::usage(format!("{}: {problem}", path.display())).hint(hint))
        }
        None => Ok(layer),
    }
}

/// What is missing or too much, where every value by itself is valid.
fn incomplete(layer: &Layer) -> Option<(String, &'static str)> {
    for (number, listen) in (1..).zip(layer.listen.iter().flatten()) {
        if listen.address.is_none() {
            let hint = "write `address = \"127.0.0.1:3000\"`";
            return Some((format!("[[listen]] number {number} has no `address`"), hint));
        }
    }
    for (number, rule) in (1..).zip(layer.on.iter().flatten()) {
        if rule.paths.as_ref().is_none_or(Vec::is_empty) {
            let hint = "write `paths = [\"config/*.toml\"]`";
            return Some((format!("[[on]] number {number} has no `paths`"), hint));
        }
        if rule.r#do.is_none() {
            let hint = "write `do = \"restart\"` or another reaction";
            return Some((format!("[[on]] number {number} has no `do`"), hint));
        }
    }
    let build = &layer.build;
    if build.bin.is_some() && build.example.is_some() {
        return Some(both("build.bin", "build.example"));
    }
    if build.release == Some(true) && build.profile.is_some() {
        return Some(both("build.release", "build.profile"));
    }
    let nested = |overlay: &Layer| !overlay.env.is_empty();
    if layer.env.values().any(nested) {
        let hint = "put every `[env.NAME]` at the top";
        return Some(("an overlay has no overlays of its own".into(), hint));
    }
    None
}

fn both(one: &str, other: &str) -> (String, &'static str) {
    let problem = format!("{one} and {other} exclude each other");
    (problem, "keep one of them")
}

/// The error for the parser's `message` about the input at `place`, which goes on with `text`.
pub(super) fn refused(place: &str, message: &str, text: &str) -> Failure {
    let (reason, hint) = reword(message, text);
    Failure::usage(format!("{place}: {reason}")).hint(hint)
}

/// Line and column, from 1, of a byte.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(text: &str, expected: &str) {
        let failure = parse(Path::new(".reload.toml"), text).unwrap_err();
        assert_eq!(failure.to_string(), expected);
    }

    #[test]
    fn mistakes_have_a_place_and_a_way_out() {
        case(
            "[build]\nbinn = \"x\"\n",
            ".reload.toml:2:1: `[build]` has no key `binn`\nhint: did you mean `bin`?",
        );
        case(
            "[handover]\nmode = \"stopfirst\"\n",
            ".reload.toml:2:8: `stopfirst` is none of `auto`, `overlap`, `stop-first`\n\
             hint: did you mean `stop-first`?",
        );
        case(
            "[app]\n\nsettle = 5\n",
            ".reload.toml:3:10: `5` has no unit\nhint: write `5ms` or `5s`",
        );
        case(
            "[env.ci.watch]\nignore = [\"*.tmp\", \"a{\"]\n",
            ".reload.toml:2:20: `a{` is no pattern: unclosed alternate group; missing '}' (maybe \
             escape '{' with '[{]'?)\nhint: write a pattern like `*.tmp` or `assets/**`",
        );
    }

    #[test]
    fn what_is_missing_or_too_much_is_named() {
        case(
            "[[listen]]\nname = \"web\"\n",
            ".reload.toml: [[listen]] number 1 has no `address`\n\
             hint: write `address = \"127.0.0.1:3000\"`",
        );
        case(
            "[[on]]\npaths = [\"*.css\"]\n",
            ".reload.toml: [[on]] number 1 has no `do`\n\
             hint: write `do = \"restart\"` or another reaction",
        );
        case(
            "[env.ci.build]\nbin = \"a\"\nexample = \"b\"\n",
            ".reload.toml: build.bin and build.example exclude each other\nhint: keep one of them",
        );
    }

    #[test]
    fn an_empty_file_is_all_defaults() {
        assert_eq!(parse(Path::new("x"), "").unwrap(), Layer::default());
    }
}
