//! `docs/events.md`: generated from the definition of the events, as it is written. Read from there
//! are names, types and comments, so that they need not be written twice.

use std::fmt::Write as _;

/// Where events and what they are made of are defined.
const SOURCES: [&str; 5] = [
    include_str!("event.rs"),
    include_str!("values.rs"),
    include_str!("../lines.rs"),
    include_str!("../session/event.rs"),
    include_str!("../session/model.rs"),
];

/// What evidence is belongs to what is asked of the modules that act.
const ACTIONS: &str = include_str!("../session/action.rs");

const HEAD: &str = "\
# Events

`--events FILE` (`-`: stdout) and `--format json` (stdout) write one JSON object per line, in the
order in which things happened. Every object has

| Field | Type | Meaning |
|---|---|---|
| `v` | number | version of this schema, now 1; raised when a reader of an older one could be misled |
| `ms` | number | milliseconds since hotrun started, with microseconds behind the point (not in `output`) |
| `event` | string | what happened |

Events, fields and values may be added without a new version: a reader passes over an event that it does
not know, or whose values it does not know, and over fields that it does not know.
A `cause` is a phrase for people, and so are `reason`, `text` and `error`. A `hint` says what to do; the
terminal shows it on a line of its own.

- A *generation* is the number that the terminal shows as `g7`.
- A *time* ends in `_ms`: a number of milliseconds, with microseconds behind the point.
- A *path* is a string. One that is no UTF-8 is an object: `lossy`, a string with `�` (U+FFFD) for what
  is none, and `bytes`, all of its bytes with two hexadecimal digits each.
- An *address* is written as one declares it, with the port that was chosen: `127.0.0.1:3000` and
  `[::1]:3000` are TCP, `udp:127.0.0.1:5353` is UDP, `unix:/run/app.sock` a unix socket for connections
  and `unix-dgram:/run/log.sock` one for datagrams. Of what can only be inherited there is also
  `unix:@NAME` (abstract), `unix-seqpacket:PATH`, `vsock:CID:PORT` and `family-NUMBER`; a reader passes
  over forms that it does not know.

This file is generated from `src/report/event.rs`.
";

/// A variant or a field, as it is written.
#[derive(Debug, Default)]
struct Item {
    name: String,
    doc: String,
    /// Of a field, or of what a variant has in parentheses.
    kind: Option<String>,
    fields: Vec<Item>,
    /// What stands above it as a heading.
    heading: Option<String>,
}

/// A type with all that is in it.
struct Definition {
    doc: String,
    /// It is a struct.
    is_record: bool,
    items: Vec<Item>,
}

/// Reads the definition of this type. It is written as rustfmt writes it: an item begins a line, and what
/// is above it belongs to it.
fn definition(name: &str) -> Option<Definition> {
    let text = SOURCES
        .into_iter()
        .chain([ACTIONS])
        .find(|text| declared(text, name).is_some())?;
    let (at, is_record) = declared(text, name)?;
    let above: Vec<&str> = text[..at].lines().rev().collect();
    let attributes: Vec<&str> = above
        .iter()
        .take_while(|line| line.starts_with("#[") || line.starts_with("///"))
        .copied()
        .collect();
    let case = if attributes.iter().any(|line| line.contains("kebab-case")) {
        "-"
    } else {
        "_"
    };
    let doc: Vec<&str> = attributes
        .iter()
        .rev()
        .filter_map(|line| line.strip_prefix("/// "))
        .collect();
    let body = text[at..].lines().skip(1).take_while(|line| *line != "}");
    let mut items: Vec<Item> = Vec::new();
    let mut next = Item::default();
    let mut renamed = None;
    for line in body {
        let depth = line.len() - line.trim_start().len();
        let line = line.trim();
        if let Some(heading) = line.strip_prefix("// # ") {
            next.heading = Some(heading.to_owned());
        } else if let Some(doc) = line.strip_prefix("/// ") {
            if !next.doc.is_empty() {
                next.doc += " ";
            }
            next.doc += doc;
        } else if let Some((_, name)) = line.split_once("rename = \"") {
            renamed = name.split('"').next().map(str::to_owned);
        } else if line.starts_with(char::is_alphabetic) {
            let mut item = std::mem::take(&mut next);
            let line = line
                .trim_start_matches("pub ")
                .trim_end_matches([',', '{', ' ']);
            let (name, kind) = match (line.split_once(": "), line.split_once('(')) {
                (Some((name, kind)), _) => (name.to_owned(), Some(kind)),
                (None, Some((name, kind))) => (cased(name, case), kind.strip_suffix(')')),
                (None, None) => (cased(line, case), None),
            };
            item.name = renamed.take().unwrap_or(name);
            item.kind = kind.map(str::to_owned);
            match items.last_mut().filter(|_| depth > 4) {
                Some(variant) => variant.fields.push(item),
                None => items.push(item),
            }
        }
    }
    Some(Definition {
        doc: doc.join(" "),
        is_record,
        items,
    })
}

/// Where the declaration of a type begins, and whether it is a struct.
fn declared(text: &str, name: &str) -> Option<(usize, bool)> {
    let find = |word: &str| text.find(&format!("pub {word} {name} {{"));
    let found = find("enum").map(|at| (at, false));
    found.or_else(|| find("struct").map(|at| (at, true)))
}

/// `FooBar` as `foo-bar` or `foo_bar`.
fn cased(name: &str, between: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text += between;
        }
        text.extend(letter.to_lowercase());
    }
    text
}

/// A type in the words of JSON. One that is defined elsewhere is noted in `seen`.
fn type_words(kind: &str, seen: &mut Vec<String>) -> String {
    let inside = |of: &str| kind.strip_prefix(of)?.strip_suffix('>');
    if let Some(kind) = inside("Option<") {
        return format!("{} or null", type_words(kind, seen));
    }
    if let Some(kind) = inside("Vec<") {
        let one = type_words(kind, seen);
        let s = if one.ends_with(')') { "" } else { "s" };
        return format!("list of {one}{s}");
    }
    match kind {
        "String" => "string".into(),
        "bool" => "boolean".into(),
        "u16" | "u32" | "i32" | "usize" => "number".into(),
        "Generation" => "generation".into(),
        "Millis" => "time".into(),
        "AnyPath" => "path".into(),
        other => {
            if !seen.iter().any(|known| known == other) {
                seen.push(other.to_owned());
            }
            let name = cased(other, " ");
            format!("[{name}](#{})", name.replace(' ', "-"))
        }
    }
}

/// A comment in a cell of a table: a phrase, as its first word is no acronym.
fn in_table(doc: &str) -> String {
    let doc = doc.strip_suffix('.').unwrap_or(doc);
    let mut letters = doc.chars();
    match letters.next() {
        Some(first) if letters.next().is_some_and(|second| !second.is_uppercase()) => {
            first.to_lowercase().chain(doc.chars().skip(1)).collect()
        }
        _ => doc.to_owned(),
    }
}

/// The fields of an event, or of a value that is an object.
fn fields(text: &mut String, fields: &[Item], seen: &mut Vec<String>) {
    if fields.is_empty() {
        return;
    }
    text.push_str("\n| Field | Type | Meaning |\n|---|---|---|\n");
    for field in fields {
        let kind = type_words(field.kind.as_deref().unwrap_or_default(), seen);
        let doc = in_table(&field.doc);
        let _ = writeln!(text, "| `{}` | {kind} | {doc} |", field.name);
    }
}

/// The whole file.
fn reference() -> String {
    let mut text = HEAD.to_owned();
    let mut seen = Vec::new();
    let events = definition("Event").unwrap();
    for event in &events.items {
        if event.heading.as_deref() == Some("End") {
            break;
        }
        if let Some(heading) = &event.heading {
            let _ = writeln!(text, "\n## {heading}");
        }
        let _ = writeln!(text, "\n### `{}`\n\n{}", event.name, event.doc);
        fields(&mut text, &event.fields, &mut seen);
    }
    text.push_str("\n## Values\n");
    let mut done = 0;
    // What one is made of may be defined elsewhere as well.
    while let Some(name) = seen.get(done).cloned() {
        done += 1;
        let value = definition(&name).unwrap_or_else(|| panic!("`{name}` is not defined"));
        let _ = writeln!(text, "\n### {}\n\n{}", cased(&name, " "), value.doc);
        if value.is_record {
            fields(&mut text, &value.items, &mut seen);
            continue;
        }
        text.push_str("\n| Value | Meaning |\n|---|---|\n");
        for item in &value.items {
            let form = match &item.kind {
                Some(kind) => {
                    let kind = type_words(kind, &mut seen);
                    format!("`{{\"{}\": {kind}}}`", item.name)
                }
                None => format!("`\"{}\"`", item.name),
            };
            let _ = writeln!(text, "| {form} | {} |", in_table(&item.doc));
        }
    }
    text
}

/// With `BLESS=1` in the environment the file is written anew.
#[test]
fn the_reference_is_what_the_definition_says() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/events.md");
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    if written != reference() && std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, reference()).unwrap();
    }
    assert_eq!(written, reference(), "run the test once with BLESS=1");
}

/// A field without a word about it would be a gap in the reference.
#[test]
fn everything_is_explained() {
    let events = definition("Event").unwrap().items;
    assert!(events.len() > 30, "{events:?}");
    for event in events {
        assert!(!event.doc.is_empty(), "{}", event.name);
        for field in event.fields {
            assert!(!field.doc.is_empty(), "{}: {}", event.name, field.name);
        }
    }
}
