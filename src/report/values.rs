//! What events are made of where the session's own types have no good form in JSON: times, paths of any
//! bytes, and what refers to them. Pure.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::session::action;
use crate::session::model::{self, Generation};
use crate::sys::files;

/// A span of time: in JSON a number of milliseconds, with microseconds behind the point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "f64", try_from = "f64")]
pub struct Millis(pub Duration);

impl From<Millis> for f64 {
    fn from(Millis(time): Millis) -> Self {
        (time.as_secs_f64() * 1e6).round() / 1e3
    }
}

impl TryFrom<f64> for Millis {
    type Error = std::time::TryFromFloatSecsError;

    fn try_from(ms: f64) -> Result<Self, Self::Error> {
        // Whole microseconds, as they are written: the float has other nanoseconds.
        let time = Duration::try_from_secs_f64(ms / 1e3)?;
        let micros = (time.as_nanos() + 500) / 1000;
        Ok(Self(
            u64::try_from(micros).map_or(time, Duration::from_micros),
        ))
    }
}

/// A path, which on this system may have any bytes: in JSON a string, or for one that is no UTF-8 an
/// object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "PathForm", try_from = "PathForm")]
pub struct AnyPath(pub PathBuf);

impl AsRef<Path> for AnyPath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

/// A path in JSON.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum PathForm {
    Text(String),
    Bytes {
        /// for people: `�` stands for what is no UTF-8
        lossy: String,
        /// exactly: two hexadecimal digits for each byte
        bytes: String,
    },
}

impl From<AnyPath> for PathForm {
    fn from(AnyPath(path): AnyPath) -> Self {
        match path.into_os_string().into_string() {
            Ok(text) => Self::Text(text),
            Err(other) => Self::Bytes {
                lossy: other.to_string_lossy().into_owned(),
                bytes: hex(other.as_encoded_bytes()),
            },
        }
    }
}

impl TryFrom<PathForm> for AnyPath {
    type Error = &'static str;

    fn try_from(form: PathForm) -> Result<Self, Self::Error> {
        match form {
            PathForm::Text(text) => Ok(Self(text.into())),
            PathForm::Bytes { bytes, .. } => {
                let bytes =
                    unhex(&bytes).ok_or("`bytes` has two hexadecimal digits for each byte")?;
                Ok(Self(files::os_string(bytes).into()))
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| digit.try_into().ok()))
        .collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect(),
    )
}

/// A held address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldAddress {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// As one declares it.
    pub address: String,
    /// The old and the new generation have a socket each.
    pub twins: bool,
}

/// Whether a message of the compiler must be in view at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// An error.
    Error,
    /// A warning, or anything else.
    Other,
}

/// What happens after something went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Next {
    /// This generation keeps serving.
    Keeps(Generation),
    /// The same program is started again after so long.
    RestartMs(Millis),
    /// The last good program, built by this generation, is started again.
    Rollback(Generation),
    /// It is tried once more, with live stopped first.
    Alone,
    /// A candidate or a build under way will take over.
    Continue,
    /// Nothing until a file changes.
    Wait,
    /// hotrun ends.
    End,
}

impl From<action::Next> for Next {
    fn from(next: action::Next) -> Self {
        match next {
            action::Next::Keeps(generation) => Self::Keeps(generation),
            action::Next::Restart(wait) => Self::RestartMs(Millis(wait)),
            action::Next::Rollback(generation) => Self::Rollback(generation),
            action::Next::Exclusive => Self::Alone,
            action::Next::Continue => Self::Continue,
            action::Next::Wait => Self::Wait,
            action::Next::End => Self::End,
        }
    }
}

/// Where the time between a save and its first answer went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
    /// From the first event of the change set to the start of the build, if one was needed.
    pub detect_ms: Option<Millis>,
    /// From there to the pinned artifact.
    pub build_ms: Option<Millis>,
    /// `before_build` and `before_start`, where they had to be waited for.
    pub hooks_ms: Option<Millis>,
    /// From the launch to readiness.
    pub start_ms: Millis,
    /// From the artifact to the launch: the old generation, or a back-off, had to be waited for.
    pub swap_ms: Millis,
}

impl From<model::Phases> for Phases {
    fn from(phases: model::Phases) -> Self {
        Self {
            detect_ms: phases.detect.map(Millis),
            build_ms: phases.build.map(Millis),
            hooks_ms: phases.hooks.map(Millis),
            start_ms: Millis(phases.start),
            swap_ms: Millis(phases.swap),
        }
    }
}

/// What a file that nothing depends on is likely to be for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cure {
    /// The app reads it when it starts.
    Restart,
    /// It is compiled in, by the crate of this name.
    CompiledInBy(String),
}

impl From<model::Cure> for Cure {
    fn from(cure: model::Cure) -> Self {
        match cure {
            model::Cure::Restart => Self::Restart,
            model::Cure::CompiledIn(name) => Self::CompiledInBy(name.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::sys::testing::{ODD, hex};

    /// A name of a file may have any bytes, and no JSON can.
    #[test]
    fn paths_of_any_bytes_come_back_as_they_were() {
        let odd = AnyPath(files::path(&[b"caf", ODD, b".html"].concat()));
        let bytes = format!("636166{}2e68746d6c", hex(ODD));
        let told = json!({ "lossy": "caf\u{fffd}.html", "bytes": bytes });
        for (path, told) in [
            (odd, told),
            (
                AnyPath("static/café.html".into()),
                json!("static/café.html"),
            ),
        ] {
            assert_eq!(serde_json::to_value(&path).unwrap(), told);
            assert_eq!(serde_json::from_value::<AnyPath>(told).unwrap(), path);
        }
        for wrong in ["a", "zz", "é1"] {
            let told = json!({ "lossy": "", "bytes": wrong });
            assert!(serde_json::from_value::<AnyPath>(told).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_milliseconds() {
        for (micros, told) in [
            (1500, json!(1.5)),
            (5_000_001, json!(5000.001)),
            (0, json!(0.0)),
        ] {
            let time = Millis(Duration::from_micros(micros));
            assert_eq!(serde_json::to_value(time).unwrap(), told);
            assert_eq!(serde_json::from_value::<Millis>(told).unwrap(), time);
        }
        assert_eq!(
            serde_json::from_str::<Millis>("7").unwrap().0.as_millis(),
            7
        );
        assert!(serde_json::from_value::<Millis>(json!(-1.0)).is_err());
    }

    #[test]
    fn what_happens_next_is_a_word_or_has_a_number() {
        let says = |next: Next| -> Value { serde_json::to_value(next).unwrap() };
        assert_eq!(says(Next::Keeps(Generation(3))), json!({ "keeps": 3 }));
        let wait = Millis(Duration::from_millis(200));
        assert_eq!(says(Next::RestartMs(wait)), json!({ "restart_ms": 200.0 }));
        assert_eq!(says(Next::Wait), json!("wait"));
        let cure = Cure::CompiledInBy("sqlx".into());
        assert_eq!(
            serde_json::to_value(cure).unwrap(),
            json!({ "compiled_in_by": "sqlx" })
        );
    }
}
