//! Checks of the system: what it lets hotrun do.

use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use super::Finding;
use crate::app::why_not_captured;
use crate::capture::{Capture, Listening, Why, trial};
use crate::config::Settings;
use crate::defect;
use crate::exit::Failure;
use crate::keeper::Mode;
use crate::keeper::client::Keeper;
use crate::keeper::protocol::{Launch, News};
use crate::session::reason::Reason;
use crate::sockets::held::{HeldSet, SharedSet};
use crate::sockets::spec;
use crate::sockets::steering::Steering;
use crate::sys::{ABLE, calls, host};

/// A relayed connection takes descriptors here, and a held address has two.
const FEW_DESCRIPTORS: u64 = 1024;

/// The least that an accept queue should hold while no process accepts: see `sockets::open`.
const SHORT_QUEUE: u64 = 128;

/// How long a program that tries something out may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn kernel() -> Finding {
    let what = format!("{}, {}", host::name(), std::env::consts::ARCH);
    Finding::fine("system", what)
}

/// Starts a program under the filter.
pub(super) async fn capture(settings: &Settings) -> Vec<Finding> {
    const ABOUT: &str = "capture";
    if !ABLE.capture {
        let what = "not on this system: declare what the app listens on (--listen), and take it in the app \
                    from `listenfd`";
        return vec![Finding::fine(ABOUT, what)];
    }
    if !settings.app.capture {
        let what = "off: only declared addresses are held";
        return vec![Finding::fine(ABOUT, what)];
    }
    let Some(filter) = calls::filter(false) else {
        return vec![Finding::said(ABOUT, Why::Unknown.explain())];
    };
    let own = host::own_program();
    let launch = Launch {
        program: own.clone().into(),
        argv0: own.into(),
        args: vec![trial::ARGUMENT.into()],
        env: settings.build.env.clone(),
        dir: "/".into(),
        filter,
        ..Launch::default()
    };
    let mut findings = Vec::new();
    match timeout(PATIENCE, try_capture(launch)).await {
        Ok(Some(Ok(()))) => {
            let what = "what the app listens on by itself is held";
            findings.push(Finding::fine(ABOUT, what));
        }
        Ok(Some(Err(why))) => findings.push(Finding::said(ABOUT, why)),
        Ok(None) => {
            let what = "could not be tried: no program could be started";
            let fix = "free some processes or descriptors (`ulimit -u`, `ulimit -n`)";
            findings.push(Finding::wrong(ABOUT, what, fix));
        }
        Err(_) => {
            let what = "a program that listens was not answered in time";
            let fix = "declare what the app listens on with --listen, and leave capture out with \
                       --no-capture";
            findings.push(Finding::wrong(ABOUT, what, fix));
        }
    }
    if !calls::may_copy() {
        let what = "a container denies copies of other processes' sockets (`pidfd_getfd`): options that the \
                    app sets before it listens are lost";
        let fix = "start the container with `--cap-add SYS_PTRACE`, if the app sets any";
        findings.push(Finding::wrong(ABOUT, what, fix));
    }
    findings
}

/// Has a program listen and connects to it. The error says why its address was not held; `None`: no
/// program could be started.
async fn try_capture(launch: Launch) -> Option<Result<(), Reason>> {
    let mut set = HeldSet::default();
    set.adapt(&[], Steering::Kernel).ok()?;
    let slot = set.active();
    let held = SharedSet::from(set);
    let mut keeper = Keeper::spawn(Mode::Tree).ok()?;
    let _output = keeper.launch(launch, &[]).await.ok()?;
    let refused = loop {
        if let News::Filtered(refused) = keeper.next().await? {
            break refused;
        }
    };
    if let Some(code) = refused {
        return Some(Err(why_not_captured(code)));
    }
    let capture = Capture { held, slot };
    let mut told = capture.start(keeper.take_handle()?).ok()?;
    let address = loop {
        match told.recv().await? {
            Listening::Held { address, .. } => break address,
            Listening::Unheld(why) => return Some(Err(why.explain())),
            Listening::Not(address, reason) => {
                return Some(Err(format!("{address} is not held: {reason}").into()));
            }
            Listening::Bound(_) | Listening::Taken(..) => {}
        }
    };
    let mut connected = defect::spawn_blocking("trial", move || {
        defect::point("trial");
        trial::connect(address.tcp()?).err()
    });
    let failed = connected.done().await.unwrap_or_else(Some);
    let failed =
        failed.map(|error| format!("a client of a held address was refused: {error}").into());
    Some(failed.map_or(Ok(()), Err))
}

/// How clients are sent to one version alone; opens the two sockets of an address.
pub(super) fn steering(steering: Steering) -> Finding {
    const ABOUT: &str = "steering";
    match steering {
        Steering::Kernel => {}
        Steering::Relay => {
            let what = "hotrun passes connections on: a swap cuts none, and the app sees hotrun as its client";
            return Finding::fine(ABOUT, what);
        }
        Steering::None => {
            let what = "none, as set: old and new version share one socket, where a connection can be lost";
            return Finding::fine(ABOUT, what);
        }
    }
    let mut set = HeldSet::default();
    let spec = spec::parse("127.0.0.1:0", Path::new("/"));
    let adapted = spec.map(|spec| set.adapt(&[spec], Steering::Kernel));
    if set.has_twins() {
        return Finding::fine(
            ABOUT,
            "old and new version have a socket each: a swap by itself cuts no connection",
        );
    }
    let reason = set.iter().find_map(|held| held.shared()).map(str::to_owned);
    let failed = adapted
        .ok()
        .and_then(Result::err)
        .map(|refused| Failure::from(refused).message);
    let reason = reason.or(failed).unwrap_or_default();
    Finding::wrong(
        ABOUT,
        format!("old and new version share one socket, where a connection can be lost: {reason}"),
        "run on Linux 4.6 or later, with loopback up",
    )
}

pub(super) fn limits() -> Vec<Finding> {
    const ABOUT: &str = "limits";
    let mut findings = Vec::new();
    if let Some((soft, hard)) = host::open_files() {
        findings.push(if soft < FEW_DESCRIPTORS {
            let what = format!("{soft} open files for each process are few");
            Finding::wrong(ABOUT, what, format!("`ulimit -n {}`", hard.min(4096)))
        } else {
            Finding::fine(ABOUT, format!("{soft} open files for each process"))
        });
    }
    if let Some(longest) = host::longest_queue() {
        findings.push(if longest < SHORT_QUEUE {
            let what = format!("at most {longest} clients wait for an app that does not accept");
            Finding::wrong(ABOUT, what, "`sysctl -w net.core.somaxconn=4096`")
        } else {
            let what = format!("up to {longest} clients wait while no process accepts");
            Finding::fine(ABOUT, what)
        });
    }
    findings
}
