//! What the system lets hotrun do.

use std::fs;
use std::path::Path;

use nix::libc;
use nix::sys::resource::{Resource, getrlimit};

use super::Finding;
use crate::app::why_not_captured;
use crate::capture::{filter, may_copy};
use crate::config::Settings;
use crate::keeper::Mode;
use crate::keeper::client::Keeper;
use crate::keeper::protocol::{Launch, News};
use crate::sockets::set::HeldSet;
use crate::sockets::spec;

/// Every connection has a descriptor here while it is carried over; a held address has two.
const FEW_DESCRIPTORS: u64 = 1024;

/// What a queue should hold at the least while nobody accepts: see `sockets::open`.
const SHORT_QUEUE: u64 = 128;

pub(super) fn kernel() -> Finding {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let what = format!("Linux {}, {}", release.trim(), std::env::consts::ARCH);
    Finding::fine("system", what)
}

/// Starts something under the filter.
pub(super) async fn capture(settings: &Settings) -> Vec<Finding> {
    const ABOUT: &str = "capture";
    if !settings.app.capture {
        let what = "off: only declared addresses are held";
        return vec![Finding::fine(ABOUT, what)];
    }
    let Some(filter) = filter::program(false) else {
        let reason = why_not_captured(libc::ENOSYS);
        return vec![Finding::said(ABOUT, &reason)];
    };
    let launch = Launch {
        program: "true".into(),
        argv0: "true".into(),
        env: settings.build.env.clone(),
        dir: "/".into(),
        filter,
        ..Launch::default()
    };
    let mut findings = Vec::new();
    match try_filter(launch).await {
        Some(None) => {
            let what = "what the app listens on by itself is held";
            findings.push(Finding::fine(ABOUT, what));
        }
        Some(Some(code)) => findings.push(Finding::said(ABOUT, &why_not_captured(code))),
        None => {
            let what = "could not be tried: no program could be started";
            let fix = "free some processes or descriptors (`ulimit -u`, `ulimit -n`)";
            findings.push(Finding::wrong(ABOUT, what, fix));
        }
    }
    if !may_copy() {
        let what = "a container denies copies of other processes' sockets (`pidfd_getfd`): options that the \
                    app sets before it listens are lost";
        let fix = "start the container with `--cap-add SYS_PTRACE`, if the app sets any";
        findings.push(Finding::wrong(ABOUT, what, fix));
    }
    findings
}

/// The error number that the filter is refused with, if it is; `None`: nothing could be started.
async fn try_filter(launch: Launch) -> Option<Option<i32>> {
    let mut keeper = Keeper::spawn(Mode::Group).ok()?;
    let _output = keeper.launch(launch, &[]).await.ok()?;
    let mut filtered = None;
    while let Some(news) = keeper.next().await {
        if let News::Filtered(refused) = news {
            filtered = Some(refused);
        }
    }
    filtered
}

/// Makes a pair.
pub(super) fn twins() -> Finding {
    const ABOUT: &str = "twins";
    let mut set = HeldSet::default();
    let spec = spec::parse("127.0.0.1:0", Path::new("/"));
    let adapted = spec.map(|spec| set.adapt(&[spec], true));
    if set.has_twins() {
        return Finding::fine(
            ABOUT,
            "old and new version have a socket each: nothing is lost in a swap",
        );
    }
    let reason = set.iter().find_map(|held| held.shared()).map(str::to_owned);
    let failed = adapted
        .ok()
        .and_then(Result::err)
        .map(|failure| failure.message);
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
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        findings.push(if soft < FEW_DESCRIPTORS {
            let what = format!("{soft} open files for each process are few");
            Finding::wrong(ABOUT, what, format!("`ulimit -n {}`", hard.min(4096)))
        } else {
            Finding::fine(ABOUT, format!("{soft} open files for each process"))
        });
    }
    if let Some(longest) = number("/proc/sys/net/core/somaxconn") {
        findings.push(if longest < SHORT_QUEUE {
            let what = format!("at most {longest} clients wait for an app that does not accept");
            Finding::wrong(ABOUT, what, "`sysctl -w net.core.somaxconn=4096`")
        } else {
            let what = format!("up to {longest} clients wait while nobody accepts");
            Finding::fine(ABOUT, what)
        });
    }
    findings
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
