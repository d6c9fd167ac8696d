//! What a person at a browser is shown of hotrun.

use serde::Serialize;

use crate::session::status::Status;

/// What hotrun does, and why the newest sources are not served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Picture {
    /// The name of the program; `None`: the project is being read.
    pub target: Option<String>,
    /// What hotrun is doing.
    #[serde(flatten)]
    pub status: Status,
    /// The errors of the compiler if the newest build failed, as it renders them, with ANSI colors.
    pub errors: Vec<String>,
    /// The last lines of the program if it failed, with whatever colors it has written.
    pub output: Vec<String>,
}

impl Picture {
    /// Before anything is known.
    pub fn preparing() -> Self {
        Self {
            target: None,
            status: Status::preparing(),
            errors: Vec::new(),
            output: Vec::new(),
        }
    }
}
