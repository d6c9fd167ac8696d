//! Proofs of readiness.
//!
//! A TCP connect proves nothing on a held socket: it succeeds before the app has started. What
//! does prove something is a process of the generation that waits for connections, see `accept_probe`.

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use regex::Regex;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::accept_probe::{Accepts, left_over, locks, look, open_files};
use super::{Reach, Start};
use crate::config::{self, Ready};
use crate::process_tree;
use crate::session::event::Answer;
use crate::session::model::Proof;
use crate::sockets::address::{Address, reachable};

/// Between two looks at a process that starts.
const LOOK: Duration = Duration::from_millis(2);
/// After this long, looks become rarer: what takes that long does not miss milliseconds.
const PATIENT_AFTER: Duration = Duration::from_secs(2);
/// Between two looks at a process that takes its time.
const PATIENT_LOOK: Duration = Duration::from_millis(20);
/// So many looks have to find nobody waiting on a socket: who has a client's request in hand does
/// not wait at that moment. One at somebody who is at work says little, and on a machine that is too
/// busy to let him wait again, nothing.
const UNCLAIMED_LOOKS: u32 = 25 * WEIGHT;
const WEIGHT: u32 = 20;
/// Between two HTTP requests, and the longest wait for an answer.
const ASK: Duration = Duration::from_millis(20);
const ANSWER: Duration = Duration::from_secs(2);

/// How this generation proves itself.
#[derive(Debug)]
enum How {
    /// Only by saying so.
    Notify,
    /// It can't be asked what it is to be asked.
    Never,
    /// A task asks until it gets a good answer; there is none until it is known where.
    Http(Option<Asking>, Question),
    Log(Regex),
    Delay(Duration),
    /// Whatever is seen first: it says so, or it is seen accepting; where that can't be seen, it
    /// has lived for a while.
    Accepts(Looked),
    /// It has lived for a while, or says so.
    Settle(Duration),
}

/// Where a generation is looked at.
#[derive(Debug)]
struct Looked {
    /// The sockets that it was given, and those on which it listens by itself.
    inodes: HashSet<u64>,
    settle: Duration,
    /// What live listens on, and this one does not yet. An address that was changed in the code is
    /// waited for in vain, but not for long.
    missing: Vec<Address>,
    /// Since when it was seen to wait for clients, or to begin to.
    since: Option<Instant>,
}

impl Looked {
    /// There is nothing more to wait for.
    fn is_enough(&self) -> bool {
        let settled = self
            .since
            .is_some_and(|since| since.elapsed() >= self.settle);
        self.missing.is_empty() || settled
    }

    /// It has lived for a while, or has listened for as long where that is how it begins.
    fn is_settled(&self, alive: Duration) -> bool {
        let waited = match self.since {
            Some(since) => since.elapsed(),
            None if self.missing.is_empty() => alive,
            None => Duration::ZERO,
        };
        waited >= self.settle
    }
}

/// A question that is asked again and again; dropped, it is asked no more.
#[derive(Debug)]
struct Asking {
    task: JoinHandle<()>,
    /// What comes back instead of a good answer, whenever that is something else than before.
    answers: mpsc::UnboundedReceiver<Answer>,
}

impl Asking {
    fn start(question: &Question, address: SocketAddr) -> Self {
        let (tell, answers) = mpsc::unbounded_channel();
        let task = tokio::spawn(ask_until_ready(question.clone(), address, tell));
        Self { task, answers }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is asked over HTTP.
#[derive(Clone, Debug)]
struct Question {
    address: Option<SocketAddr>,
    path: String,
    reach: Reach,
}

/// What a check finds out.
#[derive(Debug)]
pub(super) enum Found {
    /// It serves.
    Proof(Proof),
    /// It was asked, and has answered something else.
    Answer(Answer),
    /// It serves, but nobody waits on these sockets.
    Unclaimed(HashSet<u64>),
    /// Not yet.
    Nothing,
}

/// The check of one generation.
#[derive(Debug)]
pub(super) struct Check {
    how: How,
    started: Instant,
    next_look: Instant,
    suspended: bool,
    done: bool,
    /// When to look for sockets that nobody waits on.
    claim_look: Option<Instant>,
    /// The sockets that it was given; how often they were looked for, and which ones somebody was seen
    /// waiting on.
    given: HashSet<u64>,
    looks: u32,
    claimed: HashSet<u64>,
    /// The keeper of live, if there is one, and the files that were seen open meanwhile.
    beside: Option<u32>,
    files: HashSet<PathBuf>,
    /// The held addresses that it has bound and does not listen on yet, and those that it listens on.
    bound: Vec<Address>,
    listened: Vec<Address>,
    /// What was held when it was started, and the connections there that were left over already.
    served: Vec<SocketAddr>,
    left_over: HashSet<(SocketAddr, SocketAddr)>,
}

impl Check {
    /// The check of what is about to be started.
    pub(super) fn new(settings: &config::App, start: &Start) -> Self {
        let captured = start.capture.as_ref();
        let expected: Vec<Address> = captured
            .iter()
            .flat_map(|one| one.expected.clone())
            .collect();
        let given: HashSet<u64> = start.held.iter().map(|held| held.inode).collect();
        let served = captured.map(|one| one.capture.addresses());
        let served = served.unwrap_or_default();
        let nowhere = start.held.is_empty() && expected.is_empty();
        // What it listens on by itself is known when it does: it may be another address than live's.
        let address = start.held.iter().find_map(|held| held.address.tcp());
        let how = match &settings.ready {
            Some(Ready::Notify) => How::Notify,
            Some(Ready::Http(_)) if start.reach == Reach::Never => How::Never,
            Some(Ready::Http(path)) if address.is_some() || captured.is_some() => {
                let question = Question {
                    address,
                    path: path.clone(),
                    reach: start.reach,
                };
                How::Http(None, question)
            }
            Some(Ready::Log(pattern)) => How::Log(pattern.clone()),
            Some(Ready::Delay(time)) => How::Delay(*time),
            None | Some(Ready::Http(_)) if nowhere => How::Settle(settings.settle),
            None | Some(Ready::Http(_)) => How::Accepts(Looked {
                inodes: given.clone(),
                settle: settings.settle,
                missing: expected,
                since: None,
            }),
        };
        Self {
            how,
            started: Instant::now(),
            next_look: Instant::now(),
            suspended: false,
            done: false,
            claim_look: None,
            given,
            looks: 0,
            claimed: HashSet::new(),
            beside: start.beside,
            files: HashSet::new(),
            bound: Vec::new(),
            listened: Vec::new(),
            left_over: left_over(&served),
            served,
        }
    }

    /// The process runs now.
    pub(super) fn started(&mut self) {
        self.started = Instant::now();
        self.next_look = self.started + LOOK;
        if let How::Http(task, question) = &mut self.how
            && let Some(address) = question.address
        {
            *task = Some(Asking::start(question, address));
        }
    }

    /// It has bound a held address: it is waited for to listen there, as on what live listens on.
    pub(super) fn bound(&mut self, address: &Address) {
        if !self.listened.contains(address) && !self.bound.contains(address) {
            self.bound.push(address.clone());
            if let How::Accepts(looked) = &mut self.how
                && !looked.missing.contains(address)
            {
                looked.missing.push(address.clone());
            }
        }
    }

    /// It listens on a socket that is held.
    pub(super) fn listening(&mut self, inode: u64, address: &Address) {
        self.bound.retain(|bound| bound != address);
        self.listened.push(address.clone());
        if let How::Settle(settle) = self.how {
            self.how = How::Accepts(Looked {
                inodes: HashSet::new(),
                settle,
                missing: self.bound.clone(),
                since: None,
            });
        }
        match &mut self.how {
            How::Accepts(looked) => {
                looked.inodes.insert(inode);
                looked.missing.retain(|missing| missing != address);
                looked.since.get_or_insert_with(Instant::now);
                self.next_look = Instant::now();
            }
            How::Http(task @ None, question) => {
                question.address = address.tcp();
                *task = question
                    .address
                    .map(|address| Asking::start(question, address));
            }
            _ => {}
        }
    }

    /// It was stopped, or continued; a stopped process is never ready.
    pub(super) fn suspended(&mut self, suspended: bool) {
        self.suspended = suspended;
    }

    /// Whether this proof counts; only the first one does.
    pub(super) fn accepts(&mut self, proof: Proof) -> bool {
        let counts = match self.how {
            How::Notify | How::Accepts(_) | How::Settle(_) => true,
            _ => proof != Proof::Notified,
        };
        let first = counts && !self.done;
        if first {
            self.done = true;
            if let How::Accepts(looked) = &self.how
                && !self.given.is_empty()
            {
                self.claim_look = Some(Instant::now() + looked.settle);
            }
        }
        first
    }

    /// Its first process has ended, and others go on. That something lives proves nothing then: it may
    /// be no more than what a program leaves behind when its work is done.
    pub(super) fn in_background(&mut self) {
        if let How::Settle(settle) = self.how {
            self.how = How::Accepts(Looked {
                inodes: HashSet::new(),
                settle,
                missing: Vec::new(),
                since: None,
            });
        }
    }

    /// It was asked to end, and rightly accepts no more.
    pub(super) fn asked_to_end(&mut self) {
        self.claim_look = None;
    }

    /// It printed this line: whether that is the awaited one.
    pub(super) fn printed(&self, line: &str) -> bool {
        !self.suspended && matches!(&self.how, How::Log(pattern) if pattern.is_match(line))
    }

    /// A file it had open on which live holds a lock: why it may have ended. Asked for only then,
    /// since the system takes milliseconds to list its locks.
    pub(super) fn lock(&self) -> Option<String> {
        let locked = locks(
            self.beside
                .filter(|_| !self.done && !self.files.is_empty())?,
        );
        let is_locked = |path: &&PathBuf| {
            let metadata = std::fs::metadata(path);
            metadata.is_ok_and(|metadata| locked.contains(&(metadata.dev(), metadata.ino())))
        };
        self.files
            .iter()
            .find(is_locked)
            .map(|path| path.display().to_string())
    }

    /// It has bound none of the held addresses, and a client of one of them has come and gone since it
    /// was started: it may have been this program, which wants to know whether it runs already.
    pub(super) fn asked(&self) -> Option<String> {
        let binds = !self.bound.is_empty() || !self.listened.is_empty();
        if binds || self.done || self.served.is_empty() {
            return None;
        }
        let now = left_over(&self.served);
        let (_, to) = now.difference(&self.left_over).next()?;
        Some(to.to_string())
    }

    /// Waits until it has been ready for a while, once; then the held sockets that nobody waits
    /// on, if that can be seen.
    async fn unclaimed(&mut self, keeper: u32) -> HashSet<u64> {
        let Some(mut at) = self.claim_look else {
            return std::future::pending().await;
        };
        let inodes = &self.given;
        loop {
            sleep_until(at).await;
            let found = look(&process_tree::of(keeper), inodes);
            self.looks += if found.busy { 1 } else { WEIGHT };
            self.claimed.extend(found.waited);
            let left: HashSet<u64> = inodes.difference(&self.claimed).copied().collect();
            if found.unseen || left.is_empty() || self.looks >= UNCLAIMED_LOOKS {
                self.claim_look = None;
                return if found.unseen { HashSet::new() } else { left };
            }
            // From now on: on a busy machine many looks in a row would be one.
            at = Instant::now() + PATIENT_LOOK;
            self.claim_look = Some(at);
        }
    }

    /// Waits for the next thing that can be found out. Safe to drop while it waits.
    pub(super) async fn find(&mut self, keeper: u32) -> Found {
        if self.done {
            return Found::Unclaimed(self.unclaimed(keeper).await);
        }
        if let How::Http(Some(asking), _) = &mut self.how
            && !self.suspended
        {
            return tokio::select! {
                biased;
                Some(answer) = asking.answers.recv() => Found::Answer(answer),
                _ = &mut asking.task => Found::Proof(Proof::Answered),
            };
        }
        self.proved(keeper)
            .await
            .map_or(Found::Nothing, Found::Proof)
    }

    /// Waits for one look; the proof, if there was one.
    async fn proved(&mut self, keeper: u32) -> Option<Proof> {
        if self.suspended {
            return std::future::pending().await;
        }
        match &mut self.how {
            How::Delay(time) | How::Settle(time) => {
                sleep_until(self.started + *time).await;
                Some(Proof::Alive)
            }
            How::Notify | How::Never | How::Log(_) | How::Http(..) => std::future::pending().await,
            How::Accepts(looked) => {
                sleep_until(self.next_look).await;
                let alive = self.started.elapsed();
                let wait = if alive < PATIENT_AFTER {
                    LOOK
                } else {
                    PATIENT_LOOK
                };
                self.next_look = Instant::now() + wait;
                let family = process_tree::of(keeper);
                if self.beside.is_some() {
                    self.files.extend(open_files(&family));
                }
                let sight = look(&family, &looked.inodes).sight();
                if sight == Accepts::Accepting {
                    looked.since.get_or_insert_with(Instant::now);
                }
                match sight {
                    Accepts::Accepting if looked.is_enough() => Some(Proof::Accepting),
                    Accepts::Unseen if looked.is_settled(alive) => Some(Proof::Alive),
                    Accepts::Accepting | Accepts::Unseen | Accepts::NotYet => None,
                }
            }
        }
    }
}

/// Asks until the answer is one of success, and tells of those that are not.
async fn ask_until_ready(
    question: Question,
    address: SocketAddr,
    tell: mpsc::UnboundedSender<Answer>,
) {
    let mut last = None;
    loop {
        sleep(ASK).await;
        let Ok(Ok(answer)) = timeout(ANSWER, ask(&question, address)).await else {
            continue;
        };
        if matches!(answer, Answer::Status(..400)) {
            return;
        }
        if last.replace(answer) != Some(answer) {
            tell.send(answer).ok();
        }
    }
}

/// Asks once.
async fn ask(question: &Question, address: SocketAddr) -> std::io::Result<Answer> {
    let path = &question.path;
    let to = reachable(address);
    let socket = match to {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    if let Reach::From(port) = question.reach {
        socket.set_reuseaddr(true)?;
        socket.bind(match to {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, port).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, port).into(),
        })?;
        // An end in order would keep the port from the next question for a minute.
        SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
    }
    let mut stream = socket.connect(to).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: hotrun\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut buffer = [0; 256];
    while answer.len() < 16 {
        match stream.read(&mut buffer).await {
            // One that does not read the question resets the connection behind what it says.
            Ok(0) | Err(_) => break,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(read_answer(&answer))
}

/// What the first bytes are that a server sends.
fn read_answer(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes);
    let code = text.split_whitespace().nth(1);
    let code = code.and_then(|code| code.parse().ok());
    match (bytes, code) {
        ([], _) => Answer::Nothing,
        (_, Some(code)) if text.starts_with("HTTP/") => Answer::Status(code),
        // A record of TLS: an alert, or a handshake; then the version.
        ([0x15 | 0x16, 3, ..], _) => Answer::Tls,
        // A frame: its length, and SETTINGS or GOAWAY.
        ([0, _, _, 4 | 7, ..], _) => Answer::Http2,
        _ => Answer::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_speaks_is_known_by_its_first_bytes() {
        for (bytes, answer) in [
            (&b"HTTP/1.1 204 No Content\r\n"[..], Answer::Status(204)),
            (b"HTTP/1.0 503 x", Answer::Status(503)),
            (b"\x15\x03\x03\x00\x02\x02\x32", Answer::Tls),
            (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", Answer::Http2),
            (b"220 mail ESMTP\r\n", Answer::Other),
            (b"HTTP/1.1 x", Answer::Other),
            (b"", Answer::Nothing),
        ] {
            assert_eq!(read_answer(bytes), answer);
        }
    }
}
