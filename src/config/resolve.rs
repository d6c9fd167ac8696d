//! Makes the settings from all sources: the only reader of the environment.

use std::env;
use std::ffi::OsString;
use std::io::{ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use globset::{Glob, GlobSet, GlobSetBuilder};

use super::chosen::{self, Chosen};
use super::layer::{self, Layer, Listen, Mode, On, WhileBuilding};
use super::output::output;
use super::parent::Called;
use super::value::{Command, FilePath, Pattern};
use super::wording::nearest;
use super::{
    App, Build, Ready, Rule, Settings, Stdin, Watch, browser, cargos, file, manifest, parent,
    typed, variables,
};
use crate::cli::{self, Args};
use crate::exit::Failure;
use crate::session::OnChange;
use crate::session::model::{Handover, Hooks};
use crate::sockets::activation::SCRUBBED;
use crate::sockets::spec::{self, Spec, Wrong};
use crate::sockets::steering::Steering;
use crate::sys::{self, ABLE, host};

/// The name of the configuration file.
pub const FILE_NAME: &str = ".reload.toml";

/// Variables that another hotrun sets for an app or a hook, which may have started this one.
const OUTER: [&str; 5] = [
    "HOTRUN_HOOK",
    "HOTRUN_SESSION",
    "HOTRUN_GENERATION",
    "HOTRUN_LIVERELOAD",
    "HOTRUN_ERROR",
];

/// The shortest interval of polling: less would keep a processor busy.
const LEAST_POLL: Duration = Duration::from_millis(10);

/// The sources of settings that do not change while hotrun runs. The files are read anew each time.
#[derive(Clone, Debug)]
pub struct Sources {
    args: Args,
    /// The working directory.
    dir: PathBuf,
    manifest: PathBuf,
    /// The configuration file named by `--config`.
    named: Option<PathBuf>,
    /// hotrun inherited a TCP socket.
    inherited_tcp: bool,
    typed: Layer,
    environment: Layer,
    chosen: Option<Chosen>,
}

/// The working directory. The shell still knows the name of one that is gone.
pub(super) fn working_dir() -> Result<PathBuf, Failure> {
    env::current_dir().map_err(|error| {
        let named = env::var_os("PWD").map(|dir| format!(" `{}`", dir.display()));
        let named = named.unwrap_or_default();
        if error.kind() == ErrorKind::NotFound {
            return Failure::usage(format!("the working directory{named} is gone")).hint(
                "change to the project's directory with `cd`, also if there is a new one of that \
                     name",
            );
        }
        Failure::usage(format!("cannot tell the working directory{named}: {error}"))
            .hint("start hotrun in a directory that you may read")
    })
}

impl Sources {
    /// The command line and the environment. `inherited_tcp`: hotrun inherited a TCP socket.
    pub fn of(args: Args, inherited_tcp: bool) -> Result<Self, Failure> {
        let dir = working_dir()?;
        let manifest = manifest::find(&dir, args.manifest.manifest_path.as_deref())?;
        let config = cargos::split(&args.config, |path| std::fs::read_to_string(path).ok())?;
        let mut typed = typed::layer(&args, &config.cargos)?;
        typed.rebase(&dir);
        let mut environment = variables::layer(variables::texts(sys::variables())?)?;
        environment.rebase(&dir);
        Ok(Self {
            args,
            dir,
            manifest,
            named: config.own,
            inherited_tcp,
            typed,
            environment,
            chosen: None,
        })
    }

    /// From now on this target is meant wherever the settings name none.
    pub fn choose(&mut self, chosen: Chosen) {
        self.chosen = Some(chosen);
    }

    /// Reads the files and makes the settings from all sources.
    pub fn settings(&self) -> Result<Settings, Failure> {
        let (path, found) = self.file();
        let file = if found || self.named.is_some() {
            self.read(&path)?
        } else {
            Layer::default()
        };
        self.settings_with(self.with_overlay(file)?, path)
    }

    /// The settings without a configuration file, which must not exist: their `file` is where to write
    /// one.
    pub fn settings_without_file(&self) -> Result<Settings, Failure> {
        let (path, found) = self.file();
        if found {
            let shown = path.strip_prefix(&self.dir).unwrap_or(&path).display();
            let problem = format!("`{shown}` exists, and is read here: nothing was written");
            return Err(
                Failure::usage(problem).hint("edit it, or move it away to have one written anew")
            );
        }
        self.settings_with(Layer::default(), path)
    }

    /// The settings as if there were no configuration file, for what does not depend on it.
    pub fn settings_apart_from_file(&self) -> Result<Settings, Failure> {
        let (path, _) = self.file();
        self.settings_with(Layer::default(), path)
    }

    /// The settings from all sources; `file` is what stands in the file at `path`.
    fn settings_with(&self, file: Layer, path: PathBuf) -> Result<Settings, Failure> {
        let layer = self.typed.clone().over(self.environment.clone().over(file));
        let app = app(&layer.app, &self.args, &self.dir)?;
        let log = log(&layer.log)?;
        let listen = listen(layer.listen.as_deref().unwrap_or_default())?;
        let tcp = self.inherited_tcp || spec::has_tcp(&listen) || app.capture;
        Ok(Settings {
            handover: handover(&layer, &app, tcp)?,
            watch: self.watch(&layer, self.places(), log.as_deref())?,
            build: self.build(&chosen::with(self.chosen.as_ref(), &layer.build))?,
            hooks: hooks(&layer.hooks),
            steering: steering(&layer),
            quiesce_max: layer.handover.quiesce_max().0,
            hold: hold(&layer, tcp)?,
            hook_timeout: layer.hooks.timeout().0,
            output: output(&self.args, &layer.log, &app, log),
            browser: browser::settings(
                &layer,
                &self.args,
                env::var("TERM_PROGRAM").ok().as_deref(),
            )?,
            once: self.args.once,
            file: path,
            app,
            listen,
            layer,
        })
    }

    /// The paths at which a configuration file is looked for, from the directory of the manifest up to
    /// the root of its workspace: the first that exists is read.
    fn places(&self) -> Vec<PathBuf> {
        if let Some(named) = &self.named {
            return vec![manifest::straight(&self.dir.join(named))];
        }
        let root = manifest::workspace_root(&self.manifest);
        let dirs = self.manifest.ancestors().skip(1);
        dirs.take_while(|dir| dir.starts_with(&root))
            .map(|dir| dir.join(FILE_NAME))
            .collect()
    }

    /// The configuration file, or where one would be looked for first; and whether it exists.
    fn file(&self) -> (PathBuf, bool) {
        let places = self.places();
        let found = places.iter().find(|path| path.symlink_metadata().is_ok());
        (found.unwrap_or(&places[0]).clone(), found.is_some())
    }

    /// The configuration file was named by `--config`.
    pub fn names_file(&self) -> bool {
        self.named.is_some()
    }

    /// There is no configuration file, or it is empty.
    pub fn is_blank(&self) -> bool {
        let places = self.places();
        let found = places.iter().find_map(|path| path.metadata().ok());
        found.is_none_or(|found| found.len() == 0)
    }

    fn read(&self, path: &Path) -> Result<Layer, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let hint = match error.kind() {
                ErrorKind::InvalidData => "save it as UTF-8",
                _ => "make it a file that can be read, or name another one with --config",
            };
            Failure::usage(format!("cannot read `{}`: {error}", path.display())).hint(hint)
        })?;
        // Some editors begin a file with a byte order mark.
        let text = text.trim_start_matches('\u{feff}');
        let shown = path
            .strip_prefix(self.manifest.parent().unwrap_or(&self.manifest))
            .unwrap_or(path);
        let mut layer = file::parse(shown, text)?;
        layer.rebase(path.parent().unwrap_or(&self.dir));
        Ok(layer)
    }

    /// The file with the overlay that was chosen.
    fn with_overlay(&self, mut file: Layer) -> Result<Layer, Failure> {
        let Some(name) = &self.args.env else {
            return Ok(file);
        };
        if let Some(overlay) = file.env.remove(name) {
            return Ok(overlay.over(file));
        }
        let names: Vec<&str> = file.env.keys().map(String::as_str).collect();
        let failure = Failure::usage(format!("--env: there is no `[env.{name}]`"));
        Err(match nearest(name, names.iter().copied()) {
            Some(near) => failure.hint(format!("did you mean `{near}`?")),
            None if names.is_empty() => {
                failure.hint(format!("write the section `[env.{name}]` into {FILE_NAME}"))
            }
            None => failure.hint(format!("there is `{}`", names.join("`, `"))),
        })
    }

    fn build(&self, build: &layer::Build) -> Result<Build, Failure> {
        let args = build.args.clone().unwrap_or_default();
        if build.fast()
            && let Some(arg) = args.iter().find(|arg| chooses_profile(arg))
        {
            return Err(Failure::usage(format!(
                "build.fast is a profile of its own, and build.args has `{arg}`"
            ))
            .hint("write `build.release` or `build.profile` instead, which build.fast inherits"));
        }
        let scrubbed = |key: &OsString| {
            let ours = key.to_string_lossy().starts_with(variables::PREFIX);
            ours || SCRUBBED.iter().chain(&OUTER).any(|name| key == name)
        };
        let inherited = sys::variables().filter(|(key, _)| !scrubbed(key)).collect();
        let Called { cargo, env } = parent::called(inherited, |path| self.dir.join(path).is_file());
        Ok(Build {
            dir: self.dir.clone(),
            cargo,
            env,
            manifest: self.manifest.clone(),
            named_manifest: self.args.manifest.manifest_path.is_some(),
            package: build.package.clone(),
            bin: build.bin.clone(),
            example: build.example.clone(),
            bins: build.bins.clone(),
            features: build.features.clone().unwrap_or_default(),
            all_features: build.all_features(),
            no_default_features: build.no_default_features(),
            release: build.release(),
            profile: build.profile.clone(),
            fast: build.fast(),
            target: build.target.clone(),
            target_dir: build.target_dir.clone().map(|path| path.0),
            jobs: build.jobs.clone().map(|jobs| jobs.0),
            keep_going: build.keep_going(),
            timings: build.timings(),
            locked: build.locked(),
            offline: build.offline(),
            frozen: build.frozen(),
            ignore_rust_version: build.ignore_rust_version(),
            config: build
                .config
                .iter()
                .flatten()
                .map(|one| one.0.clone())
                .collect(),
            unstable: build.unstable.clone().unwrap_or_default(),
            args,
            on_change: match build.on_change() {
                layer::OnChange::Cancel => OnChange::Cancel,
                layer::OnChange::Queue => OnChange::Queue,
            },
        })
    }

    fn watch(
        &self,
        layer: &Layer,
        mut config: Vec<PathBuf>,
        log: Option<&Path>,
    ) -> Result<Watch, Failure> {
        let mut written: Vec<PathBuf> = log.map(Path::to_owned).into_iter().collect();
        written.extend(outputs(&self.args));
        let watch = &layer.watch;
        let poll = watch.poll.map(|poll| poll.0);
        if poll.is_some_and(|poll| poll < LEAST_POLL) {
            return Err(
                Failure::usage("watch.poll: less than 10 ms would keep a processor busy")
                    .hint("write `100ms` or more"),
            );
        }
        // Events of the file system name paths without `..`.
        let paths = paths(watch.paths.as_ref());
        let paths: Vec<PathBuf> = paths.iter().map(|path| manifest::straight(path)).collect();
        if let Some(missing) = paths.iter().find(|path| !path.exists()) {
            return Err(Failure::usage(format!(
                "watch.paths: there is no `{}`",
                missing.display()
            ))
            .hint("name a file or directory that exists with --watch or watch.paths"));
        }
        let rules = layer.on.iter().flatten().map(rule);
        let rules: Vec<Rule> = rules.collect::<Result<_, _>>()?;
        config.extend(env_files(&layer.app));
        // An edit of a linked file has events at its real path.
        let links = config.iter().filter(|path| path.is_symlink());
        let real = links.filter_map(|path| dunce::canonicalize(path).ok());
        config.extend(real.collect::<Vec<_>>());
        let debounce = watch.debounce().0;
        Ok(Watch {
            debounce,
            // If the quiet period is longer than its cap, the quiet period counts.
            max_wait: watch.max_wait().0.max(debounce),
            poll,
            poll_by_itself: layer::POLL.0,
            paths,
            ignore: ignored(watch.ignore.as_deref().unwrap_or_default(), &written)?,
            rules,
            config,
            configured: !self.is_blank(),
        })
    }
}

fn paths(paths: Option<&Vec<FilePath>>) -> Vec<PathBuf> {
    let paths = paths.into_iter().flatten();
    paths.map(|path| path.0.clone()).collect()
}

fn app(app: &layer::App, args: &Args, dir: &Path) -> Result<App, Failure> {
    let stdin = match args.stdin {
        Some(cli::Stdin::App) => Stdin::App,
        Some(cli::Stdin::None) | None => Stdin::None,
    };
    let args = if args.args.is_empty() {
        app.args.iter().flatten().map(Into::into).collect()
    } else {
        args.args.clone()
    };
    let app_dir = app
        .dir
        .as_ref()
        .map_or_else(|| dir.to_owned(), |dir| dir.0.clone());
    if !app_dir.is_dir() {
        return Err(Failure::usage(format!(
            "app.dir: there is no directory `{}`",
            app_dir.display()
        ))
        .hint("name a directory, from the one of the configuration file"));
    }
    let mut from_files = Vec::new();
    for path in env_files(app) {
        from_files.extend(variables_of(&path)?);
    }
    let mut env = from_files.clone();
    let written = app.env.iter().flatten();
    env.extend(written.map(|(name, value)| (name.0.clone().into(), value.into())));
    Ok(App {
        args,
        dir: app_dir,
        env,
        from_files,
        ready: app.ready.clone(),
        ready_timeout: app.ready_timeout().0,
        settle: app.settle().0,
        stop_signal: app.stop_signal().0,
        stop_timeout: app.stop_timeout().0,
        probation: app.probation().0,
        // An app that reads what the user types expects a terminal.
        capture: ABLE.capture && app.capture(),
        tty: app.tty() || (stdin == Stdin::App && std::io::stdin().is_terminal()),
        stdin,
    })
}

fn env_files(app: &layer::App) -> Vec<PathBuf> {
    paths(app.env_files.as_ref())
}

/// The variables of an environment file.
fn variables_of(path: &Path) -> Result<Vec<(OsString, OsString)>, Failure> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::usage(format!("cannot read `{shown}`: {error}"))
            .hint("name a file of `KEY=value` lines with --env-file or app.env_files")
    })?;
    dotenvy::from_read_iter(text.as_bytes())
        .map(|line| line.map(|(name, value)| (name.into(), value.into())))
        .collect::<Result<_, _>>()
        .map_err(|error| {
            let wrong = match &error {
                dotenvy::Error::LineParse(line, _) => line.lines().next(),
                _ => None,
            };
            // The line is not shown: it may hold a secret.
            let number = text.lines().position(|line| Some(line) == wrong);
            let number = number.map_or_else(String::new, |at| format!(":{}", at + 1));
            Failure::usage(format!("{shown}{number}: this is no `KEY=value` line"))
                .hint("put a value with blanks or `$` in single quotes: `KEY='a b'`")
        })
}

fn listen(entries: &[Listen]) -> Result<Vec<Spec>, Failure> {
    let refused = |wrong: Wrong| Failure::usage(wrong.reason).hint(wrong.hint);
    let mut specs = Vec::new();
    for entry in entries {
        let Some(address) = &entry.address else {
            continue;
        };
        let mut spec = address.spec().map_err(refused)?;
        if let Some(name) = &entry.name {
            spec.name = Some(name.0.clone());
        }
        spec.nonblocking = entry.nonblocking();
        specs.push(spec);
    }
    spec::check_apart(&specs).map_err(refused)?;
    Ok(specs)
}

/// `can_ask`: a TCP address is held.
fn handover(layer: &Layer, app: &App, can_ask: bool) -> Result<Handover, Failure> {
    let mode = layer.handover.mode();
    if matches!(app.ready, Some(Ready::Asked(_))) && !can_ask {
        return Err(Failure::usage(
            "app.ready: `http:`, `https:` and `tcp` need a TCP address to ask",
        )
        .hint("declare one with --listen or [[listen]], or leave --no-capture out"));
    }
    Ok(match mode {
        Mode::Auto => Handover::Auto,
        Mode::Overlap => Handover::Overlap,
        Mode::StopFirst => Handover::StopFirst,
    })
}

/// To put something into pages, hotrun has to pass them on; what the kernel can't do, it does likewise.
fn steering(layer: &Layer) -> Steering {
    match layer.handover.steering() {
        _ if layer.livereload.inject() => Steering::Relay,
        Steering::Kernel if !ABLE.twins => Steering::Relay,
        wanted => wanted,
    }
}

/// How long new connections are parked at most; `None`: they are not.
fn hold(layer: &Layer, tcp: bool) -> Result<Option<Duration>, Failure> {
    let handover = &layer.handover;
    if handover.while_building() == WhileBuilding::Serve {
        return Ok(None);
    }
    if !tcp || steering(layer) == Steering::None {
        return Err(Failure::usage(
            "handover.while_building: `hold` needs a TCP address with a socket for each version",
        )
        .hint(
            "declare one with --listen or [[listen]], or leave --no-capture out; and leave \
               `handover.steering = \"none\"` out",
        ));
    }
    Ok(Some(handover.hold_limit().0))
}

fn globs(place: &str, globs: impl IntoIterator<Item = Glob>) -> Result<GlobSet, Failure> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(glob);
    }
    set.build().map_err(|error| {
        Failure::usage(format!("{place}: {error}")).hint("write fewer or simpler patterns")
    })
}

/// The files that hotrun itself writes its lines and events to, by their real names.
fn outputs(args: &Args) -> Vec<PathBuf> {
    let events = args.events.iter().filter_map(|path| {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let dir = dunce::canonicalize(dir.unwrap_or(Path::new("."))).ok()?;
        Some(dir.join(path.file_name()?))
    });
    let own = host::output_paths();
    events.chain(own.filter(|path| path.is_file())).collect()
}

/// The paths that are ignored: those that the user names, the files that hotrun writes, and the names
/// that rotated logs get.
fn ignored(patterns: &[Pattern], written: &[PathBuf]) -> Result<GlobSet, Failure> {
    let mut all: Vec<Glob> = patterns.iter().flat_map(Pattern::globs).collect();
    for log in written.iter().filter_map(|path| path.to_str()) {
        let log = globset::escape(log);
        let older = format!("{log}{{.,-}}*");
        all.extend([log, older].iter().filter_map(|glob| Glob::new(glob).ok()));
    }
    globs("watch.ignore", all)
}

/// The log file, below the real path of its directory, which is the one in events of the file system.
fn log(log: &layer::Log) -> Result<Option<PathBuf>, Failure> {
    let Some(FilePath(path)) = &log.file else {
        return Ok(None);
    };
    let dir = path.parent().unwrap_or(path);
    match (dunce::canonicalize(dir), path.file_name()) {
        (Ok(dir), Some(name)) => Ok(Some(dir.join(name))),
        (_, None) => Err(
            Failure::usage(format!("log.file: `{}` is no file", path.display()))
                .hint("name a file that is writable"),
        ),
        _ => Err(Failure::usage(format!(
            "log.file: there is no directory `{}`",
            dir.display()
        ))
        .hint("make it, or name a file in a directory that exists")),
    }
}

fn rule(rule: &On) -> Result<Rule, Failure> {
    let patterns = rule.paths.as_deref().unwrap_or_default();
    let reactions = rule.r#do.iter().flat_map(|reactions| &reactions.0);
    Ok(Rule {
        paths: globs("on.paths", patterns.iter().flat_map(Pattern::globs))?,
        reaches: patterns.iter().filter_map(Pattern::reach).collect(),
        reactions: reactions
            .filter_map(|reaction| reaction.0.clone())
            .collect(),
    })
}

fn hooks(hooks: &layer::Hooks) -> Hooks {
    let words = |command: &Option<Command>| command.clone().map(|command| command.0);
    Hooks {
        before_build: words(&hooks.before_build),
        before_start: words(&hooks.before_start),
        after_live: words(&hooks.after_live),
        on_error: words(&hooks.on_error),
    }
}

/// An argument of `cargo build` that chooses a profile.
fn chooses_profile(arg: &str) -> bool {
    let name = arg.split_once('=').map_or(arg, |(name, _)| name);
    matches!(name, "--profile" | "--release" | "-r")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_no_input_and_neither_is_an_older_one() {
        let set = ignored(&[], &["/a[b]/app.log".into()]).unwrap();
        for log in ["app.log", "app.log.1", "app.log.2.gz", "app.log-20260101"] {
            assert!(set.is_match(Path::new("/a[b]").join(log)), "{log}");
        }
        for other in ["/a[b]/app.logic", "/a[b]/x/app.log", "/ab/app.log"] {
            assert!(!set.is_match(other), "{other}");
        }
    }
}
