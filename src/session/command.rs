//! What a person or a program may ask a running hotrun for: by a key, a signal, or `hotrun ctl`. One
//! vocabulary for all of them. Pure.

use std::fmt;
use std::str::FromStr;

/// One request. Its name in text is that of `hotrun ctl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Tell what hotrun is doing.
    Status,
    /// Tell it once everything that was saved before is either live or has failed.
    Wait,
    /// Build and start again, even if nothing changed.
    Rebuild,
    /// Start the newest program again, without a build.
    Restart,
    /// Collect changes, and start no build for them.
    Pause,
    /// Build once for all that was collected, and go on as before.
    Resume,
    /// Pause, or resume if it is paused: one key for both.
    PauseOrResume,
    /// Open the app in a browser.
    Open,
    /// End hotrun and the app.
    Stop,
}

impl Command {
    /// All of them, in the order in which they are explained.
    pub const ALL: [Self; 9] = [
        Self::Status,
        Self::Wait,
        Self::Rebuild,
        Self::Restart,
        Self::Pause,
        Self::Resume,
        Self::PauseOrResume,
        Self::Open,
        Self::Stop,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Wait => "wait",
            Self::Rebuild => "rebuild",
            Self::Restart => "restart",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::PauseOrResume => "pause-or-resume",
            Self::Open => "open",
            Self::Stop => "stop",
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no such command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown;

impl FromStr for Command {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        let mut all = Self::ALL.into_iter();
        all.find(|command| command.name() == text).ok_or(Unknown)
    }
}

/// A client of the control socket that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Client(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_one_name() {
        for command in Command::ALL {
            assert_eq!(command.to_string().parse(), Ok(command));
        }
        assert_eq!("Stop".parse::<Command>(), Err(Unknown));
    }
}
