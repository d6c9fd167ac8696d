//! `hotrun doctor`: what would happen here, what would not, and the fix for each.
//!
//! Every check is tried, not looked up: a filter is installed, twins are made, addresses are bound. So
//! what it says is what the main job would find.

mod project;
mod system;

use crate::config::Settings;
use crate::exit::Failure;
use crate::session::reason::Reason;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about, in a word.
    pub about: &'static str,
    /// What is the case.
    pub what: String,
    /// What to do about it, if it should be otherwise.
    pub fix: Option<String>,
}

impl Finding {
    /// It is as it should be.
    fn fine(about: &'static str, what: impl Into<String>) -> Self {
        Self {
            about,
            what: what.into(),
            fix: None,
        }
    }

    /// It should be otherwise.
    fn wrong(about: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            about,
            what: what.into(),
            fix: Some(fix.into()),
        }
    }

    /// What would have been said in a line with a hint.
    fn said(about: &'static str, reason: Reason) -> Self {
        Self::wrong(about, reason.text, reason.hint.unwrap_or_default())
    }

    /// What would have ended hotrun.
    fn failure(about: &'static str, failure: &Failure) -> Self {
        let fix = failure.hint.clone();
        Self::wrong(about, &failure.message, fix.unwrap_or_default())
    }
}

/// Examines everything, in the order in which the main job comes to it.
pub async fn examine(settings: &Settings) -> Vec<Finding> {
    let mut findings = vec![system::kernel()];
    findings.extend(system::capture(settings).await);
    findings.push(system::twins());
    findings.extend(system::limits());
    findings.extend(project::addresses(settings));
    findings.extend(project::toolchain(settings).await);
    findings.extend(project::examine(settings).await);
    findings
}
