//! Hotrun for Windows under Wine, which has no cargo of its own: `cargo.exe` and `rustc.exe` there ask the
//! test for the system's, and get its output with the paths as they are in Windows.
//!
//! `.ci/windows` builds what is needed into the directory `HOTRUN_TEST_WINDOWS`.

mod paths;

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::hotrun::Run;
use super::project::Project;
use super::say;

const TARGET: &str = "x86_64-pc-windows-gnu";

/// What is needed to run hotrun under Wine.
pub(crate) struct Wine {
    dir: PathBuf,
    bridge: SocketAddr,
}

impl Wine {
    /// `None`, with a line that says so: nothing was built for it.
    pub(crate) fn find() -> Option<Self> {
        let Some(dir) = std::env::var_os("HOTRUN_TEST_WINDOWS") else {
            say("skipped: HOTRUN_TEST_WINDOWS is not set, see `.ci/windows`");
            return None;
        };
        let dir = PathBuf::from(dir);
        start_services(&dir);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let bridge = listener.local_addr().unwrap();
        // It serves until the tests end.
        let of = dir.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, of) = (client.unwrap(), of.clone());
                thread::spawn(move || {
                    run(client, &of).unwrap_or_else(|error| say(&error.to_string()));
                });
            }
        });
        Some(Self { dir, bridge })
    }

    /// A copy of `hello` whose dependencies are built for Windows.
    pub(crate) fn hello(&self) -> Project {
        let project = Project::new("hello");
        let target = self.dir.join("target");
        let mut copy = project.command("cp");
        copy.arg("-a").args([&target, &project.path("target")]);
        fs::remove_dir_all(project.path("target")).unwrap();
        assert!(copy.status().unwrap().success());
        project
    }

    /// As hotrun for Windows, in the project's directory.
    pub(crate) fn run(&self, project: &Project, args: &[&str]) -> Run {
        let mut run = Run::new(project, args).program(self.dir.join("hotrun.exe"));
        let cargo = [
            ("CARGO_BUILD_TARGET", TARGET.into()),
            ("HOTRUN_TEST_BRIDGE", self.bridge.to_string()),
        ];
        for (key, value) in environment(&self.dir).into_iter().chain(cargo) {
            run = run.env(key, &value);
        }
        run.by(&["wine64"])
    }
}

/// The environment of a program under Wine.
fn environment(dir: &Path) -> [(&'static str, String); 4] {
    let path = std::env::var("PATH").unwrap_or_default();
    [
        // Debian's `wine64` is in a directory of its own.
        ("PATH", format!("{path}:/usr/lib/wine")),
        ("WINEPATH", paths::windows(&dir.display().to_string())),
        ("WINEPREFIX", dir.join("prefix").display().to_string()),
        ("WINEDEBUG", "-all".into()),
    ]
}

/// Starts a program that runs until the tests end, and with it Wine's own services, which would else be
/// children of the first hotrun.
fn start_services(dir: &Path) {
    static SHELL: OnceLock<Child> = OnceLock::new();
    SHELL.get_or_init(|| {
        let mut shell = Command::new("wine64");
        shell.arg("cmd").envs(environment(dir));
        shell.stdin(Stdio::piped()).stdout(Stdio::null());
        shell.spawn().unwrap()
    });
}

/// Reads so many bytes after their length.
fn receive(client: &mut TcpStream) -> io::Result<String> {
    let mut length = [0; 4];
    client.read_exact(&mut length)?;
    let mut text = String::new();
    let length = u32::from_le_bytes(length).into();
    client.take(length).read_to_string(&mut text)?;
    Ok(text)
}

/// Sends one message; a client that has ended needs none.
fn send(client: &Mutex<TcpStream>, kind: u8, number: u32, content: &[u8]) {
    let mut client = client.lock().unwrap_or_else(PoisonError::into_inner);
    let mut message = vec![kind];
    message.extend(number.to_le_bytes());
    message.extend(content);
    client.write_all(&message).ok();
}

/// Runs one command for a client, and ends it with all its processes if the client ends.
fn run(mut client: TcpStream, dir: &Path) -> io::Result<()> {
    let request = receive(&mut client)?;
    let mut parts = request.split('\0');
    let mut part = || parts.next().unwrap_or_default();
    // The toolchain that has a standard library for Windows is Debian's.
    let mut command = Command::new(Path::new("/usr/bin").join(part()));
    let workspace = paths::native(part());
    let variables = parts.by_ref().take_while(|part| !part.is_empty());
    for (key, value) in variables.filter_map(|part| part.split_once('=')) {
        let value = paths::native(value);
        // What cargo is to start is a program for Windows.
        let wine = if key.ends_with("_RUNNER") {
            "wine64 "
        } else {
            ""
        };
        command.env(key, format!("{wine}{value}"));
    }
    let mut child = command
        .args(parts.map(paths::native))
        .current_dir(&workspace)
        .envs(environment(dir))
        .env("RUSTC", "/usr/bin/rustc")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let group = Pid::from_raw(child.id().cast_signed());
    let mut ended = client.try_clone()?;
    let client = Arc::new(Mutex::new(client));
    let [stdout, stderr] = [
        forward(child.stdout.take(), &client, b'o'),
        forward(child.stderr.take(), &client, b'e'),
    ];
    let over = Arc::new(AtomicBool::new(false));
    let watcher = {
        let over = over.clone();
        thread::spawn(move || {
            ended.read_to_end(&mut Vec::new()).ok();
            if !over.load(Ordering::SeqCst) {
                killpg(group, Signal::SIGKILL).ok();
            }
        })
    };
    for reader in [stdout, stderr] {
        reader.join().unwrap();
    }
    over.store(true, Ordering::SeqCst);
    let status = child.wait()?;
    paths::translate_dep_info(Path::new(&workspace));
    let code = status.code().unwrap_or(101);
    send(&client, b'x', code.cast_unsigned(), b"");
    client
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .shutdown(Shutdown::Both)
        .ok();
    watcher.join().unwrap();
    Ok(())
}

/// Passes output on, line by line.
fn forward(
    from: Option<impl Read + Send + 'static>,
    client: &Arc<Mutex<TcpStream>>,
    kind: u8,
) -> thread::JoinHandle<()> {
    let client = client.clone();
    thread::spawn(move || {
        let mut from = BufReader::new(from.unwrap());
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).unwrap_or_default() > 0 {
            let told = match std::str::from_utf8(&line) {
                Ok(text) if kind == b'o' => paths::told(text).into_bytes(),
                _ => std::mem::take(&mut line),
            };
            let length = u32::try_from(told.len()).unwrap();
            send(&client, kind, length, &told);
            line.clear();
        }
    })
}
