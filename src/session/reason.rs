//! Why something went wrong, and what to do about it. Values only.

use std::fmt;

/// How to go on when something was mended outside of the sources: no save starts a build then.
pub const AND_REBUILD: &str = " and rebuild (`r`, or `hotrun ctl rebuild`)";

/// Why something went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// What happened, and where: lower case, no final period.
    pub text: String,
    /// The next step, where there is one.
    pub hint: Option<String>,
}

impl Reason {
    /// With a next step.
    pub fn new(text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            hint: Some(hint.into()),
        }
    }
}

impl From<String> for Reason {
    fn from(text: String) -> Self {
        Self { text, hint: None }
    }
}

impl From<&str> for Reason {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// As it is printed: the hint on a line of its own.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        self.hint
            .iter()
            .try_for_each(|hint| write!(f, "\nhint: {hint}"))
    }
}
