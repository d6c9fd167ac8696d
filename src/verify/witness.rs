//! Which generation has accepted a connection: while two have processes, the kernel is asked for the
//! server's end, and the system for the process that has it open. The app need not say anything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::stream::Ends;
use crate::session::model::Generation;
use crate::sys::processes::{self, Process};

/// Between two looks at a connection, and how many there are: most are accepted at once, and a
/// client that is queued for long must not wait for us as well.
const LOOK: Duration = Duration::from_micros(500);
const LOOKS: u32 = 10;

/// Knows the processes of the versions that run.
#[derive(Debug, Default)]
pub(super) struct Witness {
    /// There are two versions, or soon will be.
    needed: AtomicBool,
    versions: Mutex<Vec<Version>>,
}

#[derive(Debug)]
struct Version {
    generation: Generation,
    /// Its keeper, from which all of it descends.
    keeper: u32,
    /// Its processes, as they were found when they were last needed.
    processes: Vec<Process>,
}

impl Witness {
    /// Another version is about to start: what is begun from here on may be its.
    pub(super) fn expect(&self) {
        self.needed.store(true, Ordering::Relaxed);
    }

    /// A version has this process, the child of its keeper.
    pub(super) fn started(&self, generation: Generation, pid: u32) {
        // One that has ended already accepts nothing.
        let Some(keeper) = Process::of(pid).and_then(|process| process.parent()) else {
            return;
        };
        let mut versions = self.versions();
        versions.push(Version {
            generation,
            keeper,
            processes: Vec::new(),
        });
        self.needed.store(versions.len() > 1, Ordering::Relaxed);
    }

    /// Nothing is left of a version.
    pub(super) fn gone(&self, generation: Generation) {
        let mut versions = self.versions();
        versions.retain(|version| version.generation != generation);
        self.needed.store(versions.len() > 1, Ordering::Relaxed);
    }

    fn versions(&self) -> MutexGuard<'_, Vec<Version>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version that has accepted a connection; `None` if it can't be seen, or need not be, since
    /// there is only one. To be asked before the question is: an answered connection is soon closed.
    pub(super) fn whose(&self, ends: Option<Ends>) -> Option<Generation> {
        let ends = ends.filter(|_| self.needed.load(Ordering::Relaxed))?;
        for _ in 0..LOOKS {
            let found = self.glance(ends);
            if found.is_some() {
                return found;
            }
            thread::sleep(LOOK);
        }
        None
    }

    /// One look, whether it is needed or not: a client that waits for its answer has time for it, and
    /// what happens until that comes is not known.
    pub(super) fn glance(&self, ends: Ends) -> Option<Generation> {
        self.owner(ends.accepted().ok()??)
    }

    /// The generation whose process has this socket open.
    fn owner(&self, inode: u64) -> Option<Generation> {
        let mut versions = self.versions();
        let find = |versions: &[Version]| {
            let has = |process: &Process| process.sockets().any(|socket| socket == inode);
            let owner = versions
                .iter()
                .find(|version| version.processes.iter().any(has));
            owner.map(|version| version.generation)
        };
        find(&versions).or_else(|| {
            // There may be new processes since then.
            for version in &mut *versions {
                version.processes = processes::descendants(version.keeper);
            }
            find(&versions)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::process::{Command, Stdio};

    use super::super::talk::Talk;
    use super::super::target::At;
    use super::*;
    use crate::sys::ABLE;
    use crate::sys::testing::{emulation_lacks, lacks};

    /// Our own processes stand for those of one version, and our parent's other ones for none.
    #[test]
    fn a_connection_belongs_to_the_version_that_has_accepted_it() {
        if emulation_lacks("`sock_diag`") {
            return;
        }
        if lacks(ABLE.sight, "sight of the sockets of processes") {
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = At::Tcp(listener.local_addr().unwrap());
        let witness = Witness::default();
        let own = std::process::id();
        witness.started(Generation(1), own);
        let talk = Talk::begin(&at, None).unwrap();
        let (_server, _) = listener.accept().unwrap();
        // There is only one generation.
        assert_eq!(witness.whose(talk.ends()), None);
        let mut other = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        witness.started(Generation(2), other.id());
        assert_eq!(witness.whose(talk.ends()), Some(Generation(1)));
        let waits = Talk::begin(&at, None).unwrap();
        assert_eq!(witness.whose(waits.ends()), None);
        witness.gone(Generation(2));
        assert_eq!(witness.whose(talk.ends()), None);
        drop(other.stdin.take());
        other.wait().unwrap();
    }
}
