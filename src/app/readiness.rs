//! Proofs of readiness.
//!
//! A TCP connect to a held socket proves nothing: it succeeds before the app has started. A process of
//! the generation that accepts on it does, see `accept_probe`.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use regex::Regex;
use tokio::time::{Instant, sleep_until};

use super::accept_probe::{self, Probes, locks};
use super::ready_probe::{Probe, Request};
use super::{Reach, Start};
use crate::config::{self, Ready};
use crate::session::event::Answer;
use crate::session::model::Proof;
use crate::sockets::address::Address;
use crate::sys::ABLE;
use crate::sys::accept_probe::Accepts;
use crate::sys::files::FileId;

/// The pause between two accept probes of a candidate.
const INTERVAL: Duration = Duration::from_millis(2);
/// After this long, probes become rarer: a program that takes so long does not miss milliseconds.
const SLOW_AFTER: Duration = Duration::from_secs(2);
/// The pause between two accept probes of a slow candidate.
const SLOW_INTERVAL: Duration = Duration::from_millis(20);
/// A socket counts as unclaimed after so many probes without a process that accepts on it, since a
/// server with a request in hand does not accept at that moment. A probe of a running thread weighs
/// less, and on a machine too busy to run it, next to nothing.
const UNCLAIMED_PROBES: u32 = 25 * WEIGHT;
const WEIGHT: u32 = 20;

/// The proof of readiness that this generation needs.
#[derive(Debug)]
enum How {
    /// `READY=1`.
    Notify,
    /// None: the probe of `ready` can't reach this generation alone.
    Never,
    /// The answer to a probe; it starts once an address is known.
    Asked(Option<Probe>, Request),
    Log(Regex),
    Delay(Duration),
    /// It is seen accepting, or sends `READY=1`; where /proc does not show whether it accepts, it has
    /// lived for `settle`.
    Accepts(AcceptState),
    /// It has lived for this long, or sends `READY=1`.
    Settle(Duration),
}

/// The state of the accept probe.
#[derive(Debug)]
struct AcceptState {
    /// The inodes of the sockets that it inherits, and of those it listens on under capture.
    inodes: HashSet<u64>,
    settle: Duration,
    /// The addresses that live listens on and this generation does not yet. After `settle` they are not
    /// waited for, since the code may have changed an address.
    missing: Vec<Address>,
    /// It can't accept before it has fetched its sockets, which it is only offered.
    offered: bool,
    /// Since when it accepts, or listens, or has its sockets.
    since: Option<Instant>,
}

impl AcceptState {
    /// It listens on every address, or had `settle` for it.
    fn is_enough(&self) -> bool {
        let settled = self
            .since
            .is_some_and(|since| since.elapsed() >= self.settle);
        self.missing.is_empty() || settled
    }

    /// It has lived for `settle`, or had its sockets or listened for as long if it has to do that first.
    fn is_settled(&self, alive: Duration) -> bool {
        let accepting = match self.since {
            Some(since) => since.elapsed(),
            None if self.missing.is_empty() && !self.offered => alive,
            None => Duration::ZERO,
        };
        accepting >= self.settle
    }
}

/// What a check has found out.
#[derive(Debug)]
pub(super) enum Found {
    /// It is ready.
    Proof(Proof),
    /// A probe was answered, but not with success.
    Answer(Answer),
    /// It is ready, but none of its processes accepts on these sockets.
    Unclaimed(HashSet<u64>),
    /// Nothing yet.
    Nothing,
}

/// Why a candidate may have ended before it was ready.
#[derive(Debug, Default)]
pub(super) struct Reasons {
    /// A file that it had open and live has locked.
    pub(super) lock: Option<PathBuf>,
    /// It has bound no held address, and since its start a client has connected to this one and closed.
    /// That may have been this program, checking whether it runs already.
    pub(super) asked: Option<SocketAddr>,
}

/// One of these files, which a process of this keeper has locked.
fn locked(keeper: u32, files: &HashSet<PathBuf>) -> Option<PathBuf> {
    if files.is_empty() {
        return None;
    }
    let locked = locks(keeper);
    let is_locked = |path: &&PathBuf| FileId::at(path).is_ok_and(|file| locked.contains(&file));
    files.iter().find(is_locked).cloned()
}

/// The readiness check of one generation.
#[derive(Debug)]
pub(super) struct Check {
    how: How,
    /// Made before its process is, and since when that runs.
    made: Instant,
    started: Instant,
    next_probe: Instant,
    probes: Probes,
    suspended: bool,
    done: bool,
    /// When to probe for unclaimed sockets.
    next_claim_probe: Option<Instant>,
    /// The inodes of the sockets that it inherits, the probes so far (weighted), and the sockets on
    /// which a process was seen accepting.
    given: HashSet<u64>,
    claim_probes: u32,
    claimed: HashSet<u64>,
    /// The keeper of live, if live runs, and the files that this generation was seen having open.
    beside: Option<u32>,
    files: HashSet<PathBuf>,
    /// The held addresses that it has bound and does not listen on yet, and those it listens on.
    bound: Vec<Address>,
    listened: Vec<Address>,
    /// The TCP addresses held at its start.
    served: Vec<SocketAddr>,
}

impl Check {
    /// The check of a generation that is about to start.
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
        // Where it listens under capture is known when it does: the address may differ from live's.
        let address = start.held.iter().find_map(|held| held.behind.tcp());
        let how = match &settings.ready {
            Some(Ready::Notify) => How::Notify,
            Some(Ready::Asked(_)) if start.reach == Reach::Never => How::Never,
            Some(Ready::Asked(question)) if address.is_some() || captured.is_some() => {
                let request = Request {
                    address,
                    question: question.clone(),
                    reach: start.reach,
                };
                How::Asked(None, request)
            }
            Some(Ready::Log(pattern)) => How::Log(pattern.clone()),
            Some(Ready::Delay(time)) => How::Delay(*time),
            None | Some(Ready::Asked(_)) if nowhere => How::Settle(settings.settle),
            None | Some(Ready::Asked(_)) => How::Accepts(AcceptState {
                inodes: given.clone(),
                settle: settings.settle,
                missing: expected,
                offered: !given.is_empty() && !ABLE.inherit,
                since: None,
            }),
        };
        Self {
            how,
            made: Instant::now(),
            started: Instant::now(),
            next_probe: Instant::now(),
            probes: Probes::default(),
            suspended: false,
            done: false,
            next_claim_probe: None,
            given,
            claim_probes: 0,
            claimed: HashSet::new(),
            beside: start.beside,
            files: HashSet::new(),
            bound: Vec::new(),
            listened: Vec::new(),
            served,
        }
    }

    /// Its process runs now.
    pub(super) fn started(&mut self) {
        self.started = Instant::now();
        self.next_probe = self.started + INTERVAL;
        if let How::Asked(task, request) = &mut self.how
            && let Some(address) = request.address
        {
            *task = Some(Probe::start(request, address));
        }
    }

    /// It has bound a held address: like an address of live's, it is waited for until it listens there.
    pub(super) fn bound(&mut self, address: &Address) {
        if !self.listened.contains(address) && !self.bound.contains(address) {
            self.bound.push(address.clone());
            if let How::Accepts(state) = &mut self.how
                && !state.missing.contains(address)
            {
                state.missing.push(address.clone());
            }
        }
    }

    /// It listens on a held socket, which is `behind` the address if hotrun answers there.
    pub(super) fn listening(&mut self, inode: u64, address: &Address, behind: &Address) {
        self.bound.retain(|bound| bound != address);
        self.listened.push(address.clone());
        if let How::Settle(settle) = self.how {
            self.how = How::Accepts(AcceptState {
                inodes: HashSet::new(),
                settle,
                missing: self.bound.clone(),
                offered: false,
                since: None,
            });
        }
        match &mut self.how {
            How::Accepts(state) => {
                state.inodes.insert(inode);
                state.missing.retain(|missing| missing != address);
                state.since.get_or_insert_with(Instant::now);
                self.next_probe = Instant::now();
            }
            How::Asked(task @ None, request) => {
                request.address = behind.tcp();
                *task = request
                    .address
                    .map(|address| Probe::start(request, address));
            }
            _ => {}
        }
    }

    /// It has fetched the sockets that it was offered.
    pub(super) fn fetched(&mut self) {
        if let How::Accepts(state) = &mut self.how {
            state.since.get_or_insert_with(Instant::now);
        }
    }

    /// It was stopped (SIGSTOP) or continued; a stopped process is never ready.
    pub(super) fn suspended(&mut self, suspended: bool) {
        self.suspended = suspended;
        self.probes.forget();
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
            self.probes.forget();
            if let How::Accepts(state) = &self.how
                && !self.given.is_empty()
            {
                self.next_claim_probe = Some(Instant::now() + state.settle);
            }
        }
        first
    }

    /// Its first process has exited, and others go on. That a process lives proves nothing now: it may
    /// be a leftover of a program whose work is done.
    pub(super) fn in_background(&mut self) {
        if let How::Settle(settle) = self.how {
            self.how = How::Accepts(AcceptState {
                inodes: HashSet::new(),
                settle,
                missing: Vec::new(),
                offered: false,
                since: None,
            });
        }
    }

    /// It was told to end, so that it rightly accepts no more.
    pub(super) fn asked_to_end(&mut self) {
        self.next_claim_probe = None;
    }

    /// It printed this line; whether the line is the awaited one.
    pub(super) fn printed(&self, line: &str) -> bool {
        !self.suspended && matches!(&self.how, How::Log(pattern) if pattern.is_match(line))
    }

    /// Returns a blocking look for reasons for its exit, which it has to follow: see [`Reasons`].
    pub(super) fn reasons(&mut self) -> impl FnOnce() -> Reasons + Send + use<> {
        let beside = self.beside.filter(|_| !self.done);
        let files = std::mem::take(&mut self.files);
        let binds = !self.bound.is_empty() || !self.listened.is_empty();
        let served = Some(self.served.clone()).filter(|_| !binds && !self.done);
        let made = self.made;
        move || Reasons {
            lock: beside.and_then(|beside| locked(beside, &files)),
            asked: served.and_then(|served| accept_probe::asked(&served, made.elapsed())),
        }
    }

    /// Waits until `settle` after readiness, once; then returns the inherited sockets on which no
    /// process accepts, if /proc shows that.
    async fn unclaimed(&mut self, keeper: u32) -> HashSet<u64> {
        let Some(mut at) = self.next_claim_probe else {
            return std::future::pending().await;
        };
        let inodes = &self.given;
        loop {
            sleep_until(at).await;
            let (found, _) = self.probes.next(keeper, inodes, false).await;
            self.claim_probes += if found.busy { 1 } else { WEIGHT };
            self.claimed.extend(found.accepting);
            let left: HashSet<u64> = inodes.difference(&self.claimed).copied().collect();
            if found.unseen || left.is_empty() || self.claim_probes >= UNCLAIMED_PROBES {
                self.next_claim_probe = None;
                return if found.unseen { HashSet::new() } else { left };
            }
            // The pause starts now: on a busy machine several probes would otherwise follow at once.
            at = Instant::now() + SLOW_INTERVAL;
            self.next_claim_probe = Some(at);
        }
    }

    /// Waits for the next finding. Safe to drop while it waits.
    pub(super) async fn find(&mut self, keeper: u32) -> Found {
        if self.done {
            return Found::Unclaimed(self.unclaimed(keeper).await);
        }
        if let How::Asked(Some(probe), request) = &mut self.how
            && !self.suspended
        {
            return tokio::select! {
                biased;
                Some(answer) = probe.answers.recv() => Found::Answer(answer),
                _ = &mut probe.task => Found::Proof(request.proof()),
            };
        }
        self.proved(keeper)
            .await
            .map_or(Found::Nothing, Found::Proof)
    }

    /// Waits for the next probe; the proof, if there is one.
    async fn proved(&mut self, keeper: u32) -> Option<Proof> {
        if self.suspended {
            return std::future::pending().await;
        }
        match &mut self.how {
            How::Delay(time) | How::Settle(time) => {
                sleep_until(self.started + *time).await;
                Some(Proof::Alive)
            }
            How::Notify | How::Never | How::Log(_) | How::Asked(..) => std::future::pending().await,
            How::Accepts(state) => {
                sleep_until(self.next_probe).await;
                let is_beside = self.beside.is_some();
                let (seen, files) = self.probes.next(keeper, &state.inodes, is_beside).await;
                self.files.extend(files);
                let alive = self.started.elapsed();
                let wait = if alive < SLOW_AFTER {
                    INTERVAL
                } else {
                    SLOW_INTERVAL
                };
                self.next_probe = Instant::now() + wait;
                let accepts = seen.accepts();
                if accepts == Accepts::Accepting {
                    state.since.get_or_insert_with(Instant::now);
                }
                match accepts {
                    Accepts::Accepting if state.is_enough() => Some(Proof::Accepting),
                    Accepts::Unseen if state.is_settled(alive) => Some(Proof::Alive),
                    Accepts::Accepting | Accepts::Unseen | Accepts::NotYet => None,
                }
            }
        }
    }
}
