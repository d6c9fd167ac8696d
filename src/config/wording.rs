//! Rewords the TOML parser's errors in the words of the reference, with the next step. Pure.

use super::layer::{SECTIONS, Section};

/// The hint if no better one fits.
const TOML: &str = "write sections like `[app]`, and lines like `settle = \"1s\"` below them";

/// The error and the next step, from the parser's `message` and the text from the place of the mistake
/// on.
pub(super) fn reword(message: &str, text: &str) -> (String, String) {
    let text = text.trim_end_matches('\n');
    own(message)
        .or_else(|| unknown(message))
        .or_else(|| of_another_kind(message, text))
        .unwrap_or_else(|| no_toml(message, text))
}

/// The known name nearest to an unknown one, if one is near.
pub(crate) fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let length = unknown.chars().count();
    let most = |known: &str| known.len().div_ceil(3);
    // To compare takes long for a long text, which is near to nothing.
    known
        .filter(|known| known.chars().count().abs_diff(length) <= most(known))
        .map(|known| (strsim::damerau_levenshtein(unknown, known), known))
        .filter(|(distance, known)| *distance <= most(known))
        .min()
        .map(|(_, known)| known)
}

/// Errors of the types of settings have their own hint.
fn own(message: &str) -> Option<(String, String)> {
    let (reason, hint) = message.split_once("\nhint: ")?;
    Some((reason.to_owned(), hint.to_owned()))
}

/// Serde names the unknown key first and then the known ones, between backticks.
fn unknown(message: &str) -> Option<(String, String)> {
    let names = message.strip_prefix("unknown field ")?;
    let mut names = names.split('`').skip(1).step_by(2);
    let unknown = names.next()?;
    let known: Vec<&str> = names.collect();
    let section = sections().find(|section| keys(section).eq(known.iter().copied()));
    let reason = match section {
        Some(section) => format!("{} has no key `{unknown}`", title(section)),
        None => format!("there is no section `{unknown}`"),
    };
    // Who writes one of these means something of the section that it is in.
    let is_general = ["enabled", "port"].contains(&unknown);
    let owner = sections().find(|section| keys(section).any(|key| key == unknown));
    let owner = owner.filter(|_| !is_general);
    let hint = if let Some(owner) = owner {
        format!("it is a key of {}", title(owner))
    } else if let Some(near) = nearest(unknown, known.iter().copied()) {
        format!("did you mean `{near}`?")
    } else {
        format!("there is `{}`", known.join("`, `"))
    };
    Some((reason, hint))
}

fn sections() -> impl Iterator<Item = &'static Section> {
    SECTIONS.0.iter().chain(SECTIONS.1)
}

fn keys(section: &'static Section) -> impl Iterator<Item = &'static str> {
    let keys = section.keys.iter();
    keys.map(|key| key.name.trim_start_matches("r#"))
}

fn title(section: &Section) -> String {
    let repeated = SECTIONS.1.iter().any(|other| other.name == section.name);
    if repeated {
        format!("`[[{}]]`", section.name)
    } else {
        format!("`[{}]`", section.name)
    }
}

/// A value of the wrong type, such as a number where a string is wanted.
fn of_another_kind(message: &str, text: &str) -> Option<(String, String)> {
    let (found, wanted) = message
        .strip_prefix("invalid type: ")?
        .rsplit_once(", expected ")?;
    let (kind, value) = match found.split_once(['`', '"']) {
        Some(("string ", value)) => ("a text", value.trim_end_matches('"')),
        Some(("boolean ", value)) => ("a boolean", value.trim_end_matches('`')),
        Some((_, value)) => ("a number", value.trim_end_matches('`')),
        None if found == "sequence" => ("a list", ""),
        None if text.starts_with(|c: char| c.is_ascii_digit()) => ("a date", ""),
        None => ("a table", ""),
    };
    let is_one = !value.is_empty();
    let (wanted, hint) = match wanted {
        "a boolean" => (
            "`true` or `false`",
            "write one of them, without quotes".into(),
        ),
        "a sequence" if is_one => ("a list", format!("put it in brackets: `[\"{value}\"]`")),
        "a sequence" if text.starts_with('[') => return Some(brackets(text)),
        "a sequence" => (
            "a list",
            "put a text in quotes and brackets: `[\"a\"]`".into(),
        ),
        "a map" => ("a table", "write `{ NAME = \"value\" }`".into()),
        "struct Layer" => (
            "a section",
            "variables of the app belong into `[app.env]`, an overlay is `[env.NAME.SECTION]`"
                .into(),
        ),
        _ if wanted.starts_with("struct ") => ("a section", of_section(wanted)),
        "a string" | "path string" if is_one => {
            ("a text", format!("put it in quotes: `\"{value}\"`"))
        }
        "a string" | "path string" | "a text in quotes" => {
            ("a text", "write one text in quotes".into())
        }
        wanted => (
            wanted,
            "put a text in quotes, and a list in brackets".into(),
        ),
    };
    let reason = if is_one {
        format!("`{value}` is {kind}, but {wanted} is wanted here")
    } else {
        format!("this is {kind}, but {wanted} is wanted here")
    };
    Some((reason, hint))
}

/// `[name]` where there can be several, or `[[name]]` where there can't.
fn brackets(text: &str) -> (String, String) {
    let ends = |c: char| c == '[' || c == ']';
    let name = text.trim_start_matches('[').split(ends).next();
    let name = name.unwrap_or_default().trim();
    if text.starts_with("[[") {
        let reason = format!("there is one `[{name}]`");
        return (reason, format!("write `[{name}]`, once"));
    }
    let reason = format!("there can be several `[[{name}]]`");
    (reason, format!("write `[[{name}]]`"))
}

fn of_section(wanted: &str) -> String {
    let name = wanted.trim_start_matches("struct ").to_lowercase();
    match sections().find(|section| section.name == name) {
        Some(section) => format!("write {} and its keys below it", title(section)),
        None => TOML.to_owned(),
    }
}

/// Invalid TOML: the parser's message ends with what it expected.
fn no_toml(message: &str, text: &str) -> (String, String) {
    let (what, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    let ends = |c: char| c.is_whitespace() || ",]}#".contains(c);
    let word = text.split(ends).next().unwrap_or_default();
    let one = expected
        .strip_prefix('`')
        .and_then(|rest| rest.strip_suffix('`'))
        .filter(|one| one.chars().count() == 1);
    let (reason, hint) = match what {
        "duplicate key" => (
            format!("`{word}` is here a second time"),
            "keep one of them",
        ),
        "string values must be quoted" if word.is_empty() => {
            ("there is no value".to_owned(), "write one behind the `=`")
        }
        "string values must be quoted" | "invalid boolean" => return no_value(word),
        "key with no value" => ("a key without a value".to_owned(), "write `KEY = VALUE`"),
        "missing escaped value" => (
            "this backslash means nothing".to_owned(),
            "put the text in single quotes, in which a backslash is one",
        ),
        "invalid basic string" if one.is_some() => {
            ("a text without its end".to_owned(), "put `\"` there")
        }
        what => match one {
            Some(one) => return (what.to_owned(), format!("put `{one}` there")),
            None => (message.trim_end().replace('\n', ", "), TOML),
        },
    };
    (reason, hint.to_owned())
}

fn no_value(word: &str) -> (String, String) {
    let bare = word.trim_matches(|c: char| "“”„«»’‘\"'".contains(c));
    let is_bool = ["yes", "no", "on", "off", "true", "false"];
    let hint = if is_bool.contains(&bare.to_lowercase().as_str()) {
        "write `true` or `false`".to_owned()
    } else {
        format!("put a text in quotes: `\"{bare}\"`")
    };
    (format!("`{word}` is no value"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(message: &str, text: &str, reason: &str, hint: &str) {
        let (found, step) = reword(message, text);
        assert_eq!((&*found, &*step), (reason, hint));
    }

    #[test]
    fn the_parser_is_put_into_words() {
        case(
            "`5` has no unit\nhint: write it",
            "",
            "`5` has no unit",
            "write it",
        );
        case(
            "invalid type: integer `5`, expected a string",
            "5",
            "`5` is a number, but a text is wanted here",
            "put it in quotes: `\"5\"`",
        );
        case(
            "string values must be quoted, expected literal string",
            "yes # please\n",
            "`yes` is no value",
            "write `true` or `false`",
        );
        case(
            "unclosed table, expected `]`",
            "",
            "unclosed table",
            "put `]` there",
        );
        case("something\nnew", "", "something, new", TOML);
    }

    #[test]
    fn only_what_is_near_is_meant() {
        let known = ["build", "app", "settle"];
        for (unknown, near) in [("ap", "app"), ("setle", "settle"), ("biuld", "build")] {
            assert_eq!(nearest(unknown, known.into_iter()), Some(near));
        }
        assert_eq!(nearest("bin", known.into_iter()), None);
    }
}
