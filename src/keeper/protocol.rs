//! The protocol between hotrun and a keeper: messages in the `postcard` format, each after its length.

use std::ffi::OsString;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::defect::Defect;
use crate::session::model::Exit;
use crate::sys::calls::FilterStep;

/// What a keeper is to start. Paths are `OsString`s, since serde accepts only paths that are UTF-8. Its
/// descriptors come with it: stdin if it has one, stdout, stderr, then the sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// A path, or a name that is looked for in the `PATH` of `env`.
    pub program: OsString,
    /// `argv[0]`.
    pub argv0: OsString,
    /// The arguments after it.
    pub args: Vec<OsString>,
    /// The whole environment, except `LISTEN_PID`, which only the child knows.
    pub env: Vec<(OsString, OsString)>,
    /// The working directory.
    pub dir: OsString,
    /// The path of the `NOTIFY_SOCKET` (`sd_notify(3)`), which the keeper creates and removes.
    pub notify: Option<OsString>,
    /// The app is not started if that socket can't be created.
    pub must_notify: bool,
    /// Its stdin.
    pub input: Input,
    /// The filter of system calls that it is started under; none if empty.
    pub filter: Vec<FilterStep>,
}

/// What the child's stdin is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// /dev/null.
    #[default]
    Nothing,
    /// A pipe.
    Pipe,
    /// A terminal, which is also its stdout and stderr, and its controlling terminal.
    Terminal,
}

/// A message from hotrun to the keeper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Start a child; the first order.
    Launch(Box<Launch>),
    /// Send a signal to the process group.
    Signal(i32),
    /// Ask the process group to end with this signal; a stopped one is continued, since it could not
    /// react.
    Stop(i32),
    /// Kill everything now.
    Kill,
}

/// A message from the keeper to hotrun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum News {
    /// Sent before [`News::Started`]: the child is under its filter, whose notification descriptor comes
    /// with this; or the kernel has refused the filter with this errno.
    Filtered(Option<i32>),
    /// The child runs, with this pid.
    Started(u32),
    /// The child could not be started.
    Failed {
        /// The errno, if there is one.
        code: Option<i32>,
        /// What was tried, and the error message.
        what: String,
    },
    /// The child could not be started: its working directory is not there.
    NoDirectory(String),
    /// The child sent `READY=1`.
    Ready,
    /// The child has fetched the sockets that it was offered.
    Fetched,
    /// The child was stopped by a signal, or continued.
    Suspended(bool),
    /// The child exited.
    Exited(Exit),
    /// The keeper has panicked, and goes on.
    Defect(Defect),
    /// No process is left; the last message.
    Gone {
        /// Processes that could not be killed.
        survivors: Vec<i32>,
    },
}

/// The bytes of the length before each frame.
const PREFIX: usize = size_of::<u32>();

/// Encodes one message as a frame. The message types always serialize, and a launch is far below 4 GiB.
pub fn encode(message: &impl Serialize) -> Vec<u8> {
    let frame = vec![0; PREFIX];
    let mut frame = postcard::to_extend(message, frame).unwrap_or_else(|_| vec![0; PREFIX]);
    let length = u32::try_from(frame.len() - PREFIX).unwrap_or_default();
    frame[..PREFIX].copy_from_slice(&length.to_le_bytes());
    frame
}

/// Decodes frames from bytes as they arrive.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    /// Adds bytes that were read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The buffer to read into.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The next whole message. A frame that does not parse is skipped; both ends are the same program.
    pub fn message<T: DeserializeOwned>(&mut self) -> Option<T> {
        loop {
            let prefix = self.bytes.first_chunk::<PREFIX>()?;
            let end = PREFIX + u32::from_le_bytes(*prefix) as usize;
            let frame = self.bytes.get(PREFIX..end)?;
            let message = postcard::from_bytes(frame);
            self.bytes.drain(..end);
            if let Ok(message) = message {
                return Some(message);
            }
        }
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod hostile_tests {
    use super::*;
    use crate::hostile::Target;
    use crate::sys::files::os_string;

    fn decoded<T: DeserializeOwned>(bytes: &[u8], size: usize) -> Vec<T> {
        let mut frames = Frames::default();
        let mut found = Vec::new();
        for part in bytes.chunks(size) {
            frames.push(part);
            found.extend(std::iter::from_fn(|| frames.message()));
        }
        found
    }

    #[track_caller]
    fn is_read<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
        let found: Vec<T> = decoded(bytes, usize::MAX);
        assert_eq!(decoded::<T>(bytes, 1 + bytes.len() % 7), found);
        let again: Vec<u8> = found.iter().flat_map(encode).collect();
        assert_eq!(decoded::<T>(&again, usize::MAX), found);
    }

    pub(crate) fn any_frames_are_messages_or_skipped() -> Target {
        let launch = Launch {
            program: "/bin/true".into(),
            argv0: "true".into(),
            args: vec!["-v".into()],
            env: vec![("KEY".into(), os_string(b"\xff=\n".to_vec()))],
            notify: Some("/run/n".into()),
            input: Input::Terminal,
            filter: vec![(0x20, 1, 2, 0xc000_003e)],
            ..Launch::default()
        };
        let orders = [
            Order::Signal(-1),
            Order::Launch(Box::new(launch)),
            Order::Stop(15),
            Order::Kill,
        ];
        let failed = News::Failed {
            code: Some(2),
            what: "exec".into(),
        };
        let gone = News::Gone {
            survivors: vec![1, i32::MAX],
        };
        let news = [
            News::Filtered(None),
            News::Started(7),
            failed,
            News::Suspended(true),
            gone,
        ];
        let orders: Vec<u8> = orders.iter().flat_map(encode).collect();
        let news: Vec<u8> = news.iter().flat_map(encode).collect();
        Target::bytes(&[&orders, &news], 4, |bytes| {
            is_read::<Order>(bytes);
            is_read::<News>(bytes);
        })
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::sys::files::os_string;

    #[test]
    fn messages_survive_any_cut_and_any_bytes() {
        let launch = Launch {
            program: "/bin/true".into(),
            env: vec![("KEY".into(), os_string(b"\xff=\n".to_vec()))],
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
    #[test]
    fn a_launch_is_hardly_longer_than_what_is_in_it() {
        let variable = |number: usize| (format!("NAME_{number:03}").into(), "x".repeat(92).into());
        let launch = Launch {
            env: (0..500).map(variable).collect(),
            ..Launch::default()
        };
        let length = encode(&Order::Launch(Box::new(launch))).len();
        assert!((50_000..53_000).contains(&length), "{length}");
    }
}
