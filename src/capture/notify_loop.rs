//! Answers the calls of one generation: one after the other comes in, gets its answer, and is forgotten. The order of the
//! facts is the order in which the kernel would look at them.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use socket2::SockRef;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::bind_table::BindTable;
use super::program::{Program, Socket};
use super::sockaddr::{self, LONGEST, Protocol};
use super::{Capture, Listening, Owner, Why};
use crate::defect;
use crate::sockets::address::Address;
use crate::sockets::captured::Fresh;
use crate::sockets::held::HeldSet;
use crate::sockets::port_owner;
use crate::sys::seccomp::{
    Notification, answer, let_through, put, receive_notification, still_waits,
};

/// The most bytes that the kernel takes for an address (`sockaddr_storage`).
const LONGEST_ADDRESS: usize = 128;

/// Of the sockets whose port is left to the system, so many are held for each address: a program that
/// makes more of them makes them for a moment.
const MOST_NUMBERED: u32 = 16;

/// Milliseconds between two looks at what the program has bound and may have closed.
const TIDY: u8 = 250;

/// Of so many sockets is it known at once why they can't be held.
const MOST_UNHELD: usize = 1024;

/// What a call is answered with.
enum Verdict {
    /// The kernel does what is asked for.
    Through,
    /// It is not done, and this is its result.
    Done(Result<(), Errno>),
    /// The program's socket has this one in its place from now on, and the call is done.
    Give(Arc<OwnedFd>),
    /// The same, and it takes clients there.
    Open(Arc<OwnedFd>),
}

pub(super) struct NotifyLoop {
    listener: OwnedFd,
    capture: Capture,
    told: UnboundedSender<Listening>,
    bind_table: BindTable,
    /// Sockets of ours that were bound for the program.
    beside: HashMap<u64, OwnedFd>,
    /// Held sockets that the program was given when it bound, and on which it may be about to listen.
    handed: HashMap<u64, Arc<OwnedFd>>,
    /// Sockets whose address can't be held, and why.
    unheld: HashMap<u64, Why>,
    /// Process and descriptor of each call that went before it heard its answer: it comes again.
    interrupted: HashSet<(i32, i32)>,
}

impl NotifyLoop {
    pub(super) fn new(
        listener: OwnedFd,
        capture: Capture,
        told: UnboundedSender<Listening>,
    ) -> Self {
        Self {
            listener,
            capture,
            told,
            bind_table: BindTable::default(),
            beside: HashMap::new(),
            handed: HashMap::new(),
            unheld: HashMap::new(),
            interrupted: HashSet::new(),
        }
    }

    /// Answers until nobody is left who could ask.
    pub(super) fn serve(mut self) {
        loop {
            let keeps = !self.beside.is_empty() || !self.handed.is_empty();
            let wait = if keeps {
                PollTimeout::from(TIDY)
            } else {
                PollTimeout::NONE
            };
            let mut source = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
            match poll(&mut source, wait) {
                Err(Errno::EINTR) => continue,
                Err(_) => return,
                Ok(_) => {}
            }
            let seen = source[0].revents().unwrap_or(PollFlags::empty());
            if seen.contains(PollFlags::POLLIN) {
                if let Ok(notification) = receive_notification(self.listener.as_fd()) {
                    // Nobody else could answer, and without this thread each later call would fail.
                    if defect::caught(|| self.deal_with(&notification)).is_err() {
                        let_through(self.listener.as_fd(), notification.id).ok();
                    }
                }
            } else if !seen.is_empty() {
                return;
            } else {
                self.tidy();
            }
        }
    }

    /// Keeps no copy of what the program has closed without listening.
    fn tidy(&mut self) {
        let bind_table = &mut self.bind_table;
        let mut is_open = |inode: u64| has_already(bind_table, inode);
        self.beside.retain(|inode, _| is_open(*inode));
        self.handed.retain(|inode, _| is_open(*inode));
    }

    fn deal_with(&mut self, notification: &Notification) {
        defect::point("capture");
        let id = notification.id;
        let program = Program(notification.thread);
        let verdict = if notification.call == libc::SYS_bind {
            self.bind(notification, program)
        } else if notification.call == libc::SYS_listen {
            self.listen(notification, program)
        } else {
            self.remove(notification, program)
        };
        let answered = match verdict.unwrap_or(Verdict::Through) {
            Verdict::Through => let_through(self.listener.as_fd(), id),
            Verdict::Done(result) => answer(self.listener.as_fd(), id, result),
            Verdict::Give(socket) => self.give(notification, program, &socket, false),
            Verdict::Open(socket) => self.give(notification, program, &socket, true),
        };
        // Who has gone meanwhile needs no answer.
        answered.ok();
    }

    /// Puts a held socket over the program's own, and has the call succeed; where it `opens`, clients
    /// are to come there.
    fn give(
        &mut self,
        notification: &Notification,
        program: Program,
        socket: &Arc<OwnedFd>,
        opens: bool,
    ) -> io::Result<()> {
        let (id, number) = (notification.id, notification.integer(0));
        let close_on_exec = program.socket(number).is_some_and(|own| own.close_on_exec);
        if let Err(error) = put(self.listener.as_fd(), id, socket, number, close_on_exec) {
            return answer(self.listener.as_fd(), id, Err(errno(&error)));
        }
        let process = program.process().unwrap_or(program.0);
        if let Ok(found) = fstat(socket.as_fd()) {
            self.bind_table.give(process, number, found.st_ino);
            // Not before it has it: what nobody has open is given up.
            if opens {
                self.claim(found.st_ino);
            } else {
                self.reserve(found.st_ino, socket);
            }
        }
        let answered = answer(self.listener.as_fd(), id, Ok(()));
        if answered.is_err() {
            self.interrupted.insert((process, number));
        }
        answered
    }

    // ---- bind

    fn bind(&mut self, notification: &Notification, program: Program) -> Option<Verdict> {
        let number = notification.integer(0);
        let socket = program.socket(number)?;
        let process = program.process()?;
        let again = self.interrupted.remove(&(process, number));
        // What was wrong with an earlier call on it says nothing about this one.
        self.unheld.remove(&socket.inode);
        if self.capture.held.lock().address_of(socket.inode).is_some() {
            // It was given a held socket before: the kernel says that one can't bind twice.
            return again.then_some(Verdict::Done(Ok(())));
        }
        let length = usize::try_from(notification.integer(2)).ok()?;
        let longest = match socket.protocol {
            Protocol::Unix => LONGEST,
            _ => LONGEST_ADDRESS,
        };
        if length > longest {
            return None;
        }
        let length = LONGEST.min(length);
        let Some(bytes) = program.memory(notification.pointer(1), length) else {
            // A pointer to nowhere is the kernel's to refuse.
            if !program.is_readable() {
                self.not_held_if_it_listens(&socket, Why::Unreadable);
            }
            return None;
        };
        let dir = match socket.protocol {
            Protocol::Unix => program.dir(None)?,
            _ => std::path::PathBuf::new(),
        };
        let is_whole = bytes.len() == length;
        if let Some(name) = sockaddr::abstract_name(socket.protocol, &bytes) {
            self.not_held_if_it_listens(&socket, Why::Abstract(name));
            return None;
        }
        let address = sockaddr::read(socket.protocol, &bytes, &dir).filter(|_| is_whole)?;
        let fresh = fresh(program, number, &socket);
        if !still_waits(self.listener.as_fd(), notification.id) {
            return None;
        }
        if is_special(&fresh) {
            self.not_held_if_it_listens(&socket, Why::Device);
            return None;
        }
        if socket.protocol.listens() {
            self.bind_listener(&socket, address, &fresh)
        } else {
            self.bind_datagrams(&address, &fresh)
        }
    }

    /// Clients are bound too, and nobody misses them.
    fn not_held_if_it_listens(&mut self, socket: &Socket, why: Why) {
        if self.unheld.len() == MOST_UNHELD {
            self.unheld.clear();
        }
        self.unheld.insert(socket.inode, why);
    }

    fn say_why_not(&self, why: Why) {
        self.told.send(Listening::Unheld(why)).ok();
    }

    fn bind_listener(
        &mut self,
        socket: &Socket,
        address: Address,
        fresh: &Fresh,
    ) -> Option<Verdict> {
        let held = self.capture.held.lock();
        if let Some(inode) = held.find(&address, fresh.only_v6, self.capture.slot) {
            if has_already(&mut self.bind_table, inode) {
                // Whether it may have it once more is up to what both sockets say, and the kernel.
                self.bind_table.bind(socket.inode, address);
                return None;
            }
            // Programs remove a path before they bind it.
            held.restore_paths();
            return held.give(inode, fresh).map(Verdict::Give);
        }
        let is_crossed = held.has_overlap_with(&address);
        // Where there is no copy of the program's socket, nothing could be bound where that is. One of
        // ours can take its place now, but not later.
        let is_hidden = fresh.copy.is_none() && address.tcp().is_some() && !address.is_open();
        let bound = (is_crossed || is_hidden).then(|| held.bind(&address, fresh));
        drop(held);
        if let Some(Ok(bound)) = bound {
            return self.keep_beside(bound, address).ok().map(Verdict::Give);
        }
        // What the kernel says itself counts.
        self.look_if_taken(&address, fresh);
        self.bind_table.bind(socket.inode, address);
        None
    }

    /// The kernel's answer is the program's alone. Where it will be a refusal, that is told, since most
    /// programs only say that they were refused, and not because of whom.
    fn look_if_taken(&mut self, address: &Address, fresh: &Fresh) {
        if self.bind_table.has_bound(address) || !fresh.is_refused(address) {
            return;
        }
        let (tell, owner) = oneshot::channel();
        let told = Listening::Taken(address.clone(), owner);
        self.told.send(told).ok();
        // It takes milliseconds, and the program waits.
        let wanted = address.clone();
        let find = move || {
            let found = port_owner::of(&wanted).map(|holder| Owner {
                pid: holder.process.as_ref().map(|(pid, _)| *pid),
                name: holder.located(),
            });
            tell.send(found).ok();
        };
        thread::Builder::new()
            .name("hotrun-holder".into())
            .spawn(find)
            .ok();
    }

    fn keep_beside(&mut self, bound: OwnedFd, address: Address) -> io::Result<Arc<OwnedFd>> {
        let inode = fstat(bound.as_fd())?.st_ino;
        let copy = bound.try_clone()?;
        self.bind_table.bind(inode, address);
        self.beside.insert(inode, copy);
        Ok(Arc::new(bound))
    }

    fn bind_datagrams(&mut self, address: &Address, fresh: &Fresh) -> Option<Verdict> {
        let shares = |copy: &OwnedFd| {
            let copy = SockRef::from(copy);
            copy.reuse_port().unwrap_or(false) || copy.reuse_address().unwrap_or(false)
        };
        // Clients, and those who say themselves that several may have it.
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
            // What the kernel says itself counts.
            self.look_if_taken(address, fresh);
            return None;
        }
        let inode = find(&held)?;
        if has_already(&mut self.bind_table, inode) {
            return None;
        }
        held.give(inode, fresh).map(Verdict::Open)
    }

    // ---- listen

    fn listen(&mut self, notification: &Notification, program: Program) -> Option<Verdict> {
        let number = notification.integer(0);
        let Some(socket) = program.socket(number) else {
            if !program.is_readable() {
                self.say_why_not(Why::Unreadable);
            }
            return None;
        };
        if !socket.protocol.listens() {
            return None;
        }
        if let Some(why) = self.unheld.remove(&socket.inode) {
            self.say_why_not(why);
            return None;
        }
        if !still_waits(self.listener.as_fd(), notification.id) {
            return None;
        }
        // It may have been let go of between both calls.
        let handed = self.handed.remove(&socket.inode);
        let mut held = self.capture.held.lock();
        let is_held =
            held.listens_again(socket.inode) || handed.is_some() && held.hold_again(socket.inode);
        drop(held);
        if is_held {
            self.claim(socket.inode);
            return Some(Verdict::Done(Ok(())));
        }
        let written = self.bind_table.written(socket.inode)?.clone();
        let slot = self.capture.slot;
        let mut fresh = fresh(program, number, &socket);
        if let Some(own) = self.beside.remove(&socket.inode) {
            fresh.copy = Some(own);
        }
        if !still_waits(self.listener.as_fd(), notification.id) {
            return None;
        }
        let find = |held: &HeldSet| {
            let found = held.find(&written.address, fresh.only_v6, slot);
            found.or_else(|| held.find_numbered(&written, fresh.only_v6, slot))
        };
        // Several of the program's sockets may share an address.
        let found = find(&self.capture.held.lock());
        if found.is_none() {
            let mut held = self.capture.held.lock();
            if written.number >= MOST_NUMBERED || !held.may_capture() {
                let is_full = held.is_full();
                drop(held);
                if is_full {
                    self.say_why_not(Why::Many);
                }
                return None;
            }
            if let Err(error) = held.capture(&written, &fresh) {
                // The program's own socket is bound, and the kernel has it listen.
                let (address, reason) = (written.address.clone(), error.to_string());
                self.told.send(Listening::Not(address, reason)).ok();
                return None;
            }
        }
        let inode = found.or_else(|| find(&self.capture.held.lock()))?;
        let given = self.capture.held.lock().give(inode, &fresh);
        given.map(Verdict::Open)
    }

    fn reserve(&mut self, inode: u64, socket: &Arc<OwnedFd>) {
        let mut held = self.capture.held.lock();
        held.reserve(inode, self.capture.slot);
        if let Some(address) = held.address_of(inode).cloned() {
            self.handed.insert(inode, socket.clone());
            self.told.send(Listening::Bound(address)).ok();
        }
    }

    fn claim(&mut self, inode: u64) {
        let mut held = self.capture.held.lock();
        held.claim(inode, self.capture.slot);
        if let Some(address) = held.address_of(inode).cloned() {
            self.told.send(Listening::Held { inode, address }).ok();
        }
    }

    // ---- paths

    /// A program that removes its path when it starts, or ends, believes that it is alone.
    fn remove(&self, notification: &Notification, program: Program) -> Option<Verdict> {
        #[cfg(target_arch = "x86_64")]
        let is_short = notification.call == libc::SYS_unlink;
        #[cfg(not(target_arch = "x86_64"))]
        let is_short = false;
        let (dir, path) = if is_short {
            (None, notification.pointer(0))
        } else if notification.integer(2) & libc::AT_REMOVEDIR != 0 {
            return None;
        } else {
            let dir = Some(notification.integer(0)).filter(|dir| *dir != libc::AT_FDCWD);
            (dir, notification.pointer(1))
        };
        let path = program.text(path)?;
        // Most names are not even like one that is held.
        let name = std::path::Path::new(&path).file_name()?;
        let held = self.capture.held.lock();
        let alike = held.paths().filter(|held| held.file_name() == Some(name));
        let alike: Vec<std::path::PathBuf> = alike.map(std::path::Path::to_owned).collect();
        drop(held);
        if alike.is_empty() {
            return None;
        }
        let is_held = alike.contains(&sockaddr::absolute(&path, &program.dir(dir)?)?);
        is_held.then_some(Verdict::Done(Ok(())))
    }
}

/// The program has this held socket open.
fn has_already(bind_table: &mut BindTable, inode: u64) -> bool {
    bind_table.open(inode, |process, number| Program(process).inode(number)) > 0
}

/// It is bound to a device, which nobody else could do for it.
fn is_special(fresh: &Fresh) -> bool {
    let device = fresh
        .copy
        .as_ref()
        .and_then(|copy| SockRef::from(copy).device().ok()?);
    device.is_some()
}

/// What is known of a socket that a program has made.
fn fresh(program: Program, number: i32, socket: &Socket) -> Fresh {
    let copy = program.copy(number);
    let copy =
        copy.filter(|copy| fstat(copy.as_fd()).is_ok_and(|found| found.st_ino == socket.inode));
    let only_v6 = match (&copy, socket.protocol) {
        (Some(copy), Protocol::Tcp6 | Protocol::Udp6) => {
            SockRef::from(copy).only_v6().unwrap_or(false)
        }
        (None, Protocol::Tcp6 | Protocol::Udp6) => only_v6_by_default(),
        _ => false,
    };
    Fresh {
        only_v6,
        nonblocking: socket.nonblocking,
        copy,
    }
}

/// What a socket of IPv6 is made with (`net.ipv6.bindv6only`).
fn only_v6_by_default() -> bool {
    let set = std::fs::read_to_string("/proc/sys/net/ipv6/bindv6only");
    set.is_ok_and(|set| set.trim() == "1")
}

fn errno(error: &io::Error) -> Errno {
    error
        .raw_os_error()
        .map_or(Errno::EADDRINUSE, Errno::from_raw)
}
