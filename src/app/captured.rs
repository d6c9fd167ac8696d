//! Holding what the app listens on: who answers its calls, and what is said where nobody can.

use std::io;

use nix::libc;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::capture::filter::Step;
use crate::capture::{Capture, Listening};
use crate::keeper::client::Keeper;
use crate::sockets::address::Address;

/// What an app room needs to have what the app listens on held.
#[derive(Debug)]
pub struct Captured {
    /// Who answers its calls.
    pub capture: Capture,
    /// The filter that it is started under.
    pub filter: Vec<Step>,
    /// What live listens on, and it is to listen on as well.
    pub expected: Vec<Address>,
}

impl Captured {
    /// Has the calls of the app answered, which the keeper has just put under its filter, or could not
    /// (`refused`, an error number); then why.
    pub(super) fn begin(
        captured: Option<Self>,
        refused: Option<i32>,
        keeper: &mut Keeper,
    ) -> Result<Option<UnboundedReceiver<Listening>>, String> {
        if let Some(code) = refused {
            return Err(why_not_captured(code));
        }
        let (Some(captured), Some(listener)) = (captured, keeper.take_descriptor()) else {
            return Ok(None);
        };
        let desk = captured.capture.start(listener);
        desk.map(Some).map_err(|error| {
            format!(
                "what the app listens on is not held: {error}\nhint: free some threads (`ulimit -u`)"
            )
        })
    }
}

/// Waits until the app listens somewhere; for ever where nobody would tell.
pub(super) async fn heard(
    listening: &mut Option<UnboundedReceiver<Listening>>,
) -> Option<Listening> {
    match listening {
        Some(desk) => match desk.recv().await {
            None => std::future::pending().await,
            heard => heard,
        },
        None => std::future::pending().await,
    }
}

/// Why the system refuses the filter (an error number), with the next step behind `hint:`.
pub fn why_not_captured(code: i32) -> String {
    let reason = match code {
        libc::EBUSY => {
            "another program answers its system calls already, like an outer hotrun".into()
        }
        libc::EPERM | libc::EACCES => "a sandbox forbids it (seccomp)".into(),
        libc::EINVAL | libc::ENOSYS => "that needs Linux 5.9 or later".into(),
        _ => io::Error::from_raw_os_error(code).to_string(),
    };
    format!(
        "what the app listens on is not held: {reason}\nhint: declare its address with --listen, and take \
         the socket over in the app with `listenfd`; --no-capture says that it need not be held"
    )
}
