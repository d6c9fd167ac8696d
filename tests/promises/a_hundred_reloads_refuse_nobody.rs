//! However often the code is saved and however often live is killed meanwhile: nobody is refused, no
//! answer is stale, a killed process takes nothing with it but the connections that it had accepted, and
//! hotrun is afterwards what it was before.
//!
//! `HOTRUN_TEST_RELOADS` and `HOTRUN_TEST_RATE` set the number of saves and that of new connections in a
//! second; every fifth save comes with a SIGKILL. `--nocapture` shows the figures.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use procfs::process::Process;
use serde_json::Value;

use crate::common::load::{Exchange, Kind, Outcomes};
use crate::common::processes::{Connections, Running, zombies_below};
use crate::common::{
    Hotrun, Load, Outcome, Project, Run, now, own_address, say, size_of_test, wait_until,
};

/// So many saves come with one SIGKILL.
const SAVES_PER_KILL: usize = 5;

/// By so many KiB hotrun and its keepers may be larger afterwards, for each new connection in a second:
/// after a crash, those of a second or two are relayed at once, with 16 KiB of buffers each, and the
/// allocator keeps what that took.
const GROWTH: u64 = 40;

/// When live is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum When {
    /// While the next version is built.
    Building,
    /// While the next version starts.
    Starting,
    /// As soon as it is live, while the old one ends.
    Switched,
    /// When nothing else happens.
    Alone,
}

const WHEN: [When; 4] = [When::Building, When::Switched, When::Starting, When::Alone];

/// A process that was killed.
struct Killed {
    when: When,
    /// It was live, not one that drained.
    live: bool,
    /// It had stopped, and could accept no more connections.
    stopped: Instant,
    /// The ports of the clients whose connections it had.
    clients: HashSet<u16>,
}

impl Killed {
    /// This connection was lost with the process.
    fn had(&self, exchange: &Exchange) -> bool {
        let is_client = exchange
            .port
            .is_some_and(|port| self.clients.contains(&port));
        is_client && exchange.opened < self.stopped && self.stopped < exchange.ended
    }
}

/// What hotrun and its keepers are made of.
#[derive(Clone, Debug, Default)]
struct Size {
    /// hotrun's, and those of each keeper, the fewest first.
    descriptors: Vec<usize>,
    /// All processes, the app's too.
    processes: usize,
    /// The resident memory of hotrun and of its keepers, in KiB.
    memory: [u64; 2],
}

impl Size {
    fn of(hotrun: &Hotrun) -> Option<Self> {
        let below = hotrun.survivors();
        let keepers = below.iter().filter(|one| one.command.contains("__keeper"));
        let mut size = Self {
            processes: 1 + below.len(),
            ..Self::default()
        };
        let pids = keepers.map(|keeper| keeper.pid);
        for (at, pid) in std::iter::once(hotrun.pid()).chain(pids).enumerate() {
            let process = Process::new(pid).ok()?;
            size.descriptors.push(process.fd_count().ok()?);
            size.memory[at.min(1)] += process.status().ok()?.vmrss?;
        }
        // The app's keeper is not the one with the lower pid where those began anew.
        size.descriptors[1..].sort_unstable();
        Some(size)
    }

    /// Waits until nothing runs but hotrun, the app, its keeper, and the next cargo's, and all have had the
    /// same descriptors for a while: at most these.
    #[track_caller]
    fn calm(hotrun: &Hotrun, most: Option<&[usize]>) -> Self {
        let (mut seen, mut same) = (None, 0);
        let calm = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until("nothing to happen any more", || {
                let last = seen.take();
                seen = Self::of(hotrun);
                let counts =
                    |size: &Option<Self>| size.as_ref().map(|size| size.descriptors.clone());
                same = if counts(&last) == counts(&seen) {
                    same + 1
                } else {
                    0
                };
                let is_calm = |now: &&Self| {
                    let counts = &now.descriptors;
                    let no_more =
                        |most: &[usize]| counts.iter().zip(most).all(|(now, most)| now <= most);
                    let [count, keepers] = [now.processes, counts.len() - 1];
                    same > 25 && (count, keepers) == (4, 2) && most.is_none_or(no_more)
                };
                seen.as_ref().filter(is_calm).cloned()
            })
        }));
        calm.unwrap_or_else(|_| panic!("{most:?} descriptors before, and now {seen:?}"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [hotrun, keepers] = self.memory;
        write!(
            f,
            "{} processes, {:?} descriptors, {hotrun} KiB and {keepers} KiB",
            self.processes, self.descriptors
        )
    }
}

/// A project whose versions replace each other.
struct Story<'a> {
    project: &'a Project,
    hotrun: &'a Hotrun,
    /// When hotrun was started, a moment earlier or later.
    start: Instant,
    killed: Vec<Killed>,
}

impl Story<'_> {
    /// Saves this version, and kills live meanwhile.
    fn save(&mut self, version: usize, when: Option<When>) {
        let hotrun = self.hotrun;
        let live = self.live();
        let place = hotrun.here();
        let early = match when {
            Some(When::Building) => Some("building"),
            Some(When::Starting) => Some("started"),
            _ => None,
        };
        // Nothing takes the place of live before it is killed.
        let gate = gate(self.project);
        if early.is_some() {
            fs::write(&gate, "").unwrap();
        }
        self.project.set_version(&version.to_string());
        if let (Some(when), Some(event)) = (when, early) {
            hotrun.wait_after(place, event, |_| true);
            self.kill(live, when);
            fs::remove_file(&gate).unwrap();
        }
        hotrun.wait_version(&version.to_string());
        if let (Some(when), None) = (when, early) {
            if when == When::Alone {
                hotrun.wait_after(place, "gone", |event| event["generation"] == live);
            }
            let place = hotrun.here();
            if self.kill(self.live(), when) {
                hotrun.wait_next_live(place);
            }
        }
    }

    /// What became of the requests, and of hotrun.
    fn tell(&self, outcomes: &Outcomes, took: Duration, before: &Size, after: &Size) {
        let mut moments: BTreeMap<When, usize> = BTreeMap::new();
        for killed in self.killed.iter().filter(|killed| killed.live) {
            *moments.entry(killed.when).or_default() += 1;
        }
        let had: usize = self.killed.iter().map(|killed| killed.clients.len()).sum();
        let reset = self.lost(outcomes);
        say(&format!(
            "{} times live in {took:?}, {} SIGKILLs of live {moments:?} and {} of one that drained: \
             {}; {had} connections taken by them, {} reset, {} more were reset\n\
             before: {before}\n\
             after:  {after}",
            self.hotrun.all("live").len(),
            self.kills(),
            self.killed.len() - self.kills(),
            outcomes.figures(),
            outcomes.figures().reset - reset.len(),
            reset.len(),
        ));
    }

    fn check(&self, outcomes: &Outcomes, saves: usize) {
        let figures = outcomes.figures();
        let lost = figures.refused + figures.timed_out + figures.other;
        assert_eq!(lost, 0, "{figures}");
        let [stale, lost] = [outcomes.stale_ones(), self.lost(outcomes)];
        let places: Vec<String> = stale
            .iter()
            .chain(&lost)
            .map(|(exchange, known)| self.place(exchange, *known))
            .collect();
        assert!(places.is_empty(), "{figures}:\n{}", places.join("\n"));
        assert_eq!(self.kills(), saves / SAVES_PER_KILL);
        assert_eq!(self.hotrun.all("warning").len(), 0);
        assert_eq!(self.hotrun.all("uncaptured").len(), 0);
    }

    /// The connections that were reset without having been those of a process that was killed.
    fn lost<'a>(&self, outcomes: &'a Outcomes) -> Vec<(&'a Exchange, u32)> {
        let taken = |exchange: &&Exchange| self.killed.iter().any(|one| one.had(exchange));
        let lost = outcomes.0.iter();
        let lost = lost.filter(|exchange| exchange.outcome == Outcome::Reset && !taken(exchange));
        lost.map(|exchange| (exchange, 0)).collect()
    }

    /// What became of this connection, in milliseconds since hotrun was started.
    fn place(&self, exchange: &Exchange, known: u32) -> String {
        let since = |at: Instant| (at - self.start).as_millis();
        let answer = exchange.answer().map(|answer| answer.generation);
        format!(
            "port {:?}, {} to {} ms: {answer:?}, when g{known} was known",
            exchange.port,
            since(exchange.opened),
            since(exchange.ended)
        )
    }

    /// How often live was killed.
    fn kills(&self) -> usize {
        self.killed.iter().filter(|killed| killed.live).count()
    }

    fn live(&self) -> u64 {
        let last = self.hotrun.all("live").pop().unwrap();
        last["generation"].as_u64().unwrap()
    }

    /// Kills the app of this generation; returns whether it was live then.
    fn kill(&mut self, generation: u64, when: When) -> bool {
        let is_it = |event: &Value| event["generation"] == generation;
        let started = self.hotrun.wait_for("started", is_it);
        let pid = i32::try_from(started["pid"].as_i64().unwrap()).unwrap();
        let place = self.hotrun.here();
        // Stopped, it accepts no more, so that its connections can be counted.
        let Some(app) = Running::find(pid).filter(|app| app.try_signal(Signal::SIGSTOP)) else {
            return false;
        };
        wait_until("it to be stopped", || {
            (app.is_stopped() || !app.runs()).then_some(())
        });
        let stopped = now();
        let connections = Connections::of(pid);
        app.try_signal(Signal::SIGKILL);
        let clients = connections.clients();
        let (_, event) = self.hotrun.wait_any(place, &["ended", "gone"], is_it);
        let live = event["event"] == "ended" && event["live"] == true;
        self.killed.push(Killed {
            when,
            live,
            stopped,
            clients,
        });
        live
    }
}

/// As long as this file is there, no new version gets ready.
fn gate(project: &Project) -> PathBuf {
    project.root().join("gate")
}

/// Has this server wait at the gate. And on a busy machine, accepted connections may wait for long before
/// they are read.
fn prepare(project: &Project) {
    project.configure("[handover]\nquiesce_max = \"20s\"\n");
    let main = "fn main() -> io::Result<()> {";
    let wait = format!(
        "while std::path::Path::new(\"{}\").exists() {{ std::thread::sleep(std::time::Duration::from_millis(1)); }}",
        gate(project).display()
    );
    project.edit("src/main.rs", main, &format!("{main} {wait}"));
}

/// Saves and kills under load, beginning with this way to be killed.
fn reload(project: &Project, hotrun: &Hotrun, address: SocketAddr, first: usize) {
    let saves = size_of_test("HOTRUN_TEST_RELOADS", 2 * SAVES_PER_KILL);
    let rate = size_of_test("HOTRUN_TEST_RATE", 200);
    let start = now();
    hotrun.wait_live(1);
    let mut story = Story {
        project,
        hotrun,
        start,
        killed: Vec::new(),
    };
    // What is only needed from the first reload on is there afterwards.
    story.save(2, None);
    let before = Size::calm(hotrun, None);
    let load = Load::start(address, rate, Kind::Mixed);
    let began = now();
    for save in 1..=saves {
        // One that came too late is made up for at the next save.
        let is_due = story.kills() < save.div_ceil(SAVES_PER_KILL).min(saves / SAVES_PER_KILL);
        let when = is_due.then(|| WHEN[(first + story.kills()) % WHEN.len()]);
        story.save(save + 2, when);
    }
    load.wait_more(100);
    let took = began.elapsed();
    let outcomes = load.stop();
    let after = Size::calm(hotrun, Some(&before.descriptors));
    story.tell(&outcomes, took, &before, &after);
    story.check(&outcomes, saves);
    let [grown, keepers] = [0, 1].map(|at| after.memory[at].saturating_sub(before.memory[at]));
    let most = GROWTH * u64::from(rate);
    assert!(grown < most && keepers < most, "{before}; {after}");
    assert_eq!(zombies_below(hotrun.pid()), Vec::<i32>::new());
    hotrun.terminate();
    hotrun.wait_killed_by(Signal::SIGTERM);
    hotrun.assert_nothing_left();
    TcpListener::bind(address).unwrap();
}

/// An app that takes the sockets that it is given.
#[test]
fn declared() {
    let address = own_address();
    let project = Project::hello();
    prepare(&project);
    let hotrun = Hotrun::start(&project, &["--listen", &address.to_string()]);
    reload(&project, &hotrun, address, 0);
}

/// An app that knows nothing of hotrun, and of no signal either.
#[test]
fn captured() {
    let address = own_address();
    let project = Project::new("plain");
    prepare(&project);
    let hotrun = Run::new(&project, &[])
        .env("ADDR", &address.to_string())
        .start();
    reload(&project, &hotrun, address, 2);
}
