//! The settings and programs with which the session is tried.

use std::time::Duration;

use super::super::model::{Handover, Hooks, Reaction};
use super::super::scenarios::policy;
use super::super::{OnChange, Policy};

/// A session's settings, and what the program does about addresses.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) name: &'static str,
    pub(super) policy: Policy,
    pub(super) program: Program,
}

/// What the program does about addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// It takes over a declared address, or has none.
    Declared,
    /// It binds an address by itself, which is captured.
    Binds,
    /// The same, and the last run of hotrun remembered the address.
    BindsRemembered,
}

const MS: fn(u64) -> Duration = Duration::from_millis;

pub(super) fn setups() -> Vec<Setup> {
    let base = Policy {
        ready_timeout: Some(MS(50)),
        ..policy()
    };
    let worker = Policy {
        serving: false,
        ready_timeout: None,
        ..base.clone()
    };
    let twins = Policy {
        quiesce_max: Some(MS(250)),
        ..base.clone()
    };
    let holds = Policy {
        hold: Some(MS(100)),
        ..twins.clone()
    };
    let stop_first = |policy: &Policy| Policy {
        handover: Handover::StopFirst,
        ..policy.clone()
    };
    let once = |policy: &Policy| Policy {
        once: true,
        ..policy.clone()
    };
    let command = |name: &str| Some(vec![name.to_owned()]);
    let commands = Policy {
        rules: vec![vec![
            Reaction::Run(vec!["run".into()]),
            Reaction::Restart,
            Reaction::Signal(1),
            Reaction::ReloadBrowser,
            Reaction::Rebuild,
        ]],
        hooks: Hooks {
            before_build: command("build"),
            before_start: command("start"),
            after_live: command("live"),
            on_error: command("error"),
        },
        ..twins.clone()
    };
    let queue = Policy {
        page: false,
        handover: Handover::Overlap,
        on_change: OnChange::Queue,
        ..twins.clone()
    };
    let binds = worker.clone();
    let declared = Program::Declared;
    [
        ("stop-first", stop_first(&base), declared),
        ("stop-first, hold", stop_first(&holds), declared),
        ("once", once(&base), declared),
        ("once, without an address", once(&worker), declared),
        ("one socket", base, declared),
        ("two slots", twins, declared),
        ("two slots, hold", holds, declared),
        ("overlap, queue", queue, declared),
        ("rules and hooks", commands, declared),
        ("without an address", worker, declared),
        ("captured", binds.clone(), Program::Binds),
        ("captured, remembered", binds, Program::BindsRemembered),
    ]
    .map(|(name, policy, program)| Setup {
        name,
        policy,
        program,
    })
    .into()
}
