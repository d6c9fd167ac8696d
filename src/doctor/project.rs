//! Checks of the project: its addresses, manifest, sources, watches and directories.

use std::path::Path;

use tokio::sync::mpsc;

use super::Finding;
use crate::build::inputs::{self, LastBuild};
use crate::build::{self, scope};
use crate::config::Settings;
use crate::session::model::{Line, Scope};
use crate::sockets::held::HeldSet;
use crate::sockets::remembered;
use crate::sys::host;
use crate::watch::Watch;

/// Less free space than this is soon used up by builds.
const LITTLE_ROOM: u64 = 1 << 30;

/// Binds the declared addresses.
pub(super) fn addresses(settings: &Settings) -> Vec<Finding> {
    const ABOUT: &str = "addresses";
    let mut set = HeldSet::default();
    if let Err(refused) = set.adapt(&settings.listen, settings.steering) {
        return vec![Finding::failure(ABOUT, &refused.into())];
    }
    let held: Vec<String> = set.iter().map(|held| held.address.to_string()).collect();
    if held.is_empty() {
        return vec![Finding::fine(ABOUT, "none is declared")];
    }
    vec![Finding::fine(
        ABOUT,
        format!("declared: {}", held.join(", ")),
    )]
}

pub(super) async fn toolchain(settings: &Settings) -> Vec<Finding> {
    const ABOUT: &str = "toolchain";
    match build::versions(&settings.build).await {
        Ok(versions) => {
            let finding = |version| Finding::fine(ABOUT, version);
            versions.into_iter().map(finding).collect()
        }
        Err(failure) => vec![Finding::failure(ABOUT, &failure)],
    }
}

/// Reads the project and watches it.
pub(super) async fn examine(settings: &Settings) -> Vec<Finding> {
    const ABOUT: &str = "project";
    let mut said = Vec::new();
    let mut settings = settings.clone();
    let line = |line: Line| said.push(line.into_text());
    let (loaded, chosen) = match build::load_as_chosen(&mut settings, line).await {
        Ok(loaded) => loaded,
        Err(unusable) => return vec![Finding::failure(ABOUT, &unusable.into())],
    };
    let settings = &settings;
    let Some(loaded) = loaded else {
        let fix = "mend the manifest; hotrun would wait for that";
        return vec![Finding::wrong(ABOUT, said.join("\n"), fix)];
    };
    let project = &loaded.project;
    let target = &project.target;
    let mut what = format!(
        "{} of {} in {}",
        target.name,
        target.package,
        project.workspace.display()
    );
    if chosen.is_some() {
        what += ", chosen before";
    }
    let mut findings = vec![Finding::fine(ABOUT, what)];
    let remembered = remembered::read(&loaded.store.memory());
    if !remembered.is_empty() {
        let ports: Vec<String> = remembered.iter().map(ToString::to_string).collect();
        let what = format!("remembered of the last run: {}", ports.join(", "));
        findings.push(Finding::fine("addresses", what));
    }
    let scope = scope::of_project(project, settings, &scope::Known::default(), loaded.seen);
    findings.extend(watching(settings, scope).await);
    findings.push(made_of(inputs::last_build(project, &settings.build)));
    findings.extend(room_for_builds(&project.target_dir));
    findings
}

/// Whether the program's sources are known.
fn made_of(last: LastBuild) -> Finding {
    const ABOUT: &str = "sources";
    match last {
        LastBuild::None => Finding::fine(ABOUT, "not built yet: known after the first build"),
        LastBuild::Names(count) => Finding::fine(ABOUT, format!("{count}, by cargo's dep-info")),
        LastBuild::Unusable(path) => Finding::wrong(
            ABOUT,
            format!(
                "`{}` is missing or not what cargo writes: every Rust file of the packages is taken \
                 for a source",
                path.display()
            ),
            "build once with `cargo build`, which writes it anew",
        ),
    }
}

/// Watches what a session would watch.
async fn watching(settings: &Settings, scope: Scope) -> Vec<Finding> {
    const ABOUT: &str = "watching";
    let (events, _inbox) = mpsc::unbounded_channel();
    let watch = match Watch::start(&settings.watch, events) {
        Ok(watch) => watch,
        Err(failure) => return vec![Finding::failure(ABOUT, &failure)],
    };
    let problems = watch.rewatch(scope).await.unwrap_or_default();
    if problems.is_empty() {
        return vec![Finding::fine(ABOUT, "the system tells of every change")];
    }
    let problems = problems.into_iter();
    problems
        .map(|problem| Finding::said(ABOUT, problem))
        .collect()
}

/// Whether programs can be built and started there.
fn room_for_builds(target: &Path) -> Vec<Finding> {
    const ABOUT: &str = "files";
    let mut findings = Vec::new();
    let Ok(room) = host::room(target) else {
        return findings;
    };
    let shown = target.display();
    if room.is_noexec {
        let what = format!("{shown} is mounted `noexec`: no program can be started from there");
        findings.push(Finding::wrong(
            ABOUT,
            what,
            "choose another one with --target-dir",
        ));
    }
    if room.bytes < LITTLE_ROOM {
        let what = format!("{shown} has {} MiB left", room.bytes >> 20);
        findings.push(Finding::wrong(
            ABOUT,
            what,
            "make room, or choose another one with --target-dir",
        ));
    }
    if findings.is_empty() {
        let what = format!("{shown} has {} GiB left", room.bytes >> 30);
        findings.push(Finding::fine(ABOUT, what));
    }
    findings
}
