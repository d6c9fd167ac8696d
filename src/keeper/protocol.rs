//! What hotrun and a keeper say to each other: one JSON value per frame, a length before each.

use std::ffi::OsString;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::session::model::Exit;

/// What a keeper is to start. Paths are `OsString`s, since serde takes only paths
/// that are text. The descriptors come with it: stdin unless it is nothing, stdout, stderr, then
/// the sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// A path, or a name that is looked for in the `PATH` of `env`.
    pub program: OsString,
    /// `argv[0]`.
    pub argv0: OsString,
    /// The arguments after it.
    pub args: Vec<OsString>,
    /// The whole environment, but `LISTEN_PID`, which only the child can know.
    pub env: Vec<(OsString, OsString)>,
    /// The working directory.
    pub dir: OsString,
    /// Where to listen for `READY=1` (`sd_notify(3)`); the keeper makes and removes it.
    pub notify: Option<OsString>,
    /// Without that it is not to be started at all.
    pub must_notify: bool,
    /// What it reads.
    pub input: Input,
    /// The filter of system calls that it is started under (code, both jumps, constant); none where
    /// this is empty.
    pub filter: Vec<(u16, u8, u8, u32)>,
}

/// What the child's stdin is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// /dev/null.
    #[default]
    Nothing,
    /// A pipe.
    Pipe,
    /// A terminal, which is its stdout and stderr as well, and its controlling one.
    Terminal,
}

/// From hotrun to the keeper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Start this; the first order.
    Launch(Box<Launch>),
    /// Send this signal to the process group.
    Signal(i32),
    /// Ask the process group to end by this signal; one that is stopped is continued, or it could
    /// not react.
    Stop(i32),
    /// End everything now.
    Kill,
}

/// From the keeper to hotrun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum News {
    /// Before it runs: it is under its filter, and the descriptor at which its calls wait comes with
    /// this; or the system has refused that, with this error number.
    Filtered(Option<i32>),
    /// The child runs, with this pid.
    Started(u32),
    /// It does not: the error number of the system, if there is one, and its words.
    Failed {
        /// `errno`.
        code: Option<i32>,
        /// What was tried, and the system's words.
        what: String,
    },
    /// It said `READY=1`.
    Ready,
    /// It was stopped by a signal, or continued.
    Suspended(bool),
    /// It ended.
    Exited(Ended),
    /// Nothing is left; the last message.
    Gone {
        /// Processes that could not be ended.
        survivors: Vec<i32>,
    },
}

/// [`Exit`] on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// With this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
    /// In a way the system had no words for.
    Unknown,
}

impl From<Ended> for Exit {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Status(code) => Self::Status(code),
            Ended::Signal(number) => Self::Signal(number),
            Ended::Unknown => Self::Unknown,
        }
    }
}

/// Bytes of the length before each frame.
const PREFIX: usize = size_of::<u32>();

/// One message as a frame. Our own types always serialize, and a launch is far below 4 GiB.
pub fn encode(message: &impl Serialize) -> Vec<u8> {
    let mut frame = vec![0; PREFIX];
    serde_json::to_writer(&mut frame, message).unwrap_or_default();
    let length = u32::try_from(frame.len() - PREFIX).unwrap_or_default();
    frame[..PREFIX].copy_from_slice(&length.to_le_bytes());
    frame
}

/// Bytes as they come in, whole messages out.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Where to read to.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The next whole message. Both ends are the same program, so one that can't be read is
    /// passed over.
    pub fn message<T: DeserializeOwned>(&mut self) -> Option<T> {
        loop {
            let prefix = self.bytes.first_chunk::<PREFIX>()?;
            let end = PREFIX + u32::from_le_bytes(*prefix) as usize;
            let frame = self.bytes.get(PREFIX..end)?;
            let message = serde_json::from_slice(frame);
            self.bytes.drain(..end);
            if let Ok(message) = message {
                return Some(message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn messages_survive_any_cut_and_any_bytes() {
        let launch = Launch {
            program: "/bin/true".into(),
            env: vec![("KEY".into(), OsStr::from_bytes(b"\xff=\n").into())],
            ..Launch::default()
        };
        let orders = [
            Order::Signal(15),
            Order::Launch(Box::new(launch)),
            Order::Kill,
        ];
        let bytes: Vec<u8> = orders.iter().flat_map(encode).collect();
        for cut in 0..bytes.len() {
            let mut frames = Frames::default();
            let mut seen = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                frames.push(part);
                while let Some(order) = frames.message::<Order>() {
                    seen.push(order);
                }
            }
            assert_eq!(seen, orders, "cut at {cut}");
        }
    }
}
