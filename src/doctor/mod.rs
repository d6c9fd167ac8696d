//! `hotrun doctor`: what works here, what does not, and how to fix it.
//!
//! Every check is tried out, not looked up: a filter is installed, sockets are opened, addresses are
//! bound. So a check finds what a session would find.

mod builds;
mod project;
mod system;

use crate::config::Settings;
use crate::exit::Failure;
use crate::session::reason::Reason;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The subject, in a word.
    pub about: &'static str,
    /// What was found.
    pub what: String,
    /// How to fix it, if it is a problem.
    pub fix: Option<String>,
}

impl Finding {
    /// No problem.
    fn fine(about: &'static str, what: impl Into<String>) -> Self {
        Self {
            about,
            what: what.into(),
            fix: None,
        }
    }

    /// A problem and its fix.
    fn wrong(about: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            about,
            what: what.into(),
            fix: Some(fix.into()),
        }
    }

    /// A problem from a line with a hint.
    fn said(about: &'static str, reason: Reason) -> Self {
        Self::wrong(about, reason.text, reason.hint.unwrap_or_default())
    }

    /// A problem that would end hotrun.
    fn failure(about: &'static str, failure: &Failure) -> Self {
        let fix = failure.hint.clone();
        Self::wrong(about, &failure.message, fix.unwrap_or_default())
    }
}

/// Measures what would make this project's builds faster; `tell` is called with each step.
pub async fn measure_builds(settings: &Settings, tell: impl Fn(&str)) -> Vec<Finding> {
    builds::measure(settings, tell).await
}

/// Examines everything, in the order in which a session would come to it. `unread`: why the configuration
/// file can't be used; then `settings` are those without it, and only what does not depend on it is
/// examined.
pub async fn examine(settings: &Settings, unread: Option<&Failure>) -> Vec<Finding> {
    let mut findings = vec![system::kernel()];
    findings.extend(unread.map(|failure| Finding::failure("settings", failure)));
    findings.extend(system::capture(settings).await);
    findings.push(system::steering(settings.steering));
    findings.extend(system::limits());
    if unread.is_none() {
        findings.extend(project::addresses(settings));
    }
    findings.extend(project::toolchain(settings).await);
    if unread.is_none() {
        findings.extend(project::examine(settings).await);
    } else {
        let what = "not examined, nor the addresses: what they are depends on the settings";
        findings.push(Finding::fine("project", what));
    }
    findings
}
