//! Runs a command to its end under a keeper: cargo or a command of the user. Passes its lines on as they
//! come; a cancel leaves none of its processes running.

use std::ffi::OsString;
use std::io;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::defect;
use crate::keeper::Mode;
use crate::keeper::client::{Keeper, Output, take_rest};
use crate::keeper::protocol::{Launch, News, Order};
use crate::lines::{Lines, Stream};
use crate::session::model::Exit;
use crate::session::reason::Reason;
use crate::sink::Backlog;

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

/// Runs `launch` to its end, and passes its output on in pieces that end in a newline or a carriage
/// return.
pub(crate) async fn run(
    launch: Launch,
    cancel: &mut Cancel,
    piece: impl FnMut(Stream, &str) -> After,
) -> Result<Exit, Stopped> {
    let (exit, _) = run_until_enough(launch, cancel, piece).await?;
    Ok(exit)
}

/// The same, with the task of the command if that has not exited yet.
pub(crate) async fn run_until_enough(
    launch: Launch,
    cancel: &mut Cancel,
    mut piece: impl FnMut(Stream, &str) -> After,
) -> Result<(Exit, Option<Rest>), Stopped> {
    let failed = |error: io::Error| {
        Stopped::Failed(Reason::new(
            format!("cannot start a keeper: {error}"),
            "free some processes or descriptors (`ulimit -u`, `ulimit -n`)",
        ))
    };
    let program = launch.program.clone();
    let mut keeper = Keeper::spawn(Mode::Group).map_err(failed)?;
    let mut output = keeper.launch(launch, &[]).await.map_err(failed)?;
    let (mut stdout, mut stderr) = (Reader::new(Stream::Stdout), Reader::new(Stream::Stderr));
    let mut exit = None;
    let mut problem = None;
    let mut is_cancelled = false;
    let mut group = None;
    loop {
        let after = tokio::select! {
            biased;
            () = async { _ = cancel.wait_for(|cancelled| *cancelled).await }, if !is_cancelled => {
                is_cancelled = true;
                keeper.order(&Order::Kill).await;
                After::GoOn
            }
            () = stdout.read_with_room(&mut output.stdout), if stdout.open => stdout.pieces(&mut piece),
            () = stderr.read_with_room(&mut output.stderr), if stderr.open => stderr.pieces(&mut piece),
            news = keeper.next() => {
                match news {
                    Some(News::Started(pid)) => group = i32::try_from(pid).ok().map(Pid::from_raw),
                    Some(News::Exited(ended)) => exit = Some(Exit::from(ended)),
                    Some(News::Failed { what, code }) => {
                        problem = Some(explain(&program, what, code));
                    }
                    Some(_) => {}
                    None => break,
                }
                After::GoOn
            }
        };
        if matches!(after, After::Enough) && !is_cancelled {
            stderr.drain(&output.stderr);
            stderr.pieces(&mut piece);
            let rest = defect::spawn("end of cargo", let_end(keeper, output));
            return Ok((Exit::Status(0), Some(rest)));
        }
    }
    // The keeper itself was killed, and its children were reparented to hotrun.
    if let Some(group) = group.filter(|_| exit.is_none()) {
        killpg(group, Signal::SIGKILL).ok();
    }
    for (reader, pipe) in [(&mut stdout, &output.stdout), (&mut stderr, &output.stderr)] {
        reader.drain(pipe);
        reader.pieces(&mut piece);
        reader.rest(&mut piece);
    }
    if is_cancelled {
        return Err(Stopped::Cancelled);
    }
    match problem {
        Some(problem) => Err(Stopped::Failed(problem)),
        None => Ok((exit.unwrap_or(Exit::Unknown), None)),
    }
}

/// Keeps a command's pipes open until it has exited.
async fn let_end(mut keeper: Keeper, mut output: Output) {
    defect::point("end of cargo");
    let (mut stdout, mut stderr) = (tokio::io::sink(), tokio::io::sink());
    // A process that inherited the pipes may keep them open for longer; its output is not wanted.
    let ended = async { while keeper.next().await.is_some() {} };
    let written = async {
        let _ = tokio::join!(
            tokio::io::copy(&mut output.stdout, &mut stdout),
            tokio::io::copy(&mut output.stderr, &mut stderr),
        );
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = ended => {}
        () = written => {}
    }
}

/// Why a command could not be started, with the next step.
fn explain(program: &OsString, what: String, code: Option<i32>) -> Reason {
    if code == Some(nix::libc::ENOENT) && program == "cargo" {
        return Reason::new(
            "cargo was not found",
            "install Rust, or put cargo's directory into PATH",
        );
    }
    what.into()
}

/// One output pipe, read in pieces.
struct Reader {
    stream: Stream,
    lines: Lines,
    open: bool,
}

impl Reader {
    fn new(stream: Stream) -> Self {
        Self {
            stream,
            lines: Lines::default(),
            open: true,
        }
    }

    /// Reads once there is room in the printer's backlog, so that a command that writes more is slowed
    /// down. Safe to drop while it waits.
    async fn read_with_room(&mut self, pipe: &mut pipe::Receiver) {
        Backlog::own().room().await;
        let read = pipe.read_buf(self.lines.buffer()).await;
        self.open = matches!(read, Ok(1..));
    }

    /// Reads what is in the pipe after the writer has exited; a process that inherited the pipe may keep
    /// it open for ever.
    fn drain(&mut self, pipe: &pipe::Receiver) {
        while let Ok(1..) = take_rest(pipe, self.lines.buffer()) {}
    }

    /// Passes every whole piece on.
    fn pieces(&mut self, piece: &mut impl FnMut(Stream, &str) -> After) -> After {
        let mut after = After::GoOn;
        while let Some(bytes) = self.lines.piece() {
            if let After::Enough = piece(self.stream, &String::from_utf8_lossy(&bytes)) {
                after = After::Enough;
            }
        }
        after
    }

    fn rest(&mut self, piece: &mut impl FnMut(Stream, &str) -> After) {
        let bytes = self.lines.rest();
        if !bytes.is_empty() {
            piece(self.stream, &String::from_utf8_lossy(&bytes));
        }
    }
}
