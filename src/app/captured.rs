//! Capture of what one generation listens on: starts the thread that answers its calls, and explains why
//! there is none.

use std::io;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use super::accept_probe::look;
use crate::capture::{Capture, Listening, Owner};
use crate::defect::Blocking;
use crate::keeper::client::Keeper;
use crate::session::event::{Holder, Taken};
use crate::session::reason::Reason;
use crate::sockets::address::Address;
use crate::sys::calls::{self, FilterStep};
use crate::sys::processes;

/// What capture of one generation needs.
#[derive(Debug)]
pub struct Captured {
    /// What the answers to its calls depend on.
    pub capture: Capture,
    /// The seccomp filter that the app is started under.
    pub filter: Vec<FilterStep>,
    /// The addresses that live listens on, and this generation must listen on before it is ready.
    pub expected: Vec<Address>,
}

impl Captured {
    /// Starts to answer the app's system calls. The keeper has just installed the filter, or could not
    /// (`refused`, an errno).
    pub(super) fn begin(
        captured: Option<Self>,
        refused: Option<i32>,
        keeper: &mut Keeper,
    ) -> Begun {
        if let Some(code) = refused {
            return Begun::Without(why_not_captured(code));
        }
        let lost = || io::Error::other("the notification descriptor did not arrive");
        let wanted = captured.zip(keeper.take_handle()).ok_or_else(lost);
        match wanted.and_then(|(captured, listener)| captured.capture.start(listener)) {
            Ok(notify_loop) => Begun::NotifyLoop(notify_loop),
            Err(error) => Begun::Unanswered(Reason::new(
                format!("cannot answer the app's system calls: {error}"),
                "free some threads or descriptors (`ulimit -u`, `ulimit -n`), or switch capture off \
                 with --no-capture",
            )),
        }
    }
}

/// Whether the app's system calls are answered.
pub(super) enum Begun {
    /// They are; what the app does is received here.
    NotifyLoop(UnboundedReceiver<Listening>),
    /// It runs without capture, for this reason.
    Without(Reason),
    /// They are not, so that they fail in ways that no program expects: the app must not run, for this
    /// reason.
    Unanswered(Reason),
}

/// An address that the app can't bind, while its owner is looked up.
#[derive(Debug)]
pub(super) struct Refused {
    address: Address,
    owner: oneshot::Receiver<Option<Owner>>,
    /// What that is to the app, once it is known.
    holder: Option<Blocking<Holder>>,
}

impl Refused {
    pub(super) fn new(address: Address, owner: oneshot::Receiver<Option<Owner>>) -> Self {
        Self {
            address,
            owner,
            holder: None,
        }
    }

    /// Waits for the owner; `live` is the keeper of live. Safe to drop while it waits.
    async fn taken(&mut self, live: Option<u32>) -> Taken {
        let looking = match &mut self.holder {
            Some(looking) => looking,
            none => {
                let owner = (&mut self.owner).await.ok().flatten();
                none.insert(look(move || holder(owner, live)))
            }
        };
        // After a panic it is not known.
        let by = looking.done().await.unwrap_or_else(|_| holder(None, None));
        let address = self.address.to_string();
        Taken { address, by }
    }
}

/// What the owner of an address is to the app.
fn holder(owner: Option<Owner>, live: Option<u32>) -> Holder {
    let is_live = |pid| {
        let tree = live.map(processes::descendants).unwrap_or_default();
        tree.iter().any(|process| process.pid() == pid)
    };
    match owner {
        Some(Owner { pid: Some(pid), .. }) if is_live(pid) => Holder::Live,
        Some(Owner {
            pid: Some(pid),
            held,
            ..
        }) if pid == std::process::id() => held.map_or(Holder::Hotrun, Holder::Held),
        Some(owner) => Holder::Other(owner.name),
        None => Holder::Other("a process that /proc does not show".into()),
    }
}

/// Waits until the owner of the first of these addresses is known; for ever without one.
pub(super) async fn next_taken(refused: &mut Vec<Refused>, live: Option<u32>) -> Taken {
    let Some(first) = refused.first_mut() else {
        return std::future::pending().await;
    };
    let taken = first.taken(live).await;
    refused.remove(0);
    taken
}

/// The message about an address that could not be captured.
pub(super) fn not_held(address: &Address, reason: &str) -> Reason {
    Reason::new(
        format!("{address} is not held: {reason}"),
        "declare it with --listen, or connections are refused while the app is replaced",
    )
}

/// Waits for the next `bind` or `listen` of the app; for ever where its calls are not answered.
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

/// Why the kernel refuses the filter (an errno).
pub fn why_not_captured(code: i32) -> Reason {
    let reason = calls::why_refused(code);
    Reason::new(
        format!("what the app listens on is not held: {reason}"),
        "declare its address with --listen, and take the socket over in the app with `listenfd`, or \
         pass --no-capture if it need not be held",
    )
}

#[cfg(test)]
mod tests {
    use super::super::accept_probe::waits_for_a_thread;
    use super::*;

    fn refused(pid: u32) -> Vec<Refused> {
        let (found, owner) = oneshot::channel();
        let hotrun = Owner {
            pid: Some(pid),
            name: String::new(),
            held: Some("0.0.0.0:1".into()),
        };
        found.send(Some(hotrun)).unwrap();
        let address = Address::Tcp(([127, 0, 0, 1], 1).into());
        vec![Refused::new(address, owner)]
    }

    /// Connections are carried and output is passed on meanwhile.
    #[test]
    fn a_look_does_not_hold_up_the_runtime() {
        let own = std::process::id();
        let mut all = refused(own);
        let taken = waits_for_a_thread(async || next_taken(&mut all, Some(own)).await);
        assert_eq!(taken.by, Holder::Held("0.0.0.0:1".into()));
        assert!(all.is_empty());
    }

    /// The wait is dropped at each other event of the app.
    #[tokio::test]
    async fn nothing_is_lost_where_a_look_is_not_waited_for() {
        let own = std::process::id();
        let mut all = refused(own);
        let first = tokio::select! {
            biased;
            taken = next_taken(&mut all, None) => Some(taken),
            () = std::future::ready(()) => None,
        };
        let taken = match first {
            Some(taken) => taken,
            None => next_taken(&mut all, None).await,
        };
        assert_eq!(taken.by, Holder::Held("0.0.0.0:1".into()));
    }
}
