//! Defaults < file < command line, checked: the only reader of [`Args`] and of the environment.

use std::env;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use globset::{Glob, GlobSet, GlobSetBuilder};
use nix::sys::signal::Signal;
use regex::Regex;

use super::{App, Build, Format, Output, Ready, Settings, Stdin, Verbosity, Watch, defaults, file};
use crate::cli::{self, Args};
use crate::exit::Failure;
use crate::session::OnChange;
use crate::session::model::Handover;
use crate::sockets::activation::SCRUBBED;
use crate::sockets::spec::{self, Spec};

/// The name of the configuration file.
pub const FILE_NAME: &str = ".reload.toml";

/// Makes settings of what was typed and written.
pub fn resolve(args: &Args) -> Result<Settings, Failure> {
    let dir = env::current_dir().map_err(|error| {
        Failure::usage(format!("cannot tell the working directory: {error}"))
            .hint("start hotrun in a directory that exists")
    })?;
    let manifest = find_manifest(&dir, args.manifest_path.as_deref())?;
    let (file, file_dir) = read_file(args.config.as_deref(), &manifest)?;
    let base = file_dir.unwrap_or_else(|| dir.clone());
    conflicts(&file)?;
    let app = app(args, &file.app, &dir, &base)?;
    let listen = listen(args, &file.listen)?;
    if matches!(app.ready, Some(Ready::Http(_))) && args.handover == Some(cli::Handover::Overlap) {
        return Err(Failure::usage(
            "--handover overlap: not with app.ready = \"http:…\" on one shared socket",
        )
        .hint("leave --handover out, or choose another proof of readiness"));
    }
    if matches!(app.ready, Some(Ready::Http(_))) && listen.is_empty() {
        return Err(Failure::usage("app.ready: `http:` needs an address to ask")
            .hint("declare one with --listen or [[listen]]"));
    }
    let log = log(&file.log, &base)?;
    Ok(Settings {
        listen,
        handover: handover(args, &file, app.ready.as_ref()),
        watch: watch(args, &file.watch, log.as_deref(), &dir, &base)?,
        build: build(args, file.build, dir, manifest, &base),
        output: output(args, log),
        once: args.once,
        app,
    })
}

/// The manifest that cargo would find, or the one that was named.
fn find_manifest(dir: &Path, named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(named) = named {
        let path = dir.join(named);
        if path.is_dir() {
            let inside = named.join("Cargo.toml");
            return Err(Failure::usage(format!(
                "--manifest-path: `{}` is a directory",
                named.display()
            ))
            .hint(format!("name the manifest itself: `{}`", inside.display())));
        }
        if !path.is_file() {
            return Err(Failure::usage(format!(
                "--manifest-path: there is no `{}`",
                named.display()
            ))
            .hint("name the Cargo.toml of the project to run"));
        }
        return Ok(path);
    }
    dir.ancestors()
        .map(|dir| dir.join("Cargo.toml"))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            Failure::usage(format!("no Cargo.toml in `{}` or above it", dir.display()))
                .hint("start hotrun in a Cargo project, or name one with --manifest-path")
        })
}

/// The configuration file and its directory, if there is one: from the directory of the manifest
/// up to the root of its workspace.
fn read_file(
    named: Option<&Path>,
    manifest: &Path,
) -> Result<(file::File, Option<PathBuf>), Failure> {
    let path = named.map(Path::to_owned).or_else(|| {
        let root = workspace_root(manifest);
        let dirs = manifest
            .ancestors()
            .skip(1)
            .take_while(|dir| dir.starts_with(&root));
        dirs.map(|dir| dir.join(FILE_NAME))
            .find(|path| path.is_file())
    });
    let Some(path) = path else {
        return Ok((file::File::default(), None));
    };
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Failure::usage(format!("cannot read `{}`: {error}", path.display()))
            .hint("name a readable file with --config")
    })?;
    let shown = path
        .strip_prefix(manifest.parent().unwrap_or(manifest))
        .unwrap_or(&path);
    let file = file::parse(shown, &text)?;
    let dir = std::path::absolute(&path)
        .ok()
        .and_then(|path| path.parent().map(Path::to_owned));
    Ok((file, dir))
}

/// The directory of the nearest manifest that has a `[workspace]`, else that of the manifest. By
/// its lines, since the manifest may be broken right now.
fn workspace_root(manifest: &Path) -> PathBuf {
    let is_root = |dir: &&Path| {
        let text = std::fs::read_to_string(dir.join("Cargo.toml")).unwrap_or_default();
        text.lines()
            .any(|line| line.trim_start().starts_with("[workspace"))
    };
    let own = manifest.parent().unwrap_or(manifest);
    own.ancestors().find(is_root).unwrap_or(own).to_owned()
}

/// What clap refuses on the command line, refused in the file.
fn conflicts(file: &file::File) -> Result<(), Failure> {
    let build = &file.build;
    let both = |one: &str, other: &str| {
        Err(
            Failure::usage(format!("build.{one} and build.{other} exclude each other"))
                .hint("keep one of them"),
        )
    };
    if build.bin.is_some() && build.example.is_some() {
        return both("bin", "example");
    }
    if build.release && build.profile.is_some() {
        return both("release", "profile");
    }
    match file
        .app
        .env
        .keys()
        .find(|key| key.is_empty() || key.contains(['=', '\0']))
    {
        Some(key) => Err(
            Failure::usage(format!("app.env: `{key}` is no name of a variable"))
                .hint("a name has at least one character and no `=`"),
        ),
        None => Ok(()),
    }
}

fn build(args: &Args, file: file::Build, dir: PathBuf, manifest: PathBuf, base: &Path) -> Build {
    // A target chosen on the command line replaces the file's choice as a whole.
    let chosen = args.bin.is_some() || args.example.is_some();
    let (bin, example) = if chosen {
        (None, None)
    } else {
        (file.bin, file.example)
    };
    let profile_chosen = args.release || args.profile.is_some();
    let (release, profile) = if profile_chosen {
        (false, None)
    } else {
        (file.release, file.profile)
    };
    let scrubbed = |key: &OsString| SCRUBBED.iter().any(|name| key == name);
    Build {
        cargo: env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
        env: env::vars_os().filter(|(key, _)| !scrubbed(key)).collect(),
        named_manifest: args.manifest_path.is_some(),
        package: args.package.clone().or(file.package),
        bin: args.bin.clone().or(bin),
        example: args.example.clone().or(example),
        features: if args.features.is_empty() {
            file.features
        } else {
            args.features.clone()
        },
        all_features: args.all_features || file.all_features,
        no_default_features: args.no_default_features || file.no_default_features,
        release: args.release || release,
        profile: args.profile.clone().or(profile),
        target: args.target.clone().or(file.target),
        target_dir: args
            .target_dir
            .as_ref()
            .map(|target| dir.join(target))
            .or(file.target_dir.map(|target| base.join(target))),
        on_change: match file.on_change {
            Some(file::OnChange::Queue) => OnChange::Queue,
            Some(file::OnChange::Cancel) | None => OnChange::Cancel,
        },
        dir,
        manifest,
    }
}

fn app(args: &Args, file: &file::App, dir: &Path, base: &Path) -> Result<App, Failure> {
    let time = |key: &str, value: &Option<String>, default: Duration| {
        value
            .as_ref()
            .map_or(Ok(default), |value| duration(&format!("app.{key}"), value))
    };
    let stdin = match args.stdin {
        Some(cli::Stdin::App) => Stdin::App,
        Some(cli::Stdin::None) | None => Stdin::None,
    };
    let args = if args.args.is_empty() {
        file.args.iter().map(Into::into).collect()
    } else {
        args.args.clone()
    };
    let app_dir = file
        .dir
        .as_ref()
        .map_or_else(|| dir.to_owned(), |dir| base.join(dir));
    if !app_dir.is_dir() {
        return Err(Failure::usage(format!(
            "app.dir: there is no directory `{}`",
            app_dir.display()
        ))
        .hint("name a directory, from the one of the configuration file"));
    }
    let signal = file.stop_signal.as_deref().unwrap_or(defaults::STOP_SIGNAL);
    Ok(App {
        args,
        dir: app_dir,
        env: file
            .env
            .iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect(),
        ready: file.ready.as_deref().map(ready).transpose()?,
        ready_timeout: time(
            "ready_timeout",
            &file.ready_timeout,
            defaults::READY_TIMEOUT,
        )?,
        settle: time("settle", &file.settle, defaults::SETTLE)?,
        stop_signal: stop_signal(signal)?,
        stop_timeout: time("stop_timeout", &file.stop_timeout, defaults::STOP_TIMEOUT)?,
        probation: time("probation", &file.probation, defaults::PROBATION)?,
        // Who reads what is typed at a terminal expects one.
        tty: file.tty || (stdin == Stdin::App && std::io::stdin().is_terminal()),
        stdin,
    })
}

fn stop_signal(name: &str) -> Result<i32, Failure> {
    let full = if name.starts_with("SIG") {
        name.to_owned()
    } else {
        format!("SIG{name}")
    };
    let wrong = || {
        Failure::usage(format!(
            "app.stop_signal: `{name}` can't ask a program to end"
        ))
        .hint("name one like `TERM`, `INT`, `QUIT` or `USR1`")
    };
    let signal = Signal::from_str(&full).map_err(|_| wrong())?;
    if matches!(
        signal,
        Signal::SIGKILL | Signal::SIGSTOP | Signal::SIGCONT | Signal::SIGCHLD
    ) {
        return Err(wrong());
    }
    Ok(signal as i32)
}

fn ready(text: &str) -> Result<Ready, Failure> {
    let wrong = |reason: String| {
        Failure::usage(format!("app.ready: {reason}"))
            .hint("write `notify`, `http:/path`, `log:REGEX` or `delay:TIME`")
    };
    match text.split_once(':') {
        None if text == "notify" => Ok(Ready::Notify),
        Some(("http", path)) if path.starts_with('/') && !path.contains(char::is_whitespace) => {
            Ok(Ready::Http(path.to_owned()))
        }
        Some(("http", path)) => Err(wrong(format!("`{path}` is no path of a URL"))),
        Some(("log", pattern)) => Regex::new(pattern)
            .map(Ready::Log)
            .map_err(|error| wrong(format!("`{pattern}` is no regular expression: {error}"))),
        Some(("delay", time)) => duration("app.ready", time).map(Ready::Delay),
        _ => Err(wrong(format!("`{text}` is no proof of readiness"))),
    }
}

fn listen(args: &Args, file: &[file::Listen]) -> Result<Vec<Spec>, Failure> {
    let failure = |place: &str, wrong: spec::Wrong| {
        Failure::usage(format!("{place}: {}", wrong.reason)).hint(wrong.hint)
    };
    let mut specs = Vec::new();
    if args.listen.is_empty() {
        for (number, entry) in file.iter().enumerate() {
            let place = |key: &str| format!("listen[{number}].{key}");
            let mut spec =
                spec::parse(&entry.address).map_err(|wrong| failure(&place("address"), wrong))?;
            if let Some(name) = &entry.name {
                let name =
                    spec::check_name(name).map_err(|wrong| failure(&place("name"), wrong))?;
                spec.name = Some(name);
            }
            spec.nonblocking = entry.nonblocking;
            specs.push(spec);
        }
    } else {
        for text in &args.listen {
            specs.push(spec::parse(text).map_err(|wrong| failure("--listen", wrong))?);
        }
    }
    let mut seen = std::collections::HashSet::new();
    let addresses = specs.iter().flat_map(|spec| &spec.addresses);
    let twice = addresses
        .filter(|address| address.port() != 0)
        .find(|address| !seen.insert(*address));
    match twice {
        Some(address) => Err(Failure::usage(format!("`{address}` is declared twice"))
            .hint("leave one of them out; `:PORT` stands for both loopback addresses")),
        None => Ok(specs),
    }
}

fn handover(args: &Args, file: &file::File, ready: Option<&Ready>) -> Handover {
    // On one shared socket a request can't be told to reach the candidate and not live.
    if matches!(ready, Some(Ready::Http(_))) {
        return Handover::StopFirst;
    }
    match (args.handover, file.handover.mode) {
        (Some(cli::Handover::Auto), _) | (None, Some(file::Mode::Auto) | None) => Handover::Auto,
        (Some(cli::Handover::Overlap), _) | (None, Some(file::Mode::Overlap)) => Handover::Overlap,
        (Some(cli::Handover::StopFirst), _) | (None, Some(file::Mode::StopFirst)) => {
            Handover::StopFirst
        }
    }
}

fn watch(
    args: &Args,
    file: &file::Watch,
    log: Option<&Path>,
    dir: &Path,
    base: &Path,
) -> Result<Watch, Failure> {
    let time = |flag: &str, typed: &Option<String>, key: &str, written: &Option<String>| match (
        typed, written,
    ) {
        (Some(value), _) => duration(flag, value).map(Some),
        (None, Some(value)) => duration(key, value).map(Some),
        (None, None) => Ok(None),
    };
    let debounce = time(
        "--debounce",
        &args.debounce,
        "watch.debounce",
        &file.debounce,
    )?;
    let max_wait = time("", &None, "watch.max_wait", &file.max_wait)?;
    let poll = time("--poll", &args.poll, "watch.poll", &file.poll)?;
    if poll.is_some_and(|poll| poll < Duration::from_millis(10)) {
        return Err(
            Failure::usage("--poll: less than 10 ms would keep a processor busy")
                .hint("write `--poll=100ms` or more"),
        );
    }
    let typed = args.watch.iter().map(|path| ("--watch", dir.join(path)));
    let written = file
        .paths
        .iter()
        .map(|path| ("watch.paths", base.join(path)));
    let paths: Vec<(&str, PathBuf)> = typed.chain(written).collect();
    if let Some((place, missing)) = paths.iter().find(|(_, path)| !path.exists()) {
        return Err(
            Failure::usage(format!("{place}: there is no `{}`", missing.display()))
                .hint("name a file or directory that exists"),
        );
    }
    let debounce = debounce.unwrap_or(defaults::DEBOUNCE);
    Ok(Watch {
        debounce,
        // A quiet period longer than the cap is meant: the cap gives way.
        max_wait: max_wait.unwrap_or(defaults::MAX_WAIT).max(debounce),
        poll,
        paths: paths.into_iter().map(|(_, path)| path).collect(),
        ignore: globs(&args.ignore, &file.ignore, log)?,
    })
}

/// The log file, below the real name of its directory: that is what the watch sees.
fn log(file: &file::Log, base: &Path) -> Result<Option<PathBuf>, Failure> {
    let Some(path) = file.file.as_ref().map(|file| base.join(file)) else {
        return Ok(None);
    };
    let dir = path.parent().unwrap_or(&path);
    match (dir.canonicalize(), path.file_name()) {
        (Ok(dir), Some(name)) => Ok(Some(dir.join(name))),
        _ => Err(Failure::usage(format!(
            "log.file: there is no directory `{}`",
            dir.display()
        ))
        .hint("make it, or name a file in a directory that exists")),
    }
}

/// A glob without a slash matches names anywhere, as in a `.gitignore`. What is written to the log,
/// and what it is renamed to when it is rotated, is nobody's input.
fn globs(typed: &[String], written: &[String], log: Option<&Path>) -> Result<GlobSet, Failure> {
    let wrong = |place: &str, error: &globset::Error| {
        Failure::usage(format!("{place}: {error}")).hint("write a glob like `*.tmp` or `assets/**`")
    };
    let mut set = GlobSetBuilder::new();
    for (place, patterns) in [("--ignore", typed), ("watch.ignore", written)] {
        for pattern in patterns {
            let glob = |text: &str| Glob::new(text).map_err(|error| wrong(place, &error));
            set.add(glob(pattern)?);
            if !pattern.contains('/') {
                set.add(glob(&format!("**/{pattern}"))?);
            }
        }
    }
    if let Some(log) = log.and_then(Path::to_str) {
        let log = globset::escape(log);
        for pattern in [format!("{log}{{.,-}}*"), log] {
            set.add(Glob::new(&pattern).map_err(|error| wrong("log.file", &error))?);
        }
    }
    set.build().map_err(|error| wrong("--ignore", &error))
}

/// A span of time with its unit: `300ms`, `5s`, `1m 30s`.
fn duration(place: &str, text: &str) -> Result<Duration, Failure> {
    if let Ok(number) = text.trim().parse::<f64>() {
        return Err(Failure::usage(format!("{place}: `{text}` has no unit"))
            .hint(format!("write `{number}ms` or `{number}s`")));
    }
    humantime::parse_duration(text).map_err(|_| {
        Failure::usage(format!("{place}: `{text}` is no time")).hint("write `300ms`, `5s` or `1m`")
    })
}

fn output(args: &Args, log: Option<PathBuf>) -> Output {
    let terminal = std::io::stderr().is_terminal();
    let format = match args.format.unwrap_or(cli::Format::Auto) {
        cli::Format::Terminal => Format::Terminal,
        cli::Format::Json => Format::Json,
        cli::Format::Auto if terminal => Format::Terminal,
        cli::Format::Auto | cli::Format::Plain => Format::Plain,
    };
    let plain = format != Format::Terminal;
    let verbosity = match (args.quiet, args.verbose) {
        (true, _) => Verbosity::Quiet,
        (_, true) => Verbosity::Verbose,
        _ => Verbosity::Normal,
    };
    let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let on = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
    let off = |name: &str| env::var_os(name).is_some_and(|value| value == "0");
    let color = match args.color.unwrap_or(cli::Color::Auto) {
        cli::Color::Always => true,
        cli::Color::Never => false,
        cli::Color::Auto if plain || set("NO_COLOR") => false,
        cli::Color::Auto => on("CLICOLOR_FORCE") || (terminal && !off("CLICOLOR")),
    };
    Output {
        format,
        color,
        events: args.events.clone(),
        verbosity,
        log,
        supervisor: env::var_os("NOTIFY_SOCKET"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn bad_time(text: &str, expected: &str) {
        assert_eq!(
            duration("--debounce", text).unwrap_err().to_string(),
            expected
        );
    }

    #[test]
    fn times_need_a_unit() {
        assert_eq!(duration("x", "1m 30s").unwrap(), Duration::from_secs(90));
        bad_time(
            "300",
            "--debounce: `300` has no unit\nhint: write `300ms` or `300s`",
        );
        bad_time(
            "soon",
            "--debounce: `soon` is no time\nhint: write `300ms`, `5s` or `1m`",
        );
    }

    #[test]
    fn proofs_of_readiness_are_read() {
        assert!(matches!(ready("notify"), Ok(Ready::Notify)));
        assert!(matches!(ready("http:/up?x=1"), Ok(Ready::Http(path)) if path == "/up?x=1"));
        assert!(matches!(ready("log:^up$"), Ok(Ready::Log(_))));
        assert!(matches!(ready("delay:2s"), Ok(Ready::Delay(time)) if time.as_secs() == 2));
        for wrong in ["http:up", "log:(", "delay:2", "tcp", "notify:x"] {
            assert!(ready(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn stop_signals_are_those_that_ask() {
        assert_eq!(stop_signal("INT").unwrap(), 2);
        assert_eq!(stop_signal("SIGTERM").unwrap(), 15);
        for wrong in ["KILL", "STOP", "FOO", ""] {
            assert!(stop_signal(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ignored_names_match_anywhere() {
        let set = globs(&["*.tmp".to_owned()], &["assets/**".to_owned()], None).unwrap();
        assert!(set.is_match("a/b.tmp") && set.is_match("b.tmp") && set.is_match("assets/x/y"));
        assert!(!set.is_match("src/assets.rs"));
    }

    #[test]
    fn a_log_is_no_input_and_neither_is_an_older_one() {
        let set = globs(&[], &[], Some(Path::new("/a[b]/app.log"))).unwrap();
        for log in ["app.log", "app.log.1", "app.log.2.gz", "app.log-20260101"] {
            assert!(set.is_match(Path::new("/a[b]").join(log)), "{log}");
        }
        for other in ["/a[b]/app.logic", "/a[b]/x/app.log", "/ab/app.log"] {
            assert!(!set.is_match(other), "{other}");
        }
    }
}
