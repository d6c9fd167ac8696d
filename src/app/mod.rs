//! One generation of the app: launched with the held sockets, watched until it is ready, asked
//! to end, and gone.
//!
//! # Theory of operation
//!
//! Every generation has one task. It owns the keeper (and with it the process), both output pipes
//! and the check of readiness, and reports what happens in the order in which it happened: all
//! that the app has written before it ended is handed on before its end is reported. Deliberately
//! absent: deciding when to start, stop or kill.

mod adopted;
mod captured;
mod caught_signals;
pub mod input;
mod output;
mod ready;
mod sight;

use std::collections::{HashSet, VecDeque};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use captured::{Begun, heard, not_held};
pub use captured::{Captured, why_not_captured};
use input::Input;
use output::Pipe;
use ready::{Check, Found};

use crate::capture::Listening;
use crate::config::{Ready, Settings, Stdin};
use crate::keeper::Mode;
use crate::keeper::client::{Keeper, Output};
use crate::keeper::protocol::{Input as Reads, Launch, News, Order as KeeperOrder};
use crate::keeper::terminal::Terminal;
use crate::lines::Stream;
use crate::session::event::{AppNews, Event};
use crate::session::model::{ArtifactRef, Exit, Generation, Proof};
use crate::sink::Sink;
use crate::sockets::activation;
use crate::sockets::address::Address;

/// How many of its last lines are kept for a reason why it ended.
const LAST_LINES: usize = 20;

/// Between two looks at a process that has a debugger.
const DEBUGGED: Duration = Duration::from_millis(500);

/// How a request reaches the generation that is to be asked, and no other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Clients are sent to it already.
    Always,
    /// From this port.
    From(u16),
    /// It can't be.
    Never,
}

/// What a generation is started with.
#[derive(Debug)]
pub struct Start {
    /// Its number.
    pub generation: Generation,
    /// The program.
    pub artifact: ArtifactRef,
    /// The sockets it gets, and what there is to know about each, in the same order. They are kept
    /// until nothing of it is left.
    pub sockets: Vec<Arc<OwnedFd>>,
    /// What they are.
    pub held: Vec<HeldSocket>,
    /// The processes that serve meanwhile, by their keeper's pid.
    pub beside: Option<u32>,
    /// How a question reaches it, and no other generation.
    pub reach: Reach,
    /// The name of this run of hotrun, in the app's environment.
    pub session: Arc<str>,
    /// Where it may say that it is ready.
    pub notify: PathBuf,
    /// A keeper that was started before it was needed.
    pub keeper: Option<Keeper>,
    /// Who hands on what is typed, if anybody.
    pub input: Option<Input>,
    /// How what it listens on is held, if it is.
    pub capture: Option<Captured>,
}

/// What an app room knows of a held socket.
#[derive(Clone, Debug)]
pub struct HeldSocket {
    /// Its name.
    pub name: Option<String>,
    /// Its address.
    pub address: Address,
    /// Its number in /proc.
    pub inode: u64,
}

/// What a generation is told.
#[derive(Debug)]
enum Order {
    Look,
    Signal(i32),
    Stop(i32),
    Kill,
}

/// The handle of a generation. Dropping it ends what it started.
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
            cut: 0,
            traced: None,
        };
        tokio::spawn(task.run(start, inbox));
        Self { orders, keeper }
    }

    /// Looks whether a debugger has attached to it, and tells.
    pub fn look(&self) {
        self.orders.send(Order::Look).ok();
    }

    /// Sends it a signal.
    pub fn signal(&self, number: i32) {
        self.orders.send(Order::Signal(number)).ok();
    }

    /// Asks it to end, by this signal.
    pub fn stop(&self, signal: i32) {
        self.orders.send(Order::Stop(signal)).ok();
    }

    /// Ends everything of it.
    pub fn kill(&self) {
        self.orders.send(Order::Kill).ok();
    }

    /// Nothing of it is left.
    pub fn is_gone(&self) -> bool {
        self.orders.is_closed()
    }

    /// The numbers in /proc of all sockets that its processes have open.
    pub fn open_sockets(&self) -> HashSet<u64> {
        self.keeper().map(sight::sockets).unwrap_or_default()
    }

    /// Finds out, when it is called, whether this signal would end it at once, as a program that serves
    /// these sockets. Blocking.
    pub fn is_ended_by(
        &self,
        signal: i32,
        sockets: HashSet<u64>,
    ) -> impl FnOnce() -> bool + Send + use<> {
        let keeper = self.keeper.clone();
        move || {
            let keeper = keeper.get().copied();
            keeper.is_some_and(|keeper| caught_signals::is_ended_by(keeper, signal, &sockets))
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
    /// Its open connections when it was killed.
    cut: usize,
    /// The process of it that has a debugger, and when to look again.
    traced: Option<(i32, Instant)>,
}

impl Task {
    fn tell(&self, news: AppNews) {
        self.events.send(Event::App(self.generation, news)).ok();
    }

    async fn run(mut self, start: Start, inbox: mpsc::UnboundedReceiver<Order>) {
        if let Err(error) = self.keep(start, inbox).await {
            self.tell(AppNews::CannotStart(format!(
                "cannot start a keeper: {error}\nhint: free some processes or descriptors (`ulimit -u`, \
                 `ulimit -n`)"
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
        let mut check = Check::new(&self.settings.app, &start);
        let Start {
            mut held,
            session,
            sockets,
            notify,
            keeper,
            input,
            mut capture,
            ..
        } = start;
        let mut listening = None;
        let (mut keeper, output) = keep_with(keeper, &launch, &sockets).await?;
        let terminal = output.terminal;
        let mut resized = terminal
            .as_ref()
            .map(|_| signal(SignalKind::window_change()));
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
                    // Nobody waits for an orderly end any more; the keeper sees ours.
                    None => return Ok(()),
                },
                news = keeper.next() => match news {
                    Some(News::Filtered(refused)) => {
                        let begun = Captured::begin(capture.take(), refused, &mut keeper);
                        match begun {
                            Begun::Desk(desk) => listening = Some(desk),
                            Begun::Without(reason) => self.tell(AppNews::Uncaptured(reason)),
                            Begun::Unanswered(problem) => {
                                self.tell(AppNews::CannotStart(problem));
                                keeper.order(&KeeperOrder::Kill).await;
                            }
                        }
                    }
                    Some(News::Started(pid)) => {
                        running = true;
                        check.started();
                        self.tell(AppNews::Started(pid));
                    }
                    Some(News::Failed { what, code }) => {
                        self.tell(AppNews::CannotStart(explain(&what, code)));
                    }
                    Some(News::Ready) => self.ready(&mut check, Proof::Notified),
                    Some(News::Suspended(suspended)) => {
                        check.suspended(suspended);
                        self.tell(AppNews::Suspended(suspended));
                    }
                    Some(News::Exited(ended)) => {
                        running = false;
                        drop(attached.take());
                        for pipe in [&mut stdout, &mut stderr] {
                            let lines = pipe.finish(self.generation, &sink);
                            self.printed(pipe.stream(), &lines, &mut check);
                        }
                        self.exited(ended.into(), check.lock());
                    }
                    Some(News::Gone { survivors: left }) => survivors = Some(left),
                    None => break,
                },
                Some(heard) = heard(&mut listening) => match heard {
                    Listening::Held { inode, address } => {
                        check.listening(inode, &address);
                        if !held.iter().any(|held| held.inode == inode) {
                            let name = None;
                            held.push(HeldSocket { name, address, inode });
                        }
                        self.tell(AppNews::Listening);
                    }
                    Listening::Not(address, reason) => {
                        self.tell(AppNews::Uncaptured(not_held(&address, &reason)));
                    }
                },
                found = check.find(keeper_pid), if running => match found {
                    Found::Proof(proof) => self.ready(&mut check, proof),
                    Found::Unclaimed(inodes) => self.unclaimed(&held, &inodes),
                    Found::Nothing => {}
                },
                () = later(self.traced) => self.look_again(keeper_pid),
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
            // The keeper itself was killed: what it kept has come to us.
            adopted::end(keeper_pid, &session, self.generation).await;
            std::fs::remove_file(&notify).ok();
            notify.parent().map(std::fs::remove_dir);
        }
        let survivors = survivors.unwrap_or_default();
        let cut = self.cut;
        // What is held for nobody else is refused from here on.
        drop(sockets);
        self.tell(AppNews::Gone { cut, survivors });
        Ok(())
    }

    async fn obey(&mut self, order: Order, keeper: &Keeper, held: &[HeldSocket]) {
        let order = match order {
            Order::Look => {
                self.look(keeper.pid);
                self.tell(AppNews::Traced(self.traced.map(|(pid, _)| pid)));
                return;
            }
            Order::Signal(number) => KeeperOrder::Signal(number),
            Order::Stop(signal) => KeeperOrder::Stop(signal),
            Order::Kill => {
                self.cut = sight::connections(keeper.pid, held);
                KeeperOrder::Kill
            }
        };
        keeper.order(&order).await;
    }

    /// Looks for a debugger; where there is one, again after a while.
    fn look(&mut self, keeper: u32) {
        let found = sight::traced(keeper);
        self.traced = found.map(|pid| (pid, Instant::now() + DEBUGGED));
    }

    /// Tells when the debugger that was found has gone.
    fn look_again(&mut self, keeper: u32) {
        self.look(keeper);
        if self.traced.is_none() {
            self.tell(AppNews::Traced(None));
        }
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

    fn exited(&mut self, exit: Exit, lock: Option<String>) {
        let last_lines = self.last_lines.drain(..).collect();
        self.tell(AppNews::Exited {
            exit,
            last_lines,
            lock,
        });
    }

    /// Looks at what the app wrote: for the awaited line, and for a reason why it may end.
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

/// Waits until it is time to look again; for ever where there is nothing to look for.
async fn later(traced: Option<(i32, Instant)>) {
    match traced {
        Some((_, at)) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Waits for the next signal; for ever where nobody listens for it.
async fn next(signals: &mut Option<std::io::Result<Signal>>) {
    match signals {
        Some(Ok(signals)) => _ = signals.recv().await,
        Some(Err(_)) | None => std::future::pending().await,
    }
}

/// Has a keeper start it: the prepared one, or a new one where there is none that still lives.
async fn keep_with(
    prepared: Option<Keeper>,
    launch: &Launch,
    sockets: &[Arc<OwnedFd>],
) -> std::io::Result<(Keeper, Output)> {
    if let Some(keeper) = prepared
        && let Ok(output) = keeper.launch(launch.clone(), sockets).await
    {
        return Ok((keeper, output));
    }
    let keeper = Keeper::spawn(Mode::Tree)?;
    let output = keeper.launch(launch.clone(), sockets).await?;
    Ok((keeper, output))
}

/// What the keeper starts: what `cargo run` would, and what is ours on top.
fn launch(start: &Start, settings: &Settings) -> Launch {
    let surroundings = &start.artifact.surroundings;
    let mut env: Vec<(OsString, OsString)> = surroundings
        .env
        .iter()
        .filter(|(key, _)| !activation::SCRUBBED.iter().any(|name| key == name))
        .cloned()
        .collect();
    env.extend(settings.app.env.iter().cloned());
    if settings.output.color {
        env.extend(["CLICOLOR_FORCE", "FORCE_COLOR"].map(|key| (key.into(), "1".into())));
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
        // A runner is told the path of the program, as cargo does.
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

/// Why a program could not be started, with the next step.
fn explain(what: &str, code: Option<i32>) -> String {
    let hint = match code {
        Some(nix::libc::EACCES) => {
            "the target directory may be mounted `noexec`: choose another one with --target-dir"
        }
        Some(nix::libc::ENOEXEC) => {
            "it is built for another system: set `target.<triple>.runner` in .cargo/config.toml"
        }
        Some(nix::libc::ENOENT) => {
            "the program, its directory, its runner or its dynamic loader is missing"
        }
        _ => return what.to_owned(),
    };
    format!("{what}\nhint: {hint}")
}
