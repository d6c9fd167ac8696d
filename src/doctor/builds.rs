//! Measures what would make builds faster: a copy of the project is built in several ways, each of them
//! in a target directory of its own, with the same small edits in turn. What is reported was measured.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::Instant;

use super::Finding;
use crate::build::project::Project;
use crate::build::{self, Builder};
use crate::config::Settings;
use crate::digest;
use crate::exit::Failure;
use crate::lines::strip;
use crate::session::event::{BuildNews, Event};
use crate::session::model::{
    ArtifactRef, BuildOutcome, Change, ChangeKind, Changes, Content, Generation, Line, Save,
};
use crate::session::reason::Reason;
use crate::sys::files;

const ABOUT: &str = "builds";
/// The edits that are measured.
const EDITS: usize = 3;
/// The edits before them: by the first one cargo compiles incrementally, and its calls are recorded.
const WARM_UPS: usize = 2;

/// One way to build.
struct Way {
    /// What is written where, in words; empty: as it is.
    what: String,
    fast: bool,
    config: Vec<String>,
}

/// Measures the ways to build this project; `tell` is called with each step.
pub(super) async fn measure(settings: &Settings, tell: impl Fn(&str)) -> Vec<Finding> {
    match Box::pin(all(settings, &tell)).await {
        Ok(findings) => findings,
        Err(reason) => vec![Finding::said(ABOUT, reason)],
    }
}

async fn all(settings: &Settings, tell: &impl Fn(&str)) -> Result<Vec<Finding>, Reason> {
    let mut said = Vec::new();
    let mut settings = settings.clone();
    let line = |line: Line| said.push(line.into_text());
    let loaded = build::load_as_chosen(&mut settings, line).await;
    let (loaded, _) = loaded.map_err(Failure::from)?;
    let settings = &settings;
    let Some(loaded) = loaded else {
        return Err(Reason::new(said.join("\n"), "mend the manifest"));
    };
    let project = loaded.project.clone();
    // Another hotrun may want the target meanwhile.
    drop(loaded);
    let copy = Scratch::of(&project)?;
    let edited = edited_file(&project);
    let shown = edited
        .strip_prefix(&project.workspace)
        .unwrap_or(&edited)
        .display()
        .to_string();
    let ways = ways(settings, &project);
    let mut runs = Vec::new();
    for (number, way) in ways.iter().enumerate() {
        tell(&format!("everything is built once: {}", way.name()));
        let settings = copy.settings(settings, way, number);
        runs.push(Run::start(settings, &copy, &edited).await?);
    }
    for round in 0..WARM_UPS + EDITS {
        tell(&format!(
            "edit {} of {}, in each of {} ways",
            round + 1,
            WARM_UPS + EDITS,
            ways.len()
        ));
        for run in &mut runs {
            run.edit(round >= WARM_UPS).await?;
        }
    }
    let own = runs.first().map(Run::median).unwrap_or_default();
    let findings = ways.iter().zip(&runs).map(|(way, run)| {
        let took = run.median();
        let seconds = took.as_secs_f64();
        Finding::fine(ABOUT, if way.what.is_empty() {
            format!("{seconds:.2} s with the settings as they are (median of {EDITS} edits of {shown})")
        } else {
            let ratio = seconds / own.as_secs_f64().max(f64::EPSILON);
            format!("{seconds:.2} s ({ratio:.2}) with {}", way.what)
        })
    });
    Ok(findings.collect())
}

impl Way {
    fn name(&self) -> &str {
        if self.what.is_empty() {
            "with the settings as they are"
        } else {
            &self.what
        }
    }
}

/// The ways that can be had here, the user's own first.
fn ways(settings: &Settings, project: &Project) -> Vec<Way> {
    let profile = settings.build.chosen_profile();
    let of_profile = |line: &str| format!("profile.{profile}.{line}");
    let way = |what: String, fast: bool, config: Vec<String>| Way {
        what,
        fast: fast || settings.build.fast,
        config,
    };
    let manifest = format!("under [profile.{profile}] of Cargo.toml");
    let mut ways = vec![way(String::new(), false, Vec::new())];
    if !settings.build.fast {
        ways.push(way(
            "`fast = true` under [build] of .reload.toml".into(),
            true,
            Vec::new(),
        ));
        ways.push(way(
            format!(
                "`debug = \"line-tables-only\"` {manifest} and `debug = false` under \
                 [profile.{profile}.package.\"*\"]"
            ),
            false,
            vec![
                of_profile("debug=\"line-tables-only\""),
                of_profile("package.\"*\".debug=false"),
            ],
        ));
    }
    ways.push(way(
        format!("`debug = false` {manifest} and `fast = true` (backtraces name no lines)"),
        true,
        vec![of_profile("debug=false")],
    ));
    ways.push(way(
        format!("`codegen-units = 16` {manifest}"),
        false,
        vec![of_profile("codegen-units=16")],
    ));
    let triple = settings.build.target.as_deref().unwrap_or(&project.host);
    for (program, name) in [("mold", "mold"), ("ld.lld", "lld")] {
        if is_installed(settings, program) {
            ways.push(way(
                format!(
                    "`rustflags = [\"-Clink-arg=-fuse-ld={name}\"]` under [target.{triple}] of \
                     .cargo/config.toml"
                ),
                false,
                vec![format!(
                    "target.{triple}.rustflags=[\"-Clink-arg=-fuse-ld={name}\"]"
                )],
            ));
        }
    }
    ways
}

fn is_installed(settings: &Settings, program: &str) -> bool {
    let path = settings
        .build
        .env
        .iter()
        .rev()
        .find(|(name, _)| name == "PATH");
    path.is_some_and(|(_, dirs)| std::env::split_paths(dirs).any(|dir| dir.join(program).is_file()))
}

/// The file that is edited: the root of the package's library, where most of the code is if there is one,
/// else of the program.
fn edited_file(project: &Project) -> PathBuf {
    let package = project.locals.iter().find(|local| local.id == project.id);
    let library = package.map(|local| local.dir.join("src/lib.rs"));
    library
        .filter(|path| path.is_file())
        .unwrap_or_else(|| project.target.source.clone())
}

/// A copy of the workspace's sources, which goes with it, and a place for what is built from it.
struct Scratch {
    dir: TempDir,
    workspace: PathBuf,
    targets: TempDir,
}

impl Scratch {
    fn of(project: &Project) -> Result<Self, Reason> {
        let workspace = &project.workspace;
        let outside = project
            .locals
            .iter()
            .find(|local| !local.dir.starts_with(workspace));
        if let Some(local) = outside {
            return Err(Reason::new(
                format!(
                    "`{}` is outside of the workspace, and a copy would not find it",
                    local.name
                ),
                "measure by hand: `cargo build --timings`",
            ));
        }
        let failed = |error: io::Error| {
            let what = format!("cannot copy {}: {error}", workspace.display());
            Reason::new(
                what,
                "make room in the directory for temporary files, or set TMPDIR",
            )
        };
        let dir = tempfile::Builder::new()
            .prefix("hotrun-doctor-")
            .tempdir()
            .map_err(failed)?;
        let without = [&project.target_dir, &project.build_dir];
        copy(workspace, &dir.path().join("project"), &without).map_err(failed)?;
        // Beside what the project builds: it may be large, and executables must be allowed there.
        fs::create_dir_all(&project.target_dir).map_err(failed)?;
        let mut targets = tempfile::Builder::new();
        targets.prefix("hotrun-doctor-");
        let targets = targets.tempdir_in(&project.target_dir).map_err(failed)?;
        Ok(Self {
            dir,
            workspace: workspace.clone(),
            targets,
        })
    }

    /// Where the copy has this path of the workspace.
    fn path(&self, path: &Path) -> PathBuf {
        let own = self.dir.path().join("project");
        path.strip_prefix(&self.workspace)
            .map_or_else(|_| path.to_owned(), |inner| own.join(inner))
    }

    /// The settings for building the copy this way.
    fn settings(&self, settings: &Settings, way: &Way, number: usize) -> Settings {
        let mut settings = settings.clone();
        let build = &mut settings.build;
        build.dir = self.path(&build.dir);
        build.manifest = self.path(&build.manifest);
        build.target_dir = Some(self.targets.path().join(number.to_string()));
        build.fast = way.fast;
        build.config.extend(way.config.iter().cloned());
        settings
    }
}

/// Copies a directory without these, without what is cargo's, git's or npm's.
fn copy(from: &Path, to: &Path, without: &[&PathBuf]) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let kind = entry.file_type()?;
        let is_left_out = without.contains(&&path)
            || name == ".git"
            || name == "node_modules"
            || path.join("CACHEDIR.TAG").exists();
        if kind.is_dir() && !is_left_out {
            copy(&path, &to.join(&name), without)?;
        } else if kind.is_symlink() {
            files::symlink(fs::read_link(&path)?, to.join(&name))?;
        } else if kind.is_file() {
            fs::copy(&path, to.join(&name))?;
        }
    }
    Ok(())
}

/// The builds of one way.
struct Run {
    builder: Builder,
    events: UnboundedReceiver<Event>,
    file: PathBuf,
    /// The path as changes name it.
    relative: PathBuf,
    number: u32,
    baseline: Option<ArtifactRef>,
    content: Option<Content>,
    times: Vec<Duration>,
}

impl Run {
    /// Builds everything once.
    async fn start(settings: Settings, copy: &Scratch, edited: &Path) -> Result<Self, Reason> {
        let mut said = Vec::new();
        let loaded = build::load(&settings, |line| said.push(line.into_text()), |_| {}).await;
        let loaded = loaded.map_err(Failure::from)?;
        let Some(loaded) = loaded else {
            return Err(Reason::new(
                format!(
                    "cargo can't read a copy of the project: {}",
                    said.join("; ")
                ),
                "measure by hand: `cargo build --timings`",
            ));
        };
        let (tell, events) = mpsc::unbounded_channel();
        let file = copy.path(edited);
        let workspace = loaded.project.workspace.clone();
        let relative = file.strip_prefix(&workspace).unwrap_or(&file).to_owned();
        let mut run = Self {
            builder: build::spawn(
                Arc::new(settings),
                Some(loaded),
                Box::new(|| Box::pin(async {})),
                tell,
            ),
            events,
            content: digest::of(&file),
            file,
            relative,
            number: 0,
            baseline: None,
            times: Vec::new(),
        };
        run.build(Changes::default()).await?;
        Ok(run)
    }

    /// Edits the file and builds; `counts`: the time is measured.
    async fn edit(&mut self, counts: bool) -> Result<(), Reason> {
        let number = self.number;
        let failed = |error: io::Error| Reason::from(format!("{}: {error}", self.file.display()));
        let text = fs::read_to_string(&self.file).map_err(failed)?;
        let code = text.split(MARK).next().unwrap_or_default();
        // Something that is compiled and linked, in every edition.
        let text = format!("{code}{MARK}#[used]\nstatic HOTRUN_EDIT: u32 = {number};\n");
        fs::write(&self.file, text).map_err(failed)?;
        let before = self.content;
        self.content = digest::of(&self.file);
        let mut changes = Changes::default();
        changes.add(&Change {
            path: self.relative.clone(),
            kind: ChangeKind::Source,
            before,
            now: self.content.unwrap_or(Content::Unreadable),
            save: Save::Finished,
            script: None,
        });
        let began = Instant::now();
        self.build(changes).await?;
        if counts {
            self.times.push(began.elapsed());
        }
        Ok(())
    }

    async fn build(&mut self, changes: Changes) -> Result<(), Reason> {
        self.number += 1;
        let generation = Generation(self.number);
        self.builder
            .start(generation, false, self.baseline.clone(), changes);
        let mut said = Vec::new();
        while let Some(event) = self.events.recv().await {
            match event {
                Event::Build(
                    _,
                    BuildNews::Diagnostic {
                        error: true,
                        rendered,
                        ..
                    },
                ) => said.push(strip(&rendered)),
                Event::Build(_, BuildNews::Done(BuildOutcome::Built { artifact, .. })) => {
                    self.baseline = Some(artifact);
                    return Ok(());
                }
                Event::Build(_, BuildNews::Done(BuildOutcome::Failed { reason })) => {
                    let what = format!("a copy of the project does not build: {}", reason.text);
                    return Err(Reason::new(
                        [&[what], &said[..]].concat().join("\n"),
                        "`cargo build` has to succeed before it can be measured",
                    ));
                }
                _ => {}
            }
        }
        Err("the builder has ended".into())
    }

    fn median(&self) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }
}

/// Stands before what an edit appends.
const MARK: &str = "\n// hotrun doctor\n";
