//! The types of settings: how each is read from text, what its kind is called, and what is wrong with
//! text that it can't read. Pure.

mod browser;
mod pattern;
mod reaction;

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::Regex;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde_json::{Value as Json, json};

use crate::sockets::spec::{self, Spec, Wrong};
use crate::sys::signals;
pub use browser::{EditorUrl, HostName, Port};
pub use pattern::Pattern;
pub use reaction::{Command, Do, Dos};

/// How a value is written in an environment variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// As a string without quotes.
    Text,
    /// As in the file, or one element without quotes.
    List,
    /// As in the file.
    Toml,
}

/// What every value of a setting has.
pub trait Value: Sized {
    /// How the value is written in an environment variable.
    const SHAPE: Shape;

    /// What the kind of value is called in the reference.
    fn kind() -> String;

    /// The values in the file, as JSON Schema: at least all that can be read, for what an editor
    /// suggests and marks.
    fn schema() -> Json;

    /// Lays this value over that of a lower layer.
    #[must_use]
    fn over(self, _lower: Self) -> Self {
        self
    }

    /// Makes a relative path in it relative to this directory.
    fn rebase(&mut self, _dir: &Path) {}
}

/// A value that is written as one string.
pub trait Text: Sized {
    /// Parses the string.
    fn read(text: &str) -> Result<Self, Wrong>;
}

/// Deserializes a [`Text`] with its own errors. A number or `true` is read like the string that it is
/// written as, so that it gets the same errors.
pub(super) struct TextVisitor<T>(pub(super) PhantomData<T>);

impl<T: Text> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text in quotes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::read(text).map_err(|wrong| E::custom(format!("{}\nhint: {}", wrong.reason, wrong.hint)))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<T, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

/// Implements [`Value`] and `Deserialize` for types that are read by [`Text::read`] and have these
/// kinds and schemas.
macro_rules! text_value {
    ($($type:ty: $kind:expr, $schema:expr;)*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(TextVisitor(PhantomData))
            }
        }

        impl Value for $type {
            const SHAPE: Shape = Shape::Text;

            fn kind() -> String {
                $kind.into()
            }

            fn schema() -> serde_json::Value {
                $schema
            }
        }
    )*};
}
pub(super) use text_value;

text_value! {
    Time: "time", text(TIME);
    StopSignal: "`auto` or signal", json!({ "anyOf": [
        { "enum": ["auto", "TERM", "INT", "QUIT", "HUP", "USR1", "USR2"] },
        text(SIGNAL),
    ] });
    Ready: "proof of readiness", json!({ "anyOf": [
        { "enum": ["notify", "tcp", "http:/", "https:/"] },
        text(r"^https?:/([^/\s]\S*)?$"),
        text("^log:"),
        text(&TIME.replace('^', "^delay:")),
    ] });
    SocketName: "name", text("^[ -9;-~]{1,255}$");
    VariableName: "name", text("^[^=]+$");
    Jobs: "number", json!({ "anyOf": [
        { "type": "integer" },
        text(r"^([+-]?\d+|default)$"),
    ] });
}

/// A span of time, as a regular expression.
const TIME: &str = r"^\s*(\d[\d.]*\s*[a-zA-Zµ]+\s*)+$";

/// The name of a signal, as a regular expression.
const SIGNAL: &str = "^[A-Z][A-Z0-9]+$";

/// The schema of a text that matches a pattern.
fn text(pattern: &str) -> Json {
    json!({ "type": "string", "pattern": pattern })
}

fn wrong<T>(reason: String, hint: impl Into<String>) -> Result<T, Wrong> {
    let hint = hint.into();
    Err(Wrong { reason, hint })
}

impl Value for String {
    const SHAPE: Shape = Shape::Text;

    fn kind() -> String {
        "text".into()
    }

    fn schema() -> Json {
        json!({ "type": "string" })
    }
}

impl Value for bool {
    const SHAPE: Shape = Shape::Toml;

    fn kind() -> String {
        "`true` or `false`".into()
    }

    fn schema() -> Json {
        json!({ "type": "boolean" })
    }
}

impl<T: Value> Value for Vec<T> {
    const SHAPE: Shape = Shape::List;

    fn kind() -> String {
        format!("list of {}s", T::kind())
    }

    fn schema() -> Json {
        json!({ "type": "array", "items": T::schema() })
    }

    fn rebase(&mut self, dir: &Path) {
        for value in self {
            value.rebase(dir);
        }
    }
}

impl<K: Ord + Value, T: Value> Value for BTreeMap<K, T> {
    const SHAPE: Shape = Shape::Toml;

    fn kind() -> String {
        format!("table of {}s", T::kind())
    }

    fn schema() -> Json {
        json!({
            "type": "object",
            "propertyNames": K::schema(),
            "additionalProperties": T::schema(),
        })
    }

    fn over(self, mut lower: Self) -> Self {
        lower.extend(self);
        lower
    }
}

/// A path, from the directory of the file, or for a flag or a variable from the working directory.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub struct FilePath(pub PathBuf);

impl Value for FilePath {
    const SHAPE: Shape = Shape::Text;

    fn kind() -> String {
        "path".into()
    }

    fn schema() -> Json {
        json!({ "type": "string" })
    }

    fn rebase(&mut self, dir: &Path) {
        self.0 = dir.join(&self.0);
    }
}

/// How many compilers cargo runs at once: a number, or a negative one to subtract from the processors,
/// or `default`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jobs(pub String);

impl Text for Jobs {
    fn read(text: &str) -> Result<Self, Wrong> {
        let is_number = text.parse::<i32>().is_ok_and(|number| number != 0);
        if is_number || text == "default" {
            return Ok(Self(text.to_owned()));
        }
        wrong(
            format!("`{text}` is no number of jobs"),
            "write a number like `2`, or `-1` for one less than there are processors",
        )
    }
}

/// A value for cargo's own `--config`: `KEY=VALUE`, or a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CargoConfig(pub String);

impl<'de> Deserialize<'de> for CargoConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor(PhantomData))
    }
}

impl Text for CargoConfig {
    fn read(text: &str) -> Result<Self, Wrong> {
        Ok(Self(text.to_owned()))
    }
}

impl Value for CargoConfig {
    const SHAPE: Shape = Shape::Text;

    fn kind() -> String {
        "`KEY=VALUE` or path".into()
    }

    fn schema() -> Json {
        json!({ "type": "string" })
    }

    fn rebase(&mut self, dir: &Path) {
        let file = dir.join(&self.0);
        if (!self.0.contains('=') || file.is_file())
            && let Ok(file) = file.into_os_string().into_string()
        {
            self.0 = file;
        }
    }
}

/// A span of time with its unit: `300ms`, `5s`, `1m 30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub Duration);

impl Time {
    /// So many milliseconds.
    pub const fn ms(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_duration(self.0))
    }
}

/// The longest span: a longer one might overflow when added to a moment.
const LONGEST: Duration = Duration::from_hours(366 * 24);

impl Text for Time {
    fn read(text: &str) -> Result<Self, Wrong> {
        let number = text.trim();
        if number.starts_with(|c: char| c.is_ascii_digit()) && number.parse::<f64>().is_ok() {
            let hint = format!("write `{number}ms` or `{number}s`");
            return wrong(format!("`{text}` has no unit"), hint);
        }
        match humantime::parse_duration(text) {
            Ok(time) if time <= LONGEST => Ok(Self(time)),
            Ok(_) => wrong(
                format!("`{text}` is longer than a year"),
                "write `300ms`, `5s` or `1m`",
            ),
            Err(_) => wrong(
                format!("`{text}` is no time"),
                "write `300ms`, `5s` or `1m`",
            ),
        }
    }
}

/// A signal that asks a program to end; `None` is `auto`, the one that it catches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopSignal(pub Option<i32>);

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.and_then(signals::name).unwrap_or("auto");
        f.write_str(name.trim_start_matches("SIG"))
    }
}

impl Text for StopSignal {
    fn read(text: &str) -> Result<Self, Wrong> {
        if text == "auto" {
            return Ok(Self(None));
        }
        match signals::number(text).filter(|number| signals::may_ask_to_end(*number)) {
            Some(number) => Ok(Self(Some(number))),
            None => wrong(
                format!("`{text}` can't ask a program to end"),
                format!(
                    "write `auto`, or a signal like {}",
                    signals::ENDING_EXAMPLES
                ),
            ),
        }
    }
}

/// A configured proof of readiness.
#[derive(Clone, Debug)]
pub enum Ready {
    /// `READY=1` on `NOTIFY_SOCKET`.
    Notify,
    /// A probe over the network is answered.
    Asked(Question),
    /// A line of its output matches.
    Log(Regex),
    /// It has lived this long.
    Delay(Duration),
}

/// What a readiness probe asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// `GET` of this path answers with a status below 400.
    Http {
        /// Over TLS, with any certificate.
        tls: bool,
        /// The path.
        path: String,
    },
    /// A connection is accepted.
    Accept,
}

impl PartialEq for Ready {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Notify, Self::Notify) => true,
            (Self::Asked(a), Self::Asked(b)) => a == b,
            (Self::Log(a), Self::Log(b)) => a.as_str() == b.as_str(),
            (Self::Delay(a), Self::Delay(b)) => a == b,
            _ => false,
        }
    }
}

impl Text for Ready {
    fn read(text: &str) -> Result<Self, Wrong> {
        let no_proof = |reason: String| {
            wrong(
                reason,
                "write `notify`, `http:/path`, `https:/path`, `tcp`, `log:REGEX` or `delay:TIME`",
            )
        };
        match text.split_once(':') {
            None if text == "notify" => Ok(Self::Notify),
            None if text == "tcp" => Ok(Self::Asked(Question::Accept)),
            Some((scheme @ ("http" | "https"), path)) if is_url_path(path) => {
                Ok(Self::Asked(Question::Http {
                    tls: scheme == "https",
                    path: path.to_owned(),
                }))
            }
            Some(("http" | "https", path)) => no_proof(format!("`{path}` is no path of a URL")),
            Some(("log", pattern)) => match Regex::new(pattern) {
                Ok(pattern) => Ok(Self::Log(pattern)),
                Err(error) => no_proof(format!(
                    "`{pattern}` is no regular expression: {}",
                    last_line(&error)
                )),
            },
            Some(("delay", time)) => Time::read(time).map(|time| Self::Delay(time.0)),
            _ => no_proof(format!("`{text}` is no proof of readiness")),
        }
    }
}

/// The text can follow the host in a URL.
pub(super) fn is_url_path(text: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control();
    text.starts_with('/') && !text.starts_with("//") && !text.contains(odd)
}

/// The last line of the error, without the drawing that shows where.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

/// The name of a socket in `LISTEN_FDNAMES`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketName(pub String);

impl Text for SocketName {
    fn read(text: &str) -> Result<Self, Wrong> {
        spec::check_name(text).map(Self)
    }
}

/// The name of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VariableName(pub String);

impl Text for VariableName {
    fn read(text: &str) -> Result<Self, Wrong> {
        if text.is_empty() || text.contains(['=', '\0']) {
            return wrong(
                format!("`{text}` is no name of a variable"),
                "a name has at least one character and no `=`",
            );
        }
        Ok(Self(text.to_owned()))
    }
}

/// An address to hold, with its name or without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    text: String,
    dir: PathBuf,
}

impl Address {
    /// The parsed address; that a path is too long may only turn out now.
    pub fn spec(&self) -> Result<Spec, Wrong> {
        spec::parse(&self.text, &self.dir)
    }
}

impl Text for Address {
    fn read(text: &str) -> Result<Self, Wrong> {
        let address = Self {
            text: text.to_owned(),
            dir: PathBuf::new(),
        };
        address.spec().map(|_| address)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor(PhantomData))
    }
}

impl Value for Address {
    const SHAPE: Shape = Shape::Text;

    fn kind() -> String {
        "address".into()
    }

    fn schema() -> Json {
        text(r"^([^:=]+=)?(unix:.+|unix-dgram:.+|(tcp:|udp:)?[^\s=]*:\d{1,5})$")
    }

    fn rebase(&mut self, dir: &Path) {
        dir.clone_into(&mut self.dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refuses<T: Text + fmt::Debug>(text: &str, reason: &str, hint: &str) {
        let wrong = T::read(text).unwrap_err();
        assert_eq!((&*wrong.reason, &*wrong.hint), (reason, hint));
    }

    #[test]
    fn times_need_a_unit() {
        assert_eq!(Time::read("1m 30s").unwrap().0, Duration::from_secs(90));
        assert_eq!(Time::ms(1500).to_string(), "1s 500ms");
        refuses::<Time>("300", "`300` has no unit", "write `300ms` or `300s`");
        refuses::<Time>("-1", "`-1` is no time", "write `300ms`, `5s` or `1m`");
        refuses::<Time>("soon", "`soon` is no time", "write `300ms`, `5s` or `1m`");
    }

    #[test]
    fn proofs_of_readiness_are_read() {
        assert_eq!(Ready::read("notify").unwrap(), Ready::Notify);
        for (text, tls) in [("http:/up?x=1", false), ("https:/up?x=1", true)] {
            let path = "/up?x=1".into();
            let asked = Ready::Asked(Question::Http { tls, path });
            assert_eq!(Ready::read(text).unwrap(), asked);
        }
        let accept = Ready::Asked(Question::Accept);
        assert_eq!(Ready::read("tcp").unwrap(), accept);
        assert!(matches!(Ready::read("log:^up$"), Ok(Ready::Log(_))));
        let two = Duration::from_secs(2);
        assert_eq!(Ready::read("delay:2s").unwrap(), Ready::Delay(two));
        for text in [
            "http:up",
            "http://up",
            "log:(",
            "delay:2",
            "tcp:80",
            "https://up",
            "notify:x",
        ] {
            assert!(Ready::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn stop_signals_are_those_that_ask() {
        assert_eq!(StopSignal::read("INT").unwrap().0, Some(signals::INTERRUPT));
        assert_eq!(StopSignal::read("auto").unwrap().to_string(), "auto");
        assert_eq!(StopSignal::read("SIGTERM").unwrap().to_string(), "TERM");
        for text in ["KILL", "STOP", "FOO", ""] {
            assert!(StopSignal::read(text).is_err(), "{text}");
        }
    }
}
