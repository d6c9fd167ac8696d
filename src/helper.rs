//! A command under a keeper: cargo, a command of the user, or the hotrun that is verified. Its output and
//! its end are one stream of events, or passed on until it ends; a cancel leaves none of its processes
//! running.

use std::ffi::OsString;
use std::io;
use std::sync::Arc;

use socket2::Socket;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::defect;
use crate::keeper::Mode;
use crate::keeper::client::{Keeper, Output};
use crate::keeper::protocol::{Launch, News, Order};
use crate::lines::{Lines, Stream};
use crate::session::model::{Exit, Line};
use crate::session::reason::Reason;
use crate::sink::{LineRoom, room_for_line};
use crate::sys::pipes::{Receiver, take_rest};
use crate::sys::signals;

/// Why a command has no exit status.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// It was cancelled, and none of its processes is left.
    Cancelled,
    /// It could not be run, for this reason.
    Failed(Reason),
}

impl Stopped {
    /// A panic of hotrun ended it.
    pub(crate) fn by_defect(panic: &str) -> Self {
        Self::Failed(defect::reason("the command was not run to its end", panic))
    }
}

/// Becomes true when the command is to be cancelled.
pub(crate) type Cancel = watch::Receiver<bool>;

/// What to do after a piece of output.
pub(crate) enum After {
    /// Go on.
    GoOn,
    /// Return without waiting for the exit: the output has all that was wanted.
    Enough,
}

/// The task of a command that is still exiting.
pub(crate) type Rest = JoinHandle<Result<(), String>>;

/// What a command does.
#[derive(Debug)]
pub(crate) enum CommandEvent {
    /// It wrote a piece that ends in a newline or a carriage return, or its last words; with the room
    /// for it on its way to the printer, which the last pieces don't wait for.
    Output(Stream, Vec<u8>, Option<LineRoom>),
    /// Its first process exited.
    Exited(Exit),
    /// It could not be started.
    CannotStart {
        /// The errno, if there is one.
        code: Option<i32>,
        /// What was tried, and the error message.
        what: String,
    },
    /// It could not be started, since this directory is not there.
    NoDirectory(String),
}

/// A keeper that waits for the command of a later moment. Without one, the start of that takes a millisecond
/// or two longer.
#[derive(Debug)]
pub(crate) struct Prepared(Keeper);

impl Prepared {
    /// `None`: none can be had, of which the command will tell. Must be called inside the runtime.
    pub(crate) fn new() -> Option<Self> {
        Keeper::spawn(Mode::Group).ok().map(Self)
    }
}

/// A command under a keeper. Dropped, it is ended.
#[derive(Debug)]
pub(crate) struct Running {
    keeper: Keeper,
    output: Output,
    readers: [Reader; 2],
    /// Its first process, which leads its process group, until that exits.
    pid: Option<u32>,
    is_gone: bool,
}

impl Running {
    /// Starts a command with these sockets. Must be called inside the runtime.
    pub(crate) async fn start(
        prepared: Option<Prepared>,
        launch: Launch,
        sockets: &[Arc<Socket>],
    ) -> io::Result<Self> {
        let prepared = prepared.map(|Prepared(keeper)| keeper);
        let (keeper, output) = Keeper::start(prepared, Mode::Group, launch, sockets).await?;
        Ok(Self {
            keeper,
            output,
            readers: [Stream::Stdout, Stream::Stderr].map(Reader::new),
            pid: None,
            is_gone: false,
        })
    }

    /// The next event; `None` once all of it was told and none of its processes is left. Safe to drop
    /// while it waits.
    pub(crate) async fn next(&mut self) -> Option<CommandEvent> {
        loop {
            if self.is_gone {
                return self.last_piece();
            }
            let [stdout, stderr] = &mut self.readers;
            let piece = tokio::select! {
                biased;
                // First, since a process that it left behind may write without end.
                news = self.keeper.next() => match news {
                    Some(News::Started(pid)) => {
                        self.pid = Some(pid);
                        None
                    }
                    Some(News::Exited(exit)) => {
                        self.pid = None;
                        return Some(CommandEvent::Exited(exit));
                    }
                    Some(News::Failed { code, what }) => {
                        return Some(CommandEvent::CannotStart { code, what });
                    }
                    Some(News::NoDirectory(dir)) => return Some(CommandEvent::NoDirectory(dir)),
                    Some(_) => None,
                    None => {
                        self.gone();
                        None
                    }
                },
                piece = stdout.go_on(&mut self.output.stdout) => piece,
                piece = stderr.go_on(&mut self.output.stderr) => piece,
            };
            if piece.is_some() {
                return piece;
            }
        }
    }

    /// The next piece of what is left, once its processes have ended.
    fn last_piece(&mut self) -> Option<CommandEvent> {
        let piece = self.readers.iter_mut().find_map(Reader::piece);
        piece.or_else(|| self.readers.iter_mut().find_map(Reader::rest))
    }

    /// The keeper has ended.
    fn gone(&mut self) {
        self.is_gone = true;
        // It was killed itself, and its children were reparented to hotrun.
        if let Some(group) = self.pid.take() {
            signals::send_to_group(group, signals::KILL);
        }
        self.drain();
    }

    /// Reads what is in the pipes; a process that inherited them may keep them open for ever.
    fn drain(&mut self) {
        let pipes = [&self.output.stdout, &self.output.stderr];
        for (pipe, reader) in pipes.into_iter().zip(&mut self.readers) {
            while let Ok(1..) = take_rest(pipe, reader.lines.buffer()) {}
        }
    }

    /// Signals its first process, if that runs.
    pub(crate) fn signal(&self, number: i32) {
        if let Some(pid) = self.pid {
            signals::send(pid, number);
        }
    }

    /// Gives its keeper an order.
    pub(crate) async fn order(&self, order: &Order) {
        self.keeper.order(order).await;
    }

    /// Keeps its pipes open until it has exited.
    async fn let_end(mut self) {
        defect::point("end of cargo");
        let (mut stdout, mut stderr) = (tokio::io::sink(), tokio::io::sink());
        // A process that inherited the pipes may keep them open for longer; its output is not wanted.
        let ended = async { while self.keeper.next().await.is_some() {} };
        let written = async {
            let _ = tokio::join!(
                tokio::io::copy(&mut self.output.stdout, &mut stdout),
                tokio::io::copy(&mut self.output.stderr, &mut stderr),
            );
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = ended => {}
            () = written => {}
        }
    }
}

/// Runs `launch` to its end, and passes its output on in pieces.
pub(crate) async fn run(
    launch: Launch,
    cancel: &mut Cancel,
    piece: impl FnMut(Stream, &Line) -> After,
) -> Result<Exit, Stopped> {
    let (exit, _) = run_until_enough(None, launch, cancel, piece).await?;
    Ok(exit)
}

/// The same, also with the task of the command if that has not exited yet.
pub(crate) async fn run_until_enough(
    prepared: Option<Prepared>,
    launch: Launch,
    cancel: &mut Cancel,
    mut piece: impl FnMut(Stream, &Line) -> After,
) -> Result<(Exit, Option<Rest>), Stopped> {
    let mut piece = |stream, bytes: &[u8], room: Option<LineRoom>| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        piece(stream, &Line::new(text, room))
    };
    let failed = |error: io::Error| {
        Stopped::Failed(Reason::new(
            format!("cannot start a keeper: {error}"),
            "free some processes or descriptors (`ulimit -u`, `ulimit -n`)",
        ))
    };
    let program = launch.program.clone();
    let mut command = Running::start(prepared, launch, &[])
        .await
        .map_err(failed)?;
    let mut ended = Ok(Exit::Unknown);
    let mut is_cancelled = false;
    loop {
        let event = tokio::select! {
            biased;
            () = async { _ = cancel.wait_for(|cancelled| *cancelled).await }, if !is_cancelled => {
                is_cancelled = true;
                command.order(&Order::Kill).await;
                continue;
            }
            event = command.next() => event,
        };
        match event {
            Some(CommandEvent::Output(stream, bytes, room)) => {
                if matches!(piece(stream, &bytes, room), After::Enough) && !is_cancelled {
                    command.drain();
                    while let Some(CommandEvent::Output(stream, bytes, room)) =
                        command.readers.iter_mut().find_map(Reader::piece)
                    {
                        piece(stream, &bytes, room);
                    }
                    let rest = defect::spawn("end of cargo", command.let_end());
                    return Ok((Exit::Status(0), Some(rest)));
                }
            }
            Some(CommandEvent::Exited(exit)) => ended = Ok(exit),
            Some(CommandEvent::CannotStart { code, what }) => {
                ended = Err(Stopped::Failed(explain(&program, what, code)));
            }
            Some(CommandEvent::NoDirectory(dir)) => {
                ended = Err(Stopped::Failed(Reason::new(
                    format!("the directory `{dir}` is gone"),
                    "put it back, and hotrun builds what is in it; or end hotrun",
                )));
            }
            None if is_cancelled => return Err(Stopped::Cancelled),
            None => return Ok((ended?, None)),
        }
    }
}

/// Why a command could not be started, with the next step.
fn explain(program: &OsString, what: String, code: Option<i32>) -> Reason {
    let kind = code.map(|code| io::Error::from_raw_os_error(code).kind());
    if kind == Some(io::ErrorKind::NotFound) && program == "cargo" {
        return Reason::new(
            "cargo was not found",
            "install Rust, or put cargo's directory into PATH",
        );
    }
    what.into()
}

/// One output pipe, read in pieces.
#[derive(Debug)]
struct Reader {
    stream: Stream,
    lines: Lines,
    /// A whole piece that waits for room.
    ready: Option<Vec<u8>>,
    open: bool,
}

impl Reader {
    fn new(stream: Stream) -> Self {
        Self {
            stream,
            lines: Lines::default(),
            ready: None,
            open: true,
        }
    }

    /// Waits until there is room for the next whole piece, and returns it; without one, reads. Safe to
    /// drop while it waits.
    async fn go_on(&mut self, pipe: &mut Receiver) -> Option<CommandEvent> {
        self.ready = self.ready.take().or_else(|| self.lines.piece());
        if self.ready.is_some() {
            let room = room_for_line().await;
            let piece = self.ready.take()?;
            return Some(CommandEvent::Output(self.stream, piece, room));
        }
        if !self.open {
            return std::future::pending().await;
        }
        let read = pipe.read_buf(self.lines.buffer()).await;
        self.open = matches!(read, Ok(1..));
        None
    }

    /// The next whole piece that was read, without room.
    fn piece(&mut self) -> Option<CommandEvent> {
        let piece = self.ready.take().or_else(|| self.lines.piece())?;
        Some(CommandEvent::Output(self.stream, piece, None))
    }

    /// What was read of a piece that has no end.
    fn rest(&mut self) -> Option<CommandEvent> {
        let rest = self.lines.rest();
        (!rest.is_empty()).then_some(CommandEvent::Output(self.stream, rest, None))
    }
}
