//! Hotrun's end of a keeper: spawning it, sending orders, receiving news.

use std::io;
use std::sync::Arc;

use socket2::Socket;

use super::protocol::{Frames, Input, Launch, News, Order, encode};
use super::{ARGUMENT, Mode};
use crate::defect;
use crate::sys::pipes::{self, Receiver, Sender};
use crate::sys::{self, Channel, Handle, Terminal};

/// A keeper and the processes below it. Dropped, it ends them: the keeper sees the end of its socket.
#[derive(Debug)]
pub struct Keeper {
    /// The keeper's pid, which is also its session's: the parent of what it starts.
    pub pid: u32,
    channel: Channel,
    frames: Frames,
    /// Handles that came with its news.
    received: Vec<Handle>,
}

/// Hotrun's ends of a child's stdio.
#[derive(Debug)]
pub struct Output {
    /// The reading end of its stdout.
    pub stdout: Receiver,
    /// The reading end of its stderr; nothing arrives here if it has a terminal.
    pub stderr: Receiver,
    /// The writing end of its stdin, if it has any.
    pub stdin: Option<Sender>,
    /// Its terminal, if it has one.
    pub terminal: Option<Terminal>,
}

impl Keeper {
    /// Spawns a keeper without a child. Must be called inside the runtime.
    pub fn spawn(mode: Mode) -> io::Result<Self> {
        let (channel, pid) = Channel::start(sys::own_command().args([ARGUMENT, mode.name()]))?;
        // Before it has an order, and so before it has a child. If that fails, the limit is a higher one.
        sys::restore_open_files(pid).ok();
        Ok(Self {
            pid,
            channel,
            frames: Frames::default(),
            received: Vec::new(),
        })
    }

    /// Starts `launch` with these sockets under the prepared keeper if that still lives, else under a new
    /// one; its first news is the answer. Must be called inside the runtime.
    pub async fn start(
        prepared: Option<Self>,
        mode: Mode,
        launch: Launch,
        sockets: &[Arc<Socket>],
    ) -> io::Result<(Self, Output)> {
        if let Some(keeper) = prepared
            && let Ok(output) = keeper.launch(launch.clone(), sockets).await
        {
            return Ok((keeper, output));
        }
        let keeper = Self::spawn(mode)?;
        let output = keeper.launch(launch, sockets).await?;
        Ok((keeper, output))
    }

    /// Orders it to start `launch` with these sockets; its first news is the answer.
    pub async fn launch(&self, launch: Launch, sockets: &[Arc<Socket>]) -> io::Result<Output> {
        let (theirs, output) = match launch.input {
            Input::Terminal => at_terminal()?,
            input => at_pipes(input == Input::Pipe)?,
        };
        self.send(&Order::Launch(Box::new(launch)), &theirs, sockets)
            .await?;
        Ok(output)
    }

    /// Sends an order, unless the keeper has exited.
    pub async fn order(&self, order: &Order) {
        self.send(order, &[], &[]).await.ok();
    }

    async fn send(
        &self,
        order: &Order,
        handles: &[Handle],
        sockets: &[Arc<Socket>],
    ) -> io::Result<()> {
        let frame = encode(order);
        let mut sent = self.channel.send(&frame, handles, sockets).await?;
        while sent < frame.len() {
            sent += self.channel.send(&frame[sent..], &[], &[]).await?;
        }
        Ok(())
    }

    /// Receives the next news; `None` once it has exited. Safe to drop while it waits.
    pub async fn next(&mut self) -> Option<News> {
        loop {
            match self.frames.message() {
                Some(News::Defect(defect)) => {
                    defect::report(&defect);
                    continue;
                }
                Some(news) => return Some(news),
                None => {}
            }
            let mut buffer = [0; 4096];
            let received = self.channel.receive(&mut buffer).await;
            let Ok((count @ 1.., handles)) = received else {
                return None;
            };
            self.frames.push(&buffer[..count]);
            self.received.extend(handles);
        }
    }

    /// The handle that came with the last news.
    pub fn take_handle(&mut self) -> Option<Handle> {
        self.received.pop()
    }
}

/// Pipes, with the child's ends: stdin if it gets one, stdout and stderr.
fn at_pipes(reads: bool) -> io::Result<(Vec<Handle>, Output)> {
    let (stdout, their_stdout) = pipes::from_child()?;
    let (stderr, their_stderr) = pipes::from_child()?;
    let mut theirs = Vec::new();
    let mut stdin = None;
    if reads {
        let (ours, their_stdin) = pipes::to_child()?;
        theirs.push(their_stdin);
        stdin = Some(ours);
    }
    theirs.extend([their_stdout, their_stderr]);
    let output = Output {
        stdout,
        stderr,
        stdin,
        terminal: None,
    };
    Ok((theirs, output))
}

/// A terminal, which the child gets as stdin, stdout and stderr.
fn at_terminal() -> io::Result<(Vec<Handle>, Output)> {
    let (ours, theirs) = sys::open_terminal()?;
    let (stderr, _) = pipes::from_child()?;
    let output = Output {
        stdout: ours.output()?,
        stderr,
        stdin: Some(ours.input()?),
        terminal: Some(ours),
    };
    let theirs = vec![theirs.try_clone()?, theirs.try_clone()?, theirs];
    Ok((theirs, output))
}
