//! Random orders of what happens to held addresses, with real sockets and against a simple model: which
//! slot gets a new connection, which addresses are held, which are free again, and which descriptors are
//! open. The same orders run with two slots and with one socket for both, as on systems that can't steer.
//!
//! A generation is played by duplicates of the sockets that it would have. `HOTRUN_TEST_SEED` begins
//! with another seed, and `HOTRUN_TEST_SECONDS` goes on for longer.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};
use tempfile::TempDir;

use super::address::Address;
use super::captured::{Fresh, Written};
use super::held::{Held, HeldSet};
use super::spec;
use super::steering::Steering;
use crate::session::slots::Slot;
use crate::sys::sockets::{connect_unix, id};
use crate::sys::testing::{emulation_lacks, lacks};
use crate::sys::{ABLE, processes};

/// Ports below those that the kernel chooses, so that no other program has them.
const PORTS: [u16; 4] = [21_001, 21_002, 21_003, 21_004];
/// The longest that another test needs from fork to exec, on a busy machine.
const FORK_AND_EXEC: Duration = Duration::from_secs(10);
/// The places of the declared addresses, of which the last is a unix socket, and of those that programs
/// bind by themselves.
const DECLARED: [usize; 3] = [0, 1, 4];
const BOUND: [usize; 2] = [2, 3];

fn steering(twins: bool) -> Steering {
    if twins {
        Steering::Kernel
    } else {
        Steering::None
    }
}

/// A small generator (xorshift64*), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(value).unwrap() % end
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// These of the declared places are declared from now on.
    Declare([bool; 3]),
    Launch,
    Bind(Slot, usize),
    Listen(Slot, usize),
    Close(Slot, usize),
    /// The slot's generation becomes live.
    Switch(Slot),
    /// Live has passed its probation.
    Prove,
    /// The slot's generation ends, and may have shut its listeners down.
    Die(Slot, bool),
    /// The addresses are freed, while no generation runs.
    Free,
    /// A program removes the path of the unix socket.
    Unlink,
}

/// A socket as a generation has it.
struct Own {
    socket: Socket,
    inode: u64,
    listens: bool,
}

/// A generation.
#[derive(Default)]
struct Process {
    sockets: BTreeMap<usize, Own>,
    /// What hotrun keeps of the sockets that it was started with.
    handles: Vec<Arc<Socket>>,
}

/// What is known of an address that a program has bound and that is held.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    claimed: [bool; 2],
    listens: [bool; 2],
    /// Kept for the next generation.
    for_next: bool,
}

struct World {
    set: HeldSet,
    twins: bool,
    dir: TempDir,
    ip: Ipv4Addr,
    processes: [Option<Process>; 2],
    live: Option<Slot>,
    /// The slot of live, or of the last live generation.
    serving: Slot,
    declared: BTreeSet<usize>,
    captured: BTreeMap<usize, Facts>,
    /// All sockets that there ever were.
    inodes: BTreeSet<u64>,
}

fn duplicate(socket: &Socket, listens: bool) -> Own {
    let socket = socket.try_clone().unwrap();
    Own {
        inode: id(&socket).unwrap(),
        socket,
        listens,
    }
}

/// How many descriptors of this process each of these sockets has.
fn descriptors(inodes: &BTreeSet<u64>) -> BTreeMap<u64, usize> {
    let mut found = BTreeMap::new();
    let open = processes::Process::own().unwrap().sockets();
    for number in open.filter(|number| inodes.contains(number)) {
        *found.entry(number).or_default() += 1;
    }
    found
}

impl World {
    fn new(twins: bool) -> Self {
        let mut set = HeldSet::default();
        set.adapt(&[], steering(twins)).unwrap();
        // Of this process alone, and of each of the two tests.
        let [_, high, low, _] = std::process::id().to_be_bytes();
        let last = std::process::id().to_be_bytes()[3];
        let ip = Ipv4Addr::new(
            127,
            64 + (high & 31) + 32 * u8::from(twins),
            low,
            last.max(1),
        );
        Self {
            set,
            twins,
            dir: tempfile::tempdir().unwrap(),
            ip,
            processes: [None, None],
            live: None,
            serving: Slot::First,
            declared: BTreeSet::new(),
            captured: BTreeMap::new(),
            inodes: BTreeSet::new(),
        }
    }

    /// The address at a place.
    fn address(&self, place: usize) -> Address {
        match PORTS.get(place) {
            Some(port) => Address::Tcp(SocketAddr::V4(SocketAddrV4::new(self.ip, *port))),
            None => Address::Unix(self.dir.path().join("s")),
        }
    }

    fn process(&mut self, slot: Slot) -> Option<&mut Process> {
        slot.of_mut(&mut self.processes).as_mut()
    }

    fn held(&self, place: usize) -> Option<&Held> {
        let address = self.address(place);
        self.set.iter().find(|held| held.address == address)
    }

    /// A process has a socket at this place.
    fn is_open(&self, place: usize) -> bool {
        let mut all = self.processes.iter().flatten();
        all.any(|process| process.sockets.contains_key(&place))
    }

    /// Hotrun still keeps a socket of this place for a process.
    fn is_kept(&self, place: usize) -> bool {
        let at = self.address(place).tcp();
        let mut all = self.processes.iter().flatten().flat_map(|one| &one.handles);
        all.any(|handle| {
            let own = handle.local_addr();
            at.is_some() && own.is_ok_and(|own| own.as_socket() == at)
        })
    }

    // ---- steps

    fn random_step(random: &mut Random) -> Step {
        let slot = random.of(&Slot::BOTH);
        let place = random.of(&BOUND);
        match random.below(16) {
            0 => Step::Declare([(); 3].map(|()| random.below(3) > 0)),
            1..=3 => Step::Launch,
            4 | 5 => Step::Bind(slot, place),
            6..=8 => Step::Listen(slot, place),
            9 => Step::Close(slot, place),
            10 | 11 => Step::Switch(slot),
            12 => Step::Prove,
            13 => Step::Die(slot, random.below(2) == 0),
            14 => Step::Free,
            _ => Step::Unlink,
        }
    }

    fn happen(&mut self, step: Step) {
        match step {
            Step::Declare(which) => self.declare(which),
            Step::Launch => self.launch(),
            Step::Bind(slot, place) => self.bind(slot, place),
            Step::Listen(slot, place) => self.listen(slot, place),
            Step::Close(slot, place) => {
                if let Some(process) = self.process(slot) {
                    process.sockets.remove(&place);
                }
            }
            Step::Switch(slot) => self.switch(slot),
            Step::Prove => self.prove(),
            Step::Die(slot, shuts_down) => self.die(slot, shuts_down),
            Step::Free => {
                if self.processes.iter().all(Option::is_none) {
                    self.set.release_unbound();
                    self.captured.clear();
                }
            }
            // The file of the one socket for both slots can't be put back.
            Step::Unlink if !self.twins => {}
            Step::Unlink => {
                if let Some(path) = self.held(DECLARED[2]).and_then(|held| held.address.path()) {
                    fs::remove_file(path).ok();
                    self.set.restore_paths();
                }
            }
        }
    }

    fn declare(&mut self, which: [bool; 3]) {
        let wanted = DECLARED.into_iter().zip(which);
        let wanted: BTreeSet<usize> = wanted
            .filter(|(_, is)| *is)
            .map(|(place, _)| place)
            .collect();
        // What a process keeps without hotrun can't be held again if it was a unix socket.
        let unix = DECLARED[2];
        if wanted.contains(&unix) && !self.declared.contains(&unix) && self.is_open(unix) {
            return;
        }
        let specs: Vec<_> = wanted
            .iter()
            .map(|place| spec::parse(&self.address(*place).to_string(), self.dir.path()).unwrap())
            .collect();
        self.set.adapt(&specs, steering(self.twins)).unwrap();
        self.declared = wanted;
    }

    fn launch(&mut self) {
        let active = self.set.active();
        let slot = self.live.map_or(active, Slot::other);
        if slot.of(&self.processes).is_some() {
            return;
        }
        self.set.repair().unwrap();
        self.set.forget_claims(slot, self.serving);
        self.forget(slot);
        let handles = self.set.share(slot);
        let places: Vec<usize> = self
            .set
            .given()
            .map(|held| {
                DECLARED
                    .into_iter()
                    .find(|place| self.address(*place) == held.address)
            })
            .map(Option::unwrap)
            .collect();
        let sockets = places.into_iter().zip(&handles);
        let sockets = sockets.map(|(place, socket)| (place, duplicate(socket, true)));
        *slot.of_mut(&mut self.processes) = Some(Process {
            sockets: sockets.collect(),
            handles,
        });
    }

    fn forget(&mut self, slot: Slot) {
        for facts in self.captured.values_mut() {
            *slot.of_mut(&mut facts.claimed) = false;
            let listened = std::mem::take(slot.of_mut(&mut facts.listens));
            facts.for_next |= listened && slot == self.serving;
        }
    }

    fn bind(&mut self, slot: Slot, place: usize) {
        let (address, is_open) = (self.address(place), self.is_open(place));
        let is_kept = self.is_kept(place);
        let Some(process) = slot.of_mut(&mut self.processes) else {
            return;
        };
        if process.sockets.contains_key(&place) {
            return;
        }
        let fresh = Fresh {
            only_v6: false,
            nonblocking: true,
            copy: None,
        };
        if let Some(inode) = self.set.find(&address, false, slot) {
            let socket = self.set.give(inode, slot, &fresh).unwrap();
            self.set.reserve(inode, slot);
            process.sockets.insert(place, duplicate(&socket, false));
            *slot.of_mut(&mut self.captured.get_mut(&place).unwrap().claimed) = true;
            return;
        }
        let own = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        own.set_reuse_address(true).unwrap();
        own.set_nonblocking(true).unwrap();
        let bound = own.bind(&address.tcp().unwrap().into());
        assert!(bound.is_ok() || is_open || is_kept, "{address} is not free");
        if bound.is_ok() {
            process.sockets.insert(place, duplicate(&own, false));
        }
    }

    fn listen(&mut self, slot: Slot, place: usize) {
        let address = self.address(place);
        let Some(process) = slot.of_mut(&mut self.processes) else {
            return;
        };
        let Some(own) = process.sockets.get_mut(&place) else {
            return;
        };
        if !self.set.listens_again(own.inode) {
            let fresh = Fresh {
                only_v6: false,
                nonblocking: true,
                copy: Some(own.socket.try_clone().unwrap()),
            };
            let written = Written { address, number: 0 };
            if self.set.find(&written.address, false, slot).is_none() {
                self.set.capture(&written, &fresh).unwrap();
                let for_next = true;
                let facts = Facts {
                    for_next,
                    ..Facts::default()
                };
                self.captured.insert(place, facts);
            }
            let inode = self.set.find(&written.address, false, slot).unwrap();
            let socket = self.set.give(inode, slot, &fresh).unwrap();
            *own = duplicate(&socket, true);
        }
        own.listens = true;
        self.set.claim(own.inode, slot);
        let facts = self.captured.get_mut(&place).unwrap();
        *slot.of_mut(&mut facts.claimed) = true;
        *slot.of_mut(&mut facts.listens) = true;
        facts.for_next = false;
    }

    fn switch(&mut self, slot: Slot) {
        if slot.of(&self.processes).is_none() || self.live == Some(slot) {
            return;
        }
        self.set.switch(slot).unwrap();
        assert_eq!(self.set.release_overlapping(slot), []);
        (self.live, self.serving) = (Some(slot), slot);
        for facts in self.captured.values_mut() {
            facts.for_next = false;
        }
    }

    fn prove(&mut self) {
        let Some(slot) = self.live else { return };
        let process = slot.of(&self.processes).as_ref().unwrap();
        let open: HashSet<u64> = process.sockets.values().map(|own| own.inode).collect();
        let mut claims = self.set.claims(slot);
        let count = claims.len();
        claims.retain(|inode, _| !open.contains(inode));
        if claims.len() < count {
            self.set.unclaim(slot, &claims);
            for (place, facts) in &mut self.captured {
                if !process.sockets.contains_key(place) {
                    *slot.of_mut(&mut facts.claimed) = false;
                    *slot.of_mut(&mut facts.listens) = false;
                }
            }
        }
        self.set.release_unclaimed();
        self.captured
            .retain(|_, facts| facts.for_next || facts.claimed.contains(&true));
    }

    fn die(&mut self, slot: Slot, shuts_down: bool) {
        let Some(process) = slot.of_mut(&mut self.processes).take() else {
            return;
        };
        for (place, own) in &process.sockets {
            // A unix socket that was shut down does not listen again.
            if shuts_down && own.listens && *place != DECLARED[2] {
                own.socket.shutdown(Shutdown::Both).ok();
            }
        }
        drop(process);
        self.live.take_if(|live| *live == slot);
        self.set.repair().unwrap();
        self.set.restore_paths();
        self.set.forget_claims(slot, self.serving);
        self.forget(slot);
    }

    // ---- what must hold

    fn check(&mut self) {
        for place in 0..=PORTS.len() {
            let expected = self.declared.contains(&place) || self.captured.contains_key(&place);
            let held = self.held(place).is_some();
            assert_eq!(held, expected, "whether {} is held", self.address(place));
            if held {
                self.is_answered_by_active(place);
            } else if !self.is_open(place) && !self.is_kept(place) {
                self.is_free(place);
            }
        }
        self.no_descriptor_is_left();
    }

    /// New connections are never refused, and reach the active slot alone.
    fn is_answered_by_active(&self, place: usize) {
        let held = self.held(place).unwrap();
        let active = self.set.active();
        assert_eq!(held.has_twins(), self.twins, "{}", held.address);
        let mut clients: Vec<Socket> = Vec::new();
        for _ in 0..3 {
            clients.push(match held.address.tcp() {
                Some(at) => {
                    let client = TcpStream::connect(at).unwrap();
                    // Or the client's port would be taken for a while.
                    SockRef::from(&client)
                        .set_linger(Some(Duration::ZERO))
                        .unwrap();
                    client.into()
                }
                None => connect_unix(held.address.path().unwrap()).unwrap(),
            });
        }
        let taken = |socket: &Socket| std::iter::from_fn(|| socket.accept().ok()).count();
        if self.twins {
            let standby = held.sockets.of(active.other());
            assert_eq!(taken(standby), 0, "{}: on standby", held.address);
        }
        let process = active.of(&self.processes).as_ref();
        let own = process.and_then(|process| process.sockets.get(&place));
        let own = own.filter(|own| own.inode == held.inode(active));
        let socket = own.map_or(&**held.sockets.of(active), |own| &own.socket);
        assert_eq!(taken(socket), clients.len(), "{}: active", held.address);
    }

    fn is_free(&self, place: usize) {
        match self.address(place) {
            Address::Tcp(at) => drop(bind_when_free(at)),
            address => assert!(!address.path().unwrap().exists(), "{address}"),
        }
    }

    /// Each socket is open as often as the model says.
    fn no_descriptor_is_left(&mut self) {
        let processes = || self.processes.iter().flatten();
        let held = self.set.iter().flat_map(|held| held.sockets.each());
        let handles = processes().flat_map(|process| &process.handles);
        let shared: BTreeSet<u64> = held
            .chain(handles)
            .map(|socket| id(&**socket).unwrap())
            .collect();
        let mut expected: BTreeMap<u64, usize> = shared.iter().map(|inode| (*inode, 1)).collect();
        for own in processes().flat_map(|process| process.sockets.values()) {
            *expected.entry(own.inode).or_default() += 1;
        }
        self.inodes.extend(expected.keys());
        assert_eq!(descriptors(&self.inodes), expected, "the descriptors");
    }
}

/// Binds a released address. A process that another test starts meanwhile has copies of all descriptors
/// until it executes its program: an address may be taken for that long, and no longer.
#[expect(
    clippy::disallowed_methods,
    reason = "a limit for what may be waited for"
)]
fn bind_when_free(at: SocketAddr) -> TcpListener {
    let began = Instant::now();
    loop {
        match TcpListener::bind(at) {
            Err(error)
                if error.kind() == ErrorKind::AddrInUse && began.elapsed() < FORK_AND_EXEC =>
            {
                std::thread::yield_now();
            }
            bound => return bound.unwrap(),
        }
    }
}

fn number_of(key: &str) -> Option<u64> {
    std::env::var(key).ok().map(|text| text.parse().unwrap())
}

#[expect(clippy::disallowed_methods, reason = "more seeds are tried for a time")]
fn random_orders(twins: bool) {
    if lacks(
        ABLE.capture && ABLE.sight,
        "capture or sight of descriptors",
    ) {
        return;
    }
    let began = Instant::now();
    let long = Duration::from_secs(number_of("HOTRUN_TEST_SECONDS").unwrap_or_default());
    let first = number_of("HOTRUN_TEST_SEED").unwrap_or(1);
    let mut seeds = first..;
    while let Some(seed) = seeds.next()
        && (seed < first + 12 || began.elapsed() < long)
    {
        let mut random = Random(seed);
        let mut world = World::new(twins);
        let mut story = Story {
            seed,
            steps: Vec::new(),
        };
        for _ in 0..60 {
            let step = World::random_step(&mut random);
            story.steps.push(step);
            world.happen(step);
            world.check();
        }
        for slot in Slot::BOTH {
            world.die(slot, false);
        }
        world.set.release_all();
        let left = descriptors(&world.inodes);
        assert!(left.is_empty(), "left at the end: {left:?}");
    }
}

/// Shows what happened if the test fails.
struct Story {
    seed: u64,
    steps: Vec<Step>,
}

impl Drop for Story {
    #[expect(clippy::print_stdout, reason = "what led to the failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("HOTRUN_TEST_SEED={}: {:#?}", self.seed, self.steps);
        }
    }
}

#[test]
fn random_orders_with_two_slots() {
    if emulation_lacks("choice between two sockets at one address") {
        return;
    }
    random_orders(true);
}

#[test]
fn random_orders_with_one_socket_for_both() {
    random_orders(false);
}
