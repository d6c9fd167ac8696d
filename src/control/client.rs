//! `hotrun ctl`: finds the run that is meant and asks it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::time::timeout;

use super::place;
use super::{Answer, ClientRequest, Greeting, Identity, PROTOCOL, Refusal};
use crate::exit::Failure;
use crate::report::Record;
use crate::report::event::Event;
use crate::sys::{LocalStream, connect_local};

/// How long a hotrun may take to greet: it may be stopped (Ctrl-Z), or the machine busy.
const GREETS: Duration = Duration::from_secs(2);

/// Which run is meant.
#[derive(Clone, Debug)]
pub struct Which {
    /// Where sockets may be.
    pub places: Vec<PathBuf>,
    /// A directory of the project.
    pub dir: PathBuf,
    /// The package, where the project has several runs.
    pub package: Option<String>,
    /// The binary or example, likewise.
    pub target: Option<String>,
    /// Its process id, which is enough.
    pub pid: Option<u32>,
    /// What it is asked, as it is typed behind `hotrun ctl`.
    pub words: String,
}

/// What a hotrun has said.
#[derive(Debug)]
pub enum Reply {
    /// The answer to a command.
    Answer(Box<Answer>),
    /// It has ended without an answer.
    Ended,
}

/// A connection to a hotrun that has greeted.
#[derive(Debug)]
pub struct Connection {
    session: Identity,
    stream: BufReader<LocalStream>,
}

/// Connects to the run that is meant.
pub async fn connect(which: &Which) -> Result<Connection, Failure> {
    let cannot = |error: io::Error| Failure::failed(format!("cannot look for hotruns: {error}"));
    let mut found = Vec::new();
    let mut silent = Vec::new();
    for path in place::sockets(&which.places).map_err(cannot)? {
        match timeout(GREETS, greeted(&path)).await {
            Ok(Ok(connection)) => found.push(connection?),
            // Its hotrun has ended, and no other one will have this name.
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(&path).ok();
            }
            // It has ended meanwhile, or is another user's.
            Ok(Err(_)) => {}
            Err(_) => silent.push(path),
        }
    }
    choose(which, found, &silent)
}

/// Connects and reads the greeting. `Ok(Err)`: the greeting can't be understood.
async fn greeted(path: &Path) -> io::Result<Result<Connection, Failure>> {
    let mut stream = BufReader::new(connect_local(path).await?);
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let other = |hotrun: &str| {
        let own = env!("CARGO_PKG_VERSION");
        Failure::failed(format!(
            "the hotrun that runs there speaks another protocol: it is {hotrun}, this is {own}"
        ))
        .hint("restart it, so that both are of one version")
    };
    Ok(match serde_json::from_str::<Greeting>(&line) {
        Ok(greeting) if greeting.protocol == PROTOCOL => Ok(Connection {
            session: greeting.session,
            stream,
        }),
        Ok(greeting) => Err(other(&greeting.hotrun)),
        Err(_) => Err(other("of an unknown version")),
    })
}

/// The one that is meant, of those that have greeted.
fn choose(
    which: &Which,
    mut found: Vec<Connection>,
    silent: &[PathBuf],
) -> Result<Connection, Failure> {
    let all: Vec<Identity> = found.iter().map(|one| one.session.clone()).collect();
    match meant(which, &all)[..] {
        [one] => Ok(found.swap_remove(one)),
        [] => Err(nobody(which, &all, silent)),
        ref several => {
            let several = several.iter().map(|at| line(which, &all[*at]));
            let lines: Vec<String> = several.collect();
            Err(Failure::failed("several hotruns run here")
                .hint(format!("ask one of them:\n  {}", lines.join("\n  "))))
        }
    }
}

/// Which of these runs are meant: those of the innermost workspace around the directory.
fn meant(which: &Which, all: &[Identity]) -> Vec<usize> {
    if let Some(pid) = which.pid {
        return all
            .iter()
            .position(|one| one.pid == pid)
            .into_iter()
            .collect();
    }
    let fits = |name: &Option<String>, wanted: &Option<String>| {
        // What is not known yet may be what is meant.
        wanted.is_none() || name.is_none() || name == wanted
    };
    let around = all.iter().enumerate().filter(|(_, one)| {
        which.dir.starts_with(&one.workspace)
            && fits(&one.package, &which.package)
            && fits(&one.target, &which.target)
    });
    let around: Vec<(usize, &Identity)> = around.collect();
    // One that has just started may be about to learn that its target has a hotrun.
    let is_known = |one: &Identity| one.package.is_some();
    let knows = around.iter().any(|(_, one)| is_known(one));
    let around = around
        .into_iter()
        .filter(|(_, one)| !knows || is_known(one));
    let depth = |one: &Identity| one.workspace.0.components().count();
    let around: Vec<(usize, usize)> = around.map(|(at, one)| (depth(one), at)).collect();
    let innermost = around.iter().map(|(depth, _)| *depth).max();
    around
        .into_iter()
        .filter(|(depth, _)| Some(*depth) == innermost)
        .map(|(_, at)| at)
        .collect()
}

/// What to type to ask this one, and what it runs.
fn line(which: &Which, one: &Identity) -> String {
    let what = what(one);
    let what = if what.is_empty() {
        "reads the project".into()
    } else {
        what
    };
    format!("hotrun ctl {} --pid {}  # {what}", which.words, one.pid)
}

/// What it runs, by cargo's flags.
fn what(one: &Identity) -> String {
    let flags = [
        ("-p", &one.package),
        ("--bin", &one.target),
        ("--profile", &one.profile),
        ("--target", &one.platform),
    ];
    let flags = flags
        .into_iter()
        .filter_map(|(flag, value)| Some(format!("{flag} {}", value.as_ref()?)));
    flags.collect::<Vec<_>>().join(" ")
}

fn nobody(which: &Which, others: &[Identity], silent: &[PathBuf]) -> Failure {
    let package = which
        .package
        .iter()
        .map(|name| format!(" for the package `{name}`"));
    let target = which.target.iter().map(|name| format!(" for `{name}`"));
    let wanted: String = package.chain(target).collect();
    let failure = Failure::failed(match which.pid {
        Some(pid) => format!("no hotrun of yours has the process id {pid}"),
        None => format!("no hotrun runs in `{}`{wanted}", which.dir.display()),
    });
    if !silent.is_empty() {
        let pids: Vec<&str> = silent.iter().filter_map(|path| pid_of(path)).collect();
        return failure.hint(format!(
            "one does not answer (pid {}): it may be stopped (`fg`, or `kill -CONT {}`)",
            pids.join(", "),
            pids.join(" ")
        ));
    }
    if others.is_empty() {
        return failure.hint("`hotrun` starts one");
    }
    let others = others.iter().map(|one| {
        let workspace = one.workspace.0.display();
        format!("{} in `{workspace}`", line(which, one))
    });
    let others: Vec<String> = others.collect();
    failure.hint(format!("others run:\n  {}", others.join("\n  ")))
}

/// The process that a socket is of, by its name.
fn pid_of(path: &Path) -> Option<&str> {
    path.file_stem()?.to_str()?.split('-').next()
}

impl Connection {
    async fn ask(&mut self, request: &ClientRequest) -> io::Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).await
    }

    /// Sends a command and waits for the answer.
    pub async fn command(&mut self, name: &str) -> Result<Reply, Failure> {
        let command = name.to_owned();
        let mut line = String::new();
        // It may end meanwhile.
        if self.ask(&ClientRequest::Command { command }).await.is_err()
            || self.stream.read_line(&mut line).await.unwrap_or_default() == 0
        {
            return Ok(Reply::Ended);
        }
        if let Ok(answer) = serde_json::from_str(&line) {
            return Ok(Reply::Answer(Box::new(answer)));
        }
        let why = match serde_json::from_str(&line) {
            Ok(Refusal { error }) => error,
            Err(_) => "it answers with something unknown".into(),
        };
        Err(Failure::failed(format!("hotrun does not do that: {why}")))
    }

    /// Waits until the hotrun has ended.
    pub async fn ended(&mut self) {
        let mut rest = String::new();
        while self.stream.read_line(&mut rest).await.unwrap_or_default() > 0 {
            rest.clear();
        }
    }

    /// Hands on what the app writes, each line as it came and as it was read, until there is no more.
    pub async fn logs(
        &mut self,
        request: &ClientRequest,
        mut each: impl FnMut(&str, &str),
    ) -> Result<(), Failure> {
        let lost = |error| Failure::failed(format!("the connection to hotrun broke: {error}"));
        self.ask(request).await.map_err(lost)?;
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).await.map_err(lost)? == 0 {
                return Ok(());
            }
            if let Some(Record {
                event: Event::Output { line: text, .. },
                ..
            }) = Record::read(line.as_bytes())
            {
                each(&line, &text);
            } else if let Ok(Refusal { error }) = serde_json::from_str(&line) {
                return Err(Failure::failed(error)
                    .hint("without --generation, the logs of all generations are printed"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::values::AnyPath;

    fn run(workspace: &str, package: &str, target: &str) -> Identity {
        Identity {
            pid: 7,
            workspace: AnyPath(workspace.into()),
            package: Some(package.into()),
            target: Some(target.into()),
            profile: Some("dev".into()),
            platform: None,
        }
    }

    fn which(dir: &str, package: Option<&str>) -> Which {
        Which {
            places: Vec::new(),
            dir: dir.into(),
            package: package.map(str::to_owned),
            target: None,
            pid: None,
            words: "wait --timeout 2m".into(),
        }
    }

    #[test]
    fn one_that_is_not_known_yet_is_meant_if_it_is_alone() {
        let unknown = Identity {
            package: None,
            target: None,
            ..run("/a", "", "")
        };
        let dir = which("/a/src", Some("x"));
        assert_eq!(meant(&dir, std::slice::from_ref(&unknown)), [0]);
        assert_eq!(meant(&dir, &[unknown, run("/a", "x", "x")]), [1]);
    }

    /// Their profiles alone tell them apart.
    #[test]
    fn one_of_several_is_chosen_by_its_process() {
        let release = Identity {
            pid: 8,
            profile: Some("release".into()),
            platform: Some("x86_64-unknown-linux-musl".into()),
            ..run("/a", "x", "x")
        };
        let unknown = Identity {
            package: None,
            target: None,
            profile: None,
            ..run("/b", "", "")
        };
        let all = [run("/a", "x", "x"), release, unknown];
        let dir = which("/a", Some("x"));
        assert_eq!(meant(&dir, &all), [0, 1]);
        let lines = all.each_ref().map(|one| line(&dir, one));
        let expected = [
            "hotrun ctl wait --timeout 2m --pid 7  # -p x --bin x --profile dev",
            "hotrun ctl wait --timeout 2m --pid 8  # -p x --bin x --profile release --target \
             x86_64-unknown-linux-musl",
            "hotrun ctl wait --timeout 2m --pid 7  # reads the project",
        ];
        assert_eq!(lines, expected);
        // From anywhere.
        let by_pid = |pid| Which {
            pid: Some(pid),
            ..which("/elsewhere", None)
        };
        assert_eq!(meant(&by_pid(8), &all), [1]);
        assert!(meant(&by_pid(9), &all).is_empty());
        let nobody = nobody(&by_pid(9), &[], &[]);
        assert_eq!(nobody.message, "no hotrun of yours has the process id 9");
    }

    #[test]
    fn hints_can_be_pasted() {
        let silent = ["/s/12-a.sock", "/s/345-b.sock"].map(PathBuf::from);
        let hint = nobody(&which("/a", None), &[], &silent).hint.unwrap();
        assert!(hint.ends_with("`kill -CONT 12 345`)"), "{hint}");
    }

    #[test]
    fn the_innermost_workspace_around_is_meant() {
        let all = [
            run("/a", "x", "x"),
            run("/a/b", "y", "y"),
            run("/a/b", "z", "z"),
            run("/c", "x", "x"),
        ];
        for (dir, package, expected) in [
            ("/a", None, &[0][..]),
            ("/a/src/deep", None, &[0]),
            ("/a/b/src", None, &[1, 2]),
            ("/a/b/src", Some("z"), &[2]),
            ("/a/b", Some("x"), &[0]),
            ("/ab", None, &[]),
            ("/", None, &[]),
            ("/c", Some("y"), &[]),
        ] {
            let found = meant(&which(dir, package), &all);
            assert_eq!(found, expected, "{dir} {package:?}");
        }
    }
}
