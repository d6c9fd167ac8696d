//! One generation of the app: launched with the held sockets, probed until it is ready, stopped, and
//! gone.
//!
//! # Theory of operation
//!
//! Every generation has one task. It owns the keeper (and with it the processes), both output pipes and
//! the readiness check, and reports events in their order: all output of the app is passed on before its
//! exit is reported. What the system shows of the processes is read in threads, since it takes longer than
//! the main loop and connections may wait; the task itself waits for it, so that orders are obeyed and
//! events reported one after the other. Deliberately absent: deciding when to start, stop or kill.

mod accept_probe;
mod adopted;
mod background;
mod captured;
pub mod input;
mod launch;
mod orders;
mod output;
mod readiness;
mod ready_probe;
mod stop_signal;

use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use socket2::Socket;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::{Instant, sleep_until};

use accept_probe::seen;
use background::Background;
use captured::{Begun, Refused, heard, next_taken, not_held};
pub use captured::{Captured, why_not_captured};
use input::Input;
use launch::{explain, launch, no_directory};
use orders::Order;
use output::Pipe;
use readiness::{Check, Found, Reasons};
#[cfg(any(test, fuzzing))]
pub(crate) use ready_probe::hostile_tests;

use crate::capture::{Listening, Why};
use crate::config::Settings;
use crate::defect;
use crate::keeper::Mode;
use crate::keeper::client::Keeper;
use crate::keeper::protocol::{News, Order as KeeperOrder};
use crate::lines::Stream;
use crate::session::event::{AppNews, Conflict, Event, Taken};
use crate::session::model::{ArtifactRef, Exit, Generation, Proof};
use crate::session::reason::Reason;
use crate::sink::Sink;
use crate::sockets::address::Address;
use crate::sys::Terminal;
use crate::sys::processes::sockets_below;
use crate::sys::signals::{self, Signals};

/// How many of the last lines on stderr are kept to explain an exit: room for a panic and its backtrace.
const LAST_LINES: usize = 200;

/// How a readiness probe reaches the candidate, and no other generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// New connections go to the candidate already.
    Always,
    /// Connections from this source port do.
    From(u16),
    /// The candidate can't be reached alone.
    Never,
}

/// What a generation is started with.
#[derive(Debug)]
pub struct Start {
    /// The generation.
    pub generation: Generation,
    /// The build's artifact.
    pub artifact: ArtifactRef,
    /// The sockets that it inherits, kept until none of its processes is left.
    pub sockets: Vec<Arc<Socket>>,
    /// What is known of each of them, in the same order.
    pub held: Vec<HeldSocket>,
    /// The keeper of live, if live runs meanwhile.
    pub beside: Option<u32>,
    /// How a readiness probe reaches it.
    pub reach: Reach,
    /// The port of the server that has browsers reload (`HOTRUN_LIVERELOAD`).
    pub livereload: Option<u16>,
    /// The name of this run of hotrun (`HOTRUN_SESSION`).
    pub session: Arc<str>,
    /// The path of its `NOTIFY_SOCKET`.
    pub notify: PathBuf,
    /// A keeper that was started in advance.
    pub keeper: Option<Keeper>,
    /// Passes hotrun's stdin on, if the app gets it.
    pub input: Option<Input>,
    /// What capture needs, if the app is captured.
    pub capture: Option<Captured>,
}

/// What is known of a held socket when an app starts.
#[derive(Clone, Debug)]
pub struct HeldSocket {
    /// Its name in `LISTEN_FDNAMES`.
    pub name: Option<String>,
    /// Its address.
    pub address: Address,
    /// Where it is in fact: elsewhere if hotrun itself answers at the address.
    pub behind: Address,
    /// Its inode.
    pub inode: u64,
}

/// The handle of a generation. Dropped, it ends the generation's processes.
#[derive(Debug)]
pub struct App {
    orders: mpsc::UnboundedSender<Order>,
    keeper: Arc<std::sync::OnceLock<u32>>,
}

impl App {
    /// Starts a generation.
    pub fn start(
        start: Start,
        settings: Arc<Settings>,
        events: mpsc::UnboundedSender<Event>,
        sink: Sink,
    ) -> Self {
        let (orders, inbox) = mpsc::unbounded_channel();
        let keeper = Arc::new(std::sync::OnceLock::new());
        let task = Task {
            generation: start.generation,
            settings,
            events,
            sink,
            keeper_pid: keeper.clone(),
            last_lines: VecDeque::new(),
            refused: Vec::new(),
            taken: None,
            cut: 0,
            traced: None,
            pid: None,
            program: start.artifact.path.clone(),
            told_to_end: false,
        };
        defect::spawn("app", task.run_to_the_end(start, inbox));
        Self { orders, keeper }
    }

    /// Checks whether a debugger is attached, and reports it.
    pub fn check_debugger(&self) {
        self.orders.send(Order::CheckDebugger).ok();
    }

    /// Checks whether one of its processes has one of these files open for writing, and reports which,
    /// relative to `base` where they are below it.
    pub fn find_writer(&self, base: PathBuf, paths: Vec<PathBuf>) {
        self.orders.send(Order::FindWriter(base, paths)).ok();
    }

    /// Sends a signal to its process group.
    pub fn signal(&self, number: i32) {
        self.orders.send(Order::Signal(number)).ok();
    }

    /// Asks it to end, with this signal, or with the one that it catches.
    pub fn stop(&self, signal: Option<i32>) {
        self.orders.send(Order::Stop(signal)).ok();
    }

    /// Kills all of its processes.
    pub fn kill(&self) {
        self.orders.send(Order::Kill).ok();
    }

    /// None of its processes is left.
    pub fn is_gone(&self) -> bool {
        self.orders.is_closed()
    }

    /// The inodes of all sockets that its processes have open.
    pub fn open_sockets(&self) -> HashSet<u64> {
        self.keeper().map(sockets_below).unwrap_or_default()
    }

    /// Returns a blocking look for the executables that its processes run.
    pub fn executables(&self) -> impl FnOnce() -> Vec<PathBuf> + Send + use<> {
        let keeper = self.keeper();
        move || keeper.map(accept_probe::executables).unwrap_or_default()
    }

    /// Returns a blocking check whether this signal (`None`: the one that it catches) would kill it, as
    /// a program that serves these sockets.
    pub fn is_ended_by(
        &self,
        signal: Option<i32>,
        sockets: HashSet<u64>,
    ) -> impl FnOnce() -> bool + Send + use<> {
        let keeper = self.keeper.clone();
        move || {
            let keeper = keeper.get().copied();
            keeper.is_some_and(|keeper| stop_signal::ends_at_once(keeper, signal, &sockets))
        }
    }

    /// The pid of its keeper, once there is one.
    pub fn keeper(&self) -> Option<u32> {
        self.keeper.get().copied()
    }
}

struct Task {
    generation: Generation,
    settings: Arc<Settings>,
    events: mpsc::UnboundedSender<Event>,
    sink: Sink,
    keeper_pid: Arc<std::sync::OnceLock<u32>>,
    last_lines: VecDeque<String>,
    /// The addresses that it could not bind and whose owner is being looked up, and the last one found.
    refused: Vec<Refused>,
    taken: Option<Taken>,
    /// Its open connections when it was killed.
    cut: usize,
    /// The process that a debugger traces, and when to check again.
    traced: Option<(i32, Instant)>,
    /// Its first process, which leads its process group.
    pid: Option<u32>,
    /// Its executable, which a runner may have started.
    program: PathBuf,
    /// It was told to end, or killed.
    told_to_end: bool,
}

impl Task {
    fn tell(&self, news: AppNews) {
        self.events.send(Event::App(self.generation, news)).ok();
    }

    /// Reports the end even if the task panics: the keeper then ends the processes.
    async fn run_to_the_end(self, start: Start, inbox: mpsc::UnboundedReceiver<Order>) {
        let (events, generation) = (self.events.clone(), self.generation);
        if defect::guarded("app", Box::pin(self.run(start, inbox)))
            .await
            .is_err()
        {
            let gone = AppNews::Gone {
                cut: 0,
                survivors: Vec::new(),
            };
            events.send(Event::App(generation, gone)).ok();
        }
    }

    async fn run(mut self, start: Start, inbox: mpsc::UnboundedReceiver<Order>) {
        if let Err(error) = self.keep(start, inbox).await {
            self.tell(AppNews::CannotStart(Reason::new(
                format!("cannot start a keeper: {error}"),
                "free some processes or descriptors (`ulimit -u`, `ulimit -n`)",
            )));
            self.tell(AppNews::Gone {
                cut: 0,
                survivors: Vec::new(),
            });
        }
    }

    #[expect(
        clippy::too_many_lines,
        reason = "one arm for each thing that can happen"
    )]
    async fn keep(
        &mut self,
        start: Start,
        mut inbox: mpsc::UnboundedReceiver<Order>,
    ) -> std::io::Result<()> {
        let launch = launch(&start, &self.settings);
        let why = Why::of_program(&start.artifact.path);
        if let Some(why) = why.filter(|_| self.settings.app.capture) {
            self.tell(AppNews::Uncaptured(why.explain()));
        }
        let mut check = Check::new(&self.settings.app, &start);
        let Start {
            mut held,
            session,
            sockets,
            notify,
            keeper,
            input,
            mut capture,
            beside,
            ..
        } = start;
        let mut listening: Option<UnboundedReceiver<Listening>> = None;
        let (mut keeper, output) = Keeper::start(keeper, Mode::Tree, launch, &sockets).await?;
        let terminal = output.terminal;
        let mut resized = terminal.as_ref().map(|_| signals::listen(signals::RESIZED));
        let mut attached = match (input, output.stdin) {
            (Some(input), Some(stdin)) => {
                Some(input.attach(self.generation, stdin, terminal.is_some()))
            }
            _ => None,
        };
        let keeper_pid = keeper.pid;
        self.keeper_pid.set(keeper_pid).ok();
        let is_answered = attached.is_some() || terminal.is_some();
        let mut stdout = Pipe::new(Stream::Stdout, output.stdout, is_answered);
        let mut stderr = Pipe::new(Stream::Stderr, output.stderr, is_answered);
        let sink = self.sink.clone();
        let mut running = false;
        let mut survivors = None;
        let mut background = None;
        loop {
            tokio::select! {
                biased;
                order = inbox.recv() => match order {
                    Some(order) => {
                        if matches!(order, Order::Stop(_)) {
                            check.asked_to_end();
                        }
                        self.obey(order, &keeper, &held).await;
                    }
                    // The handle was dropped; the keeper sees the end of its pipe to hotrun.
                    None => return Ok(()),
                },
                news = keeper.next() => match news {
                    Some(News::Filtered(refused)) => {
                        let begun = Captured::begin(capture.take(), refused, &mut keeper);
                        match begun {
                            Begun::NotifyLoop(notify_loop) => listening = Some(notify_loop),
                            Begun::Without(reason) => self.tell(AppNews::Uncaptured(reason)),
                            Begun::Unanswered(problem) => {
                                self.tell(AppNews::CannotStart(problem));
                                keeper.order(&KeeperOrder::Kill).await;
                            }
                        }
                    }
                    Some(News::Started(pid)) => {
                        running = true;
                        self.pid = Some(pid);
                        defect::point("app");
                        check.started();
                        self.tell(AppNews::Started(pid));
                    }
                    Some(News::Failed { what, code }) => {
                        let target = self.settings.build.target.as_deref();
                        self.tell(AppNews::CannotStart(explain(&what, code, target)));
                    }
                    Some(News::NoDirectory(dir)) => {
                        self.tell(AppNews::CannotStart(no_directory(&dir)));
                    }
                    Some(News::Ready) => self.ready(&mut check, Proof::Notified),
                    Some(News::Fetched) => check.fetched(),
                    Some(News::Suspended(suspended)) => {
                        check.suspended(suspended);
                        self.tell(AppNews::Suspended(suspended));
                    }
                    Some(News::Exited(exit)) => {
                        drop(attached.take());
                        for pipe in [&mut stdout, &mut stderr] {
                            let lines = pipe.finish(self.generation, &sink);
                            self.printed(pipe.stream(), &lines, &mut check);
                        }
                        // What it did before its exit is reported before that.
                        while let Some(Ok(told)) = listening.as_mut().map(UnboundedReceiver::try_recv) {
                            self.listens(told, &mut check, &mut held);
                        }
                        while !self.refused.is_empty() {
                            let taken = next_taken(&mut self.refused, beside).await;
                            self.could_not_bind(taken);
                        }
                        if exit.success() && !self.told_to_end {
                            background = Background::of(keeper_pid, inodes(&held)).await;
                        }
                        running = background.is_some();
                        if let Some(left) = &background {
                            check.in_background();
                            let listens = left.listens();
                            let known = listening.is_some() || !held.is_empty();
                            self.pid = None;
                            self.tell(AppNews::Background(known.then_some(listens)));
                        } else {
                            let reasons = seen(check.reasons()).await;
                            self.exited(exit, reasons);
                        }
                    }
                    Some(News::Gone { survivors: left }) => survivors = Some(left),
                    // Told already.
                    Some(News::Defect(_)) => {}
                    None => break,
                },
                Some(heard) = heard(&mut listening) => {
                    self.listens(heard, &mut check, &mut held);
                    if let Some(left) = &mut background {
                        left.refresh(inodes(&held)).await;
                    }
                }
                taken = next_taken(&mut self.refused, beside) => self.could_not_bind(taken),
                found = check.find(keeper_pid), if running => match found {
                    Found::Proof(proof) => self.ready(&mut check, proof),
                    Found::Unclaimed(inodes) => self.unclaimed(&held, &inodes),
                    Found::Answer(answer) => self.tell(AppNews::Answered(answer)),
                    Found::Nothing => {}
                },
                () = Background::one_ended(background.as_ref()) => {
                    if let Some(left) = &mut background {
                        left.refresh(inodes(&held)).await;
                        if !left.listens() {
                            background = None;
                            running = false;
                            self.exited(Exit::Unknown, Reasons::default());
                        }
                    }
                }
                () = later(self.traced) => self.check_debugger_again(keeper_pid).await,
                () = next(&mut resized) => {
                    terminal.iter().for_each(Terminal::resize);
                }
                lines = stdout.go_on(self.generation, &sink) => {
                    self.printed(Stream::Stdout, &lines, &mut check);
                }
                lines = stderr.go_on(self.generation, &sink) => {
                    self.printed(Stream::Stderr, &lines, &mut check);
                }
            }
        }
        for pipe in [&mut stdout, &mut stderr] {
            pipe.finish(self.generation, &sink);
        }
        if survivors.is_none() {
            // The keeper itself was killed, and its children were reparented to hotrun.
            adopted::end(keeper_pid, &session, self.generation).await;
            std::fs::remove_file(&notify).ok();
            notify.parent().map(std::fs::remove_dir);
        }
        let survivors = survivors.unwrap_or_default();
        let cut = self.cut;
        // Released addresses that no other generation has are refused from here on.
        drop(sockets);
        self.tell(AppNews::Gone { cut, survivors });
        Ok(())
    }

    /// Takes in what it does with its sockets.
    fn listens(&mut self, does: Listening, check: &mut Check, held: &mut Vec<HeldSocket>) {
        match does {
            Listening::Held {
                inode,
                address,
                behind,
            } => {
                check.listening(inode, &address, &behind);
                if !held.iter().any(|held| held.inode == inode) {
                    let name = None;
                    held.push(HeldSocket {
                        name,
                        address,
                        behind,
                        inode,
                    });
                }
                self.tell(AppNews::Listening);
            }
            Listening::Bound(address) => check.bound(&address),
            Listening::Not(address, reason) => {
                self.tell(AppNews::Uncaptured(not_held(&address, &reason)));
            }
            Listening::Unheld(why) => self.tell(AppNews::Uncaptured(why.explain())),
            Listening::Taken(address, owner) => self.refused.push(Refused::new(address, owner)),
        }
    }

    fn could_not_bind(&mut self, taken: Taken) {
        self.taken = Some(taken.clone());
        self.tell(AppNews::Taken(taken));
    }

    fn ready(&self, check: &mut Check, proof: Proof) {
        if check.accepts(proof) {
            self.tell(AppNews::Ready(proof));
        }
    }

    fn unclaimed(&self, held: &[HeldSocket], inodes: &HashSet<u64>) {
        let unclaimed = held.iter().filter(|held| inodes.contains(&held.inode));
        let addresses = unclaimed.map(|held| held.address.to_string()).collect();
        self.tell(AppNews::Unclaimed(addresses));
    }

    fn exited(&mut self, exit: Exit, reasons: Reasons) {
        let last_lines = self.last_lines.drain(..).collect();
        let conflict = Conflict {
            lock: reasons.lock.map(|path| path.display().to_string()),
            taken: self.taken.take(),
            asked: reasons.asked.map(|address| address.to_string()),
        };
        self.tell(AppNews::Exited {
            exit,
            last_lines,
            conflict,
        });
    }

    /// Takes in what the app wrote: for `ready = "log:…"`, and to explain a later exit.
    fn printed(&mut self, stream: Stream, lines: &[u8], check: &mut Check) {
        for line in lines
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let line = String::from_utf8_lossy(line);
            if check.printed(&line) {
                self.ready(check, Proof::Printed);
            }
            if stream == Stream::Stderr || self.settings.app.tty {
                if self.last_lines.len() == LAST_LINES {
                    self.last_lines.pop_front();
                }
                self.last_lines.push_back(line.into_owned());
            }
        }
    }
}

/// The inodes of these sockets.
fn inodes(held: &[HeldSocket]) -> HashSet<u64> {
    held.iter().map(|held| held.inode).collect()
}

/// Waits for the next check for a debugger; for ever without one.
async fn later(traced: Option<(i32, Instant)>) {
    match traced {
        Some((_, at)) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Waits for the next signal; for ever where it is not listened for.
async fn next(signals: &mut Option<std::io::Result<Signals>>) {
    match signals {
        Some(Ok(signals)) => _ = signals.recv().await,
        Some(Err(_)) | None => std::future::pending().await,
    }
}
