//! Clients that send numbered datagrams at a fixed rate, and read the answers.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{LIMIT, LOOK, now};

/// One end of an exchange of datagrams.
#[derive(Clone)]
enum Client {
    /// Connected, so that it gets an error when no socket is bound there.
    Udp(Arc<UdpSocket>),
    /// The path is resolved for each datagram.
    Unix(Arc<UnixDatagram>, PathBuf),
}

impl Client {
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Udp(socket) => socket.send(bytes),
            Self::Unix(socket, to) => socket.send_to(bytes, to),
        }
    }

    /// An answer, if there is one soon.
    fn receive(&self) -> Option<String> {
        let mut buffer = [0; 1024];
        let received = match self {
            Self::Udp(socket) => socket.recv(&mut buffer),
            Self::Unix(socket, _) => socket.recv(&mut buffer),
        };
        match received {
            Ok(length) => Some(String::from_utf8_lossy(&buffer[..length]).into_owned()),
            Err(error) => {
                // A read that times out reports `WouldBlock`; a refusal counts when sending.
                let soon = [ErrorKind::WouldBlock, ErrorKind::ConnectionRefused];
                assert!(soon.contains(&error.kind()), "{error}");
                None
            }
        }
    }
}

/// Sends datagrams until it is stopped.
pub(crate) struct Datagrams {
    stop: Arc<AtomicBool>,
    sender: Option<JoinHandle<(u32, u32)>>,
    receiver: Option<JoinHandle<BTreeMap<u32, String>>>,
    all: Arc<std::sync::OnceLock<u32>>,
}

impl Datagrams {
    /// So many per second, over UDP.
    pub(crate) fn udp(to: SocketAddr, per_second: u32) -> Self {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).unwrap();
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(LOOK)).unwrap();
        Self::start(&Client::Udp(socket.into()), per_second)
    }

    /// So many per second, to a unix socket; `own` is the path for the answers.
    pub(crate) fn unix(to: &Path, own: &Path, per_second: u32) -> Self {
        let socket = UnixDatagram::bind(own).unwrap();
        socket.set_read_timeout(Some(LOOK)).unwrap();
        // Sending waits while the queue is full.
        socket.set_write_timeout(Some(LIMIT)).unwrap();
        Self::start(&Client::Unix(socket.into(), to.to_owned()), per_second)
    }

    fn start(client: &Client, per_second: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let all = Arc::new(std::sync::OnceLock::new());
        let sender = {
            let (client, stop) = (client.clone(), stop.clone());
            thread::spawn(move || send(&client, per_second, &stop))
        };
        let receiver = {
            let (client, all) = (client.clone(), all.clone());
            thread::spawn(move || receive(&client, &all))
        };
        Self {
            stop,
            sender: Some(sender),
            receiver: Some(receiver),
            all,
        }
    }

    /// Sends one more datagram and waits for its answer, which there must be. When only one process is
    /// left, which answers in order, no other answer comes after that.
    #[track_caller]
    pub(crate) fn stop(mut self) -> Answered {
        self.stop.store(true, Ordering::Relaxed);
        let (sent, refused) = self.sender.take().unwrap().join().unwrap();
        self.all.set(sent).unwrap();
        let answers = self.receiver.take().unwrap().join().unwrap();
        Answered {
            sent,
            refused,
            answers,
        }
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.all.set(0).ok();
    }
}

/// Returns how many were sent, and how many of these were refused.
fn send(client: &Client, per_second: u32, stop: &AtomicBool) -> (u32, u32) {
    let start = now();
    let mut refused = 0;
    for number in 0.. {
        let due = start + Duration::from_secs(1) * number / per_second;
        thread::sleep(due.saturating_duration_since(now()));
        let last = stop.load(Ordering::Relaxed);
        refused += u32::from(client.send(number.to_string().as_bytes()).is_err());
        if last {
            return (number + 1, refused);
        }
    }
    (0, refused)
}

fn receive(client: &Client, all: &std::sync::OnceLock<u32>) -> BTreeMap<u32, String> {
    let mut answers = BTreeMap::new();
    let mut waiting = None;
    loop {
        if let Some(answer) = client.receive() {
            let (said, number) = answer.rsplit_once(' ').unwrap();
            let again = answers.insert(number.parse().unwrap(), said.to_owned());
            assert_eq!(again, None, "two answers to {number}");
        }
        if let Some(all) = all.get() {
            if *all == 0 || answers.contains_key(&(all - 1)) {
                return answers;
            }
            let since = waiting.get_or_insert_with(now);
            assert!(since.elapsed() < LIMIT, "the last datagram has no answer");
        }
    }
}

/// The outcome of all datagrams.
pub(crate) struct Answered {
    /// How many were sent.
    pub(crate) sent: u32,
    /// How many were refused.
    pub(crate) refused: u32,
    /// The answer to each: version and generation.
    pub(crate) answers: BTreeMap<u32, String>,
}

impl Answered {
    /// How many were neither refused nor answered.
    pub(crate) fn lost(&self) -> usize {
        self.sent as usize - self.refused as usize - self.answers.len()
    }

    /// How many were answered by an older generation than a datagram sent before.
    pub(crate) fn stale(&self) -> usize {
        let mut newest = 0;
        let generation = |said: &String| -> u32 {
            let (_, number) = said.rsplit_once('g').unwrap();
            number.parse().unwrap()
        };
        let is_stale = |number: &u32| {
            newest = newest.max(*number);
            *number < newest
        };
        self.answers
            .values()
            .map(generation)
            .filter(is_stale)
            .count()
    }

    /// How many generations have answered.
    pub(crate) fn generations(&self) -> usize {
        self.answers.values().collect::<BTreeSet<_>>().len()
    }
}
