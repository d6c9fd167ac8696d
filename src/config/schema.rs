//! Writes the JSON Schema of `.reload.toml` (`docs/reload.schema.json`, `hotrun schema`) from the
//! definition of the settings: editors complete and check the file by it. Pure.

use serde_json::{Map, Value, json};

use super::layer::{Key, SECTIONS, Section};
use super::value::Shape;

/// The path of the schema in hotrun's repository.
const IN_REPOSITORY: &str = "docs/reload.schema.json";

/// The keys without which an entry of a section that can be repeated means nothing; what reads the file
/// refuses it.
const REQUIRED: [(&str, &[&str]); 2] = [("listen", &["address"]), ("on", &["paths", "do"])];

/// Where this version's schema can be fetched: in hotrun's repository, if its manifest names one.
pub fn url() -> Option<String> {
    url_in(env!("CARGO_PKG_REPOSITORY"), env!("CARGO_PKG_VERSION"))
}

fn url_in(repository: &str, version: &str) -> Option<String> {
    let repository = repository.trim_end_matches('/').trim_end_matches(".git");
    let is_known = repository.starts_with("http");
    is_known.then(|| format!("{repository}/raw/v{version}/{IN_REPOSITORY}"))
}

/// The whole schema, as JSON in lines. It is in draft 7, which the language servers for TOML know.
pub fn schema() -> String {
    let once = SECTIONS.0.iter().map(|section| (section, false));
    let repeated = SECTIONS.1.iter().map(|section| (section, true));
    let mut definitions = Map::new();
    let mut properties = Map::new();
    for (section, is_repeated) in once.chain(repeated) {
        definitions.insert(section.name.to_owned(), of_section(section));
        let one = json!({ "$ref": format!("#/definitions/{}", section.name) });
        let entry = if is_repeated {
            json!({ "type": "array", "items": one })
        } else {
            one
        };
        properties.insert(section.name.to_owned(), entry);
    }
    let overlay = json!({
        "description": "What `--env NAME` lays over the rest.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    definitions.insert("overlay".into(), overlay);
    let env = json!({
        "description": "Overlays: `--env NAME` chooses one.",
        "type": "object",
        "additionalProperties": { "$ref": "#/definitions/overlay" },
    });
    properties.insert("env".into(), env);
    let mut whole = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "hotrun",
        "description": "Settings of hotrun for a project: `.reload.toml`.",
        "type": "object",
        "definitions": definitions,
        "properties": properties,
        "additionalProperties": false,
    });
    if let Some(url) = url() {
        whole["$id"] = url.into();
    }
    format!("{whole:#}\n")
}

fn of_section(section: &Section) -> Value {
    let properties = section.keys.iter().map(|key| {
        let name = key.name.trim_start_matches("r#");
        (name.to_owned(), of_key(key))
    });
    let mut whole = json!({
        "description": sentence(section.about),
        "type": "object",
        "properties": properties.collect::<Map<_, _>>(),
        "additionalProperties": false,
    });
    if let Some((_, required)) = REQUIRED.iter().find(|(name, _)| *name == section.name) {
        whole["required"] = json!(required);
    }
    whole
}

fn of_key(key: &Key) -> Value {
    let mut schema = (key.schema)();
    schema["description"] = sentence(key.about).into();
    if let Some(default) = (key.default)() {
        // What is no text is written in JSON as in TOML.
        let as_it_is = (key.shape != Shape::Text).then(|| serde_json::from_str(&default).ok());
        schema["default"] = as_it_is.flatten().unwrap_or(Value::String(default));
    }
    schema
}

/// The lines of a doc comment as one.
fn sentence(lines: &[&str]) -> String {
    let trimmed: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    trimmed.join(" ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use regex::Regex;

    use super::super::file;
    use super::*;

    /// With `BLESS=1` in the environment the file is written anew.
    #[test]
    fn the_schema_is_what_the_definition_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(IN_REPOSITORY);
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        if written != schema() && std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, schema()).unwrap();
        }
        let is_same = written == schema();
        assert!(is_same, "run the test once with BLESS=1");
    }

    /// What is wrong with a value by a schema: as much of JSON Schema as there is in ours.
    fn wrong(whole: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
        let known = [
            "$schema",
            "$id",
            "$ref",
            "additionalProperties",
            "anyOf",
            "default",
            "definitions",
            "description",
            "enum",
            "items",
            "minItems",
            "minLength",
            "pattern",
            "properties",
            "propertyNames",
            "required",
            "title",
            "type",
        ];
        for key in schema.as_object()?.keys() {
            assert!(known.contains(&&**key), "{key} is not checked here");
        }
        let refused = |what: &str| Some(format!("{at}: {what}"));
        if let Some(path) = schema["$ref"].as_str() {
            let schema = whole.pointer(path.trim_start_matches('#')).unwrap();
            return wrong(whole, schema, value, at);
        }
        if let Some(any) = schema["anyOf"].as_array() {
            let all = any.iter().map(|one| wrong(whole, one, value, at));
            if all.into_iter().all(|one| one.is_some()) {
                return refused("none of them");
            }
        }
        if let Some(known) = schema["enum"].as_array()
            && !known.contains(value)
        {
            return refused("unknown word");
        }
        let is = match schema["type"].as_str() {
            Some("string") => value.is_string(),
            Some("boolean") => value.is_boolean(),
            Some("integer") => value.is_i64(),
            Some("array") => value.is_array(),
            Some("object") => value.is_object(),
            _ => true,
        };
        if !is {
            return refused("wrong type");
        }
        if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
            && !Regex::new(pattern).unwrap().is_match(text)
        {
            return refused("no match");
        }
        if value.as_str() == Some("") && schema["minLength"] == 1
            || value.as_array().is_some_and(Vec::is_empty) && schema["minItems"] == 1
        {
            return refused("empty");
        }
        let required = schema["required"].as_array().into_iter().flatten();
        if required
            .into_iter()
            .any(|key| value.get(key.as_str().unwrap()).is_none())
        {
            return refused("incomplete");
        }
        let items = value.as_array().into_iter().flatten();
        let items = items.map(|item| wrong(whole, &schema["items"], item, at));
        let fields = value.as_object().into_iter().flatten().map(|(key, field)| {
            let at = format!("{at}.{key}");
            let name = Value::String(key.clone());
            if let Some(problem) = wrong(whole, &schema["propertyNames"], &name, &at) {
                return Some(problem);
            }
            match (&schema["properties"][key], &schema["additionalProperties"]) {
                (Value::Null, Value::Bool(false)) => Some(format!("{at}: unknown key")),
                (Value::Null, further) => wrong(whole, further, field, &at),
                (known, _) => wrong(whole, known, field, &at),
            }
        });
        items.chain(fields).flatten().next()
    }

    fn checked(text: &str) -> Option<String> {
        let value: Value = toml::from_str(text).unwrap();
        let whole = serde_json::from_str(&schema()).unwrap();
        wrong(&whole, &whole, &value, "")
    }

    #[track_caller]
    fn accepts(text: &str) {
        file::parse(Path::new("x"), text).unwrap();
        assert_eq!(checked(text), None, "{text}");
    }

    #[track_caller]
    fn refuses(text: &str, problem: &str) {
        assert!(file::parse(Path::new("x"), text).is_err(), "{text}");
        assert_eq!(checked(text).as_deref(), Some(problem), "{text}");
    }

    #[test]
    fn what_is_read_is_accepted() {
        accepts("");
        for path in [".reload.toml", "fixtures/hello/.reload.toml"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
            // The fixtures are not in a published crate.
            if let Ok(text) = std::fs::read_to_string(path) {
                accepts(&text);
            }
        }
        for text in [
            "build.jobs = 2",
            "build.jobs = '-1'",
            "app.settle = '1m 30s'",
            "app.settle = ' 5 sec '",
            "app.stop_signal = 'SIGINT'",
            "app.stop_signal = 'auto'",
            "app.ready = 'https:/up?x=1'",
            "app.ready = 'http:/'",
            "app.ready = 'log:'",
            "app.ready = 'delay:2s'",
            "app.env = { A = '1', 'B C' = '' }",
            "hooks.before_build = 'make'",
            "hooks.before_build = ['make', 'it']",
            "[[on]]\npaths = ['*.css']\ndo = \"run:make\\nit\"",
            "[[on]]\npaths = ['*.css']\ndo = ['signal:INT', 'ignore']",
            "[env.ci.watch]\npoll = '1s'",
        ] {
            accepts(text);
        }
        for address in [
            "127.0.0.1:0",
            "[::1]:3000",
            "[fe80::1%2]:80",
            ":3000",
            "localhost:80",
            "udp::5353",
            "tcp:1.2.3.4:5",
            "web=:3000",
            "unix:a=b",
            "web=unix-dgram:a",
            "udp:[::]:53",
        ] {
            accepts(&format!("[[listen]]\naddress = '{address}'"));
        }
    }

    #[test]
    fn the_schema_of_a_version_has_its_url() {
        let expected = "https://x.y/z/hotrun/raw/v1.2.3/docs/reload.schema.json";
        for repository in ["https://x.y/z/hotrun", "https://x.y/z/hotrun.git/"] {
            assert_eq!(url_in(repository, "1.2.3").as_deref(), Some(expected));
        }
        assert_eq!(url_in("", "1.2.3"), None);
    }

    #[test]
    fn what_is_refused_is_marked() {
        refuses("[build]\nbinn = 'x'", ".build.binn: unknown key");
        refuses("[biuld]", ".biuld: unknown key");
        refuses("[env.ci.app]\nargz = []", ".env.ci.app.argz: unknown key");
        refuses("[env.ci.env.x]", ".env.ci.env: unknown key");
        refuses("app.settle = '5'", ".app.settle: no match");
        refuses("app.settle = 'soon'", ".app.settle: no match");
        refuses("app.capture = 'yes'", ".app.capture: wrong type");
        refuses(
            "handover.mode = 'stopfirst'",
            ".handover.mode: unknown word",
        );
        refuses("app.ready = 'http:up'", ".app.ready: none of them");
        refuses("app.args = '--x'", ".app.args: wrong type");
        refuses("[[listen]]\naddress = '3000'", ".listen.address: no match");
        refuses("[[listen]]\nname = 'web'", ".listen: incomplete");
        refuses("[[on]]\npaths = ['*.css']", ".on: incomplete");
        refuses("[[on]]\ndo = 'restart'", ".on: incomplete");
        refuses("[[on]]\npaths = ['']\ndo = 'restart'", ".on.paths: empty");
        refuses(
            "[[on]]\npaths = ['a']\ndo = 'reload'",
            ".on.do: none of them",
        );
        refuses("[watch]\nignore = ['']", ".watch.ignore: empty");
        refuses("hooks.on_error = ' '", ".hooks.on_error: none of them");
        refuses("app.env = { '' = 'x' }", ".app.env.: no match");
    }
}
