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

#[cfg(any(test, fuzzing))]
pub(crate) mod hostile_tests {
    use super::*;
    use crate::hostile::Target;

    const FILES: &[&str] = &[
        "#:schema https://example.com/reload.schema.json\n[build]\nbin = \"app\"\nfeatures = [\"a\", \"b/c\"]\n\
         release = true\nconfig = [\"build.jobs=2\"]\njobs = -1\non_change = \"queue\"\n",
        "[app]\nargs = [\"--port\", \"0\"]\nready = \"log:^listening on (\\\\d+)\"\nsettle = \"1m 30s\"\n\
         stop_signal = \"INT\"\n[app.env]\nRUST_LOG = 'debug'\n",
        "[[listen]]\naddress = \"web=127.0.0.1:3000\"\n[[listen]]\naddress = \"unix:run/app.sock\"\n\
         name = \"x\"\n",
        "[watch]\npaths = [\"../shared/**\"]\nignore = [\"*.tmp\", \"a{b,c}[d-f]?\", \"!/x/\"]\nquiet = \"50ms\"\n",
        "[[on]]\npaths = [\"static/*.css\"]\ndo = \"reload-browser\"\n[[on]]\npaths = [\"q/*.sql\"]\n\
         do = [\"run:make x\", \"restart\"]\n",
        "[hooks]\nbefore_build = [\"make\", \"css\"]\nafter_live = \"curl localhost\"\n[handover]\n\
         mode = \"stop-first\"\n",
        "[env.ci.app]\nready = \"delay:5s\"\n[env.ci.build]\nprofile = \"fast\"\n[env.a.env.b.app]\nargs = []\n",
        "[livereload]\nenabled = true\nport = 35729\nhosts = [\"app.test\"]\neditor = \"vscode\"\n[page]\n\
         enabled = false\n[log]\nfile = \"app.log\"\n",
        "when = 1979-05-27T07:32:00-08:00\na.b.\"c d\" = { e = 1_000, f = 0x1f, g = inf }\nh = '''\n\\x'''\n",
    ];

    pub(crate) fn any_file_is_read_or_refused_with_a_way_out() -> Target {
        let path = Path::new(".reload.toml");
        Target::text(FILES, 20, |text| match parse(path, text) {
            Ok(layer) => {
                // As values, it is the same.
                let table: toml::Table = text.parse().unwrap();
                assert_eq!(
                    table.try_into(),
                    Ok::<Layer, toml::de::Error>(layer.clone())
                );
                assert_eq!(layer.changed(&layer), []);
                let mut other = layer.clone();
                other.rebase(Path::new("dir"));
                let over = other.clone().over(layer);
                // What is above counts; a table adds to a table.
                assert_eq!(other.over(over.clone()).changed(&over), []);
            }
            Err(failure) => {
                assert!(failure.message.starts_with(".reload.toml:"), "{failure}");
                let hint = failure.hint.as_deref().unwrap_or_default();
                assert!(!hint.is_empty(), "{failure}");
            }
        })
    }
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

    /// Deeper than anybody writes, and than a stack has room for.
    #[test]
    fn what_is_nested_deeply_is_refused() {
        let path = Path::new(".reload.toml");
        let deep = 20_000;
        let (lists, tables) = ("[".repeat(deep), "{ a = ".repeat(deep));
        let dotted = "env.a.".repeat(deep);
        for text in [
            format!("app.args = {lists}{}\n", "]".repeat(deep)),
            format!("app.env = {tables}{}\n", "}".repeat(deep)),
            format!("{dotted}app.args = []\n"),
            format!("[{dotted}app]\n"),
        ] {
            parse(path, &text).unwrap_err();
        }
    }
}
