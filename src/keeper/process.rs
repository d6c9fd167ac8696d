//! The keeper itself: one thread, one loop over its orders and its children.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use super::Mode;
use super::protocol::{Frames, Input, Launch, News, Order, encode};
use crate::defect;
use crate::session::model::Exit;
use crate::sys::keeper::{self, Change, Children, own_children};
use crate::sys::{self, Handle, NotifySocket, Spawned, Stdin, signals};

/// The time between two checks of killed children.
const ROUND: Duration = Duration::from_millis(10);
/// After this many rounds the remaining processes are reported and given up: they can't be killed.
const ROUNDS: u32 = 500;

/// Runs this process as a keeper until none of its processes is left.
pub fn run(mode: Mode) -> io::Result<()> {
    sys::close_inherited();
    let mut keeper = Keeper {
        mode,
        children: Children::begin()?,
        orders: Some(Stdin::own()?),
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
            keeper.wait().map(ControlFlow::Continue)
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
    pid: u32,
    /// Its exit was reported.
    ended: bool,
    /// It was reaped, so that its pid may be reused by now.
    reaped: bool,
}

struct Keeper {
    mode: Mode,
    children: Children,
    /// The channel to hotrun, until hotrun has ended.
    orders: Option<Stdin>,
    /// Handles that came before the whole order they belong to.
    received: Vec<Handle>,
    frames: Frames,
    /// The `NOTIFY_SOCKET` of the child.
    notify: Option<NotifySocket>,
    child: Option<Kept>,
    /// The rounds of kills so far, if the processes are being killed.
    rounds: Option<u32>,
}

impl Keeper {
    /// Waits for orders, children and readiness, and handles them.
    fn wait(&mut self) -> io::Result<()> {
        let most = self.rounds.map(|_| ROUND);
        let woken = self
            .children
            .wait(self.orders.as_ref(), self.notify.as_ref(), most)?;
        // Only rounds without an event count towards giving up.
        self.rounds = self.rounds.map(|rounds| rounds + u32::from(woken.idle));
        if self.child.is_some() {
            defect::point("keeper");
        }
        let child_changed = self.children.changed();
        if self.notify.as_ref().is_some_and(NotifySocket::is_ready) {
            self.tell(&News::Ready);
        }
        if woken.has_fetched {
            self.tell(&News::Fetched);
        }
        if woken.has_orders {
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
            for pid in own_children() {
                signals::send(pid, signals::KILL);
            }
            self.kill();
        }
    }

    /// Takes in orders; the end of the socket is the order to kill everything.
    fn receive_orders(&mut self) {
        let mut buffer = [0; 16 * 1024];
        let Some(orders) = &self.orders else { return };
        match orders.receive(&mut buffer) {
            Ok((count @ 1.., handles)) => {
                self.frames.push(&buffer[..count]);
                self.received.extend(handles);
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
                    self.signal(signals::CONTINUE);
                }
                Order::Kill => self.kill(),
            }
        }
    }

    /// Sends news to hotrun; that hotrun has ended is seen at the socket later.
    fn tell(&self, news: &News) {
        self.tell_with(news, None);
    }

    fn tell_with(&self, news: &News, mut handle: Option<&Handle>) {
        let frame = encode(news);
        let mut rest = &frame[..];
        while let Some(orders) = self.orders.as_ref().filter(|_| !rest.is_empty()) {
            match orders.send(rest, handle) {
                Ok(count) => (rest, handle) = (&rest[count..], None),
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
        let dir = Path::new(&launch.dir);
        if !dir.is_dir() {
            self.tell(&News::NoDirectory(dir.display().to_string()));
            self.kill();
            return;
        }
        match self.start(launch) {
            Ok(Spawned { pid, listener }) => {
                self.child = Some(Kept {
                    pid,
                    ended: false,
                    reaped: false,
                });
                self.tell_filtered(listener);
                self.tell(&News::Started(pid));
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
    fn tell_filtered(&self, listener: Option<io::Result<Handle>>) {
        match listener {
            Some(Ok(listener)) => self.tell_with(&News::Filtered(None), Some(&listener)),
            Some(Err(error)) => {
                self.tell(&News::Filtered(Some(
                    error.raw_os_error().unwrap_or_default(),
                )));
            }
            None => {}
        }
    }

    fn start(&mut self, launch: &Launch) -> Result<Spawned, (String, io::Error)> {
        let mut command = sys::command(&launch.program, &launch.argv0);
        sys::add_args(&mut command, &launch.args);
        command.env_clear();
        command.envs(launch.env.iter().map(|(key, value)| (key, value)));
        command.current_dir(&launch.dir);
        if let Some(path) = &launch.notify {
            match NotifySocket::bind(Path::new(path)) {
                Ok(notify) => {
                    command.env("NOTIFY_SOCKET", notify.path());
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
        let mut received = std::mem::take(&mut self.received).into_iter();
        let stdin = match launch.input {
            Input::Nothing => None,
            Input::Pipe | Input::Terminal => received.next(),
        };
        let (Some(stdout), Some(stderr)) = (received.next(), received.next()) else {
            return Err((
                "the descriptors for its output are missing".into(),
                io::ErrorKind::InvalidInput.into(),
            ));
        };
        let sockets: Vec<Handle> = received.collect();
        let descriptors = sys::Descriptors {
            stdin,
            stdout,
            stderr,
            sockets,
            at_terminal: launch.input == Input::Terminal,
        };
        let started = self.children.start(command, descriptors, &launch.filter);
        started.map_err(|error| {
            (
                format!("cannot start `{}`", launch.program.display()),
                error,
            )
        })
    }

    // ---- ending

    /// Signals the child's process group.
    fn signal(&self, number: i32) {
        let Some(child) = self.child else { return };
        if !child.reaped {
            signals::send_to_group(child.pid, number);
        }
        if child.ended && self.mode == Mode::Tree {
            // The child's descendants are the app now, in whatever group they are.
            let children = own_children().into_iter();
            for pid in children.filter(|pid| *pid != child.pid) {
                match keeper::group_of(pid) {
                    Some(group) if group == child.pid => {}
                    Some(group) if group == pid => signals::send_to_group(group, number),
                    _ => signals::send(pid, number),
                }
            }
        }
    }

    fn kill(&mut self) {
        self.rounds.get_or_insert(0);
    }

    fn kill_round(&mut self) {
        if let Some(child) = self.child.filter(|child| !child.reaped) {
            signals::send_to_group(child.pid, signals::KILL);
        }
        if self.mode == Mode::Tree {
            for pid in own_children() {
                signals::send(pid, signals::KILL);
            }
        }
    }

    /// Reports what happened to the child. Its exit is reported without reaping it until no other
    /// process is left, so that its process group's id is not reused.
    fn watch_child(&mut self) {
        let Some(child) = self.child.filter(|child| !child.reaped) else {
            return;
        };
        while !self.child.is_some_and(|child| child.ended) {
            let ended = match keeper::next_change(child.pid) {
                Some(Change::Exited(code)) => Exit::Status(code),
                Some(Change::Killed(signal)) => Exit::Signal(signal),
                Some(Change::Ended) => Exit::Unknown,
                Some(change @ (Change::Stopped | Change::Continued)) => {
                    self.tell(&News::Suspended(change == Change::Stopped));
                    continue;
                }
                None => break,
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
            for pid in own_children().into_iter().filter(|pid| Some(*pid) != own) {
                keeper::reap_one(pid);
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
            for pid in own_children() {
                if pid != child.pid && keeper::reap_one(pid) {
                    survivors.push(pid.cast_signed());
                }
            }
            if !survivors.is_empty() && !gave_up {
                return false;
            }
        }
        if !child.reaped {
            if keeper::reap_one(child.pid) {
                survivors.push(child.pid.cast_signed());
            }
            self.child = Some(Kept {
                reaped: true,
                ..child
            });
        }
        // Killed processes of the group may take a moment to exit.
        if self.mode == Mode::Group && keeper::any_of_group(child.pid) && !gave_up {
            return false;
        }
        // /proc's list of children may miss one while it changes; `waitpid` does not.
        if self.mode == Mode::Tree && keeper::any_child() && !gave_up {
            return false;
        }
        self.tell(&News::Gone { survivors });
        true
    }
}
