//! Hotrun's end of a keeper: spawning it, sending orders, receiving news.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

use super::protocol::{Frames, Input, Launch, News, Order, encode};
use super::terminal::{self, Terminal};
use super::{ARGUMENT, Mode};
use crate::defect;
use crate::sys;

/// A keeper and the processes below it. Dropped, it ends them: the keeper sees the end of its socket.
#[derive(Debug)]
pub struct Keeper {
    /// The keeper's pid, which is also its session's: the parent of what it starts.
    pub pid: u32,
    socket: UnixStream,
    frames: Frames,
    /// Descriptors that came with its news.
    received: Vec<OwnedFd>,
}

/// Hotrun's ends of a child's stdio.
#[derive(Debug)]
pub struct Output {
    /// The reading end of its stdout.
    pub stdout: pipe::Receiver,
    /// The reading end of its stderr; nothing arrives here if it has a terminal.
    pub stderr: pipe::Receiver,
    /// The writing end of its stdin, if it has any.
    pub stdin: Option<pipe::Sender>,
    /// Its terminal, if it has one.
    pub terminal: Option<Terminal>,
}

impl Keeper {
    /// Spawns a keeper without a child. Must be called inside the runtime.
    pub fn spawn(mode: Mode) -> io::Result<Self> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let child = Command::new("/proc/self/exe")
            .arg0("hotrun")
            .args([ARGUMENT, mode.name()])
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let socket = UnixStream::from_std(ours)?;
        Ok(Self {
            pid: child.id(),
            socket,
            frames: Frames::default(),
            received: Vec::new(),
        })
    }

    /// Orders it to start `launch` with these sockets; its first news is the answer.
    pub async fn launch(&self, launch: Launch, sockets: &[Arc<OwnedFd>]) -> io::Result<Output> {
        let (theirs, output) = match launch.input {
            Input::Terminal => at_terminal()?,
            input => at_pipes(input == Input::Pipe)?,
        };
        let mut descriptors: Vec<RawFd> = theirs.iter().map(AsRawFd::as_raw_fd).collect();
        descriptors.extend(sockets.iter().map(AsRawFd::as_raw_fd));
        self.send(&Order::Launch(Box::new(launch)), &descriptors)
            .await?;
        Ok(output)
    }

    /// Sends an order, unless the keeper has exited.
    pub async fn order(&self, order: &Order) {
        self.send(order, &[]).await.ok();
    }

    async fn send(&self, order: &Order, descriptors: &[RawFd]) -> io::Result<()> {
        let frame = encode(order);
        let mut sent = 0;
        while sent < frame.len() {
            let descriptors = if sent == 0 { descriptors } else { &[] };
            sent += self
                .socket
                .async_io(Interest::WRITABLE, || {
                    sys::send(self.socket.as_fd(), &frame[sent..], descriptors)
                })
                .await?;
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
            let socket = &self.socket;
            let receive = || sys::receive(socket.as_fd(), &mut buffer);
            let received = socket.async_io(Interest::READABLE, receive).await;
            let Ok((count @ 1.., descriptors)) = received else {
                return None;
            };
            self.frames.push(&buffer[..count]);
            self.received.extend(descriptors);
        }
    }

    /// The descriptor that came with the last news.
    pub fn take_descriptor(&mut self) -> Option<OwnedFd> {
        self.received.pop()
    }
}

/// Reads a part of what is left in a pipe after its writer has exited. Returns the number of bytes;
/// `WouldBlock` if it is empty and another process still has the writing end open.
///
/// Not by tokio's `try_read`: that reads only if the runtime has seen the pipe become readable, which
/// may come after the news of the exit.
pub fn take_rest(pipe: &pipe::Receiver, to: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0; 16 * 1024];
    let count = nix::unistd::read(pipe, &mut buffer)?;
    to.extend_from_slice(&buffer[..count]);
    Ok(count)
}

/// Pipes, with the child's ends: stdin if it gets one, stdout and stderr.
fn at_pipes(reads: bool) -> io::Result<(Vec<OwnedFd>, Output)> {
    let (stdout_writer, stdout) = pipe::pipe()?;
    let (stderr_writer, stderr) = pipe::pipe()?;
    let mut theirs = Vec::new();
    let mut stdin = None;
    if reads {
        let (writer, reader) = pipe::pipe()?;
        theirs.push(reader.into_blocking_fd()?);
        stdin = Some(writer);
    }
    theirs.push(stdout_writer.into_blocking_fd()?);
    theirs.push(stderr_writer.into_blocking_fd()?);
    let output = Output {
        stdout,
        stderr,
        stdin,
        terminal: None,
    };
    Ok((theirs, output))
}

/// A terminal, which the child gets as stdin, stdout and stderr.
fn at_terminal() -> io::Result<(Vec<OwnedFd>, Output)> {
    let (ours, theirs) = terminal::open()?;
    let stdout = pipe::Receiver::from_owned_fd_unchecked(ours.copy()?)?;
    let stdin = pipe::Sender::from_owned_fd_unchecked(ours.copy()?)?;
    let (_, stderr) = pipe::pipe()?;
    let theirs = vec![theirs.try_clone()?, theirs.try_clone()?, theirs];
    let output = Output {
        stdout,
        stderr,
        stdin: Some(stdin),
        terminal: Some(ours),
    };
    Ok((theirs, output))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// The runtime has no chance to see the pipe become readable in between.
    #[tokio::test]
    async fn the_rest_is_read_even_if_the_runtime_has_not_seen_it() {
        let (writer, reader) = pipe::pipe().unwrap();
        let mut writer = std::fs::File::from(writer.into_blocking_fd().unwrap());
        writer.write_all(b"last ").unwrap();
        writer.write_all(b"words").unwrap();
        let mut taken = Vec::new();
        assert_eq!(take_rest(&reader, &mut taken).unwrap(), 10);
        assert_eq!(taken, b"last words");
        let nothing = take_rest(&reader, &mut taken).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        drop(writer);
        assert_eq!(take_rest(&reader, &mut taken).unwrap(), 0);
    }
}
