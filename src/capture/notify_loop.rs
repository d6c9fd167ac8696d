//! Answers the system calls of one generation, one after the other. Facts are checked in the order in
//! which the kernel would check them.

use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use socket2::Socket;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::bind_table::BindTable;
use super::bound;
use super::{Capture, Listening, Owner, Why};
use crate::defect;
use crate::sockets::address::Address;
use crate::sockets::captured::Fresh;
use crate::sockets::held::HeldSet;
use crate::sockets::port_owner;
use crate::sys::calls::{
    Bound, Call, Calls, Next, Program, ProgramBytes, ProgramSocket, Protocol, What,
    only_v6_by_default, read,
};
use crate::sys::{self, sockets};

/// For each address with port 0, only the first sockets are captured: a program that binds more of them
/// needs them only for a moment.
const MOST_NUMBERED: u32 = 16;

/// The time between two checks whether the program has closed what it bound.
const TIDY_INTERVAL: Duration = Duration::from_millis(250);

/// Of at most this many addresses is it reported that they are in use.
const MOST_TAKEN: usize = 100;

/// For at most this many sockets is the reason remembered why they can't be captured.
const MOST_UNHELD: usize = 1024;

/// The answer to a call.
enum Verdict {
    /// The kernel executes it.
    Through,
    /// It is not executed, and succeeds.
    Done,
    /// This socket replaces the program's own, and the call succeeds.
    Give(Arc<Socket>),
    /// The same, and the generation listens on it.
    Open(Arc<Socket>),
}

pub(super) struct NotifyLoop {
    calls: Calls,
    capture: Capture,
    events: UnboundedSender<Listening>,
    bind_table: BindTable,
    /// Sockets that hotrun has bound for the program, by inode.
    beside: HashMap<u64, Socket>,
    /// Held sockets that the program got at `bind`, and may be about to listen on.
    handed: HashMap<u64, Arc<Socket>>,
    /// Inodes of sockets whose address can't be captured, and why.
    unheld: HashMap<u64, Why>,
    /// The addresses that were reported to be in use.
    taken: HashSet<Address>,
    /// Process and descriptor of each call that a signal interrupted before the answer: the program
    /// makes it again.
    interrupted: HashSet<(i32, i32)>,
    /// The call that is being answered.
    current: Option<Call>,
}

impl NotifyLoop {
    pub(super) fn new(calls: Calls, capture: Capture, events: UnboundedSender<Listening>) -> Self {
        Self {
            calls,
            capture,
            events,
            bind_table: BindTable::default(),
            beside: HashMap::new(),
            handed: HashMap::new(),
            unheld: HashMap::new(),
            taken: HashSet::new(),
            interrupted: HashSet::new(),
            current: None,
        }
    }

    /// Answers until the last process under the filter has ended. No other thread answers, and once the
    /// descriptor is closed each later call fails.
    pub(super) fn serve(self) {
        defect::repeat("capture", self, Self::answer_next, |own| {
            if let Some(call) = own.current.take() {
                own.calls.let_through(&call).ok();
            }
        });
    }

    /// Waits for the next call and answers it.
    fn answer_next(&mut self) -> ControlFlow<()> {
        let keeps = !self.beside.is_empty() || !self.handed.is_empty();
        match self.calls.next(keeps.then_some(TIDY_INTERVAL)) {
            Next::Call(call) => {
                self.current = Some(call);
                self.answer_call(&call);
                self.current = None;
            }
            Next::Idle => self.tidy(),
            Next::Over => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    /// Drops the sockets that the program has closed without listening.
    fn tidy(&mut self) {
        let bind_table = &mut self.bind_table;
        let mut is_open = |inode: u64| has_already(bind_table, inode);
        self.beside.retain(|inode, _| is_open(*inode));
        self.handed.retain(|inode, _| is_open(*inode));
    }

    fn answer_call(&mut self, call: &Call) {
        defect::point("capture");
        let verdict = match call.what {
            What::Bind(address) => self.bind(call, address),
            What::Listen => self.listen(call),
            What::Remove { dir, path } => self.remove(call.program, dir, path),
            What::Other => None,
        };
        let answered = match verdict.unwrap_or(Verdict::Through) {
            Verdict::Through => self.calls.let_through(call),
            Verdict::Done => self.calls.succeed(call),
            Verdict::Give(socket) => self.give(call, &socket, false),
            Verdict::Open(socket) => self.give(call, &socket, true),
        };
        // A call that was interrupted, or whose process has ended, needs no answer.
        answered.ok();
    }

    /// Puts a held socket over the program's own, and lets the call succeed. With `opens` the generation
    /// claims it.
    fn give(&mut self, call: &Call, socket: &Arc<Socket>, opens: bool) -> io::Result<()> {
        let (program, number) = (call.program, call.number);
        let close_on_exec = program.socket(number).is_some_and(|own| own.close_on_exec);
        if let Err(error) = self.calls.put(call, socket, close_on_exec) {
            if let Ok(inode) = sockets::id(socket) {
                let slot = self.capture.slot;
                self.capture.held.lock().not_given(inode, slot);
            }
            return self.calls.fail(call, &error);
        }
        let process = program.process_or_thread();
        if let Ok(inode) = sockets::id(socket) {
            self.bind_table.give(process, number, inode);
            // After the program has it, since a claim without an open descriptor counts as given up.
            if opens {
                self.claim(&mut self.capture.held.lock(), inode);
            } else {
                self.reserve(inode, socket);
            }
        }
        let answered = self.calls.succeed(call);
        if answered.is_err() {
            self.interrupted.insert((process, number));
        }
        answered
    }

    // ---- bind

    fn bind(&mut self, call: &Call, address: ProgramBytes) -> Option<Verdict> {
        let (program, number) = (call.program, call.number);
        let socket = program.socket(number)?;
        let process = program.process()?;
        let was_interrupted = self.interrupted.remove(&(process, number));
        // The failure of an earlier `bind` of this socket says nothing about this one.
        self.unheld.remove(&socket.inode);
        if self.capture.held.lock().holding(socket.inode).is_some() {
            // A held socket has replaced it already, so the kernel answers EINVAL, as for any second
            // bind.
            return was_interrupted.then_some(Verdict::Done);
        }
        let address = address.of_address(socket.protocol)?;
        let Some(bytes) = program.bytes(address) else {
            // The kernel answers EFAULT to a bad pointer.
            if !program.is_readable() {
                self.report_at_listen(&socket, Why::Unreadable);
            }
            return None;
        };
        let dir = match socket.protocol {
            Protocol::Unix => program.dir(None)?,
            _ => std::path::PathBuf::new(),
        };
        let is_whole = bytes.len() == address.count();
        let bound = read(socket.protocol, &bytes)?;
        if let Bound::Abstract(name) = bound {
            self.report_at_listen(&socket, Why::Abstract(name));
            return None;
        }
        let address = bound::address(socket.protocol, bound, &dir).filter(|_| is_whole)?;
        let fresh = fresh(program, number, &socket);
        if !self.calls.still_waits(call) {
            return None;
        }
        if is_special(&fresh) {
            self.report_at_listen(&socket, Why::Device);
            return None;
        }
        if socket.protocol.listens() {
            self.bind_listener(&socket, address, &fresh)
        } else {
            self.bind_datagrams(&address, &fresh)
        }
    }

    /// Remembers why a socket can't be captured, and reports it only at `listen`: a client's bind needs
    /// no report.
    fn report_at_listen(&mut self, socket: &ProgramSocket, why: Why) {
        if self.unheld.len() == MOST_UNHELD {
            self.unheld.clear();
        }
        self.unheld.insert(socket.inode, why);
    }

    fn report_unheld(&self, why: Why) {
        self.events.send(Listening::Unheld(why)).ok();
    }

    fn bind_listener(
        &mut self,
        socket: &ProgramSocket,
        address: Address,
        fresh: &Fresh,
    ) -> Option<Verdict> {
        let slot = self.capture.slot;
        let mut held = self.capture.held.lock();
        if let Some(inode) = held.find(&address, fresh.only_v6, slot) {
            if has_already(&mut self.bind_table, inode) {
                // The program has the held socket open, so its options and the kernel decide about a
                // second one.
                self.bind_table.bind(socket.inode, address);
                return None;
            }
            // Programs unlink a path before they bind it.
            held.restore_paths();
            return held.give(inode, slot, fresh).map(Verdict::Give);
        }
        let has_overlap = held.has_overlap_with(&address);
        // Without a duplicate of the program's socket, hotrun could not bind beside it at `listen`. It
        // can bind a socket in its place now.
        let is_hidden = fresh.copy.is_none() && address.tcp().is_some() && !address.is_open();
        let bound = (has_overlap || is_hidden).then(|| held.bind(&address, fresh));
        drop(held);
        if let Some(Ok(bound)) = bound {
            return self.keep_beside(bound, address).ok().map(Verdict::Give);
        }
        // The kernel's own error counts.
        self.report_if_taken(&address, fresh);
        self.bind_table.bind(socket.inode, address);
        None
    }

    /// The kernel's answer goes to the program alone. If it will be EADDRINUSE, reports that with the
    /// owner of the address, which most programs don't name.
    fn report_if_taken(&mut self, address: &Address, fresh: &Fresh) {
        if self.bind_table.has_bound(address) || !fresh.is_refused(address) {
            return;
        }
        // A program may try again and again, or try one address after the other.
        if self.taken.len() == MOST_TAKEN || !self.taken.insert(address.clone()) {
            return;
        }
        let (tell, owner) = oneshot::channel();
        let told = Listening::Taken(address.clone(), owner);
        self.events.send(told).ok();
        // The lookup takes milliseconds, and the program is blocked.
        let (wanted, held) = (address.clone(), self.capture.held.clone());
        let find = move || {
            defect::point("port owner");
            let found = port_owner::of(&wanted).map(|holder| Owner {
                pid: holder.process.as_ref().map(|(pid, _)| *pid),
                name: holder.located(),
                held: held.lock().in_the_way_of(&wanted).map(ToString::to_string),
            });
            tell.send(found).ok();
        };
        defect::spawn_thread("port owner", None, find).ok();
    }

    fn keep_beside(&mut self, bound: Socket, address: Address) -> io::Result<Arc<Socket>> {
        let inode = sockets::id(&bound)?;
        let copy = bound.try_clone()?;
        self.bind_table.bind(inode, address);
        self.beside.insert(inode, copy);
        Ok(Arc::new(bound))
    }

    fn bind_datagrams(&mut self, address: &Address, fresh: &Fresh) -> Option<Verdict> {
        let shares = |copy: &Socket| {
            sockets::shares_address(copy).unwrap_or(false) || copy.reuse_address().unwrap_or(false)
        };
        // Client sockets, and sockets that are meant to share their address.
        if address.is_open() || fresh.copy.as_ref().is_some_and(shares) {
            return None;
        }
        let slot = self.capture.slot;
        let mut held = self.capture.held.lock();
        let find = |held: &HeldSet| held.find(address, fresh.only_v6, slot);
        if find(&held).is_none()
            && (!held.may_capture() || held.capture_datagrams(address, fresh).is_err())
        {
            drop(held);
            // The kernel's own error counts.
            self.report_if_taken(address, fresh);
            return None;
        }
        let inode = find(&held)?;
        if has_already(&mut self.bind_table, inode) {
            return None;
        }
        held.give(inode, slot, fresh).map(Verdict::Open)
    }

    // ---- listen

    fn listen(&mut self, call: &Call) -> Option<Verdict> {
        let (program, number) = (call.program, call.number);
        let Some(socket) = program.socket(number) else {
            if !program.is_readable() {
                self.report_unheld(Why::Unreadable);
            }
            return None;
        };
        if !socket.protocol.listens() {
            return None;
        }
        if let Some(why) = self.unheld.remove(&socket.inode) {
            self.report_unheld(why);
            return None;
        }
        if !self.calls.still_waits(call) {
            return None;
        }
        // The address may have been released between `bind` and `listen`.
        let handed = self.handed.remove(&socket.inode);
        let mut held = self.capture.held.lock();
        let is_held =
            held.listens_again(socket.inode) || handed.is_some() && held.hold_again(socket.inode);
        if is_held {
            self.claim(&mut held, socket.inode);
            return Some(Verdict::Done);
        }
        drop(held);
        let written = self.bind_table.written(socket.inode)?.clone();
        let slot = self.capture.slot;
        let mut fresh = fresh(program, number, &socket);
        if let Some(own) = self.beside.remove(&socket.inode) {
            fresh.copy = Some(own);
        }
        if !self.calls.still_waits(call) {
            return None;
        }
        let find = |held: &HeldSet| {
            let found = held.find(&written.address, fresh.only_v6, slot);
            found.or_else(|| held.find_numbered(&written, fresh.only_v6, slot))
        };
        let mut held = self.capture.held.lock();
        // Several sockets of the program may share an address.
        let mut found = find(&held);
        if found.is_none() {
            if written.number >= MOST_NUMBERED || !held.may_capture() {
                let is_full = held.is_full();
                drop(held);
                if is_full {
                    self.report_unheld(Why::Many);
                }
                return None;
            }
            if let Err(error) = held.capture(&written, &fresh) {
                // The program's own socket is bound, so let the kernel execute the `listen`.
                let (address, reason) = (written.address.clone(), error.to_string());
                self.events.send(Listening::Not(address, reason)).ok();
                return None;
            }
            found = find(&held);
        }
        // Without a gap in which the address could be released, since no generation claims it yet.
        held.give(found?, slot, &fresh).map(Verdict::Open)
    }

    fn reserve(&mut self, inode: u64, socket: &Arc<Socket>) {
        let mut held = self.capture.held.lock();
        held.reserve(inode, self.capture.slot);
        if let Some(held) = held.holding(inode) {
            let address = held.address.clone();
            self.handed.insert(inode, socket.clone());
            self.events.send(Listening::Bound(address)).ok();
        }
    }

    fn claim(&self, held: &mut HeldSet, inode: u64) {
        held.claim(inode, self.capture.slot);
        if let Some(held) = held.holding(inode) {
            let held = Listening::Held {
                inode,
                address: held.address.clone(),
                behind: held.behind(self.capture.slot),
            };
            self.events.send(held).ok();
        }
    }

    // ---- paths

    /// A program that unlinks its socket's path when it starts or ends takes the path for its own.
    fn remove(&self, program: Program, dir: Option<i32>, path: u64) -> Option<Verdict> {
        let path = program.text(path)?;
        // Most names differ already in their last component.
        let name = std::path::Path::new(&path).file_name()?;
        let held = self.capture.held.lock();
        let alike = held.paths().filter(|held| held.file_name() == Some(name));
        let alike: Vec<std::path::PathBuf> = alike.map(std::path::Path::to_owned).collect();
        drop(held);
        if alike.is_empty() {
            return None;
        }
        let is_held = alike.contains(&bound::absolute(&path, &program.dir(dir)?)?);
        is_held.then_some(Verdict::Done)
    }
}

/// The program has this held socket open.
fn has_already(bind_table: &mut BindTable, inode: u64) -> bool {
    bind_table.open(inode, |process, number| Program::of(process).inode(number)) > 0
}

/// It is bound to a device, which takes a privilege that hotrun may not have.
fn is_special(fresh: &Fresh) -> bool {
    fresh.copy.as_ref().is_some_and(sys::is_bound_to_device)
}

/// The properties of a program's socket.
fn fresh(program: Program, number: i32, socket: &ProgramSocket) -> Fresh {
    let copy = program.copy(number);
    let copy = copy.filter(|copy| sockets::id(copy).is_ok_and(|inode| inode == socket.inode));
    let only_v6 = match (&copy, socket.protocol) {
        (Some(copy), Protocol::Tcp6 | Protocol::Udp6) => copy.only_v6().unwrap_or(false),
        (None, Protocol::Tcp6 | Protocol::Udp6) => only_v6_by_default(),
        _ => false,
    };
    Fresh {
        only_v6,
        nonblocking: socket.nonblocking,
        copy,
    }
}

#[cfg(test)]
mod tests {
    #[cfg(unix)]
    mod with_descriptors {
        use std::fs::File;
        use std::net::{Ipv4Addr, TcpListener};
        use std::os::fd::AsRawFd;

        use super::super::*;
        use crate::session::slots::Slot;

        /// The address is free again, though hotrun had bound the socket for the program.
        #[test]
        fn a_socket_goes_when_the_program_has_closed_it() {
            let capture = Capture {
                held: HeldSet::default().into(),
                slot: Slot::First,
            };
            let listener = Calls::at(File::open("/dev/null").unwrap().into());
            let (events, _told) = tokio::sync::mpsc::unbounded_channel();
            let mut notify_loop = NotifyLoop::new(listener, capture, events);
            let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let at = bound.local_addr().unwrap();
            // This process is the program.
            let own = bound.try_clone().unwrap();
            let inode = sockets::id(&own).unwrap();
            let kept = notify_loop.keep_beside(bound.into(), Address::Tcp(at));
            drop(kept.unwrap());
            let process = std::process::id().cast_signed();
            notify_loop.bind_table.give(process, own.as_raw_fd(), inode);
            notify_loop.tidy();
            assert_eq!(notify_loop.beside.len(), 1);
            drop(own);
            notify_loop.tidy();
            assert_eq!(notify_loop.beside.len(), 0);
            TcpListener::bind(at).unwrap();
        }
    }
}
