//! Values about browsers: the port of a server, and names of hosts. Pure.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer};
use serde_json::json;

use super::{Shape, Text, TextVisitor, Value, text, text_value, wrong};
use crate::sockets::spec::Wrong;

/// A TCP port that can be listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port(pub u16);

impl Text for Port {
    fn read(text: &str) -> Result<Self, Wrong> {
        match text.parse() {
            Ok(port) if port != 0 => Ok(Self(port)),
            _ => wrong(
                format!("`{text}` is no port"),
                "write a number from 1 to 65535",
            ),
        }
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor(PhantomData))
    }
}

impl Value for Port {
    const SHAPE: Shape = Shape::Toml;

    fn kind() -> String {
        "port".into()
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "integer", "minimum": 1, "maximum": u16::MAX })
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a host, as a browser has it in its address bar: without scheme and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(pub String);

impl Text for HostName {
    fn read(text: &str) -> Result<Self, Wrong> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if text.is_empty() || !text.bytes().all(is_name) {
            return wrong(
                format!("`{text}` is no name of a host"),
                "write it without scheme and port, like `app.test`",
            );
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

/// How a place in a source is opened in an editor: a URL with `{path}`, `{line}` and `{column}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditorUrl(pub String);

/// The editors that are known by name, and their URLs.
const EDITORS: [(&str, &str); 5] = [
    ("vscode", "vscode://file{path}:{line}:{column}"),
    ("vscodium", "vscodium://file{path}:{line}:{column}"),
    ("cursor", "cursor://file{path}:{line}:{column}"),
    ("zed", "zed://file{path}:{line}:{column}"),
    (
        "idea",
        "idea://open?file={path}&line={line}&column={column}",
    ),
];

impl EditorUrl {
    /// The URL of the editor with this name.
    pub fn of(name: &str) -> Option<Self> {
        let known = EDITORS.iter().find(|(known, _)| *known == name);
        known.map(|(_, url)| Self((*url).into()))
    }
}

impl Text for EditorUrl {
    fn read(text: &str) -> Result<Self, Wrong> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        let is_scheme = |scheme: &str| {
            let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
            !scheme.is_empty() && scheme.bytes().all(is_part)
        };
        if let Some(known) = Self::of(text) {
            return Ok(known);
        }
        if scheme.is_some_and(is_scheme) && text.contains("{path}") {
            return Ok(Self(text.into()));
        }
        let names: Vec<&str> = EDITORS.iter().map(|(name, _)| *name).collect();
        wrong(
            format!("`{text}` is neither an editor that is known nor a URL with `{{path}}`"),
            format!("write one of `{}`, or a URL", names.join("`, `")),
        )
    }
}

text_value! {
    EditorUrl: "editor", json!({ "anyOf": [
        { "enum": EDITORS.map(|(name, _)| name) },
        text(r"^[A-Za-z0-9+.-]+://.*\{path\}"),
    ] });
    HostName: "name", text("^[A-Za-z0-9._-]+$");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editors_are_known_by_name_or_url() {
        let read = |text| EditorUrl::read(text).ok().map(|url| url.0);
        assert!(read("zed").is_some_and(|url| url.starts_with("zed://")));
        let own = "emacs://open?at={path}";
        assert_eq!(read(own).as_deref(), Some(own));
        for text in [
            "",
            "vim",
            "emacs://open",
            "://{path}",
            "java script://{path}",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn ports_and_names_are_read() {
        assert_eq!(Port::read("35729"), Ok(Port(35729)));
        for text in ["0", "65536", "-1", "http", ""] {
            assert!(Port::read(text).is_err(), "{text}");
        }
        assert_eq!(HostName::read("App.test"), Ok(HostName("app.test".into())));
        for text in ["", "http://app.test", "app.test:3000", "*"] {
            assert!(HostName::read(text).is_err(), "{text}");
        }
    }
}
