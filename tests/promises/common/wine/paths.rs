//! Paths of this system as Wine shows them to programs for Windows, as those below the drive `Z:`, and back.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

/// A path as a program for Windows sees it.
pub(super) fn windows(path: &str) -> String {
    format!("Z:{}", path.replace('/', "\\"))
}

/// A text with the paths of this system again.
pub(super) fn native(text: &str) -> String {
    static PATH: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#"(?:\\\\\?\\)?[Zz]:[\\/]([^"';]*)"#).unwrap());
    let path = |found: &regex::Captures<'_>| format!("/{}", found[1].replace('\\', "/"));
    PATH.replace_all(text, path).into_owned()
}

/// A line of cargo's or rustc's output as their versions for Windows print it.
pub(super) fn told(line: &str) -> String {
    match serde_json::from_str::<Value>(line) {
        Ok(mut value @ Value::Object(_)) => {
            in_value(&mut value);
            format!("{value}\n")
        }
        _ if line.starts_with('/') => windows(line),
        _ => line.to_owned(),
    }
}

fn in_value(value: &mut Value) {
    match value {
        Value::String(text) if text.starts_with('/') => *text = windows(text),
        Value::String(text) => *text = text.replace("+file:///", "+file:///Z:/"),
        Value::Array(values) => values.iter_mut().for_each(in_value),
        Value::Object(fields) => fields.values_mut().for_each(in_value),
        _ => {}
    }
}

/// Rewrites what cargo has left beside the programs of this workspace, and does not read itself.
pub(super) fn translate_dep_info(workspace: &Path) {
    static PATH: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?m)(^| )(/[^ :\n]+)").unwrap());
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
    for target in entries(&workspace.join("target")) {
        for file in entries(&target.path().join("debug")) {
            let file = file.path();
            if file.extension().is_none_or(|extension| extension != "d") {
                continue;
            }
            let text = fs::read_to_string(&file).unwrap_or_default();
            let path = |found: &regex::Captures<'_>| format!("{}{}", &found[1], windows(&found[2]));
            let translated = PATH.replace_all(&text, path);
            if translated != text {
                fs::write(&file, &*translated).unwrap();
            }
        }
    }
}
