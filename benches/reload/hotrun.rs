//! A running hotrun: its events, and its end.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::{Lab, command};
use crate::{Result, proc};

/// The longest wait for anything that is expected to happen, such as a first build.
const PATIENCE: Duration = Duration::from_mins(2);

/// An event of hotrun, and when it was read.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) at: Instant,
    pub(crate) value: Value,
}

impl Event {
    /// What kind of event it is.
    pub(crate) fn name(&self) -> &str {
        self.value["event"].as_str().unwrap_or_default()
    }

    /// A time in milliseconds, by its JSON pointer; one that is absent took no time.
    pub(crate) fn ms(&self, pointer: &str) -> f64 {
        let value = self.value.pointer(pointer);
        value.and_then(Value::as_f64).unwrap_or_default()
    }
}

/// A running hotrun. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Hotrun<'a> {
    lab: &'a Lab,
    child: Child,
    events: Receiver<Event>,
    log: PathBuf,
    /// All events so far.
    pub(crate) heard: Vec<Event>,
    /// The address that it holds, once that was reported.
    address: Option<SocketAddr>,
    /// Generations with processes.
    running: BTreeSet<u64>,
    /// It was asked to end, or was killed.
    over: bool,
}

impl<'a> Hotrun<'a> {
    /// Starts hotrun for its copy of the project, on a free port.
    pub(crate) fn spawn(lab: &'a Lab, args: &[&str]) -> Result<Self> {
        let log = lab.dir.join("hotrun.log");
        let mut child = command(env!("CARGO_BIN_EXE_hotrun"))
            .args(["--listen", "127.0.0.1:0", "--format", "json"])
            .args(args)
            .current_dir(&lab.hot.package)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .process_group(0)
            .spawn()?;
        lab.guard.keep(&child)?;
        let stdout = child.stdout.take().ok_or("hotrun has no stdout")?;
        let (sender, events) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(io::Result::ok) {
                let at = Instant::now();
                let Ok(value) = serde_json::from_str(&line) else {
                    continue;
                };
                if sender.send(Event { at, value }).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            lab,
            child,
            events,
            log,
            heard: Vec::new(),
            address: None,
            running: BTreeSet::new(),
            over: false,
        })
    }

    /// Starts hotrun and waits until the app is live and idle.
    pub(crate) fn start(lab: &'a Lab, args: &[&str]) -> Result<Self> {
        let mut hotrun = Self::spawn(lab, args)?;
        hotrun.wait("live")?;
        hotrun.rest()?;
        Ok(hotrun)
    }

    /// Its pid.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The address at which the app serves.
    pub(crate) fn address(&self) -> Result<SocketAddr> {
        self.address
            .ok_or_else(|| "hotrun has not named its address".into())
    }

    /// Waits for the next event of this name.
    pub(crate) fn wait(&mut self, name: &str) -> Result<Event> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.next(left) {
                Some(event) if event.name() == name => return Ok(event),
                Some(_) => {}
                None => return Err(self.silence(name)),
            }
        }
    }

    /// Reads events until this time is over.
    pub(crate) fn listen(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        while self
            .next(deadline.saturating_duration_since(Instant::now()))
            .is_some()
        {}
    }

    /// Waits until one generation runs and none is draining.
    pub(crate) fn rest(&mut self) -> Result<()> {
        while self.running.len() > 1 {
            self.wait("gone")?;
        }
        Ok(())
    }

    /// How many events of this name came after the first `since` ones.
    pub(crate) fn count(&self, since: usize, name: &str) -> usize {
        let since = &self.heard[since.min(self.heard.len())..];
        since.iter().filter(|event| event.name() == name).count()
    }

    /// Saves a new version and waits until it is live; returns that event.
    pub(crate) fn reload(&mut self) -> Result<Event> {
        self.lab.hot.save(self.lab.next_version())?;
        self.wait("live")
    }

    /// So many reloads, `pause` after each.
    pub(crate) fn reloads(&mut self, rounds: usize, pause: Duration) -> Result<()> {
        for _ in 0..rounds {
            self.reload()?;
            self.rest()?;
            thread::sleep(pause);
        }
        Ok(())
    }

    fn next(&mut self, within: Duration) -> Option<Event> {
        let event = self.events.recv_timeout(within).ok()?;
        let generation = event.value["generation"].as_u64().unwrap_or_default();
        match event.name() {
            "started" => {
                self.running.insert(generation);
            }
            "gone" => {
                self.running.remove(&generation);
            }
            "held" => {
                let address = event.value["sockets"][0]["address"].as_str();
                self.address = address.and_then(|address| address.parse().ok());
            }
            _ => {}
        }
        self.heard.push(event.clone());
        Some(event)
    }

    /// The error for an event that did not come: the last events, and what went wrong.
    fn silence(&self, what: &str) -> crate::Failure {
        let last: Vec<String> = self
            .heard
            .iter()
            .rev()
            .filter(|event| event.name() != "progress")
            .take(8)
            .map(|event| event.value.to_string())
            .collect();
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
        format!("hotrun never said `{what}`; its last words:\n{last}\n{said}").into()
    }

    /// Has hotrun end and waits for it; a process left behind is an error.
    pub(crate) fn stop(mut self) -> Result<()> {
        let family: Vec<(u32, u64)> = proc::descendants(self.pid());
        send("TERM", self.pid())?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Err("hotrun did not end within 10 s of SIGTERM".into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.over = true;
        self.lab.guard.forget(&self.child)?;
        thread::sleep(Duration::from_millis(50));
        let left: Vec<u32> = family
            .into_iter()
            .filter(|(pid, started)| proc::started(*pid) == Some(*started))
            .map(|(pid, _)| pid)
            .collect();
        for pid in &left {
            send("KILL", *pid).ok();
        }
        if left.is_empty() {
            return Ok(());
        }
        Err(format!("hotrun ended and left {left:?} behind").into())
    }
}

impl Drop for Hotrun<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.child.kill().ok();
            self.child.wait().ok();
            self.lab.guard.forget(&self.child).ok();
            // The keepers end the rest.
            thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Sends a signal.
pub(crate) fn send(signal: &str, pid: u32) -> Result<()> {
    let status = Command::new("kill")
        .args(["-s", signal, &pid.to_string()])
        .stderr(Stdio::null())
        .status()?;
    if status.success() {
        return Ok(());
    }
    Err(format!("cannot send SIG{signal} to {pid}").into())
}
