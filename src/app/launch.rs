//! The launch that a keeper carries out: the environment and arguments of `cargo run`, with hotrun's own
//! on top.

use std::env::{join_paths, split_paths};
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::Start;
use crate::config::{Ready, Settings, Stdin};
use crate::keeper::protocol::{Input as Reads, Launch};
use crate::session::reason::{AND_REBUILD, Reason};
use crate::sockets::activation;
use crate::sys;
use crate::sys::host;

pub(super) fn launch(start: &Start, settings: &Settings) -> Launch {
    let surroundings = &start.artifact.surroundings;
    let mut env: Vec<(OsString, OsString)> = surroundings
        .env
        .iter()
        .filter(|(key, _)| !activation::SCRUBBED.iter().any(|name| key == name))
        .cloned()
        .collect();
    if start.artifact.libraries {
        search_first(&start.artifact.dir, &mut env);
    }
    env.extend(settings.app.env.iter().cloned());
    if settings.output.color {
        env.extend(["CLICOLOR_FORCE", "FORCE_COLOR"].map(|key| (key.into(), "1".into())));
    }
    if let Some(port) = start.livereload {
        env.push(("HOTRUN_LIVERELOAD".into(), port.to_string().into()));
    }
    env.push(("HOTRUN_SESSION".into(), start.session.as_ref().into()));
    env.push((
        "HOTRUN_GENERATION".into(),
        start.generation.0.to_string().into(),
    ));
    let names: Vec<Option<&str>> = start.held.iter().map(|held| held.name.as_deref()).collect();
    env.extend(activation::variables(&names));
    let path = start.artifact.path.clone().into_os_string();
    let (program, argv0, mut args) = match surroundings.runner.split_first() {
        // A runner gets the path of the program as its last argument, as with cargo.
        Some((runner, args)) => {
            let mut args = args.to_vec();
            args.push(path);
            (runner.clone(), runner.clone(), args)
        }
        None => (path, surroundings.argv0.clone(), Vec::new()),
    };
    args.extend(settings.app.args.iter().cloned());
    Launch {
        program,
        argv0,
        args,
        env,
        dir: settings.app.dir.clone().into_os_string(),
        notify: Some(start.notify.clone().into_os_string()),
        must_notify: matches!(settings.app.ready, Some(Ready::Notify)),
        input: match settings.app.stdin {
            _ if settings.app.tty => Reads::Terminal,
            Stdin::App => Reads::Pipe,
            Stdin::None => Reads::Nothing,
        },
        filter: start
            .capture
            .iter()
            .flat_map(|one| one.filter.clone())
            .collect(),
    }
}

/// Puts this directory first in the search path of shared objects: it has the generation's own, while
/// those in cargo's directories are of the last build.
fn search_first(dir: &Path, env: &mut Vec<(OsString, OsString)>) {
    let place = env.iter_mut().find(|(key, _)| key == host::LIBRARY_PATH);
    // An empty entry would mean the working directory.
    let known = place.as_ref().filter(|(_, known)| !known.is_empty());
    let known = known.into_iter().flat_map(|(_, known)| split_paths(known));
    // A directory whose name has the separator can't be in a list.
    let Ok(path) = join_paths(std::iter::once(dir.to_owned()).chain(known)) else {
        return;
    };
    match place {
        Some((_, known)) => *known = path,
        None => env.push((host::LIBRARY_PATH.into(), path)),
    }
}

/// Why a program could not be started.
pub(super) fn explain(what: &str, code: Option<i32>, target: Option<&str>) -> Reason {
    let Some(error) = code.map(io::Error::from_raw_os_error) else {
        return what.into();
    };
    let hint = match error.kind() {
        ErrorKind::PermissionDenied => {
            "the target directory may be mounted `noexec`: choose another one with --target-dir"
        }
        ErrorKind::NotFound => {
            "the program, its directory, its runner or its dynamic loader is missing"
        }
        _ if sys::is_foreign_program(&error) => {
            let table = match target {
                Some(triple) => format!("[target.{triple}]"),
                None => "the table of its target".into(),
            };
            let hint = format!(
                "it is built for another system: set `runner` in {table} of .cargo/config.toml"
            );
            return Reason::new(what, hint);
        }
        _ => return what.into(),
    };
    Reason::new(what, hint)
}

/// Why an app could not be started whose working directory is not there.
pub(super) fn no_directory(dir: &str) -> Reason {
    Reason::new(
        format!("the directory `{dir}`, in which the app is started, is gone"),
        format!("put it back{AND_REBUILD}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_libraries_are_found_before_others() {
        let list = |dirs: &[&str]| join_paths(dirs).unwrap();
        let other = || ("OTHER".into(), "x".into());
        for (known, expected) in [
            (None, list(&["/g1"])),
            (Some(OsString::new()), list(&["/g1"])),
            (Some(list(&["/a b", "/c"])), list(&["/g1", "/a b", "/c"])),
        ] {
            let name = || OsString::from(host::LIBRARY_PATH);
            let known = known.map(|known| (name(), known));
            let mut env: Vec<_> = [Some(other()), known].into_iter().flatten().collect();
            search_first(Path::new("/g1"), &mut env);
            assert_eq!(env, [other(), (name(), expected)]);
        }
    }
}
