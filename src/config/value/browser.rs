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

text_value! {
    Port: "port", json!({ "type": "integer", "minimum": 1, "maximum": u16::MAX });
    HostName: "name", text("^[A-Za-z0-9._-]+$");
}

#[cfg(test)]
mod tests {
    use super::*;

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
