//! The only list of exit codes, and the error that carries one to `main`.

use std::fmt;

use crate::session::model::{Ending, Exit};
use crate::session::reason::Reason;

/// How hotrun ends; the numbers are part of its contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitKind {
    /// 0: ended by a key, `--once` saw the app ready, or `verify` saw no loss.
    Ok,
    /// 1: hotrun failed, `--once` saw the app fail, or `verify` saw a loss.
    Failed,
    /// 2: usage or configuration.
    Usage,
    /// 3: a declared address, or this target, is in use.
    InUse,
    /// 101: the build failed under `--once`; the number cargo uses.
    BuildFailed,
    /// The app's own exit status, under `--once` without an address.
    App(u8),
    /// Ended by this signal: raised again after the clean-up, so that the parent sees it. As PID 1,
    /// where the kernel ignores it: 128 + number.
    Signal(i32),
}

impl ExitKind {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::InUse => 3,
            Self::BuildFailed => 101,
            Self::App(code) => code,
            Self::Signal(number) => 128u8.saturating_add(u8::try_from(number).unwrap_or(127)),
        }
    }
}

impl From<Ending> for ExitKind {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Quit | Ending::Ready => Self::Ok,
            Ending::Signal(number) => Self::Signal(number),
            Ending::BuildFailed => Self::BuildFailed,
            Ending::AppEnded {
                exit: Exit::Status(code),
                serving: false,
            } => u8::try_from(code).map_or(Self::Failed, Self::App),
            Ending::NotReady | Ending::CannotStart | Ending::AppEnded { .. } => Self::Failed,
        }
    }
}

/// An error that ends hotrun: what happened and where, and the next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub kind: ExitKind,
    /// What happened, and where.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// Wrong usage or configuration.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            kind: ExitKind::Usage,
            message: message.into(),
            hint: None,
        }
    }

    /// An error of hotrun itself.
    pub fn failed(message: impl Into<String>) -> Self {
        Self {
            kind: ExitKind::Failed,
            message: message.into(),
            hint: None,
        }
    }

    /// Adds the next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hint
            .iter()
            .try_for_each(|hint| write!(f, "\nhint: {hint}"))
    }
}

impl std::error::Error for Failure {}

/// Splits a failure's text into the message and its hint.
impl From<Failure> for Reason {
    fn from(Failure { message, hint, .. }: Failure) -> Self {
        Self {
            text: message,
            hint,
        }
    }
}

impl From<Reason> for Failure {
    fn from(Reason { text, hint }: Reason) -> Self {
        Self {
            hint,
            ..Self::failed(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_have_the_documented_codes() {
        let ended = |exit, serving| Ending::AppEnded { exit, serving };
        for (ending, code) in [
            (Ending::Quit, 0),
            (Ending::Ready, 0),
            (Ending::NotReady, 1),
            (Ending::CannotStart, 1),
            (Ending::BuildFailed, 101),
            (Ending::Signal(15), 143),
            (ended(Exit::Status(7), false), 7),
            (ended(Exit::Status(0), false), 0),
            (ended(Exit::Status(0), true), 1),
            (ended(Exit::Signal(9), false), 1),
        ] {
            assert_eq!(ExitKind::from(ending).code(), code, "{ending:?}");
        }
    }
}
