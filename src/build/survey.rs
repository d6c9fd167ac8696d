//! Reads the project for `hotrun init`, which is about to write its settings: also where nothing chooses
//! yet among several programs.

use std::path::PathBuf;
use std::sync::Arc;

use cargo_metadata::Metadata;
use tokio::sync::watch;

use super::artifact::ArtifactStore;
use super::cargo_config::CargoConfig;
use super::lock_holder::Tell;
use super::project::{self, Problem, Project, TargetKind};
use super::reader::{self, Unread};
use super::{no_cargo, recalled};
use crate::config::Build;
use crate::exit::Failure;
use crate::helper::Stopped;
use crate::session::model::Line;

/// What was found.
#[derive(Debug)]
pub struct Survey {
    /// The project, with the program that would be run.
    pub project: Project,
    /// The settings that choose this program: those given, and what they lacked.
    pub build: Build,
    /// The other programs that could be run, by name.
    pub others: Vec<String>,
    /// Where the addresses of its last run are remembered.
    pub memory: Option<PathBuf>,
}

/// Reads the project; of several programs among which nothing chooses, it is the one that was chosen at the
/// terminal before, or else one is taken.
pub async fn survey(build: &Build) -> Result<Survey, Failure> {
    let (_keep, mut cancel) = watch::channel(false);
    let mut said = Vec::new();
    let config = CargoConfig::read(build);
    let mut line = |line: Line| said.push(line.into_text());
    let waiting: Tell = Arc::new(|_| {});
    let read = reader::read(build, &config, &mut cancel, &mut line, &waiting).await;
    let metadata = match read {
        Ok((metadata, _)) => metadata,
        Err(Unread::Stopped(Stopped::Failed(reason))) => return Err(no_cargo(reason)),
        Err(_) => {
            let what = format!("cannot read the project: {}", said.join("\n"));
            return Err(Failure::usage(what).hint("mend what cargo names, and try again"));
        }
    };
    let build = chosen(&metadata, build)?;
    let project = project::choose(&metadata, &build).map_err(failure)?;
    let target = &project.target;
    let all = project::all(&metadata, &build, target.kind).map_err(failure)?;
    let mut others: Vec<String> = all.iter().map(|(_, other)| other.name.clone()).collect();
    others.retain(|name| *name != target.name);
    Ok(Survey {
        memory: ArtifactStore::last_memory(&project),
        others,
        build,
        project,
    })
}

/// The settings with what they lack to choose one program: the one that was chosen before, the one that is named like its package, or
/// the first; an example where there is no binary.
fn chosen(metadata: &Metadata, build: &Build) -> Result<Build, Failure> {
    let undecided = match project::choose(metadata, build) {
        Ok(_) => return Ok(build.clone()),
        Err(Problem::Choice(choice)) => match recalled(&choice) {
            Some(chosen) => return Ok(chosen.of(build)),
            None => choice.failure(),
        },
        Err(problem) => failure(problem),
    };
    if build.bin.is_some() || build.example.is_some() {
        return Err(undecided);
    }
    let mut build = build.clone();
    for kind in [TargetKind::Bin, TargetKind::Example] {
        let all = project::all(metadata, &build, kind).map_err(failure)?;
        let namesake = all
            .iter()
            .find(|(package, target)| package.name.as_str() == target.name);
        let Some((package, target)) = namesake.or(all.first()) else {
            continue;
        };
        let name = Some(target.name.clone());
        match kind {
            TargetKind::Bin => build.bin = name,
            TargetKind::Example => build.example = name,
        }
        let of_that_name = all.iter().filter(|(_, other)| other.name == target.name);
        if of_that_name.count() > 1 {
            build.package = Some(package.name.to_string());
        }
        return Ok(build);
    }
    Err(undecided)
}

fn failure(problem: Problem) -> Failure {
    match problem {
        Problem::Usage(failure) => failure,
        Problem::Choice(choice) => choice.failure(),
        Problem::Broken => Failure::usage("cannot read the project"),
    }
}
