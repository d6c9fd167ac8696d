//! A hotrun under test: started in a project, followed by its events, controlled by signals, and ended
//! with everything that it started when the test is over.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, PipeWriter};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;

use super::client::{self, Answer, Outcome};
use super::processes::{self, MARK, Running};
use super::project::Project;
use super::terminal::Terminal;
use super::{LIMIT, LOOK, now, own_port, wait_until, wait_within};

/// All processes must be gone within this time, where no promise is stricter.
const SOON: Duration = Duration::from_secs(5);

/// How a hotrun is to be started.
pub(crate) struct Run {
    project: Project,
    program: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    dir: PathBuf,
    merged: bool,
    pipe: Option<PipeWriter>,
    before: Vec<String>,
    stdin: Option<Stdio>,
    sockets: Option<[OwnedFd; 2]>,
    terminal: Option<OwnedFd>,
}

impl Run {
    /// In the project's directory.
    pub(crate) fn new(project: &Project, args: &[&str]) -> Self {
        Self {
            project: project.clone(),
            program: env!("CARGO_BIN_EXE_hotrun").into(),
            args: args.iter().map(ToString::to_string).collect(),
            env: Vec::new(),
            dir: project.dir().to_owned(),
            merged: false,
            pipe: None,
            before: Vec::new(),
            stdin: None,
            sockets: None,
            terminal: None,
        }
    }

    /// As another build of hotrun.
    pub(crate) fn program(mut self, program: PathBuf) -> Self {
        self.program = program;
        self
    }

    /// With one more variable in its environment.
    pub(crate) fn env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// With a LiveReload server, at a port of its own.
    pub(crate) fn with_browsers(self) -> Self {
        self.with_browsers_at(own_port())
    }

    pub(crate) fn with_browsers_at(self, port: u16) -> Self {
        self.env("HOTRUN_CFG_LIVERELOAD_ENABLED", "true")
            .env("HOTRUN_CFG_LIVERELOAD_PORT", &port.to_string())
    }

    /// In this directory of the project.
    pub(crate) fn below(mut self, dir: &str) -> Self {
        self.dir.push(dir);
        self
    }

    /// With stdout and stderr in one file, so that their order can be seen.
    pub(crate) fn merged(mut self) -> Self {
        self.merged = true;
        self
    }

    /// With stdout in this pipe instead of a file.
    pub(crate) fn stdout(mut self, pipe: PipeWriter) -> Self {
        self.pipe = Some(pipe);
        self
    }

    /// With this as its stdin instead of nothing.
    pub(crate) fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdin = Some(stdin.into());
        self
    }

    /// By a shell that runs this first and then execs hotrun, under the same pid.
    pub(crate) fn after(self, script: &str) -> Self {
        let script = format!("set -e; {script}; exec \"$0\" \"$@\"");
        self.by(&["/bin/sh", "-c", &script])
    }

    /// By another program, which gets hotrun's command line after its own.
    pub(crate) fn by(mut self, command: &[&str]) -> Self {
        self.before.extend(command.iter().map(ToString::to_string));
        self
    }

    /// In a shell at this terminal.
    pub(crate) fn at(self, terminal: &Terminal) -> Self {
        let mut run = self.by(&Terminal::shell());
        run.terminal = Some(terminal.side());
        run.env("TERM", "xterm-256color").env("LANG", "C.UTF-8")
    }

    /// As root of a user namespace of its own, with limits and mounts of its own, after this script.
    pub(crate) fn in_its_own_namespaces(self, script: &str) -> Self {
        let unshare = ["unshare", "--user", "--map-root-user", "--mount"];
        let mut trial = self.project.command(unshare[0]);
        let output = trial.args(&unshare[1..]).arg("true").output().unwrap();
        assert!(
            output.status.success(),
            "this machine does not let its users have namespaces, which this test needs \
             (try `sysctl kernel.apparmor_restrict_unprivileged_userns=0`): {}",
            String::from_utf8_lossy(&output.stderr)
        );
        self.by(&unshare).after(script)
    }

    /// With two inherited sockets, as from a service manager.
    pub(crate) fn inheriting(mut self, names: &str, sockets: [OwnedFd; 2]) -> Self {
        self.sockets = Some(sockets);
        // They are passed as stdin and stdout, which every child can get.
        self.after(&format!(
            "exec 3<&0 4>&1 0</dev/null >>\"$STDOUT\"; unset STDOUT; export LISTEN_PID=$$ \
             LISTEN_FDS=2 LISTEN_FDNAMES={names}"
        ))
    }

    /// Starts it.
    pub(crate) fn start(self) -> Hotrun {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        self.project.wait_until_old();
        processes::end_with_this_program();
        let mark = format!("{}-{number}", std::process::id());
        let root = self.project.root();
        let file = |kind: &str| root.join(format!("{kind}-{number}"));
        let (out, err) = (file("out"), file("err"));
        let open = |path: &PathBuf| {
            let mut options = OpenOptions::new();
            options.create(true).append(true).open(path).unwrap()
        };
        let stdout = open(&out);
        let stderr = if self.merged { &out } else { &err };
        let stderr = open(stderr);
        let events = file("events");
        let mut words: Vec<&OsStr> = self.before.iter().map(OsStr::new).collect();
        words.push(self.program.as_os_str());
        let mut command = self.project.command(words[0]);
        command.args(&words[1..]);
        command
            .current_dir(&self.dir)
            .stdout(self.pipe.map_or_else(|| stdout.into(), Stdio::from))
            .stderr(stderr)
            .env(MARK, &mark)
            // All runs of this machine would have the same port. Tests about it have ports of their own.
            .env("HOTRUN_CFG_LIVERELOAD_ENABLED", "false")
            .envs(self.env);
        if let Some(terminal) = self.terminal {
            let copy = || terminal.try_clone().unwrap();
            command.stdin(copy()).stdout(copy()).stderr(terminal);
        } else {
            // A process group of its own, as from a shell: Ctrl-C reaches hotrun alone.
            command.process_group(0);
        }
        if let Some([stdin, stdout]) = self.sockets {
            command.stdin(stdin).stdout(stdout).env("STDOUT", &out);
        }
        // A subcommand comes before its options.
        let is_command = |word: &&String| !word.starts_with('-');
        let (first, rest) = self
            .args
            .split_at(self.args.iter().take_while(is_command).count());
        command.args(first);
        if !self.args.iter().any(|arg| arg == "--events") {
            command.arg("--events").arg(&events);
        }
        command.args(rest);
        if let Some(stdin) = self.stdin {
            command.stdin(stdin);
        }
        let child = command.spawn().unwrap();
        let pid = child.id().cast_signed();
        let stream = Arc::new(Stream::default());
        let reader = {
            let stream = stream.clone();
            thread::spawn(move || stream.tail(&events))
        };
        Hotrun {
            project: self.project,
            child: Mutex::new(child),
            pid,
            mark,
            stream,
            reader: Some(reader),
            out,
            err,
        }
    }
}

/// The events so far.
#[derive(Default)]
struct Stream {
    events: Mutex<Vec<Value>>,
    more: Condvar,
    /// hotrun has ended, so the file is complete.
    last: AtomicBool,
    /// The test has ended.
    enough: AtomicBool,
}

impl Stream {
    fn tail(&self, path: &PathBuf) {
        let mut file = None;
        let mut line = String::new();
        while !self.enough.load(Ordering::Relaxed) {
            let last = self.last.load(Ordering::SeqCst);
            match &mut file {
                None => match File::open(path) {
                    Ok(opened) => file = Some(BufReader::new(opened)),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
                },
                Some(file) => {
                    while file.read_line(&mut line).unwrap() > 0 {
                        // The line may not be complete yet.
                        if !line.ends_with('\n') {
                            break;
                        }
                        let event = serde_json::from_str(&line).unwrap();
                        self.lock().push(event);
                        self.more.notify_all();
                        line.clear();
                    }
                }
            }
            if last && (file.is_some() || !path.exists()) {
                break;
            }
            thread::sleep(LOOK);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Value>> {
        // A test that failed while it held the lock still prints the events.
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the stream of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(pub(crate) usize);

/// A hotrun that runs or has ended. When it is dropped, everything that it started is ended.
pub(crate) struct Hotrun {
    project: Project,
    child: Mutex<Child>,
    pid: i32,
    mark: String,
    stream: Arc<Stream>,
    reader: Option<JoinHandle<()>>,
    out: PathBuf,
    err: PathBuf,
}

impl Hotrun {
    /// Starts a hotrun in the directory of the project.
    pub(crate) fn start(project: &Project, args: &[&str]) -> Self {
        Run::new(project, args).start()
    }

    /// Its pid.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    // ---- its output

    /// All events so far.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.stream.lock().clone()
    }

    /// All events from a place on.
    pub(crate) fn events_after(&self, place: Place) -> Vec<Value> {
        self.stream.lock()[place.0..].to_vec()
    }

    /// All events of this name so far.
    pub(crate) fn all(&self, name: &str) -> Vec<Value> {
        let named = |event: &Value| event["event"] == name;
        self.events().into_iter().filter(named).collect()
    }

    /// The end of the stream as it is now.
    pub(crate) fn here(&self) -> Place {
        Place(self.stream.lock().len())
    }

    /// Waits for the first event of this name that `is` accepts.
    #[track_caller]
    pub(crate) fn wait_for(&self, name: &str, is: impl Fn(&Value) -> bool) -> Value {
        self.wait_after(Place(0), name, is)
    }

    /// The same, from a place on.
    #[track_caller]
    pub(crate) fn wait_after(
        &self,
        place: Place,
        name: &str,
        is: impl Fn(&Value) -> bool,
    ) -> Value {
        let (_, event) = self.wait_any(place, &[name], is);
        event
    }

    /// Waits for the first event that has one of these names and that `is` accepts; returns its place
    /// too.
    #[track_caller]
    pub(crate) fn wait_any(
        &self,
        place: Place,
        names: &[&str],
        is: impl Fn(&Value) -> bool,
    ) -> (Place, Value) {
        let start = now();
        let mut next = place.0;
        let mut events = self.stream.lock();
        loop {
            while let Some(event) = events.get(next) {
                let name = event["event"].as_str().unwrap_or_default();
                if names.contains(&name) && is(event) {
                    return (Place(next), event.clone());
                }
                next += 1;
            }
            let over = self.reader.as_ref().is_none_or(JoinHandle::is_finished);
            let late = start.elapsed() > LIMIT;
            // One more check after the end, with which the last events may have come.
            if (over && events.get(next).is_none()) || late {
                drop(events);
                let why = if late {
                    "in time"
                } else {
                    "before hotrun ended"
                };
                panic!("no `{}` event {why}", names.join("` or `"));
            }
            let (guard, _) = self.stream.more.wait_timeout(events, LOOK).unwrap();
            events = guard;
            drop(events);
            self.exited();
            events = self.stream.lock();
        }
    }

    /// Waits until this generation is live.
    #[track_caller]
    pub(crate) fn wait_live(&self, generation: u64) -> Value {
        self.wait_for("live", |event| event["generation"] == generation)
    }

    /// Waits until some generation becomes live after `place`.
    #[track_caller]
    pub(crate) fn wait_next_live(&self, place: Place) -> Value {
        self.wait_after(place, "live", |_| true)
    }

    /// Waits until the app answers with this version, and until its generation is live. Until then there
    /// are answers of older generations; on a shared socket an old one may also accept a connection that
    /// it then does not answer.
    #[track_caller]
    pub(crate) fn wait_version(&self, version: &str) -> Answer {
        let address = self.address();
        let answer = wait_until(
            &format!("an answer of version {version}"),
            || match client::get(address) {
                Outcome::Answer(answer) => (answer.version == version).then_some(answer),
                Outcome::Reset => None,
                other => panic!("no answer: {other:?}"),
            },
        );
        // On a shared socket a candidate answers a moment before it is seen to be ready.
        self.wait_live(u64::from(answer.generation));
        answer
    }

    /// The address it holds, or the first one.
    #[track_caller]
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses()[0]
    }

    /// All TCP addresses it holds.
    #[track_caller]
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let held = self.held();
        held.iter()
            .filter_map(|address| address.parse().ok())
            .collect()
    }

    /// All addresses it holds now, as it shows them.
    #[track_caller]
    pub(crate) fn held(&self) -> Vec<String> {
        self.wait_for("held", |_| true);
        let held = self.all("held").pop().unwrap();
        let sockets = held["sockets"].as_array().unwrap();
        let address = |socket: &Value| socket["address"].as_str().unwrap().to_owned();
        sockets.iter().map(address).collect()
    }

    /// The app's process of this generation, once it was started.
    #[track_caller]
    pub(crate) fn app(&self, generation: u64) -> Running {
        let started = self.wait_for("started", |event| event["generation"] == generation);
        let pid = started["pid"].as_i64().unwrap();
        Running::find(i32::try_from(pid).unwrap()).expect("the app has ended already")
    }

    /// The values of this key in all events of this name, as text.
    pub(crate) fn values(&self, name: &str, key: &str) -> Vec<String> {
        let text = |event: Value| match &event[key] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        self.all(name).into_iter().map(text).collect()
    }

    /// Its stdout so far.
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.out).unwrap_or_default()).into_owned()
    }

    /// Its stderr so far.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.err).unwrap_or_default()).into_owned()
    }

    /// Waits for a line of its stdout.
    #[track_caller]
    pub(crate) fn wait_line(&self, is: impl Fn(&str) -> bool) -> String {
        wait_until("a line of stdout", || {
            let text = self.stdout();
            let lines = text
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'));
            lines
                .map(str::trim_end)
                .find(|line| is(line))
                .map(str::to_owned)
        })
    }

    // ---- signals to it

    /// Ctrl-C: the terminal sends the signal to the whole group.
    pub(crate) fn interrupt(&self) {
        killpg(Pid::from_raw(self.pid), Signal::SIGINT).unwrap();
    }

    /// `kill`.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// `kill -HUP`.
    pub(crate) fn hangup(&self) {
        self.signal(Signal::SIGHUP);
    }

    /// It was started with SIGHUP ignored, if these tests were.
    pub(crate) fn ignores_hangup(&self) -> bool {
        let status = procfs::process::Process::new(self.pid).unwrap().status();
        status.unwrap().sigign & 1 != 0
    }

    /// `kill -KILL`.
    pub(crate) fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// `kill -SIGNAL`.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid), signal).unwrap();
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- its end

    /// Its exit status, if it has ended.
    pub(crate) fn exited(&self) -> Option<ExitStatus> {
        let status = self.child().try_wait().unwrap();
        if status.is_some() {
            self.stream.last.store(true, Ordering::SeqCst);
        }
        status
    }

    /// Waits until it has ended and all its events were read.
    #[track_caller]
    pub(crate) fn wait_exit(&self) -> ExitStatus {
        let status = wait_until("the end of hotrun", || self.exited());
        wait_until("the last event", || {
            let over = self.reader.as_ref().is_none_or(JoinHandle::is_finished);
            over.then_some(())
        });
        status
    }

    /// Waits until it has ended and expects this exit code.
    #[track_caller]
    pub(crate) fn wait_code(&self, code: i32) {
        let status = self.wait_exit();
        assert_eq!(status.code(), Some(code), "{status}");
    }

    /// Waits until it has ended and expects that this signal ended it.
    #[track_caller]
    pub(crate) fn wait_killed_by(&self, signal: Signal) {
        let status = self.wait_exit();
        assert_eq!(status.signal(), Some(signal as i32), "{status}");
    }

    /// Every running process that it started, directly or not.
    pub(crate) fn survivors(&self) -> Vec<Running> {
        processes::of_hotrun(self.pid, &self.mark, &self.project.root())
    }

    /// Waits until nothing runs but the app, its keeper, and the one that waits for the next cargo, and returns
    /// that. It is started once the live generation has proved itself, so that it is the newest of all.
    #[track_caller]
    pub(crate) fn wait_calm(&self) -> Running {
        wait_until("the app and two keepers alone", || {
            let all = self.survivors();
            let newest = all.iter().max_by_key(|process| process.started)?;
            let is_spare = newest.command.contains("__keeper");
            (is_spare && all.len() == 3).then(|| newest.clone())
        })
    }

    /// Checks that it has ended, and that none of its processes and socket files is left.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        self.assert_nothing_left_within(SOON);
    }

    /// The same, with a promised time.
    #[track_caller]
    pub(crate) fn assert_nothing_left_within(&self, limit: Duration) {
        assert!(self.exited().is_some(), "hotrun itself still runs");
        let mut seen = Vec::new();
        let gone = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_within(limit, "nothing is left", || {
                seen = self.survivors();
                seen.is_empty().then_some(())
            });
        }));
        let names: Vec<String> = seen.iter().map(ToString::to_string).collect();
        assert!(gone.is_ok(), "left behind: {}", names.join(", "));
        let files = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten();
        let paths = |dir: PathBuf| files(dir).map(|entry| entry.unwrap().path());
        let runtime = self.project.runtime_dir();
        let own = runtime.join("hotrun");
        let mut files: Vec<PathBuf> = paths(runtime).filter(|path| *path != own).collect();
        // One that is killed can't remove its control socket; whoever looks for a hotrun next does.
        if self.exited().and_then(|status| status.signal()) != Some(Signal::SIGKILL as i32) {
            files.extend(paths(own));
        }
        assert!(files.is_empty(), "left behind: {files:?}");
    }

    fn report(&self) -> String {
        let mut text = String::from("---- events\n");
        for event in self.events() {
            writeln!(text, "{event}").unwrap();
        }
        for (name, content) in [("stdout", self.stdout()), ("stderr", self.stderr())] {
            write!(text, "---- {name}\n{content}").unwrap();
        }
        let alive: Vec<String> = self.survivors().iter().map(ToString::to_string).collect();
        write!(text, "---- running: {}", alive.join(", ")).unwrap();
        text
    }
}

impl Drop for Hotrun {
    #[expect(clippy::print_stderr, reason = "the output of a test that failed")]
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.report());
        }
        if self.exited().is_none() {
            self.signal(Signal::SIGKILL);
            self.child().wait().ok();
        }
        // The keepers end everything too, unless this test has found that they don't.
        let start = now();
        loop {
            let left = self.survivors();
            if left.is_empty() || start.elapsed() > SOON {
                break;
            }
            if start.elapsed() > SOON / 10 {
                for process in left {
                    kill(Pid::from_raw(process.pid), Signal::SIGKILL).ok();
                }
            }
            thread::sleep(LOOK);
        }
        self.stream.enough.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            reader.join().ok();
        }
    }
}
