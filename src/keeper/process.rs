//! The keeper itself: one thread, one loop over its orders and its children.

use std::fs::DirBuilder;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::libc::sock_filter;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, getpgid, setsid};

use super::Mode;
use super::protocol::{Frames, Input, Launch, News, Order, encode};
use crate::defect;
use crate::session::model::Exit;
use crate::sys::{self, Spawned};

/// Milliseconds between two checks of killed children.
const ROUND: u16 = 10;
/// After this many rounds the remaining processes are reported and given up: they can't be killed.
const ROUNDS: u32 = 500;

/// Runs this process as a keeper until none of its processes is left.
pub fn run(mode: Mode) -> io::Result<()> {
    sys::close_inherited();
    // Out of the terminal's session: signals meant for hotrun must not reach the app.
    setsid().ok();
    #[cfg(target_os = "linux")]
    {
        // An orphan of the child's tree is reparented to this process: all of them, or those in the
        // group that is to end.
        nix::sys::prctl::set_child_subreaper(true)?;
        nix::sys::prctl::set_name(c"hotrun-keeper").ok();
    }
    // Blocked in the keeper only: the child gets the mask that hotrun was started with.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let signals = SignalFd::with_flags(
        &SigSet::from(Signal::SIGCHLD),
        SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK,
    )?;
    let mut keeper = Keeper {
        mode,
        mask,
        orders: Some(io::stdin().as_fd().try_clone_to_owned()?),
        received: Vec::new(),
        frames: Frames::default(),
        notify: None,
        child: None,
        rounds: None,
    };
    defect::tell_later();
    let mut panics = 0;
    loop {
        let step = || {
            if keeper.over() {
                return Ok(ControlFlow::Break(()));
            }
            keeper.wait(&signals).map(ControlFlow::Continue)
        };
        match defect::caught("keeper", step) {
            Ok(Ok(ControlFlow::Continue(()))) => {}
            Ok(Ok(ControlFlow::Break(()))) => return Ok(()),
            Ok(Err(error)) => return Err(error),
            // Hotrun then ends the processes, which are reparented to it.
            Err(panic) if panics == MOST_PANICS => return Err(io::Error::other(panic)),
            Err(panic) => {
                panics += 1;
                keeper.recover(&panic);
            }
        }
    }
}

/// After this many panics it is given up.
const MOST_PANICS: u32 = 10;

/// The child.
#[derive(Clone, Copy)]
struct Kept {
    /// Its pid, and its process group.
    pid: Pid,
    /// Its exit was reported.
    ended: bool,
    /// It was reaped, so that its pid may be reused by now.
    reaped: bool,
}

struct Keeper {
    mode: Mode,
    /// The signals blocked in the child.
    mask: SigSet,
    /// The socket to hotrun, until hotrun has ended.
    orders: Option<OwnedFd>,
    /// Descriptors that came before the whole order they belong to.
    received: Vec<OwnedFd>,
    frames: Frames,
    notify: Option<Notify>,
    child: Option<Kept>,
    /// The rounds of kills so far, if the processes are being killed.
    rounds: Option<u32>,
}

impl Keeper {
    /// Waits for orders, children and readiness, and handles them.
    fn wait(&mut self, signals: &SignalFd) -> io::Result<()> {
        let timeout = self
            .rounds
            .map_or(PollTimeout::NONE, |_| PollTimeout::from(ROUND));
        let mut sources = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        for source in [
            self.notify.as_ref().map(|notify| notify.socket.as_fd()),
            self.fd(),
        ] {
            sources.extend(source.map(|source| PollFd::new(source, PollFlags::POLLIN)));
        }
        // Only rounds without an event count towards giving up.
        let idle = match poll(&mut sources, timeout) {
            Ok(count) => count == 0,
            Err(Errno::EINTR) => false,
            Err(error) => return Err(error.into()),
        };
        let orders = self.orders.is_some()
            && sources
                .last()
                .is_some_and(|last| last.any().unwrap_or_default());
        self.rounds = self.rounds.map(|rounds| rounds + u32::from(idle));
        if self.child.is_some() {
            defect::point("keeper");
        }
        let mut child_changed = false;
        while let Ok(Some(_)) = signals.read_signal() {
            child_changed = true;
        }
        if self.notify.as_ref().is_some_and(Notify::ready) {
            self.tell(&News::Ready);
        }
        if orders {
            self.receive_orders();
        }
        if child_changed {
            self.reap_adopted();
        }
        self.watch_child();
        if self.rounds.is_some() {
            self.kill_round();
        }
        Ok(())
    }

    /// Goes on after a panic, if the child is known.
    fn recover(&mut self, panic: &str) {
        if let Some(defect) = defect::take_last() {
            self.tell(&News::Defect(defect));
        }
        if self.child.is_none() {
            let what = format!("cannot be started: a defect of hotrun ({panic})");
            self.tell(&News::Failed { what, code: None });
            // It may have been started.
            for pid in children() {
                kill(pid, Signal::SIGKILL).ok();
            }
            self.kill();
        }
    }

    fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.orders.as_ref().map(AsFd::as_fd)
    }

    /// Takes in orders; the end of the socket is the order to kill everything.
    fn receive_orders(&mut self) {
        let mut buffer = [0; 16 * 1024];
        let Some(orders) = self.fd() else { return };
        match sys::receive(orders, &mut buffer) {
            Ok((count @ 1.., descriptors)) => {
                self.frames.push(&buffer[..count]);
                self.received.extend(descriptors);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => {
                self.orders = None;
                self.kill();
            }
        }
        while let Some(order) = self.frames.message() {
            match order {
                Order::Launch(launch) => self.launch(&launch),
                Order::Signal(number) => self.signal(number),
                Order::Stop(number) => {
                    self.signal(number);
                    self.signal(Signal::SIGCONT as i32);
                }
                Order::Kill => self.kill(),
            }
        }
    }

    /// Sends news to hotrun; that hotrun has ended is seen at the socket later.
    fn tell(&self, news: &News) {
        self.tell_with(news, &[]);
    }

    fn tell_with(&self, news: &News, mut descriptors: &[RawFd]) {
        let frame = encode(news);
        let mut rest = &frame[..];
        while let Some(orders) = self.fd().filter(|_| !rest.is_empty()) {
            match sys::send(orders, rest, descriptors) {
                Ok(count) => (rest, descriptors) = (&rest[count..], &[]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    // ---- starting

    fn launch(&mut self, launch: &Launch) {
        if self.mode == Mode::Tree {
            defect::point("start");
        }
        match self.start(launch) {
            Ok(Spawned { pid, listener }) => {
                self.child = Some(Kept {
                    pid,
                    ended: false,
                    reaped: false,
                });
                self.tell_filtered(listener);
                self.tell(&News::Started(pid.as_raw().unsigned_abs()));
            }
            Err((what, error)) => {
                let what = format!("{what}: {error}");
                self.tell(&News::Failed {
                    code: error.raw_os_error(),
                    what,
                });
                self.kill();
            }
        }
    }

    /// Sends the notification descriptor before any other news, since the child may be blocked in a call
    /// already. The keeper keeps no copy: once hotrun closes it, blocked calls fail instead of waiting
    /// for ever.
    fn tell_filtered(&self, listener: Option<io::Result<OwnedFd>>) {
        match listener {
            Some(Ok(listener)) => self.tell_with(&News::Filtered(None), &[listener.as_raw_fd()]),
            Some(Err(error)) => {
                let code = error.raw_os_error().unwrap_or(Errno::EINVAL as i32);
                self.tell(&News::Filtered(Some(code)));
            }
            None => {}
        }
    }

    fn start(&mut self, launch: &Launch) -> Result<Spawned, (String, io::Error)> {
        let mut command = Command::new(&launch.program);
        command.arg0(&launch.argv0).args(&launch.args).env_clear();
        command.envs(launch.env.iter().map(|(key, value)| (key, value)));
        command.current_dir(&launch.dir);
        if let Some(path) = &launch.notify {
            match Notify::bind(Path::new(path)) {
                Ok(notify) => {
                    command.env("NOTIFY_SOCKET", &notify.path);
                    self.notify = Some(notify);
                }
                // Most apps don't use it.
                Err(_) if !launch.must_notify => {}
                Err(error) => {
                    let what = format!("cannot listen for readiness on `{}`", path.display());
                    return Err((what, io::Error::other(error.to_string())));
                }
            }
        }
        let dir = Path::new(&launch.dir);
        if !dir.is_dir() {
            let missing = io::Error::from(io::ErrorKind::NotFound);
            return Err((
                format!("cannot change to the directory `{}`", dir.display()),
                missing,
            ));
        }
        let mut received = std::mem::take(&mut self.received).into_iter();
        let stdin = match launch.input {
            Input::Nothing => None,
            Input::Pipe | Input::Terminal => received.next(),
        };
        let (Some(stdout), Some(stderr)) = (received.next(), received.next()) else {
            return Err((
                "the descriptors for its output are missing".into(),
                Errno::EBADF.into(),
            ));
        };
        let sockets: Vec<OwnedFd> = received.collect();
        let descriptors = sys::Descriptors {
            stdin,
            stdout,
            stderr,
            sockets,
            at_terminal: launch.input == Input::Terminal,
        };
        let filter = launch.filter.iter();
        let mut filter: Vec<sock_filter> = filter
            .map(|&(code, jt, jf, k)| sock_filter { code, jt, jf, k })
            .collect();
        sys::spawn_activated(command, descriptors, &self.mask, &mut filter).map_err(|error| {
            (
                format!("cannot start `{}`", launch.program.display()),
                error,
            )
        })
    }

    // ---- ending

    /// Signals the child's process group.
    fn signal(&self, number: i32) {
        let (Some(child), Ok(signal)) = (self.child, Signal::try_from(number)) else {
            return;
        };
        if !child.reaped {
            killpg(child.pid, signal).ok();
        }
        if child.ended && self.mode == Mode::Tree {
            // The child's descendants are the app now, in whatever group they are.
            for pid in children().into_iter().filter(|pid| *pid != child.pid) {
                match getpgid(Some(pid)) {
                    Ok(group) if group == child.pid => {}
                    Ok(group) if group == pid => _ = killpg(group, signal),
                    _ => _ = kill(pid, signal),
                }
            }
        }
    }

    fn kill(&mut self) {
        self.rounds.get_or_insert(0);
    }

    fn kill_round(&mut self) {
        if let Some(child) = self.child.filter(|child| !child.reaped) {
            killpg(child.pid, Signal::SIGKILL).ok();
        }
        if self.mode == Mode::Tree {
            for pid in children() {
                kill(pid, Signal::SIGKILL).ok();
            }
        }
    }

    /// Reports what happened to the child. Its exit is reported without reaping it until no other
    /// process is left, so that its process group's id is not reused.
    fn watch_child(&mut self) {
        let Some(child) = self.child.filter(|child| !child.reaped) else {
            return;
        };
        let flags = WaitPidFlag::WEXITED
            | WaitPidFlag::WSTOPPED
            | WaitPidFlag::WCONTINUED
            | WaitPidFlag::WNOHANG
            | WaitPidFlag::WNOWAIT;
        while !self.child.is_some_and(|child| child.ended) {
            let ended = match waitid(Id::Pid(child.pid), flags) {
                Ok(WaitStatus::Exited(_, code)) => Exit::Status(code),
                Ok(WaitStatus::Signaled(_, signal, _)) => Exit::Signal(signal as i32),
                Ok(WaitStatus::Stopped(..)) => {
                    consume(child.pid, WaitPidFlag::WSTOPPED);
                    self.tell(&News::Suspended(true));
                    continue;
                }
                Ok(WaitStatus::Continued(_)) => {
                    consume(child.pid, WaitPidFlag::WCONTINUED);
                    self.tell(&News::Suspended(false));
                    continue;
                }
                // A realtime signal, for which nix has no name.
                Err(Errno::EINVAL) => Exit::Unknown,
                _ => break,
            };
            self.child = Some(Kept {
                ended: true,
                ..child
            });
            self.tell(&News::Exited(ended));
            if self.mode == Mode::Group {
                self.kill();
            }
        }
    }

    /// Reaps orphans that have exited, since the app may live for long.
    fn reap_adopted(&self) {
        if self.mode == Mode::Tree {
            let own = self.child.map(|child| child.pid);
            for pid in children().into_iter().filter(|pid| Some(*pid) != own) {
                reap(pid);
            }
        }
    }

    /// No process is left, and hotrun was told so.
    fn over(&mut self) -> bool {
        let gave_up = self.rounds.is_some_and(|rounds| rounds > ROUNDS);
        let Some(child) = self.child else {
            if self.rounds.is_some() {
                self.tell(&News::Gone {
                    survivors: Vec::new(),
                });
            }
            return self.rounds.is_some();
        };
        if !child.ended && !gave_up {
            return false;
        }
        let mut survivors = Vec::new();
        if self.mode == Mode::Tree {
            for pid in children() {
                if pid != child.pid && reap(pid) {
                    survivors.push(pid.as_raw());
                }
            }
            if !survivors.is_empty() && !gave_up {
                return false;
            }
        }
        if !child.reaped {
            if reap(child.pid) {
                survivors.push(child.pid.as_raw());
            }
            self.child = Some(Kept {
                reaped: true,
                ..child
            });
        }
        // Killed processes of the group may take a moment to exit.
        if self.mode == Mode::Group && any_of(child.pid) && !gave_up {
            return false;
        }
        // /proc's list of children may miss one while it changes; `waitpid` does not.
        if self.mode == Mode::Tree && any_child() && !gave_up {
            return false;
        }
        self.tell(&News::Gone { survivors });
        true
    }
}

/// Consumes a change of the child's state, so that it is reported once.
fn consume(pid: Pid, kind: WaitPidFlag) {
    waitid(Id::Pid(pid), kind | WaitPidFlag::WNOHANG).ok();
}

/// Reaps a child that has exited; `true` if it still runs.
fn reap(pid: Pid) -> bool {
    matches!(
        waitpid(pid, Some(WaitPidFlag::WNOHANG)),
        Ok(WaitStatus::StillAlive)
    )
}

/// Reaps children that have exited; whether any still runs.
fn any_child() -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return true,
            Err(Errno::ECHILD) => return false,
            // A realtime signal, for which nix has no name, is EINVAL after the fact.
            Ok(_) | Err(_) => {}
        }
    }
}

/// Reaps the children of this process group that have exited; whether any still runs.
fn any_of(group: Pid) -> bool {
    let group = Pid::from_raw(-group.as_raw());
    loop {
        match waitpid(group, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return true,
            Err(Errno::ECHILD) => return false,
            Ok(_) | Err(_) => {}
        }
    }
}

/// The direct children. Orphans are among them, so that killing them level by level reaches the whole
/// tree.
fn children() -> Vec<Pid> {
    let own = std::process::id();
    let listed = std::fs::read_to_string(format!("/proc/self/task/{own}/children"));
    match listed {
        Ok(list) => list
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .map(Pid::from_raw)
            .collect(),
        // A kernel without that file: look for processes with this parent.
        Err(_) => procfs::process::all_processes()
            .into_iter()
            .flatten()
            .filter_map(|process| process.ok()?.stat().ok())
            .filter(|stat| stat.ppid.unsigned_abs() == own)
            .map(|stat| Pid::from_raw(stat.pid))
            .collect(),
    }
}

/// The `NOTIFY_SOCKET` of the child; removed when the keeper ends.
struct Notify {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Notify {
    fn bind(path: &Path) -> io::Result<Self> {
        // A directory of its own, which no other user can reach and no other keeper uses.
        if let Some(dir) = path.parent() {
            DirBuilder::new().mode(0o700).create(dir)?;
        }
        let socket = UnixDatagram::bind(path)?;
        let notify = Self {
            socket,
            path: path.to_owned(),
        };
        notify.socket.set_nonblocking(true)?;
        Ok(notify)
    }

    /// Takes in all messages; whether one of them was `READY=1`.
    fn ready(&self) -> bool {
        let mut buffer = [0; 4096];
        let mut ready = false;
        while let Ok(count) = self.socket.recv(&mut buffer) {
            ready |= buffer[..count]
                .split(|byte| *byte == b'\n')
                .any(|line| line == b"READY=1");
        }
        ready
    }
}

impl Drop for Notify {
    fn drop(&mut self) {
        std::fs::remove_file(&self.path).ok();
        if let Some(dir) = self.path.parent() {
            std::fs::remove_dir(dir).ok();
        }
    }
}
