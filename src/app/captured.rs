//! Holding what the app listens on: who answers its calls, and what is said where nobody can.

use std::io;

use nix::libc;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use crate::capture::filter::Step;
use crate::capture::{Capture, Listening, Owner};
use crate::keeper::client::Keeper;
use crate::process_tree;
use crate::session::event::{Holder, Taken};
use crate::session::reason::Reason;
use crate::sockets::address::Address;

/// What it takes to hold what the app listens on.
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
    /// (`refused`, an error number).
    pub(super) fn begin(
        captured: Option<Self>,
        refused: Option<i32>,
        keeper: &mut Keeper,
    ) -> Begun {
        if let Some(code) = refused {
            return Begun::Without(why_not_captured(code));
        }
        let lost = || io::Error::other("its descriptor did not arrive");
        let wanted = captured.zip(keeper.take_descriptor()).ok_or_else(lost);
        match wanted.and_then(|(captured, listener)| captured.capture.start(listener)) {
            Ok(notify_loop) => Begun::NotifyLoop(notify_loop),
            Err(error) => Begun::Unanswered(Reason::new(
                format!("nobody could answer the app's system calls: {error}"),
                "free some threads or descriptors (`ulimit -u`, `ulimit -n`), or leave capture out \
                 with --no-capture",
            )),
        }
    }
}

/// What has come of it.
pub(super) enum Begun {
    /// Its calls are answered; what it does is told here.
    NotifyLoop(UnboundedReceiver<Listening>),
    /// It runs without: why.
    Without(Reason),
    /// Its calls wait for nobody and fail in ways that no program expects, so it must not run: why.
    Unanswered(Reason),
}

/// An address that the app can't bind, while it is found out who has it.
#[derive(Debug)]
pub(super) struct Refused {
    address: Address,
    owner: oneshot::Receiver<Option<Owner>>,
}

impl Refused {
    pub(super) fn new(address: Address, owner: oneshot::Receiver<Option<Owner>>) -> Self {
        Self { address, owner }
    }

    /// Who has it; live is what this keeper keeps.
    async fn taken(&mut self, live: Option<u32>) -> Taken {
        let owner = (&mut self.owner).await.ok().flatten();
        let is_live = |pid| {
            let family = live.map(process_tree::of).unwrap_or_default();
            family.iter().any(|process| process.pid() == pid)
        };
        let by = match owner {
            Some(Owner { pid: Some(pid), .. }) if is_live(pid) => Holder::Live,
            Some(Owner { pid: Some(pid), .. }) if pid.cast_unsigned() == std::process::id() => {
                Holder::Hotrun
            }
            Some(owner) => Holder::Other(owner.name),
            None => Holder::Other("a program that cannot be seen from here".into()),
        };
        let address = self.address.to_string();
        Taken { address, by }
    }
}

/// Waits until it is known who has the first of these addresses; for ever where there is none.
pub(super) async fn found_out(refused: &mut Vec<Refused>, live: Option<u32>) -> Taken {
    let Some(first) = refused.first_mut() else {
        return std::future::pending().await;
    };
    let taken = first.taken(live).await;
    refused.remove(0);
    taken
}

/// What is said of an address that could not be held.
pub(super) fn not_held(address: &Address, reason: &str) -> Reason {
    Reason::new(
        format!("{address} is not held: {reason}"),
        "declare it with --listen, or leave it as it is: it is refused while the app is replaced",
    )
}

/// Waits until the app listens somewhere; for ever where nobody would tell.
pub(super) async fn heard(
    listening: &mut Option<UnboundedReceiver<Listening>>,
) -> Option<Listening> {
    match listening {
        Some(notify_loop) => match notify_loop.recv().await {
            None => std::future::pending().await,
            heard => heard,
        },
        None => std::future::pending().await,
    }
}

/// Why the system refuses the filter (an error number).
pub fn why_not_captured(code: i32) -> Reason {
    let reason = match code {
        libc::EBUSY => {
            "another program answers its system calls already, like an outer hotrun".into()
        }
        libc::EPERM | libc::EACCES => "a sandbox forbids it (seccomp)".into(),
        libc::EINVAL | libc::ENOSYS => "that needs Linux 5.9 or later".into(),
        _ => io::Error::from_raw_os_error(code).to_string(),
    };
    Reason::new(
        format!("what the app listens on is not held: {reason}"),
        "declare its address with --listen, and take the socket over in the app with `listenfd`; \
         --no-capture says that it need not be held",
    )
}
